//! Runs a program on two stores and compares every answer.

use std::fmt::Debug;

use serde_json::{Value, json};

use super::{
    places::{self, Places},
    program::{Change, LISTED, Listing, Step, WRITTEN, pooled},
};
use crate::{
    error::{Code, Result},
    store::{
        Batch, Claim, Collection, CommitMode, Condition, Order, Rows, Scan, SharedStore, Store, Stored, check,
        memory::MemoryStore,
        schema::{AUDIT, JOBS, PRIMARY},
        testing::sample::{far, far_moment, past},
    },
    time::{Clock, SystemClock},
};

const HOUR_MILLIS: u64 = 3_600_000;

/// Runs the program step by step; the first difference is the error.
pub(super) async fn compare(
    program: &[Step],
    store: &SharedStore,
    model: &MemoryStore,
) -> std::result::Result<(), String> {
    for (number, step) in program.iter().enumerate() {
        let compared = match step {
            Step::Commit { writes, check, bump } => commit(writes, *check, *bump, store, model).await,
            Step::List(listing) => list(&scan_of(listing), store, model).await,
            Step::Find { picks } => find(*picks, store, model).await,
            Step::Claim { limit } => claim(*limit, store, model).await,
            Step::Sweep { seconds } => {
                let now = far_moment(*seconds);
                same(&coded(store.sweep(now, 1_000).await), &coded(model.sweep(now, 1_000).await))
            }
        };
        compared.map_err(|difference| format!("step {}: {difference}", number + 1))?;
    }
    for collection in WRITTEN.into_iter().chain([&AUDIT]) {
        let dump = Scan { order: Order::Ascending, ..Scan::new(collection, PRIMARY, Vec::new()) };
        list(&dump, store, model)
            .await
            .map_err(|difference| format!("{} in the end: {difference}", collection.name))?;
    }
    Ok(())
}

fn same<T: PartialEq + Debug>(engine: &T, model: &T) -> std::result::Result<(), String> {
    if engine == model { Ok(()) } else { Err(format!("the engine answers {engine:?}, the memory engine {model:?}")) }
}

/// Errors compare by their code.
fn coded<T>(result: Result<T>) -> std::result::Result<T, Code> {
    result.map_err(|error| error.code())
}

async fn commit(
    changes: &[Change],
    check: bool,
    bump: bool,
    store: &SharedStore,
    model: &MemoryStore,
) -> std::result::Result<(), String> {
    let mut places = Places::of(model).await;
    let writes = changes.iter().map(|change| places.write(change)).collect();
    let batch = Batch { writes, bumps_generation: bump };
    let mode = if check { CommitMode::Check } else { CommitMode::Apply };
    let before = [generation(store.as_ref()).await?, generation(model).await?];
    same(&coded(store.commit(batch.clone(), mode).await), &coded(model.commit(batch, mode).await))?;
    let after = [generation(store.as_ref()).await?, generation(model).await?];
    same(&(after[0] > before[0]), &(after[1] > before[1]))
        .map_err(|difference| format!("whether the generation grew: {difference}"))
}

async fn generation(store: &dyn Store) -> std::result::Result<u64, String> {
    store.generation().await.map_err(|error| format!("no generation: {:?}", error.cause()))
}

fn scan_of(listing: &Listing) -> Scan {
    let (collection, index) = LISTED[usize::from(listing.index) % LISTED.len()];
    let fields = check::index_fields(collection, index).unwrap_or_default();
    let value = |name: &str, pick: u8| collection.field(name).map(|field| pooled(field, pick)).unwrap_or_default();
    let mut prefix = Vec::new();
    for (position, (name, pick)) in fields.iter().zip(listing.prefix).enumerate() {
        if position < listing.fixed || check::prefix(collection, index, &prefix).is_err() {
            prefix.push(value(name, pick));
        }
    }
    let bound = |pick: u8| {
        fields
            .get(prefix.len())
            .map_or_else(|| places::id(usize::from(pick) % places::IDS).into(), |name| value(name, pick))
    };
    let order = if listing.descending { Order::Descending } else { Order::Ascending };
    let filter = listing.filter.iter().filter_map(|(field, pick)| condition(collection, *field, *pick)).collect();
    let (from, to) = (listing.from.map(bound), listing.to.map(bound));
    Scan { prefix, from, to, filter, order, limit: listing.limit, ..Scan::new(collection, index, Vec::new()) }
}

