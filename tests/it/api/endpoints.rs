//! Webhook endpoints: their fields and bounds, their states, their secrets, and that nobody else sees them.

use std::{sync::Arc, time::Duration};

use pulse_core::{
    access::Caller,
    error::Code,
    model::endpoint::{Endpoint, EndpointHealth, MAX_ENDPOINTS},
    op::Operation as _,
    ops::endpoints::{CreateEndpoint, DeleteEndpoint, RotateSecret},
    plane::Answer,
    repo::Document as _,
    store::{
        Batch, CommitMode, SharedStore,
        memory::MemoryStore,
        schema,
        testing::faulty::{CallKind, Fault, FaultyStore},
    },
};
use pulse_tests::plane::{Customer, TestPlane, operator};
use serde_json::{Value, json};

use super::{bad_fields, refused};

const URL: &str = "https://hooks.example/in";

/// Does an operation about one endpoint, with a key of its project that may.
async fn on(t: &TestPlane, c: &Customer, op: &str, id: &str, body: Value) -> pulse_core::Result<Value> {
    let caller = match op {
        "endpoints.rotate_secret" => key_with(t, c, "webhooks:secrets").await,
        _ => c.caller.clone(),
    };
    t.send(&caller, op, &[("id", id)], "", &body.to_string()).await
}

/// A key of the project with this scope alone.
async fn key_with(t: &TestPlane, c: &Customer, scope: &str) -> Caller {
    let body = json!({ "name": "one scope", "scopes": [scope] }).to_string();
    let made = t.send(&operator(), "keys.create", &[("id", &c.id().to_string())], "", &body).await.expect("creates");
    t.login(made["pulse_api_secret"].as_str().expect("shown")).await.expect("works")
}

async fn create(t: &TestPlane, c: &Customer, body: Value) -> pulse_core::Result<Value> {
    t.send(&c.caller, "endpoints.create", &[], "", &body.to_string()).await
}

async fn get(t: &TestPlane, c: &Customer, id: &str) -> Value {
    t.send(&c.caller, "endpoints.get", &[("id", id)], "", "").await.expect("gets")
}

async fn made(t: &TestPlane, c: &Customer) -> String {
    let made = create(t, c, json!({ "url": URL })).await.expect("creates");
    made["id"].as_str().expect("an id").to_owned()
}

/// The endpoint as it is stored.
async fn stored(t: &TestPlane, id: &str) -> Endpoint {
    let id = id.parse().expect("an id");
    t.plane.parts().endpoints.find(id).await.expect("reads").expect("is there")
}

#[tokio::test]
async fn an_endpoint_has_the_fields_it_was_made_with_and_defaults_for_the_rest() {
    let t = TestPlane::new().await;
    let c = t.customer("a").await;
    let plain = create(&t, &c, json!({ "url": URL })).await.expect("creates");
    assert_eq!((&plain["timeout_seconds"], &plain["max_in_flight"]), (&json!(15), &json!(8)));
    assert_eq!((&plain["event_types"], &plain["schedule"], &plain["rate"]), (&json!([]), &Value::Null, &Value::Null));
    assert_eq!(
        (&plain["state"], &plain["of_webhook_url"], &plain["version"]),
        (&json!("active"), &json!(false), &json!(1))
    );
    let full = json!({ "url": URL, "description": "the shop", "event_types": ["room_*"], "headers": { "X-Auth": "a" }, "schedule": "plan", "rate": { "per_second": 5 }, "timeout_seconds": 3, "max_in_flight": 2 });
    t.advance(Duration::from_secs(1)).await;
    let full = create(&t, &c, full).await.expect("creates");
    assert_eq!(full["headers"], json!(["x-auth"]), "names only");
    assert_eq!((&full["schedule"], &full["rate"]), (&json!([300, 600, 1800]), &json!({ "per_second": 5, "burst": 1 })));
    assert_eq!((&full["timeout_seconds"], &full["max_in_flight"]), (&json!(3), &json!(2)));
    let list = t.send(&c.caller, "endpoints.list", &[], "limit=1", "").await.expect("lists");
    assert_eq!(list["data"][0]["id"], full["id"], "newest first");
    let cursor = list["next_cursor"].as_str().expect("there is more");
    let rest = t.send(&c.caller, "endpoints.list", &[], &format!("cursor={cursor}"), "").await.expect("lists");
    assert_eq!((&rest["data"][0]["id"], &rest["next_cursor"]), (&plain["id"], &Value::Null));
}

