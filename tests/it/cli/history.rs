//! Sessions, bans and usage at the command line.

use std::{sync::Arc, time::Duration};

use pulse_core::{
    id::ProjectId,
    model::usage::Usage,
    repo::Document as _,
    store::{
        Batch, CommitMode, Outcome, Scan, Store as _,
        sqlite::{SqliteOptions, SqliteStore},
    },
    time::{SystemClock, Timestamp},
};
use pulse_tests::{
    cli::Cli,
    plane::{START, TestPlane},
};

use super::{customer, script};
use crate::pipeline::room::{self, Room};

/// What comes of one room's life, as documents of this project; it goes on still unless it is `over`.
async fn documents(project: ProjectId, over: bool) -> Batch {
    let at = |seconds: u64| -> Timestamp { START.plus(Duration::from_secs(seconds)) };
    let t = TestPlane::new().await;
    let c = t.customer("elsewhere").await;
    let daily = Room::new(&c, "daily", "RM_1", at(0));
    let events = [
        daily.started(),
        daily.joined("PA_1", "alice", at(10)),
        daily.joined("PA_2", "bob", at(30)),
        daily.egress("egress_started", "EG_1", at(15), None),
        daily.egress("egress_ended", "EG_1", at(15), Some(at(45))),
        daily.left("PA_1", "alice", at(10), at(50)),
    ];
    for event in events.into_iter().chain(over.then(|| daily.finished(at(100)))) {
        t.livekit_says(&event).await.expect("taken in");
    }
    if over {
        room::settle(&t).await;
    }
    let mut batch = Batch::new();
    let mut session = room::session(&t, "RM_1").await;
    for mut interval in t.plane.parts().intervals.of_session(session.id).await.expect("reads") {
        interval.project_id = project;
        interval.insert_into(&mut batch).expect("encodes");
    }
    session.project_id = project;
    session.insert_into(&mut batch).expect("encodes");
    let scan = Scan::new(Usage::COLLECTION, "project_time", vec![c.id().to_string().into()]);
    for row in t.store.scan(scan).await.expect("reads").rows {
        let mut fact = Usage::from_stored(row).expect("decodes");
        fact.project_id = project;
        fact.insert_into(&mut batch).expect("encodes");
    }
    batch
}

/// The customer, in whose project a room has lived.
pub(super) fn with_history() -> Cli {
    with_a_room(true)
}

fn with_a_room(over: bool) -> Cli {
    let cli = customer();
    let project: ProjectId = cli.ok(&["project", "get", "standup", "-q"]).parse().expect("an id");
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let options = SqliteOptions::new(cli.path("store/pulse.db"), Arc::new(SystemClock::new()));
        let store = SqliteStore::open(options).expect("the store of the command line");
        store.prepare().await.expect("prepares");
        let outcome = store.commit(documents(project, over).await, CommitMode::Apply).await.expect("commits");
        assert!(matches!(outcome, Outcome::Committed { .. }), "{outcome:?}");
    });
    cli
}

#[test]
fn a_session_is_shown_with_a_line_for_each_connection() {
    let cli = with_history();
    insta::assert_snapshot!(script(
        &cli,
        &[
            &["session", "list", "--project", "standup"],
            &["session", "show", "daily", "--project", "standup"],
            &["session", "list", "--project", "standup", "--live"],
            &["session", "show", "nosuch", "--project", "standup"],
        ]
    ));
}

#[test]
fn a_session_for_a_program_is_the_apis_document_without_a_drawing() {
    let cli = with_history();
    let run = cli.run(&["session", "show", "daily", "--project", "standup", "-o", "json"]);
    assert_eq!(run.json()["participants"].as_array().map(Vec::len), Some(2), "{}", run.shown());
    let id = cli.ok(&["session", "show", "daily", "--project", "standup", "-q"]);
    let who = ["session", "show", &id, "--project", "standup", "--jq", ".participants[].identity"];
    assert_eq!(cli.ok(&who), "alice\nbob");
}