/// A condition on a declared field, or on an undeclared one.
fn condition(collection: &Collection, field: u8, pick: u8) -> Option<Condition> {
    let Some(field) = collection.fields.get(usize::from(field) % (collection.fields.len() + 1)) else {
        return Some(Condition::Eq("extra", if pick.is_multiple_of(2) { Value::Null } else { json!("a.b") }));
    };
    let (name, value) = (field.name, pooled(field, pick));
    match (pick % 4, &value) {
        (0, Value::String(text)) => Some(Condition::Prefix(name, text.chars().take(1).collect())),
        (1, _) => Some(Condition::In(name, vec![value, pooled(field, pick / 4), Value::Null])),
        (2, _) => Some(Condition::Contains(name, value)),
        _ => Some(Condition::Eq(name, value)),
    }
}

/// Compares all pages of a list. Where the pages of a filtered list end is the engine's choice.
async fn list(scan: &Scan, store: &SharedStore, model: &MemoryStore) -> std::result::Result<(), String> {
    let engine = pages(scan, store.as_ref()).await?;
    let model = pages(scan, model).await?;
    let compared = if scan.filter.is_empty() { same(&engine, &model) } else { same(&engine.concat(), &model.concat()) };
    compared.map_err(|difference| format!("{difference}, listing {} by {scan:?}", scan.collection.name))
}

async fn pages(scan: &Scan, store: &dyn Store) -> std::result::Result<Vec<Vec<Stored>>, String> {
    let mut scan = scan.clone();
    let mut pages = Vec::new();
    for _ in 0..1_000 {
        let Rows { rows, next } = store.scan(scan.clone()).await.map_err(|error| format!("{:?}", error.cause()))?;
        if rows.len() > scan.limit {
            return Err(format!("{} rows on a page of {}", rows.len(), scan.limit));
        }
        pages.push(rows.into_iter().map(without_lease).collect());
        match next {
            None => return Ok(pages),
            next => scan.after = next,
        }
    }
    Err(format!("the list of {} does not end", scan.collection.name))
}

async fn find(picks: [u8; 4], store: &SharedStore, model: &MemoryStore) -> std::result::Result<(), String> {
    let unique =
        || WRITTEN.iter().flat_map(|collection| collection.indexes.iter().map(move |index| (*collection, index)));
    let unique: Vec<_> = unique().filter(|(_, index)| index.unique).collect();
    let (collection, index) = unique[usize::from(picks[0]) % unique.len()];
    let fields = index.fields.iter().filter_map(|name| collection.field(name));
    let key: Vec<Value> = fields.zip(&picks[1..]).map(|(field, pick)| pooled(field, *pick)).collect();
    let engine = (
        coded(store.find(collection, index.name, &key).await),
        coded(store.count(collection, index.name, &key[..1], 2).await),
    );
    let model = (
        coded(model.find(collection, index.name, &key).await),
        coded(model.count(collection, index.name, &key[..1], 2).await),
    );
    same(&engine, &model)
}

async fn claim(limit: usize, store: &SharedStore, model: &MemoryStore) -> std::result::Result<(), String> {
    let now = SystemClock::new().now();
    let claim = Claim { collection: &JOBS, limit, lease_millis: HOUR_MILLIS };
    let comparable =
        |jobs: Result<Vec<Stored>>| coded(jobs).map(|jobs| jobs.into_iter().map(without_lease).collect::<Vec<_>>());
    same(&comparable(store.claim(claim.clone(), now).await), &comparable(model.claim(claim, now).await))
}

/// An engine may take the end of a lease from its own clock: it is hidden, as no due time of a program lies near it.
fn without_lease(mut stored: Stored) -> Stored {
    if let Some(due) = stored.doc.get_mut("due_at") {
        let leased = due.as_str().is_some_and(|due| due > past(1_000).as_str() && due < far(-1_000).as_str());
        if leased {
            *due = json!("the end of a lease");
        }
    }
    stored
}
