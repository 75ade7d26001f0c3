//! Several LiveKits: who hangs keeps nobody else waiting, and each is one daemon's at a time.

use std::{sync::Arc, time::Duration};

use futures_util::FutureExt as _;
use pulse_core::{
    id::ProjectId,
    ingest::{Accepted, Door},
    media::{
        cluster::signer_of,
        engine::Egress,
        room::WireRoom,
        testing::{Course, egress, person},
    },
    model::event::{Event, SERVER_CLUSTER},
    parts::PipelineSettings,
    reconcile::Circle,
    repo::Document as _,
    store::{
        Scan, SharedStore,
        memory::MemoryStore,
        schema,
        testing::faulty::{CallKind, Fault},
    },
    time::Timestamp,
};
use pulse_tests::{
    livekit_sender::ApiKey,
    plane::{START, TestPlane, operator, settings},
};
use serde_json::{Value, json};

use super::room::{facts, settle};

/// Longer than any time limit of these tests, by far.
const SOON: Duration = Duration::from_secs(20);

fn at(seconds: u64) -> Timestamp {
    START.plus(Duration::from_secs(seconds))
}

/// A project with a LiveKit of its own, which has told of a room.
async fn tenant(t: &TestPlane, name: &str) -> ProjectId {
    let customer = t.customer(name).await;
    bring(t, customer.id()).await;
    let millis = START.as_millis().to_string();
    let body = json!({
        "event": "room_started", "id": "EV_1", "createdAt": START.as_secs().to_string(),
        "room": { "sid": format!("RM_{name}"), "name": "standup", "creationTimeMs": millis },
    });
    say(t, customer.id(), &body).await;
    customer.id()
}

/// Lets the project bring its LiveKit along.
async fn bring(t: &TestPlane, project: ProjectId) {
    let own =
        json!({ "livekit_url": "ws://127.0.0.1:9", "livekit_api_key": "APIown", "livekit_api_secret": "own-secret" });
    update(t, project, &own).await;
}

async fn update(t: &TestPlane, project: ProjectId, change: &Value) {
    let id = project.to_string();
    t.send(&operator(), "projects.update", &[("id", &id)], "", &change.to_string()).await.expect("changed");
}

/// Lets the project's own LiveKit tell.
async fn say(t: &TestPlane, project: ProjectId, body: &Value) {
    let parts = t.plane.parts();
    let tenant = parts.keyring.tenant(project).await.expect("reads").expect("a tenant");
    let signer = signer_of(&tenant.project, &settings().livekit, &parts.sealer).expect("a key pair");
    let key = ApiKey::new(&signer.api_key, signer.api_secret.expose());
    let body = body.to_string();
    let authorization = key.authorization(body.as_bytes(), parts.clock.now());
    let door = Door::Project(project);
    let taken = t.pipeline.ingest.receive(door, Some(authorization.as_bytes()), body.as_bytes()).await;
    assert_eq!(taken.expect("taken in"), Accepted::Recorded);
}

/// How often a LiveKit was asked for its rooms.
fn asked(t: &TestPlane) -> usize {
    t.engine.calls().iter().filter(|call| *call == "list_rooms").count()
}

/// Rounds of a twentieth of a second, so that a look that hangs is over soon.
fn hasty() -> PipelineSettings {
    PipelineSettings { reconcile_every: Duration::from_millis(50), ..PipelineSettings::default() }
}

