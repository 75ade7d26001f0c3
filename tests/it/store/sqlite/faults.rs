//! Full disks, broken rows, and groups of writes.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use pulse_core::{
    error::Code,
    store::{
        Batch, Claim, CommitObserver, Scan, Store,
        schema::{JOBS, META, PRIMARY},
        sqlite::{SqliteOptions, SqliteStore, maintenance},
        testing::sample,
    },
};
use serde_json::json;

use super::{NOW, as_child, assert_sound, child, commit, fresh_id, open, options, put, tamper};

/// What happens to a process whose files cannot grow any more.
async fn fill_the_disk(path: &Path) {
    use rustix::process::{Resource, Rlimit, setrlimit};
    let store = open(path).await;
    put(&store, |batch| _ = batch.insert(&META, "before", json!({}))).await;
    let limit = |bytes| setrlimit(Resource::Fsize, Rlimit { current: bytes, maximum: None }).unwrap();
    limit(Some(1024 * 1024));
    let large = |batch: &mut Batch| _ = batch.insert(&META, fresh_id(), json!({ "text": "x".repeat(50_000) }));
    let mut kept = 1;
    let refused = loop {
        match commit(&store, large).await {
            Ok(_) => kept += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(refused.code(), Code::StoreUnavailable, "{:?}", refused.cause());
    assert!(kept > 1 && refused.retry_after_seconds().is_some());
    store.ping().await.expect("there is room for something small");
    limit(Some(4_096));
    assert_eq!(commit(&store, large).await.unwrap_err().code(), Code::StoreUnavailable);
    assert_eq!(store.ping().await.unwrap_err().code(), Code::StoreUnavailable);
    assert!(store.get(&META, "before").await.unwrap().is_some(), "reads go on");
    assert_eq!(store.count(&META, PRIMARY, &[], 1_000).await.unwrap(), kept);
    limit(None);
    store.ping().await.unwrap();
    put(&store, large).await;
    assert_eq!(store.count(&META, PRIMARY, &[], 1_000).await.unwrap(), kept + 1);
}

#[tokio::test]
async fn a_full_disk_fails_writes_and_nothing_else() {
    if let Some(path) = as_child() {
        return fill_the_disk(&path).await;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pulse.db");
    let output = child(module_path!(), "a_full_disk_fails_writes_and_nothing_else", &path).wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
    assert_sound(&maintenance::check(&path).unwrap());
}

#[tokio::test]
async fn a_document_that_does_not_decode_is_an_error_and_stands_in_nobodys_way() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pulse.db");
    let store = open(&path).await;
    for (id, second) in [("job_1", 1), ("job_2", 2), ("job_3", 3)] {
        put(&store, |batch| _ = batch.insert(&JOBS, id, sample::job("prj_1", &sample::past(second)))).await;
    }
    tamper(&path, "UPDATE jobs SET doc = '{\"kind\":' WHERE id = 'job_1'");
    assert_eq!(store.get(&JOBS, "job_1").await.unwrap_err().code(), Code::Internal);
    assert_eq!(store.scan(Scan::new(&JOBS, PRIMARY, vec![])).await.unwrap_err().code(), Code::Internal);
    let claimed = store.claim(Claim { collection: &JOBS, limit: 2, lease_millis: 60_000 }, NOW).await.unwrap();
    let again = store.claim(Claim { collection: &JOBS, limit: 2, lease_millis: 60_000 }, NOW).await.unwrap();
    let ids: Vec<_> = claimed.iter().chain(&again).map(|job| job.id.as_str()).collect();
    assert_eq!(ids, ["job_2", "job_3"], "a broken job held up the others");
}

#[derive(Debug, Default)]
struct Counts {
    jobs: AtomicUsize,
    commits: AtomicUsize,
}

impl CommitObserver for Counts {
    fn committed(&self, jobs: usize, seconds: f64) {
        assert!(seconds >= 0.0);
        self.jobs.fetch_add(jobs, Ordering::Relaxed);
        self.commits.fetch_add(1, Ordering::Relaxed);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_at_once_share_commits_and_the_observer_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let counts = Arc::new(Counts::default());
    let path = folder.path().join("pulse.db");
    drop(open(&path).await);
    let store = SqliteStore::open(SqliteOptions { observer: Some(counts.clone()), ..options(&path) }).unwrap();
    let store = Arc::new(store);
    let inserts = (0..300).map(|number| {
        let store = store.clone();
        tokio::spawn(async move { put(&store, |batch| _ = batch.insert(&META, number, json!({}))).await })
    });
    for insert in inserts.collect::<Vec<_>>() {
        insert.await.unwrap();
    }
    let (jobs, commits) = (counts.jobs.load(Ordering::Relaxed), counts.commits.load(Ordering::Relaxed));
    assert_eq!(jobs, 300);
    assert!((1..150).contains(&commits), "300 writes at once took {commits} commits");
    assert_eq!(store.sweep(NOW, 10).await.unwrap(), 0);
    assert_eq!(counts.commits.load(Ordering::Relaxed), commits, "a look that wrote nothing was counted as a commit");
}
