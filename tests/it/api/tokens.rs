//! Media tokens: what they say, what is refused, and when they are bad.

use std::{sync::Arc, time::Duration};

use pulse_core::{
    error::Code,
    media::{cluster::Signer, token},
    ops::tokens::{CreateToken, RevokeTokens},
    repo::Document as _,
    secret::Secret,
    store::{
        Batch, CommitMode,
        testing::faulty::{CallKind, Fault},
    },
};
use pulse_tests::plane::{Customer, LIVEKIT_KEY, LIVEKIT_SECRET, TestPlane, operator};
use serde_json::{Value, json};

use super::{bad_fields, refused};

/// Makes a token of alice for the room standup, unless `extra` says otherwise.
pub(super) async fn create(t: &TestPlane, c: &Customer, extra: Value) -> pulse_core::Result<Value> {
    let mut body = json!({ "room_name": "standup", "identity": "alice" });
    body.as_object_mut().expect("an object").extend(extra.as_object().expect("an object").clone());
    t.send(&c.caller, "tokens.create", &[], "", &body.to_string()).await
}

async fn validate(t: &TestPlane, c: &Customer, token: &Value) -> Value {
    t.send(&c.caller, "tokens.validate", &[], "", &json!({ "token": token }).to_string()).await.expect("validates")
}

fn reasons(validation: &Value) -> Vec<&str> {
    validation["reasons"].as_array().expect("a list").iter().filter_map(|reason| reason["code"].as_str()).collect()
}

/// The raw claims of a token, its signature checked.
pub(super) fn claims(token: &Value) -> Value {
    let signer = Signer {
        url: String::new(),
        api_key: LIVEKIT_KEY.into(),
        api_secret: Secret::new(LIVEKIT_SECRET),
        shared: true,
    };
    let claims = token::decode_signed(&signer, token.as_str().expect("a text")).expect("signed with the server's key");
    serde_json::to_value(claims).expect("encodes")
}

#[tokio::test]
async fn a_token_says_every_grant_and_carries_the_project() {
    let t = TestPlane::new().await;
    let c = t.customer("a").await;
    let made = create(
        &t,
        &c,
        json!({ "name": "Alice", "can_publish": false, "metadata": "{\"x\":1}", "attributes": { "team": "red" } }),
    )
    .await
    .expect("creates");
    assert_eq!(made["server_url"], "ws://127.0.0.1:9");
    assert_eq!(
        (&made["room_name"], &made["region"], &made["fallback_urls"]),
        (&json!("standup"), &json!("us-east"), &json!([]))
    );
    let claims = claims(&made["token"]);
    assert_eq!(
        claims["video"],
        json!({ "roomJoin": true, "room": format!("{}~standup", c.id()), "canPublish": false, "canSubscribe": true, "canPublishData": false, "canUpdateOwnMetadata": false })
    );
    assert_eq!(
        (&claims["iss"], &claims["sub"], &claims["name"], &claims["metadata"]),
        (&json!(LIVEKIT_KEY), &json!("alice"), &json!("Alice"), &json!("{\"x\":1}"))
    );
    assert_eq!(
        claims["exp"].as_u64().expect("a number") - claims["nbf"].as_u64().expect("a number"),
        14_400,
        "four hours by default"
    );
    assert_eq!(claims["attributes"], json!({ "team": "red", "pulse.project_id": c.id(), "pulse.jti": claims["jti"] }));
    assert!(claims["kind"].is_null() && claims["sip"].is_null());
}

