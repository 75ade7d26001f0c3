//! Writing: how batches, claims and sweeps are applied inside the writer's transaction.

use rusqlite::{Connection, ErrorCode, OptionalExtension as _, params_from_iter, types::ToSqlOutput};
use serde_json::Value;

use super::{
    connection::{signed, unsigned},
    read,
    table::{Table, table},
};
use crate::{
    error::{Error, Result},
    store::{
        Batch, Claim, Outcome, Stored, Write,
        chain::{GENESIS, link},
        check,
        document::{self, index_keys},
        schema::{COLLECTIONS, Collection, DUE, Log, PRIMARY},
    },
    time::Timestamp,
};

/// What keeps a batch from being applied; none when a write was.
type Refused = Option<Outcome>;

/// A batch that [`check::batch`] has let through, with the text of each document that it writes: made by the caller, because
/// all callers wait for the writer's thread.
#[derive(Debug)]
pub(super) struct Prepared {
    batch: Batch,
    /// One for each write; of a record of a numbered log, an object that is still open, to end with its number; empty for those
    /// that write no document of their own, and for records of chained logs, of which the text is not known before what they follow.
    texts: Vec<String>,
}

impl Prepared {
    /// Errors: `internal` for a record that its collection does not allow.
    pub(super) fn new(mut batch: Batch) -> Result<Self> {
        let texts = batch.writes.iter_mut().map(prepare).collect::<Result<_>>()?;
        Ok(Self { batch, texts })
    }
}

/// The text of what a write writes. A record of a numbered log is made a document that lacks nothing but its number.
fn prepare(write: &mut Write) -> Result<String> {
    match write {
        Write::Insert { doc, .. } | Write::Replace { doc, .. } => text_of(doc),
        Write::Append { collection, log, record, .. } if collection.log == Some(Log::Numbered) => {
            let (doc, _) = link(Log::Numbered, log, 0, GENESIS, record.take());
            document::validate(collection, &doc)?;
            *record = doc;
            // The writer, who knows the number, puts it behind the rest.
            if let Some(fields) = record.as_object_mut() {
                fields.remove("seq");
            }
            let mut text = text_of(record)?;
            text.pop();
            Ok(text)
        }
        Write::Delete { .. } | Write::Increment { .. } | Write::Require { .. } | Write::Append { .. } => {
            Ok(String::new())
        }
    }
}

/// A document's text: straight into bytes, which takes half the time of `Value`'s own `Display`.
fn text_of(doc: &Value) -> Result<String> {
    serde_json::to_string(doc).map_err(Error::internal)
}

/// Applies a batch. After any outcome but `Committed` the caller must roll back. It may be applied again then.
pub(super) fn apply(conn: &Connection, Prepared { batch, texts }: &mut Prepared) -> Result<Outcome> {
    let mut seqs = Vec::new();
    for (write, text) in batch.writes.iter_mut().zip(texts) {
        if let Some(outcome) = apply_one(conn, write, text, &mut seqs)? {
            return Ok(outcome);
        }
    }
    if batch.bumps_generation {
        conn.prepare_cached("UPDATE pulse_state SET generation = generation + 1")?.execute([])?;
    }
    Ok(Outcome::Committed { seqs })
}

fn apply_one(conn: &Connection, write: &mut Write, text: &str, seqs: &mut Vec<u64>) -> Result<Refused> {
    match write {
        Write::Insert { collection, id, doc } => insert(conn, table(collection)?, id, (doc, text)),
        Write::Replace { collection, id, version, doc } => replace(conn, table(collection)?, id, *version, (doc, text)),
        Write::Delete { collection, id, version } => delete(conn, table(collection)?, id, *version),
        Write::Increment { collection, id, field, by, min, max } => {
            let Some(mut stored) = read::get(conn, collection, id)? else { return Ok(stale(collection, id)) };
            let bounds = min.unwrap_or(i64::MIN)..=max.unwrap_or(i64::MAX);
            let Some(sum) = sum(&stored, field, *by)?.filter(|sum| bounds.contains(sum)) else {
                return Ok(Some(Outcome::OutOfBounds { collection: collection.name, id: id.clone(), field }));
            };
            stored.doc[*field] = sum.into();
            check::document(collection, &stored.doc)?;
            replace(conn, table(collection)?, id, stored.version, (&stored.doc, &text_of(&stored.doc)?))
        }
        Write::Require { collection, id, version } => {
            let mut statement = conn.prepare_cached(&table(collection)?.get)?;
            let found = statement.query_row([id.as_str()], |row| unsigned(row, 0)).optional()?;
            Ok(if found == *version { None } else { stale(collection, id) })
        }
        Write::Append { collection, log, id, record } => append(conn, collection, log, id, (record, text), seqs),
    }
}

