//! What a project's other endpoints are told of one that is in trouble, and an endpoint that fails for days.

use std::time::Duration;

use pulse_core::{
    deliver::{
        dispatch::{DISABLED, EXHAUSTED},
        schedule::Schedule,
    },
    model::endpoint::{Endpoint, EndpointState},
};
use pulse_tests::{
    plane::{Customer, TestPlane},
    receiver::{Action, Received, Receiver},
};
use serde_json::{Value, json};

use super::{endpoint, joined, work};

const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);

/// A customer with an endpoint that is in trouble, which gets everything, and another one.
struct Stage {
    t: TestPlane,
    customer: Customer,
    /// What answers for the first.
    troubled: Receiver,
    of_it: Endpoint,
    other: Receiver,
    events: usize,
}

impl Stage {
    async fn new(trouble: Action) -> Self {
        let t = TestPlane::new().await;
        let customer = t.customer("acme").await;
        let (troubled, other) = (Receiver::start(trouble), Receiver::start(Action::ok()));
        // Given up after the second attempt, a second later.
        let schedule = Schedule::new([1]).expect("a schedule");
        let (of_it, _) = endpoint(&t, &customer, &troubled.url(), |made| made.schedule = Some(schedule.clone())).await;
        let of_pulse = serde_json::from_value(json!(["endpoint.*", "delivery.*"])).expect("a filter");
        endpoint(&t, &customer, &other.url(), |made| {
            made.event_types = of_pulse;
            made.schedule = Some(schedule);
        })
        .await;
        Self { t, customer, troubled, of_it, other, events: 0 }
    }

    /// Lets an event happen, and its two attempts be made, and whatever comes of that be sent.
    async fn happen(&mut self) {
        self.events += 1;
        let event = joined(&self.t, &self.customer, self.events);
        self.t.livekit_says(&event).await.expect("taken in");
        self.settle().await;
        self.t.advance(Duration::from_secs(2)).await;
        self.settle().await;
    }

    /// Until nothing is due: what one round records is sent by the next.
    async fn settle(&self) {
        for _ in 0..3 {
            work(&self.t).await;
        }
    }

    async fn state(&self) -> EndpointState {
        self.t.plane.parts().endpoints.find(self.of_it.id).await.expect("read").expect("there").state
    }

    async fn enable(&self) {
        let id = self.of_it.id.to_string();
        self.t.send(&self.customer.caller, "endpoints.enable", &[("id", &id)], "", "{}").await.expect("enables");
    }

    /// What the other endpoint was told, all of it about the first.
    fn told(&self) -> Vec<Value> {
        let told: Vec<Value> = self.other.received().iter().map(Received::json).collect();
        assert!(told.iter().all(|event| event["data"]["endpoint"]["id"] == json!(self.of_it.id)), "{told:?}");
        told
    }

    /// Types and counts of it.
    fn counts(&self) -> Vec<(String, u64)> {
        let told = self.told();
        let count = |event: &Value| event["data"]["count"].as_u64().expect("a count");
        told.iter().map(|event| (event["type"].as_str().expect("a type").to_owned(), count(event))).collect()
    }

    /// Whether the first was told something of Pulse's own.
    fn is_told_of_itself(&self) -> bool {
        self.troubled.received().iter().any(|received| received.header("pulse-event-type").contains('.'))
    }
}

fn exhausted(count: u64) -> (String, u64) {
    (EXHAUSTED.to_owned(), count)
}

#[tokio::test]
async fn deliveries_that_are_given_up_are_told_once_an_hour_with_their_number_and_never_to_their_endpoint() {
    let mut stage = Stage::new(Action::status(500)).await;
    stage.happen().await;
    assert_eq!(stage.counts(), [exhausted(1)]);
    stage.happen().await;
    stage.happen().await;
    assert_eq!(stage.counts(), [exhausted(1)], "told within the hour");
    stage.t.advance(HOUR).await;
    stage.settle().await;
    assert_eq!(stage.counts(), [exhausted(1), exhausted(2)], "the two since then");
    stage.t.advance(HOUR).await;
    stage.settle().await;
    assert_eq!(stage.counts().len(), 2, "there is nothing more to tell");
    assert!(!stage.is_told_of_itself());
}

#[tokio::test]
async fn what_was_given_up_before_a_restart_is_told_after_it() {
    let mut stage = Stage::new(Action::status(500)).await;
    stage.happen().await;
    stage.happen().await;
    assert_eq!(stage.counts(), [exhausted(1)], "the second is told when the hour is over");
    // Nothing more is tried for the endpoint: nothing brings it to mind.
    stage
        .t
        .send(&stage.customer.caller, "endpoints.disable", &[("id", &stage.of_it.id.to_string())], "", "{}")
        .await
        .expect("disables");
    let next = TestPlane::started_over(stage.t.store.clone(), 2).await.expect("starts");
    for _ in 0..3 {
        work(&next).await;
    }
    assert_eq!(stage.counts().len(), 1, "told within the hour");
    next.advance(HOUR).await;
    for _ in 0..3 {
        work(&next).await;
    }
    assert_eq!(stage.counts(), [exhausted(1), exhausted(1)]);
}

