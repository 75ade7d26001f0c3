//! `pulse key rotate` through a network that fails at the worst moments: whatever happens, one key works, and the user is
//! told which.

use std::net::SocketAddr;

use pulse_core::time::{Clock as _, SystemClock, Timestamp};
use pulse_tests::{
    cli::{Cli, Run},
    daemon::{Daemon, DaemonOptions},
    stub::{Reply, Seen, Stub},
};

use super::customer;

/// What the network does to a request.
type Fault = fn(&Seen) -> Reply;

/// A daemon with a project, reached directly and through a stub that does `fault`.
struct Between {
    daemon: Daemon,
    _stub: Stub,
    direct: Cli,
    through: Cli,
}

async fn between(fault: Fault) -> Between {
    let daemon = Daemon::start(DaemonOptions::new()).await;
    let address: SocketAddr = daemon.address().parse().expect("an address");
    let stub = Stub::before(address, move |_, seen| fault(seen));
    let direct = Cli::with_server(&daemon.url, &daemon.admin_token);
    direct.ok(&["org", "create", "acme", "--email", "a@b.example", "-q"]);
    direct.ok(&["project", "create", "standup", "--org", "acme", "-q"]);
    let through = Cli::with_server(&stub.url, &daemon.admin_token);
    Between { daemon, _stub: stub, direct, through }
}

/// Rotates with a file and, when `command`, a command as sinks.
fn rotate(cli: &Cli, command: bool) -> Run {
    let base = ["key", "rotate", "default", "--project", "standup", "--yes", "-o", "json", "--secret-to-file", "new"];
    let more: &[&str] = if command { &["--secret-to-cmd", "cat > sunk"] } else { &[] };
    cli.run(&[&base[..], more].concat())
}

fn states(cli: &Cli) -> String {
    let list = ["key", "list", "--project", "standup", "--include-revoked"];
    cli.ok(&[&list[..], &["--jq", "map(.state) | sort | join(\" \")"]].concat())
}

fn is_commit(seen: &Seen) -> bool {
    seen.path.ends_with("/rotate/commit")
}

fn is_cancel(seen: &Seen) -> bool {
    seen.method == "DELETE" && seen.path.ends_with("/rotate")
}

#[tokio::test]
async fn a_commit_that_is_never_taken_is_rolled_back() {
    let faults: [Fault; 2] = [
        |seen| if is_commit(seen) { Reply::problem(503, "store_unavailable", 0) } else { Reply::Pass },
        |seen| if is_commit(seen) { Reply::Cut } else { Reply::Pass },
    ];
    for fault in faults {
        let net = between(fault).await;

        let run = rotate(&net.through, false);

        assert_eq!((run.code, run.stdout.as_str()), (12, ""), "{}", run.shown());
        let error = run.error();
        assert_eq!((error["rolled_back"].as_bool(), error["step"].as_str()), (Some(true), Some("commit")));
        assert!(!net.through.path("new").exists(), "the revoked secret was left in a file");
        assert_eq!(states(&net.direct), "active revoked");
        assert_eq!(rotate(&net.direct, false).code, 0, "the key can be rotated again");
    }
}

/// The state of the key of this id.
fn state(cli: &Cli, key: &str) -> String {
    cli.ok(&["key", "get", key, "--project", "standup", "--jq", ".state"])
}

/// An env file that sets the variable twice, with line ends of both kinds and none at the end.
const ENV_FILE: &str = "# the shop\r\nA=1\r\nexport PULSE_API_SECRET = old\nPULSE_API_SECRET=older\n\nB=2";

/// Sinks: an env file that is there, and one that is not.
const ENV_SINKS: [&str; 4] =
    ["--secret-to-env-file", "app.env:PULSE_API_SECRET", "--secret-to-env-file", "new.env:PULSE_API_SECRET"];

