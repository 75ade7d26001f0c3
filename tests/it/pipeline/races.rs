//! An endpoint that changes in the very moment between the look of whoever is about to send and the commit that lets it: held
//! open by a store that stands still there. And rows that are no deliveries, under a lease.

use std::{sync::Arc, time::Duration};

use pulse_core::{
    deliver::state::Status,
    id::LeaseToken,
    model::{
        delivery::Delivery,
        endpoint::{Endpoint, EndpointState},
    },
    repo::Document as _,
    store::{
        Batch, CommitMode, SharedStore,
        memory::MemoryStore,
        schema,
        testing::faulty::{CallKind, Fault, FaultyStore},
    },
    worker,
};
use pulse_tests::{
    livekit_sender::ApiKey,
    plane::{Customer, LIVEKIT_KEY, LIVEKIT_SECRET, TestPlane},
    receiver::{Action, Receiver},
};

use super::{count, delivery, endpoint, joined, work};

/// A daemon whose store stands still when told to, and what others on the same store write.
struct Stage {
    t: TestPlane,
    customer: Customer,
    store: Arc<FaultyStore>,
    others: SharedStore,
    receiver: Receiver,
    sent_to: Endpoint,
}

/// What somebody does to the endpoint.
#[derive(Clone, Copy, Debug)]
enum Change {
    Pause,
    Disable,
    Delete,
    Redirect,
}

impl Stage {
    /// With an endpoint in this state.
    async fn new(state: EndpointState) -> Self {
        let others: SharedStore = Arc::new(MemoryStore::new());
        let store = Arc::new(FaultyStore::new(Arc::clone(&others)));
        let t = TestPlane::over(Arc::clone(&store) as SharedStore, 1).await.expect("a plane");
        let customer = t.customer("acme").await;
        let receiver = Receiver::start(Action::ok());
        let url = format!("{}/old", receiver.url());
        let (sent_to, _) = endpoint(&t, &customer, &url, |endpoint| endpoint.state = state).await;
        Self { t, customer, store, others, receiver, sent_to }
    }

    async fn write(&self, change: impl FnOnce(Endpoint, &mut Batch)) {
        let row =
            self.others.get(&schema::ENDPOINTS, &self.sent_to.id.to_string()).await.expect("read").expect("there");
        let current = Endpoint::from_stored(row).expect("an endpoint");
        let mut batch = Batch::new();
        change(current, &mut batch);
        batch.bump_generation();
        self.others.commit(batch, CommitMode::Apply).await.expect("committed");
    }

    async fn bring(&self, state: EndpointState) {
        self.write(|current, batch| Endpoint { state, ..current }.replace_in(batch).expect("a document")).await;
    }

    async fn make(&self, change: Change) {
        let url = format!("{}/new", self.receiver.url()).parse().expect("a url");
        match change {
            Change::Pause => self.bring(EndpointState::Paused).await,
            Change::Disable => self.bring(EndpointState::Disabled).await,
            Change::Delete => {
                self.write(|current, batch| {
                    batch.delete(Endpoint::COLLECTION, current.id, current.version);
                })
                .await;
            }
            Change::Redirect => {
                self.write(|current, batch| Endpoint { url, ..current }.replace_in(batch).expect("a document")).await;
            }
        }
    }

    /// The paths at which requests came, when all is done that can be done.
    async fn paths(&self) -> Vec<String> {
        work(&self.t).await;
        self.receiver.received().iter().map(|received| received.path().to_owned()).collect()
    }
}

#[tokio::test]
async fn an_endpoint_that_changes_between_the_look_and_the_lease_gets_nothing_as_it_was() {
    for change in [Change::Pause, Change::Disable, Change::Delete, Change::Redirect] {
        let stage = Stage::new(EndpointState::Paused).await;
        stage.t.livekit_says(&joined(&stage.t, &stage.customer, 1)).await.expect("taken in");
        stage.bring(EndpointState::Active).await;

        stage.store.plan(Fault::Stall { call: CallKind::Commit, nth: 1 });
        let dispatcher = Arc::clone(&stage.t.pipeline.dispatcher);
        let sending = tokio::spawn(async move { dispatcher.run_until_idle().await });
        stage.store.until_stalled().await;
        stage.make(change).await;
        stage.store.release();
        sending.await.expect("no panic").expect("works");

        let expected: &[&str] = if matches!(change, Change::Redirect) { &["/new"] } else { &[] };
        // The claim that came to nothing is made again.
        stage.t.advance(Duration::from_secs(2)).await;
        assert_eq!(stage.paths().await, expected, "{change:?}");
        assert_eq!(count(&stage.t, &stage.customer, Status::Leased).await, 0, "{change:?}");
    }
}

