//! Replays: which events they are about, what a dry run says, what is refused, how they end.

use std::{collections::BTreeSet, time::Duration};

use pulse_core::{deliver::state::Status, ops::replays::StartReplay};
use pulse_core::{
    error::Code,
    model::{
        delivery::Delivery,
        replay::{KEPT, MAX_RUNNING},
    },
    plane::Answer,
    repo::Document as _,
    store::{Batch, CommitMode, Scan, schema},
    watch::LATE,
    worker,
};
use pulse_tests::plane::{Customer, START, TestPlane, operator};
use serde_json::{Value, json};

use super::{bad_fields, refused};
use crate::pipeline::room::Room;

/// A customer with six events in two rooms from before there was an endpoint, and three in a third room after two were made:
/// one for all that happens and one for rooms alone.
struct Stage {
    t: TestPlane,
    c: Customer,
    all: String,
    rooms: String,
}

/// What LiveKit tells of the life of a room, a second between two events.
async fn life(t: &TestPlane, c: &Customer, name: &str) {
    let room = Room::new(c, name, &format!("RM_{name}"), t.plane.parts().clock.now());
    for event in [room.started(), room.joined("PA_1", "ada", START), room.finished(START)] {
        t.livekit_says(&event).await.expect("taken in");
        t.advance(Duration::from_secs(1)).await;
    }
}

async fn endpoint(t: &TestPlane, c: &Customer, types: &[&str]) -> String {
    let body = json!({ "url": "http://127.0.0.1:9/in", "schedule": [60], "event_types": types }).to_string();
    let made = t.send(&c.caller, "endpoints.create", &[], "", &body).await.expect("creates");
    made["id"].as_str().expect("an id").to_owned()
}

impl Stage {
    async fn new() -> Self {
        let t = TestPlane::new().await;
        let c = t.customer("a").await;
        life(&t, &c, "daily").await;
        life(&t, &c, "weekly").await;
        let (all, rooms) = (endpoint(&t, &c, &[]).await, endpoint(&t, &c, &["room_*"]).await);
        life(&t, &c, "late").await;
        Self { t, c, all, rooms }
    }

    async fn start(&self, body: &Value) -> pulse_core::Result<Value> {
        self.t.send(&self.c.caller, "replays.start", &[], "", &body.to_string()).await
    }

    async fn one(&self, op: &str, id: &Value) -> pulse_core::Result<Value> {
        self.t.send(&self.c.caller, op, &[("id", id.as_str().expect("an id"))], "", "").await
    }

    /// What a dry run says: events, deliveries, and up to when it has counted.
    async fn foretold(&self, body: &Value) -> (u64, u64, Value) {
        let op: StartReplay = serde_json::from_value(body.clone()).expect("valid");
        let mut call = self.t.call(&self.c.caller);
        call.dry_run = true;
        let Answer::DryRun(dry) = self.t.plane.execute(&call, &op).await.expect("plans") else {
            panic!("it was no dry run")
        };
        (dry.effects["events"], dry.effects["deliveries"], json!(dry.result.counted_until))
    }

    /// Lets every replay come to its end, also one that waits for what may still come to light.
    async fn settle(&self) {
        for _ in 0..2 {
            while worker::do_jobs(&self.t.pipeline).await.expect("works") > 0 {}
            self.t.advance(LATE + Duration::from_secs(4)).await;
        }
    }

    /// The deliveries, as they are stored.
    async fn deliveries(&self) -> Vec<Delivery> {
        let mut scan = Scan::new(&schema::DELIVERIES, "project", vec![self.c.id().to_string().into()]);
        scan.limit = 10_000;
        let rows = self.t.store.scan(scan).await.expect("reads").rows;
        rows.into_iter().map(|row| Delivery::from_stored(row).expect("decodes")).collect()
    }

    /// Starts a replay and lets it end; gives it and what it has made, each as room, type and endpoint.
    async fn done(&self, body: &Value) -> (Value, Vec<(String, String, String)>) {
        let started = self.start(body).await.expect("starts");
        self.settle().await;
        let mine = |one: &Delivery| json!(one.origin) == started["id"];
        let made = self.deliveries().await.into_iter().filter(mine).map(|one| {
            let room = one.room.map(|room| room.to_string()).unwrap_or_default();
            (room, one.event_type, one.endpoint_id.to_string())
        });
        let made = made.collect();
        (self.one("replays.get", &started["id"]).await.expect("gets"), made)
    }
}

