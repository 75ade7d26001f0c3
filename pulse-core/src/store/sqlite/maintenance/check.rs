//! Whether a store is whole: SQLite's own check, every document against its declaration and its columns and side
//! tables against the document, and the numbers and chains of every log.

use std::path::Path;

use rusqlite::{Connection, OptionalExtension as _, Row, params_from_iter, types::ToSqlOutput};
use serde_json::Value;

use super::super::{
    connection,
    locks::StoreLock,
    migrations, read,
    table::{Table, table},
};
use crate::{
    error::Result,
    store::{
        Stored,
        document::{index_keys, validate},
        schema::{COLLECTIONS, Log},
        soundness::{Chain, CheckReport},
    },
};

/// Checks the store at `db` in one state, beside a daemon. Reads all of it. What is wrong with the content is in the
/// report. Errors: `not_found`, `misconfigured` when it is not a Pulse store, `store_newer`, `store_locked`,
/// `store_unavailable`.
pub fn check(db: &Path) -> Result<CheckReport> {
    super::exists(db)?;
    let _lock = StoreLock::shared(db)?;
    let conn = super::open_whole(db)?;
    let mut report = CheckReport::of(db.display(), Some(migrations::version(&conn)?));
    integrity(&conn, &mut report)?;
    for collection in COLLECTIONS {
        let table = table(collection)?;
        documents(&conn, table, &mut report)?;
        if let Some(kind) = collection.log {
            logs(&conn, table, kind, &mut report)?;
        }
    }
    Ok(report.closed())
}

fn integrity(conn: &Connection, report: &mut CheckReport) -> rusqlite::Result<()> {
    let mut statement = conn.prepare("PRAGMA integrity_check")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let line: String = row.get(0)?;
        if line != "ok" {
            report.add("database", None, line);
        }
    }
    Ok(())
}

fn documents(conn: &Connection, table: &Table, report: &mut CheckReport) -> Result<()> {
    let name = table.collection.name;
    let columns: String = table.columns.iter().map(|field| format!(", c_{}", field.name)).collect();
    let mut statement = conn.prepare(&format!("SELECT id, version, doc{columns} FROM {name}"))?;
    let mut rows = statement.query([])?;
    let (mut count, mut keys) = (0, vec![0_u64; table.sides.len()]);
    while let Some(row) = rows.next()? {
        count += 1;
        match stored(table, row) {
            Ok(stored) => {
                columns_agree(table, &stored, row, report)?;
                sides_agree(conn, table, &stored, &mut keys, report)?;
            }
            Err(fault) => {
                let id: String = row.get(0).unwrap_or_default();
                report.add_fault(name, Some(&id), &fault);
            }
        }
    }
    for (side, expected) in table.sides.iter().zip(keys) {
        let sql = format!("SELECT count(*) FROM {}", side.name);
        let found = conn.query_row(&sql, [], |row| connection::unsigned(row, 0))?;
        if found != expected {
            report.add(
                name,
                None,
                format!("the index {} has {found} entries, and the documents make {expected}", side.index.name),
            );
        }
    }
    report.add_rows(table.collection, count);
    Ok(())
}

/// The row's document, when it decodes and fits its declaration.
fn stored(table: &Table, row: &Row<'_>) -> Result<Stored> {
    let stored = read::stored(table.collection, row)?;
    validate(table.collection, &stored.doc)?;
    Ok(stored)
}

fn columns_agree(table: &Table, stored: &Stored, row: &Row<'_>, report: &mut CheckReport) -> Result<()> {
    for ((field, expected), at) in table.columns.iter().zip(table.values(&stored.doc)?).zip(3..) {
        let found = row.get_ref(at)?;
        if !matches!(expected, ToSqlOutput::Borrowed(value) if value == found) {
            let detail = format!("the column of {} does not agree with the document", field.name);
            report.add(table.collection.name, Some(&stored.id), detail);
        }
    }
    Ok(())
}

/// Looks up each of the document's keys and adds their number to `counts`.
fn sides_agree(
    conn: &Connection,
    table: &Table,
    stored: &Stored,
    counts: &mut [u64],
    report: &mut CheckReport,
) -> Result<()> {
    for (side, count) in table.sides.iter().zip(counts) {
        let mut statement = conn.prepare_cached(&side.lookup)?;
        for key in index_keys(side.index, &stored.doc) {
            let params = side.values(table.collection, &key, &stored.id)?;
            *count += 1;
            if !statement.exists(params_from_iter(params))? {
                report.add(
                    table.collection.name,
                    Some(&stored.id),
                    format!("the index {} lacks {}", side.index.name, Value::from(key)),
                );
            }
        }
    }
    Ok(())
}

/// Follows every log from its first record to its last, and compares that with the last number that is kept apart.
fn logs(conn: &Connection, table: &Table, kind: Log, report: &mut CheckReport) -> Result<()> {
    let name = table.collection.name;
    let sql = format!("SELECT id, version, doc FROM {name} WHERE c_log IS NOT NULL ORDER BY c_log, c_seq");
    let mut statement = conn.prepare(&sql)?;
    let mut rows = statement.query([])?;
    let (mut chain, mut followed) = (None::<Chain>, 0);
    while let Some(row) = rows.next()? {
        // A row that does not decode is reported with the documents, and the next one shows the gap.
        let Ok(record) = stored(table, row) else { continue };
        let log = record.doc["log"].as_str().unwrap_or_default();
        if chain.as_ref().is_none_or(|chain| chain.log != log) {
            if let Some(before) = chain.replace(Chain::begin(log)) {
                before.end(table.collection, head(conn, name, &before.log)?, report);
            }
            followed += 1;
        }
        if let Some(chain) = chain.as_mut() {
            chain.follow(table.collection, kind, &record.doc, report);
        }
    }
    if let Some(last) = chain {
        last.end(table.collection, head(conn, name, &last.log)?, report);
    }
    let sql = "SELECT count(*) FROM pulse_logs WHERE collection = ?1";
    let known = conn.query_row(sql, [name], |row| connection::unsigned(row, 0))?;
    report.add_logs(table.collection, followed, known);
    Ok(())
}

/// The number and hash of a log's last record, which are kept apart.
fn head(conn: &Connection, collection: &str, log: &str) -> Result<Option<(u64, String)>> {
    let mut head = conn.prepare_cached("SELECT seq, hash FROM pulse_logs WHERE collection = ?1 AND log = ?2")?;
    Ok(head.query_row([collection, log], |row| Ok((connection::unsigned(row, 0)?, row.get(1)?))).optional()?)
}
