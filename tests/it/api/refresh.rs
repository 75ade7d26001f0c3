//! Refreshed media tokens: of one family with the first, and within what is allowed on the day of the refresh.

use std::time::Duration;

use pulse_core::{access::Caller, error::Code};
use pulse_tests::plane::{Customer, TestPlane, operator};
use serde_json::{Value, json};

use super::{
    bad_fields, refused,
    tokens::{claims, create},
};

async fn refresh(t: &TestPlane, caller: &Caller, body: Value) -> pulse_core::Result<Value> {
    t.send(caller, "tokens.refresh", &[], "", &body.to_string()).await
}

/// The life that a token was made with, in seconds.
fn life(made: &Value) -> u64 {
    let claims = claims(&made["token"]);
    claims["exp"].as_u64().expect("a number") - claims["nbf"].as_u64().expect("a number")
}

/// Changes the customer's project; gives the customer as it calls from then on.
async fn changed(t: &TestPlane, c: &Customer, change: Value) -> Customer {
    let id = c.id().to_string();
    t.send(&operator(), "projects.update", &[("id", &id)], "", &change.to_string()).await.expect("updates");
    Customer { caller: t.login(&c.secret).await.expect("works"), ..c.clone() }
}

#[tokio::test]
async fn a_refresh_keeps_the_family_and_refuses_what_was_revoked_or_is_over() {
    let t = TestPlane::new().await;
    let c = t.customer("a").await;
    let again = async |token: &Value| refresh(&t, &c.caller, json!({ "token": token })).await;
    let made = create(&t, &c, json!({ "ttl_seconds": 600, "can_publish": false })).await.expect("creates");
    t.advance(Duration::from_secs(300)).await;
    let next = again(&made["token"]).await.expect("refreshes");
    let (old, new) = (claims(&made["token"]), claims(&next["token"]));
    assert_eq!(new["jti"], json!(old["jti"].as_str().expect("a jti").replace(".0", ".1")));
    assert_eq!(new["video"], old["video"]);
    assert_eq!(new["exp"].as_u64(), old["exp"].as_u64().map(|end| end + 300));
    let body = json!({ "jti": new["jti"] }).to_string();
    t.send(&c.caller, "tokens.revoke", &[], "", &body).await.expect("revokes");
    for token in [&made["token"], &next["token"]] {
        assert_eq!(bad_fields(again(token).await), ["token"], "revoking one revokes the family");
    }
    let expired = create(&t, &c, json!({ "ttl_seconds": 1 })).await.expect("creates");
    t.clock.advance(Duration::from_secs(1));
    assert_eq!(bad_fields(again(&expired["token"]).await), ["token"]);
}

#[tokio::test]
async fn a_key_refreshes_no_token_that_it_could_not_have_made() {
    let t = TestPlane::new().await;
    let c = t.customer("a").await;
    let id = c.id().to_string();
    let bound = json!({ "rooms": ["sales-*"], "max_ttl_seconds": 3600, "grants": ["subscribe"] });
    let body = json!({ "name": "sales", "scopes": ["tokens:mint"], "constraints": bound }).to_string();
    let key = t.send(&operator(), "keys.create", &[("id", &id)], "", &body).await.expect("creates");
    let sales = t.login(key["pulse_api_secret"].as_str().expect("shown")).await.expect("works");
    for (token, why) in [
        (json!({ "room_name": "board", "can_publish": false }), "the room board"),
        (json!({ "room_name": "sales-emea", "can_publish_data": false }), "the grant publish"),
        (
            json!({ "room_name": "sales-emea", "can_publish": false, "can_publish_data": true }),
            "the grant publish_data",
        ),
        (json!({ "room_name": "sales-emea", "can_publish": false, "hidden": true }), "the grant hidden"),
    ] {
        let made = create(&t, &c, token.clone()).await.expect("the first key is not bound");
        let error = refresh(&t, &sales, json!({ "token": made["token"] })).await.expect_err("this key may not");
        assert_eq!(error.code(), Code::Forbidden, "{token}: {error}");
        assert!(error.message().ends_with(why), "{token}: {error}");
    }
    let listener = create(&t, &c, json!({ "room_name": "sales-emea", "can_publish": false })).await.expect("creates");
    let next = refresh(&t, &sales, json!({ "token": listener["token"] })).await.expect("that one it could have made");
    assert_eq!((life(&listener), life(&next)), (14_400, 3_600), "the key's ceiling");
    let longer = refresh(&t, &sales, json!({ "token": listener["token"], "ttl_seconds": 3_601 })).await;
    assert_eq!(bad_fields(longer), ["ttl_seconds"]);
}

