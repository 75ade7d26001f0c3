//! Documents as MongoDB holds them, and back.
//!
//! A stored document has the JSON document's own fields at its top level, so that an operator reads them in mongosh,
//! beside `_id`, `_v` (the version) and, at times, `_r` and `_c` (see [`REQUIRED`] and [`CLAIMED`]). A name of the
//! document that begins with `_` or `$` gets one more `_`, so the two kinds never meet. Declared time fields are dates,
//! integers are 64 bits, nulls stay nulls; nested names are as they are, dots and dollars included. What comes back
//! equals what went in.

use std::borrow::Cow;

use mongodb::bson::{Bson, DateTime, Document, RawBsonRef, RawDocument};
use serde_json::{Map, Number, Value};

use crate::{
    error::{Error, Result},
    store::{
        Stored,
        schema::{Collection, FieldType},
    },
    time::Timestamp,
};

/// The field of the id.
pub(super) const ID: &str = "_id";
/// The field of the version.
pub(super) const VERSION: &str = "_v";
/// The field that counts how often a batch required the document: a write that changes nothing a reader sees.
pub(super) const REQUIRED: &str = "_r";
/// The field with the mark of the last claim.
pub(super) const CLAIMED: &str = "_c";

/// The name under which a top-level field is stored.
pub(super) fn stored_name(name: &str) -> Cow<'_, str> {
    if name.starts_with(['_', '$']) { format!("_{name}").into() } else { name.into() }
}

/// The name of a stored top-level field in the document; `None` for the engine's own.
fn document_name(stored: &str) -> Option<&str> {
    match stored.strip_prefix('_') {
        Some(name) if name.starts_with(['_', '$']) => Some(name),
        Some(_) => None,
        None => Some(stored),
    }
}

/// The stored form of a document that [`check`](crate::store::check) has passed.
pub(super) fn encode(collection: &Collection, id: &str, version: u64, doc: &Value) -> Document {
    let mut stored = Document::new();
    stored.insert(ID, id);
    stored.insert(VERSION, number(version));
    for (name, value) in doc.as_object().into_iter().flatten() {
        stored.insert(stored_name(name), field(collection, name, value));
    }
    stored
}

/// The stored form of a top-level field's value, or of one element of a list.
pub(super) fn field(collection: &Collection, name: &str, value: &Value) -> Bson {
    let is_time = collection.field(name).is_some_and(|field| field.kind == FieldType::Time);
    match value.as_str().filter(|_| is_time).and_then(|text| text.parse().ok()) {
        Some(moment) => date(moment),
        None => nested(value),
    }
}

/// BSON's name for the type of a field, for a list the type of its elements.
pub(super) fn type_name(kind: FieldType) -> &'static str {
    match kind {
        FieldType::Text | FieldType::TextList => "string",
        FieldType::Int => "long",
        FieldType::Time => "date",
        FieldType::Bool => "bool",
        FieldType::Object => "object",
    }
}

/// A moment as a date.
pub(super) fn date(moment: Timestamp) -> Bson {
    Bson::DateTime(DateTime::from_millis(moment.as_millis()))
}

/// A count as the signed integer that MongoDB has.
pub(super) fn number(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn nested(value: &Value) -> Bson {
    match value {
        Value::Null => Bson::Null,
        Value::Bool(flag) => Bson::Boolean(*flag),
        Value::Number(number) => match number.as_i64() {
            Some(integer) => Bson::Int64(integer),
            None => number.as_f64().map_or(Bson::Null, Bson::Double),
        },
        Value::String(text) => Bson::String(text.clone()),
        Value::Array(elements) => Bson::Array(elements.iter().map(nested).collect()),
        Value::Object(fields) => {
            Bson::Document(fields.iter().map(|(name, value)| (name.clone(), nested(value))).collect())
        }
    }
}

/// The document that a stored form stands for. It is read from the bytes themselves: the driver's own way into a
/// `Document` takes nested objects such as `{"$oid": ".."}` for values of BSON.
pub(super) fn decode(stored: &RawDocument) -> Result<Stored> {
    let (Ok(id), Ok(version)) = (stored.get_str(ID), stored.get_i64(VERSION)) else {
        return Err(Error::internal("a stored document without a text as _id and an integer as _v"));
    };
    let mut doc = Map::new();
    for field in stored {
        let (name, value) = field.map_err(Error::internal)?;
        if let Some(name) = document_name(name.as_str()) {
            doc.insert(name.to_owned(), json(value)?);
        }
    }
    Ok(Stored { id: id.to_owned(), version: u64::try_from(version).unwrap_or_default(), doc: Value::Object(doc) })
}

/// The id alone of a document of which no more was asked for.
pub(super) fn decode_id(stored: &RawDocument) -> Result<Stored> {
    let id = stored.get_str(ID).map_err(Error::internal)?;
    Ok(Stored { id: id.to_owned(), version: 0, doc: Value::Null })
}

/// A stored value as JSON. What only a write around Pulse can have put there becomes its text.
pub(super) fn json(value: RawBsonRef<'_>) -> Result<Value> {
    Ok(match value {
        RawBsonRef::Null | RawBsonRef::Undefined => Value::Null,
        RawBsonRef::Boolean(flag) => flag.into(),
        RawBsonRef::Int32(integer) => integer.into(),
        RawBsonRef::Int64(integer) => integer.into(),
        RawBsonRef::Double(number) => Number::from_f64(number).map_or(Value::Null, Value::Number),
        RawBsonRef::String(text) => text.into(),
        RawBsonRef::DateTime(date) => Timestamp::from_millis(date.timestamp_millis()).to_string().into(),
        RawBsonRef::Array(elements) => {
            let elements = elements.into_iter().map(|element| json(element.map_err(Error::internal)?));
            elements.collect::<Result<Vec<_>>>()?.into()
        }
        RawBsonRef::Document(fields) => {
            let fields = fields.iter().map(|field| {
                let (name, value) = field.map_err(Error::internal)?;
                Ok((name.to_string(), json(value)?))
            });
            Value::Object(fields.collect::<Result<_>>()?)
        }
        other => format!("{other:?}").into(),
    })
}