#[test]
fn at_a_terminal_a_drawing_is_no_wider_than_the_terminal() {
    let cli = with_history();
    let run = cli.run_at_terminal(&["session", "show", "daily", "--project", "standup"], "", "");
    assert!(run.stdout.contains("|=") && run.stdout.contains("egress room_composite"), "{}", run.stdout);
    assert!(run.stdout.lines().all(|line| line.chars().count() <= 80), "{}", run.stdout);
}

#[test]
fn usage_is_a_table_with_totals_beside_it() {
    let cli = with_history();
    insta::assert_snapshot!(script(
        &cli,
        &[
            &["usage", "show", "--project", "standup"],
            &["usage", "show", "--project", "standup", "--type", "egress_seconds", "-o", "csv", "--limit", "1"],
            &["usage", "show", "--project", "standup", "--until", "2026-01-01T00:00:00Z"],
            &["usage", "show", "--project", "standup", "--type", "nosuch"],
        ]
    ));
    let run = cli.run(&["usage", "show", "--project", "standup", "-o", "json"]);
    assert_eq!((run.json().as_array().map(Vec::len), run.stderr.as_str()), (Some(3), ""), "{}", run.shown());
}

#[test]
fn what_goes_on_has_no_id_to_print() {
    let cli = with_a_room(false);
    let rows = cli.run(&["usage", "show", "--project", "standup", "-o", "json"]).json();
    let ids: Vec<&str> = rows.as_array().expect("rows").iter().filter_map(|row| row["id"].as_str()).collect();
    assert!(!ids.is_empty() && ids.len() < rows.as_array().map_or(0, Vec::len), "{rows:#}");
    let run = cli.run(&["usage", "show", "--project", "standup", "-q"]);
    assert_eq!(run.stdout, ids.join("\n") + "\n", "{}", run.shown());
}

#[test]
fn a_ban_is_made_listed_and_lifted_by_identity_or_id() {
    let cli = customer();
    insta::assert_snapshot!(script(
        &cli,
        &[
            &["ban", "create", "mallory", "--project", "standup", "--reason", "spam", "--dry-run"],
            &["ban", "create", "mallory", "--project", "standup", "--reason", "spam"],
            &["ban", "create", "mallory", "--project", "standup", "--room", "daily"],
            &["ban", "list", "--project", "standup", "--columns", "identity,room_name,reason"],
            &["token", "create", "--project", "standup", "--room", "daily", "--identity", "mallory"],
            &["ban", "delete", "mallory", "--project", "standup", "--room", "daily", "-o", "name"],
            &["ban", "delete", "mallory", "--project", "standup", "-q"],
            &["ban", "delete", "mallory", "--project", "standup"],
            &["ban", "delete", "mallory", "--project", "standup", "--ignore-not-found"],
        ]
    ));
    cli.ok(&["ban", "create", "eve", "--project", "standup", "-q"]);
    cli.ok(&["ban", "create", "eve", "--project", "standup", "--room", "daily", "-q"]);
    let run = cli.run(&["ban", "delete", "eve", "--project", "standup", "-o", "json"]);
    assert_eq!((run.code, run.error()["code"].as_str()), (2, Some("ambiguous_name")), "{}", run.shown());
    assert!(run.error()["hint"].as_str().is_some_and(|hint| hint.contains("--room")), "{}", run.shown());
    let id = cli.ok(&["ban", "list", "--project", "standup", "--identity", "eve", "--jq", ".[0].id"]);
    let delete = ["ban", "delete", id.trim_matches('"'), "--project", "standup"];
    let both = cli.run(&[&delete[..], &["--room", "standup-of-another-day"]].concat());
    assert_eq!(
        (both.code, both.stderr.contains("--room")),
        (2, true),
        "a room that is not looked at: {}",
        both.shown()
    );
    assert_eq!(cli.run(&delete).code, 0);
}
