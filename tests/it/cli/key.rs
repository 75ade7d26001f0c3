//! Keys: rotation with sinks, proved by failing each step, expiry findings, the scan.

use pulse_tests::{
    cli::{Cli, Run},
    daemon::{Daemon, DaemonOptions},
};

use super::{customer, script};

fn rotate(cli: &Cli, more: &[&str]) -> Run {
    let base = ["key", "rotate", "default", "--project", "standup", "--yes", "-o", "json"];
    cli.run(&[&base[..], more].concat())
}

fn states(cli: &Cli) -> String {
    cli.ok(&[
        "key",
        "list",
        "--project",
        "standup",
        "--include-revoked",
        "-o",
        "json",
        "--jq",
        "map(.state) | sort | join(\" \")",
    ])
}

#[test]
fn a_rotation_without_sinks_shows_the_secret() {
    let cli = customer();
    let run = rotate(&cli, &["--overlap", "1h"]);
    assert!(run.json()["pulse_api_secret"].as_str().is_some_and(|secret| secret.starts_with("pulse_secret_live_")));
    assert_eq!(states(&cli), "active rotated");
}

#[test]
fn a_rotation_hands_the_secret_to_every_sink_and_keeps_it_to_itself() {
    let cli = customer();
    let output = cli.path("github-output");
    let cli = cli.env("GITHUB_OUTPUT", &output.to_string_lossy());
    std::fs::write(cli.path("app.env"), "A=1\nPULSE_API_SECRET=old\nB=2\n").expect("a file");
    let run = rotate(
        &cli,
        &[
            "--secret-to-cmd",
            "cat > sunk",
            "--secret-to-file",
            "secret.txt",
            "--secret-to-env-file",
            "app.env:PULSE_API_SECRET",
            "--secret-to-github-output",
            "secret",
            "--verify",
            "test -s sunk && test -z \"$PULSE_STORE$LIVEKIT_API_SECRET\"",
        ],
    );
    assert_eq!(run.code, 0, "{}", run.shown());
    assert_eq!(run.json()["pulse_api_secret"], serde_json::Value::Null, "the secret is in the output");
    let read = |name: &str| std::fs::read_to_string(cli.path(name)).expect("a sink's file");
    let secret = read("sunk");
    assert!(secret.starts_with("pulse_secret_live_"));
    assert_eq!(read("secret.txt"), format!("{secret}\n"));
    assert_eq!(read("app.env"), format!("A=1\nPULSE_API_SECRET={secret}\nB=2\n"));
    assert_eq!(read("github-output"), format!("secret={secret}\n"));
    assert_eq!(run.stderr, format!("::add-mask::{secret}\n"));
    assert_eq!(states(&cli), "active rotated");
}

#[test]
fn a_failing_sink_rolls_back() {
    let cli = customer();
    let run = rotate(&cli, &["--secret-to-file", "secret.txt", "--secret-to-cmd", "echo no room; exit 7"]);
    assert_eq!((run.code, run.stdout.as_str()), (12, ""), "{}", run.shown());
    assert_eq!(run.error()["rolled_back"], true);
    assert!(run.error()["hint"].as_str().is_some_and(|hint| hint.contains("no room")));
    assert!(!cli.path("secret.txt").exists(), "the revoked secret was left in a file");
    assert_eq!(states(&cli), "active revoked");
    assert_eq!(rotate(&cli, &[]).code, 0, "the key can be rotated again");
}

#[test]
fn a_failing_check_names_the_sink_that_has_the_revoked_secret() {
    let cli = customer();
    let run = rotate(&cli, &["--secret-to-cmd", "cat > sunk", "--verify", "cat sunk; exit 1"]);
    assert_eq!((run.code, run.stdout.as_str()), (11, ""), "{}", run.shown());
    let error = run.error();
    assert_eq!((error["rolled_back"].as_bool(), error["step"].as_str()), (Some(true), Some("verify")));
    assert_eq!(error["stored_in"].as_array().map(Vec::len), Some(1));
    let hint = "The revoked secret is still in: command \"cat > sunk\". It said: <secret>";
    assert_eq!(error["hint"], hint, "what a command said ends the hint, without the secret");
    assert!(!run.stderr.contains("pulse_secret_"), "a failing command showed the secret");
    assert_eq!(states(&cli), "active revoked");
}

#[test]
fn an_interrupt_rolls_back() {
    let cli = customer();
    let run = rotate(&cli, &["--secret-to-cmd", "kill -INT $PPID; sleep 20"]);
    assert_eq!((run.code, run.error()["rolled_back"].as_bool()), (130, Some(true)), "{}", run.shown());
    assert_eq!(states(&cli), "active revoked");
}

#[test]
fn a_second_rotation_is_refused_with_the_first_ones_id() {
    let cli = customer();
    let project = cli.ok(&["project", "get", "standup", "-q"]);
    let key = cli.ok(&["key", "get", "default", "--project", "standup", "-q"]);
    let path = format!("/v1/projects/{project}/keys/{key}/rotate");
    let first = cli.ok(&["api", "POST", &path, "--data", "{\"commit\":false}", "--jq", ".id"]);
    let run = rotate(&cli, &["--verify", "true"]);
    assert_eq!(run.code, 6, "{}", run.shown());
    assert_eq!(run.error()["code"], "rotation_pending");
    assert!(run.error()["message"].as_str().is_some_and(|text| text.contains(&first)), "{}", run.shown());
}

