//! Queues: what is due is given out to one worker at a time. An engine may take the time from its own clock, so due
//! times here are long ago or far away and `now` is the real time.

use std::{collections::BTreeMap, time::Duration};

use serde_json::json;

use super::steps::{at_once, commit, committed, put, read, stale};
use crate::{
    error::Code,
    store::{
        Claim, SharedStore, Stored,
        schema::{JOBS, META},
        testing::sample::{far, job, past},
    },
    time::{Clock, SystemClock, Timestamp},
};

const HOUR: u64 = 3_600_000;

async fn claim(store: &SharedStore, limit: usize, lease_millis: u64) -> Vec<Stored> {
    let claim = Claim { collection: &JOBS, limit, lease_millis };
    store.claim(claim, SystemClock::new().now()).await.expect("the queue can be claimed from")
}

fn ids(jobs: &[Stored]) -> Vec<&str> {
    jobs.iter().map(|job| job.id.as_str()).collect()
}

pub async fn a_claim_gives_out_what_is_due_earliest_first(store: &SharedStore) {
    for (id, due) in
        [("job_2", past(20)), ("job_4", far(0)), ("job_1", past(30)), ("job_3", past(10)), ("job_0", past(30))]
    {
        put(store, &JOBS, id, job("prj_1", &due)).await;
    }
    assert_eq!(ids(&claim(store, 2, HOUR).await), ["job_3", "job_2"]);
    assert_eq!(ids(&claim(store, 10, HOUR).await), ["job_0", "job_1"]);
    assert_eq!(ids(&claim(store, 10, HOUR).await), [""; 0]);
    assert_eq!(read(store, &JOBS, "job_4").await.version, 1, "what is not due is left alone");
}

pub async fn a_claimed_job_is_out_until_its_lease_ends(store: &SharedStore) {
    put(store, &JOBS, "job_1", job("prj_1", &past(0))).await;
    let before = SystemClock::new().now();
    let claimed = claim(store, 1, HOUR).await;
    assert_eq!(claimed, [read(store, &JOBS, "job_1").await], "a claim gives out what is stored now");
    assert_eq!(claimed[0].version, 2);
    let due: Timestamp = claimed[0].doc["due_at"].as_str().and_then(|due| due.parse().ok()).expect("a time");
    let lease = due.since(before);
    assert!(lease >= Duration::from_mins(59) && lease < Duration::from_mins(61), "the lease ends after {lease:?}");
    let mut expected = job("prj_1", &past(0));
    expected["due_at"] = claimed[0].doc["due_at"].clone();
    assert_eq!(claimed[0].doc, expected, "a claim changes the due time alone");
}

pub async fn a_job_whose_lease_ended_is_due_again(store: &SharedStore) {
    put(store, &JOBS, "job_1", job("prj_1", &past(0))).await;
    assert_eq!(ids(&claim(store, 1, 300).await), ["job_1"]);
    for _ in 0..200 {
        if let [again] = claim(store, 1, HOUR).await.as_slice() {
            assert_eq!(again.version, 3);
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the job did not come back in ten seconds");
}

pub async fn only_the_last_claim_may_finish_a_job(store: &SharedStore) {
    put(store, &JOBS, "job_1", job("prj_1", &past(0))).await;
    put(store, &JOBS, "job_2", job("prj_1", &past(1))).await;
    let claimed = claim(store, 2, HOUR).await;
    assert_eq!(commit(store, |batch| _ = batch.delete(&JOBS, "job_1", 1)).await, stale(&JOBS, "job_1"));
    assert_eq!(commit(store, |batch| _ = batch.delete(&JOBS, "job_1", claimed[0].version)).await, committed());
    let mut later = claimed[1].doc.clone();
    later["due_at"] = json!(past(5));
    later["attempts"] = json!(1);
    assert_eq!(commit(store, |batch| _ = batch.replace(&JOBS, "job_2", claimed[1].version, later)).await, committed());
    let again = claim(store, 2, HOUR).await;
    assert_eq!((ids(&again), again[0].version), (vec!["job_2"], 4), "a replace says when a job is due again");
}

pub async fn two_claims_never_share_a_job(store: &SharedStore) {
    let outcome = commit(store, |batch| {
        (0..60).for_each(|number| _ = batch.insert(&JOBS, format!("job_{number:02}"), job("prj_1", &past(number % 7))));
    });
    assert_eq!(outcome.await, committed());
    let claims = at_once(store, 8, async |store, _| {
        let mut own = Vec::new();
        for _ in 0..60 {
            let claimed = claim(&store, 4, HOUR).await;
            if claimed.is_empty() {
                break;
            }
            own.extend(claimed.into_iter().map(|job| job.id));
        }
        own
    })
    .await;
    let mut times = BTreeMap::new();
    for id in claims.into_iter().flatten() {
        *times.entry(id).or_insert(0) += 1;
    }
    assert_eq!(times.len(), 60, "a job was given to nobody");
    assert!(times.values().all(|count| *count == 1), "a job was given out twice: {times:?}");
}

pub async fn a_claim_of_nothing_or_from_no_queue_gives_nothing(store: &SharedStore) {
    put(store, &JOBS, "job_1", job("prj_1", &past(0))).await;
    assert_eq!(claim(store, 0, HOUR).await, []);
    assert_eq!(read(store, &JOBS, "job_1").await.version, 1);
    let wrong = Claim { collection: &META, limit: 1, lease_millis: HOUR };
    let code = store.claim(wrong, SystemClock::new().now()).await.err().map(|error| error.code());
    assert_eq!(code, Some(Code::Internal), "a claim from what is no queue");
}
