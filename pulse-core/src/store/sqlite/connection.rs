//! Connections to the database file, their settings, and what its errors mean.

use std::{path::Path, time::Duration};

use rusqlite::{Connection, ErrorCode, OpenFlags, Row, config::DbConfig, ffi};

use super::{checkpoint::FOLD_AT, locks};
use crate::error::{Code, Error, Result};

/// Marks a SQLite file as a Pulse store: `PULS` in ASCII.
const APPLICATION_ID: i32 = 0x5055_4C53;

/// The size of a page of a new store, in bytes: half of SQLite's own. An event changes some fifteen pages, each in another
/// place, so smaller ones leave less to write; still smaller ones make trees deeper, which costs more than it saves
/// (`docs/DECISIONS.md`). A store keeps the size that it was made with.
const PAGE: u32 = 2_048;

/// To how many bytes the log's file is cut when it is begun anew: twice what it is folded at, which it has under a load. To let
/// it grow anew costs each commit more than to write over it.
const LOG_KEPT: u32 = FOLD_AT * 2;

/// A pause of the busy handler, and how many of them make up 15 s with the cost of waking. The pause is fixed because
/// SQLite's own handler backs off: beside a saturated writer it let a second process wait for 2.2 s, this one for 24 ms.
const BUSY_PAUSE: Duration = Duration::from_micros(500);
const BUSY_PAUSES: i32 = 27_000;

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// The one that writes; makes the file when it is missing.
    Writer,
    /// One of those that only read.
    Reader,
}

/// Opens a connection; the writer's also checks that the file is a Pulse store or empty. Does not look at the schema's
/// version.
pub(super) fn open(path: &Path, role: Role) -> Result<Connection> {
    // A file that is there is not opened by hand: closing it would drop SQLite's own locks on it in this process.
    if role == Role::Writer && !path.exists() {
        locks::open_private(path)?;
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut conn = Connection::open_with_flags(path, flags)?;
    let ours = configure(&mut conn, role).and_then(|()| Ok(role == Role::Reader || adopt(&conn)?));
    match ours {
        Ok(true) => Ok(conn),
        Err(fault) if fault.sqlite_error_code() != Some(ErrorCode::NotADatabase) => Err(fault.into()),
        _ => Err(foreign(path)),
    }
}

fn configure(conn: &mut Connection, role: Role) -> rusqlite::Result<()> {
    conn.busy_handler(Some(|count| {
        std::thread::sleep(BUSY_PAUSE);
        count < BUSY_PAUSES
    }))?;
    conn.set_prepared_statement_cache_capacity(128);
    // Otherwise a statement on a table with a partial index is prepared anew whenever another value is bound: values might
    // tell whether the index has all rows. Whether it does is said by the statements themselves.
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    // Caches in KiB, filled as they are used. What most groups change fits into the writer's; a larger one is written in
    // part before it is committed. Each commit that has split a page looks at the whole cache, which was a tenth of the
    // writer's time with 32 MiB. The readers' are small because there are several.
    let (cache, query_only) = if role == Role::Writer { (4_096, "OFF") } else { (512, "ON") };
    conn.execute_batch(&format!(
        "PRAGMA foreign_keys = OFF; PRAGMA temp_store = MEMORY; PRAGMA synchronous = FULL; PRAGMA trusted_schema = OFF;
         PRAGMA cache_size = -{cache}; PRAGMA query_only = {query_only}; PRAGMA journal_size_limit = {LOG_KEPT};"
    ))
}

/// Switches a store to write-ahead logging, which the file remembers, unless the file is something else.
fn adopt(conn: &Connection) -> rusqlite::Result<bool> {
    // Read in this order, because another process may make the store in between, with the mark and all tables at once.
    let empty = conn.query_row("SELECT count(*) = 0 FROM sqlite_schema", [], |row| row.get::<_, bool>(0))?;
    if !empty && !is_marked(conn)? {
        return Ok(false);
    }
    if empty {
        conn.pragma_update(None, "page_size", PAGE)?;
    }
    // Of two processes that make the same store, SQLite tells the second that it is busy without asking the handler.
    let mut tries = 0;
    loop {
        match conn.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(true)) {
            Err(fault) if fault.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) && tries < 1_000 => tries += 1,
            switched => return switched,
        }
        std::thread::sleep(BUSY_PAUSE);
    }
}

/// How many of the store's pages so many bytes are.
pub(super) fn pages(conn: &Connection, bytes: u32) -> rusqlite::Result<i32> {
    conn.pragma_query_value(None, "page_size", |row| row.get(0))
        .map(|page: u32| i32::try_from(bytes / page).unwrap_or(i32::MAX))
}

/// Marks the file as a Pulse store.
pub(super) fn mark(conn: &Connection) -> rusqlite::Result<()> {
    conn.pragma_update(None, "application_id", APPLICATION_ID)
}

/// Whether the file carries the mark of a Pulse store.
pub(super) fn is_marked(conn: &Connection) -> rusqlite::Result<bool> {
    conn.pragma_query_value(None, "application_id", |row| Ok(row.get::<_, i32>(0)? == APPLICATION_ID))
}

/// The refusal of a file that is something else.
pub(super) fn foreign(path: &Path) -> Error {
    Error::new(Code::Misconfigured, format!("{} is not a Pulse store", path.display()))
        .hint("Name another path, or move that file away.")
}

/// A count or a version out of a row; SQLite has signed integers only.
pub(super) fn unsigned(row: &Row<'_>, at: usize) -> rusqlite::Result<u64> {
    row.get::<_, i64>(at).map(|value| u64::try_from(value).unwrap_or_default())
}

/// A count or a version for a statement; -1, which no row has, for one that does not fit.
pub(super) fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(-1)
}

/// What a fault of SQLite is to callers: `store_unavailable` when it lies in the machine around the store (disk, memory,
/// locks), `internal` when it lies in one statement or row.
impl From<rusqlite::Error> for Error {
    fn from(fault: rusqlite::Error) -> Self {
        use ErrorCode as E;
        let hint = match fault.sqlite_error_code() {
            Some(E::DiskFull) => "Free space on the store's disk; writes go on by themselves.",
            Some(E::SystemIoFailure) => "Look at the store's disk: it may be full, over a quota, or failing.",
            Some(E::DatabaseBusy) => "Another process writes to the store without a pause; end it, or try again.",
            Some(E::PermissionDenied | E::ReadOnly | E::CannotOpen) => "Look at who owns the store's files and folder.",
            Some(E::DatabaseLocked | E::FileLockingProtocolFailed | E::OperationAborted | E::OutOfMemory) => {
                "Try again."
            }
            _ => return Self::internal(fault),
        };
        Self::store_unavailable(fault).hint(hint)
    }
}

/// Whether what was written may not have reached the disk, and never will.
pub(super) fn is_sync_failure(fault: &rusqlite::Error) -> bool {
    let unsynced = |code| matches!(code, ffi::SQLITE_IOERR_FSYNC | ffi::SQLITE_IOERR_DIR_FSYNC);
    fault.sqlite_error().is_some_and(|error| unsynced(error.extended_code))
}

/// A failure with this code of SQLite's.
pub(super) fn failure(code: i32) -> rusqlite::Error {
    rusqlite::Error::SqliteFailure(ffi::Error::new(code), None)
}

/// Whether somebody else was at it.
pub(super) fn is_busy(fault: &rusqlite::Error) -> bool {
    fault.sqlite_error_code() == Some(ErrorCode::DatabaseBusy)
}
