//! Reading: the pool of read connections, and the statements for one document, a page and a count.

use std::{path::PathBuf, sync::Arc};

use parking_lot::Mutex;
use rusqlite::{Connection, OptionalExtension as _, Row, params_from_iter};
use serde_json::Value;
use tokio::sync::Semaphore;

use super::{
    connection::{self, Role, signed, unsigned},
    locks::StoreLock,
    select::Select,
    table::table,
};
use crate::{
    error::{Error, Result},
    store::{Collection, Rows, SCAN_BUDGET, Scan, Stored},
};

/// Read connections, opened as they are needed, each used by one read at a time on tokio's threads for blocking work.
#[derive(Debug)]
pub(super) struct Readers {
    idle: Mutex<Vec<Connection>>,
    permits: Arc<Semaphore>,
    path: PathBuf,
    /// Held as long as a connection may be open.
    _lock: Arc<StoreLock>,
}

impl Readers {
    /// A pool of at most `size` connections, and at least one.
    pub(super) fn new(path: PathBuf, size: usize, lock: Arc<StoreLock>) -> Arc<Self> {
        let permits = Arc::new(Semaphore::new(size.max(1)));
        Arc::new(Self { idle: Mutex::default(), permits, path, _lock: lock })
    }

    /// Runs one read. It runs to its end even when the caller goes away.
    pub(super) async fn run<T, F>(self: &Arc<Self>, read: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T> + Send + 'static,
    {
        let permit = self.permits.clone().acquire_owned().await.map_err(Error::internal)?;
        let pool = self.clone();
        let work = move || {
            let idle = pool.idle.lock().pop();
            let conn = idle.map_or_else(|| connection::open(&pool.path, Role::Reader), Ok)?;
            let result = read(&conn);
            pool.idle.lock().push(conn);
            drop(permit);
            result
        };
        tokio::task::spawn_blocking(work).await.map_err(Error::internal)?
    }
}

/// The document of that id.
pub(super) fn get(conn: &Connection, collection: &'static Collection, id: &str) -> Result<Option<Stored>> {
    let mut statement = conn.prepare_cached(&table(collection)?.get)?;
    let found =
        statement.query_row([id], |row| Ok(decode(collection, id, unsigned(row, 0)?, row.get_ref(1)?.as_str()?)));
    found.optional()?.transpose()
}

/// The document that a unique index has under the whole `key`.
pub(super) fn find(
    conn: &Connection,
    collection: &'static Collection,
    index: &'static str,
    key: Vec<Value>,
) -> Result<Option<Stored>> {
    let scan = Scan { limit: 1, ..Scan::new(collection, index, key) };
    Ok(page(conn, &scan)?.rows.pop())
}

/// A page of a list.
pub(super) fn page(conn: &Connection, scan: &Scan) -> Result<Rows> {
    let mut select = Select::new(scan)?;
    let budget = if scan.filter.is_empty() { scan.limit } else { SCAN_BUDGET };
    let sql = format!("{} LIMIT ?", select.rows(scan.order, scan.ids));
    // One more than the page may hold tells whether there is a next one.
    select.params.push(signed(budget as u64 + 1).into());
    let mut statement = conn.prepare_cached(&sql)?;
    let mut cursor = statement.query(params_from_iter(&select.params))?;
    let (mut page, mut seen) = (Rows::default(), 0);
    while let Some(row) = cursor.next()? {
        if page.rows.len() == scan.limit || seen == budget {
            return Ok(page);
        }
        seen += 1;
        let stored = stored(scan.collection, row)?;
        let matches = scan.filter.iter().all(|condition| condition.matches(&stored.doc));
        if seen == budget || page.rows.len() + usize::from(matches) == scan.limit {
            page.next = Some(select.position(&stored));
        }
        if matches {
            page.rows.push(stored);
        }
    }
    page.next = None;
    Ok(page)
}

/// How many entries a scan has, up to `cap`.
pub(super) fn count(conn: &Connection, scan: &Scan, cap: u64) -> Result<u64> {
    let select = Select::new(scan)?;
    // A cap that does not fit becomes -1, which is no limit to SQLite.
    let sql = format!("SELECT count(*) FROM (SELECT 1 {} LIMIT {})", select.source, signed(cap));
    let mut statement = conn.prepare_cached(&sql)?;
    Ok(statement.query_row(params_from_iter(&select.params), |row| unsigned(row, 0))?)
}

/// The counter of batches after which caches are dropped.
pub(super) fn generation(conn: &Connection) -> Result<u64> {
    let mut statement = conn.prepare_cached("SELECT generation FROM pulse_state")?;
    Ok(statement.query_row([], |row| unsigned(row, 0))?)
}

/// A row's document. Errors: `internal` when it is not JSON.
pub(super) fn decode(collection: &Collection, id: &str, version: u64, doc: &str) -> Result<Stored> {
    let broken = |fault| Error::internal(format!("{}/{id} does not decode: {fault}", collection.name));
    Ok(Stored { id: id.to_owned(), version, doc: serde_json::from_str(doc).map_err(broken)? })
}

/// The document of a row of `id, version, doc`.
pub(super) fn stored(collection: &Collection, row: &Row<'_>) -> Result<Stored> {
    let text = |at| Ok::<_, rusqlite::Error>(row.get_ref(at)?.as_str()?);
    decode(collection, text(0)?, unsigned(row, 1)?, text(2)?)
}
