//! The steps that cases are made of. Each fails with what went wrong, for a case has no errors to handle.

use std::future::Future;

use serde_json::Value;
use tokio::task::JoinSet;

use crate::{
    error::Code,
    store::{Batch, Collection, CommitMode, Condition, Outcome, Position, Scan, SharedStore, Stored},
};

/// Commits what `build` adds to an empty batch.
pub(super) async fn commit(store: &SharedStore, build: impl FnOnce(&mut Batch)) -> Outcome {
    run(store, build, CommitMode::Apply).await
}

/// Checks what `build` adds to an empty batch.
pub(super) async fn check(store: &SharedStore, build: impl FnOnce(&mut Batch)) -> Outcome {
    run(store, build, CommitMode::Check).await
}

async fn run(store: &SharedStore, build: impl FnOnce(&mut Batch), mode: CommitMode) -> Outcome {
    let mut batch = Batch::new();
    build(&mut batch);
    store.commit(batch, mode).await.unwrap_or_else(|error| panic!("the batch is refused: {:?}", error.cause()))
}

/// The error code with which the batch is refused.
pub(super) async fn refused(store: &SharedStore, build: impl FnOnce(&mut Batch)) -> Option<Code> {
    let mut batch = Batch::new();
    build(&mut batch);
    store.commit(batch, CommitMode::Apply).await.err().map(|error| error.code())
}

/// Inserts a document that nothing stands in the way of.
pub(super) async fn put(store: &SharedStore, collection: &'static Collection, id: &str, doc: Value) {
    let outcome = commit(store, |batch| _ = batch.insert(collection, id, doc)).await;
    assert_eq!(outcome, committed(), "{}/{id} cannot be inserted", collection.name);
}

/// The document of that id.
pub(super) async fn get(store: &SharedStore, collection: &'static Collection, id: &str) -> Option<Stored> {
    store.get(collection, id).await.expect("the document can be read")
}

/// The document of that id, which is there.
pub(super) async fn read(store: &SharedStore, collection: &'static Collection, id: &str) -> Stored {
    get(store, collection, id).await.unwrap_or_else(|| panic!("{}/{id} is gone", collection.name))
}

/// Applied, with nothing appended.
pub(super) fn committed() -> Outcome {
    appended(&[])
}

/// Applied, with these sequence numbers.
pub(super) fn appended(seqs: &[u64]) -> Outcome {
    Outcome::Committed { seqs: seqs.to_vec() }
}

pub(super) fn stale(collection: &Collection, id: &str) -> Outcome {
    Outcome::Stale { collection: collection.name, id: id.to_owned() }
}

pub(super) fn conflict(collection: &Collection, index: &'static str) -> Outcome {
    Outcome::Conflict { collection: collection.name, index }
}

pub(super) fn out_of_bounds(collection: &Collection, id: &str, field: &'static str) -> Outcome {
    Outcome::OutOfBounds { collection: collection.name, id: id.to_owned(), field }
}

/// The ids of one page, and where the next begins.
pub(super) async fn page(store: &SharedStore, scan: Scan) -> (Vec<String>, Option<Position>) {
    let rows = store.scan(scan).await.expect("the list can be read");
    (rows.rows.into_iter().map(|row| row.id).collect(), rows.next)
}

/// All rows of a list, page by page, and how many pages that took.
pub(super) async fn walk(store: &SharedStore, mut scan: Scan) -> (Vec<Stored>, usize) {
    let mut all = Vec::new();
    for pages in 1..10_000 {
        let page = store.scan(scan.clone()).await.expect("the list can be read");
        assert!(page.rows.len() <= scan.limit, "{} rows on a page of {}", page.rows.len(), scan.limit);
        all.extend(page.rows);
        match page.next {
            None => return (all, pages),
            next => {
                assert_ne!(next, scan.after, "the list of {} stands still", scan.collection.name);
                scan.after = next;
            }
        }
    }
    panic!("the list of {} does not end", scan.collection.name);
}

/// The ids of all rows of a list, over all its pages.
pub(super) async fn ids(store: &SharedStore, scan: Scan) -> Vec<String> {
    walk(store, scan).await.0.into_iter().map(|row| row.id).collect()
}

/// The ids of all documents that meet the condition, in order.
pub(super) async fn matching(
    store: &SharedStore,
    collection: &'static Collection,
    condition: Condition,
) -> Vec<String> {
    let filter = vec![condition];
    ids(store, Scan { filter, order: crate::store::Order::Ascending, ..primary(collection) }).await
}

/// A list of all documents by id.
pub(super) fn primary(collection: &'static Collection) -> Scan {
    Scan::new(collection, crate::store::schema::PRIMARY, Vec::new())
}

/// Runs `count` tasks at once and gives what they answer.
pub(super) async fn at_once<T, F>(store: &SharedStore, count: usize, task: impl Fn(SharedStore, usize) -> F) -> Vec<T>
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    let mut tasks = JoinSet::new();
    for number in 0..count {
        tasks.spawn(task(store.clone(), number));
    }
    tasks.join_all().await
}
