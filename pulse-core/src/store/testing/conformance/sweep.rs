//! Sweeps: what is over goes, nothing else. Expiry lies in the far future here, where no engine's own clock comes.

use serde_json::json;

use super::steps::{commit, get, ids, primary, put};
use crate::{
    store::{
        SharedStore,
        schema::{IDEMPOTENCY, JOBS, META, REVOCATIONS, USAGE_METRICS},
        testing::sample::{far, far_moment, idempotency, job, past, revocation, usage},
    },
    time::Timestamp,
};

async fn sweep(store: &SharedStore, now: Timestamp, limit: usize) -> u64 {
    store.sweep(now, limit).await.expect("the store can be swept")
}

pub async fn a_sweep_removes_what_is_over_and_nothing_else(store: &SharedStore) {
    put(store, &IDEMPOTENCY, "over", idempotency(&far(9))).await;
    put(store, &IDEMPOTENCY, "just over", idempotency(&far(10))).await;
    put(store, &IDEMPOTENCY, "later", idempotency(&far(11))).await;
    put(store, &JOBS, "due", job("prj_1", &past(0))).await;
    put(store, &META, "expires_at", json!({ "expires_at": far(0) })).await;
    assert_eq!(sweep(store, far_moment(8), 100).await, 0);
    assert_eq!(sweep(store, far_moment(10), 100).await, 2);
    assert_eq!(ids(store, primary(&IDEMPOTENCY)).await, ["later"]);
    assert!(get(store, &JOBS, "due").await.is_some() && get(store, &META, "expires_at").await.is_some());
    assert_eq!(sweep(store, far_moment(10), 100).await, 0);
}

pub async fn a_sweep_leaves_what_never_ends(store: &SharedStore) {
    let mut null = usage("prj_1", "minutes", &past(0), 1);
    null["expires_at"] = json!(null);
    let mut sealed = usage("prj_1", "minutes", &past(1), 1);
    sealed["expires_at"] = json!(far(1));
    put(store, &USAGE_METRICS, "absent", usage("prj_1", "minutes", &past(2), 1)).await;
    put(store, &USAGE_METRICS, "null", null).await;
    put(store, &USAGE_METRICS, "sealed", sealed).await;
    assert_eq!(sweep(store, Timestamp::MAX, 100).await, 1);
    assert_eq!(ids(store, primary(&USAGE_METRICS)).await, ["null", "absent"]);
}

pub async fn a_sweep_removes_no_more_than_its_limit(store: &SharedStore) {
    for number in 0..3 {
        put(store, &IDEMPOTENCY, &format!("a{number}"), idempotency(&far(number))).await;
        put(store, &REVOCATIONS, &format!("b{number}"), revocation("prj_1", &number.to_string(), &far(number))).await;
    }
    assert_eq!(sweep(store, far_moment(100), 0).await, 0);
    assert_eq!(sweep(store, far_moment(100), 4).await, 4, "the limit is over all collections");
    let left = ids(store, primary(&IDEMPOTENCY)).await.len() + ids(store, primary(&REVOCATIONS)).await.len();
    assert_eq!(left, 2);
    assert_eq!(sweep(store, far_moment(100), 4).await, 2);
}

pub async fn what_was_swept_is_gone_from_its_indexes(store: &SharedStore) {
    put(store, &REVOCATIONS, "rev_1", revocation("prj_1", "user", &far(0))).await;
    assert_eq!(sweep(store, far_moment(1), 100).await, 1);
    let key = [json!("prj_1"), json!("user")];
    assert_eq!(store.find(&REVOCATIONS, "subject", &key).await.expect("the index can be read"), None);
    put(store, &REVOCATIONS, "rev_2", revocation("prj_1", "user", &far(0))).await;
}

pub async fn an_expiry_that_was_moved_counts_as_it_is_now(store: &SharedStore) {
    put(store, &IDEMPOTENCY, "key", idempotency(&far(1))).await;
    commit(store, |batch| _ = batch.replace(&IDEMPOTENCY, "key", 1, idempotency(&far(50)))).await;
    assert_eq!(sweep(store, far_moment(10), 100).await, 0);
    commit(store, |batch| _ = batch.replace(&IDEMPOTENCY, "key", 2, idempotency(&far(5)))).await;
    assert_eq!(sweep(store, far_moment(10), 100).await, 1);
}
