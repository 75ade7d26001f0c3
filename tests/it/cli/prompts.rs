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
    assert!(run.stdout.contains("not confirmed: nothing was changed"), "{}", run.stdout);
    assert_eq!(cli.ok(&["project", "get", "standup", "--jq", ".state"]), "active");
}
