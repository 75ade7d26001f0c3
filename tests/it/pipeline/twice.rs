//! The same webhook at two processes over one store: LiveKit, or what stands before the daemons, sends it again to another one.

use std::sync::Arc;

use futures_util::future::try_join_all;
use pulse_core::{
    deliver::state::Status,
    ingest::Accepted,
    store::{SharedStore, memory::MemoryStore, schema},
};
use pulse_tests::{
    plane::TestPlane,
    receiver::{Action, Receiver},
};

use super::{deliveries, endpoint, joined, work};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_webhook_many_times_at_two_planes_is_one_event_and_one_delivery_to_each_endpoint() {
    let store: SharedStore = Arc::new(MemoryStore::new());
    let one = TestPlane::over(Arc::clone(&store), 1).await.expect("a plane");
    let other = TestPlane::over(Arc::clone(&store), 2).await.expect("a plane over the same store");
    let customer = one.customer("acme").await;
    let receivers = [Receiver::start(Action::ok()), Receiver::start(Action::ok())];
    for receiver in &receivers {
        endpoint(&one, &customer, &receiver.url(), |_| {}).await;
    }
    let event = joined(&one, &customer, 1);
    let sent = (0..100).map(|n| if n % 2 == 0 { &one } else { &other }.livekit_says(&event));
    let accepted = try_join_all(sent).await.expect("all are answered");
    work(&one).await;
    work(&other).await;

    let of = |what| accepted.iter().filter(|accepted| **accepted == what).count();
    assert_eq!((of(Accepted::Recorded), of(Accepted::Duplicate)), (1, 99));
    for (collection, count) in [(&schema::EVENTS, 1), (&schema::INTERVALS, 1), (&schema::DELIVERIES, 2)] {
        let found = store.count(collection, schema::PRIMARY, &[], 100).await.expect("counted");
        assert_eq!(found, count, "{}", collection.name);
    }
    let rows = deliveries(&one, &customer).await;
    assert!(rows.iter().all(|row| row.status == Status::Succeeded), "{rows:#?}");
    let requests = receivers.each_ref().map(|receiver| receiver.counts().requests);
    assert_eq!(requests, [1, 1], "a customer got the same event twice");
}
