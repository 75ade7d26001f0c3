//! What every engine refuses before it looks at a row: requests that do not fit the declared table.
//!
//! All of these but one are faults of Pulse itself, so they are internal errors and never an outcome. The exception is
//! a position that does not fit its index: it comes out of a cursor, which a caller can write by hand.

use serde_json::Value;

use super::{
    BATCH_LIMIT, Batch, Claim, Collection, Position, Scan, Write, document,
    schema::{self, FieldType},
};
use crate::error::{Code, Error, Result};

/// Refuses a batch that is too large, or with a document that does not fit its collection.
pub(super) fn batch(batch: &Batch) -> Result<()> {
    if batch.writes.len() > BATCH_LIMIT {
        return Err(Error::internal(format!("a batch of {} writes", batch.writes.len())));
    }
    batch.writes.iter().try_for_each(write)
}

fn write(write: &Write) -> Result<()> {
    match write {
        Write::Insert { collection, doc, .. } => {
            if !is_beside_logs(collection, doc) {
                without_log(collection)?;
            }
            document(collection, doc)
        }
        Write::Replace { collection, doc, .. } => {
            without_log(collection)?;
            document(collection, doc)
        }
        Write::Increment { collection, field, .. } => {
            without_log(collection)?;
            match collection.field(field).map(|field| field.kind) {
                None | Some(FieldType::Int) => Ok(()),
                Some(_) => Err(Error::internal(format!("{}.{field} is no number", collection.name))),
            }
        }
        Write::Append { collection, record, .. } => {
            if collection.log.is_none() {
                return Err(Error::internal(format!("{} has no log", collection.name)));
            }
            if record.is_object() { portable(record) } else { Err(Error::internal("a record that is not an object")) }
        }
        Write::Delete { .. } | Write::Require { .. } => Ok(()),
    }
}

/// Records of a log come from appends alone and stay as they are: anything else would break its numbers and its chain.
fn without_log(collection: &Collection) -> Result<()> {
    match collection.log {
        None => Ok(()),
        Some(_) => Err(Error::internal(format!("{} is written by appends only", collection.name))),
    }
}

/// Whether a document belongs to none of the collection's logs, where that is allowed.
fn is_beside_logs(collection: &Collection, doc: &Value) -> bool {
    let optional = |name| collection.field(name).is_some_and(|field| !field.required);
    ["log", "seq"].into_iter().all(|name| optional(name) && doc.get(name).is_none_or(Value::is_null))
}

/// Refuses a document that its collection does not allow or that some engine cannot hold.
pub(super) fn document(collection: &Collection, doc: &Value) -> Result<()> {
    document::validate(collection, doc)?;
    portable(doc)
}

/// BSON has no integers over 64 bits signed, and its names end at a zero byte.
fn portable(value: &Value) -> Result<()> {
    match value {
        Value::Number(number) if number.is_u64() && !number.is_i64() => {
            Err(Error::internal("a number that does not fit 64 bits, signed"))
        }
        Value::Array(elements) => elements.iter().try_for_each(portable),
        Value::Object(fields) => fields.iter().try_for_each(|(name, value)| {
            if name.contains('\0') {
                return Err(Error::internal("a name with a zero byte"));
            }
            portable(value)
        }),
        _ => Ok(()),
    }
}

/// The fields of a declared index: none for [`schema::PRIMARY`].
pub(super) fn index_fields(collection: &Collection, index: &str) -> Result<&'static [&'static str]> {
    if index == schema::PRIMARY {
        return Ok(&[]);
    }
    let declared = collection.index(index);
    declared.map(|index| index.fields).ok_or_else(|| undeclared(collection, index))
}

fn undeclared(collection: &Collection, index: &str) -> Error {
    Error::internal(format!("{} has no such index: {index}", collection.name))
}

/// Refuses a key that is not one value of the right type for each field of a unique index.
pub(super) fn find(collection: &Collection, index: &str, key: &[Value]) -> Result<()> {
    let declared = collection.index(index).filter(|index| index.unique).ok_or_else(|| undeclared(collection, index))?;
    if key.len() != declared.fields.len() || !fits(collection, declared.fields, key) {
        return Err(Error::internal(format!("not a key of {}.{index}", collection.name)));
    }
    Ok(())
}

/// Refuses a prefix that the index cannot have, or that leaves its list open: under one element a document stands once,
/// and no engine has to tell the elements apart.
pub(super) fn prefix(collection: &Collection, index: &str, prefix: &[Value]) -> Result<()> {
    let fields = index_fields(collection, index)?;
    let open_list = || fields.iter().skip(prefix.len()).any(|name| is_kind(collection, name, FieldType::TextList));
    if !fits(collection, fields, prefix) || open_list() {
        return Err(Error::internal(format!("not a prefix of {}.{index}", collection.name)));
    }
    Ok(())
}

/// Refuses a scan over an index that is not declared, with values that it cannot have, or without a limit.
pub(super) fn scan(scan: &Scan) -> Result<()> {
    let Scan { collection, index, .. } = scan;
    prefix(collection, index, &scan.prefix)?;
    let open = &index_fields(collection, index)?[scan.prefix.len()..];
    for bound in scan.from.iter().chain(&scan.to) {
        let fits = open.first().map_or_else(|| bound.is_string(), |name| is_of(collection, name, bound));
        if !fits {
            return Err(Error::internal(format!("not a bound of {}.{index}", collection.name)));
        }
    }
    if scan.limit == 0 {
        return Err(Error::internal("a page without rows"));
    }
    if scan.ids && !(open.is_empty() && scan.filter.is_empty()) {
        return Err(Error::internal("ids alone of a list that needs the documents"));
    }
    match &scan.after {
        Some(Position { key, .. }) if key.len() != open.len() || !fits(collection, open, key) => {
            Err(Error::new(Code::BadCursor, "the page cursor is not one of this list"))
        }
        _ => Ok(()),
    }
}

/// Refuses a claim on what is not a queue, and gives the name of its due field.
pub(super) fn claim(claim: &Claim) -> Result<&'static str> {
    match index_fields(claim.collection, schema::DUE)? {
        [due] if claim.collection.log.is_none() && is_kind(claim.collection, due, FieldType::Time) => Ok(due),
        _ => Err(Error::internal(format!("{} is not a queue", claim.collection.name))),
    }
}

fn fits(collection: &Collection, fields: &[&str], values: &[Value]) -> bool {
    values.len() <= fields.len() && fields.iter().zip(values).all(|(name, value)| is_of(collection, name, value))
}

fn is_kind(collection: &Collection, name: &str, kind: FieldType) -> bool {
    collection.field(name).is_some_and(|field| field.kind == kind)
}

/// Whether an index over the field could have the value, for a list as one of its elements.
fn is_of(collection: &Collection, name: &str, value: &Value) -> bool {
    collection.field(name).is_some_and(|field| match field.kind {
        FieldType::Text | FieldType::TextList => value.is_string(),
        FieldType::Int => value.is_i64(),
        FieldType::Time => value.as_str().is_some_and(document::is_canonical_time),
        FieldType::Bool => value.is_boolean(),
        FieldType::Object => false,
    })
}