#[tokio::test]
async fn a_customers_livekit_that_hangs_keeps_no_other_waiting() {
    let t = TestPlane::new().await;
    let (one, other) = (tenant(&t, "one").await, tenant(&t, "other").await);
    t.clock.set(at(60));
    t.engine.course_of_next("list_rooms", Course::Stalls);
    let mut round = std::pin::pin!(t.pipeline.reconciler.round_of(Circle::Tenants));
    assert!(round.as_mut().now_or_never().is_none(), "one of them hangs");
    assert_eq!(asked(&t), 2, "the other waits for the one that hangs");
    let mut noted = 0;
    for project in [one, other] {
        let session = t.plane.parts().sessions.list(project, &Default::default(), None, None).await.expect("lists");
        noted += usize::from(session.data[0].absent.is_some());
    }
    assert_eq!(noted, 1, "the round of the other is not over");
    // And the installation's own goes round by itself.
    t.pipeline.reconciler.round_of(Circle::Own).now_or_never().expect("waits for nobody").expect("answers");
    assert_eq!(asked(&t), 3);
}

#[tokio::test]
async fn a_look_at_a_livekit_that_hangs_ends_within_its_lease_and_the_next_ones_are_apart() {
    let t = TestPlane::set(Arc::new(MemoryStore::new()), 1, hasty()).await.expect("a plane");
    for name in ["one", "other"] {
        tenant(&t, name).await;
    }
    t.clock.set(at(60));
    t.engine.course_of_next("list_rooms", Course::Stalls);
    let round = tokio::time::timeout(SOON, t.pipeline.reconciler.round_of(Circle::Tenants));
    round.await.expect("the look has an end").expect_err("one did not answer");
    assert_eq!(asked(&t), 2);
    // The good one is looked at with the good ones, the other one apart from them, until it answers again.
    for (circle, looks) in [(Circle::Tenants, 3), (Circle::Failing, 4), (Circle::Failing, 4), (Circle::Tenants, 6)] {
        t.pipeline.reconciler.round_of(circle).await.expect("answers");
        assert_eq!(asked(&t), looks, "after {circle:?}");
    }
}

#[tokio::test]
async fn a_livekit_that_answers_slowly_is_apart_from_the_others_until_it_is_quick() {
    let (store, t) = TestPlane::over_faulty_store().await;
    tenant(&t, "one").await;
    t.clock.set(at(60));
    store.plan(Fault::Stall { call: CallKind::Get, nth: 1 });
    let pipeline = Arc::clone(&t.pipeline);
    let looking = tokio::spawn(async move { pipeline.reconciler.round_of(Circle::Tenants).await });
    store.until_stalled().await;
    t.clock.advance(Duration::from_secs(11));
    store.release();
    looking.await.expect("ends").expect("it answered");
    for (circle, looks) in [(Circle::Tenants, 1), (Circle::Failing, 2), (Circle::Tenants, 3)] {
        t.pipeline.reconciler.round_of(circle).await.expect("answers");
        assert_eq!(asked(&t), looks, "after {circle:?}");
    }
}

/// Two daemons over one store, of which the first has looked at its LiveKit.
async fn after_a_round() -> (TestPlane, TestPlane) {
    let store: SharedStore = Arc::new(MemoryStore::new());
    let one = TestPlane::over(Arc::clone(&store), 1).await.expect("a plane");
    let other = TestPlane::over(store, 2).await.expect("a plane");
    other.clock.set(at(1));
    one.pipeline.reconciler.round().await.expect("answers");
    (one, other)
}

/// Whether the second daemon looks, too.
async fn looks(t: &TestPlane) -> bool {
    let before = asked(t);
    t.pipeline.reconciler.round().await.expect("answers");
    asked(t) > before
}

#[tokio::test]
async fn a_cluster_is_one_daemons_until_it_gives_it_back_or_its_lease_ends() {
    let (one, other) = after_a_round().await;
    assert!(!looks(&other).await, "two daemons look at one LiveKit");
    one.pipeline.reconciler.release().await.expect("gives it back");
    assert!(looks(&other).await, "what was given back is not free");
    assert!(!looks(&one).await, "it is the other's now");
    other.clock.set(at(120));
    one.clock.set(at(120));
    assert!(looks(&one).await, "a lease does not end");
    // Who gives back what has become another's takes nothing from them.
    other.pipeline.reconciler.release().await.expect("nothing to give back");
    assert!(!looks(&other).await, "another's lease was ended");
}

