//! Events at the command line: lists, made-up events, events as they happen, and events to a server on this machine.

use std::{process::Command, time::Duration};

use pulse_core::deliver::sign::{self, SigningSecret};
use pulse_tests::{
    cli::{Cli, program},
    daemon::{self, Daemon, DaemonOptions},
    process::{Child, Signal},
    receiver::{Action, Receiver},
    temporary_folder,
};
use serde_json::Value;

use super::{customer, script};

/// The bound of everything that is awaited.
const SOON: Duration = Duration::from_secs(30);

#[test]
fn events_are_made_up_listed_and_looked_at() {
    let cli = customer();
    let at = ["--project", "standup"];
    let id = cli.ok(&["trigger", "participant_joined", "-p", "standup", "--room", "daily", "-q"]).trim().to_owned();
    let shown = script(
        &cli,
        &[
            &[
                "trigger",
                "participant_joined",
                "-p",
                "standup",
                "--room",
                "daily",
                "--set",
                "participant.identity=bob",
                "--dry-run",
            ],
            &["trigger", "egress_ended", "-p", "standup", "--set", "egress.status=failed", "--set", "egress.size=1"],
            &["trigger", "room_exploded", "-p", "standup"],
            &["trigger", "room_started", "-p", "standup", "--set", "room.name"],
            &["events", "list", at[0], at[1]],
            &[
                "events",
                "list",
                at[0],
                at[1],
                "--type",
                "participant_*",
                "--since",
                "1h",
                "-o",
                "wide",
                "--columns",
                "type,room,data.participant.identity",
            ],
            &["events", "list", at[0], at[1], "--after-sequence", "1"],
            &["events", "get", &id, at[0], at[1], "--columns", "id,type,test,room"],
            &["events", "tail", at[0], at[1], "--since", "1h", "--limit", "1"],
            &["events", "tail", at[0], at[1], "--since", "1h", "--limit", "1", "--jq", ".type"],
            &["events", "tail", at[0], at[1], "--since", "1h", "--limit", "1", "-q"],
            &["events", "tail", at[0], at[1], "--after", "evt_01J00000000000000000000000", "--limit", "1", "-o", "csv"],
            &["events", "tail", "--project", "standup", "--curl", "--type", "room_*", "--after", &id],
            &["events", "tail", "-p", "prj_01J00000000000000000000000", "--curl", "--type", "room_*", "--after", &id],
        ],
    );
    insta::assert_snapshot!(shown.replace(&id, "evt_1"));
}

/// A daemon in a folder, its project standup, and a command line for it.
async fn served(folder: &std::path::Path) -> (Daemon, Cli) {
    let daemon = Daemon::start_in(folder, DaemonOptions::new()).await;
    let cli = Cli::with_server(&daemon.url, &daemon.admin_token);
    cli.ok(&["org", "create", "acme", "--email", "ops@acme.example", "-q"]);
    cli.ok(&["project", "create", "standup", "--org", "acme", "-q"]);
    (daemon, cli)
}

/// A command that goes on until it is ended.
fn begin(cli: &Cli, daemon: &Daemon, name: &str, arguments: &[&str]) -> Child {
    let mut command = Command::new(program("pulse"));
    command
        .env_clear()
        .envs(daemon::OUTBOUND)
        .envs([
            ("HOME", cli.folder().to_str().expect("UTF-8")),
            ("PULSE_SERVER", &daemon.url),
            ("PULSE_TOKEN", &daemon.admin_token),
        ])
        .args(arguments);
    Child::spawn(name, &mut command, cli.folder())
}

/// What the command has printed, once it is so many lines.
async fn lines(child: &Child, count: usize) -> Vec<String> {
    let what = format!("{count} lines");
    child
        .until(&what, SOON, async || {
            let lines: Vec<String> = child.stdout().lines().map(str::to_owned).collect();
            (lines.len() >= count).then_some(lines)
        })
        .await
}

fn rooms(lines: &[String]) -> Vec<String> {
    let room =
        |line: &String| serde_json::from_str::<Value>(line).expect("JSON")["room"].as_str().expect("a room").to_owned();
    lines.iter().map(room).collect()
}

