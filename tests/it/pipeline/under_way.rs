//! Endpoints that change or go while something is on its way to them: who comes late changes nothing that is decided, and
//! what is said of an endpoint goes with it.

use std::time::Duration;

use pulse_core::{
    deliver::state::Status,
    model::{
        delivery::{AttemptResult, DeliveryView},
        endpoint::{Endpoint, EndpointHealth, EndpointState},
    },
    ops::endpoints::DeleteEndpoint,
    repo::Document as _,
    store::{Batch, CommitMode},
};
use pulse_tests::{
    plane::{Customer, TestPlane},
    receiver::{Action, Gate, Receiver},
};

use super::{
    attempts,
    deliver::{one_event, replace},
    delivery, endpoint, joined, work,
};

/// An endpoint whose receiver has a request and answers 410 when the gate opens.
async fn about_to_be_gone(t: &TestPlane, customer: &Customer) -> (Endpoint, Receiver, Gate) {
    let gate = Gate::new();
    let receiver = Receiver::start(Action::Hold(gate.clone(), Box::new(Action::gone())));
    let (sent_to, _) = endpoint(t, customer, &receiver.url(), |endpoint| endpoint.timeout_seconds = 15).await;
    one_event(t, customer).await;
    receiver.wait_for(1, Duration::from_secs(5)).await;
    (sent_to, receiver, gate)
}

async fn state(t: &TestPlane, endpoint: &Endpoint) -> EndpointState {
    t.plane.parts().endpoints.find(endpoint.id).await.expect("read").expect("there").state
}

#[tokio::test]
async fn a_410_from_an_old_url_leaves_the_endpoint_on_at_its_new_one() {
    let t = TestPlane::new().await;
    let customer = t.customer("acme").await;
    let (sent_to, receiver, gate) = about_to_be_gone(&t, &customer).await;
    let elsewhere = format!("{}/new", receiver.url()).parse().expect("a url");
    replace(&t, Endpoint { url: elsewhere, ..sent_to.clone() }).await;
    gate.open();
    work(&t).await;
    assert_eq!(state(&t, &sent_to).await, EndpointState::Active);
}

#[tokio::test]
async fn who_comes_late_changes_neither_delivery_nor_endpoint() {
    let t = TestPlane::new().await;
    let customer = t.customer("acme").await;
    let (sent_to, _receiver, gate) = about_to_be_gone(&t, &customer).await;
    // Its lease is taken back while it waits for the answer.
    t.pipeline.dispatcher.recover(true).await;
    gate.open();
    work(&t).await;
    let delivery = delivery(&t, &customer).await;
    assert_eq!(delivery.status, Status::Pending, "what came late ended a delivery that was somebody else's");
    assert_eq!(state(&t, &sent_to).await, EndpointState::Active, "what came late switched the endpoint off");
    let told = told_of(&t, &customer, &delivery).await;
    assert_eq!(told, [(AttemptResult::Failed, true, Some(410))], "one lease, one row, with what the receiver said");
}

#[tokio::test]
async fn who_comes_late_does_not_undo_what_another_has_delivered_meanwhile() {
    let t = TestPlane::new().await;
    let customer = t.customer("acme").await;
    let (sent_to, receiver, gate) = about_to_be_gone(&t, &customer).await;
    t.pipeline.dispatcher.recover(true).await;
    receiver.behave(Action::ok());
    t.advance(Duration::from_secs(2)).await;
    let dispatcher = std::sync::Arc::clone(&t.pipeline.dispatcher);
    // It goes on until the first attempt has ended, too.
    let sending = tokio::spawn(async move { dispatcher.run_until_idle().await });
    let succeeded = async {
        while delivery(&t, &customer).await.status != Status::Succeeded {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), succeeded).await.expect("the second attempt succeeds");
    let before = delivery(&t, &customer).await;

    gate.open();
    sending.await.expect("no panic").expect("works");
    assert_eq!(receiver.counts().requests, 2);
    assert_eq!(delivery(&t, &customer).await, before, "what came late changed a delivery that had ended");
    assert_eq!(state(&t, &sent_to).await, EndpointState::Active, "what came late switched the endpoint off");
    let mut told = told_of(&t, &customer, &before).await;
    told.sort_by_key(|(_, late, _)| *late);
    let expected = [(AttemptResult::Succeeded, false, Some(204)), (AttemptResult::Failed, true, Some(410))];
    assert_eq!(told, expected, "two leases, two rows");
}

/// What is on record of a delivery's attempts: how each ended, whether it was late, and what the receiver said.
async fn told_of(
    t: &TestPlane,
    customer: &Customer,
    delivery: &DeliveryView,
) -> Vec<(AttemptResult, bool, Option<u16>)> {
    let rows = attempts(t, customer, delivery).await;
    rows.iter().map(|row| (row.result, row.late, row.status_code)).collect()
}

