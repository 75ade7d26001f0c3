//! Organizations: names, versions, deletion and what comes back.

use std::{sync::Arc, time::Duration};

use pulse_core::{
    error::Code,
    model::organization::Plan,
    store::{
        SharedStore,
        testing::faulty::{CallKind, Fault},
    },
    worker,
};
use pulse_tests::plane::{TestPlane, operator};
use serde_json::json;

use super::{bad_fields, refused};

const MONTH: Duration = Duration::from_secs(30 * 86_400);

#[tokio::test]
async fn an_organization_is_created_read_and_changed() {
    let t = TestPlane::new().await;
    let body = json!({ "name": "Acme", "admin_email": "ops@acme.example", "labels": { "tier": "gold" } }).to_string();
    let made = t.send(&operator(), "organizations.create", &[], "", &body).await.expect("creates");
    assert_eq!(made["plan"], "Free", "the default plan");
    assert_eq!(made["version"], 1);
    let id = made["id"].as_str().expect("an id");
    let got = t.send(&operator(), "organizations.get", &[("id", id)], "", "").await.expect("gets");
    assert_eq!(got, made);
    let body = json!({ "plan": "Pro", "labels": null }).to_string();
    let changed = t.send(&operator(), "organizations.update", &[("id", id)], "", &body).await.expect("updates");
    assert_eq!((&changed["name"], &changed["plan"], &changed["labels"]), (&json!("Acme"), &json!("Pro"), &json!({})));
    assert_eq!(changed["version"], 2);
}

#[tokio::test]
async fn names_are_unique_among_the_living_without_regard_to_case() {
    let t = TestPlane::new().await;
    let first = t.organization("Acme", Plan::Free).await;
    let body = json!({ "name": "ACME", "admin_email": "x@y.example" }).to_string();
    assert_eq!(refused(t.send(&operator(), "organizations.create", &[], "", &body).await), Code::NameTaken);
    let id = first.to_string();
    t.send(&operator(), "organizations.delete", &[("id", &id)], "", "").await.expect("deletes");
    t.send(&operator(), "organizations.create", &[], "", &body).await.expect("the name is free again");
    let restored = t.send(&operator(), "organizations.restore", &[("id", &id)], "", "{}").await;
    assert_eq!(refused(restored), Code::NameTaken, "restoring into a taken name");
}

#[tokio::test]
async fn a_stale_version_changes_nothing() {
    let t = TestPlane::new().await;
    let id = t.organization("Acme", Plan::Free).await.to_string();
    let rename = |name: &str, version: u64| json!({ "name": name, "version": version }).to_string();
    t.send(&operator(), "organizations.update", &[("id", &id)], "", &rename("B", 1))
        .await
        .expect("version 1 is current");
    let late = t.send(&operator(), "organizations.update", &[("id", &id)], "", &rename("C", 1)).await;
    assert_eq!(refused(late), Code::VersionMismatch);
    let mut call = t.call(&operator());
    call.if_match = Some(3);
    let op = serde_json::from_value::<pulse_core::ops::organizations::UpdateOrganization>(
        json!({ "id": id, "name": "D", "version": 2 }),
    );
    assert_eq!(bad_fields(t.plane.execute(&call, &op.expect("valid")).await), ["version"]);
    let got = t.send(&operator(), "organizations.get", &[("id", &id)], "", "").await.expect("gets");
    assert_eq!((&got["name"], &got["version"]), (&json!("B"), &json!(2)));
}

#[tokio::test]
async fn all_bad_fields_come_back_at_once_and_nothing_is_written() {
    let t = TestPlane::new().await;
    let body = json!({ "name": "", "admin_email": 7, "plan": "Gold", "colour": "red", "labels": { "Bad Key": "x" } })
        .to_string();
    let mut fields = bad_fields(t.send(&operator(), "organizations.create", &[], "", &body).await);
    fields.sort();
    assert_eq!(fields, ["admin_email", "colour", "labels", "name", "plan"]);
    let list = t.send(&operator(), "organizations.list", &[], "", "").await.expect("lists");
    assert_eq!(list["data"], json!([]));
}

#[tokio::test]
async fn deleting_takes_the_projects_along_and_restoring_brings_back_only_those() {
    let t = TestPlane::new().await;
    let a = t.customer("a").await;
    let b = t.customer_of(a.org, "b").await;
    let org = a.org.to_string();
    let (a_id, b_id) = (a.id().to_string(), b.id().to_string());
    t.send(&operator(), "projects.delete", &[("id", &b_id)], "", "").await.expect("b is deleted on its own");
    let gone = t.send(&operator(), "organizations.delete", &[("id", &org)], "", "").await.expect("deletes");
    assert!(gone["deleted_at"].is_string() && gone["purge_at"].is_string());
    assert_eq!(refused(t.login(&a.secret).await), Code::Unauthenticated, "keys stop at once");
    worker::run_until_idle(&t.pipeline).await.expect("works");
    let project = t.send(&operator(), "projects.get", &[("id", &a_id)], "", "").await.expect("gets");
    assert_eq!(project["state"], "deleted", "the worker has marked it");
    t.send(&operator(), "organizations.restore", &[("id", &org)], "", "{}").await.expect("restores");
    worker::run_until_idle(&t.pipeline).await.expect("works");
    let state = async |id: &str| {
        t.send(&operator(), "projects.get", &[("id", id)], "", "").await.expect("gets")["state"].clone()
    };
    assert_eq!(state(&a_id).await, "active");
    assert_eq!(state(&b_id).await, "deleted", "it was deleted on its own before");
    t.login(&a.secret).await.expect("the key works again");
}

