//! Keys: what they may do, how they end, and that a project keeps one.

use std::time::Duration;

use pulse_core::error::Code;
use pulse_tests::plane::{Customer, TestPlane, operator};
use serde_json::{Value, json};

use super::{bad_fields, refused};

const DAY: Duration = Duration::from_secs(86_400);

async fn create(t: &TestPlane, c: &Customer, body: Value) -> Value {
    let id = c.id().to_string();
    t.send(&operator(), "keys.create", &[("id", &id)], "", &body.to_string()).await.expect("creates")
}

async fn list(t: &TestPlane, c: &Customer) -> Vec<Value> {
    let id = c.id().to_string();
    let page = t.send(&operator(), "keys.list", &[("id", &id)], "", "").await.expect("lists");
    page["data"].as_array().expect("rows").clone()
}

/// The id of the project's key of that name.
async fn named(t: &TestPlane, c: &Customer, name: &str) -> String {
    let keys = list(t, c).await;
    let key = keys.iter().find(|key| key["name"] == name).unwrap_or_else(|| panic!("no key {name} in {keys:?}"));
    text(key, "id").to_owned()
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_else(|| panic!("{field} is not a text in {value}"))
}

#[tokio::test]
async fn a_key_has_the_scopes_it_was_made_with_and_no_others() {
    let t = TestPlane::new().await;
    let c = t.customer("a").await;
    let made = create(&t, &c, json!({ "name": "reader", "environment": "test", "scopes": ["project:read"] })).await;
    assert!(text(&made, "pulse_api_secret").starts_with("pulse_secret_test_"));
    let caller = t.login(text(&made, "pulse_api_secret")).await.expect("works");
    let id = c.id().to_string();
    t.send(&caller, "projects.get", &[("id", &id)], "", "").await.expect("project:read");
    let token = json!({ "room_name": "r", "identity": "i" }).to_string();
    assert_eq!(refused(t.send(&caller, "tokens.create", &[], "", &token).await), Code::Forbidden);
}

#[tokio::test]
async fn a_key_cannot_make_one_that_may_more_than_itself() {
    let t = TestPlane::new().await;
    let c = t.customer("a").await;
    let made = create(
        &t,
        &c,
        json!({ "name": "manager", "scopes": ["keys:write", "project:read"], "constraints": { "rooms": ["a-*"] } }),
    )
    .await;
    let caller = t.login(text(&made, "pulse_api_secret")).await.expect("works");
    let id = c.id().to_string();
    let make = async |body: Value| t.send(&caller, "keys.create", &[("id", &id)], "", &body.to_string()).await;
    assert_eq!(refused(make(json!({ "name": "x", "scopes": ["tokens:mint"] })).await), Code::Forbidden);
    assert_eq!(
        refused(make(json!({ "name": "x", "scopes": ["project:read"] })).await),
        Code::Forbidden,
        "constraints dropped"
    );
    make(json!({ "name": "x", "scopes": ["project:read"], "constraints": { "rooms": ["a-*"] } }))
        .await
        .expect("its own");
}

#[tokio::test]
async fn an_expired_and_a_revoked_key_stop_at_once() {
    let t = TestPlane::new().await;
    let c = t.customer("a").await;
    let expires_at = t.plane.parts().clock.now().plus(DAY);
    let made = create(&t, &c, json!({ "name": "short", "expires_at": expires_at })).await;
    let secret = text(&made, "pulse_api_secret");
    t.login(secret).await.expect("works");
    t.advance(DAY).await;
    assert_eq!(refused(t.login(secret).await), Code::Unauthenticated);
    let id = c.id().to_string();
    let first = named(&t, &c, "default").await;
    let last = t.send(&operator(), "keys.revoke", &[("id", &id), ("key_id", &first)], "", "").await;
    assert_eq!(refused(last), Code::LastKey, "the expired one does not count");
    t.send(&operator(), "keys.revoke", &[("id", &id), ("key_id", &first)], "force=true", "").await.expect("forced");
    assert_eq!(refused(t.login(&c.secret).await), Code::Unauthenticated);
    let project = t.send(&operator(), "projects.get", &[("id", &id)], "", "").await.expect("gets");
    assert_eq!(project["pulse_api_key"], Value::Null, "no key is primary any more");
    let past = json!({ "name": "late", "expires_at": "2020-01-01T00:00:00Z" }).to_string();
    assert_eq!(bad_fields(t.send(&operator(), "keys.create", &[("id", &id)], "", &past).await), ["expires_at"]);
}

