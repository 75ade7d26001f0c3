//! `webhook_url`: the endpoint that comes, changes and goes with it, and the one that a start makes for an old project.

use pulse_core::{
    error::Code,
    model::project::Project,
    ops::projects::UpdateProject,
    plane::Answer,
    repo::Document as _,
    store::{Batch, CommitMode, schema},
};
use pulse_tests::plane::{Customer, TestPlane, operator};
use serde_json::{Value, json};

use super::{bad_fields, refused};

const URL: &str = "https://hooks.example/in";

async fn update(t: &TestPlane, c: &Customer, body: Value) -> Value {
    let id = c.id().to_string();
    t.send(&operator(), "projects.update", &[("id", &id)], "", &body.to_string()).await.expect("updates")
}

async fn project(t: &TestPlane, c: &Customer) -> Value {
    let id = c.id().to_string();
    t.send(&operator(), "projects.get", &[("id", &id)], "", "").await.expect("gets")
}

async fn endpoints(t: &TestPlane, c: &Customer) -> Vec<Value> {
    let page = t.send(&c.caller, "endpoints.list", &[], "", "").await.expect("lists");
    page["data"].as_array().expect("rows").clone()
}

#[tokio::test]
async fn a_project_made_with_a_webhook_url_has_its_endpoint_and_shows_the_secret_once() {
    let t = TestPlane::new().await;
    let org = t.organization("o", pulse_core::model::organization::Plan::Enterprise).await;
    let body = json!({ "org_id": org, "name": "p", "webhook_url": URL }).to_string();
    let made = t.send(&operator(), "projects.create", &[], "", &body).await.expect("creates");
    assert!(made["webhook_secret"].as_str().expect("shown once").starts_with("whsec_"));
    assert_eq!(made["webhook_active"], true);
    let query = format!("project_id={}", made["id"].as_str().expect("an id"));
    let list = t.send(&operator(), "endpoints.list", &[], &query, "").await.expect("lists");
    let endpoint = &list["data"][0];
    assert_eq!((&endpoint["url"], &endpoint["of_webhook_url"]), (&json!(URL), &json!(true)));
    let log = t.send(&operator(), "audit.list", &[], "action=projects.create", "").await.expect("lists");
    assert!(log["data"][0]["targets"].to_string().contains(endpoint["id"].as_str().expect("an id")), "{log}");
    assert!(!log.to_string().contains("whsec_"));
}

#[tokio::test]
async fn the_endpoint_follows_the_field() {
    let t = TestPlane::new().await;
    let c = t.customer("a").await;
    assert_eq!(project(&t, &c).await["webhook_active"], false);
    let set = update(&t, &c, json!({ "webhook_url": URL })).await;
    assert!(set["webhook_secret"].as_str().is_some_and(|secret| secret.starts_with("whsec_")));
    assert_eq!(set["webhook_active"], true);
    let first = endpoints(&t, &c).await.remove(0);
    let same = update(&t, &c, json!({ "webhook_url": URL })).await;
    assert_eq!((same.get("webhook_secret"), &same["version"]), (None, &set["version"]), "nothing changed");
    let moved = update(&t, &c, json!({ "webhook_url": "https://new.example/" })).await;
    assert_eq!(moved.get("webhook_secret"), None, "a moved endpoint keeps its secret");
    let list = endpoints(&t, &c).await;
    assert_eq!((list.len(), &list[0]["id"], &list[0]["url"]), (1, &first["id"], &json!("https://new.example/")));
    let cleared = update(&t, &c, json!({ "webhook_url": null })).await;
    assert_eq!((&cleared["webhook_url"], &cleared["webhook_active"]), (&Value::Null, &json!(false)));
    assert_eq!(endpoints(&t, &c).await, [Value::Null; 0]);
}

#[tokio::test]
async fn the_field_follows_the_endpoint() {
    let t = TestPlane::new().await;
    let c = t.customer("a").await;
    update(&t, &c, json!({ "webhook_url": URL })).await;
    let id = endpoints(&t, &c).await[0]["id"].as_str().expect("an id").to_owned();
    let path = [("id", id.as_str())];
    t.send(&c.caller, "endpoints.pause", &path, "", "{}").await.expect("pauses");
    assert_eq!(project(&t, &c).await["webhook_active"], false, "a paused endpoint is not active");
    t.send(&c.caller, "endpoints.resume", &path, "", "{}").await.expect("resumes");
    let body = json!({ "url": "https://new.example/" }).to_string();
    t.send(&c.caller, "endpoints.update", &path, "", &body).await.expect("moves");
    let moved = project(&t, &c).await;
    assert_eq!((&moved["webhook_url"], &moved["webhook_active"]), (&json!("https://new.example/"), &json!(true)));
    let listed = t.send(&operator(), "projects.list", &[], "", "").await.expect("lists");
    assert_eq!(listed["data"][0]["webhook_active"], true);
    t.send(&c.caller, "endpoints.delete", &path, "", "").await.expect("deletes");
    let after = project(&t, &c).await;
    assert_eq!((&after["webhook_url"], &after["webhook_active"]), (&Value::Null, &json!(false)));
}

