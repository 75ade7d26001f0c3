//! Deliveries: signed, retried, paused, put aside, taken back.

use std::time::Duration;

use pulse_core::{
    deliver::{
        breaker::BreakerState,
        pace::EndpointRate,
        schedule::Schedule,
        sign::{self, SigningSecret},
        state::{QUARANTINE_AFTER, Status},
    },
    id::DeliveryId,
    model::{
        delivery::{AttemptResult, Delivery, DeliveryView},
        endpoint::{Endpoint, EndpointState},
    },
    ops::deliveries::ResendDelivery,
    repo::Document as _,
    store::{Batch, CommitMode, schema},
};
use pulse_tests::{
    plane::{Customer, TestPlane},
    receiver::{Action, Received, Receiver},
};

use super::{attempts, count, deliveries, delivery, endpoint, joined, work};

/// Whether a request is signed with this secret, at the plane's time.
fn is_signed(t: &TestPlane, secret: &SigningSecret, request: &Received) -> bool {
    let timestamp: i64 = request.header("webhook-timestamp").parse().expect("a number");
    let message = sign::Message { id: request.header("webhook-id"), timestamp, body: &[request.body.as_ref()] };
    let header = request.header("webhook-signature");
    let now = t.plane.parts().clock.now();
    sign::verify(std::slice::from_ref(secret), &message, header, now, sign::TOLERANCE).is_ok()
}

pub(super) async fn replace(t: &TestPlane, endpoint: Endpoint) {
    let parts = t.plane.parts();
    let current = parts.endpoints.find(endpoint.id).await.expect("read").expect("there");
    let mut batch = Batch::new();
    Endpoint { version: current.version, ..endpoint }.replace_in(&mut batch).expect("a document");
    batch.bump_generation();
    parts.store.commit(batch, CommitMode::Apply).await.expect("committed");
    parts.keyring.forget();
}

pub(super) async fn one_event(t: &TestPlane, customer: &Customer) {
    t.livekit_says(&joined(t, customer, 1)).await.expect("taken in");
}

#[tokio::test]
async fn an_event_is_sent_at_once_signed_and_numbered() {
    let t = TestPlane::new().await;
    let customer = t.customer("acme").await;
    let receiver = Receiver::start(Action::ok());
    let (_, secret) = endpoint(&t, &customer, &receiver.url(), |_| {}).await;
    one_event(&t, &customer).await;
    let got = receiver.wait_for(1, Duration::from_secs(5)).await.remove(0);
    work(&t).await;

    assert!(is_signed(&t, &secret, &got));
    let body: serde_json::Value = serde_json::from_slice(&got.body).expect("JSON");
    assert!(got.body.starts_with(b"{\"sequence\":1,\"id\":\"evt_"), "{body}");
    assert_eq!(body["type"], "participant_joined");
    assert_eq!(body["room"], "standup");
    assert_eq!(body["data"]["participant"]["identity"], "user-1");
    assert_eq!(body["data"]["room"]["name"], "standup", "a wire name got out");
    assert_eq!(got.header("webhook-id"), body["id"]);
    assert_eq!(got.header("pulse-event-type"), "participant_joined");
    assert_eq!(got.header("pulse-attempt"), "1");
    let delivery = delivery(&t, &customer).await;
    assert_eq!(delivery.status, Status::Succeeded);
    let attempts = attempts(&t, &customer, &delivery).await;
    assert_eq!((attempts.len(), attempts[0].status_code, attempts[0].result), (1, Some(204), AttemptResult::Succeeded));
    assert_eq!(attempts[0].remote_ip.as_deref(), Some("127.0.0.1"));
}

#[tokio::test]
async fn retries_come_by_the_schedule_never_early_and_with_the_same_bytes() {
    let t = TestPlane::new().await;
    let customer = t.customer("acme").await;
    let receiver = Receiver::start(Action::status(500));
    endpoint(&t, &customer, &receiver.url(), |endpoint| endpoint.schedule = Schedule::preset("plan")).await;
    one_event(&t, &customer).await;
    work(&t).await;
    for wait in [300_u64, 600, 1_800] {
        let due = delivery(&t, &customer).await.due_at.expect("another attempt");
        let now = t.plane.parts().clock.now();
        let (least, most) = (Duration::from_secs(wait), Duration::from_secs(wait).mul_f64(1.2));
        assert!((least..=most).contains(&due.since(now)), "{:?} instead of {wait} s", due.since(now));
        let before = receiver.counts().requests;
        t.advance(due.since(now) - Duration::from_millis(1)).await;
        work(&t).await;
        assert_eq!(receiver.counts().requests, before, "an attempt came early");
        t.advance(Duration::from_millis(1)).await;
        work(&t).await;
        assert_eq!(receiver.counts().requests, before + 1);
    }
    let delivery = delivery(&t, &customer).await;
    assert_eq!((delivery.status, delivery.attempts_made, delivery.due_at), (Status::Exhausted, 4, None));
    let got = receiver.received();
    assert!(got.iter().all(|one| one.body == got[0].body), "the bytes are not the same on every attempt");
    let numbers: Vec<&str> = got.iter().map(|one| one.header("pulse-attempt")).collect();
    assert_eq!(numbers, ["1", "2", "3", "4"]);
    sent_once_more_it_has_the_same_bytes(&t, &customer, &receiver, &delivery).await;
}