/// Both env files are as they were before the rotation.
fn assert_env_files_are_back(cli: &Cli) {
    let left = std::fs::read_to_string(cli.path("app.env")).expect("the file is still there");
    assert_eq!(left, ENV_FILE, "the env file is not what it was");
    assert!(!cli.path("new.env").exists(), "a file that only has the revoked secret was left");
}

#[tokio::test]
async fn a_new_secret_that_the_server_does_not_take_is_rolled_back() {
    let net = between(|seen| match seen.path.as_str() {
        "/v1/me" => Reply::problem(401, "unauthenticated", 0),
        _ => Reply::Pass,
    })
    .await;
    std::fs::write(net.through.path("app.env"), ENV_FILE).expect("a file");
    let base = ["key", "rotate", "default", "--project", "standup", "--yes", "-o", "json", "--secret-to-file", "new"];

    let run = net.through.run(&[&base[..], &ENV_SINKS, &["--verify", "touch verified"]].concat());

    assert_eq!((run.code, run.stdout.as_str()), (12, ""), "{}", run.shown());
    let error = run.error();
    assert_eq!((error["rolled_back"].as_bool(), error["step"].as_str()), (Some(true), Some("verify")));
    assert_eq!(error["stored_in"], serde_json::json!([]));
    assert!(!net.through.path("verified").exists(), "a command was given what opens nothing");
    assert!(!net.through.path("new").exists(), "the revoked secret was left in a file");
    assert_env_files_are_back(&net.through);
    let id = |field: &str| error[field].as_str().expect("an id").to_owned();
    assert_eq!(state(&net.direct, &id("key_id")), "active", "the old key is as it was");
    assert_eq!(state(&net.direct, &id("successor_id")), "revoked");
    assert_eq!(rotate(&net.direct, false).code, 0, "the key can be rotated again");
}

#[test]
fn env_files_are_after_a_rotation_that_failed_what_they_were() {
    let cli = customer();
    std::fs::write(cli.path("app.env"), ENV_FILE).expect("a file");
    let base = ["key", "rotate", "default", "--project", "standup", "--yes", "-o", "json"];
    // Commands come last, so that this one sees the secret in both files.
    let fails =
        "for file in app.env new.env; do grep -q pulse_secret_live_ $file || exit 1; done; touch written; exit 7";

    let run = cli.run(&[&base[..], &ENV_SINKS, &["--secret-to-cmd", fails]].concat());

    let error = run.error();
    assert_eq!((run.code, error["step"].as_str()), (12, Some("sink")), "{}", run.shown());
    assert!(cli.path("written").exists(), "the secret was not in the files: {}", run.shown());
    assert_eq!(error["stored_in"], serde_json::json!([]));
    assert_env_files_are_back(&cli);
    assert_eq!(states(&cli), "active revoked");
}

#[tokio::test]
async fn a_command_that_has_the_revoked_secret_is_named() {
    let net = between(|seen| if is_commit(seen) { Reply::Cut } else { Reply::Pass }).await;
    let run = rotate(&net.through, true);
    assert_eq!((run.code, run.error()["rolled_back"].as_bool()), (11, Some(true)), "{}", run.shown());
    assert_eq!(run.error()["stored_in"], serde_json::json!(["command \"cat > sunk\""]));
}

#[tokio::test]
async fn a_commit_whose_answers_are_all_lost_is_a_rotation_that_worked() {
    let net = between(|seen| if is_commit(seen) { Reply::Lose } else { Reply::Pass }).await;

    let run = rotate(&net.through, false);

    assert_eq!((run.code, run.json()["state"].as_str()), (0, Some("active")), "{}", run.shown());
    assert_eq!(run.json()["replaces"]["state"], "rotated");
    assert_eq!(states(&net.direct), "active rotated");
    works(&net, "new");
}