#[tokio::test]
async fn what_nobody_restores_is_purged_children_first_and_the_audit_says_so() {
    let t = TestPlane::new().await;
    let a = t.customer("a").await;
    let org = a.org.to_string();
    t.send(&operator(), "organizations.delete", &[("id", &org)], "", "").await.expect("deletes");
    worker::run_until_idle(&t.pipeline).await.expect("works");
    t.clock.advance(MONTH - Duration::from_secs(1));
    worker::run_until_idle(&t.pipeline).await.expect("works");
    t.send(&operator(), "organizations.get", &[("id", &org)], "", "").await.expect("not before its time");
    t.clock.advance(Duration::from_secs(2));
    let late = t.send(&operator(), "organizations.restore", &[("id", &org)], "", "{}").await;
    assert_eq!(refused(late), Code::Gone);
    worker::run_until_idle(&t.pipeline).await.expect("works");
    assert_eq!(refused(t.send(&operator(), "organizations.get", &[("id", &org)], "", "").await), Code::NotFound);
    let project = a.id().to_string();
    assert_eq!(refused(t.send(&operator(), "projects.get", &[("id", &project)], "", "").await), Code::NotFound);
    let all = t.send(&operator(), "audit.list", &[], &format!("org_id={org}"), "").await.expect("lists");
    let actions: Vec<_> = all["data"].as_array().expect("rows").iter().map(|row| row["action"].clone()).collect();
    assert_eq!(actions[..2], [json!("organizations.purge"), json!("projects.purge")], "newest first: {actions:?}");
}

#[tokio::test]
async fn a_dry_run_tells_what_would_happen_and_does_nothing() {
    let t = TestPlane::new().await;
    let a = t.customer("a").await;
    let mut call = t.call(&operator());
    call.dry_run = true;
    let op = pulse_core::ops::organizations::DeleteOrganization { id: a.org, version: None };
    let pulse_core::plane::Answer::DryRun(dry) = t.plane.execute(&call, &op).await.expect("runs dry") else {
        panic!("the dry run was real")
    };
    assert_eq!(serde_json::to_value(&dry.effects).expect("encodes"), json!({ "keys": 1, "projects": 1 }));
    assert!(dry.result.deleted_at.is_some());
    t.login(&a.secret).await.expect("nothing has happened");
    let create = serde_json::from_value(json!({ "org_id": a.org, "name": "a" })).expect("valid");
    let clash = t.plane.execute::<pulse_core::ops::projects::CreateProject>(&call, &create).await;
    assert_eq!(refused(clash), Code::NameTaken, "a dry run finds what the real one would");
}

#[tokio::test]
async fn a_project_whose_name_was_taken_meanwhile_stays_deleted_and_is_purged_in_its_time() {
    let t = TestPlane::new().await;
    let a = t.customer("a").await;
    let (org, id) = (a.org.to_string(), a.id().to_string());
    t.send(&operator(), "organizations.delete", &[("id", &org)], "", "").await.expect("deletes");
    worker::run_until_idle(&t.pipeline).await.expect("works");
    t.send(&operator(), "organizations.restore", &[("id", &org)], "", "{}").await.expect("restores");
    t.customer_of(a.org, "a").await;
    worker::run_until_idle(&t.pipeline).await.expect("works");
    let left = t.send(&operator(), "projects.get", &[("id", &id)], "", "").await.expect("gets");
    assert_eq!(left["state"], "deleted");
    t.clock.advance(MONTH + Duration::from_secs(1));
    worker::run_until_idle(&t.pipeline).await.expect("works");
    assert_eq!(refused(t.send(&operator(), "projects.get", &[("id", &id)], "", "").await), Code::NotFound);
}

#[tokio::test]
async fn a_restoration_in_the_middle_of_a_purge_ends_it() {
    let (store, t) = TestPlane::over_faulty_store().await;
    // Its clock is behind, as another machine's may be: there the time of the purge has not come.
    let behind = TestPlane::over(Arc::clone(&store) as SharedStore, 2).await.expect("a second plane on the same store");
    let a = t.customer("a").await;
    let id = a.id().to_string();
    t.send(&operator(), "projects.delete", &[("id", &id)], "", "").await.expect("deletes");
    t.advance(MONTH + Duration::from_secs(1)).await;
    // The purge reads the project, and stands before it reads the keys.
    store.plan(Fault::Stall { call: CallKind::Scan, nth: 1 });
    let (done, ()) = tokio::join!(worker::do_jobs(&t.pipeline), async {
        store.until_stalled().await;
        behind.send(&operator(), "projects.restore", &[("id", &id)], "", "{}").await.expect("restores");
        store.release();
    });
    done.expect("the job is put back");
    t.advance(Duration::from_secs(60)).await;
    worker::run_until_idle(&t.pipeline).await.expect("works");
    t.login(&a.secret).await.expect("the project has its key");
}