/// Sends an exhausted delivery's event again, long after it happened: another delivery of what was sent before.
async fn sent_once_more_it_has_the_same_bytes(
    t: &TestPlane,
    customer: &Customer,
    receiver: &Receiver,
    old: &DeliveryView,
) {
    receiver.behave(Action::ok());
    let before = receiver.received();
    let resend = ResendDelivery { id: old.id, project_id: None };
    let new = t.run(&customer.caller, resend).await.expect("sent once more");
    work(t).await;
    let (got, first) = (receiver.received(), &before[0]);
    assert_eq!(got.len(), before.len() + 1);
    let last = &got[before.len()];
    assert_eq!(last.body, first.body, "the bytes are not the same when it is sent once more");
    assert_eq!(last.header("webhook-id"), first.header("webhook-id"), "it looks like another event");
    assert_eq!(last.header("pulse-delivery-id"), new.id.to_string());
    assert_ne!(last.header("pulse-delivery-id"), first.header("pulse-delivery-id"));
}

#[tokio::test]
async fn what_a_paused_endpoint_missed_comes_when_it_is_resumed_and_a_disabled_one_gets_nothing_new() {
    let t = TestPlane::new().await;
    let customer = t.customer("acme").await;
    let receiver = Receiver::start(Action::ok());
    let (active, _) = endpoint(&t, &customer, &receiver.url(), |_| {}).await;
    replace(&t, Endpoint { state: EndpointState::Paused, ..active.clone() }).await;
    one_event(&t, &customer).await;
    work(&t).await;
    assert_eq!((receiver.counts().requests, count(&t, &customer, Status::Pending).await), (0, 1));

    replace(&t, active.clone()).await;
    work(&t).await;
    assert_eq!((receiver.counts().requests, count(&t, &customer, Status::Succeeded).await), (1, 1));

    replace(&t, Endpoint { state: EndpointState::Disabled, ..active }).await;
    t.livekit_says(&joined(&t, &customer, 2)).await.expect("taken in");
    work(&t).await;
    assert_eq!(deliveries(&t, &customer).await.len(), 1, "a disabled endpoint has something new");
}

#[tokio::test]
async fn endpoints_get_the_types_that_they_name() {
    let t = TestPlane::new().await;
    let customer = t.customer("acme").await;
    let receiver = Receiver::start(Action::ok());
    let types = serde_json::from_value(serde_json::json!(["room_*", "track_published"])).expect("a filter");
    endpoint(&t, &customer, &receiver.url(), |endpoint| endpoint.event_types = types).await;
    one_event(&t, &customer).await;
    let started = serde_json::json!({
        "event": "room_started", "id": "EV_started", "createdAt": "1780000000",
        "room": { "sid": "RM_0", "name": format!("{}~standup", customer.id()) },
    });
    t.livekit_says(&started).await.expect("taken in");
    work(&t).await;
    let got = receiver.received();
    assert_eq!(got.len(), 1);
    assert_eq!(got[0].header("pulse-event-type"), "room_started");
    assert!(got[0].body.starts_with(b"{\"sequence\":2,"), "a filtered endpoint sees holes in the numbers");
}