#[tokio::test]
async fn what_is_given_up_of_pulses_own_events_is_not_told_again() {
    let mut stage = Stage::new(Action::status(500)).await;
    stage.other.behave(Action::status(500));
    let third = Receiver::start(Action::ok());
    endpoint(&stage.t, &stage.customer, &third.url(), |_| {}).await;
    stage.happen().await;
    for _ in 0..3 {
        stage.t.advance(HOUR).await;
        stage.settle().await;
    }
    assert_eq!(stage.counts(), [exhausted(1), exhausted(1)], "two attempts of the one event, and it was given up");
    let told: Vec<Value> = third.received().iter().map(Received::json).collect();
    let of_pulse: Vec<&Value> = told.iter().filter(|event| event["type"] == EXHAUSTED).collect();
    assert_eq!(of_pulse.len(), 1, "{of_pulse:#?}");
    assert_eq!(of_pulse[0]["data"]["endpoint"]["id"], json!(stage.of_it.id));
    assert!(!stage.is_told_of_itself());
}

#[tokio::test]
async fn an_endpoint_that_is_gone_when_it_is_told_of_another_is_not_told_of() {
    let mut stage = Stage::new(Action::status(500)).await;
    stage.other.behave(Action::gone());
    let third = Receiver::start(Action::ok());
    endpoint(&stage.t, &stage.customer, &third.url(), |_| {}).await;
    stage.happen().await;
    stage.settle().await;
    assert_eq!(stage.counts(), [exhausted(1)], "what it answered 410 to");
    let told: Vec<Value> = third.received().iter().map(Received::json).collect();
    let disabled = told.iter().filter(|event| event["type"] == "endpoint.disabled").count();
    assert_eq!(disabled, 0, "an operational event caused another: {told:#?}");
}

#[tokio::test]
async fn an_endpoint_that_is_gone_is_told_of_once_an_hour_and_never_to_itself() {
    let mut stage = Stage::new(Action::gone()).await;
    // What was given up of its deliveries is told, too.
    let reasons = |stage: &Stage| -> Vec<Value> {
        let told = stage.told().into_iter().filter(|event| event["type"] == DISABLED);
        told.map(|event| event["data"]["reason"].clone()).collect()
    };
    stage.happen().await;
    assert_eq!((stage.state().await, reasons(&stage)), (EndpointState::Disabled, vec![json!("it answered 410 Gone")]));
    stage.enable().await;
    stage.happen().await;
    assert_eq!((stage.state().await, reasons(&stage).len()), (EndpointState::Disabled, 1), "told within the hour");
    stage.t.advance(HOUR).await;
    stage.enable().await;
    stage.happen().await;
    assert_eq!((stage.state().await, reasons(&stage).len()), (EndpointState::Disabled, 2));
    assert!(!stage.is_told_of_itself());
}

#[tokio::test]
async fn forty_failures_in_less_than_five_days_leave_an_endpoint_on_and_the_next_one_after_them_switches_it_off() {
    let mut stage = Stage::new(Action::status(500)).await;
    for _ in 0..20 {
        stage.happen().await;
        assert_eq!(stage.state().await, EndpointState::Active, "after {} events", stage.events);
        stage.t.advance(6 * HOUR - Duration::from_secs(2)).await;
    }
    let before = stage.troubled.counts().requests;
    assert_eq!(before, 40);
    stage.happen().await;
    assert_eq!(stage.state().await, EndpointState::Disabled);
    assert_eq!(stage.troubled.counts().requests, before + 1, "it was not left alone after that");
    let told = stage.told();
    let told: Vec<&Value> = told.iter().filter(|event| event["type"] == DISABLED).collect();
    assert_eq!(told.len(), 1);
    assert_eq!(told[0]["data"]["reason"], "it failed for five days");
    assert!(!stage.is_told_of_itself());
    stage.happen().await;
    assert_eq!(stage.troubled.counts().requests, before + 1, "nothing new is kept for it");
}

#[tokio::test]
async fn nineteen_failures_in_more_than_five_days_leave_an_endpoint_on_and_the_twentieth_switches_it_off() {
    let mut stage = Stage::new(Action::status(500)).await;
    for _ in 0..9 {
        stage.happen().await;
        stage.t.advance(16 * HOUR).await;
    }
    let event = joined(&stage.t, &stage.customer, 100);
    stage.t.livekit_says(&event).await.expect("taken in");
    stage.settle().await;
    assert_eq!((stage.troubled.counts().requests, stage.state().await), (19, EndpointState::Active));
    stage.t.advance(Duration::from_secs(2)).await;
    stage.settle().await;
    assert_eq!((stage.troubled.counts().requests, stage.state().await), (20, EndpointState::Disabled));
}

#[tokio::test]
async fn a_success_and_somebody_who_enables_it_give_an_endpoint_its_five_days_anew() {
    let mut stage = Stage::new(Action::status(500)).await;
    let days = async |stage: &mut Stage, days: usize| {
        for _ in 0..4 * days {
            stage.happen().await;
            stage.t.advance(6 * HOUR - Duration::from_secs(2)).await;
        }
    };
    days(&mut stage, 4).await;
    stage.troubled.behave(Action::ok());
    stage.happen().await;
    stage.troubled.behave(Action::status(500));
    days(&mut stage, 4).await;
    assert_eq!(stage.state().await, EndpointState::Active, "eight days, with a success in the middle");
    days(&mut stage, 2).await;
    assert_eq!(stage.state().await, EndpointState::Disabled);
    stage.t.advance(DAY).await;
    stage.enable().await;
    days(&mut stage, 4).await;
    assert_eq!(stage.state().await, EndpointState::Active, "somebody enabled it, who may have mended it");
    days(&mut stage, 2).await;
    assert_eq!(stage.state().await, EndpointState::Disabled);
}
