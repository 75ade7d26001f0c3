//! Whatever is swept, sent, taken back and sent once more in whichever order: the body of an event stays for as long as a
//! delivery of it could be sent, and no longer.

use std::{sync::Arc, time::Duration};

use proptest::prelude::*;
use pulse_core::{
    deliver::{schedule::Schedule, state::Status},
    id::LeaseToken,
    model::{
        delivery::{Delivery, DeliveryView},
        endpoint::EndpointState,
    },
    ops::deliveries::ResendDelivery,
    repo::{Document as _, deliveries::DeliveryFilter},
    retention,
    store::{
        Batch, CommitMode, SharedStore,
        memory::MemoryStore,
        schema,
        testing::faulty::{CallKind, Fault, FaultyStore},
    },
};
use pulse_tests::{
    plane::{Customer, TestPlane},
    receiver::{Action, Receiver},
};

use super::{cases, delivery, endpoint, joined, work};

const DAY: Duration = Duration::from_secs(86_400);
/// For how long events are kept.
const KEPT: Duration = Duration::from_secs(30 * 86_400);

/// What is done next.
#[derive(Clone, Debug)]
enum Act {
    Happen,
    /// Everything due is sent.
    Send,
    /// One batch is swept.
    Sweep,
    /// One of the deliveries is sent once more.
    Resend(usize),
    /// A worker takes one of them, and is not heard of again.
    Lose(usize),
    Pause,
    Resume,
    Refuse(bool),
    Pass(u64),
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => Just(Act::Happen),
        3 => Just(Act::Send),
        5 => Just(Act::Sweep),
        3 => any::<usize>().prop_map(Act::Resend),
        3 => any::<usize>().prop_map(Act::Lose),
        1 => Just(Act::Pause),
        1 => Just(Act::Resume),
        1 => any::<bool>().prop_map(Act::Refuse),
        // An hour to twelve days.
        5 => (1..288_u64).prop_map(Act::Pass),
    ]
}

struct Stage {
    t: TestPlane,
    customer: Customer,
    receiver: Receiver,
    endpoint: String,
    events: usize,
}

impl Stage {
    async fn new() -> Self {
        let t = TestPlane::new().await;
        let customer = t.customer("acme").await;
        let receiver = Receiver::start(Action::ok());
        let (made, _) = endpoint(&t, &customer, &receiver.url(), |endpoint| {
            endpoint.state = EndpointState::Paused;
            endpoint.schedule = Schedule::new([86_400; 7]).ok();
        })
        .await;
        Self { t, customer, receiver, endpoint: made.id.to_string(), events: 0 }
    }

    async fn rows(&self) -> Vec<DeliveryView> {
        let (filter, limit) = (DeliveryFilter::default(), 100_u32.try_into().ok());
        self.t.plane.parts().deliveries.list(self.customer.id(), &filter, limit, None).await.expect("deliveries").data
    }

    async fn ask(&self, op: &str, id: &str) {
        // What is refused is refused: an event that is not kept any more, an endpoint that was disabled for failing.
        let _ = self.t.send(&self.customer.caller, op, &[("id", id)], "", "{}").await;
    }

    async fn do_act(&mut self, act: &Act) {
        match act {
            Act::Happen => {
                self.events += 1;
                let event = joined(&self.t, &self.customer, self.events);
                self.t.livekit_says(&event).await.expect("taken in");
            }
            Act::Send => self.t.pipeline.dispatcher.run_until_idle().await.expect("works"),
            Act::Sweep => drop(retention::sweep(self.t.plane.parts()).await.expect("swept")),
            Act::Resend(which) => self.resend(*which).await,
            Act::Lose(which) => self.lose(*which).await,
            Act::Pause => self.ask("endpoints.pause", &self.endpoint).await,
            Act::Resume => self.ask("endpoints.resume", &self.endpoint).await,
            Act::Refuse(refuse) => self.receiver.behave(if *refuse { Action::status(500) } else { Action::ok() }),
            Act::Pass(hours) => self.t.advance(Duration::from_secs(hours * 3_600)).await,
        }
    }

    async fn resend(&mut self, which: usize) {
        let rows = self.rows().await;
        if rows.is_empty() {
            return;
        }
        self.events += 1;
        let mut call = self.t.call(&self.customer.caller);
        call.request_id = format!("req-{}", self.events);
        let resend = ResendDelivery { id: rows[which % rows.len()].id, project_id: None };
        drop(self.t.plane.execute(&call, &resend).await);
    }

    async fn lose(&self, which: usize) {
        let (parts, rows) = (self.t.plane.parts(), self.rows().await);
        let pending: Vec<_> = rows.iter().filter(|row| row.status == Status::Pending).collect();
        if pending.is_empty() {
            return;
        }
        let id = pending[which % pending.len()].id.to_string();
        let row = self.t.store.get(&schema::DELIVERIES, &id).await.expect("read").expect("there");
        let mut lost = Delivery::from_stored(row).expect("a delivery");
        lost.state.status = Status::Leased;
        lost.state.lease_token = Some(LeaseToken::new(parts.clock.now(), parts.entropy.as_ref()));
        (lost.due_at, lost.leased_until) = (None, Some(parts.clock.now().plus(Duration::from_secs(30))));
        let mut batch = Batch::new();
        lost.replace_in(&mut batch).expect("a document");
        parts.store.commit(batch, CommitMode::Apply).await.expect("committed");
    }

