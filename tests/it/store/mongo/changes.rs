//! Hearing of what another process inserts.

use std::time::Duration;

use futures_util::StreamExt as _;
use pulse_core::{
    store::{
        Batch, CommitMode, Inserted, Insertions, Outcome, SharedStore, Stored,
        schema::{AUDIT, META},
        testing::sample::audit,
    },
    time::Timestamp,
};
use pulse_tests::peers::mongo::Mongo;
use serde_json::json;

use super::Database;

/// The longest that a change takes to be told.
const SOON: Duration = Duration::from_secs(20);

async fn next(insertions: &mut Insertions) -> Stored {
    let next = tokio::time::timeout(SOON, insertions.next()).await.expect("something is told");
    next.expect("it goes on").expect("it reads")
}

async fn commit(store: &SharedStore, batch: Batch) {
    let outcome = store.commit(batch, CommitMode::Apply).await.expect("commits");
    assert!(matches!(outcome, Outcome::Committed { .. }), "{outcome:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_process_inserts_is_told_as_it_is_stored_and_nothing_else_is() {
    let database = Database::of(Mongo::shared().await).await;
    let (here, there) = (database.prepared().await, database.store().await);
    let wanted = Inserted { collection: &META, equal: vec![("kind", json!("wanted")), ("absent", json!(null))] };
    let mut insertions = here.inserted(&wanted).await.expect("opens").expect("this engine can tell");
    let mut logs = here
        .inserted(&Inserted { collection: &AUDIT, equal: Vec::new() })
        .await
        .expect("opens")
        .expect("this engine can tell");

    let mut batch = Batch::new();
    batch.insert(&META, "a", json!({ "kind": "wanted", "n": 1 }));
    batch.insert(&META, "b", json!({ "kind": "other", "n": 2 }));
    batch.insert(&META, "c", json!({ "kind": "wanted", "absent": "is there" }));
    batch.append(&AUDIT, "org_1", "aud_1", audit("keys.create", "2026-01-01T00:00:00.000Z"));
    commit(&there, batch).await;
    let mut batch = Batch::new();
    batch.replace(&META, "a", 1, json!({ "kind": "wanted", "n": 3 }));
    commit(&there, batch).await;
    let mut refused = Batch::new();
    refused.insert(&META, "d", json!({ "kind": "wanted" })).require(&META, "a", Some(1));
    assert!(matches!(there.commit(refused, CommitMode::Apply).await, Ok(Outcome::Stale { .. })));
    let mut batch = Batch::new();
    batch.insert(&META, "e", json!({ "kind": "wanted", "absent": null }));
    commit(&there, batch).await;

    let told = next(&mut insertions).await;
    assert_eq!((told.id.as_str(), told.version, &told.doc), ("a", 1, &json!({ "kind": "wanted", "n": 1 })));
    assert_eq!(next(&mut insertions).await.id, "e", "updates, others and what was refused are not told");
    let record = next(&mut logs).await;
    let stored = here.get(&AUDIT, "aud_1").await.expect("reads").expect("it is there");
    assert_eq!(record, stored, "a record comes with its number and its chain");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_time_is_the_servers() {
    let database = Database::of(Mongo::shared().await).await;
    let store = database.prepared().await;
    let own = Timestamp::from_secs(1);
    let now = store.now(own).await.expect("answers");
    assert!(now > Timestamp::from_secs(1_700_000_000), "{now}: that is what the caller's clock says");
    assert!(store.now(own).await.expect("answers") >= now);
}