#[tokio::test]
async fn an_endpoint_that_changes_while_an_event_is_recorded_gets_nothing_as_it_was() {
    for change in [Change::Pause, Change::Disable, Change::Delete, Change::Redirect] {
        let stage = Stage::new(EndpointState::Active).await;
        stage.store.plan(Fault::Stall { call: CallKind::Commit, nth: 1 });
        let event = joined(&stage.t, &stage.customer, 1);
        let recorded = tokio::join!(stage.t.livekit_says(&event), async {
            stage.store.until_stalled().await;
            stage.make(change).await;
            stage.store.release();
        });
        recorded.0.expect("taken in");

        let expected: &[&str] = if matches!(change, Change::Redirect) { &["/new"] } else { &[] };
        assert_eq!(stage.paths().await, expected, "{change:?}");
        assert_eq!(count(&stage.t, &stage.customer, Status::Leased).await, 0, "{change:?}");
    }
}

/// The value of a series.
fn value(t: &TestPlane, series: &str) -> f64 {
    let text = t.plane.parts().metrics.render().expect("a text");
    let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.map_or(f64::NAN, |number| number.parse().expect("a number"))
}

#[tokio::test]
async fn a_leased_row_that_does_not_decode_is_put_aside_when_its_lease_is_over_and_an_alarm_can_be_set_on_it() {
    let t = TestPlane::new().await;
    let customer = t.customer("acme").await;
    let receiver = Receiver::start(Action::ok());
    endpoint(&t, &customer, &receiver.url(), |endpoint| endpoint.state = EndpointState::Paused).await;
    t.livekit_says(&joined(&t, &customer, 1)).await.expect("taken in");
    let parts = t.plane.parts();
    let id = delivery(&t, &customer).await.id.to_string();
    let row = t.store.get(&schema::DELIVERIES, &id).await.expect("read").expect("there");
    let mut leased = Delivery::from_stored(row).expect("a delivery");
    leased.state.status = Status::Leased;
    leased.state.lease_token = Some(LeaseToken::new(parts.clock.now(), parts.entropy.as_ref()));
    (leased.due_at, leased.leased_until) = (None, Some(parts.clock.now().plus(Duration::from_secs(30))));
    let mut batch = Batch::new();
    leased.replace_in(&mut batch).expect("a document");
    t.store.commit(batch, CommitMode::Apply).await.expect("committed");
    let mut row = t.store.get(&schema::DELIVERIES, &id).await.expect("read").expect("there");
    row.doc.as_object_mut().expect("an object").remove("event_type");
    let mut batch = Batch::new();
    batch.replace(&schema::DELIVERIES, row.id, row.version, row.doc);
    t.store.commit(batch, CommitMode::Apply).await.expect("committed");

    let (count, gauge) = (
        async || parts.deliveries.count_quarantined(10).await.expect("counted"),
        "pulse_webhook_deliveries_quarantined",
    );
    work(&t).await;
    worker::gauge(&t.plane).await.expect("counted");
    assert_eq!((count().await, value(&t, gauge)), (0, 0.0), "its lease stands");
    t.advance(Duration::from_secs(31)).await;
    work(&t).await;
    worker::gauge(&t.plane).await.expect("counted");
    assert_eq!((count().await, value(&t, gauge)), (1, 1.0));
    assert_eq!(receiver.counts().requests, 0);
}

#[tokio::test]
async fn how_far_livekits_clock_is_off_can_be_seen_whether_its_webhooks_are_refused_or_not() {
    let t = TestPlane::new().await;
    let customer = t.customer("acme").await;
    let now = t.plane.parts().clock.now();
    let told_at = async |n: usize, at| {
        let body = joined(&t, &customer, n).to_string();
        let authorization = ApiKey::new(LIVEKIT_KEY, LIVEKIT_SECRET).authorization(body.as_bytes(), at);
        let door = pulse_core::ingest::Door::Server;
        t.pipeline.ingest.receive(door, Some(authorization.as_bytes()), body.as_bytes()).await
    };
    let skew = "pulse_livekit_clock_skew_milliseconds";
    told_at(1, now.minus(Duration::from_secs(30))).await.expect("taken in");
    assert_eq!(value(&t, skew), 30_000.0, "LiveKit's clock is behind");
    told_at(2, now.plus(Duration::from_secs(20))).await.expect("taken in");
    assert_eq!(value(&t, skew), -20_000.0, "LiveKit's clock is ahead");
    told_at(3, now.plus(Duration::from_secs(90))).await.expect_err("refused");
    assert_eq!(value(&t, skew), -90_000.0, "so far that nothing is taken in");
    told_at(4, now.minus(Duration::from_secs(400))).await.expect_err("refused");
    assert_eq!(value(&t, skew), 400_000.0, "so far in the other direction");
    let text = t.plane.parts().metrics.render().expect("a text");
    assert!(text.contains("pulse_livekit_webhooks_refused_total{reason=\"not_yet_valid\"} 1"), "{text}");
}