#[tokio::test]
async fn bad_fields_are_refused_all_at_once() {
    let t = TestPlane::new().await;
    let c = t.customer("a").await;
    let bad = json!({ "url": "https://169.254.169.254/x", "headers": { "host": "x", "webhook-id": "y", "ok": "z" }, "secret": "whsec_short" });
    let mut fields = bad_fields(create(&t, &c, bad).await);
    fields.sort();
    assert_eq!(fields, ["headers.host", "headers.webhook-id", "secret", "url"]);
    let twice = json!({ "url": URL, "headers": { "X-A": "1", "x-a": "2" } });
    assert_eq!(bad_fields(create(&t, &c, twice).await), ["headers"]);
    let id = made(&t, &c).await;
    let update =
        on(&t, &c, "endpoints.update", &id, json!({ "url": "https://10.0.0.1/", "headers": { "te": "x" } })).await;
    assert_eq!(bad_fields(update), ["url", "headers.te"]);
    let rotate = on(&t, &c, "endpoints.rotate_secret", &id, json!({ "overlap_seconds": 604_801 })).await;
    assert_eq!(bad_fields(rotate), ["overlap_seconds"]);
    assert_eq!(bad_fields(on(&t, &c, "endpoints.rotate_secret", &id, json!({ "secret": "x" })).await), ["secret"]);
}

#[tokio::test]
async fn secrets_and_header_values_are_sealed_and_shown_by_nothing_but_the_answer_that_makes_them() {
    let t = TestPlane::new().await;
    let c = t.customer("a").await;
    let body = json!({ "url": URL, "headers": { "Authorization": "Bearer visible-nowhere" } });
    let made = create(&t, &c, body).await.expect("creates");
    let secret = made["secret"].as_str().expect("shown once").to_owned();
    assert!(secret.starts_with("whsec_") && secret.len() == 50, "{secret}");
    let id = made["id"].as_str().expect("an id");
    let rotated = on(&t, &c, "endpoints.rotate_secret", id, json!({})).await.expect("rotates");
    let next = rotated["secret"].as_str().expect("shown once").to_owned();
    assert_ne!(secret, next);
    let shown = get(&t, &c, id).await;
    assert_eq!(shown.get("secret"), None, "never shown again");
    let doc = t.store.get(&schema::ENDPOINTS, id).await.expect("reads").expect("is there").doc.to_string();
    let log = t.send(&operator(), "audit.list", &[], "", "").await.expect("lists").to_string();
    let list = t.send(&c.caller, "endpoints.list", &[], "", "").await.expect("lists").to_string();
    for place in [doc, log.clone(), list, shown.to_string()] {
        for hidden in ["visible-nowhere", &secret[6..], &next[6..]] {
            assert!(!place.contains(hidden), "a secret shows: {place}");
        }
    }
    assert!(log.contains("endpoints.rotate_secret") && log.contains("<set>"), "{log}");
}