#[tokio::test]
async fn a_daemon_that_is_alone_on_its_store_does_not_wait_for_the_lease_of_one_that_crashed() {
    let (crashed, restarted) = after_a_round().await;
    drop(crashed);
    restarted.pipeline.reconciler.recover(true);
    assert!(looks(&restarted).await, "the lease of a dead process holds");
    assert!(looks(&restarted).await, "its own lease keeps it out");
}

#[tokio::test]
async fn what_was_seen_last_is_handed_over_with_the_cluster() {
    let (one, other) = after_a_round().await;
    one.clock.set(at(30));
    one.pipeline.reconciler.round().await.expect("answers");
    one.pipeline.reconciler.release().await.expect("gives it back");
    let lease = other.store.get(&schema::META, &format!("reconciler:{SERVER_CLUSTER}")).await.expect("reads");
    let lease = lease.expect("a lease").doc;
    assert_eq!((&lease["good_at"], &lease["until"]), (&json!(at(30)), &json!(at(30))), "{lease}");
}

#[tokio::test]
async fn a_customers_livekit_is_asked_before_anything_is_heard_of_it() {
    let t = TestPlane::new().await;
    let customer = t.customer("acme").await;
    t.clock.set(at(60));
    let before = asked(&t);
    t.pipeline.reconciler.round_of(Circle::Tenants).await.expect("answers");
    assert_eq!(asked(&t), before, "it has none");
    bring(&t, customer.id()).await;
    let room = WireRoom::heard("standup".to_owned());
    t.engine.put_room("RM_1", &room, at(0), vec![person("PA_1", "alice", at(0))]);
    t.pipeline.reconciler.round_of(Circle::Tenants).await.expect("answers");
    let project = customer.id().to_string();
    let alice = t.plane.parts().intervals.of_key(&project, "participant", "PA_1").await.expect("reads");
    assert!(alice.is_some_and(|alice| alice.is_open()), "a room that opened while nobody listened is not on record");
}

/// The events of the project of these types that were found out.
async fn told(t: &TestPlane, project: ProjectId, kinds: &[&str]) -> Vec<String> {
    let scan = Scan::new(Event::COLLECTION, "project", vec![project.to_string().into()]);
    let rows = t.plane.parts().store.scan(scan).await.expect("reads").rows;
    let events = rows.into_iter().map(|row| Event::from_stored(row).expect("decodes"));
    let found = events.filter(|event| kinds.contains(&event.kind.as_str()) && event.source_id.starts_with("syn:"));
    let mut sources: Vec<String> = found.map(|event| event.source_id).collect();
    sources.sort();
    sources
}

#[tokio::test]
async fn what_went_on_on_a_livekit_that_is_taken_away_ends_when_it_was_seen_last_and_is_told() {
    for missed in [false, true] {
        ends_when_seen_last(missed).await;
    }
}

