//! Replays at the command line: counted first, asked about, waited for, stopped.

use pulse_tests::{
    cli::Cli,
    daemon::{Daemon, DaemonOptions},
    process::READY,
    receiver::{Action, Receiver},
    temporary_folder,
};
use serde_json::json;

use super::{customer, script, webhook::daemon};

const URL: &str = "https://hooks.example/in";
/// How the daemon counts looks at a replay that it has answered.
const LOOKS: &str = "pulse_requests_total{operation=\"replays.get\",status=\"200\"}";

/// A project in which three things have happened before it had an endpoint.
fn with_events() -> Cli {
    let cli = customer();
    for kind in ["room_started", "participant_joined", "room_ended"] {
        cli.ok(&["trigger", kind, "--project", "standup", "-q"]);
    }
    cli.ok(&["webhook", "endpoint", "create", URL, "--project", "standup", "-q"]);
    cli
}

fn replay<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [&["webhook", "replay", "--project", "standup"][..], more].concat()
}

#[test]
fn from_a_dry_run_to_a_cancelled_replay() {
    let cli = with_events();
    let shown = script(
        &cli,
        &[
            &replay(&["--missing", "--dry-run"]),
            &replay(&["--missing", "--type", "room_*", "--dry-run", "-o", "json", "--jq", ".effects"]),
            &replay(&["--all", "--room", "elsewhere", "--dry-run", "-o", "json", "--jq", ".effects"]),
            &replay(&["--since", "2h", "--dry-run", "-o", "json", "--jq", ".effects"]),
            &replay(&["--missing"]),
            &replay(&["--missing", "--all"]),
            &replay(&["--rate", "0", "--yes"]),
            &replay(&["--timeout", "5s", "--yes"]),
            &replay(&["--endpoint", "https://other.example/in", "--yes"]),
            &replay(&["list", "--project", "standup"]),
            &["webhook", "replay", "list", "--project", "standup"],
        ],
    );
    let id = cli.ok(&replay(&["--missing", "--endpoint", URL, "--rate", "5", "--yes", "-q"]));
    let rest = script(
        &cli,
        &[
            &["webhook", "replay", "get", &id, "--project", "standup"],
            &["webhook", "replay", "list", "--project", "standup"],
            &[
                "webhook",
                "replay",
                "cancel",
                &id,
                "--project",
                "standup",
                "--dry-run",
                "-o",
                "json",
                "--jq",
                ".effects",
            ],
            &["webhook", "replay", "cancel", &id, "--project", "standup", "-o", "json", "--jq", ".state"],
            &["webhook", "replay", "cancel", "job_01J00000000000000000000000", "--project", "standup"],
        ],
    );
    insta::assert_snapshot!(shown + &rest);
}

#[test]
fn the_question_says_how_many_events_are_sent_to_how_many() {
    let cli = with_events();
    let run = cli.run_at_terminal(&replay(&["--missing"]), "Send these events", "n\n");
    assert!(run.stdout.contains("3 deliveries") && run.stdout.contains("3 events"), "{}", run.stdout);
    assert_eq!(
        (run.code, cli.ok(&["webhook", "replay", "list", "--project", "standup", "--jq", "length"]).as_str()),
        (2, "0")
    );
    let run = cli.run_at_terminal(&replay(&["--missing"]), "Send these events", "y\n");
    assert_eq!(
        (run.code, cli.ok(&["webhook", "replay", "list", "--project", "standup", "--jq", "length"]).as_str()),
        (0, "1")
    );
}

