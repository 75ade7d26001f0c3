//! The SQLite engine: what it promises beyond the conformance suite. Files, processes, faults of the disk, backups.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test says what is wrong by panicking")]

mod faults;
mod maintenance;
mod processes;

use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use pulse_core::{
    error::{Code, Error},
    store::{
        Batch, CommitMode, Outcome, SharedStore, Store, Write,
        schema::META,
        soundness::CheckReport,
        sqlite::{SqliteOptions, SqliteStore},
        testing::{model, sample},
    },
    time::{SystemClock, Timestamp},
};
use serde_json::Value;

pulse_core::store_conformance!(conformance, async || {
    let folder = tempfile::tempdir().unwrap();
    (Arc::new(open(&folder.path().join("pulse.db")).await) as SharedStore, folder)
});

#[test]
fn random_programs_end_as_in_memory() {
    model::assert_like_memory(24, 7, async || {
        let folder = tempfile::tempdir().unwrap();
        (Arc::new(open(&folder.path().join("pulse.db")).await) as SharedStore, folder)
    });
}

const NOW: Timestamp = Timestamp::from_secs(1_770_000_000);

fn options(path: &Path) -> SqliteOptions {
    SqliteOptions::new(path, Arc::new(SystemClock::new()))
}

async fn open(path: &Path) -> SqliteStore {
    let store = SqliteStore::open(options(path)).unwrap();
    store.prepare().await.unwrap();
    store
}

fn refusal<T: std::fmt::Debug>(result: Result<T, Error>) -> (Code, String) {
    let error = result.unwrap_err();
    (error.code(), error.message().to_owned())
}

async fn commit(store: &SqliteStore, fill: impl FnOnce(&mut Batch)) -> Result<Outcome, Error> {
    let mut batch = Batch::new();
    fill(&mut batch);
    store.commit(batch, CommitMode::Apply).await
}

async fn put(store: &SqliteStore, fill: impl FnOnce(&mut Batch)) {
    let outcome = commit(store, fill).await.unwrap();
    assert!(matches!(outcome, Outcome::Committed { .. }), "{outcome:?}");
}

fn add(batch: &mut Batch, id: &str, by: i64) {
    batch.push(Write::Increment { collection: &META, id: id.to_owned(), field: "n", by, min: None, max: None });
}

async fn number(store: &SqliteStore, id: &str) -> i64 {
    store.get(&META, id).await.unwrap().map_or(0, |found| found.doc["n"].as_i64().unwrap())
}

/// An id for a record that no other one has.
fn fresh_id() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!("aud_{:06}", NEXT.fetch_add(1, Ordering::Relaxed))
}

fn record(action: &str) -> Value {
    sample::audit(action, &sample::past(1))
}

fn assert_sound(report: &CheckReport) {
    assert!(report.ok, "{:#?}", report.problems);
}

/// Runs SQL behind the store's back.
fn tamper(path: &Path, sql: &str) {
    rusqlite::Connection::open(path).unwrap().execute_batch(sql).unwrap();
}

/// Runs a test of `module` once more, in a process of its own, where [`as_child`] gives it `path`. Behind a shell that
/// ignores the signal for a file that grows past its limit.
fn child(module: &str, test: &str, path: &Path) -> Child {
    let (_, module) = module.split_once("::").expect("a module of this binary");
    let script = r#"trap "" XFSZ; exec "$0" "$@""#;
    Command::new("sh")
        .args(["-c", script])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", &format!("{module}::{test}"), "--nocapture"])
        .env(CHILD, path)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Names the store to a test that was started by itself.
const CHILD: &str = "PULSE_TEST_STORE";

/// The store of a test that was started by itself as its child; `None` in the test that does so.
#[expect(clippy::disallowed_methods, reason = "the parent names the store in the environment")]
fn as_child() -> Option<PathBuf> {
    std::env::var_os(CHILD).map(PathBuf::from)
}