/// The same, where the last round has `missed` everything or not.
async fn ends_when_seen_last(missed: bool) {
    let t = TestPlane::new().await;
    let project = tenant(&t, "acme").await;
    let millis = START.as_millis().to_string();
    let room = json!({ "sid": "RM_acme", "name": "standup", "creationTimeMs": millis });
    let joined = json!({
        "event": "participant_joined", "id": "EV_2", "createdAt": START.as_secs().to_string(), "room": room,
        "participant": { "sid": "PA_1", "identity": "alice", "state": "ACTIVE", "joinedAtMs": millis },
    });
    // A web page is streamed out of no room at all.
    let web = json!({
        "event": "egress_started", "id": "EV_3", "createdAt": START.as_secs().to_string(),
        "egressInfo": { "egressId": "EG_1", "status": "EGRESS_ACTIVE", "startedAt": format!("{millis}000000"), "web": {} },
    });
    for body in [joined, web] {
        say(&t, project, &body).await;
    }
    let name = WireRoom::heard("standup".to_owned());
    t.engine.put_room("RM_acme", &name, START, vec![person("PA_1", "alice", START)]);
    t.engine.put_egress(vec![web_egress()]);
    for minute in 1..=180 {
        t.clock.set(at(minute * 60));
        t.pipeline.reconciler.round_of(Circle::Tenants).await.expect("answers");
    }
    if missed {
        t.clock.set(at(180 * 60 + 10));
        t.engine.close_room(&name);
        t.engine.put_egress(Vec::new());
        t.pipeline.reconciler.round_of(Circle::Tenants).await.expect("answers");
    }
    t.clock.set(at(180 * 60 + 20));
    let gone = json!({ "livekit_url": null, "livekit_api_key": null, "livekit_api_secret": null });
    update(&t, project, &gone).await;
    let asked_before = t.engine.calls().len();
    t.pipeline.reconciler.round_of(Circle::Tenants).await.expect("nobody is asked");
    assert_eq!(t.engine.calls().len(), asked_before);
    settle(&t).await;
    let parts = t.plane.parts();
    let cluster = project.to_string();
    for (kind, key) in [("participant", "PA_1"), ("egress", "EG_1")] {
        let span = parts.intervals.of_key(&cluster, kind, key).await.expect("reads").expect("on record");
        assert_eq!(span.evidence.end(), Some(at(180 * 60)), "{kind}: it was seen for three hours");
    }
    let facts = facts(&t, project).await;
    assert_eq!(facts.iter().map(|fact| fact.value).collect::<Vec<_>>(), [10_800.0, 10_800.0]);
    let kinds = ["participant_left", "room_ended", "egress_ended"];
    assert_eq!(
        told(&t, project, &kinds).await,
        ["syn:EG_1:egress_ended", "syn:PA_1:participant_left", "syn:RM_acme:room_ended"]
    );
    let list = t.plane.parts().sessions.list(project, &Default::default(), None, None).await.expect("lists").data;
    assert_eq!(list[0].gaps.len(), 2, "{list:?}");
    assert!(list[0].summary.is_some());
    assert_eq!(parts.store.get(&schema::META, &format!("reconciler:{cluster}")).await.expect("reads"), None);
}

/// An egress of a web page, as a list has it.
fn web_egress() -> Egress {
    let mut web = egress("EG_1", (&WireRoom::heard(String::new()), ""), START, None);
    (web.facts.wire_room, web.facts.room_sid) = (None, None);
    (web.data.room_name, web.data.room_sid) = (None, None);
    web
}

#[tokio::test]
async fn an_egress_without_a_room_whose_end_was_lost_ends_and_is_told() {
    let t = TestPlane::new().await;
    let customer = t.customer("acme").await;
    bring(&t, customer.id()).await;
    t.clock.set(at(60));
    t.engine.put_egress(vec![web_egress()]);
    t.pipeline.reconciler.round_of(Circle::Tenants).await.expect("answers");
    t.engine.put_egress(Vec::new());
    for seconds in [90, 120] {
        t.clock.set(at(seconds));
        t.pipeline.reconciler.round_of(Circle::Tenants).await.expect("answers");
    }
    let kinds = ["egress_started", "egress_ended"];
    assert_eq!(told(&t, customer.id(), &kinds).await, ["syn:EG_1:egress_ended", "syn:EG_1:egress_started"]);
    assert_eq!(facts(&t, customer.id()).await.iter().map(|fact| fact.value).collect::<Vec<_>>(), [75.0]);
}