#[test]
fn bad_sinks_are_refused_before_anything_is_made() {
    let cli = customer();
    std::fs::write(cli.path("taken"), "x").expect("a file");
    for sink in [["--secret-to-file", "taken"], ["--secret-to-env-file", "no-name"], ["--secret-to-github-output", "x"]]
    {
        assert_eq!(rotate(&cli, &sink).code, 2, "{sink:?}");
    }
    assert_eq!(states(&cli), "active");
}

#[test]
fn keys_that_end_soon_are_a_finding() {
    let cli = customer();
    let list = ["key", "list", "--project", "standup", "--expiring-within", "14d", "--fail-on", "any", "-o", "name"];
    assert_eq!(cli.run(&list).code, 0);
    cli.ok(&["key", "create", "soon", "--project", "standup", "--expires-in", "3d", "-q"]);
    cli.ok(&["key", "create", "late", "--project", "standup", "--expires-in", "60d", "-q"]);
    let run = cli.run(&list);
    assert_eq!((run.code, run.stdout.as_str()), (10, "soon\n"));
}

#[test]
fn a_key_with_constraints_keeps_them() {
    let cli = customer();
    let create = [
        "key",
        "create",
        "sales",
        "--project",
        "standup",
        "--scope",
        "tokens:mint",
        "--room",
        "sales-*",
        "--max-ttl",
        "1h",
        "--grant",
        "subscribe",
        "--network",
        "203.0.113.0/24",
    ];
    cli.ok(&create);
    insta::assert_snapshot!(script(
        &cli,
        &[
            &["key", "get", "sales", "--project", "standup", "--columns", "name,scopes,constraints,networks,state"],
            &["key", "revoke", "sales", "--project", "standup", "--yes", "-o", "name"],
            &["key", "revoke", "default", "--project", "standup", "--yes"],
        ]
    ));
}

#[test]
fn a_scan_finds_secrets_and_never_prints_them() {
    let cli = customer();
    let secret = cli.ok(&["key", "create", "leak", "--project", "standup", "-o", "json", "--jq", ".pulse_api_secret"]);
    std::fs::create_dir_all(cli.path("code/.git")).expect("a folder");
    std::fs::create_dir_all(cli.path("code/src")).expect("a folder");
    std::fs::write(cli.path("code/src/a.txt"), format!("one\nkey = \"{secret}\"\n")).expect("a file");
    let url = "https://hooks.example/in";
    let signing = cli.ok(&["webhook", "endpoint", "create", url, "--project", "standup", "--jq", ".secret"]);
    std::fs::write(cli.path("code/src/.env"), format!("HOOK='{}'\n", signing.trim())).expect("a file");
    std::fs::write(cli.path("code/.git/b.txt"), &secret).expect("a file");
    std::fs::write(cli.path("code/c.txt"), secret.replace("pulse_secret_live_", "pulse_secret_live_x"))
        .expect("a file");
    let run = cli.run(&["key", "scan", "code", "--columns", "place,kind"]);
    insta::assert_snapshot!(run.shown());
    assert!(!run.stdout.contains(&secret[..30]) && !run.stdout.contains(&signing[..20]));
    assert_eq!(cli.run_with(&["key", "scan", "-", "-o", "json"], &secret).code, 1);
    assert_eq!(cli.run_with(&["key", "scan", "-", "-o", "json"], "nothing").stdout, "[]\n");
}

#[tokio::test]
async fn a_replaced_key_that_is_still_used_is_warned_of_and_an_unused_one_is_found() {
    let daemon = Daemon::start(DaemonOptions::new()).await;
    let cli = Cli::with_server(&daemon.url, &daemon.admin_token);
    cli.ok(&["org", "create", "acme", "--email", "a@b.example", "-q"]);
    let old = cli.ok(&["project", "create", "standup", "--org", "acme", "--jq", ".pulse_api_secret"]);
    cli.ok(&["key", "create", "idle", "--project", "standup", "-q"]);
    let usage = |more: &[&str]| cli.run(&[&["key", "usage", "--project", "standup", "-o", "name"][..], more].concat());
    assert_eq!(usage(&["--unused-for", "0s", "--fail-on", "any"]).code, 10, "{}", usage(&[]).shown());
    assert_eq!(usage(&["--unused-for", "1h", "--fail-on", "any"]).code, 0, "all of them are new");

    cli.ok(&["key", "rotate", "default", "--project", "standup", "--overlap", "1h", "--yes", "-q"]);
    assert_eq!(usage(&[]).stderr, "", "nobody has used the old one yet");
    let me = Cli::with_server(&daemon.url, old.trim()).run(&["whoami"]);
    assert_eq!(me.code, 0, "{}", me.shown());
    let warned = usage(&[]);
    let lines: Vec<&str> = warned.stderr.lines().collect();
    assert!(lines.len() == 1 && lines[0].contains("(default) was replaced and is still used"), "{}", warned.shown());
    daemon.process.until_logged("a key that was replaced is still used").await;
}
