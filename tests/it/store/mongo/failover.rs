//! Servers that step down, die, hang and come back under a daemon that goes on.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use mongodb::{
    Client,
    bson::{Document, doc},
    options::ClientOptions,
};
use pulse_core::{
    error::Code,
    store::{
        Batch, CommitMode, Outcome, SharedStore, Store as _, Write,
        mongo::{MongoOptions, MongoStore},
        schema::{AUDIT, KEY_SETS, META},
        testing::sample::{audit, past},
    },
};
use pulse_tests::{
    peers::mongo::Mongo,
    process::{READY, Signal},
};
use serde_json::json;
use tokio::{task::JoinSet, time::Instant};

use super::impatient;

const WRITERS: usize = 8;

async fn prepared(options: MongoOptions) -> SharedStore {
    let store = MongoStore::connect(options).await.expect("the options are valid");
    store.prepare().await.expect("the database can be prepared");
    Arc::new(store)
}

/// Writers that commit without end, and what they were told.
struct Stream {
    writers: JoinSet<Told>,
    stop: Arc<AtomicBool>,
    progress: Arc<Progress>,
}

#[derive(Default)]
struct Progress {
    acknowledged: AtomicUsize,
    unknown: AtomicUsize,
}

#[derive(Default)]
struct Told {
    writer: usize,
    acknowledged: BTreeSet<String>,
    unknown: BTreeSet<String>,
    /// Of the writer's own counter, changed without a transaction.
    counted: u64,
    counted_unknown: u64,
    slowest: Duration,
}

fn increment(id: &str) -> Write {
    Write::Increment { collection: &META, id: id.to_owned(), field: "n", by: 1, min: None, max: None }
}

impl Stream {
    async fn start(store: &SharedStore) -> Self {
        let mut counters = Batch::new();
        counters.insert(&META, "sum", json!({}));
        (0..WRITERS).for_each(|writer| _ = counters.insert(&META, format!("own {writer}"), json!({})));
        store.commit(counters, CommitMode::Apply).await.expect("it commits");
        let (stop, progress) = (Arc::new(AtomicBool::new(false)), Arc::new(Progress::default()));
        let mut writers = JoinSet::new();
        for writer in 0..WRITERS {
            writers.spawn(write(Arc::clone(store), writer, Arc::clone(&stop), Arc::clone(&progress)));
        }
        Self { writers, stop, progress }
    }

    /// Waits until so many more commits are acknowledged.
    async fn more(&self, count: usize) {
        until_more(&self.progress.acknowledged, count).await;
    }

    /// Waits until one more commit is told that the store is away.
    async fn noticed(&self) {
        until_more(&self.progress.unknown, 1).await;
    }

    async fn end(self) -> Vec<Told> {
        self.stop.store(true, Ordering::Relaxed);
        self.writers.join_all().await
    }
}

async fn until_more(counter: &AtomicUsize, count: usize) {
    let goal = counter.load(Ordering::Relaxed) + count;
    let reached = async {
        while counter.load(Ordering::Relaxed) < goal {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), reached).await.expect("the writers go on");
}

/// One writer: a transaction on everybody's sum and everybody's log, then a write alone on its own counter.
async fn write(store: SharedStore, writer: usize, stop: Arc<AtomicBool>, progress: Arc<Progress>) -> Told {
    let mut told = Told { writer, ..Told::default() };
    for number in 0.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let id = format!("{writer}-{number}");
        let mut batch = Batch::new();
        batch.insert(&KEY_SETS, &id, json!({ "project_id": id })).push(increment("sum"));
        batch.append(&AUDIT, "system", &id, audit("test", &past(0)));
        if commit(&store, batch, &mut told.slowest).await {
            told.acknowledged.insert(id);
            progress.acknowledged.fetch_add(1, Ordering::Relaxed);
        } else {
            told.unknown.insert(id);
            progress.unknown.fetch_add(1, Ordering::Relaxed);
        }
        let mut alone = Batch::new();
        alone.push(increment(&format!("own {writer}")));
        match commit(&store, alone, &mut told.slowest).await {
            true => told.counted += 1,
            false => told.counted_unknown += 1,
        }
    }
    told
}

/// Whether the batch was acknowledged. Nothing but success and `store_unavailable` is right: no id is used twice.
async fn commit(store: &SharedStore, batch: Batch, slowest: &mut Duration) -> bool {
    let started = Instant::now();
    let outcome = store.commit(batch, CommitMode::Apply).await;
    *slowest = (*slowest).max(started.elapsed());
    match outcome {
        Ok(Outcome::Committed { .. }) => true,
        Ok(other) => panic!("told {other:?} of its own traces"),
        Err(error) => {
            assert_eq!(error.code(), Code::StoreUnavailable, "{error:?}");
            assert!(error.retry_after_seconds().is_some(), "a client is told when to come back");
            false
        }
    }
}

