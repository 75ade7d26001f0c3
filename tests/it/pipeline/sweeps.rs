//! What is old goes, in bounded steps, and whatever one row of it looks like.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use pulse_core::{
    model::endpoint::EndpointState,
    parts::PipelineSettings,
    pipeline::Pipeline,
    store::{
        Batch, CommitMode, SharedStore,
        memory::MemoryStore,
        schema,
        sqlite::{SqliteOptions, SqliteStore},
        testing::faulty::{CallKind, FaultyStore},
    },
    time::{Clock as _, SystemClock},
    worker,
};
use pulse_tests::plane::{Customer, TestPlane, operator};
use rusqlite::Connection;
use serde_json::json;

use super::{endpoint, joined, room::Room, work};

const DAY: Duration = Duration::from_secs(86_400);
/// After everything of the start has had its time.
const LATER: Duration = Duration::from_secs(31 * 86_400);

#[tokio::test]
async fn a_row_that_does_not_say_when_its_time_is_over_keeps_no_other_from_going() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("pulse.db");
    let store = SqliteStore::open(SqliteOptions::new(&path, Arc::new(SystemClock::new()))).expect("a store");
    let store: SharedStore = Arc::new(store);
    let t = TestPlane::over(Arc::clone(&store), 1).await.expect("a plane");
    let customer = t.customer("acme").await;
    endpoint(&t, &customer, "http://127.0.0.1:9/", |endpoint| endpoint.state = EndpointState::Paused).await;
    for n in 0..5 {
        t.livekit_says(&joined(&t, &customer, n)).await.expect("taken in");
        t.clock.advance(Duration::from_millis(1));
    }
    let database = Connection::open(&path).expect("opens");
    for collection in ["deliveries", "events"] {
        let damage = format!(
            "UPDATE {collection} SET doc = json_set(doc, '$.expires_at', 'soon') \
             WHERE id IN (SELECT id FROM {collection} ORDER BY id LIMIT 2)"
        );
        assert_eq!(database.execute(&damage, []).expect("damages"), 2);
    }
    t.advance(LATER).await;
    work(&t).await;
    let left = |collection: &str| {
        let count = format!("SELECT count(*) FROM {collection}");
        database.query_row(&count, [], |row| row.get::<_, i64>(0)).expect("counts")
    };
    assert_eq!((left("deliveries"), left("events")), (2, 2), "the damaged ones keep the others");
}

#[tokio::test]
async fn a_retention_that_was_shortened_holds_for_what_is_stored_and_one_that_was_made_longer_for_what_comes() {
    let store: SharedStore = Arc::new(MemoryStore::new());
    let keeping = async |seed: u64, days: u32| {
        let pipeline = PipelineSettings { keep_events: DAY * days, ..PipelineSettings::default() };
        TestPlane::set(Arc::clone(&store), seed, pipeline).await.expect("a plane")
    };
    let long = keeping(1, 90).await;
    let customer = long.customer("acme").await;
    endpoint(&long, &customer, "http://127.0.0.1:9/", |endpoint| endpoint.state = EndpointState::Paused).await;
    long.livekit_says(&joined(&long, &customer, 1)).await.expect("taken in");
    let short = keeping(2, 7).await;
    short.advance(DAY).await;
    short.livekit_says(&joined(&short, &customer, 2)).await.expect("taken in");
    short.advance(DAY * 6 + DAY / 2).await;
    work(&short).await;
    let left = async |collection| store.count(collection, schema::PRIMARY, &[], 10).await.expect("counts");
    assert_eq!((left(&schema::DELIVERIES).await, left(&schema::EVENTS).await), (1, 1), "the first is a week old");
    short.livekit_says(&joined(&short, &customer, 3)).await.expect("taken in");
    let longer = keeping(3, 90).await;
    longer.advance(DAY * 8).await;
    work(&longer).await;
    assert_eq!(
        (left(&schema::DELIVERIES).await, left(&schema::EVENTS).await),
        (1, 1),
        "the second was promised a week"
    );
    longer.advance(DAY * 7).await;
    work(&longer).await;
    assert_eq!((left(&schema::DELIVERIES).await, left(&schema::EVENTS).await), (0, 0));
}