#[tokio::test]
async fn a_replay_is_waited_for_and_its_end_is_the_exit_code() {
    let folder = temporary_folder("replay");
    let (_daemon, cli) = daemon(folder.path()).await;
    for _ in 0..5 {
        cli.ok(&["trigger", "room_started", "--project", "standup", "-q"]);
    }
    let receiver = Receiver::start(Action::ok());
    cli.ok(&["webhook", "endpoint", "create", &receiver.url(), "--project", "standup", "-q"]);
    let all = cli.run(&replay(&["--all", "--yes", "--wait", "-o", "json"]));
    assert_eq!((all.code, &all.json()["state"], &all.json()["deliveries"]), (0, &json!("completed"), &json!(5)));
    receiver.wait_for(5, std::time::Duration::from_secs(20)).await;
    assert!(receiver.received().iter().all(|one| all.json()["id"] == one.header("pulse-replay")));

    let slow = ["--all", "--rate", "1", "--yes", "--wait", "-o", "json"];
    let late = cli.run(&replay(&[&slow[..], &["--timeout", "1s"]].concat()));
    assert_eq!((late.code, late.error()["code"].as_str()), (8, Some("wait_timed_out")), "{}", late.shown());
    let id = late.error()["replay_id"].as_str().expect("an id").to_owned();
    cli.ok(&["webhook", "replay", "cancel", &id, "--project", "standup", "-q"]);

    // Somebody else stops it while it is waited for.
    let running =
        ["webhook", "replay", "list", "--project", "standup", "--jq", "map(select(.state == \"running\").id)"];
    let stopped = std::thread::scope(|scope| {
        let waiting = scope.spawn(|| cli.run(&replay(&slow)));
        let id = loop {
            if let Some(id) = cli.run(&running).json()[0].as_str() {
                break id.to_owned();
            }
        };
        cli.ok(&["webhook", "replay", "cancel", &id, "--project", "standup", "-q"]);
        waiting.join().expect("ends")
    });
    assert_eq!((stopped.code, stopped.error()["code"].as_str()), (12, Some("replay_cancelled")), "{}", stopped.shown());
    // Nothing is left that it could be sent to.
    let endpoint = receiver.url();
    let failed = std::thread::scope(|scope| {
        let waiting = scope.spawn(|| cli.run(&replay(&slow)));
        while cli.run(&running).json()[0].as_str().is_none() {}
        cli.ok(&["webhook", "endpoint", "disable", &endpoint, "--project", "standup", "--yes", "-q"]);
        waiting.join().expect("ends")
    });
    assert_eq!((failed.code, failed.error()["code"].as_str()), (12, Some("replay_failed")), "{}", failed.shown());
    assert!(failed.stderr.contains("was disabled"), "{}", failed.shown());
}

#[tokio::test]
async fn at_a_terminal_a_replay_is_waited_for_and_shows_how_far_it_is() {
    let daemon = Daemon::start(DaemonOptions::new()).await;
    let (operator, cli) = (daemon.client(), Cli::with_server(&daemon.url, &daemon.admin_token));
    cli.ok(&["org", "create", "acme", "--email", "ops@acme.example", "-q"]);
    cli.ok(&["project", "create", "standup", "--org", "acme", "-q"]);
    let receiver = Receiver::start(Action::ok());
    cli.ok(&["webhook", "endpoint", "create", &receiver.url(), "--project", "standup", "-q"]);
    // What is missing may still come to light for half a minute: so long it goes on, unless it is stopped.
    let watched = Cli::with_server(&daemon.url, &daemon.admin_token);
    let watching =
        tokio::task::spawn_blocking(move || watched.run_at_terminal(&replay(&["--missing", "--yes"]), "", ""));
    // The third look comes later than the moment up to which no bar is shown, and finds the replay running.
    let looked = async || (operator.series(LOOKS).await >= 3.0).then_some(());
    daemon.process.until("the command has looked three times", READY, looked).await;
    let id = cli.ok(&["webhook", "replay", "list", "--project", "standup", "--jq", ".[0].id"]);
    cli.ok(&["webhook", "replay", "cancel", &id, "--project", "standup", "-q"]);
    let run = watching.await.expect("the command is run");
    assert!(run.stdout.contains("replay ░") && run.stdout.contains("░ 0% "), "{}", run.stdout);
    assert_eq!(run.code, 12, "{}", run.stdout);
    assert!(run.stdout.contains("was cancelled"), "{}", run.stdout);
}