#[tokio::test]
async fn two_revocations_at_once_leave_one_key() {
    let t = TestPlane::new().await;
    let c = t.customer("a").await;
    create(&t, &c, json!({ "name": "second" })).await;
    let ids: Vec<String> = list(&t, &c).await.iter().map(|key| text(key, "id").to_owned()).collect();
    let id = c.id().to_string();
    let revoke = async |key: &str| t.send(&operator(), "keys.revoke", &[("id", &id), ("key_id", key)], "", "").await;
    let (a, b) = tokio::join!(revoke(&ids[0]), revoke(&ids[1]));
    assert!(a.is_ok() != b.is_ok(), "exactly one may succeed: {a:?} {b:?}");
    assert_eq!(list(&t, &c).await.len(), 1);
}

#[tokio::test]
async fn a_rotated_key_works_until_its_overlap_is_over() {
    let t = TestPlane::new().await;
    let c = t.customer("a").await;
    let (id, old) = (c.id().to_string(), text(&list(&t, &c).await[0], "id").to_owned());
    let path = [("id", id.as_str()), ("key_id", old.as_str())];
    let made = t.send(&operator(), "keys.rotate", &path, "", r#"{"overlap_seconds":3600}"#).await.expect("rotates");
    assert_eq!((&made["replaces"]["state"], &made["replaces"]["rotated_to"]), (&json!("rotated"), &made["id"]));
    t.login(&c.secret).await.expect("the old one in its overlap");
    t.login(text(&made, "pulse_api_secret")).await.expect("the new one");
    let project = t.send(&operator(), "projects.get", &[("id", &id)], "", "").await.expect("gets");
    assert_eq!(project["pulse_api_key"], made["pulse_api_key"], "the primary moves to the successor");
    assert_eq!(refused(t.send(&operator(), "keys.rotate", &path, "", "{}").await), Code::WrongState, "it was rotated");
    t.advance(Duration::from_secs(3600)).await;
    assert_eq!(refused(t.login(&c.secret).await), Code::Unauthenticated, "the overlap is over");
}

#[tokio::test]
async fn a_rotation_in_two_steps_is_committed_cancelled_or_dies() {
    let t = TestPlane::new().await;
    let c = t.customer("a").await;
    let (id, old) = (c.id().to_string(), text(&list(&t, &c).await[0], "id").to_owned());
    let path = [("id", id.as_str()), ("key_id", old.as_str())];
    let begin = async || t.send(&operator(), "keys.rotate", &path, "", r#"{"commit":false}"#).await;
    let first = begin().await.expect("begins");
    assert_eq!(first["state"], "pending");
    t.login(text(&first, "pulse_api_secret")).await.expect("a pending successor works");
    let second = begin().await.expect_err("one at a time");
    assert_eq!(second.code(), Code::RotationPending);
    assert!(second.message().contains(text(&first, "id")), "names the first: {second}");
    t.send(&operator(), "keys.rotate_cancel", &path, "", "").await.expect("cancels");
    assert_eq!(refused(t.login(text(&first, "pulse_api_secret")).await), Code::Unauthenticated, "cancelled");
    let second = begin().await.expect("begins again");
    t.advance(Duration::from_secs(15 * 60)).await;
    assert_eq!(refused(t.login(text(&second, "pulse_api_secret")).await), Code::Unauthenticated, "it died");
    assert_eq!(refused(t.send(&operator(), "keys.rotate_commit", &path, "", "{}").await), Code::Gone);
    let third = begin().await.expect("a dead one is in nobody's way");
    let done = t.send(&operator(), "keys.rotate_commit", &path, "", r#"{"overlap_seconds":0}"#).await.expect("commits");
    assert_eq!((&done["state"], &done["expires_at"], &done["primary"]), (&json!("active"), &Value::Null, &json!(true)));
    t.login(text(&third, "pulse_api_secret")).await.expect("stays");
    assert_eq!(refused(t.login(&c.secret).await), Code::Unauthenticated, "no overlap was asked for");
}

#[tokio::test]
async fn a_key_rotates_itself_only_with_the_scope_for_it() {
    let t = TestPlane::new().await;
    let c = t.customer("a").await;
    let id = c.id().to_string();
    let key = create(&t, &c, json!({ "name": "ci", "scopes": ["keys:rotate_self"] })).await;
    let caller = t.login(text(&key, "pulse_api_secret")).await.expect("works");
    let other = named(&t, &c, "default").await;
    let rotate =
        async |caller, key: &str| t.send(caller, "keys.rotate", &[("id", &id), ("key_id", key)], "", "{}").await;
    assert_eq!(refused(rotate(&caller, &other).await), Code::Forbidden, "another key");
    assert_eq!(refused(rotate(&c.caller, &other).await), Code::Forbidden, "the default key lacks the scope");
    rotate(&caller, text(&key, "id")).await.expect("itself");
}

#[tokio::test]
async fn regenerating_ends_the_old_primary_and_leaves_other_keys() {
    let t = TestPlane::new().await;
    let c = t.customer("a").await;
    let other = create(&t, &c, json!({ "name": "other" })).await;
    let id = c.id().to_string();
    let made = t.send(&operator(), "projects.regenerate_keys", &[("id", &id)], "", "").await.expect("regenerates");
    assert_eq!(refused(t.login(&c.secret).await), Code::Unauthenticated);
    t.login(text(&made, "pulse_api_secret")).await.expect("the new primary");
    t.login(text(&other, "pulse_api_secret")).await.expect("the other key");
    let project = t.send(&operator(), "projects.get", &[("id", &id)], "", "").await.expect("gets");
    assert_eq!(project["pulse_api_key"], made["pulse_api_key"]);
}

#[tokio::test]
async fn the_last_use_of_a_key_is_recorded() {
    let t = TestPlane::new().await;
    let c = t.customer("a").await;
    let key = list(&t, &c).await[0].clone();
    assert!(key["last_used_at"].is_string(), "a use shows before it is recorded: {key}");
    pulse_core::worker::record_uses(&t.plane).await.expect("records");
    let id = c.id().to_string();
    let got =
        t.send(&operator(), "keys.get", &[("id", &id), ("key_id", text(&key, "id"))], "", "").await.expect("gets");
    assert_eq!((&got["last_used_at"], &got["last_used_ip"]), (&key["last_used_at"], &json!("127.0.0.1")));
}

#[tokio::test]
async fn a_project_has_a_bounded_number_of_keys() {
    let t = TestPlane::new().await;
    let c = t.customer("a").await;
    for n in 1..100 {
        create(&t, &c, json!({ "name": format!("k{n}") })).await;
    }
    let id = c.id().to_string();
    let one_more = t.send(&operator(), "keys.create", &[("id", &id)], "", r#"{"name":"101"}"#).await;
    assert_eq!(refused(one_more), Code::Conflict);
}

#[tokio::test]
async fn revoking_a_key_ends_the_successor_that_was_begun_from_it() {
    let t = TestPlane::new().await;
    let c = t.customer("a").await;
    let id = c.id().to_string();
    let leaked = create(&t, &c, json!({ "name": "leaked" })).await;
    let path = [("id", id.as_str()), ("key_id", text(&leaked, "id"))];
    let begun = t.send(&operator(), "keys.rotate", &path, "", r#"{"commit":false}"#).await.expect("begins");
    t.send(&operator(), "keys.revoke", &path, "", "").await.expect("revokes");
    assert_eq!(refused(t.send(&operator(), "keys.rotate_commit", &path, "", "{}").await), Code::WrongState);
    for made in [&leaked, &begun] {
        assert_eq!(refused(t.login(text(made, "pulse_api_secret")).await), Code::Unauthenticated);
    }
}

#[tokio::test]
async fn regenerating_ends_the_successor_that_was_begun_from_the_old_primary() {
    let t = TestPlane::new().await;
    let c = t.customer("a").await;
    let id = c.id().to_string();
    let path = [("id", id.as_str()), ("key_id", &named(&t, &c, "default").await)];
    let begun = t.send(&operator(), "keys.rotate", &path, "", r#"{"commit":false}"#).await.expect("begins");
    let made = t.send(&operator(), "projects.regenerate_keys", &path[..1], "", "").await.expect("regenerates");
    assert_eq!(refused(t.login(text(&begun, "pulse_api_secret")).await), Code::Unauthenticated);
    t.login(text(&made, "pulse_api_secret")).await.expect("the new primary");
}

#[tokio::test]
async fn a_successor_that_is_not_committed_is_not_rotated() {
    let t = TestPlane::new().await;
    let c = t.customer("a").await;
    let (id, old) = (c.id().to_string(), text(&list(&t, &c).await[0], "id").to_owned());
    let rotate = async |key: &str, body: &str| {
        t.send(&operator(), "keys.rotate", &[("id", id.as_str()), ("key_id", key)], "", body).await
    };
    let begun = rotate(&old, r#"{"commit":false}"#).await.expect("begins");
    assert_eq!(refused(rotate(text(&begun, "id"), "{}").await), Code::WrongState);
}

#[tokio::test]
async fn no_key_gets_the_secret_of_one_that_may_more() {
    let t = TestPlane::new().await;
    let c = t.customer("a").await;
    let (id, default) = (c.id().to_string(), named(&t, &c, "default").await);
    let ends = t.plane.parts().clock.now().plus(DAY);
    let manager = create(&t, &c, json!({ "name": "manager", "scopes": ["keys:write"] })).await;
    let short = create(&t, &c, json!({ "name": "short", "scopes": ["keys:write"], "expires_at": ends })).await;
    let send = async |key: &Value, op: &str, path: &[(&str, &str)], body: Value| {
        let caller = t.login(text(key, "pulse_api_secret")).await.expect("works");
        t.send(&caller, op, path, "", &body.to_string()).await
    };
    let wider = [("id", id.as_str()), ("key_id", default.as_str())];
    assert_eq!(refused(send(&manager, "keys.rotate", &wider, json!({})).await), Code::Forbidden);
    assert_eq!(refused(send(&manager, "projects.regenerate_keys", &wider[..1], json!({})).await), Code::Forbidden);
    let endless = json!({ "name": "x", "scopes": ["keys:write"] });
    assert_eq!(refused(send(&short, "keys.create", &wider[..1], endless).await), Code::Forbidden, "outlives its maker");
    let equal = json!({ "name": "x", "scopes": ["keys:write"], "expires_at": ends });
    send(&short, "keys.create", &wider[..1], equal).await.expect("as long as its maker");
    send(&manager, "keys.rotate", &[("id", &id), ("key_id", text(&short, "id"))], json!({})).await.expect("no more");
}

#[tokio::test]
async fn a_regenerated_key_ends_when_the_old_one_would_have() {
    let t = TestPlane::new().await;
    let c = t.customer("a").await;
    let id = c.id().to_string();
    let path = [("id", id.as_str()), ("key_id", &named(&t, &c, "default").await)];
    let ends = t.plane.parts().clock.now().plus(DAY);
    let short = create(&t, &c, json!({ "name": "short", "expires_at": ends })).await;
    t.send(&operator(), "keys.revoke", &path, "", r#"{"force":true}"#).await.expect("revokes");
    let made = t.send(&operator(), "projects.regenerate_keys", &path[..1], "", "").await.expect("regenerates");
    assert_eq!((&made["name"], &made["expires_at"]), (&json!("short"), &short["expires_at"]));
}

#[tokio::test]
async fn a_new_key_leaves_the_caches_of_other_tenants_alone() {
    let t = TestPlane::new().await;
    let c = t.customer("a").await;
    let before = t.store.generation().await.expect("reads");
    create(&t, &c, json!({ "name": "another" })).await;
    assert_eq!(t.store.generation().await.expect("reads"), before);
    let path = [("id", c.id().to_string()), ("key_id", named(&t, &c, "another").await)];
    let path: Vec<(&str, &str)> = path.iter().map(|(name, id)| (*name, id.as_str())).collect();
    t.send(&operator(), "keys.revoke", &path, "", "").await.expect("revokes");
    assert_ne!(t.store.generation().await.expect("reads"), before, "a revocation is followed everywhere");
}