/// The same daemon again, at the same address.
async fn again(folder: &std::path::Path, address: &str) -> Daemon {
    Daemon::start_in(folder, DaemonOptions::new().env("PULSE_LISTEN", address)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tail_goes_on_after_a_restart_of_the_server_and_shows_everything_once() {
    let folder = temporary_folder("tail");
    let (daemon, cli) = served(folder.path()).await;
    let address = daemon.address().to_owned();
    cli.ok(&["trigger", "room_started", "-p", "standup", "--room", "zero", "-q"]);
    let tail = begin(&cli, &daemon, "tail", &["events", "tail", "-p", "standup", "--since", "1h", "-o", "jsonl"]);
    lines(&tail, 1).await;
    cli.ok(&["trigger", "room_started", "-p", "standup", "--room", "one", "-q"]);
    assert_eq!(rooms(&lines(&tail, 2).await), ["zero", "one"]);
    daemon.process.kill().await;
    let daemon = again(folder.path(), &address).await;
    cli.ok(&["trigger", "room_started", "-p", "standup", "--room", "two", "-q"]);
    assert_eq!(rooms(&lines(&tail, 3).await), ["zero", "one", "two"]);
    assert_eq!(daemon.stop().await.code(), Some(0));
    let daemon = again(folder.path(), &address).await;
    cli.ok(&["trigger", "room_started", "-p", "standup", "--room", "three", "-q"]);
    assert_eq!(rooms(&lines(&tail, 4).await), ["zero", "one", "two", "three"], "each once");
    let said = tail.stderr();
    assert!(said.contains("connecting again") && said.contains("connected again"), "{said}");
    tail.signal(Signal::TERM);
    tail.exited(SOON).await;
    drop(daemon);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tail_that_may_not_read_fails_at_once() {
    let folder = temporary_folder("tail");
    let (daemon, cli) = served(folder.path()).await;
    let cli = cli.env("PULSE_TOKEN", "an-operators-token-that-is-not-the-right-one");
    let run = cli.run(&["events", "tail", "--limit", "1", "-o", "json"]);
    assert_eq!((run.code, run.error()["code"].as_str()), (4, Some("unauthenticated")), "{}", run.shown());
    for endless in
        [&["events", "tail", "-o", "json"][..], &["api", "GET", "/v1/events/stream?type=room_*", "-o", "json"]]
    {
        let run = cli.run(endless);
        assert_eq!((run.code, run.error()["code"].as_str()), (2, Some("usage")), "{}", run.shown());
    }
    drop(daemon);
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_forwarded_signed_and_in_order_and_what_is_refused_is_shown() {
    let folder = temporary_folder("listen");
    let (daemon, cli) = served(folder.path()).await;
    let address = daemon.address().to_owned();
    let receiver = Receiver::start(Action::status(200));
    receiver.behave_at("/refuses", Action::status(500));
    let hook = format!("{}/hook", receiver.url());
    let events = ["--events", "participant_*", "--events", "room_ended"];
    let file = cli.path("secret");
    let sink = ["--secret-to-file", file.to_str().expect("UTF-8")];
    let listening = [&["listen", "-p", "standup", "--forward-to", &hook, "-o", "jsonl"][..], &events, &sink].concat();
    let listen = begin(&cli, &daemon, "listen", &listening);
    let secret = SigningSecret::parse(listen.until_file(&file).await.trim()).expect("a secret");
    for kind in ["participant_joined", "room_started", "room_ended"] {
        cli.ok(&["trigger", kind, "-p", "standup", "-q"]);
    }
    let received = receiver.wait_for(2, SOON).await;
    let kinds: Vec<&str> = received.iter().map(|one| one.header("pulse-event-type")).collect();
    assert_eq!(kinds, ["participant_joined", "room_ended"]);
    for one in &received {
        let message = sign::Message {
            id: one.header("webhook-id"),
            timestamp: one.header("webhook-timestamp").parse().expect("a number"),
            body: &[&one.body],
        };
        sign::check_signature([&secret].map(Clone::clone).as_slice(), &message, one.header("webhook-signature"))
            .expect("a good signature");
        let event: Value = serde_json::from_slice(&one.body).expect("JSON");
        assert_eq!((event["id"].as_str(), event["test"].as_bool()), (Some(one.header("webhook-id")), Some(true)));
    }
    daemon.process.kill().await;
    let daemon = again(folder.path(), &address).await;
    cli.ok(&["trigger", "participant_left", "-p", "standup", "-q"]);
    receiver.wait_for(3, SOON).await;
    let told = lines(&listen, 3).await;
    let told: Vec<Value> = told.iter().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert!(told.iter().all(|one| one["status"] == 200 && one["duration_ms"].is_u64()), "{told:?}");
    listen.signal(Signal::TERM);
    listen.exited(SOON).await;

    let refuses = format!("{}/refuses", receiver.url());
    let of_before = ["--since", "1h", "--limit", "4"];
    let run = cli.run(&[&["listen", "-p", "standup", "--forward-to", &refuses], &of_before[..]].concat());
    assert_eq!((run.code, run.stdout.matches(" -> 500 in ").count()), (0, 4), "{}", run.shown());
    assert!(run.stdout.starts_with("forwarding to ") && run.stdout.contains(", signed with whsec_"), "{}", run.shown());
    assert_eq!(receiver.received().len(), 7, "nothing is sent twice");
    receiver.close().await;
    let run = cli.run(&["listen", "-p", "standup", "--forward-to", &hook, "--since", "1h", "--limit", "1"]);
    assert!(run.code == 0 && run.stdout.contains("refused"), "{}", run.shown());
    let run = cli.run(&["listen", "-p", "standup", "--forward-to", &hook, "-o", "jsonl"]);
    assert!(
        run.code == 2 && run.error()["hint"].as_str().is_some_and(|hint| hint.contains("--secret-to-file")),
        "{}",
        run.shown()
    );
    let run = cli.run(&["listen", "-p", "standup", "--forward-to", "http://192.0.2.1/", "-o", "jsonl"]);
    assert_eq!(run.code, 3, "an address outside of what may be connected to: {}", run.shown());
    let run = cli.run(&["listen", "-p", "standup", "--forward-to", "ftp://127.0.0.1/", "-o", "jsonl"]);
    assert_eq!(run.code, 2, "{}", run.shown());
    drop(daemon);
}