/// Everything acknowledged is there, nothing is there twice, and the log is dense.
async fn assert_exact(store: &SharedStore, told: &[Told]) {
    let count =
        async |collection, index| store.count(collection, index, &[], u64::MAX).await.expect("it can be counted");
    let there = count(&KEY_SETS, "primary").await;
    let sum = store.get(&META, "sum").await.expect("it can be read").expect("it is there");
    assert_eq!(sum.doc["n"], there, "each batch is wholly there, once");
    assert_eq!(sum.version, there + 1);
    assert_eq!(count(&AUDIT, "log_seq").await, there);
    let mut last = pulse_core::store::Scan::new(&AUDIT, "log_seq", vec![json!("system")]);
    last.limit = 1;
    let last = store.scan(last).await.expect("it can be listed").rows.remove(0);
    assert_eq!(last.doc["seq"], there, "the log is dense");
    let acknowledged: usize = told.iter().map(|told| told.acknowledged.len()).sum();
    let unknown: usize = told.iter().map(|told| told.unknown.len()).sum();
    assert!(
        (acknowledged..=acknowledged + unknown).contains(&usize::try_from(there).expect("few")),
        "{there} are there"
    );
    for told in told {
        let writer = told.writer;
        for id in &told.acknowledged {
            assert!(
                store.get(&KEY_SETS, id).await.expect("it can be read").is_some(),
                "{id} was acknowledged and is lost"
            );
        }
        let own = store.get(&META, &format!("own {writer}")).await.expect("it can be read").expect("it is there");
        let counted = own.doc["n"].as_u64().unwrap_or_default();
        let possible = told.counted..=told.counted + told.counted_unknown;
        assert!(possible.contains(&counted), "writer {writer} counted {counted}, told {possible:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_down_loses_nothing_and_applies_nothing_twice() {
    let mongo = Mongo::start().await;
    let store = prepared(MongoOptions::new(mongo.uri("pulse"))).await;
    let stream = Stream::start(&store).await;
    stream.more(50).await;
    for _ in 0..2 {
        mongo.step_down(1).await;
        stream.more(50).await;
    }
    let told = stream.end().await;
    assert_exact(&store, &told).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_and_a_restart_lose_nothing_and_the_store_recovers() {
    let mut mongo = Mongo::start().await;
    let store = prepared(impatient(&mongo.uri("pulse"))).await;
    let stream = Stream::start(&store).await;
    for _ in 0..2 {
        stream.more(50).await;
        mongo.kill().await;
        let started = Instant::now();
        let down = store.ping().await.expect_err("there is no server");
        assert_eq!(down.code(), Code::StoreUnavailable, "{down:?}");
        assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
        stream.noticed().await;
        mongo.restart().await;
        stream.more(50).await;
        store.ping().await.expect("the server is back");
    }
    let told = stream.end().await;
    let slowest = told.iter().map(|told| told.slowest).max().unwrap_or_default();
    assert!(slowest < Duration::from_secs(6), "a call took {slowest:?}");
    assert_exact(&store, &told).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_hangs_is_unavailable_soon_and_comes_back() {
    let mongo = Mongo::start().await;
    let store = prepared(impatient(&mongo.uri("pulse"))).await;
    mongo.process().signal(Signal::STOP);
    // The signal takes a moment to reach every thread of the server.
    while store.get(&META, "any").await.is_ok() {}
    let started = Instant::now();
    let hung = [store.get(&META, "any").await.err(), store.generation().await.err(), store.ping().await.err()];
    assert!(started.elapsed() < Duration::from_secs(12), "{:?}", started.elapsed());
    mongo.process().signal(Signal::CONT);
    for error in hung {
        let error = error.expect("the server hangs");
        assert_eq!(error.code(), Code::StoreUnavailable, "{error:?}");
    }
    let back = async { while store.get(&META, "any").await.is_err() {} };
    tokio::time::timeout(Duration::from_secs(30), back).await.expect("the server is back");
}

#[tokio::test(flavor = "multi_thread")]
async fn daemons_append_to_one_log_at_once() {
    let database = super::Database::of(Mongo::shared().await).await;
    let mut appenders = JoinSet::new();
    for daemon in 0..4 {
        let store = database.prepared().await;
        for number in 0..16 {
            let store = Arc::clone(&store);
            appenders.spawn(async move {
                let mut batch = Batch::new();
                batch.append(&AUDIT, "system", format!("{daemon}-{number}"), audit("test", &past(0)));
                store.commit(batch, CommitMode::Apply).await
            });
        }
    }
    let mut seqs = BTreeSet::new();
    for outcome in appenders.join_all().await {
        let Ok(Outcome::Committed { seqs: told }) = outcome else { panic!("{outcome:?}") };
        seqs.extend(told);
    }
    assert_eq!(seqs, (1..=64).collect());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_whose_process_stands_still_does_not_keep_its_documents_from_the_others() {
    // With the rights that the documents ask for, and no more.
    let mongo = Mongo::guarded("pulse", "the-password-of-pulse", &["readWrite", "dbAdmin"]).await;
    let uri = mongo.uri("pulse");
    let store = prepared(MongoOptions::new(&uri)).await;
    let mut batch = Batch::new();
    batch.insert(&META, "wanted", json!({}));
    store.commit(batch, CommitMode::Apply).await.expect("commits");

    // As a daemon does that is killed between two statements.
    let mut options = ClientOptions::parse(&uri).await.expect("a connection string");
    options.app_name = Some(MongoOptions::new(&uri).app_name);
    let other = Client::with_options(options).expect("a client");
    let mut session = other.start_session().await.expect("a session");
    session.start_transaction().await.expect("begins");
    let documents = other.default_database().expect("a database").collection::<Document>("meta");
    let change = doc! { "$set": { "stuck": true } };
    documents.update_one(doc! { "_id": "wanted" }, change).session(&mut session).await.expect("locks it");

    let write = async || {
        store.tend().await.expect("tends");
        let batch = Batch { writes: vec![increment("wanted")], ..Batch::new() };
        matches!(store.commit(batch, CommitMode::Apply).await, Ok(Outcome::Committed { .. })).then_some(())
    };
    mongo.process().until("the others can write it", READY, write).await;
    session.commit_transaction().await.expect_err("it was ended");
}
