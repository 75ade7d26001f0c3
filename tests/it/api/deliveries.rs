//! Deliveries: test events, search, attempts, and sending once more.

use std::time::Duration;

use pulse_core::{
    access::Caller,
    error::Code,
    id::LeaseToken,
    model::{
        delivery::{Attempt, AttemptResult, Trigger},
        endpoint::EndpointHealth,
    },
    ops::deliveries::ResendDelivery,
    plane::Answer,
    repo::Document as _,
    store::{Batch, CommitMode, schema},
    worker,
};
use pulse_tests::plane::{Customer, TestPlane, operator};
use serde_json::{Value, json};

use super::refused;

/// A project with an endpoint on a port of this machine at which nobody answers.
async fn with_endpoint(t: &TestPlane) -> (Customer, String) {
    let c = t.customer("a").await;
    let body = json!({ "url": "http://127.0.0.1:9/in", "schedule": [60], "event_types": ["room_*"] }).to_string();
    let made = t.send(&c.caller, "endpoints.create", &[], "", &body).await.expect("creates");
    let id = made["id"].as_str().expect("an id").to_owned();
    (c, id)
}

async fn test(t: &TestPlane, c: &Customer, endpoint: &str) -> Value {
    t.send(&c.caller, "endpoints.test", &[("id", endpoint)], "", "{}").await.expect("sends")
}

async fn list(t: &TestPlane, c: &Customer, query: &str) -> Vec<Value> {
    let page = t.send(&c.caller, "deliveries.list", &[], query, "").await.expect("lists");
    page["data"].as_array().expect("rows").clone()
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_else(|| panic!("{field} is not a text in {value}"))
}

#[tokio::test]
async fn a_test_event_goes_to_its_endpoint_alone_and_is_marked() {
    let t = TestPlane::new().await;
    let (c, endpoint) = with_endpoint(&t).await;
    let other = json!({ "url": "http://127.0.0.1:9/other" }).to_string();
    t.send(&c.caller, "endpoints.create", &[], "", &other).await.expect("creates");
    let (first, second) = (test(&t, &c, &endpoint).await, test(&t, &c, &endpoint).await);
    assert_ne!(first["event_id"], second["event_id"], "each test is an event of its own");
    let got = t.send(&c.caller, "deliveries.get", &[("id", text(&first, "delivery_id"))], "", "").await.expect("gets");
    assert_eq!(
        (&got["status"], &got["event_type"], &got["origin"]),
        (&json!("pending"), &json!("endpoint.test"), &json!("first"))
    );
    let event = &got["event"];
    assert_eq!(
        (&event["id"], &event["type"], &event["test"]),
        (&first["event_id"], &json!("endpoint.test"), &json!(true))
    );
    assert_eq!((&event["sequence"], &event["session_id"]), (&Value::Null, &Value::Null));
    assert_eq!(event["data"]["endpoint"]["id"], json!(endpoint));
    assert_eq!(list(&t, &c, "").await.len(), 2, "none to the other endpoint");
}

#[tokio::test]
async fn deliveries_are_found_by_every_filter() {
    let t = TestPlane::new().await;
    let (c, endpoint) = with_endpoint(&t).await;
    let first = test(&t, &c, &endpoint).await;
    t.advance(Duration::from_secs(10)).await;
    let between = t.plane.parts().clock.now();
    t.advance(Duration::from_secs(10)).await;
    let second = test(&t, &c, &endpoint).await;
    let ids = async |query: String| -> Vec<String> {
        list(&t, &c, &query).await.iter().map(|row| text(row, "id").to_owned()).collect()
    };
    let (first, event, second) = (text(&first, "delivery_id"), text(&first, "event_id"), text(&second, "delivery_id"));
    assert_eq!(ids(String::new()).await, [second, first], "newest first");
    assert_eq!(ids(format!("endpoint_id={endpoint}")).await, [second, first]);
    assert_eq!(ids(format!("event_id={event}")).await, [first]);
    assert_eq!(ids("type=endpoint.test&status=pending".to_owned()).await, [second, first]);
    assert_eq!(ids("type=room_started".to_owned()).await, [""; 0]);
    assert_eq!(ids("status=succeeded".to_owned()).await, [""; 0]);
    assert_eq!(ids("room=r".to_owned()).await, [""; 0]);
    assert_eq!(ids(format!("from={between}")).await, [second]);
    assert_eq!(ids(format!("to={between}")).await, [first]);
    let page = t.send(&c.caller, "deliveries.list", &[], "limit=1", "").await.expect("lists");
    assert_eq!(ids(format!("cursor={}", text(&page, "next_cursor"))).await, [first]);
    let other = t
        .send(&c.caller, "deliveries.list", &[], &format!("status=pending&cursor={}", text(&page, "next_cursor")), "")
        .await;
    assert_eq!(refused(other), Code::BadCursor, "a cursor of other filters");
}

