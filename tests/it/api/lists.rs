//! Lists: pages that stay put, filters, cursors that belong to one list.

use pulse_core::{error::Code, model::organization::Plan};
use pulse_tests::plane::{TestPlane, operator};
use serde_json::json;

use super::{bad_fields, refused};

#[tokio::test]
async fn pages_are_newest_first_and_stay_put_while_rows_are_added() {
    let t = TestPlane::new().await;
    for n in 0..5 {
        t.clock.advance(std::time::Duration::from_millis(1));
        t.organization(&format!("org {n}"), Plan::Free).await;
    }
    let first = t.send(&operator(), "organizations.list", &[], "limit=2", "").await.expect("lists");
    let names = |page: &serde_json::Value| {
        page["data"]
            .as_array()
            .expect("rows")
            .iter()
            .map(|row| row["name"].as_str().expect("a name").to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(names(&first), ["org 4", "org 3"]);
    t.clock.advance(std::time::Duration::from_millis(1));
    t.organization("newer", Plan::Free).await;
    let cursor = first["next_cursor"].as_str().expect("a next page").to_owned();
    let second =
        t.send(&operator(), "organizations.list", &[], &format!("limit=3&cursor={cursor}"), "").await.expect("lists");
    assert_eq!(names(&second), ["org 2", "org 1", "org 0"]);
    let other = t.send(&operator(), "organizations.list", &[], &format!("plan=Pro&cursor={cursor}"), "").await;
    assert_eq!(refused(other), Code::BadCursor, "a cursor is bound to its filters");
    let list = t.send(&operator(), "projects.list", &[], &format!("cursor={cursor}"), "").await;
    assert_eq!(refused(list), Code::BadCursor, "and to its list");
    for bad in ["x", "%00", "e30", &"A".repeat(2_000)] {
        let answer = t.send(&operator(), "organizations.list", &[], &format!("cursor={bad}"), "").await;
        assert_eq!(refused(answer), Code::BadCursor, "{bad}");
    }
}

#[tokio::test]
async fn filters_hold_and_bad_ones_are_refused() {
    let t = TestPlane::new().await;
    let org = t.organization("Acme", Plan::Pro).await;
    for (name, region, label) in [("Alpha", "us-east", "x"), ("alpine", "eu-west", "y"), ("beta", "eu-west", "x")] {
        let body = json!({ "org_id": org, "name": name, "region": region, "labels": { "team": label, "env": "prod" } });
        t.send(&operator(), "projects.create", &[], "", &body.to_string()).await.expect("creates");
    }
    let names = async |query: &str| {
        let page = t.send(&operator(), "projects.list", &[], query, "").await.expect("lists");
        let mut names: Vec<String> = page["data"]
            .as_array()
            .expect("rows")
            .iter()
            .map(|row| row["name"].as_str().expect("a name").to_owned())
            .collect();
        names.sort();
        names
    };
    assert_eq!(names("name_prefix=AL").await, ["Alpha", "alpine"]);
    assert_eq!(names("region=eu-west&label=team:x").await, ["beta"]);
    assert_eq!(names(&format!("org_id={org}&label=env:prod&label=team:y")).await, ["alpine"]);
    assert_eq!(names("plan=Pro").await.len(), 3);
    assert_eq!(names("plan=Free").await.len(), 0);
    let bad = t.send(&operator(), "projects.list", &[], "limit=0&label=nocolon&colour=red&limit=5", "").await;
    let mut fields = bad_fields(bad);
    fields.sort();
    fields.dedup();
    assert_eq!(fields, ["colour", "label[0]", "limit"]);
    let too_many = t.send(&operator(), "projects.list", &[], "limit=101", "").await;
    assert_eq!(bad_fields(too_many), ["limit"]);
}

#[tokio::test]
async fn deleted_things_show_only_when_asked_for() {
    let t = TestPlane::new().await;
    let c = t.customer("a").await;
    let id = c.id().to_string();
    t.send(&operator(), "projects.delete", &[("id", &id)], "", "").await.expect("deletes");
    let without = t.send(&operator(), "projects.list", &[], "", "").await.expect("lists");
    let with = t.send(&operator(), "projects.list", &[], "include_deleted=true", "").await.expect("lists");
    assert_eq!((without["data"].as_array().map(Vec::len), with["data"].as_array().map(Vec::len)), (Some(0), Some(1)));
}
