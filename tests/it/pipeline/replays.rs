//! Replays at work: what a crash leaves is gone on with, what is sent is what was sent before, and nothing else waits for it.

use std::{collections::BTreeSet, time::Duration};

use pulse_core::{
    deliver::dispatch::DISABLED,
    deliver::schedule::Schedule,
    error::Code,
    model::{
        delivery::{Delivery, Trigger},
        endpoint::{Endpoint, EndpointState},
        event::TEST_EVENT,
        replay::MAX_RUNNING,
    },
    repo::Document as _,
    store::{
        Scan, schema,
        testing::faulty::{CallKind, Fault},
    },
    watch::LATE,
    worker,
};
use pulse_tests::{
    plane::{Customer, START, TestPlane, operator},
    receiver::{Action, Gate, Received, Receiver},
};
use serde_json::{Value, json};

use super::{attempts, daemons::store, deliveries, endpoint, joined, work};

/// Longer than a job that nobody has ended is somebody's.
const LEASE: Duration = Duration::from_secs(32);
/// Nobody answers there.
const NOWHERE: &str = "http://127.0.0.1:9/in";

/// Starts a replay of what has happened until a moment ago, when nothing happens any more.
async fn start(t: &TestPlane, c: &Customer, body: Value) -> Value {
    t.advance(Duration::from_secs(2)).await;
    t.send(&c.caller, "replays.start", &[], "", &body.to_string()).await.expect("starts")
}

async fn one(t: &TestPlane, c: &Customer, op: &str, replay: &Value) -> Value {
    t.send(&c.caller, op, &[("id", replay["id"].as_str().expect("an id"))], "", "").await.expect("answers")
}

async fn get(t: &TestPlane, c: &Customer, replay: &Value) -> Value {
    one(t, c, "replays.get", replay).await
}

/// Lets so many events happen.
async fn happen(t: &TestPlane, c: &Customer, numbers: std::ops::Range<usize>) {
    for n in numbers {
        t.livekit_says(&joined(t, c, n)).await.expect("taken in");
    }
}

/// What a replay has made.
async fn made(t: &TestPlane, replay: &Value) -> Vec<Delivery> {
    let scan = Scan { limit: 10_000, ..Scan::new(&schema::DELIVERIES, schema::PRIMARY, Vec::new()) };
    let rows = t.store.scan(scan).await.expect("reads").rows;
    let all = rows.into_iter().map(|row| Delivery::from_stored(row).expect("decodes"));
    all.filter(|delivery| replay["id"] == json!(delivery.origin)).collect()
}

async fn jobs(t: &TestPlane) {
    while worker::do_jobs(&t.pipeline).await.expect("works") > 0 {}
}

/// How the first daemon ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// It dies on the way to the commit.
    Before,
    /// The commit is applied, and nobody hears of it.
    After,
}

#[tokio::test]
async fn a_replay_that_was_cut_off_at_any_cursor_is_gone_on_with_and_delivers_each_event_once() {
    // The last commit is the end of the replay.
    for nth in 1..=4 {
        for end in [End::Before, End::After] {
            let (store, t, other) = TestPlane::two_over_faulty_store().await;
            let c = t.customer("acme").await;
            happen(&t, &c, 0..210).await;
            let paused = |made: &mut Endpoint| made.state = EndpointState::Paused;
            endpoint(&t, &c, NOWHERE, paused).await;
            let replay = start(&t, &c, json!({ "status": "all" })).await;
            match end {
                End::Before => {
                    store.plan(Fault::Stall { call: CallKind::Commit, nth });
                    let pipeline = std::sync::Arc::clone(&t.pipeline);
                    let working = tokio::spawn(async move { worker::do_jobs(&pipeline).await });
                    store.until_stalled().await;
                    working.abort();
                    assert!(working.await.expect_err("it was broken off").is_cancelled());
                }
                End::After => {
                    store.plan(Fault::FailAfter { call: CallKind::Commit, nth });
                    worker::do_jobs(&t.pipeline).await.expect("the failure is written down");
                }
            }
            let before = made(&t, &replay).await.len() as u64;
            let known = if end == End::Before { nth - 1 } else { nth };
            assert_eq!(before, (known * 100).min(210), "{end:?} {nth}");
            assert_eq!(
                get(&t, &c, &replay).await["deliveries"],
                json!(before),
                "{end:?} {nth}: rows without their cursor"
            );
            other.clock.set(START.plus(LEASE));
            jobs(&other).await;
            let ended = get(&other, &c, &replay).await;
            let counted = (&ended["state"], &ended["events"], &ended["deliveries"]);
            assert_eq!(counted, (&json!("completed"), &json!(210), &json!(210)), "{end:?} {nth}");
            let all = made(&other, &replay).await;
            let events: BTreeSet<String> = all.iter().map(|delivery| delivery.event_id.to_string()).collect();
            assert_eq!((all.len(), events.len()), (210, 210), "{end:?} {nth}");
        }
    }
}

