//! The schema's version: a new store is made whole from the declaration, an older one is brought up step by step.
//!
//! The version is SQLite's `user_version`, which changes in the same transaction as the tables.

use rusqlite::Connection;

use super::{connection, locks::StoreLock, table::table};
use crate::{
    error::{Code, Error, Result},
    store::schema::{COLLECTIONS, SCHEMA_VERSION},
};

/// A step from the version before to `version`.
#[derive(Debug)]
pub(super) struct Migration {
    /// The version that the store has afterwards.
    pub(super) version: u32,
    /// What to run before everything that is declared and still missing (collections, indexes) is made.
    pub(super) sql: &'static str,
}

/// The steps after version 1, in order. Each new [`SCHEMA_VERSION`] adds one.
pub(super) static MIGRATIONS: &[Migration] = &[
    Migration { version: 2, sql: "ALTER TABLE usage_metrics ADD COLUMN c_session_id TEXT;" },
    // Replays: a collection that was missing, and is made as such.
    Migration { version: 3, sql: "" },
    // Shards: the same.
    Migration { version: 4, sql: "" },
];

/// What every store has beside the collections: the generation, a row that a write probe touches, and the last record
/// of each log, which outlives the record itself.
const ENGINE_TABLES: &str = "
    CREATE TABLE IF NOT EXISTS pulse_state (one INTEGER NOT NULL PRIMARY KEY, generation INTEGER NOT NULL, probes INTEGER NOT NULL) STRICT;
    INSERT OR IGNORE INTO pulse_state VALUES (1, 0, 0);
    CREATE TABLE IF NOT EXISTS pulse_logs (
        collection TEXT NOT NULL, log TEXT NOT NULL, seq INTEGER NOT NULL, hash TEXT NOT NULL, PRIMARY KEY (collection, log)
    ) STRICT, WITHOUT ROWID;
";

/// The version that the store has, 0 for an empty one. Errors: `store_newer`.
pub(super) fn version(conn: &Connection) -> Result<u32> {
    version_up_to(conn, SCHEMA_VERSION)
}

fn version_up_to(conn: &Connection, known: u32) -> Result<u32> {
    let version: u32 = conn.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if version <= known {
        return Ok(version);
    }
    let message = format!("the store has version {version}, and this Pulse knows versions up to {known}");
    Err(Error::new(Code::StoreNewer, message))
}

/// Brings the store up to the last of `steps` inside the caller's write transaction, and gives the version that it had.
/// A store that is not empty is migrated under the exclusive lock, which the caller makes shared again when the
/// transaction is over. Errors: `store_newer`; `store_locked` when another process has the older store open.
pub(super) fn migrate(conn: &Connection, lock: &StoreLock, steps: &[Migration]) -> Result<u32> {
    let target = steps.last().map_or(1, |step| step.version);
    let found = version_up_to(conn, target)?;
    if found == target {
        return Ok(found);
    }
    let mut sql = String::new();
    if found > 0 {
        lock.upgrade()?;
        steps.iter().filter(|step| step.version > found).for_each(|step| sql += step.sql);
    }
    sql += ENGINE_TABLES;
    for collection in COLLECTIONS {
        sql += &table(collection)?.create();
    }
    conn.execute_batch(&sql).and_then(|()| connection::mark(conn))?;
    conn.pragma_update(None, "user_version", target)?;
    Ok(found)
}