#[tokio::test]
async fn a_row_that_does_not_decode_is_put_aside_and_delays_nobody() {
    let t = TestPlane::new().await;
    let customer = t.customer("acme").await;
    let receiver = Receiver::start(Action::ok());
    let (active, _) = endpoint(&t, &customer, &receiver.url(), |endpoint| endpoint.state = EndpointState::Paused).await;
    for n in 0..1_000 {
        t.livekit_says(&joined(&t, &customer, n)).await.expect("taken in");
    }
    let rows = t.plane.parts().deliveries.pending(active.id, None, 500).await.expect("rows");
    let mut poison = rows[400].clone();
    poison.doc.as_object_mut().expect("an object").remove("event_type");
    let mut batch = Batch::new();
    batch.replace(&schema::DELIVERIES, poison.id, poison.version, poison.doc);
    t.store.commit(batch, CommitMode::Apply).await.expect("committed");

    replace(&t, Endpoint { state: EndpointState::Active, ..active }).await;
    work(&t).await;
    assert_eq!(receiver.counts().requests, 999);
    assert_eq!(t.plane.parts().deliveries.count_quarantined(10).await.expect("counted"), 1, "put aside");
}

#[tokio::test]
async fn an_event_that_does_not_decode_delays_nobody() {
    let t = TestPlane::new().await;
    let customer = t.customer("acme").await;
    let receiver = Receiver::start(Action::ok());
    let (active, _) = endpoint(&t, &customer, &receiver.url(), |endpoint| endpoint.state = EndpointState::Paused).await;
    for n in 0..10 {
        t.livekit_says(&joined(&t, &customer, n)).await.expect("taken in");
    }
    let poisoned = deliveries(&t, &customer).await.remove(5);
    let id = poisoned.event_id.to_string();
    let mut poison = t.store.get(&schema::EVENTS, &id).await.expect("read").expect("there");
    let fields = poison.doc.as_object_mut().expect("an object");
    fields.retain(|name, _| !["log", "seq"].contains(&name.as_str()));
    fields.insert("room".to_owned(), 5.into());
    let mut batch = Batch::new();
    batch.delete(&schema::EVENTS, poison.id.clone(), poison.version);
    t.store.commit(batch, CommitMode::Apply).await.expect("committed");
    let mut batch = Batch::new();
    batch.insert(&schema::EVENTS, poison.id, poison.doc);
    t.store.commit(batch, CommitMode::Apply).await.expect("committed");

    replace(&t, Endpoint { state: EndpointState::Active, ..active }).await;
    work(&t).await;
    assert_eq!(receiver.counts().requests, 9);
    assert_eq!(count(&t, &customer, Status::Leased).await, 0, "a claim left what it had taken");
    assert_eq!(count(&t, &customer, Status::Succeeded).await, 9);
    // It is tried again, for the store may have been at fault, and put aside in the end: never as if the receiver had refused it.
    let mut tried = 1;
    while let Some(due_at) = its_delivery(&t, &customer, poisoned.id).await.due_at {
        t.advance(due_at.since(t.plane.parts().clock.now())).await;
        work(&t).await;
        tried += 1;
        assert!(tried <= QUARANTINE_AFTER, "it is tried for ever");
    }
    let put_aside = its_delivery(&t, &customer, poisoned.id).await;
    assert_eq!((put_aside.status, put_aside.attempts_made, tried), (Status::Quarantined, 0, QUARANTINE_AFTER));
    assert_eq!(receiver.counts().requests, 9);
}

pub(super) async fn its_delivery(t: &TestPlane, customer: &Customer, id: DeliveryId) -> DeliveryView {
    let all = deliveries(t, customer).await;
    all.into_iter().find(|delivery| delivery.id == id).expect("it stays visible")
}

#[tokio::test]
async fn a_hanging_receiver_is_left_alone_and_then_asked_with_one_attempt() {
    let t = TestPlane::new().await;
    let customer = t.customer("acme").await;
    let receiver = Receiver::start(Action::Hang);
    let (sent_to, _) = endpoint(&t, &customer, &receiver.url(), |endpoint| endpoint.max_in_flight = 5).await;
    for n in 0..30 {
        t.livekit_says(&joined(&t, &customer, n)).await.expect("taken in");
    }
    work(&t).await;
    let health = t.plane.parts().endpoints.health(sent_to.id).await.expect("read").expect("there");
    assert_eq!((health.breaker, receiver.counts().requests), (BreakerState::Open, 5));
    work(&t).await;
    assert_eq!(receiver.counts().requests, 5, "a receiver that hangs was not left alone");

    receiver.behave(Action::ok());
    t.advance(Duration::from_secs(31)).await;
    work(&t).await;
    assert_eq!(count(&t, &customer, Status::Succeeded).await, 20, "a page of those that came through");
    let health = t.plane.parts().endpoints.health(sent_to.id).await.expect("read").expect("there");
    assert_eq!((health.breaker, health.consecutive_failures), (BreakerState::Closed, 0));
}