/// A plane over a store that counts its calls, with so many old events.
async fn with_old_events(count: usize) -> (Arc<FaultyStore>, TestPlane) {
    let (store, t) = TestPlane::over_faulty_store().await;
    let customer = t.customer("acme").await;
    for n in 0..count {
        t.livekit_says(&joined(&t, &customer, n)).await.expect("taken in");
    }
    t.clock.advance(LATER);
    (store, t)
}

#[tokio::test]
async fn a_sweep_ends_between_two_batches_when_the_daemon_stops() {
    let (store, t) = with_old_events(1_200).await;
    let (stopped, next) = (&t.pipeline.stopping, Pipeline::new(Arc::clone(&t.plane)));
    stopped.cancel();
    let before = store.calls(CallKind::Commit);
    worker::forget(&t.plane, stopped).await.expect("works");
    assert_eq!(store.calls(CallKind::Commit) - before, 1, "it goes on after the stop");
    worker::forget(&t.plane, &next.stopping).await.expect("works");
    assert_eq!(store.calls(CallKind::Commit) - before, 6, "the next one does not do what was left");
}

#[tokio::test]
async fn expired_documents_all_go_in_one_turn_and_not_after_the_stop() {
    let (store, t) = with_old_events(1_200).await;
    // The connections are kept for two years and a month.
    t.clock.advance(Duration::from_secs(760 * 86_400));
    let (stopped, next) = (&t.pipeline.stopping, Pipeline::new(Arc::clone(&t.plane)));
    stopped.cancel();
    let before = store.calls(CallKind::Sweep);
    worker::sweep(&t.plane, stopped).await.expect("works");
    assert_eq!(store.calls(CallKind::Sweep) - before, 1, "it goes on after the stop");
    worker::sweep(&t.plane, &next.stopping).await.expect("works");
    assert_eq!(t.plane.parts().store.sweep(t.clock.now(), 500).await.expect("sweeps"), 0, "some wait another minute");
}

#[tokio::test]
async fn of_a_purged_project_nothing_is_left_but_what_the_audit_says() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("pulse.db");
    let store = SqliteStore::open(SqliteOptions::new(&path, Arc::new(SystemClock::new()))).expect("a store");
    let t = TestPlane::over(Arc::new(store), 1).await.expect("a plane");
    let (gone, stays) = (t.customer("gone").await, t.customer("stays").await);
    for (customer, sid) in [(&gone, "RM_gone"), (&stays, "RM_stays")] {
        live(&t, customer, sid).await;
    }
    let database = Connection::open(&path).expect("opens");
    let of = |customer: &Customer| left_of(&database, &customer.id().to_string());
    let everywhere = of(&stays);
    for collection in COLLECTIONS_OF_PROJECTS {
        assert!(everywhere.contains_key(collection), "nothing to purge in {collection}: {everywhere:?}");
    }
    assert_eq!(of(&gone), everywhere);
    let id = gone.id().to_string();
    t.send(&operator(), "projects.delete", &[("id", &id)], "", "").await.expect("deletes");
    t.advance(Duration::from_secs(30 * 86_400 - 1)).await;
    worker::do_jobs(&t.pipeline).await.expect("works");
    assert!(of(&gone).contains_key("projects"), "it is purged too early");
    t.advance(Duration::from_secs(1)).await;
    worker::do_jobs(&t.pipeline).await.expect("works");
    let mut left = of(&gone);
    left.remove("audit_logs").expect("the audit tells of it");
    left.remove("idempotency_keys");
    assert_eq!(left, BTreeMap::new());
    assert_eq!(of(&stays).get("events"), everywhere.get("events"), "another project's went, too");
}