#[tokio::test]
async fn a_refresh_keeps_below_the_ceiling_of_the_project_as_it_is_now() {
    let t = TestPlane::new().await;
    let c = t.customer("a").await;
    let (long, short) = (
        create(&t, &c, json!({})).await.expect("creates"),
        create(&t, &c, json!({ "ttl_seconds": 30 })).await.expect("creates"),
    );
    let of = |made: &Value, seconds: u32| json!({ "token": made["token"], "ttl_seconds": seconds });
    let day = refresh(&t, &c.caller, of(&short, 86_400)).await.expect("a token without a preset may live longer");
    assert_eq!(life(&day), 86_400);
    let c = changed(&t, &c, json!({ "limits": { "max_token_ttl_seconds": 60 } })).await;
    let next = refresh(&t, &c.caller, json!({ "token": long["token"] })).await.expect("refreshes");
    assert_eq!((life(&long), life(&next)), (14_400, 60), "the old life is more than is allowed now");
    let next = refresh(&t, &c.caller, json!({ "token": short["token"] })).await.expect("refreshes");
    assert_eq!(life(&next), 30, "the old life is less than is allowed");
    assert_eq!(life(&refresh(&t, &c.caller, of(&short, 60)).await.expect("refreshes")), 60);
    for made in [&long, &short] {
        assert_eq!(bad_fields(refresh(&t, &c.caller, of(made, 61)).await), ["ttl_seconds"]);
    }
}

#[tokio::test]
async fn the_ceiling_of_a_preset_holds_however_often_a_token_is_refreshed() {
    let t = TestPlane::new().await;
    let guest =
        json!({ "can_publish": false, "can_subscribe": true, "can_publish_data": false, "max_ttl_seconds": 120 });
    let c = changed(&t, &t.customer("a").await, json!({ "token_presets": { "guest": guest } })).await;
    let of = |made: &Value, seconds: u32| json!({ "token": made["token"], "ttl_seconds": seconds });
    let full = create(&t, &c, json!({ "preset": "guest" })).await.expect("creates");
    let less = create(&t, &c, json!({ "preset": "guest", "ttl_seconds": 30 })).await.expect("creates");
    let free = create(&t, &c, json!({ "preset": "viewer", "ttl_seconds": 30 })).await.expect("creates");
    // Whoever changes the preset does not lengthen what is out.
    let c = changed(&t, &c, json!({ "token_presets": {} })).await;
    for made in [&full, &less] {
        let second = refresh(&t, &c.caller, json!({ "token": made["token"] })).await.expect("refreshes");
        assert_eq!(life(&second), life(made));
        let third = refresh(&t, &c.caller, of(&second, 120)).await.expect("up to the ceiling it may live longer");
        assert_eq!(life(&third), 120);
        for token in [made, &second, &third] {
            assert_eq!(bad_fields(refresh(&t, &c.caller, of(token, 121)).await), ["ttl_seconds"]);
        }
    }
    let longer = refresh(&t, &c.caller, of(&free, 86_400)).await.expect("this preset has no ceiling");
    assert_eq!(life(&longer), 86_400);
    let c = changed(&t, &c, json!({ "limits": { "max_token_ttl_seconds": 60 } })).await;
    let lower = refresh(&t, &c.caller, json!({ "token": full["token"] })).await.expect("refreshes");
    assert_eq!((life(&full), life(&lower)), (120, 60), "the project's ceiling is the lower one now");
}

#[tokio::test]
async fn nothing_is_refreshed_in_a_project_that_is_suspended_or_deleted() {
    let t = TestPlane::new().await;
    let c = t.customer("a").await;
    let id = c.id().to_string();
    let made = create(&t, &c, json!({})).await.expect("creates");
    let again = async || refresh(&t, &operator(), json!({ "project_id": id, "token": made["token"] })).await;
    again().await.expect("the operator may");
    t.send(&operator(), "projects.suspend", &[("id", &id)], "", r#"{"reason":"x"}"#).await.expect("suspends");
    let suspended = refused(again().await);
    assert_eq!((suspended, suspended.info().status), (Code::Suspended, 403));
    t.send(&operator(), "projects.resume", &[("id", &id)], "", "").await.expect("resumes");
    again().await.expect("it goes on");
    t.send(&operator(), "projects.delete", &[("id", &id)], "", "").await.expect("deletes");
    assert_eq!(refused(again().await), Code::NotFound);
}
