//! Files, locks, and several processes on one store.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use pulse_core::{
    error::Code,
    store::{
        CommitMode, Store,
        schema::{AUDIT, META, PRIMARY, SCHEMA_VERSION},
        sqlite::{
            SqliteStore,
            locks::{DaemonLock, StoreLock},
            maintenance,
        },
    },
};
use serde_json::json;

use super::{NOW, add, as_child, assert_sound, child, fresh_id, number, open, options, put, record, refusal};

#[tokio::test]
async fn new_files_and_folders_are_the_owners_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("made/here/pulse.db");
    let store = open(&path).await;
    put(&store, |batch| _ = batch.insert(&META, "a", json!({}))).await;
    let backup = folder.path().join("made/backup.db");
    maintenance::backup(&path, &backup, false, NOW, &mut |_, _| ()).unwrap();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(path.parent().unwrap()), 0o700);
    for file in [path.clone(), with(&path, "-wal"), with(&path, ".lock"), backup] {
        assert_eq!(mode(&file), 0o600, "{}", file.display());
    }
}

fn with(path: &Path, suffix: &str) -> PathBuf {
    PathBuf::from(format!("{}{suffix}", path.display()))
}

#[tokio::test]
async fn a_file_that_is_something_else_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let text = folder.path().join("notes.txt");
    std::fs::write(&text, "not a database, but long enough to be looked at\n".repeat(40)).unwrap();
    let before = std::fs::read(&text).unwrap();
    let other = folder.path().join("other.db");
    let tables = "CREATE TABLE mine (a); PRAGMA user_version = 9;";
    rusqlite::Connection::open(&other).unwrap().execute_batch(tables).unwrap();
    for path in [&text, &other] {
        let refused = refusal(SqliteStore::open(options(path)));
        assert_eq!(refused, (Code::Misconfigured, format!("{} is not a Pulse store", path.display())));
    }
    assert_eq!(std::fs::read(&text).unwrap(), before);
    let nowhere = folder.path().join("notes.txt/pulse.db");
    assert_eq!(refusal(SqliteStore::open(options(&nowhere))).0, Code::Misconfigured);
}

#[tokio::test]
async fn a_store_of_a_newer_version_is_refused_with_both_versions() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pulse.db");
    drop(open(&path).await);
    rusqlite::Connection::open(&path).unwrap().pragma_update(None, "user_version", 42).unwrap();
    let expected = format!("the store has version 42, and this Pulse knows versions up to {SCHEMA_VERSION}");
    assert_eq!(refusal(SqliteStore::open(options(&path))), (Code::StoreNewer, expected.clone()));
    assert_eq!(refusal(maintenance::migrate(&path, CommitMode::Apply)), (Code::StoreNewer, expected.clone()));
    assert_eq!(refusal(maintenance::check(&path)), (Code::StoreNewer, expected));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_empty_store_may_be_made_by_several_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = Arc::new(folder.path().join("pulse.db"));
    let openers = (0..8).map(|number| {
        let path = path.clone();
        tokio::spawn(async move {
            let store = tokio::task::spawn_blocking(move || SqliteStore::open(options(&path))).await.unwrap().unwrap();
            store.prepare().await.unwrap();
            put(&store, |batch| _ = batch.insert(&META, number, json!({}))).await;
            store
        })
    });
    let openers: Vec<_> = openers.collect();
    for opener in openers {
        opener.await.unwrap();
    }
    let store = open(&path).await;
    assert_eq!(store.count(&META, PRIMARY, &[], 100).await.unwrap(), 8);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_stores_on_one_file_lose_no_update_and_see_each_others_commits() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pulse.db");
    let stores = [Arc::new(open(&path).await), Arc::new(open(&path).await)];
    put(&stores[0], |batch| _ = batch.insert(&META, "counter", json!({ "n": 0 }))).await;
    let writers = (0..16).map(|number| {
        let store = stores[number % 2].clone();
        tokio::spawn(async move {
            for _ in 0..25 {
                put(&store, |batch| add(batch, "counter", 1)).await;
                put(&store, |batch| _ = batch.append(&AUDIT, "org_1", fresh_id(), record("project.update"))).await;
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
    for store in &stores {
        assert_eq!(number(store, "counter").await, 400);
    }
    let before = stores[1].generation().await.unwrap();
    put(&stores[0], |batch| _ = batch.bump_generation()).await;
    assert_eq!(stores[1].generation().await.unwrap(), before + 1);
    assert_sound(&maintenance::check(&path).unwrap());
}

#[tokio::test]
async fn a_second_daemon_learns_who_the_first_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pulse.db");
    let own = std::process::id();
    let daemon = DaemonLock::acquire(&path).unwrap();
    let refused = refusal(DaemonLock::acquire(&path));
    let expected = format!("pulsed serves the store {} already, as process {own}", path.display());
    assert_eq!(refused, (Code::StoreLocked, expected));
    assert_eq!(DaemonLock::holder(&path), Some(own));
    drop(daemon);
    assert_eq!(DaemonLock::holder(&path), None);
    DaemonLock::acquire(&path).unwrap();
}

#[tokio::test]
async fn migrations_and_restores_need_the_store_for_themselves() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pulse.db");
    let daemon = DaemonLock::acquire(&path).unwrap();
    let store = open(&path).await;
    let backup = folder.path().join("backup.db");
    maintenance::backup(&path, &backup, false, NOW, &mut |_, _| ()).unwrap();
    let (code, message) = refusal(maintenance::migrate(&path, CommitMode::Apply));
    assert_eq!(code, Code::StoreLocked);
    assert!(
        message.ends_with(&format!("is in use by another process (pulsed runs as process {})", std::process::id())),
        "{message}"
    );
    assert_eq!(
        refusal(maintenance::restore(&path, &backup, NOW, CommitMode::Apply, &mut |_, _| ())).0,
        Code::StoreLocked
    );
    drop(store);
    drop(daemon);
    let alone = StoreLock::exclusive(&path).unwrap();
    let expected = format!("the store {} is being migrated or restored", path.display());
    assert_eq!(refusal(SqliteStore::open(options(&path))), (Code::StoreLocked, expected));
    drop(alone);
    let migrated = maintenance::migrate(&path, CommitMode::Apply).unwrap();
    assert_eq!((migrated.from, migrated.to), (SCHEMA_VERSION, SCHEMA_VERSION));
}

/// Holds everything that a process can hold, until it is killed.
async fn hold_all_locks(path: &Path) {
    let _daemon = DaemonLock::acquire(path).unwrap();
    let store = open(path).await;
    put(&store, |batch| _ = batch.insert(&META, "child", json!({}))).await;
    std::io::stdout().write_all(b"\nready\n").unwrap();
    std::thread::park();
}

#[tokio::test]
async fn a_killed_process_leaves_no_lock() {
    if let Some(path) = as_child() {
        return hold_all_locks(&path).await;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pulse.db");
    let mut child = child(module_path!(), "a_killed_process_leaves_no_lock", &path);
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.map_while(Result::ok).any(|line| line == "ready"), "the child did not come up");
    assert_eq!(DaemonLock::holder(&path), Some(child.id()));
    assert_eq!(refusal(StoreLock::exclusive(&path)).0, Code::StoreLocked);
    child.kill().unwrap();
    child.wait().unwrap();
    drop(StoreLock::exclusive(&path).unwrap());
    let _daemon = DaemonLock::acquire(&path).unwrap();
    let store = open(&path).await;
    assert!(store.get(&META, "child").await.unwrap().is_some(), "a commit was lost");
}
