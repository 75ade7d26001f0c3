//! Jobs beside each other, and the end of a daemon whose LiveKit hangs.

use std::{sync::Arc, time::Duration};

use futures_util::FutureExt as _;
use pulse_core::{
    media::{
        engine::EngineError,
        testing::{Course, person},
    },
    model::job::{Job, JobDetail, JobKind},
    repo::Document as _,
    store::{
        Scan, schema,
        testing::faulty::{CallKind, Fault},
    },
    time::Clock as _,
    worker,
};
use pulse_tests::plane::{Customer, START, TestPlane};
use serde_json::json;

use super::room::{Room, session};

/// Longer than an orderly end takes, and shorter than LiveKit is waited for.
const SOON: Duration = Duration::from_secs(10);

/// Somebody in a room of their own who is banned, so that a job is to take them out.
async fn banned(t: &TestPlane, customer: &Customer, name: &str) {
    let room = Room::new(customer, name, &format!("RM_{name}"), START);
    t.livekit_says(&room.joined(&format!("PA_{name}"), name, START)).await.expect("taken in");
    let there = vec![person(&format!("PA_{name}"), name, START)];
    t.engine.put_room(&room.sid, &room.name(), START, there);
    t.send(&customer.caller, "bans.create", &[], "", &json!({ "identity": name }).to_string()).await.expect("bans");
}

fn removed(t: &TestPlane) -> Vec<String> {
    t.engine.removed().into_iter().map(|(_, identity)| identity).collect()
}

/// The jobs that wait, but for the second looks of bans.
async fn waiting(t: &TestPlane) -> Vec<Job> {
    let rows = t.store.scan(Scan::new(&schema::JOBS, schema::PRIMARY, Vec::new())).await.expect("reads").rows;
    let jobs = rows.into_iter().map(|row| Job::from_stored(row).expect("decodes"));
    jobs.filter(|job| job.kind != JobKind::LookAgain).collect()
}

#[tokio::test]
async fn a_removal_at_a_livekit_that_hangs_keeps_no_other_job_waiting() {
    let t = TestPlane::new().await;
    let customer = t.customer("acme").await;
    for name in ["mallory", "eve"] {
        banned(&t, &customer, name).await;
    }
    t.engine.course_of_next("remove_participant", Course::Stalls);
    let mut jobs = std::pin::pin!(worker::do_jobs(&t.pipeline));
    assert!(jobs.as_mut().now_or_never().is_none(), "one of them hangs");
    assert_eq!(removed(&t).len(), 1, "the other waits for the one that hangs");
    // Nor does what comes while it hangs.
    banned(&t, &customer, "trudy").await;
    assert!(jobs.as_mut().now_or_never().is_none());
    assert!(removed(&t).contains(&"trudy".to_owned()), "what came later waits for the one that hangs");
}

/// The one removal that waits: of which connection, and how often it failed.
async fn removal(t: &TestPlane) -> (String, i64) {
    let mut all = waiting(t).await;
    all.retain(|job| job.kind == JobKind::RemoveParticipant);
    assert_eq!(all.len(), 1, "more than one job for one identity in one room: {all:#?}");
    let job = all.remove(0);
    let JobDetail::Removal(removal) = job.detail else { panic!("a removal of nobody") };
    (removal.sid, job.attempts)
}