#[tokio::test]
async fn a_cancel_whose_answer_is_lost_is_a_roll_back_all_the_same() {
    let net = between(|seen| match seen {
        seen if is_commit(seen) => Reply::Cut,
        seen if is_cancel(seen) => Reply::Lose,
        _ => Reply::Pass,
    })
    .await;
    let run = rotate(&net.through, false);
    assert_eq!((run.code, run.error()["rolled_back"].as_bool()), (12, Some(true)), "{}", run.shown());
    assert!(!net.through.path("new").exists(), "the revoked secret was left in a file");
    assert_eq!(states(&net.direct), "active revoked");
}

#[tokio::test]
async fn a_secret_whose_fate_is_unknown_stays_where_it_is() {
    // From the commit on, which is done, no answer comes back any more.
    let net = between(|seen| match seen {
        seen if is_commit(seen) => Reply::Lose,
        seen if is_cancel(seen) || seen.path.contains("/keys/key_") && seen.method == "GET" => Reply::Cut,
        _ => Reply::Pass,
    })
    .await;

    let run = rotate(&net.through, false);

    assert_eq!((run.code, run.error()["rolled_back"].as_bool()), (11, Some(false)), "{}", run.shown());
    let hint = run.error()["hint"].as_str().unwrap_or_default().to_owned();
    assert!(hint.contains("pulse key get key_") && hint.contains("file new"), "{}", run.shown());
    works(&net, "new");
}

#[tokio::test]
async fn a_lost_answer_makes_no_second_key() {
    let net = between(|seen| {
        let first = seen.method == "POST" && seen.path.ends_with("/keys");
        // The first try is done and its answer lost; the one after it gets the same answer, secret and all.
        if first && !seen.repeated { Reply::Lose } else { Reply::Pass }
    })
    .await;
    let run = net.through.run(&["key", "create", "ci", "--project", "standup", "-o", "json"]);
    assert!(run.json()["pulse_api_secret"].is_string(), "{}", run.shown());
    assert_eq!(states(&net.direct), "active active");
}

#[test]
fn a_killed_rotation_leaves_the_old_key_and_ends_by_itself() {
    let cli = customer();
    let began = SystemClock::new().now();

    let run =
        cli.run(&["key", "rotate", "default", "--project", "standup", "--yes", "--secret-to-cmd", "kill -9 $PPID"]);

    assert_eq!(run.code, 128 + 9, "{}", run.shown());
    assert_eq!(states(&cli), "active pending");
    let pending = ["key", "list", "--project", "standup", "--jq", ".[] | select(.state == \"pending\") | .expires_at"];
    let end: Timestamp = cli.ok(&pending).parse().expect("a time");
    assert!(end <= began.plus(std::time::Duration::from_secs(15 * 60 + 30)), "it lives until {end}");
    let again = rotate(&cli, false);
    assert_eq!((again.code, again.error()["code"].as_str()), (6, Some("rotation_pending")), "{}", again.shown());
    let hint = again.error()["hint"].as_str().unwrap_or_default().to_owned();
    assert!(hint.contains("pulse key revoke"), "the user is not told how to go on: {}", again.shown());
    let pending = cli.ok(&["key", "list", "--project", "standup", "--jq", ".[] | select(.state == \"pending\") | .id"]);
    cli.ok(&["key", "revoke", &pending, "--project", "standup", "--yes", "-q"]);
    assert_eq!(rotate(&cli, false).code, 0, "given up, it is in nobody's way");
}

#[test]
fn a_terminated_rotation_is_rolled_back() {
    let cli = customer();
    let run = cli.run(&[
        "key",
        "rotate",
        "default",
        "--project",
        "standup",
        "--yes",
        "--secret-to-cmd",
        "kill -TERM $PPID; sleep 20",
    ]);
    assert_eq!(run.code, 130, "{}", run.shown());
    assert_eq!(states(&cli), "active revoked");
}

/// The secret in the file opens the project.
fn works(net: &Between, file: &str) {
    let secret = std::fs::read_to_string(net.through.path(file)).expect("the sink still has the secret");
    let me = Cli::with_server(&net.daemon.url, secret.trim()).run(&["whoami", "-o", "json"]);
    assert_eq!(me.code, 0, "{}", me.shown());
}
