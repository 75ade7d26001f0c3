//! Everything that a customer's server has been known to do to a webhook sender: what becomes of the delivery, and what the
//! attempt says.

use std::time::Duration;

use pulse_core::{
    deliver::state::Status,
    model::{delivery::AttemptResult, endpoint::EndpointState},
    outbound::testing::ScriptedDial,
};
use pulse_tests::{
    plane::{Customer, TestPlane},
    receiver::{Action, Door, Fault, Receiver, table},
};

use super::{attempts, deliveries, delivery, endpoint, joined, work};

/// The name of a receiver of which name servers are asked.
const NAME: &str = "hooks.customer.example";
/// How long anything may take that nothing stands in the way of.
const SOON: Duration = Duration::from_secs(10);

/// What is to be seen after the first attempt at a receiver.
#[derive(Debug, PartialEq)]
struct Seen {
    status: Status,
    /// The HTTP status, or the fixed word.
    result: String,
    /// The shortest wait until the next attempt, in seconds; none when there is none.
    waits: Option<u64>,
}

fn retried(result: &str, waits: u64) -> Seen {
    Seen { status: Status::Pending, result: result.to_owned(), waits: Some(waits) }
}

fn taken(result: &str) -> Seen {
    Seen { status: Status::Succeeded, result: result.to_owned(), waits: None }
}

fn expected(fault: &str) -> Seen {
    match fault {
        "name_unknown" | "name_server_failed" | "name_server_silent" => retried("resolve", 5),
        "refuse" => retried("connect", 5),
        "reset_after_request" | "reset_mid_headers" | "close_without_answer" => retried("reset", 5),
        "slow_headers" | "slow_body" | "hang" | "tls_stall" => retried("timeout", 5),
        // A success is one whatever comes after its head within the bounds.
        "endless_body" | "large_body" => taken("200"),
        "garbage" | "interim_flood" => retried("protocol", 5),
        "no_content_with_body" | "idle_connection_closed" => taken("204"),
        "self_signed_certificate" | "expired_certificate" | "certificate_of_another_name" => retried("tls", 5),
        "redirect_301" => retried("301", 5),
        "redirect_302" => retried("302", 5),
        "redirect_307" => retried("307", 5),
        "redirect_308" => retried("308", 5),
        "gone" => retried("410", 5),
        "too_many_wait_none" | "too_many_wait_until_the_past" | "too_many_wait_garbage" => retried("429", 5),
        "too_many_wait_for_ever" | "too_many_wait_until_the_future" => retried("429", 3_600),
        "unavailable" => retried("503", 5),
        "unavailable_wait" => retried("503", 7),
        "server_error" => retried("500", 5),
        other => panic!("the table of faults has a row that nobody expects: {other}"),
    }
}

#[tokio::test]
async fn every_receiver_fault_ends_in_its_own_way() {
    let elsewhere = Receiver::start(Action::ok());
    for fault in table(&elsewhere.url()) {
        let dial = ScriptedDial::new();
        let t = TestPlane::in_network(dial.clone()).await;
        let customer = t.customer("acme").await;
        let receiver = Receiver::start(fault.action.clone());
        let url = url_of(&fault, &receiver, &dial).await;
        let (sent_to, _) = endpoint(&t, &customer, &url, |_| {}).await;
        t.livekit_says(&joined(&t, &customer, 1)).await.expect("taken in");
        work(&t).await;

        let now = t.plane.parts().clock.now();
        let delivery = delivery(&t, &customer).await;
        let attempts = attempts(&t, &customer, &delivery).await;
        assert_eq!((attempts.len(), delivery.attempts_made), (1, 1), "{}: {attempts:#?}", fault.name);
        let seen = Seen {
            status: delivery.status,
            result: delivery.last_result.clone().unwrap_or_default(),
            waits: expected(fault.name).waits.map(|least| {
                let wait = delivery.due_at.unwrap_or(now).since(now);
                let (low, high) = (Duration::from_secs(least), Duration::from_secs(least).mul_f64(1.2));
                if (low..=high).contains(&wait) { least } else { wait.as_secs() }
            }),
        };
        assert_eq!(seen, expected(fault.name), "{}: {attempts:#?}", fault.name);
        let gone = t.plane.parts().endpoints.find(sent_to.id).await.expect("read").expect("there").state;
        let state = if fault.name == "gone" { EndpointState::Disabled } else { EndpointState::Active };
        assert_eq!(gone, state, "{}", fault.name);
        if fault.name == "idle_connection_closed" {
            nothing_shows_of_the_connection(&t, &customer, &receiver).await;
        }
        let asked: &[&str] = if fault.said.is_some() { &[NAME] } else { &[] };
        assert_eq!(dial.asked(), asked, "{}", fault.name);
    }
    assert_eq!(elsewhere.counts().requests, 0, "a redirect was followed");
}

/// Where the endpoint is, in a network in which the fault happens.
async fn url_of(fault: &Fault, receiver: &Receiver, dial: &ScriptedDial) -> String {
    if let Some(said) = &fault.said {
        dial.name(NAME, [said.clone()]);
        return format!("http://{NAME}:{}/", receiver.address().port());
    }
    let url = receiver.url();
    let Some(door) = fault.door else {
        // Nothing leads to where nobody listens.
        receiver.close().await;
        return url;
    };
    receiver.set_door(door);
    dial.route(receiver.address(), receiver.address());
    if matches!(door, Door::Tls(_) | Door::TlsStall) { url.replace("http://", "https://") } else { url }
}

/// The receiver has closed the connection on which it answered, and the next event comes to it with its first attempt.
async fn nothing_shows_of_the_connection(t: &TestPlane, customer: &Customer, receiver: &Receiver) {
    // The exchange is over once the connection is closed.
    receiver.wait_until("the connection is closed", SOON, |counts| counts.ended == 1).await;
    t.livekit_says(&joined(t, customer, 2)).await.expect("taken in");
    work(t).await;
    let rows = deliveries(t, customer).await;
    assert_eq!(rows.len(), 2);
    for row in &rows {
        let attempts = attempts(t, customer, row).await;
        let results: Vec<_> = attempts.iter().map(|attempt| attempt.result).collect();
        assert_eq!((row.status, &results[..]), (Status::Succeeded, &[AttemptResult::Succeeded][..]), "{attempts:#?}");
    }
    assert_eq!(receiver.counts().requests, 2);
}
