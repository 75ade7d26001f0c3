//! The SQLite engine: one file, for one machine, the default.
//!
//! - Every commit is synced to the disk before it is answered (write-ahead log, `synchronous = FULL`).
//! - All writes of a process go through one thread that commits in groups (`writer`); reads run beside it on
//!   connections of their own and see whole commits only.
//! - Several processes may share the file: SQLite's locks order their writes, [`locks`] keeps migrations, restores and a
//!   second daemon away.
//! - What is declared in [`schema`](super::schema) lies in strict tables, with a column for each field that is indexed
//!   (`table`).

mod checkpoint;
mod connection;
pub mod locks;
pub mod maintenance;
mod migrations;
mod precedence;
mod read;
mod select;
mod table;
#[cfg(test)]
mod tests;
mod turns;
mod write;
mod writer;

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use async_trait::async_trait;
use rusqlite::Connection;
use serde_json::Value;

use self::{
    connection::Role, locks::StoreLock, migrations::MIGRATIONS, read::Readers, write::Prepared, writer::Writer,
};
use super::{
    Batch, Claim, Collection, CommitMode, CommitObserver, Outcome, Rows, Scan, Store, StoreInfo, Stored, check,
    schema::SCHEMA_VERSION, timing::Timing,
};
use crate::{
    error::Result,
    time::{Clock, Timestamp},
};

/// How a store is opened.
#[derive(Clone, Debug)]
pub struct SqliteOptions {
    /// The database file. It is made, readable by its owner only, when it is missing; so is its folder.
    pub path: PathBuf,
    /// The most reads at once, at least one.
    pub read_connections: usize,
    /// Times commits for the observer.
    pub clock: Arc<dyn Clock>,
    /// Is told of every commit, on the writer's thread; claims and sweeps share commits, too.
    pub observer: Option<Arc<dyn CommitObserver>>,
}

impl SqliteOptions {
    /// The store at `path`, with four read connections and no observer.
    pub fn new(path: impl Into<PathBuf>, clock: Arc<dyn Clock>) -> Self {
        Self { path: path.into(), read_connections: 4, clock, observer: None }
    }
}

/// A store in one SQLite file. Dropping it waits for what was sent to the writer and closes the file.
#[derive(Debug)]
pub struct SqliteStore {
    // In this order: the writer closes last, so that it can fold the write-ahead log into the database.
    readers: Arc<Readers>,
    writer: Writer,
    path: PathBuf,
    version: AtomicU32,
    lock: Arc<StoreLock>,
}

impl SqliteStore {
    /// Opens the store, makes the file when it is missing, and starts the writer. Takes a few milliseconds of blocking
    /// work. Call [`Store::prepare`] before anything else.
    ///
    /// Errors: `misconfigured` when the path cannot be used or holds something else, `store_locked` during a migration
    /// or a restore by another process, `store_newer`, `store_unavailable`.
    pub fn open(options: SqliteOptions) -> Result<Self> {
        let lock = Arc::new(StoreLock::shared(&options.path)?);
        let conn = connection::open(&options.path, Role::Writer)?;
        let version = migrations::version(&conn)?.into();
        let readers = Readers::new(options.path.clone(), options.read_connections, lock.clone());
        let writer = Writer::start(conn, options.path.clone(), Timing::new(options.clock, options.observer))?;
        Ok(Self { readers, writer, path: options.path, version, lock })
    }
}

#[async_trait]
impl Store for SqliteStore {
    async fn get(&self, collection: &'static Collection, id: &str) -> Result<Option<Stored>> {
        let id = id.to_owned();
        self.readers.run(move |conn| read::get(conn, collection, &id)).await
    }

    async fn find(
        &self,
        collection: &'static Collection,
        index: &'static str,
        key: &[Value],
    ) -> Result<Option<Stored>> {
        check::find(collection, index, key)?;
        let key = key.to_vec();
        self.readers.run(move |conn| read::find(conn, collection, index, key)).await
    }

    async fn scan(&self, scan: Scan) -> Result<Rows> {
        check::scan(&scan)?;
        self.readers.run(move |conn| read::page(conn, &scan)).await
    }

    async fn count(
        &self,
        collection: &'static Collection,
        index: &'static str,
        prefix: &[Value],
        cap: u64,
    ) -> Result<u64> {
        check::prefix(collection, index, prefix)?;
        let scan = Scan::new(collection, index, prefix.to_vec());
        self.readers.run(move |conn| read::count(conn, &scan, cap)).await
    }

    async fn commit(&self, batch: Batch, mode: CommitMode) -> Result<Outcome> {
        check::batch(&batch)?;
        if batch.is_empty() && !batch.bumps_generation {
            return Ok(Outcome::Committed { seqs: Vec::new() });
        }
        let is_patient = batch.is_patient;
        let mut batch = Prepared::new(batch)?;
        let apply = move |conn: &Connection| {
            let outcome = write::apply(conn, &mut batch)?;
            let keep = mode == CommitMode::Apply && matches!(outcome, Outcome::Committed { .. });
            Ok((outcome, keep))
        };
        self.writer.run_in_turn(is_patient, apply).await
    }

    async fn claim(&self, claim: Claim, now: Timestamp) -> Result<Vec<Stored>> {
        let due = check::claim(&claim)?;
        self.writer.run(move |conn| Ok((write::claim(conn, &claim, due, now)?, true))).await
    }

    async fn sweep(&self, now: Timestamp, limit: usize) -> Result<u64> {
        self.writer.run(move |conn| Ok((write::sweep(conn, now, limit)?, true))).await
    }

    async fn generation(&self) -> Result<u64> {
        self.readers.run(read::generation).await
    }

    async fn prepare(&self) -> Result<()> {
        let found = self.version.load(Ordering::Relaxed);
        if found == SCHEMA_VERSION {
            return Ok(());
        }
        let lock = self.lock.clone();
        let migrated = self.writer.run(move |conn| Ok((migrations::migrate(conn, &lock, MIGRATIONS)?, true))).await;
        if found > 0 {
            self.lock.downgrade()?;
        }
        migrated?;
        self.version.store(SCHEMA_VERSION, Ordering::Relaxed);
        Ok(())
    }

    async fn ping(&self) -> Result<()> {
        self.generation().await?;
        self.writer.ping().await
    }

    fn info(&self) -> StoreInfo {
        StoreInfo {
            engine: "sqlite",
            location: self.path.display().to_string(),
            schema_version: self.version.load(Ordering::Relaxed),
        }
    }
}
