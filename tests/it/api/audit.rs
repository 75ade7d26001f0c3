//! The audit log: an entry with each mutation, in a chain that shows every change to it.

use pulse_core::{
    model::{audit::AuditEntry, organization::Plan},
    store::chain,
};
use pulse_tests::plane::{TestPlane, operator};
use serde_json::{Value, json};

#[tokio::test]
async fn each_mutation_writes_who_did_what_and_what_changed() {
    let t = TestPlane::new().await;
    let id = t.organization("Acme", Plan::Free).await.to_string();
    let body = json!({ "name": "Apex", "plan": "Pro" }).to_string();
    t.send(&operator(), "organizations.update", &[("id", &id)], "", &body).await.expect("updates");
    let page = t.send(&operator(), "audit.list", &[], &format!("org_id={id}&limit=1"), "").await.expect("lists");
    let entry: AuditEntry = serde_json::from_value(page["data"][0].clone()).expect("an entry");
    assert_eq!(
        (entry.action.as_str(), entry.seq, entry.actor.id.as_str()),
        ("organizations.update", 2, "local:tester")
    );
    assert_eq!((entry.context.request_id.as_str(), entry.context.ip.as_deref()), ("req-test", Some("127.0.0.1")));
    let changes = serde_json::to_value(&entry.changes).expect("encodes");
    assert_eq!(
        changes,
        json!([
            { "field": "name", "before": "Acme", "after": "Apex" },
            { "field": "plan", "before": "Free", "after": "Pro" },
        ])
    );
}

#[tokio::test]
async fn the_chain_verifies_and_a_changed_entry_shows() {
    let t = TestPlane::new().await;
    let c = t.customer("a").await;
    for reason in ["one", "two"] {
        let id = c.id().to_string();
        let body = json!({ "reason": reason }).to_string();
        t.send(&operator(), "projects.suspend", &[("id", &id)], "", &body).await.expect("suspends");
    }
    let scan = pulse_core::store::Scan {
        order: pulse_core::store::Order::Ascending,
        ..pulse_core::store::Scan::new(&pulse_core::store::schema::AUDIT, "log_seq", vec![json!(c.org)])
    };
    let mut rows: Vec<Value> = t.store.scan(scan).await.expect("scans").rows.into_iter().map(|row| row.doc).collect();
    let verifies = |rows: &[Value]| {
        let mut prev = chain::GENESIS.to_owned();
        rows.iter().enumerate().all(|(place, row)| {
            let fits = row["seq"] == json!(place + 1)
                && row["prev"] == json!(prev)
                && row["hash"] == json!(chain::chain_hash("pulse-audit-v1", &prev, row));
            prev = row["hash"].as_str().unwrap_or_default().to_owned();
            fits
        })
    };
    assert_eq!(rows.len(), 4);
    assert!(verifies(&rows));
    rows[1]["actor_id"] = json!("somebody else");
    assert!(!verifies(&rows), "a changed entry must show");
}

#[tokio::test]
async fn filters_find_entries() {
    let t = TestPlane::new().await;
    let c = t.customer("a").await;
    let count = async |query: String| {
        t.send(&operator(), "audit.list", &[], &query, "").await.expect("lists")["data"].as_array().map(Vec::len)
    };
    assert_eq!(count(format!("target_id={}", c.id())).await, Some(1));
    assert_eq!(count("action=organizations.*".into()).await, Some(1));
    assert_eq!(count("actor_id=local:tester&outcome=success".into()).await, Some(2));
    assert_eq!(count("actor_id=nobody".into()).await, Some(0));
    let now = t.plane.parts().clock.now();
    assert_eq!(count(format!("since={now}")).await, Some(2));
    assert_eq!(count(format!("until={now}")).await, Some(0));
}