#[tokio::test]
async fn of_a_session_whose_time_is_over_not_even_its_number_is_left() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("pulse.db");
    let store = SqliteStore::open(SqliteOptions::new(&path, Arc::new(SystemClock::new()))).expect("a store");
    let t = TestPlane::over(Arc::new(store), 1).await.expect("a plane");
    let customer = t.customer("acme").await;
    live(&t, &customer, "RM_1").await;
    let database = Connection::open(&path).expect("opens");
    let count = |sql: &str| database.query_row(sql, [], |row| row.get::<_, i64>(0)).expect("counts");
    let logs = "SELECT count(*) FROM pulse_logs WHERE collection = 'events'";
    t.advance(LATER).await;
    work(&t).await;
    assert_eq!(count(logs), 1, "the session is still there, and so is its last number");
    t.advance(Duration::from_secs(760 * 86_400)).await;
    work(&t).await;
    assert_eq!((count("SELECT count(*) FROM sessions"), count(logs)), (0, 0));
}

/// Where something of a project is.
const COLLECTIONS_OF_PROJECTS: [&str; 16] = [
    "api_keys",
    "attempts",
    "bans",
    "deliveries",
    "endpoint_health",
    "endpoints",
    "events",
    "intervals",
    "key_sets",
    "key_uses",
    "meta",
    "projects",
    "pulse_logs",
    "sessions",
    "token_revocations",
    "usage_metrics",
];

/// Lets everything happen in a project that leaves something behind: a room in which somebody was and somebody is, a ban, a
/// revocation, an endpoint that failed.
async fn live(t: &TestPlane, customer: &Customer, sid: &str) {
    // A port that is open nowhere: every attempt fails.
    endpoint(t, customer, "http://127.0.0.1:9/", |_| {}).await;
    let now = t.clock.now();
    let room = Room::new(customer, "standup", sid, now);
    let (alice, bob) = (format!("PA_{sid}_1"), format!("PA_{sid}_2"));
    let events =
        [room.joined(&alice, "alice", now), room.joined(&bob, "bob", now), room.left(&alice, "alice", now, now)];
    for event in events {
        t.livekit_says(&event).await.expect("taken in");
    }
    for (operation, body) in
        [("bans.create", json!({ "identity": "m" })), ("tokens.revoke", json!({ "identity": "m" }))]
    {
        t.send(&customer.caller, operation, &[], "", &body.to_string()).await.expect("holds");
    }
    // As the reconciler of a project's own LiveKit leaves it.
    let mut batch = Batch::new();
    batch.insert(&schema::META, format!("reconciler:{}", customer.id()), json!({ "cluster": customer.id() }));
    t.store.commit(batch, CommitMode::Apply).await.expect("committed");
    t.login(&customer.secret).await.expect("works");
    work(t).await;
}

/// How many rows of each table speak of a project, or of a session of it.
fn left_of(database: &Connection, project: &str) -> BTreeMap<String, i64> {
    let mut tables = database.prepare("SELECT name FROM sqlite_schema WHERE type = 'table'").expect("tables");
    let tables: Vec<String> =
        tables.query_map([], |row| row.get(0)).expect("rows").collect::<Result<_, _>>().expect("names");
    let mut left = BTreeMap::new();
    for table in tables {
        let about = match table.as_str() {
            "pulse_logs" => {
                "collection = 'events' AND log IN (SELECT id FROM sessions WHERE instr(doc, ?1) > 0) \
                 OR collection = 'events' AND log NOT IN (SELECT id FROM sessions)"
            }
            // What indexes need beside the documents goes with them, and an engine's own tables know no project.
            _ if table.contains("__") || table.starts_with("pulse_") || table.starts_with("sqlite_") => continue,
            _ => "instr(doc, ?1) > 0 OR instr(id, ?1) > 0",
        };
        let count = format!("SELECT count(*) FROM \"{table}\" WHERE {about}");
        let rows: i64 = database.query_row(&count, [project], |row| row.get(0)).expect("counts");
        if rows > 0 {
            left.insert(table, rows);
        }
    }
    left
}