#[tokio::test]
async fn a_dry_run_makes_nothing_and_shows_no_secret() {
    let t = TestPlane::new().await;
    let c = t.customer("a").await;
    let mut call = t.call(&c.caller);
    call.dry_run = true;
    let op: CreateEndpoint = serde_json::from_value(json!({ "url": URL })).expect("valid");
    let Answer::DryRun(dry) = t.plane.execute(&call, &op).await.expect("foretells") else { panic!("it was done") };
    assert_eq!((dry.result.secret, dry.effects.get("endpoints")), (None, Some(&1)));
    assert_eq!(t.send(&c.caller, "endpoints.list", &[], "", "").await.expect("lists")["data"], json!([]));
    let id = made(&t, &c).await;
    let rotate: RotateSecret = serde_json::from_value(json!({ "id": id })).expect("valid");
    call.caller = key_with(&t, &c, "webhooks:secrets").await;
    let Answer::DryRun(dry) = t.plane.execute(&call, &rotate).await.expect("foretells") else { panic!("it was done") };
    assert_eq!(dry.result.secret, None);
    assert_eq!(get(&t, &c, &id).await["live_secrets"], 1);
}

#[tokio::test]
async fn updates_merge_null_clears_and_a_stale_version_is_refused() {
    let t = TestPlane::new().await;
    let c = t.customer("a").await;
    let full = json!({ "url": URL, "description": "d", "event_types": ["room_*"], "headers": { "x": "y" }, "schedule": [9], "rate": { "per_second": 5 }, "timeout_seconds": 3, "max_in_flight": 2 });
    let made = create(&t, &c, full).await.expect("creates");
    let id = made["id"].as_str().expect("an id");
    let update = async |body: Value| on(&t, &c, "endpoints.update", id, body).await;
    let moved = update(json!({ "url": "https://hooks.example/new", "version": 1 })).await.expect("updates");
    assert_eq!(
        (&moved["url"], &moved["version"], &moved["headers"]),
        (&json!("https://hooks.example/new"), &json!(2), &json!(["x"]))
    );
    assert_eq!(refused(update(json!({ "description": "late", "version": 1 })).await), Code::VersionMismatch);
    let same = update(json!({ "url": "https://hooks.example/new" })).await.expect("changes nothing");
    assert_eq!(same["version"], 2, "what changes nothing makes no version");
    let null = json!({ "description": null, "event_types": null, "headers": null, "schedule": null, "rate": null, "timeout_seconds": null, "max_in_flight": null });
    let cleared = update(null).await.expect("clears");
    for (field, default) in [
        ("description", Value::Null),
        ("event_types", json!([])),
        ("headers", json!([])),
        ("schedule", Value::Null),
        ("rate", Value::Null),
        ("timeout_seconds", json!(15)),
        ("max_in_flight", json!(8)),
    ] {
        assert_eq!(cleared[field], default, "{field}");
    }
    let mut call = t.call(&c.caller);
    call.if_match = Some(1);
    let delete: DeleteEndpoint = serde_json::from_value(json!({ "id": id })).expect("valid");
    assert_eq!(refused(t.plane.execute(&call, &delete).await), Code::VersionMismatch);
    call.if_match = Some(3);
    t.plane.execute(&call, &delete).await.expect("the current version");
}

#[tokio::test]
async fn header_values_are_not_taken_to_a_server_that_they_were_not_given_for() {
    let t = TestPlane::new().await;
    let c = t.customer("a").await;
    let full = json!({ "url": URL, "headers": { "authorization": "Bearer of-hooks" } });
    let id = create(&t, &c, full).await.expect("creates")["id"].as_str().expect("an id").to_owned();
    let update = async |body: Value| on(&t, &c, "endpoints.update", &id, body).await;
    let sealed = stored(&t, &id).await.headers;
    for elsewhere in ["https://evil.example/in", "http://hooks.example/in", "https://hooks.example:8443/in"] {
        let refused = update(json!({ "url": elsewhere })).await;
        let said = refused.as_ref().expect_err("refuses");
        assert!(said.to_string().contains("must be given anew or cleared") && said.hint_text().contains("headers"));
        assert_eq!(bad_fields(refused), ["headers"], "{elsewhere}");
    }
    assert_eq!((get(&t, &c, &id).await["url"].as_str(), stored(&t, &id).await.headers), (Some(URL), sealed.clone()));
    // The same server, however it is written, keeps them.
    let path = update(json!({ "url": "https://HOOKS.example:443/other" })).await.expect("the same server");
    assert_eq!((&path["headers"], stored(&t, &id).await.headers), (&json!(["authorization"]), sealed.clone()));
    let moved = json!({ "url": "https://new.example/", "headers": { "authorization": "Bearer of-new" } });
    update(moved).await.expect("with its headers");
    assert_ne!(stored(&t, &id).await.headers, sealed);
    let bare = update(json!({ "url": "https://other.example/", "headers": null })).await.expect("without any");
    assert_eq!(bare["headers"], json!([]));
    update(json!({ "url": "https://third.example/" })).await.expect("there is nothing to take along");
}