#[tokio::test]
async fn a_replay_is_of_what_every_filter_says_and_makes_what_its_dry_run_has_counted() {
    let at = |seconds| START.plus(Duration::from_secs(seconds));
    for (what, body, events, deliveries) in [
        ("all", json!({ "status": "all" }), 9, 15),
        ("missing", json!({ "status": "missing" }), 6, 10),
        ("nothing failed", json!({}), 0, 0),
        ("a type", json!({ "status": "all", "types": ["participant_joined"] }), 3, 3),
        ("the beginning of types", json!({ "status": "all", "types": ["room_*"] }), 6, 12),
        ("two types", json!({ "status": "all", "types": ["room_started", "participant_*"] }), 6, 9),
        ("a room", json!({ "status": "all", "rooms": ["weekly"] }), 3, 5),
        ("two rooms", json!({ "status": "all", "rooms": ["weekly", "late"] }), 6, 10),
        ("a room where nothing is missing", json!({ "status": "missing", "rooms": ["late"] }), 0, 0),
        ("since", json!({ "status": "all", "since": at(3) }), 6, 10),
        ("until", json!({ "status": "all", "until": at(4) }), 4, 7),
        ("both", json!({ "status": "all", "since": at(1), "until": at(2) }), 1, 1),
        ("all of it", json!({ "status": "missing", "since": at(3), "types": ["room_*"], "rooms": ["weekly"] }), 2, 4),
    ] {
        let stage = Stage::new().await;
        assert_eq!(stage.foretold(&body).await, (events, deliveries, Value::Null), "{what}");
        assert_eq!(stage.t.store.count(&schema::REPLAYS, "primary", &[], 9).await.expect("counts"), 0, "a dry run");
        let (replay, made) = stage.done(&body).await;
        assert_eq!(
            (&replay["state"], &replay["events"], &replay["deliveries"], &replay["percent"]),
            (&json!("completed"), &json!(events), &json!(deliveries), &json!(100)),
            "{what}"
        );
        assert_eq!(made.len() as u64, deliveries, "{what}: {made:?}");
        let each: BTreeSet<_> = made.iter().collect();
        assert_eq!(each.len(), made.len(), "{what}: something twice: {made:?}");
        let unwanted =
            |(_, kind, endpoint): &&(String, String, String)| *endpoint == stage.rooms && !kind.starts_with("room_");
        assert_eq!(made.iter().find(unwanted), None, "{what}: the endpoint for rooms does not want that");
    }
}

#[tokio::test]
async fn one_endpoint_gets_it_and_its_own_types_still_hold() {
    let stage = Stage::new().await;
    let body = json!({ "status": "missing", "endpoint_id": stage.rooms });
    assert_eq!(stage.foretold(&body).await, (4, 4, Value::Null));
    let (replay, made) = stage.done(&body).await;
    assert_eq!((&replay["endpoint_ids"], made.len()), (&json!([stage.rooms]), 4));
    assert!(made.iter().all(|(_, _, endpoint)| *endpoint == stage.rooms), "{made:?}");
    assert_eq!(stage.foretold(&body).await, (0, 0, Value::Null), "nothing is missing any more");
    assert_eq!(stage.foretold(&json!({ "status": "missing" })).await, (6, 6, Value::Null), "at the other all of it");
}