#[tokio::test]
async fn two_daemons_at_one_replay_make_each_delivery_once() {
    let (store, t, other) = TestPlane::two_over_faulty_store().await;
    let c = t.customer("acme").await;
    happen(&t, &c, 0..210).await;
    endpoint(&t, &c, NOWHERE, |made| made.state = EndpointState::Paused).await;
    let replay = start(&t, &c, json!({ "status": "all" })).await;
    // The first stands still on the way to its second commit until the other one has taken over and is through.
    store.plan(Fault::Stall { call: CallKind::Commit, nth: 2 });
    let pipeline = std::sync::Arc::clone(&t.pipeline);
    let slow = tokio::spawn(async move { worker::do_jobs(&pipeline).await });
    store.until_stalled().await;
    other.clock.set(START.plus(LEASE));
    jobs(&other).await;
    store.release();
    slow.await.expect("ends").expect("works");
    let ended = get(&other, &c, &replay).await;
    assert_eq!((&ended["state"], &ended["deliveries"]), (&json!("completed"), &json!(210)));
    assert_eq!(made(&other, &replay).await.len(), 210);
}

#[tokio::test]
async fn what_is_replayed_is_the_same_to_the_byte_and_says_in_a_header_that_it_is() {
    let t = TestPlane::new().await;
    let c = t.customer("acme").await;
    let receiver = Receiver::start(Action::status(500));
    endpoint(&t, &c, &receiver.url(), |made| made.schedule = Some(Schedule::new([1]).expect("a schedule"))).await;
    happen(&t, &c, 1..2).await;
    for _ in 0..2 {
        work(&t).await;
        t.advance(Duration::from_secs(2)).await;
    }
    receiver.behave(Action::ok());
    let replay = start(&t, &c, json!({})).await;
    work(&t).await;
    let came = receiver.received();
    let headers = |name: &str| came.iter().map(|one| one.header(name).to_owned()).collect::<Vec<_>>();
    let id = replay["id"].as_str().expect("an id");
    assert_eq!(headers("pulse-replay"), ["", "", id], "two attempts of the first delivery, and the replay");
    assert_eq!(headers("pulse-attempt"), ["1", "2", "1"]);
    assert!(came.iter().all(|one| one.body == came[0].body), "the bytes are not the same");
    assert!(headers("webhook-id").iter().all(|one| *one == came[0].webhook_id()), "the id is not the same");
    assert!(!String::from_utf8_lossy(&came[2].body).contains("replay"), "it is in the body");
    let again = deliveries(&t, &c).await.into_iter().find(|delivery| delivery.origin == id).expect("a delivery");
    assert_eq!(attempts(&t, &c, &again).await[0].trigger, Trigger::Replay);
    // What is sent once more by hand is no replay.
    t.send(&c.caller, "deliveries.resend", &[("id", &again.id.to_string())], "", "{}").await.expect("sends");
    work(&t).await;
    assert_eq!(receiver.received()[3].header("pulse-replay"), "");
}

#[tokio::test]
async fn a_replay_that_is_cancelled_in_the_middle_makes_no_more() {
    let t = TestPlane::new().await;
    let c = t.customer("acme").await;
    happen(&t, &c, 0..10).await;
    endpoint(&t, &c, NOWHERE, |made| made.state = EndpointState::Paused).await;
    let replay = start(&t, &c, json!({ "status": "all", "rate_per_second": 2 })).await;
    jobs(&t).await;
    let cancelled = one(&t, &c, "replays.cancel", &replay).await;
    assert_eq!((&cancelled["state"], &cancelled["deliveries"]), (&json!("cancelled"), &json!(2)));
    t.advance(Duration::from_secs(60)).await;
    jobs(&t).await;
    let ended = get(&t, &c, &replay).await;
    assert_eq!((&ended["state"], made(&t, &replay).await.len()), (&json!("cancelled"), 2));
    assert_ne!(ended["finished_at"], Value::Null);
}

