//! What users get wrong before anything is sent: each mistake is told in a line, with what to do, and changes nothing.

use pulse_tests::cli::Cli;

use super::{customer, script};

#[test]
fn mistakes_are_told_in_a_line_with_what_to_do() {
    let cli = customer();
    std::fs::write(cli.path("taken"), "x").expect("a file");
    std::fs::write(cli.path("lines"), "one\ntwo\n").expect("a file");
    std::fs::write(cli.path("binary"), [0xff, 0xfe]).expect("a file");
    let livekit = ["--livekit-url", "wss://lk.example", "--livekit-api-key", "k", "--livekit-api-secret-file"];
    let own = |file: &'static str| [&["project", "create", "own", "--org", "acme"][..], &livekit, &[file]].concat();
    let (lines, binary, missing) = (own("lines"), own("binary"), own("nosuch"));
    insta::assert_snapshot!(script(
        &cli,
        &[
            &["api", "GET", "v1/projects"],
            &["api", "PATCH", "/v1/projects"],
            &["api", "POST", "/v1/organizations", "-H", "nonsense"],
            &["api", "POST", "/v1/organizations", "--data", "{", "--curl"],
            &["context", "set", "bad name", "--url", "https://pulse.example"],
            &["context", "set", "new"],
            &["context", "set", "new", "--url", "https://user:password@pulse.example"],
            &["help", "nosuch"],
            &["man", "nosuch"],
            &["project", "create", "own"],
            &["project", "create", "own", "--org", "acme", "--storage-file", "-", "--presets-file", "-"],
            &["project", "create", "own", "--org", "acme", "--presets-file", "lines"],
            &lines,
            &binary,
            &missing,
            &["project", "update", "standup", "--label", "a=b", "--clear", "labels"],
            &["project", "list", "--limit", "0"],
            &["project", "list", "--label", "nonsense"],
            &["key", "list"],
            &["key", "create", "x", "--project", "standup", "--scope", "nonsense"],
            &["key", "create", "x", "--project", "standup", "--expires-in", "soon"],
            &["key", "scan", "nosuch"],
            &["key", "rotate", "default", "--project", "standup", "--yes", "--secret-to-env-file", "no-name"],
            &["token", "inspect", "nonsense"],
            &["token", "revoke", "--project", "standup", "--token", "lines"],
            &["admin", "rotate", "--yes", "--token-to-file", "taken"],
            &["project", "list", "-o", "name"],
        ]
    ));
}

#[test]
fn what_is_missing_in_the_environment_is_named() {
    let memory = Cli::new().env("PULSE_STORE", "memory:");
    let homeless = Cli::new().env("HOME", "");
    let runs = [
        memory.run(&["store", "check"]),
        memory.run(&["token", "verify", "x.y.z", "--key", "k"]),
        memory.run(&["key", "rotate", "default", "--yes", "--secret-to-github-output", "secret"]),
        homeless.run(&["context", "list"]),
    ];
    insta::assert_snapshot!(runs.iter().map(|run| run.shown() + "\n").collect::<String>());
}