#[tokio::test]
async fn failed_are_those_whose_latest_delivery_was_given_up() {
    let stage = Stage::new().await;
    let of_all = async || {
        let mut deliveries = stage.deliveries().await;
        deliveries.retain(|one| one.endpoint_id.to_string() == stage.all);
        deliveries
    };
    let body = json!({ "endpoint_id": stage.all });
    let one = of_all().await.remove(0);
    for (status, counts) in [
        (Status::Exhausted, 1),
        (Status::Quarantined, 1),
        (Status::Cancelled, 1),
        (Status::Expired, 1),
        (Status::Succeeded, 0),
        (Status::Leased, 0),
        (Status::Pending, 0),
    ] {
        let mut current = of_all().await.into_iter().find(|other| other.id == one.id).expect("there");
        current.state.status = status;
        current.due_at = None;
        let mut batch = Batch::new();
        current.replace_in(&mut batch).expect("encodes");
        stage.t.store.commit(batch, CommitMode::Apply).await.expect("commits");
        assert_eq!(stage.foretold(&body).await, (counts, counts, Value::Null), "{status:?}");
    }
    let mut given_up = of_all().await.into_iter().find(|other| other.id == one.id).expect("there");
    given_up.state.status = Status::Exhausted;
    let mut batch = Batch::new();
    given_up.replace_in(&mut batch).expect("encodes");
    stage.t.store.commit(batch, CommitMode::Apply).await.expect("commits");
    let (replay, made) = stage.done(&body).await;
    assert_eq!((&replay["status"], made.len()), (&json!("failed"), 1));
    assert_eq!(stage.foretold(&body).await, (0, 0, Value::Null), "a later one is on its way");
}

#[tokio::test]
async fn a_count_ends_at_its_bound_and_says_how_far_it_came() {
    let stage = Stage::new().await;
    let scan = Scan { limit: 1, ..Scan::new(&schema::EVENTS, "project", vec![stage.c.id().to_string().into()]) };
    let one = stage.t.store.scan(scan).await.expect("reads").rows.remove(0);
    let entropy = stage.t.plane.parts().entropy.as_ref();
    for second in 0..11_u64 {
        let mut batch = Batch::new();
        for n in 0..1_000_u64 {
            let at = START.plus(Duration::from_millis(60_000 + second * 1_000 + n));
            let id = pulse_core::id::EventId::new(at, entropy).to_string();
            let mut doc = one.doc.clone();
            (doc["id"], doc["source_id"], doc["log"], doc["seq"]) = (json!(id), json!(id), Value::Null, Value::Null);
            batch.insert(&schema::EVENTS, id, doc);
        }
        stage.t.store.commit(batch, CommitMode::Apply).await.expect("commits");
    }
    stage.t.advance(Duration::from_secs(100)).await;
    let (events, _, until) = stage.foretold(&json!({ "status": "all" })).await;
    assert!((10_000..10_500).contains(&events), "{events}");
    let until = until.as_str().expect("a moment").parse().expect("a moment");
    assert!(START < until && until < START.plus(Duration::from_secs(71)), "{until}");
    let few = json!({ "status": "all", "since": START.plus(Duration::from_secs(69)) });
    assert_eq!(stage.foretold(&few).await.2, Value::Null, "that is all of them");
}

#[tokio::test]
async fn what_cannot_be_replayed_is_refused_with_what_is_wrong() {
    let stage = Stage::new().await;
    let now = stage.t.plane.parts().clock.now();
    let later = now.plus(Duration::from_secs(60));
    for (body, field) in [
        (json!({ "since": later }), "since"),
        (json!({ "since": START.plus(Duration::from_secs(4)), "until": START }), "since"),
        (json!({ "since": START, "until": START }), "since"),
        (json!({ "rate_per_second": 0 }), "rate_per_second"),
        (json!({ "rate_per_second": 10_001 }), "rate_per_second"),
        (json!({ "rooms": vec!["r"; 51] }), "rooms"),
        (json!({ "types": ["Room"] }), "types[0]"),
        (json!({ "status": "succeeded" }), "status"),
        (json!({ "until": "yesterday" }), "until"),
    ] {
        assert_eq!(bad_fields(stage.start(&body).await), [field], "{body}");
    }
    let unknown = json!({ "endpoint_id": "ep_01J00000000000000000000000" });
    assert_eq!(refused(stage.start(&unknown).await), Code::NotFound);
    let to_rooms = json!({ "status": "all", "endpoint_id": stage.rooms });
    let go =
        async |op: &str, id: &str| stage.t.send(&stage.c.caller, op, &[("id", id)], "", "{}").await.expect("changes");
    go("endpoints.pause", &stage.rooms).await;
    stage.start(&to_rooms).await.expect("it is kept for a paused one");
    go("endpoints.disable", &stage.rooms).await;
    assert_eq!(refused(stage.start(&to_rooms).await), Code::WrongState);
    let others = stage.start(&json!({ "status": "all" })).await.expect("starts");
    assert_eq!(others["endpoint_ids"], json!([stage.all]), "a disabled one is left out");
    go("endpoints.disable", &stage.all).await;
    assert_eq!(refused(stage.start(&json!({})).await), Code::WrongState, "no endpoint is left");
    let id = stage.c.id().to_string();
    let reason = json!({ "reason": "unpaid" }).to_string();
    stage.t.send(&operator(), "projects.suspend", &[("id", &id)], "", &reason).await.expect("suspends");
    let body = json!({ "project_id": id }).to_string();
    assert_eq!(refused(stage.t.send(&operator(), "replays.start", &[], "", &body).await), Code::Suspended);
}

