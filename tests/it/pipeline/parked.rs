//! What waits for endpoints that are not sent to: it stays as it is, costs next to nothing, and goes on when they do.

use std::{sync::Arc, time::Duration};

use pulse_core::{
    deliver::{
        dispatch::{Backlog, backlog},
        state::Status,
    },
    model::endpoint::{Endpoint, EndpointState},
    repo::Document as _,
    store::{
        Batch, CommitMode, SharedStore,
        memory::MemoryStore,
        schema,
        testing::faulty::{CallKind, FaultyStore},
    },
    worker,
};
use pulse_tests::{
    plane::{Customer, TestPlane, operator},
    receiver::{Action, Receiver},
};

use super::{count, endpoint, joined, work};

/// Customers with events that wait for endpoints in all the ways in which an endpoint can be parked.
struct Stage {
    t: TestPlane,
    store: Arc<FaultyStore>,
    receiver: Receiver,
    /// With a paused endpoint and a disabled one.
    customer: Customer,
    paused: Endpoint,
    disabled: Endpoint,
    /// Whose project is suspended.
    suspended: Customer,
}

impl Stage {
    async fn new() -> Self {
        let store = Arc::new(FaultyStore::new(Arc::new(MemoryStore::new())));
        let t = TestPlane::over(Arc::clone(&store) as SharedStore, 1).await.expect("a plane");
        let receiver = Receiver::start(Action::ok());
        let (customer, suspended) = (t.customer("acme").await, t.customer("other").await);
        let paused = |made: &mut Endpoint| made.state = EndpointState::Paused;
        let (first, _) = endpoint(&t, &customer, &receiver.url(), paused).await;
        let (disabled, _) = endpoint(&t, &customer, &receiver.url(), paused).await;
        let (third, _) = endpoint(&t, &suspended, &receiver.url(), paused).await;
        t.livekit_says(&joined(&t, &customer, 1)).await.expect("taken in");
        t.livekit_says(&joined(&t, &suspended, 2)).await.expect("taken in");
        let stage = Self { t, store, receiver, customer, paused: first, disabled, suspended };
        stage.bring(&stage.disabled, EndpointState::Disabled).await;
        stage.suspend("projects.suspend", "{\"reason\":\"unpaid\"}").await;
        stage.bring(&third, EndpointState::Active).await;
        stage
    }

    /// As another process does it: without a hint.
    async fn bring(&self, which: &Endpoint, state: EndpointState) {
        let row = self.t.store.get(&schema::ENDPOINTS, &which.id.to_string()).await.expect("read").expect("there");
        let mut batch = Batch::new();
        let changed = Endpoint { state, ..Endpoint::from_stored(row).expect("an endpoint") };
        changed.replace_in(&mut batch).expect("a document");
        batch.bump_generation();
        self.t.store.commit(batch, CommitMode::Apply).await.expect("committed");
        worker::follow(&self.t.plane).await.expect("followed");
    }

    async fn suspend(&self, op: &str, body: &str) {
        let id = self.suspended.id().to_string();
        self.t.send(&operator(), op, &[("id", &id)], "", body).await.expect("done");
    }

    /// One round of the dispatcher, and how many documents it read one by one.
    async fn round(&self) -> u64 {
        let before = self.store.calls(CallKind::Get);
        self.t.pipeline.dispatcher.run_until_idle().await.expect("works");
        self.store.calls(CallKind::Get) - before
    }

    async fn sent(&self, customer: &Customer) -> usize {
        count(&self.t, customer, Status::Succeeded).await
    }
}

#[tokio::test]
async fn endpoints_that_are_not_sent_to_are_read_once_and_not_again_until_something_has_changed() {
    let stage = Stage::new().await;
    let first = stage.round().await;
    assert!(first >= 3, "each is looked at: {first}");
    for _ in 0..3 {
        stage.t.advance(Duration::from_secs(1)).await;
        assert_eq!(stage.round().await, 0, "what is parked is read although nothing has changed");
    }
    // An event more is kept for the paused one, and is no reason to look at it either.
    stage.t.livekit_says(&joined(&stage.t, &stage.customer, 3)).await.expect("taken in");
    assert_eq!(stage.round().await, 0);
    assert_eq!(stage.receiver.counts().requests, 0);

    stage.bring(&stage.paused, EndpointState::Active).await;
    work(&stage.t).await;
    assert_eq!(stage.sent(&stage.customer).await, 2, "what another process lets go on is found without a hint");
    let id = stage.disabled.id.to_string();
    stage.t.send(&stage.customer.caller, "endpoints.enable", &[("id", &id)], "", "{}").await.expect("enables");
    stage.round().await;
    assert_eq!(stage.sent(&stage.customer).await, 3, "the one event from before it was disabled");
    stage.suspend("projects.resume", "{}").await;
    stage.round().await;
    assert_eq!(stage.sent(&stage.suspended).await, 1);
}

#[tokio::test]
async fn what_is_parked_is_counted_apart_from_what_is_on_its_way() {
    let stage = Stage::new().await;
    let parts = stage.t.plane.parts();
    assert_eq!(backlog(parts, 10).await.expect("counted"), Backlog { queued: 0, parked: 3 });
    assert_eq!(backlog(parts, 2).await.expect("counted"), Backlog { queued: 0, parked: 2 }, "up to the bound");
    stage.receiver.behave(Action::status(500));
    stage.bring(&stage.paused, EndpointState::Active).await;
    work(&stage.t).await;
    // It waits for its next attempt.
    assert_eq!(backlog(parts, 10).await.expect("counted"), Backlog { queued: 1, parked: 2 });
    worker::gauge(&stage.t.plane).await.expect("counted");
    let text = parts.metrics.render().expect("a text");
    assert!(text.contains("pulse_webhook_deliveries_queued 1\n"), "{text}");
    assert!(text.contains("pulse_webhook_deliveries_parked 2\n"), "{text}");
}
