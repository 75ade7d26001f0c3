//! The store that fails when a test wants it to does so, and only then.

use std::sync::Arc;

use pulse_core::{
    error::Code,
    store::{
        Batch, CommitMode, SharedStore, Store,
        memory::MemoryStore,
        schema::META,
        testing::faulty::{CallKind, Fault, FaultyStore},
    },
};
use serde_json::json;

const COMMIT: CallKind = CallKind::Commit;

fn store() -> (Arc<FaultyStore>, SharedStore) {
    let inner: SharedStore = Arc::new(MemoryStore::new());
    (Arc::new(FaultyStore::new(inner.clone())), inner)
}

/// Commits a document of that id; the error's code when that fails.
async fn insert(store: &FaultyStore, id: &str) -> Option<Code> {
    let mut batch = Batch::new();
    batch.insert(&META, id, json!({}));
    store.commit(batch, CommitMode::Apply).await.err().map(|error| error.code())
}

async fn is_stored(store: &SharedStore, id: &str) -> bool {
    store.get(&META, id).await.is_ok_and(|found| found.is_some())
}

#[tokio::test]
async fn without_a_plan_it_works_like_the_store_inside() {
    let (faulty, inner) = store();
    assert_eq!(insert(&faulty, "a").await, None);
    assert!(is_stored(&inner, "a").await);
    assert_eq!((faulty.calls(COMMIT), faulty.calls(CallKind::Get)), (1, 0));
    assert_eq!(faulty.info(), inner.info());
}

#[tokio::test]
async fn a_failure_before_the_call_leaves_nothing() {
    let (faulty, inner) = store();
    faulty.plan(Fault::FailBefore { call: COMMIT, nth: 1 });
    assert_eq!(insert(&faulty, "a").await, Some(Code::StoreUnavailable));
    assert!(!is_stored(&inner, "a").await);
    assert_eq!(insert(&faulty, "a").await, None, "the next call works");
}

#[tokio::test]
async fn a_failure_after_the_call_is_committed_all_the_same() {
    let (faulty, inner) = store();
    faulty.plan(Fault::FailAfter { call: COMMIT, nth: 1 });
    assert_eq!(insert(&faulty, "a").await, Some(Code::StoreUnavailable));
    assert!(is_stored(&inner, "a").await);
}

#[tokio::test]
async fn calls_count_from_the_plan_and_by_their_kind() {
    let (faulty, _inner) = store();
    assert_eq!(insert(&faulty, "a").await, None);
    faulty.plan(Fault::FailBefore { call: COMMIT, nth: 2 }).plan(Fault::FailBefore { call: CallKind::Get, nth: 1 });
    assert_eq!(insert(&faulty, "b").await, None);
    assert_eq!(insert(&faulty, "c").await, Some(Code::StoreUnavailable));
    assert_eq!(insert(&faulty, "d").await, None);
    assert!(faulty.get(&META, "a").await.is_err());
    faulty.plan(Fault::FailBefore { call: COMMIT, nth: 1 }).clear();
    assert_eq!(insert(&faulty, "e").await, None, "what was planned is forgotten");
}

#[tokio::test]
async fn a_planned_panic_leaves_the_store_usable() {
    let (faulty, inner) = store();
    faulty.plan(Fault::PanicAt { call: COMMIT, nth: 1 });
    let task = tokio::spawn({
        let faulty = faulty.clone();
        async move { insert(&faulty, "a").await }
    });
    assert!(task.await.expect_err("the task panics").is_panic());
    assert!(!is_stored(&inner, "a").await);
    assert_eq!(insert(&faulty, "a").await, None);
}

#[tokio::test]
async fn a_stalled_call_goes_on_when_it_is_released() {
    let (faulty, inner) = store();
    faulty.plan(Fault::Stall { call: COMMIT, nth: 1 });
    let task = tokio::spawn({
        let faulty = faulty.clone();
        async move { insert(&faulty, "a").await }
    });
    faulty.until_stalled().await;
    assert!(!is_stored(&inner, "a").await);
    assert_eq!(insert(&faulty, "b").await, None, "other calls go on");
    faulty.release();
    assert_eq!(task.await.expect("the task ends"), None);
    assert!(is_stored(&inner, "a").await);
}