#[tokio::test]
async fn what_must_not_be_in_a_token_is_refused() {
    let t = TestPlane::new().await;
    let c = t.customer("a").await;
    let long = "x".repeat(10_000);
    for (extra, field) in [
        (json!({ "room_name": "a~b" }), "room_name"),
        (json!({ "room_name": "a\nb" }), "room_name"),
        (json!({ "room_name": long }), "room_name"),
        (json!({ "identity": "" }), "identity"),
        (json!({ "identity": long }), "identity"),
        (json!({ "ttl_seconds": -1 }), "ttl_seconds"),
        (json!({ "ttl_seconds": 0 }), "ttl_seconds"),
        (json!({ "ttl_seconds": 86_401 }), "ttl_seconds"),
        (json!({ "ttl_seconds": 99_999_999_999_u64 }), "ttl_seconds"),
        (json!({ "kind": "agent" }), "kind"),
        (json!({ "room_admin": true }), "room_admin"),
        (json!({ "can_update_own_metadata": true }), "can_update_own_metadata"),
        (json!({ "attributes": { "pulse.project_id": "x" } }), "attributes.pulse.project_id"),
        (json!({ "attributes": { "lk.x": "x" } }), "attributes.lk.x"),
        (json!({ "metadata": "x".repeat(64_001) }), "metadata"),
        (
            json!({ "room_config": { "egress": { "room": { "file": { "s3": { "secret": "x" } } } } } }),
            "room_config.egress",
        ),
        (json!({ "room_config": { "maxParticipants": "many" } }), "room_config"),
        (json!({ "preset": "king" }), "preset"),
        (json!({ "preset": "viewer", "can_publish": true }), "can_publish"),
        (json!({ "region": "eu-west" }), "region"),
        (json!({ "can_publish_sources": ["window"] }), "can_publish_sources[0]"),
    ] {
        assert_eq!(
            bad_fields(create(&t, &c, extra.clone()).await),
            [field],
            "{}",
            &extra.to_string().chars().take(80).collect::<String>()
        );
    }
}

#[tokio::test]
async fn presets_give_and_other_fields_narrow() {
    let t = TestPlane::new().await;
    let c = t.customer("a").await;
    let video = async |extra: Value| claims(&create(&t, &c, extra).await.expect("creates")["token"])["video"].clone();
    let viewer = video(json!({ "preset": "viewer" })).await;
    assert_eq!(
        (&viewer["canPublish"], &viewer["canSubscribe"], &viewer["canPublishData"]),
        (&json!(false), &json!(true), &json!(false))
    );
    let speaker =
        video(json!({ "preset": "speaker", "can_publish_sources": ["microphone"], "can_subscribe": false })).await;
    assert_eq!((&speaker["canPublishSources"], &speaker["canSubscribe"]), (&json!(["microphone"]), &json!(false)));
    let wider = create(&t, &c, json!({ "preset": "speaker", "can_publish_sources": ["screen_share"] })).await;
    assert_eq!(bad_fields(wider), ["can_publish_sources"]);
    let id = c.id().to_string();
    let own = json!({ "token_presets": { "guest": { "can_publish": true, "can_subscribe": false, "can_publish_data": false, "hidden": true, "max_ttl_seconds": 60 } } });
    t.send(&operator(), "projects.update", &[("id", &id)], "", &own.to_string()).await.expect("updates");
    let c = Customer { caller: t.login(&c.secret).await.expect("works"), ..c };
    let made = create(&t, &c, json!({ "preset": "guest" })).await.expect("creates");
    let guest = claims(&made["token"]);
    assert_eq!((&guest["video"]["hidden"], &guest["video"]["canSubscribe"]), (&json!(true), &json!(false)));
    assert_eq!(guest["exp"].as_u64().expect("a number") - guest["nbf"].as_u64().expect("a number"), 60);
}

#[tokio::test]
async fn a_keys_constraints_bind_its_tokens() {
    let t = TestPlane::new().await;
    let c = t.customer("a").await;
    let id = c.id().to_string();
    let body = json!({ "name": "sales", "scopes": ["tokens:mint"], "constraints": { "rooms": ["sales-*"], "max_ttl_seconds": 3600, "grants": ["subscribe"] } });
    let key = t.send(&operator(), "keys.create", &[("id", &id)], "", &body.to_string()).await.expect("creates");
    let sales =
        Customer { caller: t.login(key["pulse_api_secret"].as_str().expect("shown")).await.expect("works"), ..c };
    let made = create(&t, &sales, json!({ "room_name": "sales-emea" })).await.expect("creates");
    let claims = claims(&made["token"]);
    assert_eq!(
        (&claims["video"]["canPublish"], &claims["video"]["canSubscribe"], &claims["video"]["canPublishData"]),
        (&json!(false), &json!(true), &json!(false))
    );
    assert_eq!(claims["exp"].as_u64().expect("a number") - claims["nbf"].as_u64().expect("a number"), 3_600);
    assert_eq!(refused(create(&t, &sales, json!({})).await), Code::Forbidden, "another room");
    assert_eq!(
        refused(create(&t, &sales, json!({ "room_name": "sales-x", "can_publish": true })).await),
        Code::Forbidden
    );
    assert_eq!(
        bad_fields(create(&t, &sales, json!({ "room_name": "sales-x", "ttl_seconds": 3601 })).await),
        ["ttl_seconds"]
    );
}

