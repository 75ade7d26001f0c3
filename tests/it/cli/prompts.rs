//! Questions are refused where nobody can answer, and never answered with an implied yes.

use super::{customer, script};

#[test]
fn without_a_terminal_the_flag_is_named() {
    let cli = customer();
    insta::assert_snapshot!(script(
        &cli,
        &[
            &["project", "delete", "standup"],
            &["project", "delete", "standup", "--yes"],
            &["project", "delete", "standup", "--confirm", "Standup"],
            &["org", "delete", "acme"],
            &["key", "rotate", "default", "--project", "standup"],
            &["key", "revoke", "default", "--project", "standup", "--no-input"],
            &["project", "suspend", "standup", "--reason", "unpaid"],
            &["project", "regenerate-keys", "standup"],
            &["token", "revoke", "--project", "standup", "--every"],
            &["admin", "rotate"],
            &["project", "list", "--columns", "name,state"],
        ]
    ));
}

#[test]
fn an_answer_of_no_changes_nothing_and_is_no_interruption() {
    let cli = customer();
    let words = ["project", "suspend", "standup", "--reason", "unpaid"];
    let run = cli.run_at_terminal(&words, "(y/N)", "n\r");
    assert_eq!(run.code, 2, "{}", run.stdout);
    assert!(run.stdout.contains("1 key") && !run.stdout.contains("1 keys"), "{}", run.stdout);
    assert!(run.stdout.contains("0 endpoints") && run.stdout.contains("0 live rooms"), "{}", run.stdout);
    assert!(run.stdout.contains("not confirmed: nothing was changed"), "{}", run.stdout);
    assert_eq!(cli.ok(&["project", "get", "standup", "--jq", ".state"]), "active");
}

#[test]
fn a_deletion_asks_for_the_name_and_takes_nothing_else() {
    let cli = customer();
    cli.ok(&["project", "update", "standup", "--webhook-url", "https://hooks.example/in"]);
    let delete = |typed: &str| cli.run_at_terminal(&["project", "delete", "standup"], "to delete the project:", typed);
    let state = || cli.ok(&["project", "get", "standup", "--jq", ".state"]);
    for other in ["y\r", "Standup\r", "\r"] {
        let run = delete(other);
        assert_eq!((run.code, state().as_str()), (2, "active"), "{other:?}: {}", run.stdout);
        for told in ["1 endpoint", "1 key", "0 live rooms"] {
            assert!(run.stdout.contains(told), "{told} is not told: {}", run.stdout);
        }
    }
    let run = delete("standup\r");
    assert_eq!((run.code, state().as_str()), (0, "deleted"), "{}", run.stdout);
}

#[test]
fn in_a_pipeline_nobody_is_asked_even_at_a_terminal() {
    let cli = customer().env("CI", "true");
    let run = cli.run_at_terminal(&["project", "delete", "standup"], "", "");
    assert_eq!(run.code, 2, "{}", run.stdout);
    assert!(run.stdout.contains("--confirm"), "the flag is not named: {}", run.stdout);
    assert_eq!(cli.ok(&["project", "get", "standup", "--jq", ".state"]), "active");
}