#[tokio::test]
async fn an_attempt_that_failed_is_on_record() {
    let t = TestPlane::new().await;
    let (c, endpoint) = with_endpoint(&t).await;
    let sent = test(&t, &c, &endpoint).await;
    worker::run_until_idle(&t.pipeline).await.expect("works");
    let delivery = text(&sent, "delivery_id");
    let got = t.send(&c.caller, "deliveries.get", &[("id", delivery)], "", "").await.expect("gets");
    assert_eq!((&got["status"], &got["attempts_made"]), (&json!("pending"), &json!(1)), "it is tried again");
    let attempts = t.send(&c.caller, "deliveries.attempts", &[("id", delivery)], "", "").await.expect("lists");
    let attempts = attempts["data"].as_array().expect("rows");
    assert_eq!(attempts.len(), 1);
    assert_eq!((&attempts[0]["number"], &attempts[0]["result"]), (&json!(1), &json!("failed")));
    assert_eq!(attempts[0]["error"], got["last_result"]);
}

#[tokio::test]
async fn the_attempts_of_a_delivery_come_in_pages_oldest_first() {
    const MADE: u32 = 203;
    let t = TestPlane::new().await;
    let (c, endpoint) = with_endpoint(&t).await;
    let sent = test(&t, &c, &endpoint).await;
    let (delivery, other) = (text(&sent, "delivery_id"), test(&t, &c, &endpoint).await);
    let (now, entropy) = (t.plane.parts().clock.now(), t.plane.parts().entropy.as_ref());
    let mut batch = Batch::new();
    for number in 1..=MADE {
        let started_at = now.plus(Duration::from_secs(number.into()));
        let lease_token = LeaseToken::new(started_at, entropy);
        let delivery_id = delivery.parse().expect("an id");
        let attempt = Attempt {
            id: Attempt::id_of(delivery_id, lease_token),
            project_id: c.id(),
            delivery_id,
            endpoint_id: endpoint.parse().expect("an id"),
            lease_token,
            number,
            trigger: Trigger::Retry,
            result: AttemptResult::Interrupted,
            late: false,
            started_at,
            duration_millis: 1,
            remote_ip: None,
            status_code: None,
            error: None,
            error_detail: None,
            response_headers: Vec::new(),
            response_body: None,
            expires_at: now.plus(Duration::from_secs(86_400)),
            version: 0,
        };
        attempt.insert_into(&mut batch).expect("encodes");
    }
    t.store.commit(batch, CommitMode::Apply).await.expect("commits");
    let page =
        async |of: &str, query: String| t.send(&c.caller, "deliveries.attempts", &[("id", of)], &query, "").await;
    let (mut numbers, mut sizes, mut query) = (Vec::new(), Vec::new(), "limit=100".to_owned());
    loop {
        let got = page(delivery, query).await.expect("lists");
        let rows = got["data"].as_array().expect("rows");
        numbers.extend(rows.iter().map(|row| row["number"].as_u64().expect("a number")));
        sizes.push(rows.len());
        let Some(next) = got["next_cursor"].as_str() else { break };
        query = format!("limit=100&cursor={next}");
    }
    assert_eq!((sizes, numbers), (vec![100, 100, 3], (1..=u64::from(MADE)).collect()));
    let first = page(delivery, String::new()).await.expect("lists");
    assert_eq!(first["data"].as_array().map(Vec::len), Some(20), "as any list");
    let foreign = page(text(&other, "delivery_id"), format!("cursor={}", text(&first, "next_cursor"))).await;
    assert_eq!(refused(foreign), Code::BadCursor, "a cursor of another delivery's attempts");
}