/// The field's value and `by`; none when that does not fit.
fn sum(stored: &Stored, field: &str, by: i64) -> Result<Option<i64>> {
    let value = match stored.doc.get(field) {
        None | Some(Value::Null) => 0,
        Some(value) => value.as_i64().ok_or_else(|| Error::internal(format!("the field {field} is not a number")))?,
    };
    Ok(value.checked_add(by))
}

/// Inserts a document, of which `text` is the text.
fn insert(conn: &Connection, table: &Table, id: &str, (doc, text): (&Value, &str)) -> Result<Refused> {
    let mut params: Vec<ToSqlOutput<'_>> = vec![id.into(), text.into()];
    params.extend(table.values(doc)?);
    if let Err(fault) = conn.prepare_cached(&table.insert)?.execute(params_from_iter(params)) {
        return clash(conn, table, id, doc, true, fault);
    }
    move_keys(conn, table, id, &Value::Null, doc)
}

/// Replaces a document by another, of which `text` is the text.
fn replace(conn: &Connection, table: &Table, id: &str, version: u64, (doc, text): (&Value, &str)) -> Result<Refused> {
    let before = if table.sides.is_empty() { None } else { read::get(conn, table.collection, id)? };
    let values = table.values(doc)?;
    let Some((row, changed)) = changed_columns(conn, table, id, version, &values)? else {
        return Ok(stale(table.collection, id));
    };
    let mut params: Vec<ToSqlOutput<'_>> = vec![row.into(), text.into()];
    params.extend(changed.iter().map(|column| values[*column].clone()));
    if let Err(fault) = conn.prepare_cached(&table.update(&changed))?.execute(params_from_iter(params)) {
        return clash(conn, table, id, doc, false, fault);
    }
    match before {
        Some(before) => move_keys(conn, table, id, &before.doc, doc),
        None => Ok(None),
    }
}

