//! What one customer can find out about another: nothing.

use pulse_core::{error::Code, registry::OPERATIONS, store::schema};
use pulse_tests::plane::{TestPlane, operator};
use serde_json::{Value, json};

use super::refused;

/// A body that is valid for an operation, but for the ids that travel in the path or name the tenant.
fn body(id: &str) -> &'static str {
    match id {
        "projects.suspend" => r#"{"reason":"x"}"#,
        "projects.update" | "keys.create" => r#"{"name":"x"}"#,
        _ => "{}",
    }
}

#[tokio::test]
async fn another_tenants_ids_are_not_found_on_every_route() {
    let t = TestPlane::new().await;
    let (mine, theirs) = (t.customer("mine").await, t.customer("theirs").await);
    let all: Vec<String> = pulse_core::access::Permissions::all_scopes().iter().map(|p| p.name().to_owned()).collect();
    let id = mine.id().to_string();
    let make = json!({ "name": "all", "scopes": all }).to_string();
    let key = t.send(&operator(), "keys.create", &[("id", &id)], "", &make).await.expect("creates");
    let caller = t.login(key["pulse_api_secret"].as_str().expect("shown")).await.expect("works");
    let their_keys =
        t.send(&operator(), "keys.list", &[("id", &theirs.id().to_string())], "", "").await.expect("lists");
    let their_key = their_keys["data"][0]["id"].as_str().expect("an id").to_owned();
    let (org, project) = (theirs.org.to_string(), theirs.id().to_string());
    for route in OPERATIONS.iter().filter(|route| route.meta.path_fields().next().is_some()) {
        let of = |name: &str| match name {
            "key_id" => their_key.as_str(),
            _ if route.meta.path.starts_with("/v1/organizations") => org.as_str(),
            _ => project.as_str(),
        };
        let path: Vec<(&str, &str)> = route.meta.path_fields().map(|name| (name, of(name))).collect();
        let body = if route.meta.method.has_body() { body(route.meta.id) } else { "" };
        let answer = t.send(&caller, route.meta.id, &path, "", body).await;
        assert_eq!(refused(answer), Code::NotFound, "{} tells that the other tenant exists", route.meta.id);
        if route.meta.path.contains("{key_id}") {
            let path = [("id", id.as_str()), ("key_id", their_key.as_str())];
            let answer = t.send(&caller, route.meta.id, &path, "", body).await;
            assert_eq!(refused(answer), Code::NotFound, "{}: their key under my project", route.meta.id);
        }
    }
    for (op, body) in [
        ("tokens.create", json!({ "project_id": project, "room_name": "r", "identity": "i" })),
        ("tokens.validate", json!({ "project_id": project, "token": "t" })),
        ("tokens.refresh", json!({ "project_id": project, "token": "t" })),
        ("tokens.revoke", json!({ "project_id": project, "all": true })),
    ] {
        assert_eq!(refused(t.send(&caller, op, &[], "", &body.to_string()).await), Code::NotFound, "{op}");
    }
}

#[tokio::test]
async fn lists_and_the_audit_show_a_key_its_own_project_only() {
    let t = TestPlane::new().await;
    let (mine, theirs) = (t.customer("mine").await, t.customer("theirs").await);
    let list = t.send(&mine.caller, "projects.list", &[], "", "").await.expect("lists");
    let ids: Vec<&Value> = list["data"].as_array().expect("rows").iter().map(|row| &row["id"]).collect();
    assert_eq!(ids, [&json!(mine.id())]);
    let asked = t.send(&mine.caller, "projects.list", &[], &format!("org_id={}", theirs.org), "").await.expect("lists");
    assert_eq!(asked["data"], json!([]));
    let log = t.send(&mine.caller, "audit.list", &[], "", "").await.expect("lists").to_string();
    assert!(log.contains(&mine.id().to_string()) && !log.contains(&theirs.id().to_string()), "{log}");
    let asked =
        t.send(&mine.caller, "audit.list", &[], &format!("target_id={}", theirs.id()), "").await.expect("lists");
    assert_eq!(asked["data"], json!([]));
}

#[tokio::test]
async fn nobody_gets_no_answer_but_401_and_no_id_in_a_path_breaks_anything() {
    let t = TestPlane::new().await;
    let nobody = pulse_core::access::Caller::Anonymous;
    let c = t.customer("a").await;
    let id = c.id().to_string();
    assert_eq!(refused(t.send(&nobody, "projects.get", &[("id", &id)], "", "").await), Code::Unauthenticated);
    assert_eq!(refused(t.send(&nobody, "me.get", &[], "", "").await), Code::Unauthenticated);
    let status = t.send(&nobody, "status.get", &[], "", "").await.expect("anybody may ask");
    assert_eq!(status, json!({ "state": "degraded" }), "no LiveKit runs here, and nobody sees more than that");
    for bad in ["", "x", "prj_", "../..", "org_01J00000000000000000000000", &"p".repeat(10_000)] {
        assert_eq!(refused(t.send(&operator(), "projects.get", &[("id", bad)], "", "").await), Code::NotFound, "{bad}");
    }
}

#[tokio::test]
async fn one_tenants_name_in_the_store_does_not_keep_another_from_it() {
    let t = TestPlane::new().await;
    let (a, b) = (t.customer("a").await, t.customer("b").await);
    t.customer_of(a.org, "shared").await;
    t.customer_of(b.org, "shared").await;
    let count = t.store.count(&schema::PROJECTS, "org", &[json!(a.org)], 10).await.expect("counts");
    assert_eq!(count, 2);
}
