//! What a newcomer does first, and the errors met on the way.

use pulse_tests::cli::Cli;

use super::{customer, script};

#[test]
fn without_a_target_both_flags_are_named() {
    insta::assert_snapshot!(Cli::new().run(&["project", "list"]).shown());
}

#[test]
fn a_missing_store_is_not_made_by_looking_at_it() {
    let cli = Cli::with_store();
    insta::assert_snapshot!(cli.run(&["project", "list"]).shown());
    assert!(!cli.path("store").exists(), "a list made a store");
}

#[test]
fn from_nothing_to_a_token() {
    let cli = Cli::with_store();
    insta::assert_snapshot!(script(
        &cli,
        &[
            &["org", "create", "acme", "--email", "ops@acme.example", "--plan", "pro", "--label", "tier=gold"],
            &["project", "create", "standup", "--org", "ACME", "-o", "json", "--jq", "{name, region, state}"],
            &["project", "list"],
            &["token", "create", "--project", "standup", "--room", "daily", "--identity", "ada", "--ttl", "1h"],
        ]
    ));
}

#[test]
fn errors_have_the_exit_codes_of_the_table() {
    let cli = customer();
    let code = |arguments: &[&str]| cli.run(arguments).code;
    assert_eq!(code(&["--version"]), 0);
    assert_eq!(code(&["nonsense"]), 2);
    assert_eq!(code(&["org", "create", "x", "--email", "no address"]), 2);
    assert_eq!(code(&["project", "get", "nosuch"]), 5);
    assert_eq!(code(&["project", "get", "prj_00000000000000000000000000"]), 5);
    assert_eq!(code(&["org", "create", "Acme", "--email", "a@b.example"]), 6);
    assert_eq!(code(&["org", "update", "acme", "--plan", "Pro", "--if-match", "7"]), 6);
    assert_eq!(code(&["org", "list", "--server", "http://127.0.0.1:1"]), 3);
    let limited = ["token", "create", "--project", "standup", "--room", "r", "--identity", "i", "--ttl", "40d"];
    assert_eq!(code(&limited), 2);
}

#[test]
fn creating_and_deleting_can_be_repeated() {
    let cli = customer();
    let id = cli.ok(&["org", "get", "acme", "-q"]);
    assert_eq!(cli.ok(&["org", "create", "acme", "--email", "x@y.example", "--if-not-exists", "-q"]), id);
    let project = cli.ok(&["project", "get", "standup", "-q"]);
    assert_eq!(cli.ok(&["project", "create", "STANDUP", "--org", "acme", "--if-not-exists", "-q"]), project);
    cli.ok(&["project", "delete", "nosuch", "--ignore-not-found"]);
    cli.ok(&["project", "delete", "standup", "--confirm", "standup"]);
    assert_eq!(cli.ok(&["project", "restore", "standup", "-q"]), project);
}

#[test]
fn an_ambiguous_name_is_refused_with_the_list() {
    let cli = customer();
    cli.ok(&["org", "create", "other", "--email", "x@y.example"]);
    cli.ok(&["project", "create", "standup", "--org", "other"]);
    let run = cli.run(&["project", "get", "standup", "-o", "json"]);
    assert_eq!((run.code, run.error()["code"].as_str()), (2, Some("ambiguous_name")), "{}", run.shown());
    assert_eq!(run.error()["candidates"].as_array().map(Vec::len), Some(2));
    cli.ok(&["project", "get", "standup", "--org", "other"]);
}

#[test]
fn a_dry_run_changes_nothing() {
    let cli = customer();
    insta::assert_snapshot!(script(
        &cli,
        &[
            &[
                "project",
                "delete",
                "standup",
                "--dry-run",
                "-o",
                "json",
                "--jq",
                "{dry_run, effects, state: .result.state}"
            ],
            &[
                "project",
                "create",
                "next",
                "--org",
                "acme",
                "--dry-run",
                "-o",
                "json",
                "--jq",
                ".result | has(\"pulse_api_secret\")"
            ],
            &["project", "list", "--columns", "name,state"],
        ]
    ));
}

#[test]
fn secrets_come_from_files_and_stdin() {
    let cli = customer();
    let with = [
        "project",
        "update",
        "standup",
        "--livekit-url",
        "wss://lk.example",
        "--livekit-api-key",
        "APIx",
        "--livekit-api-secret-file",
        "-",
        "-o",
        "json",
        "--jq",
        ".own_livekit",
    ];
    assert_eq!(cli.run_with(&with, "a-secret\n").stdout, "true\n");
    let help = cli.ok(&["project", "update", "--help"]);
    assert!(!help.contains("--livekit-api-secret <"), "a secret can be given as the value of a flag");
    assert_eq!(
        cli.ok(&["project", "update", "standup", "--clear", "livekit", "-o", "json", "--jq", ".own_livekit"]),
        "false"
    );
}
