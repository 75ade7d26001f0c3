//! The memory engine: the whole conformance suite, and what it does with the time that it is given, to the millisecond.

use std::{sync::Arc, time::Duration};

use pulse_core::{
    store::{
        Batch, Claim, CommitMode, SharedStore, Store,
        memory::MemoryStore,
        schema::JOBS,
        testing::{
            model,
            sample::{far, far_moment, job},
        },
    },
    time::Timestamp,
};

pulse_core::store_conformance!(conformance, async || (Arc::new(MemoryStore::new()) as SharedStore, ()));

#[test]
fn random_programs_end_as_in_another_memory() {
    model::assert_like_memory(64, 1, async || (Arc::new(MemoryStore::new()) as SharedStore, ()));
}

const MILLISECOND: Duration = Duration::from_millis(1);

async fn with_a_job_due_at(due: &str) -> MemoryStore {
    let store = MemoryStore::new();
    let mut batch = Batch::new();
    batch.insert(&JOBS, "job_1", job("prj_1", due));
    assert!(store.commit(batch, CommitMode::Apply).await.is_ok());
    store
}

/// The version with which the one job is given out, if it is.
async fn claim(store: &MemoryStore, now: Timestamp) -> Option<u64> {
    let claim = Claim { collection: &JOBS, limit: 1, lease_millis: 5_000 };
    store.claim(claim, now).await.ok().and_then(|jobs| jobs.first().map(|job| job.version))
}

#[tokio::test]
async fn a_job_is_due_at_its_time_and_not_a_millisecond_before() {
    let store = with_a_job_due_at(&far(10)).await;
    assert_eq!(claim(&store, far_moment(10).minus(MILLISECOND)).await, None);
    assert_eq!(claim(&store, far_moment(10)).await, Some(2));
}

#[tokio::test]
async fn a_lease_counts_from_the_claim_and_ends_at_its_last_millisecond() {
    let store = with_a_job_due_at(&far(0)).await;
    assert_eq!(claim(&store, far_moment(100)).await, Some(2));
    assert_eq!(claim(&store, far_moment(105).minus(MILLISECOND)).await, None);
    assert_eq!(claim(&store, far_moment(105)).await, Some(3));
}