#[tokio::test]
async fn states_follow_each_other_and_only_so() {
    let t = TestPlane::new().await;
    let c = t.customer("a").await;
    let id = made(&t, &c).await;
    let go = async |op: &str, body: Value| on(&t, &c, op, &id, body).await;
    let paused = go("endpoints.pause", json!({ "reason": "it moves" })).await.expect("pauses");
    assert_eq!((&paused["state"], &paused["state_reason"]), (&json!("paused"), &json!("it moves")));
    let again = go("endpoints.pause", json!({ "reason": "it moves" })).await.expect("is paused");
    assert_eq!(again["version"], paused["version"], "nothing changed");
    assert_eq!(refused(go("endpoints.enable", json!({})).await), Code::WrongState);
    assert_eq!(refused(go("endpoints.test", json!({})).await), Code::WrongState);
    let resumed = go("endpoints.resume", json!({})).await.expect("resumes");
    assert_eq!((&resumed["state"], &resumed["state_reason"]), (&json!("active"), &Value::Null));
    assert_eq!(go("endpoints.resume", json!({})).await.expect("is active")["version"], resumed["version"]);
    let disabled = go("endpoints.disable", json!({})).await.expect("disables");
    assert_eq!((&disabled["state"], &disabled["state_reason"]), (&json!("disabled"), &Value::Null));
    for op in ["endpoints.pause", "endpoints.resume", "endpoints.test"] {
        assert_eq!(refused(go(op, json!({})).await), Code::WrongState, "{op}");
    }
    assert_eq!(go("endpoints.enable", json!({})).await.expect("enables")["state"], "active");
}

#[tokio::test]
async fn the_old_secret_signs_until_its_overlap_is_over_and_five_sign_at_most() {
    let t = TestPlane::new().await;
    let c = t.customer("a").await;
    let id = made(&t, &c).await;
    let rotate = async |body: Value| on(&t, &c, "endpoints.rotate_secret", &id, body).await;
    let live = async || {
        let now = t.plane.parts().clock.now();
        stored(&t, &id).await.live_secrets(now).map(|secret| secret.expires_at).collect::<Vec<_>>()
    };
    let given = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    let first = rotate(json!({ "secret": given, "overlap_seconds": 60 })).await.expect("rotates");
    assert_eq!((&first["secret"], &first["live_secrets"]), (&json!(given), &json!(2)));
    let end = t.plane.parts().clock.now().plus(Duration::from_secs(60));
    assert_eq!(live().await, [None, Some(end)], "newest first, the old one with its end");
    t.advance(Duration::from_secs(59)).await;
    assert_eq!(get(&t, &c, &id).await["live_secrets"], 2);
    // A second rotation does not let the first secret live longer.
    let second = rotate(json!({})).await.expect("rotates");
    assert_eq!((&second["live_secrets"], live().await[2]), (&json!(3), Some(end)));
    t.advance(Duration::from_secs(1)).await;
    assert_eq!(get(&t, &c, &id).await["live_secrets"], 2);
    for _ in 0..3 {
        rotate(json!({})).await.expect("up to five");
    }
    assert_eq!(refused(rotate(json!({})).await), Code::Conflict, "a sixth");
    let alone = rotate(json!({ "overlap_seconds": 0 })).await.expect("ends the others");
    assert_eq!((&alone["live_secrets"], live().await), (&json!(1), vec![None]));
}

