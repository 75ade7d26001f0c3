//! Whether a store is whole: SQLite's own check, every document against its declaration and its columns and side
//! tables against the document, and the numbers and chains of every log.

use std::path::{Path, PathBuf};

use rusqlite::{Connection, OptionalExtension as _, Row, params_from_iter, types::ToSqlOutput};
use schemars::JsonSchema;
use serde::Serialize;
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
        chain::{GENESIS, chain_hash},
        document::{index_keys, validate},
        schema::{COLLECTIONS, Expiry, Log},
    },
};

/// Problems that a report names; further ones are counted.
const NAMED: usize = 100;

/// What a check found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct CheckReport {
    /// The store.
    pub path: PathBuf,
    /// Whether no problem was found.
    pub ok: bool,
    /// The version of its schema.
    pub schema_version: u32,
    /// Rows of every collection.
    pub collections: Vec<CollectionRows>,
    /// Logs whose numbers and chains were followed.
    pub logs: u64,
    /// How many problems there are.
    pub problem_count: u64,
    /// The first hundred of them.
    pub problems: Vec<Problem>,
}

/// The size of a collection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct CollectionRows {
    /// Its name.
    pub name: String,
    /// Its rows.
    pub rows: u64,
}

/// Something that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Problem {
    /// The collection, or `database`.
    pub place: String,
    /// The document or the log, where it is one.
    pub id: Option<String>,
    /// What is wrong, as a sentence.
    pub detail: String,
}

/// Checks the store at `db` in one state, beside a daemon. Reads all of it. What is wrong with the content is in the
/// report. Errors: `not_found`, `misconfigured` when it is not a Pulse store, `store_newer`, `store_locked`,
/// `store_unavailable`.
pub fn check(db: &Path) -> Result<CheckReport> {
    super::exists(db)?;
    let _lock = StoreLock::shared(db)?;
    let conn = super::open_whole(db)?;
    let mut report =
        CheckReport { path: db.to_owned(), schema_version: migrations::version(&conn)?, ..CheckReport::default() };
    integrity(&conn, &mut report)?;
    for collection in COLLECTIONS {
        let table = table(collection)?;
        documents(&conn, table, &mut report)?;
        if let Some(kind) = collection.log {
            logs(&conn, table, kind, &mut report)?;
        }
    }
    report.ok = report.problem_count == 0;
    Ok(report)
}

impl CheckReport {
    fn add(&mut self, place: &str, id: Option<&str>, detail: impl Into<String>) {
        self.problem_count += 1;
        if self.problems.len() < NAMED {
            self.problems.push(Problem { place: place.to_owned(), id: id.map(str::to_owned), detail: detail.into() });
        }
    }
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
                report.add(name, Some(&id), fault.cause().map_or_else(|| fault.to_string(), ToString::to_string));
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
    report.collections.push(CollectionRows { name: name.to_owned(), rows: count });
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

/// Where a log stands while it is followed.
#[derive(Default)]
struct Chain {
    log: String,
    seq: u64,
    hash: String,
    /// Whether a problem was found already: what follows it cannot be judged.
    broken: bool,
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
            let next = Chain { log: log.to_owned(), hash: GENESIS.to_owned(), ..Chain::default() };
            if let Some(before) = chain.replace(next) {
                before.agrees_with_head(conn, name, report)?;
            }
            followed += 1;
        }
        let Some(chain) = chain.as_mut() else { continue };
        if let Some(fault) = chain.follow(kind, &record.doc, table.collection.expires) {
            report.add(name, Some(log), fault);
        }
    }
    if let Some(last) = chain {
        last.agrees_with_head(conn, name, report)?;
    }
    let sql = "SELECT count(*) FROM pulse_logs WHERE collection = ?1";
    let known = conn.query_row(sql, [name], |row| connection::unsigned(row, 0))?;
    if known > followed && table.collection.expires.is_none() {
        report.add(name, None, format!("{} logs have lost all of their records", known - followed));
    }
    report.logs += followed;
    Ok(())
}

impl Chain {
    /// Goes on to the next record and tells the first fault of the log. Records of a log that expires go from its start;
    /// where a worker removes them, some may stay longer than those after them.
    fn follow(&mut self, kind: Log, record: &Value, expires: Option<Expiry>) -> Option<String> {
        let text = |name: &str| record[name].as_str().unwrap_or_default();
        let (seq, expected) = (record["seq"].as_u64().unwrap_or_default(), self.seq + 1);
        let trimmed = match expires {
            None => false,
            Some(Expiry::Swept(_)) => self.seq == 0 && seq > 1,
            Some(Expiry::Worker(_)) => seq > expected,
        };
        let fault = match kind {
            _ if seq != expected && !trimmed => Some(format!("record {expected} is missing: {seq} comes instead")),
            Log::Chained(_) if text("prev") != self.hash && !trimmed => {
                Some(format!("record {seq} does not follow from the one before"))
            }
            Log::Chained(domain) if text("hash") != chain_hash(domain, text("prev"), record) => {
                Some(format!("record {seq} was changed"))
            }
            Log::Chained(_) | Log::Numbered => None,
        };
        self.seq = seq;
        text("hash").clone_into(&mut self.hash);
        let first = fault.filter(|_| !self.broken);
        self.broken |= first.is_some();
        first
    }

    /// Compares the last record with the number and hash that are kept apart.
    fn agrees_with_head(&self, conn: &Connection, collection: &str, report: &mut CheckReport) -> Result<()> {
        let mut head = conn.prepare_cached("SELECT seq, hash FROM pulse_logs WHERE collection = ?1 AND log = ?2")?;
        let head =
            head.query_row([collection, &self.log], |row| Ok((connection::unsigned(row, 0)?, row.get(1)?))).optional();
        let head: Option<(u64, String)> = head?;
        // Records that live longer than what their log is named after.
        let ended = head.is_none()
            && COLLECTIONS.iter().any(|other| other.logs_of_documents().is_some_and(|logs| logs.name == collection));
        if !self.broken && !ended && head.as_ref().is_none_or(|(seq, hash)| *seq != self.seq || *hash != self.hash) {
            let expected = head.map_or(0, |(seq, _)| seq);
            report.add(
                collection,
                Some(&self.log),
                format!("the log ends at record {}, and not at {expected} as noted", self.seq),
            );
        }
        Ok(())
    }
}