#[tokio::test]
async fn a_cancellation_comes_through_while_a_commit_is_under_way() {
    let (store, t, other) = TestPlane::two_over_faulty_store().await;
    let c = t.customer("acme").await;
    happen(&t, &c, 0..120).await;
    endpoint(&t, &c, NOWHERE, |made| made.state = EndpointState::Paused).await;
    let replay = start(&t, &c, json!({ "status": "all" })).await;
    store.plan(Fault::Stall { call: CallKind::Commit, nth: 2 });
    let pipeline = std::sync::Arc::clone(&t.pipeline);
    let working = tokio::spawn(async move { worker::do_jobs(&pipeline).await });
    store.until_stalled().await;
    let caller = other.login(&c.secret).await.expect("works");
    let c = Customer { caller, ..c };
    one(&other, &c, "replays.cancel", &replay).await;
    store.release();
    working.await.expect("ends").expect("works");
    let ended = get(&other, &c, &replay).await;
    assert_eq!((&ended["state"], &ended["deliveries"]), (&json!("cancelled"), &json!(100)));
    assert_eq!(made(&other, &replay).await.len(), 100, "the batch that was under way came after the cancellation");
}

#[tokio::test]
async fn two_that_are_started_at_once_do_not_both_take_the_last_place() {
    let (store, t, other) = TestPlane::two_over_faulty_store().await;
    let c = t.customer("acme").await;
    endpoint(&t, &c, NOWHERE, |made| made.state = EndpointState::Paused).await;
    for _ in 1..MAX_RUNNING {
        start(&t, &c, json!({ "status": "all" })).await;
    }
    store.plan(Fault::Stall { call: CallKind::Commit, nth: 1 });
    let first = t.send(&c.caller, "replays.start", &[], "", "{}");
    let second = async {
        store.until_stalled().await;
        let caller = other.login(&c.secret).await.expect("works");
        other.send(&caller, "replays.start", &[], "", "{}").await.expect("it was there first");
        store.release();
    };
    let (refused, ()) = tokio::join!(first, second);
    assert_eq!(refused.expect_err("there are more than there may be").code(), Code::Conflict);
}

#[tokio::test]
async fn the_rate_is_kept_and_what_a_look_left_is_made_up_for() {
    let t = TestPlane::new().await;
    let c = t.customer("acme").await;
    happen(&t, &c, 0..20).await;
    endpoint(&t, &c, NOWHERE, |made| made.state = EndpointState::Paused).await;
    let replay = start(&t, &c, json!({ "status": "all", "rate_per_second": 3 })).await;
    let mut counts = Vec::new();
    for wait in [0, 1_000, 1_000, 1_700, 60_000] {
        t.advance(Duration::from_millis(wait)).await;
        jobs(&t).await;
        counts.push(made(&t, &replay).await.len());
    }
    assert_eq!(counts, [3, 6, 9, 14, 20], "a pause is made up for, but for two seconds of it at most");
    let mut all = made(&t, &replay).await;
    all.sort_by_key(|delivery| delivery.event_id);
    assert!(all.is_sorted_by_key(|delivery| delivery.created_at), "the oldest event comes first: {all:#?}");
    jobs(&t).await;
    assert_eq!(get(&t, &c, &replay).await["state"], "completed");
}

#[tokio::test]
async fn an_endpoint_that_is_gone_is_left_out_and_a_replay_without_one_says_why_it_failed() {
    for (op, reason) in [("endpoints.delete", "was deleted"), ("endpoints.disable", "was disabled")] {
        let t = TestPlane::new().await;
        let c = t.customer("acme").await;
        happen(&t, &c, 0..6).await;
        let (goes, _) = endpoint(&t, &c, NOWHERE, |made| made.state = EndpointState::Paused).await;
        let (stays, _) = endpoint(&t, &c, NOWHERE, |made| made.state = EndpointState::Paused).await;
        let alone = start(&t, &c, json!({ "status": "all", "rate_per_second": 2, "endpoint_id": goes.id })).await;
        let both = start(&t, &c, json!({ "status": "all", "rate_per_second": 4 })).await;
        jobs(&t).await;
        let id = goes.id.to_string();
        let body = if op == "endpoints.delete" { "" } else { "{}" };
        t.send(&c.caller, op, &[("id", &id)], "", body).await.expect("changes");
        for _ in 0..10 {
            t.advance(Duration::from_secs(1)).await;
            jobs(&t).await;
        }
        let ended = get(&t, &c, &alone).await;
        let said = (&ended["state"], &ended["reason"], &ended["deliveries"]);
        assert_eq!(said, (&json!("failed"), &json!(format!("endpoint {id} {reason}")), &json!(4)));
        let ended = get(&t, &c, &both).await;
        assert_eq!((&ended["state"], &ended["events"]), (&json!("completed"), &json!(6)), "{op}");
        let to = |which: &Endpoint, all: &[Delivery]| all.iter().filter(|one| one.endpoint_id == which.id).count();
        let all = made(&t, &both).await;
        assert_eq!((to(&stays, &all), to(&goes, &all)), (6, 2), "{op}: two events went to both");
    }
}

