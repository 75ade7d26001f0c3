//! Backups, restores and checks of a whole store.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use pulse_core::{
    error::Code,
    store::{
        CommitMode, Store,
        schema::{API_KEYS, AUDIT, IDEMPOTENCY, META, PRIMARY, PROJECTS, SCHEMA_VERSION},
        sqlite::maintenance,
        testing::sample,
    },
};
use serde_json::json;

use super::{NOW, add, assert_sound, fresh_id, number, open, put, record, refusal, tamper};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_under_load_restores_to_one_consistent_state() {
    let folder = tempfile::tempdir().unwrap();
    let (path, backup) = (folder.path().join("pulse.db"), folder.path().join("backup.db"));
    let store = Arc::new(open(&path).await);
    put(&store, |batch| _ = batch.insert(&META, "a", json!({ "n": 500 })).insert(&META, "b", json!({ "n": 500 })))
        .await;
    for number in 0..40 {
        put(&store, |batch| {
            _ = batch.insert(&META, format!("ballast_{number}"), json!({ "text": "x".repeat(100_000) }));
        })
        .await;
    }
    let stop = Arc::new(AtomicBool::new(false));
    let writers = (0..4).map(|_| {
        let (store, stop) = (store.clone(), stop.clone());
        tokio::spawn(async move {
            let mut moved = 0;
            while !stop.load(Ordering::Relaxed) {
                put(&store, |batch| {
                    add(batch, "a", -1);
                    add(batch, "b", 1);
                    batch.append(&AUDIT, "org_1", fresh_id(), record("transfer"));
                })
                .await;
                moved += 1;
            }
            moved
        })
    });
    let writers: Vec<_> = writers.collect();
    let mut steps = Vec::new();
    let report = maintenance::backup(&path, &backup, false, NOW, &mut |done, total| steps.push((done, total))).unwrap();
    stop.store(true, Ordering::Relaxed);
    let mut moved: i64 = 0;
    for writer in writers {
        moved += writer.await.unwrap();
    }
    assert!(moved > 0 && number(&store, "b").await == 500 + moved);
    assert!(
        steps.len() > 1 && steps.is_sorted() && steps.last().is_some_and(|(done, total)| done == total),
        "{steps:?}"
    );
    assert_eq!((report.schema_version, report.taken_at), (SCHEMA_VERSION, NOW));
    assert_eq!(report.bytes, std::fs::metadata(&backup).unwrap().len());
    drop(store);
    let restored = maintenance::restore(&path, &backup, NOW, CommitMode::Apply, &mut |_, _| ()).unwrap();
    assert_sound(&maintenance::check(&path).unwrap());
    let after = open(&path).await;
    assert_eq!(number(&after, "a").await + number(&after, "b").await, 1_000, "the backup cut a batch in two");
    let previous = open(&restored.previous.unwrap()).await;
    assert_eq!(number(&previous, "b").await, 500 + moved, "the store from before the restore is not whole");
}

#[tokio::test]
async fn a_backup_overwrites_only_when_asked() {
    let folder = tempfile::tempdir().unwrap();
    let (path, backup) = (folder.path().join("pulse.db"), folder.path().join("backup.db"));
    let store = open(&path).await;
    let run = |overwrite| maintenance::backup(&path, &backup, overwrite, NOW, &mut |_, _| ());
    run(false).unwrap();
    put(&store, |batch| _ = batch.insert(&META, "new", json!({}))).await;
    assert_eq!(refusal(run(false)).0, Code::Conflict);
    run(true).unwrap();
    let itself = maintenance::backup(&path, &path, true, NOW, &mut |_, _| ());
    assert_eq!(refusal(itself).0, Code::Conflict, "a backup would have replaced the store");
    assert!(open(&backup).await.get(&META, "new").await.unwrap().is_some());
    let missing = maintenance::backup(&folder.path().join("no.db"), &backup, true, NOW, &mut |_, _| ());
    assert_eq!(refusal(missing).0, Code::NotFound);
    assert!(!folder.path().join("no.db.lock").exists(), "a look at nothing left files");
}

#[tokio::test]
async fn a_restore_takes_whole_pulse_stores_only() {
    let folder = tempfile::tempdir().unwrap();
    let (path, backup) = (folder.path().join("pulse.db"), folder.path().join("backup.db"));
    let store = open(&path).await;
    for number in 0..200 {
        put(&store, |batch| _ = batch.insert(&META, number, json!({ "text": "x".repeat(1_000) }))).await;
    }
    maintenance::backup(&path, &backup, false, NOW, &mut |_, _| ()).unwrap();
    drop(store);
    let restore = |from: &Path| refusal(maintenance::restore(&path, from, NOW, CommitMode::Apply, &mut |_, _| ()));
    let whole = std::fs::read(&backup).unwrap();
    let mut overwritten = whole.clone();
    let middle = whole.len() / 2;
    overwritten[middle..middle + 8_192].fill(0x5a);
    let damaged = folder.path().join("damaged.db");
    for bytes in [&overwritten, &whole[..middle]] {
        std::fs::write(&damaged, bytes).unwrap();
        assert_eq!(restore(&damaged), (Code::Misconfigured, format!("the backup {} is damaged", damaged.display())));
    }
    std::fs::write(&damaged, "a text that is no store\n".repeat(100)).unwrap();
    assert_eq!(restore(&damaged), (Code::Misconfigured, format!("{} is not a Pulse store", damaged.display())));
    let other = folder.path().join("other.db");
    tamper(&other, "CREATE TABLE mine (a)");
    assert_eq!(restore(&other).0, Code::Misconfigured);
    tamper(&backup, "PRAGMA user_version = 9");
    assert_eq!(restore(&backup).0, Code::StoreNewer);
    assert_eq!(restore(&folder.path().join("missing.db")).0, Code::NotFound);
    let store = open(&path).await;
    assert_eq!(store.count(&META, PRIMARY, &[], 1_000).await.unwrap(), 200, "a refused restore changed the store");
    assert!(!folder.path().join("pulse.db.restore-partial").exists(), "a refused restore left its copy");
}