    /// Deliveries that could still be sent.
    async fn live(&self) -> Vec<DeliveryView> {
        let mut rows = self.rows().await;
        rows.retain(|row| !row.status.is_terminal());
        rows
    }

    /// Whatever could be sent has not gone without an end, and still has what is to be sent.
    async fn look(&self, before: &[DeliveryView], after: &Act) {
        let parts = self.t.plane.parts();
        for row in before {
            let row = parts.deliveries.get(self.customer.id(), row.id).await.expect("read");
            assert!(row.is_some(), "{after:?} took a delivery that could be sent");
        }
        for row in self.live().await {
            let event = parts.events.get(self.customer.id(), row.event_id).await.expect("read");
            assert!(event.is_some(), "{after:?} took the body of {row:?}");
        }
    }

    /// Nothing is kept for ever: not what happened, and not what is told of what was given up in the end.
    async fn end(self) {
        for _ in 0..2 {
            self.t.advance(KEPT + DAY).await;
            work(&self.t).await;
            work(&self.t).await;
        }
        for collection in [&schema::DELIVERIES, &schema::ATTEMPTS, &schema::EVENTS] {
            let left = self.t.store.count(collection, schema::PRIMARY, &[], 10).await.expect("counted");
            assert_eq!(left, 0, "{}", collection.name);
        }
    }
}

async fn play(acts: &[Act]) {
    let mut stage = Stage::new().await;
    for act in acts {
        let before = stage.live().await;
        stage.do_act(act).await;
        stage.look(&before, act).await;
    }
    stage.end().await;
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(48), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_sweep_takes_the_body_of_a_delivery_that_could_be_sent(acts in prop::collection::vec(act(), 10..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(play(&acts));
    }
}

/// A delivery is sent once more `left` before its event's time is over, by one process whose commit takes a minute; and
/// that commit comes while another process sweeps.
async fn in_the_last_moment(left: Duration) {
    let shared: SharedStore = Arc::new(MemoryStore::new());
    let (mine, others) = (Arc::new(FaultyStore::new(Arc::clone(&shared))), Arc::new(FaultyStore::new(shared)));
    let t = TestPlane::over(Arc::clone(&mine) as SharedStore, 1).await.expect("a plane");
    let sweeping = TestPlane::over(Arc::clone(&others) as SharedStore, 2).await.expect("another plane");
    let customer = t.customer("acme").await;
    let receiver = Receiver::start(Action::ok());
    endpoint(&t, &customer, &receiver.url(), |_| {}).await;
    t.livekit_says(&joined(&t, &customer, 1)).await.expect("taken in");
    work(&t).await;
    let first = delivery(&t, &customer).await;
    t.clock.advance(KEPT - left);
    sweeping.clock.set(t.plane.parts().clock.now().plus(Duration::from_secs(59)));

    mine.plan(Fault::Stall { call: CallKind::Commit, nth: 1 });
    let (plane, call) = (Arc::clone(&t.plane), t.call(&customer.caller));
    let resend = ResendDelivery { id: first.id, project_id: None };
    let mut asked = tokio::spawn(async move { plane.execute(&call, &resend).await.map(drop) });
    let refused = tokio::select! {
        asked = &mut asked => asked.expect("no panic").is_err(),
        () = mine.until_stalled() => false,
    };
    // The first batch takes the delivery, the second one the event.
    others.plan(Fault::Stall { call: CallKind::Commit, nth: 2 });
    let plane = Arc::clone(&sweeping.plane);
    let mut swept = tokio::spawn(async move { retention::sweep(plane.parts()).await });
    let done = tokio::select! {
        swept = &mut swept => Some(swept),
        () = others.until_stalled() => None,
    };
    mine.release();
    if !refused {
        asked.await.expect("no panic").expect("sent once more");
    }
    others.release();
    let done = if let Some(done) = done { done } else { swept.await };
    done.expect("no panic").expect("swept");

    let filter = DeliveryFilter { event_id: Some(first.event_id), ..DeliveryFilter::default() };
    let rows = t.plane.parts().deliveries.list(customer.id(), &filter, None, None).await.expect("deliveries").data;
    let body = t.plane.parts().events.get(customer.id(), first.event_id).await.expect("read");
    assert!(rows.is_empty() || body.is_some(), "{left:?} before its end: the body of a delivery is gone: {rows:?}");
    assert_eq!(rows.is_empty(), refused, "{left:?} before its end: {rows:?}");
}

#[tokio::test]
async fn what_is_sent_once_more_in_the_last_moment_keeps_its_body() {
    for left in [1, 30_000, 60_001, 120_000] {
        in_the_last_moment(Duration::from_millis(left)).await;
    }
}