/// Deletes the endpoint and does what follows, while the receiver has a request.
async fn deleted_under_way(t: &TestPlane, customer: &Customer, answer: Action) -> DeliveryView {
    let gate = Gate::new();
    let receiver = Receiver::start(Action::Hold(gate.clone(), Box::new(answer)));
    let (sent_to, _) = endpoint(t, customer, &receiver.url(), |endpoint| endpoint.timeout_seconds = 15).await;
    one_event(t, customer).await;
    receiver.wait_for(1, Duration::from_secs(5)).await;
    t.operate(DeleteEndpoint { id: sent_to.id, project_id: Some(customer.id()), version: None }).await;
    while pulse_core::worker::do_jobs(&t.pipeline).await.expect("jobs") > 0 {}
    assert_eq!(delivery(t, customer).await.status, Status::Leased);
    gate.open();
    work(t).await;
    work(t).await;
    delivery(t, customer).await
}

#[tokio::test]
async fn what_was_under_way_when_its_endpoint_was_deleted_ends_with_its_answer_or_is_cancelled() {
    let t = TestPlane::new().await;
    let customer = t.customer("acme").await;
    let taken = deleted_under_way(&t, &customer, Action::ok()).await;
    assert_eq!(taken.status, Status::Succeeded);
    let t = TestPlane::new().await;
    let customer = t.customer("acme").await;
    let refused = deleted_under_way(&t, &customer, Action::status(500)).await;
    assert_eq!(refused.status, Status::Cancelled, "it would have waited until it expired");
}

#[tokio::test]
async fn what_is_recorded_for_an_endpoint_that_is_gone_is_cancelled_when_it_is_found() {
    let t = TestPlane::new().await;
    let customer = t.customer("acme").await;
    let receiver = Receiver::start(Action::ok());
    let (sent_to, _) =
        endpoint(&t, &customer, &receiver.url(), |endpoint| endpoint.state = EndpointState::Paused).await;
    one_event(&t, &customer).await;
    // Gone without the job that cancels: as if the event had been recorded after that.
    let parts = t.plane.parts();
    let current = parts.endpoints.find(sent_to.id).await.expect("read").expect("there");
    let mut batch = Batch::new();
    batch.delete(Endpoint::COLLECTION, current.id, current.version);
    parts.store.commit(batch, CommitMode::Apply).await.expect("committed");
    work(&t).await;
    assert_eq!(delivery(&t, &customer).await.status, Status::Cancelled);
    assert_eq!(receiver.counts().requests, 0);
}

async fn delete(t: &TestPlane, customer: &Customer, endpoint: &Endpoint) {
    let id = endpoint.id.to_string();
    t.send(&customer.caller, "endpoints.delete", &[("id", &id)], "", "").await.expect("deletes");
}

async fn health(t: &TestPlane, endpoint: &Endpoint) -> Option<EndpointHealth> {
    t.plane.parts().endpoints.health(endpoint.id).await.expect("read")
}

#[tokio::test]
async fn an_endpoint_deleted_while_it_is_asked_leaves_no_health_behind() {
    let t = TestPlane::new().await;
    let customer = t.customer("acme").await;
    let (sent_to, _receiver, gate) = about_to_be_gone(&t, &customer).await;
    delete(&t, &customer, &sent_to).await;
    gate.open();
    work(&t).await;
    assert_eq!(health(&t, &sent_to).await.map(|health| health.endpoint_id), None, "nothing would ever remove it");
}

#[tokio::test]
async fn a_deleted_endpoint_does_not_cost_the_others_what_is_known_of_them() {
    let t = TestPlane::new().await;
    let customer = t.customer("acme").await;
    let (stays, goes) = (Receiver::start(Action::ok()), Receiver::start(Action::ok()));
    let (kept, _) = endpoint(&t, &customer, &stays.url(), |_| {}).await;
    let (deleted, _) = endpoint(&t, &customer, &goes.url(), |endpoint| endpoint.timeout_seconds = 15).await;
    one_event(&t, &customer).await;
    work(&t).await;
    assert!(health(&t, &kept).await.is_some() && health(&t, &deleted).await.is_some());
    t.advance(Duration::from_secs(60)).await;
    let gate = Gate::new();
    goes.behave(Action::ok().held_by(&gate));
    t.livekit_says(&joined(&t, &customer, 2)).await.expect("taken in");
    goes.wait_for(2, Duration::from_secs(5)).await;
    delete(&t, &customer, &deleted).await;
    gate.open();
    work(&t).await;
    let now = t.plane.parts().clock.now();
    assert_eq!(health(&t, &kept).await.and_then(|health| health.last_ok_at), Some(now));
    assert_eq!(health(&t, &deleted).await.map(|health| health.endpoint_id), None);
}