#[tokio::test]
async fn the_field_takes_no_headers_to_another_server() {
    let t = TestPlane::new().await;
    let c = t.customer("a").await;
    update(&t, &c, json!({ "webhook_url": URL })).await;
    let id = endpoints(&t, &c).await[0]["id"].as_str().expect("an id").to_owned();
    let path = [("id", id.as_str())];
    let body = json!({ "headers": { "authorization": "Bearer of-hooks" } }).to_string();
    t.send(&c.caller, "endpoints.update", &path, "", &body).await.expect("updates");
    let own = c.id().to_string();
    let body = json!({ "webhook_url": "https://evil.example/in" }).to_string();
    let refused = t.send(&operator(), "projects.update", &[("id", &own)], "", &body).await;
    let said = refused.as_ref().expect_err("refuses");
    assert!(said.to_string().contains(&id) && said.hint_text().contains(&id), "{said:?}");
    assert_eq!(bad_fields(refused), ["webhook_url"]);
    assert_eq!(endpoints(&t, &c).await[0]["url"], URL);
    let near = update(&t, &c, json!({ "webhook_url": "https://hooks.example/other" })).await;
    assert_eq!(near["webhook_url"], "https://hooks.example/other");
    let body = json!({ "url": "https://new.example/", "headers": null }).to_string();
    t.send(&c.caller, "endpoints.update", &path, "", &body).await.expect("moves");
    assert_eq!(project(&t, &c).await["webhook_url"], "https://new.example/");
}

#[tokio::test]
async fn a_dry_run_shows_no_secret_and_two_changes_at_once_make_one_endpoint() {
    let t = TestPlane::new().await;
    let c = t.customer("a").await;
    let op: UpdateProject = serde_json::from_value(json!({ "id": c.id(), "webhook_url": URL })).expect("valid");
    let mut call = t.call(&operator());
    call.dry_run = true;
    let Answer::DryRun(dry) = t.plane.execute(&call, &op).await.expect("foretells") else { panic!("it was done") };
    assert_eq!((dry.result.webhook_secret, dry.effects.get("endpoints")), (None, Some(&1)));
    assert_eq!(endpoints(&t, &c).await, [Value::Null; 0]);
    let (a, b) = tokio::join!(
        update(&t, &c, json!({ "webhook_url": "https://a.example/" })),
        update(&t, &c, json!({ "webhook_url": "https://b.example/" }))
    );
    let secrets = [&a, &b].into_iter().filter(|answer| answer.get("webhook_secret").is_some()).count();
    assert_eq!((endpoints(&t, &c).await.len(), secrets), (1, 1));
    assert_eq!(project(&t, &c).await["webhook_url"], endpoints(&t, &c).await[0]["url"]);
}

#[tokio::test]
async fn a_start_gives_projects_of_an_older_version_their_endpoint_once() {
    let t = TestPlane::new().await;
    let (old, other) = (t.customer("old").await, t.customer("other").await);
    let stored = t.plane.parts().projects.get(old.id()).await.expect("reads").expect("is there");
    let mut batch = Batch::new();
    Project { webhook_url: Some(URL.parse().expect("a url")), ..stored }.replace_in(&mut batch).expect("encodes");
    t.store.commit(batch, CommitMode::Apply).await.expect("commits");
    let next = TestPlane::started_over(t.store.clone(), 2).await.expect("starts");
    let list = endpoints(&next, &old).await;
    assert_eq!((list.len(), &list[0]["url"], &list[0]["of_webhook_url"]), (1, &json!(URL), &json!(true)));
    assert_eq!(endpoints(&next, &other).await, [Value::Null; 0]);
    assert_eq!(project(&next, &old).await["webhook_active"], true);
    let id = list[0]["id"].as_str().expect("an id");
    let body = json!({ "project_id": old.id() }).to_string();
    let rotated = next.send(&operator(), "endpoints.rotate_secret", &[("id", id)], "", &body).await.expect("rotates");
    assert!(rotated["secret"].as_str().is_some(), "the way to a secret");
    // Once only: an address without an endpoint that comes later is not looked for again.
    let stored = t.plane.parts().projects.get(other.id()).await.expect("reads").expect("is there");
    let mut batch = Batch::new();
    Project { webhook_url: Some(URL.parse().expect("a url")), ..stored }.replace_in(&mut batch).expect("encodes");
    t.store.commit(batch, CommitMode::Apply).await.expect("commits");
    let third = TestPlane::started_over(t.store.clone(), 3).await.expect("starts");
    assert_eq!(t.store.count(&schema::ENDPOINTS, schema::PRIMARY, &[], 10).await.expect("counts"), 1);
    // To set the same address makes the endpoint that is missing.
    let set = update(&third, &other, json!({ "webhook_url": URL })).await;
    assert!(set["webhook_secret"].as_str().is_some());
    let nobody = third.send(&other.caller, "endpoints.get", &[("id", id)], "", "").await;
    assert_eq!(refused(nobody), Code::NotFound);
}