#[tokio::test]
async fn a_project_has_twenty_endpoints_at_most_however_many_are_made_at_once() {
    let t = TestPlane::new().await;
    let c = t.customer("a").await;
    for _ in 1..MAX_ENDPOINTS {
        made(&t, &c).await;
    }
    let make = || create(&t, &c, json!({ "url": URL }));
    let (one, two, three) = tokio::join!(make(), make(), make());
    let results = [one, two, three];
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1, "{results:?}");
    for result in results.into_iter().filter(Result::is_err) {
        assert_eq!(refused(result), Code::Conflict);
    }
    let rows = t.store.count(&schema::ENDPOINTS, "project", &[c.id().to_string().into()], 100).await.expect("counts");
    assert_eq!(rows, MAX_ENDPOINTS as u64);
    let id = c.id().to_string();
    let hook = json!({ "webhook_url": "https://one.more/" }).to_string();
    let more = t.send(&operator(), "projects.update", &[("id", &id)], "", &hook).await;
    assert_eq!(refused(more), Code::Conflict, "the endpoint of webhook_url counts as any other");
}

#[tokio::test]
async fn another_projects_endpoints_and_deliveries_are_not_there() {
    let t = TestPlane::new().await;
    let (a, b) = (t.customer("a").await, t.customer("b").await);
    let id = made(&t, &a).await;
    let sent = on(&t, &a, "endpoints.test", &id, json!({})).await.expect("tests");
    let delivery = sent["delivery_id"].as_str().expect("an id");
    for op in ["pause", "resume", "disable", "enable", "rotate_secret", "test", "update"] {
        let body = if op == "update" { json!({ "url": URL }) } else { json!({}) };
        assert_eq!(refused(on(&t, &b, &format!("endpoints.{op}"), &id, body).await), Code::NotFound, "{op}");
    }
    for op in ["endpoints.get", "endpoints.delete"] {
        assert_eq!(refused(t.send(&b.caller, op, &[("id", &id)], "", "").await), Code::NotFound, "{op}");
    }
    for op in ["deliveries.get", "deliveries.attempts"] {
        assert_eq!(refused(t.send(&b.caller, op, &[("id", delivery)], "", "").await), Code::NotFound, "{op}");
    }
    assert_eq!(refused(on(&t, &b, "deliveries.resend", delivery, json!({})).await), Code::NotFound);
    let of_a = format!("project_id={}", a.id());
    assert_eq!(refused(t.send(&b.caller, "endpoints.list", &[], &of_a, "").await), Code::NotFound);
    for query in
        [String::new(), format!("endpoint_id={id}"), format!("event_id={}", sent["event_id"].as_str().expect("an id"))]
    {
        let list = t.send(&b.caller, "deliveries.list", &[], &query, "").await.expect("lists");
        assert_eq!(list["data"], json!([]), "{query}");
    }
    assert_eq!(bad_fields(t.send(&operator(), "endpoints.list", &[], "", "").await), ["project_id"]);
    let rows = t.send(&operator(), "endpoints.list", &[], &of_a, "").await.expect("the operator names the project");
    assert_eq!(rows["data"][0]["id"], json!(id));
}

#[tokio::test]
async fn a_key_needs_the_scope() {
    let t = TestPlane::new().await;
    let c = t.customer("a").await;
    let reader = key_with(&t, &c, "webhooks:read").await;
    t.send(&reader, "endpoints.list", &[], "", "").await.expect("webhooks:read");
    let body = json!({ "url": URL }).to_string();
    assert_eq!(refused(t.send(&reader, "endpoints.create", &[], "", &body).await), Code::Forbidden);
    assert_eq!(refused(t.send(&reader, "unclaimed.list", &[], "", "").await), Code::Forbidden);
    let none = t.send(&operator(), "unclaimed.list", &[], "", "").await.expect("the operator");
    assert_eq!(none, json!({ "data": [], "next_cursor": null }));
}