#[tokio::test]
async fn a_restore_keeps_the_store_of_a_killed_process_and_even_a_broken_one() {
    let folder = tempfile::tempdir().unwrap();
    let (path, backup) = (folder.path().join("pulse.db"), folder.path().join("backup.db"));
    let store = open(&path).await;
    maintenance::backup(&path, &backup, false, NOW, &mut |_, _| ()).unwrap();
    put(&store, |batch| _ = batch.insert(&META, "late", json!({}))).await;
    let killed = folder.path().join("killed.db");
    std::fs::copy(&path, &killed).unwrap();
    std::fs::copy(folder.path().join("pulse.db-wal"), folder.path().join("killed.db-wal")).unwrap();
    let restored = maintenance::restore(&killed, &backup, NOW, CommitMode::Apply, &mut |_, _| ()).unwrap();
    assert!(
        open(&killed).await.get(&META, "late").await.unwrap().is_none(),
        "the old log was applied to the new store"
    );
    let previous = open(&restored.previous.unwrap()).await;
    assert!(previous.get(&META, "late").await.unwrap().is_some(), "what only the log had is lost");
    let broken = folder.path().join("broken.db");
    std::fs::write(&broken, "nothing that could be opened\n".repeat(500)).unwrap();
    std::fs::write(folder.path().join("broken.db-wal"), "nor its log\n").unwrap();
    let restored = maintenance::restore(&broken, &backup, NOW, CommitMode::Apply, &mut |_, _| ()).unwrap();
    assert_sound(&maintenance::check(&broken).unwrap());
    let kept = std::fs::read_to_string(restored.previous.unwrap()).unwrap();
    assert!(kept.starts_with("nothing that could be opened"));
}

/// A store with something in every kind of place.
async fn furnished(path: &Path) {
    let store = open(path).await;
    put(&store, |batch| {
        let mut project = sample::project("org_1", "Shop");
        project["label_pairs"] = json!(["env=prod", "tier=1"]);
        batch.insert(&PROJECTS, "prj_1", project);
        batch.insert(&API_KEYS, "key_1", sample::api_key("prj_1", "pk_1"));
        batch.insert(&IDEMPOTENCY, "idem_1", sample::idempotency(&sample::far(0)));
        for (number, log) in (1..).zip(["org_1", "org_1", "org_2", "org_1", "org_1"]) {
            batch.append(&AUDIT, log, format!("aud_{number}"), record("project.update"));
        }
    })
    .await;
}

#[tokio::test]
async fn a_check_of_a_sound_store_counts_what_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pulse.db");
    furnished(&path).await;
    let report = maintenance::check(&path).unwrap();
    assert_sound(&report);
    assert_eq!((report.schema_version, report.logs), (Some(SCHEMA_VERSION), 2));
    let rows = |name: &str| report.collections.iter().find(|rows| rows.name == name).map(|rows| rows.rows);
    assert_eq!((rows("projects"), rows("audit_logs"), rows("jobs")), (Some(1), Some(5), Some(0)));
}

#[tokio::test]
async fn a_check_names_what_was_tampered_with() {
    let cases = [
        (
            "UPDATE audit_logs SET doc = replace(doc, 'project.update', 'project.delete') WHERE id = 'aud_2'",
            "org_1: record 2 was changed",
        ),
        ("DELETE FROM audit_logs WHERE id = 'aud_2'", "org_1: record 2 is missing: 3 comes instead"),
        ("DELETE FROM audit_logs WHERE id = 'aud_5'", "org_1: the log ends at record 3, and not at 4 as noted"),
        ("DELETE FROM audit_logs WHERE c_log = 'org_2'", "-: 1 logs have lost all of their records"),
        ("UPDATE projects SET c_org_id = 'org_2'", "prj_1: the column of org_id does not agree with the document"),
        ("DELETE FROM projects__label WHERE c_label_pairs = 'tier=1'", r#"prj_1: the index label lacks ["tier=1"]"#),
        (
            "INSERT INTO projects__label VALUES ('env=dev', 'prj_1')",
            "-: the index label has 3 entries, and the documents make 2",
        ),
        (
            "UPDATE api_keys SET doc = 'nonsense'",
            "key_1: api_keys/key_1 does not decode: expected ident at line 1 column 2",
        ),
        ("UPDATE api_keys SET doc = '{}'", "key_1: api_keys.project_id does not have its declared type"),
    ];
    for (sql, expected) in cases {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pulse.db");
        furnished(&path).await;
        tamper(&path, sql);
        let report = maintenance::check(&path).unwrap();
        let found: Vec<String> = report
            .problems
            .iter()
            .map(|problem| format!("{}: {}", problem.id.as_deref().unwrap_or("-"), problem.detail))
            .collect();
        assert!(!report.ok && found.iter().any(|problem| problem == expected), "{sql}\n found: {found:#?}");
    }
}