#[tokio::test]
async fn a_rate_is_kept() {
    let t = TestPlane::new().await;
    let customer = t.customer("acme").await;
    let receiver = Receiver::start(Action::ok());
    let rate = EndpointRate { per_second: 2, burst: 3 };
    endpoint(&t, &customer, &receiver.url(), |endpoint| endpoint.rate = Some(rate)).await;
    for n in 0..10 {
        t.livekit_says(&joined(&t, &customer, n)).await.expect("taken in");
    }
    work(&t).await;
    assert_eq!(receiver.counts().requests, 3, "the burst");
    for sent in [5, 7, 9, 10] {
        t.advance(Duration::from_secs(1)).await;
        work(&t).await;
        assert_eq!(receiver.counts().requests, sent);
    }
}

#[tokio::test]
async fn an_event_in_a_suspended_project_is_recorded_and_sent_to_nobody() {
    let t = TestPlane::new().await;
    let customer = t.customer("acme").await;
    let receiver = Receiver::start(Action::ok());
    endpoint(&t, &customer, &receiver.url(), |_| {}).await;
    t.operate(pulse_core::ops::projects::SuspendProject {
        id: customer.id(),
        reason: "unpaid".parse().expect("a note"),
    })
    .await;
    one_event(&t, &customer).await;
    work(&t).await;
    assert_eq!(deliveries(&t, &customer).await.len(), 0);
    assert_eq!(t.plane.parts().intervals.open_of(customer.id(), 10).await.expect("read").len(), 1);
}

#[tokio::test]
async fn a_lease_that_nobody_ends_is_taken_back_with_a_row_that_says_so() {
    let t = TestPlane::new().await;
    let customer = t.customer("acme").await;
    let receiver = Receiver::start(Action::ok());
    let (paused, _) = endpoint(&t, &customer, &receiver.url(), |endpoint| endpoint.state = EndpointState::Paused).await;
    one_event(&t, &customer).await;
    // As a daemon leaves it that was killed: leased by somebody who is not there any more.
    let row = t.plane.parts().deliveries.pending(paused.id, None, 1).await.expect("rows").remove(0);
    let mut lost = Delivery::from_stored(row).expect("a delivery");
    lost.state.status = Status::Leased;
    lost.state.lease_token =
        Some(pulse_core::id::LeaseToken::new(t.plane.parts().clock.now(), t.plane.parts().entropy.as_ref()));
    lost.leased_until = Some(t.plane.parts().clock.now().plus(Duration::from_secs(30)));
    lost.due_at = None;
    let mut batch = Batch::new();
    lost.replace_in(&mut batch).expect("a document");
    t.store.commit(batch, CommitMode::Apply).await.expect("committed");
    replace(&t, Endpoint { state: EndpointState::Active, ..paused }).await;

    work(&t).await;
    assert_eq!(receiver.counts().requests, 0, "a lease that stands was not respected");
    t.advance(Duration::from_secs(31)).await;
    work(&t).await;
    t.advance(Duration::from_secs(2)).await;
    work(&t).await;
    let delivery = delivery(&t, &customer).await;
    assert_eq!((delivery.status, delivery.attempts_made), (Status::Succeeded, 1));
    let results: Vec<_> = attempts(&t, &customer, &delivery).await.iter().map(|row| (row.number, row.result)).collect();
    assert!(results.contains(&(1, AttemptResult::Interrupted)) && results.contains(&(1, AttemptResult::Succeeded)));
}

#[tokio::test]
async fn old_deliveries_end_and_go_and_their_events_after_them() {
    let t = TestPlane::new().await;
    let customer = t.customer("acme").await;
    let receiver = Receiver::start(Action::ok());
    endpoint(&t, &customer, &receiver.url(), |endpoint| endpoint.state = EndpointState::Paused).await;
    one_event(&t, &customer).await;
    let id = delivery(&t, &customer).await.event_id;
    t.advance(Duration::from_secs(30 * 86_400 - 1)).await;
    work(&t).await;
    assert_eq!(count(&t, &customer, Status::Pending).await, 1);
    t.advance(Duration::from_secs(2)).await;
    pulse_core::retention::sweep(t.plane.parts()).await.expect("swept");
    assert_eq!(count(&t, &customer, Status::Expired).await, 1, "it ends before it goes");
    assert!(t.plane.parts().events.get(customer.id(), id).await.expect("read").is_some());
    work(&t).await;
    assert_eq!(deliveries(&t, &customer).await.len(), 0);
    assert!(t.plane.parts().events.get(customer.id(), id).await.expect("read").is_none());
}