/// The row's own number, and which of its columns differ from `values`; none when it has not this version.
fn changed_columns(
    conn: &Connection,
    table: &Table,
    id: &str,
    version: u64,
    values: &[ToSqlOutput<'_>],
) -> Result<Option<(i64, Vec<usize>)>> {
    let mut columns = conn.prepare_cached(&table.columns_of)?;
    let mut rows = columns.query([id])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    if unsigned(row, 1)? != version {
        return Ok(None);
    }
    let mut changed = Vec::new();
    for (column, value) in values.iter().enumerate() {
        if ToSqlOutput::Borrowed(row.get_ref(column + 2)?) != *value {
            changed.push(column);
        }
    }
    Ok(Some((row.get(0)?, changed)))
}

fn delete(conn: &Connection, table: &Table, id: &str, version: u64) -> Result<Refused> {
    let before = if table.sides.is_empty() { None } else { read::get(conn, table.collection, id)? };
    match before {
        _ if conn.prepare_cached(&table.delete)?.execute((id, signed(version)))? == 0 => {
            Ok(stale(table.collection, id))
        }
        Some(before) => {
            end_log(conn, table.collection, id)?;
            move_keys(conn, table, id, &before.doc, &Value::Null)
        }
        None => {
            end_log(conn, table.collection, id)?;
            Ok(None)
        }
    }
}

/// Forgets the last number of the log that is named after a document that has gone, if there is one.
fn end_log(conn: &Connection, collection: &Collection, id: &str) -> Result<()> {
    if let Some(logs) = collection.logs_of_documents() {
        let mut head = conn.prepare_cached("DELETE FROM pulse_logs WHERE collection = ?1 AND log = ?2")?;
        head.execute((logs.name, id))?;
    }
    Ok(())
}

/// Brings the side tables from what `before` has in them to what `after` has.
fn move_keys(conn: &Connection, table: &Table, id: &str, before: &Value, after: &Value) -> Result<Refused> {
    for side in &table.sides {
        let (old, new) = (index_keys(side.index, before), index_keys(side.index, after));
        let gone = old.iter().filter(|key| !new.contains(key)).map(|key| (key, &side.delete));
        let come = new.iter().filter(|key| !old.contains(key)).map(|key| (key, &side.insert));
        for (key, sql) in gone.chain(come) {
            conn.prepare_cached(sql)?.execute(params_from_iter(side.values(table.collection, key, id)?))?;
        }
    }
    Ok(None)
}

/// What a failed statement means: which index has the key already, the first in declared order as in every engine.
fn clash(
    conn: &Connection,
    table: &Table,
    id: &str,
    doc: &Value,
    new: bool,
    fault: rusqlite::Error,
) -> Result<Refused> {
    let collection = table.collection;
    let taken_by = |index| Ok(Some(Outcome::Conflict { collection: collection.name, index }));
    if fault.sqlite_error_code() != Some(ErrorCode::ConstraintViolation) {
        return Err(fault.into());
    }
    if new && read::get(conn, collection, id)?.is_some() {
        return taken_by(PRIMARY);
    }
    for index in collection.indexes.iter().filter(|index| index.unique) {
        for key in index_keys(index, doc) {
            if read::find(conn, collection, index.name, key)?.is_some_and(|other| other.id != id) {
                return taken_by(index.name);
            }
        }
    }
    Err(fault.into())
}

/// Adds a record, as [`prepare`] has made it, to a log. The last number is kept apart from the records, so that it outlives
/// them.
fn append(
    conn: &Connection,
    collection: &'static Collection,
    log: &str,
    id: &str,
    (record, text): (&mut Value, &str),
    seqs: &mut Vec<u64>,
) -> Result<Refused> {
    let kind = collection.log.ok_or_else(|| Error::internal(format!("{} is not a set of logs", collection.name)))?;
    let mut last = conn.prepare_cached("SELECT seq, hash FROM pulse_logs WHERE collection = ?1 AND log = ?2")?;
    let last = last.query_row((collection.name, log), |row| Ok((unsigned(row, 0)?, row.get(1)?))).optional()?;
    let (last, prev) = last.unwrap_or_else(|| (0, GENESIS.to_owned()));
    let seq = last + 1;
    let mut head = conn.prepare_cached("INSERT OR REPLACE INTO pulse_logs VALUES (?1, ?2, ?3, ?4)")?;
    seqs.push(seq);
    match kind {
        Log::Numbered => {
            record["seq"] = seq.into();
            head.execute((collection.name, log, signed(seq), ""))?;
            insert(conn, table(collection)?, id, (record, &format!("{text},\"seq\":{seq}}}")))
        }
        Log::Chained(_) => {
            let (doc, hash) = link(kind, log, seq, &prev, record.clone());
            check::document(collection, &doc)?;
            head.execute((collection.name, log, signed(seq), hash))?;
            insert(conn, table(collection)?, id, (&doc, &text_of(&doc)?))
        }
    }
}

/// Moves due documents to the end of the lease, and gives them out. One that does not decode moves too, so that it does
/// not stand in the others' way, but is not given out.
pub(super) fn claim(conn: &Connection, claim: &Claim, field: &str, now: Timestamp) -> Result<Vec<Stored>> {
    let (collection, name) = (claim.collection, claim.collection.name);
    let mut due = conn.prepare_cached(&format!(
        "SELECT id, version, doc FROM {name} INDEXED BY {name}__{DUE} WHERE c_{field} <= ?1 ORDER BY c_{field}, id LIMIT ?2"
    ))?;
    let rows = due.query_map((now.to_string(), signed(claim.limit as u64)), |row| {
        Ok((row.get(0)?, unsigned(row, 1)?, row.get(2)?))
    })?;
    let until = now.plus(std::time::Duration::from_millis(claim.lease_millis)).to_string();
    let mut claimed = Vec::new();
    for (id, version, doc) in rows.collect::<Result<Vec<(String, u64, String)>, _>>()? {
        match read::decode(collection, &id, version, &doc) {
            Ok(mut stored) => {
                stored.doc[field] = until.as_str().into();
                let text = text_of(&stored.doc)?;
                if let Some(refused) = replace(conn, table(collection)?, &id, version, (&stored.doc, &text))? {
                    return Err(Error::internal(format!("a claim was refused: {refused:?}")));
                }
                stored.version += 1;
                claimed.push(stored);
            }
            Err(fault) => {
                tracing::error!(cause = fault.cause(), "a queued document does not decode");
                conn.execute(&format!("UPDATE {name} SET c_{field} = ?2 WHERE id = ?1"), (&id, &until))?;
            }
        }
    }
    Ok(claimed)
}

/// Removes up to `limit` expired documents.
pub(super) fn sweep(conn: &Connection, now: Timestamp, limit: usize) -> Result<u64> {
    let mut removed = 0;
    for collection in COLLECTIONS {
        let table = table(collection)?;
        let Some(expired) = &table.expired else { continue };
        let mut expired = conn.prepare_cached(expired)?;
        let left = signed(limit as u64 - removed);
        let rows = expired.query_map((now.to_string(), left), |row| Ok((row.get(0)?, unsigned(row, 1)?)))?;
        for (id, version) in rows.collect::<Result<Vec<(String, u64)>, _>>()? {
            delete(conn, table, &id, version)?;
            removed += 1;
        }
    }
    Ok(removed)
}

fn stale(collection: &Collection, id: &str) -> Refused {
    Some(Outcome::Stale { collection: collection.name, id: id.to_owned() })
}