#[tokio::test]
async fn without_bounds_it_begins_at_the_oldest_event_and_ends_now() {
    let stage = Stage::new().await;
    let now = stage.t.plane.parts().clock.now();
    let long_ago = START.minus(Duration::from_secs(86_400));
    for body in
        [json!({ "status": "all" }), json!({ "status": "all", "since": long_ago, "until": "2099-01-01T00:00:00Z" })]
    {
        let replay = stage.start(&body).await.expect("starts");
        assert_eq!((&replay["since"], &replay["until"]), (&json!(START), &json!(now)), "{body}");
        assert_eq!(
            (&replay["state"], &replay["percent"], &replay["status"]),
            (&json!("running"), &json!(0), &json!("all"))
        );
    }
    let empty = stage.t.customer("b").await;
    endpoint(&stage.t, &empty, &[]).await;
    let replay = stage.t.send(&empty.caller, "replays.start", &[], "", "{}").await.expect("starts");
    assert_eq!((&replay["since"], &replay["until"]), (&json!(now), &json!(now)), "where nothing has happened");
}

#[tokio::test]
async fn a_project_has_only_so_many_at_once() {
    let stage = Stage::new().await;
    let body = json!({ "status": "all", "rate_per_second": 1 });
    let mut ids = Vec::new();
    for _ in 1..MAX_RUNNING {
        ids.push(stage.start(&body).await.expect("starts")["id"].clone());
    }
    ids.push(stage.start(&body).await.expect("starts")["id"].clone());
    assert_eq!(refused(stage.start(&body).await), Code::Conflict);
    stage.one("replays.cancel", &ids[0]).await.expect("cancels");
    stage.start(&body).await.expect("its place is free at once");
    assert_eq!(refused(stage.start(&body).await), Code::Conflict);
    // Another project's are its own.
    let other = stage.t.customer("b").await;
    endpoint(&stage.t, &other, &[]).await;
    stage.t.send(&other.caller, "replays.start", &[], "", "{}").await.expect("starts");
}

#[tokio::test]
async fn a_replay_is_cancelled_at_once_and_one_that_has_ended_is_not() {
    let stage = Stage::new().await;
    let started = stage.start(&json!({ "status": "all", "rate_per_second": 1 })).await.expect("starts");
    let cancelled = stage.one("replays.cancel", &started["id"]).await.expect("cancels");
    assert_eq!((&cancelled["state"], &cancelled["finished_at"]), (&json!("cancelled"), &Value::Null));
    let again = stage.one("replays.cancel", &started["id"]).await.expect("it is");
    assert_eq!(again, cancelled);
    stage.settle().await;
    let ended = stage.one("replays.get", &started["id"]).await.expect("gets");
    assert_eq!((&ended["state"], &ended["deliveries"]), (&json!("cancelled"), &json!(0)));
    assert_ne!(ended["finished_at"], Value::Null);
    let (completed, _) = stage.done(&json!({ "status": "all", "rooms": ["daily"] })).await;
    assert_eq!(refused(stage.one("replays.cancel", &completed["id"]).await), Code::WrongState);
    let list = stage.t.send(&stage.c.caller, "replays.list", &[], "", "").await.expect("lists");
    assert_eq!(list["data"], json!([completed, ended]), "newest first");
    let page = stage.t.send(&stage.c.caller, "replays.list", &[], "limit=1", "").await.expect("lists");
    let next = format!("limit=1&cursor={}", page["next_cursor"].as_str().expect("more"));
    let rest = stage.t.send(&stage.c.caller, "replays.list", &[], &next, "").await.expect("lists");
    assert_eq!((&page["data"], &rest["data"]), (&json!([completed]), &json!([ended])));
    let audit = stage.t.send(&stage.c.caller, "audit.list", &[], "action=replays.*", "").await.expect("lists");
    let actions: Vec<_> = audit["data"].as_array().expect("rows").iter().map(|entry| &entry["action"]).collect();
    assert_eq!(actions, ["replays.start", "replays.cancel", "replays.start"]);
}