#[tokio::test]
async fn one_removal_waits_for_an_identity_in_a_room_whoever_calls_for_it_and_it_is_about_the_latest_connection() {
    let t = TestPlane::new().await;
    let customer = t.customer("acme").await;
    banned(&t, &customer, "mallory").await;
    let ban = json!({ "identity": "mallory", "reason": "again" }).to_string();
    t.send(&customer.caller, "bans.create", &[], "", &ban).await.expect("bans");
    t.engine.course("remove_participant", Course::Fails(EngineError::Timeout));
    for seconds in [30, 330] {
        t.clock.set(START.plus(Duration::from_secs(seconds)));
        t.pipeline.reconciler.round().await.expect("answers");
        assert_eq!(removal(&t).await, ("PA_mallory".to_owned(), 0), "after {seconds} s");
    }
    worker::do_jobs(&t.pipeline).await.expect("works");
    assert_eq!(removal(&t).await.1, 1, "LiveKit did it");
    // LiveKit shows her still: it is tried again now, and not when the pause after the failure is over.
    t.clock.set(START.plus(Duration::from_secs(630)));
    t.pipeline.reconciler.round().await.expect("answers");
    assert_eq!(removal(&t).await, ("PA_mallory".to_owned(), 0));
    // She comes again.
    let room = Room::new(&customer, "mallory", "RM_mallory", START);
    let now = t.clock.now();
    t.livekit_says(&room.joined("PA_2", "mallory", now)).await.expect("taken in");
    assert_eq!(removal(&t).await, ("PA_2".to_owned(), 0));
    t.livekit_says(&room.left("PA_mallory", "mallory", START, now)).await.expect("taken in");
    t.engine.course("remove_participant", Course::Well);
    worker::do_jobs(&t.pipeline).await.expect("works");
    assert_eq!(removed(&t), ["mallory"]);
    assert!(waiting(&t).await.is_empty());
}

#[tokio::test]
async fn a_daemon_whose_livekit_hangs_stops_at_once_and_the_next_one_goes_on() {
    let t = TestPlane::new().await;
    let customer = t.customer("acme").await;
    banned(&t, &customer, "mallory").await;
    for method in ["list_rooms", "remove_participant"] {
        t.engine.course(method, Course::Stalls);
    }
    let workers = tokio::spawn(worker::run(Arc::clone(&t.pipeline)));
    let both_hang = async {
        let asked = |method: &str| t.engine.calls().iter().any(|call| call.starts_with(method));
        while !asked("list_rooms") || !asked("remove_participant") {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(SOON, both_hang).await.expect("both are asked");
    t.pipeline.stopping.cancel();
    t.pipeline.drained.cancel();
    tokio::time::timeout(SOON, workers).await.expect("the workers wait for LiveKit").expect("ends in order");
    let job = waiting(&t).await.remove(0);
    assert!(job.due_at <= t.plane.parts().clock.now() && job.attempts == 0, "the next start has to wait: {job:?}");
    // Another daemon on the store has both.
    let next = TestPlane::over(Arc::clone(&t.store), 2).await.expect("a plane");
    next.clock.set(START.plus(Duration::from_secs(1)));
    worker::do_jobs(&next.pipeline).await.expect("works");
    next.pipeline.reconciler.round().await.expect("answers");
    assert!(next.engine.calls().contains(&"list_rooms".to_owned()), "the cluster is still the first one's");
    assert_eq!(waiting(&next).await, Vec::<Job>::new());
}

/// Sums that were read before a late event, and are written after it, would stay wrong for ever.
#[tokio::test]
async fn what_comes_while_a_session_is_added_up_is_in_the_sums() {
    let (store, t, other) = TestPlane::two_over_faulty_store().await;
    let at = |seconds| START.plus(Duration::from_secs(seconds));
    let room = Room::new(&t.customer("acme").await, "standup", "RM_1", START);
    for event in [room.started(), room.joined("PA_1", "alice", START), room.joined("PA_2", "bob", START)] {
        t.livekit_says(&event).await.expect("taken in");
    }
    t.livekit_says(&room.finished(at(60))).await.expect("taken in");
    t.clock.set(at(75));
    store.plan(Fault::Stall { call: CallKind::Commit, nth: 1 });
    let pipeline = Arc::clone(&t.pipeline);
    let adding_up = tokio::spawn(async move { worker::do_jobs(&pipeline).await });
    store.until_stalled().await;
    other.clock.set(at(75));
    other.livekit_says(&room.left("PA_2", "bob", START, at(30))).await.expect("taken in");
    store.release();
    adding_up.await.expect("ends").expect("works");
    for seconds in [75, 600] {
        t.clock.set(at(seconds));
        worker::do_jobs(&t.pipeline).await.expect("works");
    }
    let summary = session(&t, "RM_1").await.summary.expect("added up");
    assert_eq!((summary.participants, summary.participant_millis), (2, 60_500 + 30_500));
}
