//! Safe retries by `Idempotency-Key`.

use std::time::Duration;

use pulse_core::{
    error::Code,
    model::organization::Plan,
    ops::{keys::RotateKey, projects::CreateProject},
    plane::Answer,
    secret::Secret,
    store::{
        schema,
        testing::faulty::{CallKind, Fault},
    },
};
use pulse_tests::plane::{TestPlane, operator};
use serde_json::json;

use super::refused;

fn create(org: pulse_core::id::OrgId, name: &str) -> CreateProject {
    serde_json::from_value(json!({ "org_id": org, "name": name })).expect("valid")
}

#[tokio::test]
async fn the_same_request_gets_the_same_answer_secret_included_for_a_day() {
    let t = TestPlane::new().await;
    let org = t.organization("Acme", Plan::Free).await;
    let mut call = t.call(&operator());
    call.idempotency_key = Some("k-1".into());
    let first = t.plane.execute(&call, &create(org, "p")).await.expect("creates");
    let again = t.plane.execute(&call, &create(org, "p")).await.expect("replays");
    let (Answer::Done { output: first, replayed: false }, Answer::Done { output: again, replayed: true }) =
        (first, again)
    else {
        panic!("the second answer is not the stored one")
    };
    assert_eq!(first, again);
    assert!(again.pulse_api_secret.is_some());
    assert_eq!(refused(t.plane.execute(&call, &create(org, "q")).await), Code::IdempotencyMismatch);
    let rows =
        t.store.scan(pulse_core::store::Scan::new(&schema::IDEMPOTENCY, schema::PRIMARY, vec![])).await.expect("scans");
    let text = rows.rows[0].doc.to_string();
    assert!(!text.contains("pulse_secret_"), "an answer with a secret is stored in the clear: {text}");
    t.clock.advance(Duration::from_secs(24 * 3600));
    let later = t.plane.execute(&call, &create(org, "q")).await.expect("a day later the key is free, swept or not");
    assert!(matches!(later, Answer::Done { replayed: false, .. }));
}

#[tokio::test]
async fn a_race_with_one_key_makes_one_project() {
    let t = TestPlane::new().await;
    let org = t.organization("Acme", Plan::Free).await;
    let mut call = t.call(&operator());
    call.idempotency_key = Some("race".into());
    let tasks: Vec<_> = (0..16)
        .map(|_| {
            let (plane, call) = (t.plane.clone(), call.clone());
            tokio::spawn(async move { plane.execute(&call, &create(org, "p")).await.map(Answer::into_output) })
        })
        .collect();
    let mut ids = std::collections::BTreeSet::new();
    for task in tasks {
        ids.insert(task.await.expect("ends").expect("answers").project.id);
    }
    assert_eq!(ids.len(), 1, "one project for one key: {ids:?}");
}

#[tokio::test]
async fn the_loser_of_a_race_gets_the_winners_answer_even_when_its_own_plan_fails() {
    let (store, t) = TestPlane::over_faulty_store().await;
    let c = t.customer("a").await;
    let id = c.id().to_string();
    let body = json!({ "name": "manager", "scopes": ["keys:write"] }).to_string();
    let key = t.send(&operator(), "keys.create", &[("id", &id)], "", &body).await.expect("creates");
    let op: RotateKey = serde_json::from_value(json!({ "id": id, "key_id": key["id"] })).expect("valid");
    let mut call = t.call(&operator());
    call.idempotency_key = Some("rotate".into());
    let rotate = || {
        let (plane, call, op) = (t.plane.clone(), call.clone(), op.clone());
        async move { plane.execute(&call, &op).await }
    };
    store.plan(Fault::Stall { call: CallKind::Commit, nth: 1 });
    let loser = tokio::spawn(rotate());
    store.until_stalled().await;
    let winner = rotate().await.expect("rotates").into_output();
    store.release();
    let loser = loser.await.expect("ends").expect("the loser is answered as the winner was");
    assert!(matches!(loser, Answer::Done { replayed: true, .. }), "{loser:?}");
    assert_eq!(loser.into_output(), winner, "the secret is not lost");
}

#[tokio::test]
async fn nothing_about_a_requests_secrets_can_be_guessed_from_its_record() {
    let t = TestPlane::new().await;
    let org = t.organization("Acme", Plan::Free).await;
    let mut call = t.call(&operator());
    call.idempotency_key = Some("k".into());
    let op = create(org, "p");
    t.plane.execute(&call, &op).await.expect("creates");
    let rows =
        t.store.scan(pulse_core::store::Scan::new(&schema::IDEMPOTENCY, schema::PRIMARY, vec![])).await.expect("scans");
    let request = serde_json::to_string(&op).expect("encodes");
    let expected = t.plane.parts().keyring.digest(&Secret::new(request)).mac;
    assert_eq!(rows.rows[0].doc["fingerprint"], json!(expected), "the fingerprint is keyed with the pepper");
}

#[tokio::test]
async fn a_failure_is_not_stored_and_two_callers_do_not_share_keys() {
    let t = TestPlane::new().await;
    let c = t.customer("a").await;
    let mut call = t.call(&operator());
    call.idempotency_key = Some("k".into());
    assert_eq!(refused(t.plane.execute(&call, &create(c.org, "a")).await), Code::NameTaken);
    t.plane.execute(&call, &create(c.org, "b")).await.expect("the failure has not taken the key");
    let other =
        pulse_core::access::Caller::Operator(pulse_core::access::OperatorVia::Local { os_user: "other".into() });
    let mut call = t.call(&other);
    call.idempotency_key = Some("k".into());
    t.plane.execute(&call, &create(c.org, "c")).await.expect("another caller's keys are its own");
}