#[tokio::test]
async fn nobody_sees_stops_or_aims_at_what_is_anothers() {
    let stage = Stage::new().await;
    let started = stage.start(&json!({ "status": "all" })).await.expect("starts");
    let id = started["id"].as_str().expect("an id");
    let other = stage.t.customer("b").await;
    for op in ["replays.get", "replays.cancel"] {
        assert_eq!(refused(stage.t.send(&other.caller, op, &[("id", id)], "", "").await), Code::NotFound, "{op}");
    }
    let list = stage.t.send(&other.caller, "replays.list", &[], "", "").await.expect("lists");
    assert_eq!(list["data"], json!([]));
    let theirs = json!({ "status": "all", "endpoint_id": stage.all }).to_string();
    assert_eq!(refused(stage.t.send(&other.caller, "replays.start", &[], "", &theirs).await), Code::NotFound);
    // Their endpoint gets their events, of which there are none.
    let mine = endpoint(&stage.t, &other, &[]).await;
    let own = stage.t.send(&other.caller, "replays.start", &[], "", r#"{"status":"all"}"#).await.expect("starts");
    stage.settle().await;
    let own = own["id"].as_str().expect("an id");
    let own = stage.t.send(&other.caller, "replays.get", &[("id", own)], "", "").await.expect("gets");
    assert_eq!((&own["state"], &own["deliveries"]), (&json!("completed"), &json!(0)));
    let to_mine = |one: &Delivery| one.endpoint_id.to_string() == mine;
    assert!(!stage.deliveries().await.iter().any(to_mine));
}

#[tokio::test]
async fn a_replay_that_has_ended_is_forgotten_after_thirty_days_and_goes_with_its_project() {
    let stage = Stage::new().await;
    let left = async || stage.t.store.count(&schema::REPLAYS, "primary", &[], 9).await.expect("counts");
    stage.done(&json!({ "status": "all" })).await;
    let running = stage.start(&json!({ "status": "all", "rate_per_second": 1 })).await.expect("starts");
    worker::do_jobs(&stage.t.pipeline).await.expect("works");
    stage.t.advance(KEPT - Duration::from_secs(120)).await;
    worker::sweep(&stage.t.plane, &stage.t.pipeline.stopping).await.expect("sweeps");
    assert_eq!(left().await, 2);
    stage.t.advance(Duration::from_secs(120)).await;
    worker::sweep(&stage.t.plane, &stage.t.pipeline.stopping).await.expect("sweeps");
    assert_eq!(left().await, 1, "one that has not ended stays");
    let state = stage.one("replays.get", &running["id"]).await.expect("gets");
    assert_eq!(state["state"], "running");
    let id = stage.c.id().to_string();
    stage.t.send(&operator(), "projects.delete", &[("id", &id)], "", "").await.expect("deletes");
    stage.settle().await;
    let row =
        stage.t.store.scan(Scan::new(&schema::REPLAYS, "primary", Vec::new())).await.expect("reads").rows.remove(0);
    assert_eq!((&row.doc["state"], &row.doc["reason"]), (&json!("failed"), &json!("the project was deleted")));
    stage.t.advance(Duration::from_secs(30 * 86_400)).await;
    // The sweep, for which its time has come, too, has not been here.
    worker::do_jobs(&stage.t.pipeline).await.expect("works");
    assert_eq!(left().await, 0);
}
