//! Once the dispatcher is to stop it begins nothing new, whoever asks: what waited, what falls due, what has just come in, and
//! what somebody was about to take.

use std::{sync::Arc, time::Duration};

use pulse_core::{
    deliver::{schedule::Schedule, state::Status},
    model::endpoint::{Endpoint, EndpointState},
    repo::Document as _,
    store::{
        Batch, CommitMode, SharedStore, Store as _,
        memory::MemoryStore,
        testing::faulty::{CallKind, Fault, FaultyStore},
    },
};
use pulse_tests::{
    plane::TestPlane,
    receiver::{Action, Gate, Receiver},
};

use super::{count, deliveries, endpoint, joined, work};

/// How long anything may take that nothing stands in the way of.
const SOON: Duration = Duration::from_secs(10);

#[tokio::test]
async fn nothing_is_begun_any_more_once_the_dispatcher_is_to_stop() {
    let t = TestPlane::new().await;
    let (waits, fails) = (t.customer("waits").await, t.customer("fails").await);
    let (holding, failing, gate) = (Receiver::start(Action::ok()), Receiver::start(Action::status(500)), Gate::new());
    holding.behave(Action::ok().held_by(&gate));
    endpoint(&t, &waits, &holding.url(), |endpoint| (endpoint.max_in_flight, endpoint.timeout_seconds) = (1, 15)).await;
    endpoint(&t, &fails, &failing.url(), |endpoint| endpoint.schedule = Schedule::new([5]).ok()).await;
    let dispatching = tokio::spawn(Arc::clone(&t.pipeline.dispatcher).run());
    // One attempt is under way with two behind it, and one has failed and is due again in five seconds.
    for n in 0..3 {
        t.livekit_says(&joined(&t, &waits, n)).await.expect("taken in");
    }
    t.livekit_says(&joined(&t, &fails, 3)).await.expect("taken in");
    holding.wait_for(1, SOON).await;
    let failed = async {
        while deliveries(&t, &fails).await[0].attempts_made == 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(SOON, failed).await.expect("the first attempt is on record");

    t.pipeline.stopping.cancel();
    t.livekit_says(&joined(&t, &fails, 4)).await.expect("taken in");
    t.advance(Duration::from_secs(7)).await;
    gate.open();
    tokio::time::timeout(SOON, dispatching).await.expect("it comes to its end").expect("no panic");

    assert_eq!((holding.counts().requests, failing.counts().requests), (1, 1), "an attempt was begun while it stopped");
    assert_eq!(count(&t, &waits, Status::Succeeded).await, 1, "what was under way ends with its answer");
    assert_eq!(count(&t, &waits, Status::Pending).await, 2);
    let rows = deliveries(&t, &fails).await;
    let mut stand: Vec<_> = rows.iter().map(|row| (row.status.name(), row.attempts_made)).collect();
    stand.sort_unstable();
    assert_eq!(stand, [("pending", 0), ("pending", 1)], "the new one, and the one that was due");
}

#[tokio::test]
async fn a_claim_that_was_under_way_takes_nothing_once_the_dispatcher_is_to_stop() {
    let inner: SharedStore = Arc::new(MemoryStore::new());
    let store = Arc::new(FaultyStore::new(inner));
    let t = TestPlane::over(Arc::clone(&store) as SharedStore, 1).await.expect("a plane");
    let customer = t.customer("acme").await;
    let receiver = Receiver::start(Action::ok());
    let paused = |endpoint: &mut Endpoint| endpoint.state = EndpointState::Paused;
    let (sent_to, _) = endpoint(&t, &customer, &receiver.url(), paused).await;
    t.livekit_says(&joined(&t, &customer, 1)).await.expect("taken in");
    let mut batch = Batch::new();
    Endpoint { state: EndpointState::Active, ..sent_to }.replace_in(&mut batch).expect("a document");
    store.commit(batch, CommitMode::Apply).await.expect("committed");

    // It reads the endpoint first.
    store.plan(Fault::Stall { call: CallKind::Get, nth: 1 });
    let dispatcher = Arc::clone(&t.pipeline.dispatcher);
    let sending = tokio::spawn(async move { dispatcher.run_until_idle().await });
    store.until_stalled().await;
    t.pipeline.stopping.cancel();
    store.release();
    sending.await.expect("no panic").expect("works");
    work(&t).await;

    assert_eq!(receiver.counts().requests, 0, "an attempt was begun while it stopped");
    assert_eq!(count(&t, &customer, Status::Pending).await, 1);
}
