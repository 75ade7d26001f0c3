//! Who knocks at the door of a project's own LiveKit, and what that may cost.

use std::time::Duration;

use pulse_core::{
    error::Code,
    id::ProjectId,
    ingest::{Accepted, Door},
    store::testing::faulty::CallKind,
    time::Timestamp,
};
use pulse_tests::{
    livekit_sender::ApiKey,
    plane::{TestPlane, operator},
};
use serde_json::json;

use super::joined;

const KEY: &str = "APIown";
const SECRET: &str = "a-secret-of-a-livekit-that-a-customer-brought";
const SKEW: &str = "pulse_livekit_clock_skew_milliseconds";

/// What a knock at the door of a project comes to.
async fn knock(t: &TestPlane, id: ProjectId, authorization: &str, body: &str) -> Result<Accepted, Code> {
    let taken = t.pipeline.ingest.receive(Door::Project(id), Some(authorization.as_bytes()), body.as_bytes()).await;
    taken.map_err(|error| error.code())
}

fn signed(body: &str, at: Timestamp) -> String {
    ApiKey::new(KEY, SECRET).authorization(body.as_bytes(), at)
}

#[tokio::test]
async fn knocking_at_doors_of_no_project_hardly_costs_the_store_anything() {
    let (store, t) = TestPlane::over_faulty_store().await;
    let nobody = ProjectId::new(t.plane.parts().clock.now(), t.plane.parts().entropy.as_ref());
    let before = store.calls(CallKind::Get);
    for garbage in ["", "Bearer x", "a.b.c", "eyJhbGciOiJub25lIn0.e30."] {
        assert_eq!(knock(&t, nobody, garbage, "{}").await, Err(Code::Unauthenticated));
    }
    assert_eq!(store.calls(CallKind::Get), before, "the store was asked although nobody's signature was there");
    let token = signed("{}", t.plane.parts().clock.now());
    for _ in 0..20 {
        assert_eq!(knock(&t, nobody, &token, "{}").await, Err(Code::Unauthenticated));
    }
    assert_eq!(store.calls(CallKind::Get) - before, 1, "once for all that come within a second");
    t.clock.advance(Duration::from_secs(1));
    assert_eq!(knock(&t, nobody, &token, "{}").await, Err(Code::Unauthenticated));
    assert_eq!(store.calls(CallKind::Get) - before, 2);
}

#[tokio::test]
async fn the_clock_of_a_customers_livekit_does_not_move_the_operators_alarm() {
    let t = TestPlane::new().await;
    let customer = t.customer("acme").await;
    let own = json!({ "livekit_url": "ws://127.0.0.1:9", "livekit_api_key": KEY, "livekit_api_secret": SECRET });
    let id = customer.id().to_string();
    t.send(&operator(), "projects.update", &[("id", &id)], "", &own.to_string()).await.expect("brings its own");
    let now = t.plane.parts().clock.now();
    let body = joined(&t, &customer, 1).to_string();
    let late = now.minus(Duration::from_secs(30));
    assert_eq!(knock(&t, customer.id(), &signed(&body, late), &body).await, Ok(Accepted::Recorded));
    let early = now.plus(Duration::from_secs(90));
    assert_eq!(knock(&t, customer.id(), &signed(&body, early), &body).await, Err(Code::Unauthenticated));
    let text = t.plane.parts().metrics.render().expect("a text");
    assert!(text.contains(&format!("{SKEW} 0\n")), "{text}");
    assert!(text.contains("pulse_livekit_webhooks_refused_total{reason=\"not_yet_valid\"} 1"), "{text}");
}
