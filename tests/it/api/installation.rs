//! What callers learn of the installation itself.

use std::time::Duration;

use pulse_core::{
    Error,
    error::Code,
    openapi, registry,
    store::testing::faulty::{CallKind, Fault},
    wire::Incoming,
};
use pulse_tests::plane::{TestPlane, operator};
use serde_json::json;

#[tokio::test]
async fn the_status_is_probed_once_for_all_who_ask() {
    let (store, t) = TestPlane::over_faulty_store().await;
    let pings = || store.calls(CallKind::Ping);
    let before = pings();
    let ask = async || t.send(&operator(), "status.get", &[], "", "").await.expect("answers");
    let all = tokio::join!(ask(), ask(), ask(), ask());
    assert_eq!((pings() - before, &all.0["store"]["state"]), (1, &json!("ok")));
    t.clock.advance(Duration::from_secs(3));
    store.plan(Fault::FailBefore { call: CallKind::Ping, nth: 1 });
    assert_eq!((&ask().await["state"], pings() - before), (&json!("down"), 2), "what was found is not told for long");
}

#[tokio::test]
async fn the_status_does_not_wait_for_a_store_that_stands_still() {
    let (store, t) = TestPlane::over_faulty_store().await;
    store.plan(Fault::Stall { call: CallKind::Ping, nth: 1 });
    let operator = operator();
    let status = t.send(&operator, "status.get", &[], "", "");
    let status = tokio::time::timeout(Duration::from_secs(8), status).await.expect("in time").expect("answers");
    assert_eq!(status["store"]["detail"], "no answer within 2 seconds");
}

#[test]
fn callers_read_nothing_of_what_is_wrong_with_the_installation() {
    for code in [Code::Internal, Code::Misconfigured, Code::StoreUnavailable] {
        let error = Error::new(code, "MongoDB refuses the credentials").hint("look at /var/lib/pulse").retry_after(5);
        let problem = error.problem("req");
        let text = serde_json::to_string(&problem).expect("encodes");
        assert!(!text.contains("MongoDB") && !text.contains("/var"), "{text}");
        assert_eq!(problem.retry_after, Some(5));
        assert_eq!(error.message(), "MongoDB refuses the credentials", "the log and a local command say it");
    }
    assert_eq!(Error::new(Code::Misconfigured, "x").problem("req").code, "internal");
    assert_eq!(Error::new(Code::WrongState, "the key is revoked").problem("req").detail, "the key is revoked");
}

#[tokio::test]
async fn answers_of_dry_runs_are_documented() {
    let t = TestPlane::new().await;
    let document = openapi::document();
    let mut call = t.call(&operator());
    call.dry_run = true;
    let id = t.customer("a").await.id().to_string();
    for (operation, method, body) in [("projects.update", "put", r#"{"name":"b"}"#), ("projects.delete", "delete", "")]
    {
        let documented = &document["paths"]["/v1/projects/{id}"][method]["responses"]["200"];
        let mut schema = documented["content"]["application/json"]["schema"].clone();
        schema["components"] = document["components"].clone();
        let route = registry::by_id(operation).expect("in the registry");
        let path = [("id".to_owned(), id.clone())];
        let incoming = Incoming { path: &path, query: "", body: body.as_bytes() };
        let reply = route.call(&t.plane, &call, incoming).await.expect("foretells");
        let answer = serde_json::from_slice(&reply.body).expect("JSON");
        assert!(jsonschema::is_valid(&schema, &answer), "{operation}: {answer} is not documented");
    }
}

#[tokio::test]
async fn if_match_is_checked_or_refused_as_documented() {
    let t = TestPlane::new().await;
    let c = t.customer("a").await;
    let project = c.id().to_string();
    let keys = t.send(&operator(), "keys.list", &[("id", &project)], "", "").await.expect("lists");
    let key = keys["data"][0]["id"].as_str().expect("an id").to_owned();
    let org = c.org.to_string();
    let hook = json!({ "url": "https://hooks.example/in" }).to_string();
    let endpoint = t.send(&c.caller, "endpoints.create", &[], "", &hook).await.expect("creates");
    let endpoint = endpoint["id"].as_str().expect("an id").to_owned();
    let delivery = "dlv_01J00000000000000000000000".to_owned();
    let ban = "ban_01J00000000000000000000000".to_owned();
    let replay = "job_01J00000000000000000000000".to_owned();
    let mut call = t.call(&operator());
    call.if_match = Some(999);
    let mut versioned = 0;
    for route in registry::OPERATIONS.iter().filter(|route| route.meta.is_mutation()) {
        let id = match route.meta.id.split('.').next() {
            Some("organizations") => &org,
            Some("endpoints") => &endpoint,
            Some("deliveries") => &delivery,
            Some("bans") => &ban,
            Some("replays") => &replay,
            _ => &project,
        };
        let path = [("id".to_owned(), id.clone()), ("key_id".to_owned(), key.clone())];
        let path = &path[..route.meta.path_fields().count()];
        let body = match route.meta.id {
            "organizations.create" => json!({ "name": "b", "admin_email": "b@b.example" }),
            "projects.create" => json!({ "name": "b", "org_id": org }),
            "keys.create" => json!({ "name": "b" }),
            "projects.suspend" => json!({ "reason": "x" }),
            "tokens.revoke" => json!({ "project_id": project, "all": true }),
            "tokens.create" | "tokens.refresh" | "tokens.source" => continue,
            "bans.create" => json!({ "project_id": project, "identity": "i" }),
            "events.trigger" => json!({ "project_id": project, "type": "room_started" }),
            "endpoints.create" => json!({ "project_id": project, "url": "https://hooks.example/in" }),
            "endpoints.update" => json!({ "project_id": project, "url": "https://new.example/" }),
            id if ["endpoints.", "deliveries.", "replays."].iter().any(|start| id.starts_with(start)) => {
                json!({ "project_id": project })
            }
            _ => json!({}),
        };
        let named = ["endpoints.delete", "bans.delete"].contains(&route.meta.id);
        let query = if named { format!("project_id={project}") } else { String::new() };
        let body = if route.meta.method.has_body() { body.to_string() } else { String::new() };
        let incoming = Incoming { path, query: &query, body: body.as_bytes() };
        let refused = route.call(&t.plane, &call, incoming).await.expect_err("999 is no version");
        let expected = if route.meta.versioned { Code::VersionMismatch } else { Code::BadRequest };
        assert_eq!(refused.code(), expected, "{}: {refused:?}", route.meta.id);
        versioned += u32::from(route.meta.versioned);
    }
    assert!(versioned > 8, "only {versioned}");
}
