//! Clocks that are wrong: daemons over one store that disagree about the time, and a clock that is corrected.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use pulse_core::{error::Code, model::organization::Plan, store::SharedStore};
use pulse_tests::plane::{Customer, START, TestPlane, operator};
use serde_json::{Value, json};

use super::refused;

const HOUR: Duration = Duration::from_secs(3600);

/// A second daemon over the same store whose clock is ahead.
async fn ahead(t: &TestPlane, by: Duration) -> TestPlane {
    let other = TestPlane::over(Arc::clone(&t.store) as SharedStore, 2).await.expect("a second plane");
    other.clock.set(START.plus(by));
    other
}

async fn token(t: &TestPlane, c: &Customer) -> Value {
    let body = json!({ "room_name": "standup", "identity": "alice", "ttl_seconds": 600 });
    t.send(&c.caller, "tokens.create", &[], "", &body.to_string()).await.expect("creates")
}

async fn reasons(t: &TestPlane, c: &Customer, token: &Value) -> Vec<String> {
    let body = json!({ "token": token["token"] }).to_string();
    let told = t.send(&c.caller, "tokens.validate", &[], "", &body).await.expect("validates");
    let reasons = told["reasons"].as_array().into_iter().flatten();
    reasons.map(|reason| reason["code"].as_str().expect("a code").to_owned()).collect()
}

#[tokio::test]
async fn a_named_token_is_revoked_by_a_daemon_whose_clock_is_behind_the_one_that_made_it() {
    let t = TestPlane::new().await;
    let c = t.customer("a").await;
    let fast = ahead(&t, Duration::from_secs(90)).await;
    let made = token(&fast, &c).await;
    let told = t.send(&c.caller, "tokens.validate", &[], "", &json!({ "token": made["token"] }).to_string()).await;
    let body = json!({ "jti": told.expect("validates")["claims"]["jti"] }).to_string();
    t.send(&c.caller, "tokens.revoke", &[], "", &body).await.expect("revokes");
    assert_eq!(reasons(&fast, &c, &made).await, ["revoked"]);
    let body = json!({ "token": made["token"] }).to_string();
    let refreshed = fast.send(&c.caller, "tokens.refresh", &[], "", &body).await;
    assert_eq!(refused(refreshed), Code::InvalidFields, "a revoked token was refreshed");
}

#[tokio::test]
async fn a_token_begins_and_ends_by_the_clock_of_whoever_made_it() {
    let t = TestPlane::new().await;
    let c = t.customer("a").await;
    let fast = ahead(&t, Duration::from_secs(90)).await;
    let made = token(&fast, &c).await;
    assert_eq!(reasons(&t, &c, &made).await, ["not_yet_valid"], "Pulse allows no leeway");
    t.clock.advance(Duration::from_secs(90));
    assert_eq!(reasons(&t, &c, &made).await, [""; 0]);
    t.clock.advance(Duration::from_secs(600));
    assert_eq!(reasons(&t, &c, &made).await, ["expired"]);
}

#[tokio::test]
async fn a_store_written_by_a_clock_far_ahead_stays_usable_when_it_is_set_right() {
    let t = TestPlane::new().await;
    t.clock.set(START.plus(1000 * HOUR));
    let c = t.customer("early").await;
    let mut call = t.call(&operator());
    call.idempotency_key = Some("once".to_owned());
    let create = serde_json::from_value(json!({ "org_id": c.org, "name": "again" })).expect("valid");
    let create: pulse_core::ops::projects::CreateProject = create;
    let first = t.plane.execute(&call, &create).await.expect("creates").into_output();

    t.clock.set(START);
    let again = t.plane.execute(&call, &create).await.expect("replays").into_output();
    assert_eq!(first, again, "what was answered before holds");
    assert_eq!(reasons(&t, &c, &token(&t, &c).await).await, [""; 0], "a key of the future makes tokens of today");
    t.login(&c.secret).await.expect("a key that was made in the future works");

    // Ids sort by the time of their making; pages follow them without a gap.
    let org = t.organization("late", Plan::Enterprise).await;
    for (number, offset) in [0_u32, 3, 1, 2].into_iter().enumerate() {
        t.clock.set(START.plus(HOUR * offset));
        t.customer_of(org, &format!("p{number}")).await;
    }
    let (mut names, mut cursor) = (BTreeSet::new(), String::new());
    loop {
        let query = format!("org_id={org}&limit=1{cursor}");
        let page = t.send(&operator(), "projects.list", &[], &query, "").await.expect("lists");
        for row in page["data"].as_array().expect("rows") {
            assert!(names.insert(row["name"].as_str().expect("a name").to_owned()), "{row} is listed twice");
        }
        let Some(next) = page["next_cursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(names.len(), 4, "{names:?}");
    let page = t.send(&operator(), "audit.list", &[], &format!("org_id={org}"), "").await.expect("lists");
    let seqs: Vec<u64> = page["data"].as_array().expect("rows").iter().filter_map(|row| row["seq"].as_u64()).collect();
    assert_eq!(seqs, [5, 4, 3, 2, 1], "the log is in the order of what happened, whatever the clock showed");
}

#[tokio::test]
async fn limits_and_caches_go_by_time_that_passes_and_not_by_the_clock_on_the_wall() {
    let t = TestPlane::new().await;
    let org = t.organization("Acme", Plan::Free).await;
    let c = t.customer_of(org, "a").await;
    let me = async || t.send(&c.caller, "me.get", &[], "", "").await;
    while me().await.is_ok() {}
    t.clock.set(START.plus(1000 * HOUR));
    assert_eq!(refused(me().await), Code::RateLimited, "a clock that is set ahead is no allowance");
    t.clock.set(START.minus(1000 * HOUR));
    t.clock.advance(Duration::from_secs(2));
    me().await.expect("a clock that is set back does not stop the allowance from growing");
    t.login(&c.secret).await.expect("nor does it make the cached key stale");
}
