//! The memory engine: the specification that the other engines are measured against, and the strictest of them.
//!
//! Everything stands in ordered maps behind one lock, so a batch is isolated because nothing else runs, and all or
//! nothing because what it did is taken back from an undo list. Nothing survives the process: it is for tests and for
//! `--store memory`.

mod key;
mod table;

use std::{collections::BTreeMap, sync::Arc};

use async_trait::async_trait;
use parking_lot::RwLock;
use serde_json::Value;

use self::table::{Change, Table};
use super::{
    Batch, Claim, Collection, CommitMode, CommitObserver, Outcome, Rows, Scan, Store, StoreInfo, Stored, Write, chain,
    check,
    schema::{COLLECTIONS, PRIMARY, SCHEMA_VERSION},
    timing::Timing,
};
use crate::{
    error::{Error, Result},
    time::{Clock, Timestamp},
};

/// A store that lives in this process's memory.
#[derive(Debug)]
pub struct MemoryStore {
    state: RwLock<State>,
    timing: Timing,
}

#[derive(Debug)]
struct State {
    tables: BTreeMap<&'static str, Table>,
    heads: BTreeMap<LogKey, Head>,
    generation: u64,
}

/// The collection and the log.
type LogKey = (&'static str, String);

/// The last record of a log.
#[derive(Clone, Debug)]
struct Head {
    seq: u64,
    hash: String,
}

/// What takes one write back.
#[derive(Debug)]
enum Undo {
    Document { collection: &'static str, id: String, before: Option<Stored> },
    Head { log: LogKey, before: Option<Head> },
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryStore {
    /// An empty store with every declared collection.
    pub fn new() -> Self {
        let tables = COLLECTIONS.iter().map(|collection| (collection.name, Table::new(collection))).collect();
        let state = RwLock::new(State { tables, heads: BTreeMap::new(), generation: 0 });
        Self { state, timing: Timing::default() }
    }

    /// The same, telling the observer of every batch that wrote something.
    #[must_use]
    pub fn observed(self, clock: Arc<dyn Clock>, observer: Arc<dyn CommitObserver>) -> Self {
        Self { timing: Timing::new(clock, Some(observer)), ..self }
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn get(&self, collection: &'static Collection, id: &str) -> Result<Option<Stored>> {
        Ok(self.state.read().table(collection)?.get(id).cloned())
    }

    async fn find(
        &self,
        collection: &'static Collection,
        index: &'static str,
        key: &[Value],
    ) -> Result<Option<Stored>> {
        check::find(collection, index, key)?;
        Ok(self.state.read().table(collection)?.find(index, key).cloned())
    }

    async fn scan(&self, scan: Scan) -> Result<Rows> {
        check::scan(&scan)?;
        Ok(self.state.read().table(scan.collection)?.scan(&scan))
    }

    async fn count(
        &self,
        collection: &'static Collection,
        index: &'static str,
        prefix: &[Value],
        cap: u64,
    ) -> Result<u64> {
        check::prefix(collection, index, prefix)?;
        Ok(self.state.read().table(collection)?.count(index, prefix, cap))
    }

    async fn commit(&self, batch: Batch, mode: CommitMode) -> Result<Outcome> {
        check::batch(&batch)?;
        let begun = self.timing.begin_alone(&batch, mode);
        let outcome = self.state.write().commit(batch, mode)?;
        self.timing.committed_alone(begun, &outcome);
        Ok(outcome)
    }

    async fn claim(&self, claim: Claim, now: Timestamp) -> Result<Vec<Stored>> {
        let due = check::claim(&claim)?;
        self.state.write().claim(&claim, due, now)
    }

    async fn sweep(&self, now: Timestamp, limit: usize) -> Result<u64> {
        Ok(self.state.write().sweep(now, limit))
    }

    async fn generation(&self) -> Result<u64> {
        Ok(self.state.read().generation)
    }

    async fn prepare(&self) -> Result<()> {
        Ok(())
    }

    async fn ping(&self) -> Result<()> {
        Ok(())
    }

    fn info(&self) -> StoreInfo {
        StoreInfo { engine: "memory", location: "this process".to_owned(), schema_version: SCHEMA_VERSION }
    }
}

impl State {
    fn table(&self, collection: &Collection) -> Result<&Table> {
        self.tables.get(collection.name).ok_or_else(|| undeclared(collection))
    }

    fn table_mut(&mut self, collection: &Collection) -> Result<&mut Table> {
        self.tables.get_mut(collection.name).ok_or_else(|| undeclared(collection))
    }

    fn commit(&mut self, batch: Batch, mode: CommitMode) -> Result<Outcome> {
        let bumps = u64::from(batch.bumps_generation);
        let mut undo = Vec::with_capacity(batch.writes.len());
        let result = self.apply(batch, &mut undo);
        if mode == CommitMode::Apply && matches!(result, Ok(Outcome::Committed { .. })) {
            self.generation += bumps;
        } else {
            undo.into_iter().rev().for_each(|step| self.take_back(step));
        }
        result
    }

    /// Applies the writes one after the other until one does not hold.
    fn apply(&mut self, batch: Batch, undo: &mut Vec<Undo>) -> Result<Outcome> {
        let mut seqs = Vec::new();
        for write in batch.writes {
            let failed = match write {
                Write::Insert { collection, id, doc } => self.insert(collection, id, doc, undo)?,
                Write::Replace { collection, id, version, doc } => {
                    self.change(collection, id, Some(version), |_| Ok(Change::To(doc)), undo)?
                }
                Write::Delete { collection, id, version } => self.delete(collection, &id, version, undo)?,
                Write::Increment { collection, id, field, by, min, max } => {
                    let bounds = min.unwrap_or(i64::MIN)..=max.unwrap_or(i64::MAX);
                    let grow = |doc: &Value| table::increment(collection, doc, field, by, bounds);
                    self.change(collection, id, None, grow, undo)?
                }
                Write::Require { collection, id, version } => self.require(collection, id, version)?,
                Write::Append { collection, log, id, record } => {
                    let (seq, failed) = self.append(collection, log, id, record, undo)?;
                    seqs.push(seq);
                    failed
                }
            };
            if let Some(outcome) = failed {
                return Ok(outcome);
            }
        }
        Ok(Outcome::Committed { seqs })
    }

    fn insert(
        &mut self,
        collection: &'static Collection,
        id: String,
        doc: Value,
        undo: &mut Vec<Undo>,
    ) -> Result<Option<Outcome>> {
        let table = self.table_mut(collection)?;
        if table.get(&id).is_some() {
            return Ok(Some(Outcome::Conflict { collection: collection.name, index: PRIMARY }));
        }
        self.put(collection, Stored { id, version: 1, doc }, undo)
    }

    /// Changes the content of a document that has `version`, or any version.
    fn change(
        &mut self,
        collection: &'static Collection,
        id: String,
        version: Option<u64>,
        change: impl FnOnce(&Value) -> Result<Change>,
        undo: &mut Vec<Undo>,
    ) -> Result<Option<Outcome>> {
        let current = self.table(collection)?.get(&id);
        let Some(current) = current.filter(|current| version.is_none_or(|version| version == current.version)) else {
            return Ok(Some(stale(collection, id)));
        };
        let next = current.version + 1;
        match change(&current.doc)? {
            Change::To(doc) => self.put(collection, Stored { id, version: next, doc }, undo),
            Change::OutOfBounds(field) => Ok(Some(Outcome::OutOfBounds { collection: collection.name, id, field })),
        }
    }

    fn delete(
        &mut self,
        collection: &'static Collection,
        id: &str,
        version: u64,
        undo: &mut Vec<Undo>,
    ) -> Result<Option<Outcome>> {
        let table = self.table_mut(collection)?;
        if table.get(id).is_none_or(|current| current.version != version) {
            return Ok(Some(stale(collection, id.to_owned())));
        }
        let before = table.set(id, None);
        undo.push(Undo::Document { collection: collection.name, id: id.to_owned(), before });
        if let Some((log, head)) = self.end_log(collection, id) {
            undo.push(Undo::Head { log, before: Some(head) });
        }
        Ok(None)
    }

    fn require(&self, collection: &'static Collection, id: String, version: Option<u64>) -> Result<Option<Outcome>> {
        let current = self.table(collection)?.get(&id).map(|current| current.version);
        Ok((current != version).then(|| stale(collection, id)))
    }

    fn append(
        &mut self,
        collection: &'static Collection,
        log: String,
        id: String,
        record: Value,
        undo: &mut Vec<Undo>,
    ) -> Result<(u64, Option<Outcome>)> {
        let kind = collection.log.ok_or_else(|| undeclared(collection))?;
        let key: LogKey = (collection.name, log);
        let before = self.heads.get(&key).cloned();
        let (seq, prev) = before.as_ref().map_or((1, chain::GENESIS), |head| (head.seq + 1, head.hash.as_str()));
        let (doc, hash) = chain::link(kind, &key.1, seq, prev, record);
        check::document(collection, &doc)?;
        let failed = self.insert(collection, id, doc, undo)?;
        if failed.is_none() {
            self.heads.insert(key.clone(), Head { seq, hash });
            undo.push(Undo::Head { log: key, before });
        }
        Ok((seq, failed))
    }

    /// Puts a new state of a document in its place, unless a unique index has its key for another one.
    fn put(
        &mut self,
        collection: &'static Collection,
        stored: Stored,
        undo: &mut Vec<Undo>,
    ) -> Result<Option<Outcome>> {
        let table = self.table_mut(collection)?;
        if let Some(index) = table.conflict(&stored) {
            return Ok(Some(Outcome::Conflict { collection: collection.name, index }));
        }
        let id = stored.id.clone();
        let before = table.set(&id, Some(stored));
        undo.push(Undo::Document { collection: collection.name, id, before });
        Ok(None)
    }

    fn take_back(&mut self, step: Undo) {
        match step {
            Undo::Document { collection, id, before } => {
                if let Some(table) = self.tables.get_mut(collection) {
                    table.set(&id, before);
                }
            }
            Undo::Head { log, before: Some(head) } => {
                self.heads.insert(log, head);
            }
            Undo::Head { log, before: None } => {
                self.heads.remove(&log);
            }
        }
    }

    fn claim(&mut self, claim: &Claim, due: &'static str, now: Timestamp) -> Result<Vec<Stored>> {
        let table = self.table_mut(claim.collection)?;
        let until = now.plus(std::time::Duration::from_millis(claim.lease_millis)).to_string();
        let taken = table.until(super::schema::DUE, now, claim.limit);
        Ok(taken.into_iter().filter_map(|id| table.lease(&id, due, &until)).collect())
    }

    fn sweep(&mut self, now: Timestamp, limit: usize) -> u64 {
        let mut removed = 0;
        for collection in COLLECTIONS {
            let Some(table) = self.tables.get_mut(collection.name) else { continue };
            for id in table.expired(now, limit - removed) {
                if let Some(table) = self.tables.get_mut(collection.name) {
                    table.set(&id, None);
                }
                self.end_log(collection, &id);
                removed += 1;
            }
        }
        removed as u64
    }

    /// Forgets the last number of the log that is named after a document that has gone, if there is one.
    fn end_log(&mut self, collection: &Collection, id: &str) -> Option<(LogKey, Head)> {
        let key: LogKey = (collection.logs_of_documents()?.name, id.to_owned());
        self.heads.remove_entry(&key)
    }
}

fn stale(collection: &Collection, id: String) -> Outcome {
    Outcome::Stale { collection: collection.name, id }
}

fn undeclared(collection: &Collection) -> Error {
    Error::internal(format!("{} is not declared", collection.name))
}