#[tokio::test]
async fn who_may_change_endpoints_does_not_get_the_secret_of_one() {
    let t = TestPlane::new().await;
    let c = t.customer("a").await;
    let id = made(&t, &c).await;
    for caller in [key_with(&t, &c, "webhooks:write").await, c.caller.clone()] {
        let rotate = t.send(&caller, "endpoints.rotate_secret", &[("id", &id)], "", "{}").await;
        assert!(rotate.as_ref().is_err_and(|error| error.to_string().contains("webhooks:secrets")), "{rotate:?}");
        assert_eq!(refused(rotate), Code::Forbidden);
    }
    let keeper = key_with(&t, &c, "webhooks:secrets").await;
    t.send(&keeper, "endpoints.rotate_secret", &[("id", &id)], "", "{}").await.expect("webhooks:secrets");
    let pause = t.send(&keeper, "endpoints.pause", &[("id", &id)], "", "{}").await;
    assert_eq!(refused(pause), Code::Forbidden, "it is for secrets alone");
}

#[tokio::test]
async fn a_deleted_endpoint_takes_its_health_along_and_what_waits_for_it_is_cancelled() {
    let t = TestPlane::new().await;
    let c = t.customer("a").await;
    let id = made(&t, &c).await;
    let sent = on(&t, &c, "endpoints.test", &id, json!({})).await.expect("tests");
    let mut batch = Batch::new();
    EndpointHealth::new(id.parse().expect("an id"), c.id()).insert_into(&mut batch).expect("encodes");
    t.store.commit(batch, CommitMode::Apply).await.expect("commits");
    let mut call = t.call(&c.caller);
    call.dry_run = true;
    let delete: DeleteEndpoint = serde_json::from_value(json!({ "id": id })).expect("valid");
    let Answer::DryRun(dry) = t.plane.execute(&call, &delete).await.expect("foretells") else { panic!("it was done") };
    assert_eq!(dry.effects.get("deliveries_pending"), Some(&1));
    const { assert!(DeleteEndpoint::META.versioned) };
    t.send(&c.caller, "endpoints.delete", &[("id", &id)], "", "").await.expect("deletes");
    assert_eq!(refused(t.send(&c.caller, "endpoints.get", &[("id", &id)], "", "").await), Code::NotFound);
    assert_eq!(t.store.get(&schema::ENDPOINT_HEALTH, &id).await.expect("reads"), None);
    pulse_core::worker::do_jobs(&t.pipeline).await.expect("jobs");
    let delivery = sent["delivery_id"].as_str().expect("an id");
    let got = t.send(&c.caller, "deliveries.get", &[("id", delivery)], "", "").await.expect("gets");
    assert_eq!(got["status"], "cancelled");
    assert_eq!(refused(on(&t, &c, "deliveries.resend", delivery, json!({})).await), Code::Gone);
}

#[tokio::test]
async fn health_that_is_written_while_its_endpoint_is_deleted_does_not_stay() {
    let inner: SharedStore = Arc::new(MemoryStore::new());
    let store = Arc::new(FaultyStore::new(Arc::clone(&inner)));
    let t = TestPlane::over(Arc::clone(&store) as SharedStore, 1).await.expect("a plane");
    let c = t.customer("a").await;
    let id = made(&t, &c).await;
    store.plan(Fault::Stall { call: CallKind::Commit, nth: 1 });
    let write = async {
        store.until_stalled().await;
        let mut batch = Batch::new();
        EndpointHealth::new(id.parse().expect("an id"), c.id()).insert_into(&mut batch).expect("encodes");
        inner.commit(batch, CommitMode::Apply).await.expect("commits");
        store.release();
    };
    let path = [("id", id.as_str())];
    let (deleted, ()) = tokio::join!(t.send(&c.caller, "endpoints.delete", &path, "", ""), write);
    deleted.expect("deletes");
    assert_eq!(inner.get(&schema::ENDPOINT_HEALTH, &id).await.expect("reads"), None);
}