#[tokio::test]
async fn a_projects_own_livekit_signs_with_its_own_key_and_keeps_room_names() {
    let t = TestPlane::new().await;
    let c = t.customer("a").await;
    let id = c.id().to_string();
    let own =
        json!({ "livekit_url": "wss://lk.example", "livekit_api_key": "APIown", "livekit_api_secret": "own-secret" });
    t.send(&operator(), "projects.update", &[("id", &id)], "", &own.to_string()).await.expect("updates");
    let c = Customer { caller: t.login(&c.secret).await.expect("works"), ..c };
    let made = create(&t, &c, json!({})).await.expect("creates");
    let signer =
        Signer { url: String::new(), api_key: "APIown".into(), api_secret: Secret::new("own-secret"), shared: false };
    let claims =
        token::decode_signed(&signer, made["token"].as_str().expect("a text")).expect("signed with the project's key");
    assert_eq!(
        (claims.livekit.video.room.as_str(), made["server_url"].as_str()),
        ("standup", Some("wss://lk.example"))
    );
    assert_eq!(validate(&t, &c, &made["token"]).await["valid"], true);
}

#[tokio::test]
async fn validate_says_every_reason_why_a_token_is_bad() {
    let t = TestPlane::new().await;
    let (c, other) = (t.customer("a").await, t.customer("b").await);
    let made = create(&t, &c, json!({ "ttl_seconds": 60 })).await.expect("creates");
    let good = validate(&t, &c, &made["token"]).await;
    assert_eq!(
        (&good["valid"], &good["claims"]["room_name"], &good["claims"]["attributes"]),
        (&json!(true), &json!("standup"), &json!({}))
    );
    let theirs = validate(&t, &other, &made["token"]).await;
    assert_eq!((reasons(&theirs), theirs.get("claims")), (vec!["bad_signature"], None), "another project's token");
    assert_eq!(reasons(&validate(&t, &c, &json!("garbage")).await), ["malformed"]);
    let mut forged = made["token"].as_str().expect("a text").to_owned();
    let last = forged.pop().expect("not empty");
    forged.push(if last == 'A' { 'E' } else { 'A' });
    assert_eq!(reasons(&validate(&t, &c, &json!(forged)).await), ["bad_signature"]);
    t.clock.set(t.plane.parts().clock.now().minus(Duration::from_secs(5)));
    assert_eq!(reasons(&validate(&t, &c, &made["token"]).await), ["not_yet_valid"]);
    t.advance(Duration::from_secs(65)).await;
    let id = c.id().to_string();
    t.send(&operator(), "projects.suspend", &[("id", &id)], "", r#"{"reason":"x"}"#).await.expect("suspends");
    let body = json!({ "project_id": c.id(), "token": made["token"] }).to_string();
    let bad = t.send(&operator(), "tokens.validate", &[], "", &body).await.expect("validates");
    assert_eq!(reasons(&bad), ["expired", "project_suspended"]);
}

#[tokio::test]
async fn revocations_hit_what_was_issued_before_and_nothing_after() {
    let t = TestPlane::new().await;
    let c = t.customer("a").await;
    let revoke = async |body: Value| t.send(&c.caller, "tokens.revoke", &[], "", &body.to_string()).await;
    for subject in [
        json!({ "identity": "alice", "reason": "left the company" }),
        json!({ "room_name": "standup" }),
        json!({ "all": true }),
    ] {
        let before = create(&t, &c, json!({})).await.expect("creates");
        let other = create(&t, &c, json!({ "identity": "bob", "room_name": "other" })).await.expect("creates");
        revoke(subject.clone()).await.expect("revokes");
        t.clock.advance(Duration::from_secs(1));
        let after = create(&t, &c, json!({})).await.expect("creates");
        assert_eq!(reasons(&validate(&t, &c, &before["token"]).await), ["revoked"], "{subject}");
        assert_eq!(validate(&t, &c, &after["token"]).await["valid"], true, "{subject}");
        let everything = subject.get("all").is_some();
        assert_eq!(validate(&t, &c, &other["token"]).await["valid"], json!(!everything), "{subject}");
    }
    assert_eq!(bad_fields(revoke(json!({})).await), ["jti", "identity", "room_name", "all"]);
    assert_eq!(bad_fields(revoke(json!({ "identity": "a", "all": true })).await).len(), 4);
    assert_eq!(bad_fields(revoke(json!({ "all": true, "before": "2999-01-01T00:00:00Z" })).await), ["before"]);
    assert_eq!(bad_fields(revoke(json!({ "jti": "x" })).await), ["jti"]);
}

#[tokio::test]
async fn the_token_source_answers_stock_sdks() {
    let t = TestPlane::new().await;
    let c = t.customer("a").await;
    let body = json!({ "room_name": "r", "participant_identity": "p", "participant_attributes": { "k": "v" }, "future_field": 1 }).to_string();
    let made = t.send(&c.caller, "tokens.source", &[], "", &body).await.expect("unknown fields are ignored");
    let named = claims(&made["participant_token"]);
    assert_eq!((&named["sub"], &named["attributes"]["k"]), (&json!("p"), &json!("v")));
    let empty = t.send(&c.caller, "tokens.source", &[], "", "").await.expect("all fields are optional");
    assert_ne!(claims(&empty["participant_token"])["sub"], json!(""));
    let nobodys = t.send(&operator(), "tokens.source", &[], "", "").await;
    assert_eq!(refused(nobodys), Code::Forbidden, "it has no field that would name a project");
}

#[tokio::test]
async fn minting_writes_nothing() {
    let t = TestPlane::new().await;
    let c = t.customer("a").await;
    let entries =
        async || t.send(&operator(), "audit.list", &[], "", "").await.expect("lists")["data"].as_array().map(Vec::len);
    let before = entries().await;
    create(&t, &c, json!({})).await.expect("creates");
    assert_eq!(entries().await, before);
}

#[tokio::test]
async fn a_project_within_a_plan_is_limited_and_told_how() {
    let t = TestPlane::new().await;
    let org = t.organization("free", pulse_core::model::organization::Plan::Free).await;
    let c = t.customer_of(org, "p").await;
    for n in 0..100 {
        create(&t, &c, json!({})).await.unwrap_or_else(|error| panic!("request {n} of a hundred: {error}"));
    }
    let call = t.call(&c.caller);
    let op = serde_json::from_value::<CreateToken>(json!({ "room_name": "r", "identity": "i" })).expect("valid");
    let error = t.plane.execute(&call, &op).await.expect_err("the hundred and first");
    assert_eq!((error.code(), error.retry_after_seconds()), (Code::RateLimited, Some(1)));
    let told = call.rate.tightest().expect("the edge is told");
    assert_eq!((told.limit, told.remaining, told.allowed), (100, 0, false));
    t.clock.advance(Duration::from_secs(1));
    create(&t, &c, json!({})).await.expect("a second later there is room again");
    let id = c.id().to_string();
    t.send(&operator(), "projects.update", &[("id", &id)], "", r#"{"limits":{"requests_per_minute":1000}}"#)
        .await
        .expect("updates");
    t.advance(Duration::from_secs(60)).await;
    let c = Customer { caller: t.login(&c.secret).await.expect("works"), ..c };
    for _ in 0..200 {
        create(&t, &c, json!({})).await.expect("its own limit holds now");
    }
}

/// A customer whose key is bound to the rooms `sales-*`.
async fn bound_to_sales(t: &TestPlane, c: &Customer) -> Customer {
    let id = c.id().to_string();
    let body = json!({ "name": "sales", "scopes": ["tokens:mint"], "constraints": { "rooms": ["sales-*"] } });
    let key = t.send(&operator(), "keys.create", &[("id", &id)], "", &body.to_string()).await.expect("creates");
    let secret = key["pulse_api_secret"].as_str().expect("shown");
    Customer { caller: t.login(secret).await.expect("works"), ..c.clone() }
}

#[tokio::test]
async fn a_key_bound_to_rooms_neither_reads_nor_revokes_tokens_of_others() {
    let t = TestPlane::new().await;
    let c = t.customer("a").await;
    let sales = bound_to_sales(&t, &c).await;
    let ours = create(&t, &c, json!({ "room_name": "sales-emea" })).await.expect("creates");
    let other = create(&t, &c, json!({ "room_name": "board" })).await.expect("creates");
    let jti = claims(&ours["token"])["jti"].clone();
    let send = async |id: &str, body: Value| t.send(&sales.caller, id, &[], "", &body.to_string()).await;
    assert_eq!(validate(&t, &sales, &ours["token"]).await["valid"], true);
    let read = send("tokens.validate", json!({ "token": other["token"] })).await;
    assert_eq!(refused(read), Code::Forbidden);
    for subject in
        [json!({ "all": true }), json!({ "identity": "alice" }), json!({ "room_name": "board" }), json!({ "jti": jti })]
    {
        assert_eq!(refused(send("tokens.revoke", subject.clone()).await), Code::Forbidden, "{subject}");
    }
    send("tokens.revoke", json!({ "room_name": "sales-emea" })).await.expect("its own room it may");
    assert_eq!(reasons(&validate(&t, &c, &ours["token"]).await), ["revoked"]);
    assert_eq!(validate(&t, &c, &other["token"]).await["valid"], true);
}

#[tokio::test]
async fn a_token_that_is_named_is_revoked_whatever_clock_made_it() {
    let t = TestPlane::new().await;
    let c = t.customer("a").await;
    let now = t.plane.parts().clock.now();
    t.clock.set(now.plus(Duration::from_secs(5)));
    let ahead = create(&t, &c, json!({})).await.expect("creates");
    t.clock.set(now);
    let body = json!({ "jti": claims(&ahead["token"])["jti"] }).to_string();
    t.send(&c.caller, "tokens.revoke", &[], "", &body).await.expect("revokes");
    t.clock.set(now.plus(Duration::from_secs(10)));
    assert_eq!(reasons(&validate(&t, &c, &ahead["token"]).await), ["revoked"]);
}

#[tokio::test]
async fn two_revocations_of_one_subject_at_once_both_hold() {
    let (store, t) = TestPlane::over_faulty_store().await;
    let c = t.customer("a").await;
    let revoke = |caller| {
        let (plane, call) = (Arc::clone(&t.plane), t.call(caller));
        let op: RevokeTokens = serde_json::from_value(json!({ "all": true })).expect("valid");
        async move { plane.execute(&call, &op).await }
    };
    store.plan(Fault::Stall { call: CallKind::Commit, nth: 1 });
    let first = tokio::spawn(revoke(&c.caller));
    store.until_stalled().await;
    revoke(&c.caller).await.expect("the one that overtakes");
    store.release();
    first.await.expect("ends").expect("the one that was overtaken plans again");
}

#[tokio::test]
async fn the_operator_revokes_in_a_suspended_project() {
    let t = TestPlane::new().await;
    let c = t.customer("a").await;
    let id = c.id().to_string();
    t.send(&operator(), "projects.suspend", &[("id", &id)], "", r#"{"reason":"x"}"#).await.expect("suspends");
    let body = json!({ "project_id": id, "all": true }).to_string();
    t.send(&operator(), "tokens.revoke", &[], "", &body).await.expect("that is when tokens may have to go");
    t.send(&operator(), "projects.delete", &[("id", &id)], "", "").await.expect("deletes");
    t.advance(Duration::from_secs(1)).await;
    assert_eq!(refused(t.send(&operator(), "tokens.revoke", &[], "", &body).await), Code::NotFound);
}

#[tokio::test]
async fn a_token_is_never_larger_than_what_is_looked_at() {
    let t = TestPlane::new().await;
    let c = t.customer("a").await;
    let config = json!({ "room_config": { "metadata": "x".repeat(20_000) } });
    assert_eq!(bad_fields(create(&t, &c, config).await), ["room_config"]);
    // A control character is six characters of JSON.
    let escaped = json!({ "metadata": "\u{1}".repeat(64_000) });
    assert_eq!(bad_fields(create(&t, &c, escaped).await), ["metadata"]);
    let most = json!({ "metadata": "x".repeat(64_000), "attributes": { "a": "x".repeat(63_999) }, "room_config": { "metadata": "x".repeat(16_000) } });
    let made = create(&t, &c, most).await.expect("creates");
    assert_eq!(validate(&t, &c, &made["token"]).await["valid"], true);
}

#[tokio::test]
async fn no_token_outlives_its_revocation() {
    let t = TestPlane::new().await;
    let c = t.customer("a").await;
    let mut project = t.plane.parts().projects.get(c.id()).await.expect("reads").expect("is there");
    // As an earlier version could have stored it.
    project.limits.max_token_ttl_seconds = Some(4_000_000_000);
    let mut batch = Batch::new();
    project.replace_in(&mut batch).expect("encodes");
    batch.bump_generation();
    t.store.commit(batch, CommitMode::Apply).await.expect("commits");
    t.advance(Duration::from_secs(1)).await;
    let c = Customer { caller: t.login(&c.secret).await.expect("works"), ..c };
    let op = CreateToken {
        ttl_seconds: Some(2_592_001),
        ..serde_json::from_value(json!({ "room_name": "r", "identity": "i" })).expect("valid")
    };
    assert_eq!(bad_fields(t.run(&c.caller, op).await), ["ttl_seconds"]);
}
