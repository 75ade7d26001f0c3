//! What only shows inside the engine: plans of statements, steps of migrations, faults in the writer's thread.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use futures_util::{
    FutureExt as _,
    future::{join, join_all},
};
use parking_lot::Mutex;
use rusqlite::Connection;
use serde_json::json;
use tokio::{sync::oneshot, task::JoinHandle};

use super::{
    SqliteOptions, SqliteStore,
    checkpoint::FOLD_AT,
    connection::{self, Role},
    locks::StoreLock,
    migrations::{self, Migration},
    select::Select,
    table::has_list,
};
use crate::{
    error::{Code, Error, Result},
    store::{
        Batch, CommitMode, CommitObserver, Order, Outcome, Position, Scan, Store,
        schema::{AUDIT, COLLECTIONS, DELIVERIES, EVENTS, FieldType, META, PRIMARY, SCHEMA_VERSION},
        testing::sample::{audit, event, past},
    },
    time::SystemClock,
};

/// A store in a folder of its own, which goes when the test ends.
struct Temporary {
    store: SqliteStore,
    folder: PathBuf,
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

async fn open(name: &str) -> Temporary {
    open_observed(name, None).await
}

async fn open_observed(name: &str, observer: Option<Arc<dyn CommitObserver>>) -> Temporary {
    let folder = std::env::temp_dir().join(format!("pulse-sqlite-{}-{name}", std::process::id()));
    let options = SqliteOptions::new(folder.join("pulse.db"), Arc::new(SystemClock::new()));
    let store = SqliteStore::open(SqliteOptions { observer, ..options }).unwrap();
    store.prepare().await.unwrap();
    Temporary { store, folder }
}

/// How many jobs of each group wrote something that stayed.
#[derive(Debug, Default)]
struct Groups(Mutex<Vec<usize>>);

impl CommitObserver for Groups {
    fn committed(&self, jobs: usize, _: f64) {
        self.0.lock().push(jobs);
    }
}

/// What SQLite does for a scan.
fn plan(conn: &Connection, scan: &Scan) -> Vec<String> {
    let select = Select::new(scan).unwrap();
    let mut plan = conn.prepare(&format!("EXPLAIN QUERY PLAN {}", select.rows(scan.order, scan.ids))).unwrap();
    let plan = plan.query_map(rusqlite::params_from_iter(&select.params), |row| row.get::<_, String>(3));
    plan.unwrap().map(Result::unwrap).collect()
}

#[tokio::test]
async fn a_list_of_ids_looks_at_no_document() {
    let temporary = open("ids").await;
    let conn = connection::open(&temporary.store.path, Role::Reader).unwrap();
    let scan = Scan::new(&EVENTS, "project", vec![json!("prj_1")]);
    let scan = Scan { from: Some(json!("evt_1")), order: Order::Ascending, ids: true, ..scan };
    let plan = plan(&conn, &scan);
    assert!(plan.len() == 1 && plan[0].starts_with("SEARCH k USING COVERING INDEX"), "{plan:?}");
}

#[tokio::test]
async fn every_list_seeks_in_its_index_and_sorts_nothing() {
    let temporary = open("plans").await;
    let store = &temporary.store;
    let conn = connection::open(&store.path, Role::Reader).unwrap();
    for collection in COLLECTIONS {
        let primary = [(PRIMARY, 0)].into_iter();
        let indexes = collection.indexes.iter().flat_map(|index| {
            let first = if has_list(collection, index) { 1 } else { 0 };
            (first..=index.fields.len()).map(|fixed| (index.name, fixed))
        });
        for (index, fixed) in primary.chain(indexes) {
            let fields = collection.index(index).map_or(&[][..], |index| index.fields);
            let value = |name: &&str| match collection.field(name).map(|field| field.kind) {
                Some(FieldType::Int) => json!(1),
                _ => json!("2026-01-31T12:00:00.000Z"),
            };
            let values: Vec<_> = fields.iter().map(value).collect();
            if fields[fixed..].iter().any(|name| collection.field(name).unwrap().kind == FieldType::TextList) {
                continue;
            }
            for order in [Order::Ascending, Order::Descending] {
                let after = Position { key: values[fixed..].to_vec(), id: "x".to_owned() };
                let scan = Scan { order, after: Some(after), ..Scan::new(collection, index, values[..fixed].to_vec()) };
                let plan = plan(&conn, &scan);
                let name = format!("{}.{index} under {fixed} fields, {order:?}: {plan:?}", collection.name);
                assert!(plan[0].starts_with("SEARCH k"), "{name} does not seek");
                assert!(!plan.iter().any(|step| step.contains("TEMP B-TREE")), "{name} sorts");
            }
        }
    }
}

#[tokio::test]
async fn a_store_keeps_the_size_of_its_pages_and_folds_at_as_many_bytes() {
    let (temporary, folder) = (open("small-pages").await, std::env::temp_dir());
    let of = |path: &Path| {
        let conn = connection::open(path, Role::Writer).unwrap();
        let size: u32 = conn.pragma_query_value(None, "page_size", |row| row.get(0)).unwrap();
        (size, connection::pages(&conn, FOLD_AT).unwrap())
    };
    assert_eq!(of(&temporary.store.path), (2_048, 32_768));

    let older = folder.join(format!("pulse-sqlite-{}-large-pages.db", std::process::id()));
    let conn = Connection::open(&older).unwrap();
    conn.execute_batch("PRAGMA page_size = 4096; PRAGMA journal_mode = WAL;").unwrap();
    assert_eq!(of(&older), (4_096, 16_384));
    drop(conn);
    let _ = std::fs::remove_file(&older);
}

#[test]
fn the_steps_end_at_the_declared_version() {
    assert_eq!(migrations::MIGRATIONS.last().map_or(1, |step| step.version), SCHEMA_VERSION);
}

#[tokio::test]
async fn an_older_store_is_migrated_step_by_step_when_nobody_else_has_it_open() {
    let temporary = open("steps").await;
    let store = &temporary.store;
    let conn = connection::open(&store.path, Role::Writer).unwrap();
    let steps = [
        Migration {
            version: SCHEMA_VERSION + 1,
            sql: "CREATE TABLE second (one INTEGER) STRICT; DROP TABLE key_uses;",
        },
        Migration { version: SCHEMA_VERSION + 2, sql: "ALTER TABLE second ADD COLUMN two INTEGER;" },
    ];
    let other = StoreLock::shared(&store.path).unwrap();
    let migrate = || {
        conn.execute_batch("BEGIN IMMEDIATE").unwrap();
        let migrated = migrations::migrate(&conn, &store.lock, &steps);
        conn.execute_batch(if migrated.is_ok() { "COMMIT" } else { "ROLLBACK" }).unwrap();
        migrated
    };
    assert_eq!(migrate().unwrap_err().code(), Code::StoreLocked);
    drop(other);
    assert_eq!(migrate().unwrap(), SCHEMA_VERSION);
    store.lock.downgrade().unwrap();
    conn.execute("INSERT INTO second (one, two) SELECT count(*), 2 FROM key_uses", []).unwrap();
    assert_eq!(migrate().unwrap(), SCHEMA_VERSION + 2, "a second time there is nothing to do");
    let newer = SqliteStore::open(SqliteOptions::new(&store.path, Arc::new(SystemClock::new()))).unwrap_err();
    assert_eq!(newer.code(), Code::StoreNewer);
    let versions = [format!("version {}", SCHEMA_VERSION + 2), format!("up to {SCHEMA_VERSION}")];
    assert!(versions.iter().all(|version| newer.message().contains(version)), "{}", newer.message());
}

#[tokio::test]
async fn a_panic_in_one_job_rolls_back_that_job_alone() {
    let temporary = Arc::new(open("panic").await);
    let store = &temporary.store;
    let panics = store.writer.run(|conn| -> Result<((), bool)> {
        conn.execute("UPDATE pulse_state SET generation = 77", [])?;
        panic!("on purpose")
    });
    let inserts = (0..20).map(|number| {
        let temporary = temporary.clone();
        tokio::spawn(async move {
            let mut batch = Batch::new();
            batch.insert(&META, number, json!({}));
            temporary.store.commit(batch, CommitMode::Apply).await.map(drop)
        })
    });
    let inserts: Vec<_> = inserts.collect();
    assert_eq!(panics.await.unwrap_err().code(), Code::Internal);
    for insert in inserts {
        insert.await.unwrap().unwrap();
    }
    assert_eq!(store.generation().await.unwrap(), 0, "what the panicking job wrote stayed");
    assert_eq!(store.count(&META, PRIMARY, &[], 100).await.unwrap(), 20);
    store.ping().await.unwrap();
}

/// Keeps the writer busy until it is told to go on.
async fn hold(temporary: &Arc<Temporary>) -> (JoinHandle<Result<()>>, std::sync::mpsc::Sender<()>) {
    let (begun, begins) = oneshot::channel();
    let (release, released) = std::sync::mpsc::channel();
    let temporary = temporary.clone();
    let busy = tokio::spawn(async move {
        let mut begun = Some(begun);
        let hold = move |_: &Connection| {
            let _ = begun.take().map(|begun| begun.send(()));
            let _ = released.recv();
            Ok(((), true))
        };
        temporary.store.writer.run(hold).await
    });
    begins.await.unwrap();
    (busy, release)
}

#[tokio::test]
async fn a_patient_batch_lets_others_be_committed_first() {
    let groups = Arc::new(Groups::default());
    let temporary = Arc::new(open_observed("patient", Some(groups.clone())).await);
    let (busy, release) = hold(&temporary).await;
    let batches = [("a", true), ("b", false), ("c", true), ("d", true), ("e", false)].map(|(name, is_patient)| {
        let mut batch = Batch { is_patient, ..Batch::new() };
        batch.append(&AUDIT, "org_1", format!("aud_{name}"), audit(name, &past(1)));
        temporary.store.commit(batch, CommitMode::Apply)
    });
    let (answers, ()) = join(join_all(batches), async { release.send(()).unwrap() }).await;
    busy.await.unwrap().unwrap();
    let seqs = answers.into_iter().map(|answer| match answer.unwrap() {
        Outcome::Committed { seqs } => seqs[0],
        other => panic!("{other:?}"),
    });
    assert_eq!(seqs.collect::<Vec<_>>(), [3, 1, 4, 5, 2]);
    assert!(groups.0.lock().ends_with(&[2, 3]), "{groups:?}");
}

#[tokio::test]
async fn a_record_of_a_group_that_is_done_again_has_its_new_number_in_its_text_and_its_columns() {
    let temporary = Arc::new(open("again").await);
    let (busy, release) = hold(&temporary).await;
    let of = |name: &str| {
        let mut batch = Batch::new();
        batch.append(&EVENTS, "ses_1", format!("evt_{name}"), event(name));
        batch
    };
    let waiting = [
        temporary.store.commit(of("tried"), CommitMode::Check),
        temporary.store.commit(of("first"), CommitMode::Apply),
        temporary.store.commit(of("second"), CommitMode::Apply),
    ];
    let (answers, ()) = join(join_all(waiting), async { release.send(()).unwrap() }).await;
    busy.await.unwrap().unwrap();
    let seqs = [1, 1, 2].map(|seq| Outcome::Committed { seqs: vec![seq] });
    assert_eq!(answers.into_iter().map(Result::unwrap).collect::<Vec<_>>(), seqs);
    let scan = Scan { order: Order::Ascending, ..Scan::new(&EVENTS, "log_seq", vec![json!("ses_1")]) };
    let found = temporary.store.scan(scan).await.unwrap().rows.into_iter();
    let mut with_number = [event("first"), event("second")];
    for (seq, doc) in (1..).zip(&mut with_number) {
        (doc["log"], doc["seq"]) = (json!("ses_1"), json!(seq));
    }
    assert_eq!(found.map(|row| row.doc).collect::<Vec<_>>(), with_number);
}

#[tokio::test]
async fn of_a_group_stays_what_is_to_stay_and_nothing_else_and_each_job_has_its_own_answer() {
    let groups = Arc::new(Groups::default());
    let temporary = Arc::new(open_observed("group", Some(groups.clone())).await);
    let store = &temporary.store;
    // The writer is busy until all the others wait for it: so they are one group.
    let (busy, release) = hold(&temporary).await;

    let of = |name: &str| {
        let mut batch = Batch::new();
        batch.append(&AUDIT, "org_1", format!("aud_{name}"), audit(name, &past(1))).insert(&META, name, json!({}));
        batch
    };
    let (mut clash, mut stale) = (of("clash"), of("stale"));
    clash.insert(&META, "first", json!({}));
    stale.replace(&META, "first", 7, json!({}));
    let fails = |conn: &Connection| -> Result<(Outcome, bool)> {
        conn.execute("UPDATE pulse_state SET generation = 77", [])?;
        Err(Error::internal("on purpose"))
    };
    let waiting = [
        store.commit(of("first"), CommitMode::Apply),
        store.commit(of("tried"), CommitMode::Check),
        store.commit(of("second"), CommitMode::Apply),
        store.commit(clash, CommitMode::Apply),
        store.writer.run(fails).boxed(),
        store.commit(stale, CommitMode::Apply),
        store.commit(of("third"), CommitMode::Apply),
    ];
    let (answers, ()) = join(join_all(waiting), async { release.send(()).unwrap() }).await;
    busy.await.unwrap().unwrap();

    assert_eq!(groups.0.lock().last(), Some(&3), "they were to be one group");
    let appended = |seq| Ok(Outcome::Committed { seqs: vec![seq] });
    let conflict = Ok(Outcome::Conflict { collection: META.name, index: PRIMARY });
    let outdated = Ok(Outcome::Stale { collection: META.name, id: "first".to_owned() });
    let expected = [appended(1), appended(2), appended(2), conflict, Err(Code::Internal), outdated, appended(3)];
    assert_eq!(answers.into_iter().map(|answer| answer.map_err(|error| error.code())).collect::<Vec<_>>(), expected);
    let rows = async |collection, index, key| {
        let scan = Scan { order: Order::Ascending, ..Scan::new(collection, index, key) };
        store
            .scan(scan)
            .await
            .unwrap()
            .rows
            .into_iter()
            .map(|row| (row.id, row.doc["seq"].as_u64()))
            .collect::<Vec<_>>()
    };
    let kept = ["first", "second", "third"].map(|name| (name.to_owned(), None));
    assert_eq!(rows(&META, PRIMARY, Vec::new()).await, kept);
    let numbered = [("first", 1), ("second", 2), ("third", 3)].map(|(name, seq)| (format!("aud_{name}"), Some(seq)));
    assert_eq!(rows(&AUDIT, "log_seq", vec![json!("org_1")]).await, numbered);
    assert_eq!(store.generation().await.unwrap(), 0, "what the failing job wrote stayed");
}

#[tokio::test]
async fn a_job_that_fails_leaves_no_changes_of_the_schema() {
    let temporary = open("schema").await;
    let store = &temporary.store;
    let half = store.writer.run(|conn| -> Result<((), bool)> {
        conn.execute_batch("CREATE TABLE half (one INTEGER) STRICT")?;
        Err(Error::internal("on purpose"))
    });
    assert_eq!(half.await.unwrap_err().code(), Code::Internal);
    let conn = connection::open(&store.path, Role::Reader).unwrap();
    assert!(conn.prepare("SELECT one FROM half").is_err(), "half a migration stayed");
}

#[tokio::test]
async fn a_replace_writes_the_indexes_of_what_has_changed_and_no_others() {
    let temporary = open("pages").await;
    let store = &temporary.store;
    let delivery = |number: usize, leased: bool| {
        let leased_until = leased.then_some("2026-01-31T12:00:30.000Z");
        json!({
            "project_id": format!("prj_{}", number % 50), "endpoint_id": format!("ep_{}", number % 50),
            "event_id": format!("evt_{number}"), "status": "leased", "prio": 0, "leased_until": leased_until,
            "expires_at": "2026-03-31T12:00:00.000Z",
        })
    };
    let id = |number: usize| format!("dlv_{number:06}");
    for first in (0..2_000).step_by(500) {
        let mut batch = Batch::new();
        for number in first..first + 500 {
            batch.insert(&DELIVERIES, id(number), delivery(number, true));
        }
        store.commit(batch, CommitMode::Apply).await.unwrap();
    }
    let reader = connection::open(&store.path, Role::Reader).unwrap();
    let pages = || {
        let pages = reader.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |row| row.get::<_, i64>(1)).unwrap();
        usize::try_from(pages).unwrap()
    };
    // What is folded whole is begun anew by the next commit.
    pages();
    for number in (1..2_000).step_by(100) {
        let mut batch = Batch::new();
        batch.replace(&DELIVERIES, id(number), 1, delivery(number, false));
        store.commit(batch, CommitMode::Apply).await.unwrap();
    }
    // The row, and its entry among what is leased.
    let written = pages();
    assert!((20..=20 * 3).contains(&written), "{written} pages for 20 rows");
    let leased = store.count(&DELIVERIES, "leased", &[], 100_000).await.unwrap();
    assert_eq!(leased, 2_000 - 20);
}