#[tokio::test]
async fn the_same_request_to_send_once_more_makes_one_delivery() {
    let t = TestPlane::new().await;
    let (c, endpoint) = with_endpoint(&t).await;
    let sent = test(&t, &c, &endpoint).await;
    let resend: ResendDelivery = serde_json::from_value(json!({ "id": sent["delivery_id"] })).expect("valid");
    let with = |request_id: &str, key: Option<&str>| {
        let mut call = t.call(&c.caller);
        call.request_id = request_id.to_owned();
        call.idempotency_key = key.map(str::to_owned);
        call
    };
    let done = async |call| match t.plane.execute(&call, &resend).await.expect("sends") {
        Answer::Done { output, .. } => output,
        Answer::DryRun(_) => panic!("it was a dry run"),
    };
    let one = done(with("req-1", Some("key-1"))).await;
    assert_eq!(one.origin, format!("resend:{}:key-1", c.caller.id()));
    assert_eq!(one.event_id.to_string(), text(&sent, "event_id"));
    assert_eq!(done(with("req-2", Some("key-1"))).await.id, one.id, "the stored answer");
    // After the stored answer is gone, the delivery itself tells.
    t.advance(Duration::from_secs(25 * 3600)).await;
    assert_eq!(done(with("req-3", Some("key-1"))).await.id, one.id);
    let two = done(with("req-4", None)).await;
    assert_eq!(two.origin, format!("resend:{}:req-4", c.caller.id()));
    let (a, b) = tokio::join!(done(with("req-5", None)), done(with("req-5", None)));
    assert_eq!(a.id, b.id, "two at once");
    assert_eq!(list(&t, &c, &format!("event_id={}", text(&sent, "event_id"))).await.len(), 4);
}

#[tokio::test]
async fn two_callers_who_use_the_same_words_each_send_once_more() {
    let t = TestPlane::new().await;
    let (c, endpoint) = with_endpoint(&t).await;
    let sent = test(&t, &c, &endpoint).await;
    let body = json!({ "id": sent["delivery_id"], "project_id": c.id() });
    let resend: ResendDelivery = serde_json::from_value(body).expect("valid");
    let by = async |caller: &Caller, key: Option<&str>| {
        let mut call = t.call(caller);
        call.idempotency_key = key.map(str::to_owned);
        t.plane.execute(&call, &resend).await.map(Answer::into_output).expect("sends").id
    };
    for key in [Some("key-1"), None] {
        let (own, other) = (by(&c.caller, key).await, by(&operator(), key).await);
        assert_ne!(own, other, "with {key:?} the one was taken for the other");
        assert_eq!((by(&c.caller, key).await, by(&operator(), key).await), (own, other), "each makes one");
    }
    assert_eq!(list(&t, &c, "").await.len(), 5);
}

#[tokio::test]
async fn what_cannot_be_sent_is_not_sent_once_more() {
    let t = TestPlane::new().await;
    let (c, endpoint) = with_endpoint(&t).await;
    let sent = test(&t, &c, &endpoint).await;
    let resend = async || t.send(&c.caller, "deliveries.resend", &[("id", text(&sent, "delivery_id"))], "", "{}").await;
    let go = async |op: &str| t.send(&c.caller, op, &[("id", &endpoint)], "", "{}").await.expect("changes");
    go("endpoints.disable").await;
    assert_eq!(refused(resend().await), Code::WrongState);
    go("endpoints.enable").await;
    go("endpoints.pause").await;
    resend().await.expect("is kept for a paused one");
    t.advance(Duration::from_secs(31 * 86_400)).await;
    assert_eq!(refused(resend().await), Code::Gone, "the event is not kept any more");
    let id = c.id().to_string();
    let body = json!({ "reason": "unpaid" }).to_string();
    t.send(&operator(), "projects.suspend", &[("id", &id)], "", &body).await.expect("suspends");
    let body = json!({ "project_id": id }).to_string();
    let test = t.send(&operator(), "endpoints.test", &[("id", &endpoint)], "", &body).await;
    assert_eq!(refused(test), Code::Suspended);
    assert_eq!(t.store.count(&schema::EVENTS, schema::PRIMARY, &[], 10).await.expect("counts"), 1);
}

#[tokio::test]
async fn an_endpoint_that_was_enabled_again_gets_its_five_days_anew() {
    for enabled_again in [false, true] {
        let t = TestPlane::new().await;
        let (c, endpoint) = with_endpoint(&t).await;
        let mut health = EndpointHealth::new(endpoint.parse().expect("an id"), c.id());
        health.first_failure_at = Some(t.plane.parts().clock.now());
        health.consecutive_failures = 30;
        let mut batch = Batch::new();
        health.insert_into(&mut batch).expect("encodes");
        t.store.commit(batch, CommitMode::Apply).await.expect("commits");
        t.advance(Duration::from_secs(6 * 86_400)).await;
        if enabled_again {
            for op in ["endpoints.disable", "endpoints.enable"] {
                t.send(&c.caller, op, &[("id", &endpoint)], "", "{}").await.expect("changes");
            }
        }
        test(&t, &c, &endpoint).await;
        worker::run_until_idle(&t.pipeline).await.expect("works");
        let got = t.send(&c.caller, "endpoints.get", &[("id", &endpoint)], "", "").await.expect("gets");
        let state = if enabled_again { "active" } else { "disabled" };
        assert_eq!((&got["state"], &got["health"]["consecutive_failures"]), (&json!(state), &json!(31)));
    }
}
