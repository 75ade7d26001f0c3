//! Runs a program on two stores and compares every answer.

use std::fmt::Debug;

use serde_json::{Value, json};

use super::{
    places::Places,
    program::{Change, LISTED, Listing, Step, WRITTEN, pooled},
};
use crate::{
    error::{Code, Result},
    store::{
        Batch, Claim, Collection, CommitMode, Condition, Order, Rows, Scan, SharedStore, Store, Stored, check,
        document,
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
            Step::List(listing) => list_as(listing, store, model).await,
            Step::Find { picks } => find(*picks, store, model).await,
            Step::Claim { limit } => claim(*limit, store, model).await,
            Step::Sweep { seconds } => {
                let now = far_moment(*seconds);
                same(&coded(store.sweep(now, 1_000).await), &coded(model.sweep(now, 1_000).await))
            }
        };
        compared.map_err(|difference| format!("step {}: {difference}", number + 1))?;
    }
    let listed = WRITTEN.into_iter().chain([&AUDIT]).map(|collection| (collection, PRIMARY)).chain(LISTED);
    for (collection, index) in listed {
        let dump = Scan { limit: 3, ..Scan::new(collection, index, Vec::new()) };
        if check::scan(&dump).is_ok() {
            list(&dump, store, model).await.map_err(|difference| format!("in the end: {difference}"))?;
        }
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
    let batch = Batch { writes, bumps_generation: bump, is_patient: false };
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

/// The list that is meant, with values out of the index as it is now.
async fn scan_of(listing: &Listing, model: &MemoryStore) -> Scan {
    let (collection, index) = LISTED[usize::from(listing.index) % LISTED.len()];
    let entries = entries(collection, index, model).await;
    let entry = |pick: u8| entries.get(usize::from(pick) % entries.len().max(1));
    let mut scan = Scan::new(collection, index, Vec::new());
    for (position, value) in entry(listing.at).into_iter().flat_map(|(key, _)| key).enumerate() {
        if position < listing.fixed || check::prefix(collection, index, &scan.prefix).is_err() {
            scan.prefix.push(value.clone());
        }
    }
    let fixed = scan.prefix.len();
    let bound = |pick: Option<u8>| {
        pick.and_then(entry).map(|(key, id)| key.get(fixed).cloned().unwrap_or_else(|| id.as_str().into()))
    };
    (scan.from, scan.to) = (bound(listing.from), bound(listing.to));
    if let (Some(from), Some(to)) = (&scan.from, &scan.to)
        && (from.as_i64(), from.as_str()) > (to.as_i64(), to.as_str())
    {
        std::mem::swap(&mut scan.from, &mut scan.to);
    }
    scan.filter = listing.filter.iter().map(|(field, pick)| condition(collection, *field, *pick)).collect();
    if listing.any && !scan.filter.is_empty() {
        scan.filter = vec![Condition::Any(scan.filter)];
    }
    scan.order = if listing.descending { Order::Descending } else { Order::Ascending };
    scan.limit = listing.limit;
    scan.ids = listing.ids && check::scan(&Scan { ids: true, ..scan.clone() }).is_ok();
    scan
}

/// The keys and ids that stand in an index.
async fn entries(collection: &'static Collection, index: &str, model: &MemoryStore) -> Vec<(Vec<Value>, String)> {
    let everything = Scan { limit: usize::MAX, ..Scan::new(collection, PRIMARY, Vec::new()) };
    let rows = model.scan(everything).await.unwrap_or_default().rows;
    let keys = |doc: &Value| collection.index(index).map_or(vec![vec![]], |index| document::index_keys(index, doc));
    rows.iter().flat_map(|row| keys(&row.doc).into_iter().map(|key| (key, row.id.clone()))).collect()
}

/// A condition on a declared field, or on an undeclared one.
fn condition(collection: &Collection, field: u8, pick: u8) -> Condition {
    let Some(field) = collection.fields.get(usize::from(field) % (collection.fields.len() + 1)) else {
        return Condition::Eq("extra", if pick.is_multiple_of(2) { Value::Null } else { json!("a.b") });
    };
    let (name, value) = (field.name, pooled(field, pick));
    match (pick % 4, &value) {
        (0, Value::String(text)) => Condition::Prefix(name, text.chars().take(1).collect()),
        (1, _) => Condition::In(name, vec![value, pooled(field, pick / 4), Value::Null]),
        (2, _) => Condition::Contains(name, value),
        _ => Condition::Eq(name, value),
    }
}

async fn list_as(listing: &Listing, store: &SharedStore, model: &MemoryStore) -> std::result::Result<(), String> {
    let scan = scan_of(listing, model).await;
    // An index without entries has no list that its prefix could fix.
    if check::scan(&scan).is_ok() { list(&scan, store, model).await } else { Ok(()) }
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