#[tokio::test]
async fn a_room_that_pulse_cannot_name_is_told_without_it_and_counted() {
    let t = TestPlane::new().await;
    let customer = t.customer("acme").await;
    bring(&t, customer.id()).await;
    let millis = START.as_millis().to_string();
    for (n, name) in [(1, "stand~up".to_owned()), (2, "x".repeat(226)), (3, "x".repeat(225))] {
        let room = json!({ "sid": format!("RM_{n}"), "name": name, "creationTimeMs": millis });
        let id = format!("EV_{n}");
        let body = json!({ "event": "room_started", "id": id, "createdAt": START.as_secs().to_string(), "room": room });
        say(&t, customer.id(), &body).await;
    }
    assert_eq!(t.plane.parts().metrics.foreign_rooms.get(), 2);
    let sessions = t.plane.parts().sessions.list(customer.id(), &Default::default(), None, None).await.expect("lists");
    assert_eq!(sessions.data.iter().map(|session| session.livekit_sid.as_str()).collect::<Vec<_>>(), ["RM_3"]);
}

#[tokio::test]
async fn people_in_a_room_that_pulse_cannot_name_are_on_record_once_they_have_left() {
    let t = TestPlane::new().await;
    let customer = t.customer("acme").await;
    bring(&t, customer.id()).await;
    let millis = START.as_millis().to_string();
    let of = |kind: &str, seconds: u64| {
        json!({
            "event": kind, "id": kind, "createdAt": at(seconds).as_secs().to_string(),
            "room": { "sid": "RM_1", "name": "stand~up", "creationTimeMs": millis },
            "participant": { "sid": "PA_1", "identity": "alice", "state": "ACTIVE", "joinedAtMs": millis },
        })
    };
    say(&t, customer.id(), &of("participant_joined", 0)).await;
    let open = t.plane.parts().intervals.open_of(customer.id(), 10).await.expect("reads");
    assert_eq!(open, [], "nobody would see it end");
    say(&t, customer.id(), &of("participant_left", 60)).await;
    assert_eq!(facts(&t, customer.id()).await.iter().map(|fact| fact.value).collect::<Vec<_>>(), [60.5]);
}

/// Its lists may say anything: no look at a customer's LiveKit records more than so much.
#[tokio::test]
async fn a_customers_livekit_that_shows_ever_new_things_fills_the_store_only_slowly() {
    let t = TestPlane::new().await;
    let customer = t.customer("acme").await;
    bring(&t, customer.id()).await;
    let room = WireRoom::heard("hall".to_owned());
    let crowd = |round: u64| (0..3_000).map(|n| person(&format!("PA_{round}_{n}"), "ghost", START)).collect();
    t.engine.put_room("RM_1", &room, START, crowd(0));
    t.clock.set(at(60));
    t.pipeline.reconciler.round_of(Circle::Tenants).await.expect_err("there is more");
    let on_record = async || t.plane.parts().intervals.open_of(customer.id(), 10_000).await.expect("reads").len();
    assert_eq!(on_record().await, 999, "beside the room itself");
    t.clock.set(at(90));
    t.pipeline.reconciler.round_of(Circle::Failing).await.expect_err("there is still more");
    assert_eq!(on_record().await, 1_999, "the next look goes on");
}

#[tokio::test]
async fn a_livekit_that_was_given_back_meanwhile_is_not_forgotten() {
    let (store, t, other) = TestPlane::two_over_faulty_store().await;
    let customer = t.customer("acme").await;
    bring(&t, customer.id()).await;
    let gone = json!({ "livekit_url": null, "livekit_api_key": null, "livekit_api_secret": null });
    update(&t, customer.id(), &gone).await;
    t.clock.set(at(60));
    other.clock.set(at(60));
    // It takes its turn, and is about to forget the cluster.
    store.plan(Fault::Stall { call: CallKind::Commit, nth: 2 });
    let pipeline = Arc::clone(&t.pipeline);
    let looking = tokio::spawn(async move { pipeline.reconciler.round_of(Circle::Tenants).await });
    store.until_stalled().await;
    bring(&other, customer.id()).await;
    store.release();
    looking.await.expect("ends").expect("works");
    let lease = format!("reconciler:{}", customer.id());
    assert!(other.store.get(&schema::META, &lease).await.expect("reads").is_some(), "nobody would ask it any more");
}