#[tokio::test]
async fn an_endpoint_that_goes_in_the_very_moment_of_a_commit_gets_nothing_of_it() {
    let (store, t, other) = TestPlane::two_over_faulty_store().await;
    let c = t.customer("acme").await;
    happen(&t, &c, 0..5).await;
    let (goes, _) = endpoint(&t, &c, NOWHERE, |made| made.state = EndpointState::Paused).await;
    let replay = start(&t, &c, json!({ "status": "all" })).await;
    store.plan(Fault::Stall { call: CallKind::Commit, nth: 1 });
    let pipeline = std::sync::Arc::clone(&t.pipeline);
    let working = tokio::spawn(async move { worker::do_jobs(&pipeline).await });
    store.until_stalled().await;
    let body = json!({ "id": goes.id, "project_id": c.id() });
    let delete: pulse_core::ops::endpoints::DeleteEndpoint = serde_json::from_value(body).expect("valid");
    other.run(&operator(), delete).await.expect("deletes");
    store.release();
    working.await.expect("ends").expect("works");
    let ended = get(&t, &c, &replay).await;
    assert_eq!((&ended["state"], made(&t, &replay).await.len()), (&json!("failed"), 0), "{ended}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replay_over_mongodb_makes_each_delivery_once_whoever_takes_its_turns() {
    let store = store().await;
    let t = TestPlane::over(std::sync::Arc::clone(&store), 1).await.expect("a plane");
    let other = TestPlane::over(store, 2).await.expect("a plane over the same store");
    let c = t.customer("acme").await;
    // More than one commit makes.
    happen(&t, &c, 0..70).await;
    let paused = |made: &mut Endpoint| made.state = EndpointState::Paused;
    for _ in 0..2 {
        endpoint(&t, &c, NOWHERE, paused).await;
    }
    let replay = start(&t, &c, json!({ "status": "all" })).await;
    tokio::join!(jobs(&t), jobs(&other));
    let ended = get(&t, &c, &replay).await;
    let counted = (&ended["state"], &ended["events"], &ended["deliveries"]);
    assert_eq!(counted, (&json!("completed"), &json!(70), &json!(140)));
    let all = made(&t, &replay).await;
    let each: BTreeSet<_> = all.iter().map(|one| (one.event_id.to_string(), one.endpoint_id.to_string())).collect();
    assert_eq!((all.len(), each.len()), (140, 140));
}

#[tokio::test]
async fn live_deliveries_go_before_what_is_replayed() {
    let t = TestPlane::new().await;
    let c = t.customer("acme").await;
    happen(&t, &c, 0..5).await;
    let gate = Gate::new();
    let receiver = Receiver::start(Action::ok().held_by(&gate));
    endpoint(&t, &c, &receiver.url(), |made| made.max_in_flight = 1).await;
    let replay = start(&t, &c, json!({ "status": "all" })).await;
    jobs(&t).await;
    let pipeline = std::sync::Arc::clone(&t.pipeline);
    let sending = tokio::spawn(async move { pipeline.dispatcher.run_until_idle().await });
    receiver.wait_for(1, Duration::from_secs(10)).await;
    // While the first is under way.
    happen(&t, &c, 5..7).await;
    gate.open();
    sending.await.expect("ends").expect("works");
    work(&t).await;
    let replayed: Vec<bool> = receiver.received().iter().map(|one| !one.header("pulse-replay").is_empty()).collect();
    assert_eq!(replayed, [true, false, false, true, true, true, true]);
    assert_eq!(get(&t, &c, &replay).await["deliveries"], json!(5));
}

#[tokio::test]
async fn beside_a_load_a_replay_writes_little_at_once_and_its_attempts_begin_apart() {
    let (store, t, _) = TestPlane::two_over_faulty_store().await;
    let c = t.customer("acme").await;
    let courtesy = &t.plane.parts().courtesy;
    let mut events = 0;
    while courtesy.portion(2) == 2 {
        happen(&t, &c, events..events + 1).await;
        events += 1;
        assert!(events < 10_000, "nothing that happens counts");
    }
    assert!(events >= 20, "what happens counts, though not each of few: {events}");
    let receiver = Receiver::start(Action::ok());
    endpoint(&t, &c, &receiver.url(), |_| {}).await;
    let replay = start(&t, &c, json!({ "status": "all" })).await;
    (0..1_000_000).for_each(|_| courtesy.note_event());
    store.plan(Fault::Stall { call: CallKind::Commit, nth: 2 });
    let pipeline = std::sync::Arc::clone(&t.pipeline);
    let working = tokio::spawn(async move { worker::do_jobs(&pipeline).await });
    store.until_stalled().await;
    assert_eq!(made(&t, &replay).await.len(), 1, "one commit was made");
    store.release();
    working.await.expect("ends").expect("works");
    jobs(&t).await;
    let began = tokio::time::Instant::now();
    work(&t).await;
    let took = began.elapsed();
    assert_eq!(receiver.received().len(), events);
    // Ten seconds for a thousand of them, which is nothing for a load that leaves nothing.
    assert!(took >= Duration::from_millis(10) * u32::try_from(events).expect("few"), "{took:?}");
}

#[tokio::test]
async fn what_is_about_an_endpoint_is_not_replayed_to_it_and_tests_are_not_at_all() {
    let t = TestPlane::new().await;
    let c = t.customer("acme").await;
    let (gone, other) = (Receiver::start(Action::gone()), Receiver::start(Action::ok()));
    let (first, _) = endpoint(&t, &c, &gone.url(), |_| {}).await;
    endpoint(&t, &c, &other.url(), |_| {}).await;
    happen(&t, &c, 1..2).await;
    for _ in 0..3 {
        work(&t).await;
    }
    let id = first.id.to_string();
    t.send(&c.caller, "endpoints.enable", &[("id", &id)], "", "{}").await.expect("enables");
    gone.behave(Action::ok());
    t.send(&c.caller, "endpoints.test", &[("id", &id)], "", "{}").await.expect("sends");
    work(&t).await;
    let (before, told) = (gone.received().len(), other.received().len());
    start(&t, &c, json!({ "status": "all" })).await;
    work(&t).await;
    let types = |of: &Receiver, skip: usize| {
        let mut types: Vec<String> =
            of.received()[skip..].iter().map(|one: &Received| one.header("pulse-event-type").to_owned()).collect();
        types.sort_unstable();
        types
    };
    assert!(types(&gone, 0).contains(&TEST_EVENT.to_owned()) && types(&other, 0).contains(&DISABLED.to_owned()));
    assert_eq!(types(&gone, before), ["participant_joined"]);
    assert_eq!(types(&other, told), [DISABLED, "participant_joined"]);
}

/// A daemon that did not know the new endpoint yet has left it out of what came in the meantime.
#[tokio::test]
async fn filling_up_a_new_endpoint_leaves_no_gap_at_its_end() {
    let (_, t, other) = TestPlane::two_over_faulty_store().await;
    let c = t.customer("acme").await;
    happen(&other, &c, 1..2).await;
    endpoint(&t, &c, NOWHERE, |made| made.state = EndpointState::Paused).await;
    let replay = start(&t, &c, json!({ "status": "missing" })).await;
    jobs(&t).await;
    for plane in [&t, &other] {
        plane.clock.advance(Duration::from_secs(1));
    }
    happen(&other, &c, 2..3).await;
    assert_eq!(deliveries(&t, &c).await.len(), 0, "the other daemon knows the endpoint already: this is no test");
    jobs(&t).await;
    assert_eq!(get(&t, &c, &replay).await["state"], "running", "what may still come to light is waited for");
    t.advance(LATE + Duration::from_secs(4)).await;
    jobs(&t).await;
    let ended = get(&t, &c, &replay).await;
    assert_eq!((&ended["state"], &ended["deliveries"]), (&json!("completed"), &json!(2)));
}

#[tokio::test]
async fn an_event_that_is_about_to_be_forgotten_is_not_replayed() {
    let t = TestPlane::new().await;
    let c = t.customer("acme").await;
    happen(&t, &c, 1..2).await;
    t.advance(Duration::from_secs(60)).await;
    happen(&t, &c, 2..3).await;
    endpoint(&t, &c, NOWHERE, |made| made.state = EndpointState::Paused).await;
    t.advance(Duration::from_secs(30 * 86_400 - 90)).await;
    let replay = start(&t, &c, json!({ "status": "all" })).await;
    jobs(&t).await;
    let all = made(&t, &replay).await;
    assert_eq!(all.len(), 1, "the first is kept for no minute more");
    assert!(all[0].event_id.moment() > START);
}
