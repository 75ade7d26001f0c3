//! What all engines do with a document in the same way: validate it against its declaration and read index keys off it.

use serde_json::Value;

use super::schema::{Collection, FieldType, Index};
use crate::{error::Error, time::Timestamp};

/// Refuses a document that does not fit its collection's declaration. That is a fault of Pulse, never of a caller.
pub fn validate(collection: &Collection, doc: &Value) -> Result<(), Error> {
    let fault = |field: &str, what: &str| Error::internal(format!("{}.{field} {what}", collection.name));
    if !doc.is_object() {
        return Err(fault("*", "is not an object"));
    }
    for field in collection.fields {
        let value = doc.get(field.name).unwrap_or(&Value::Null);
        let fits = match field.kind {
            _ if value.is_null() => !field.required,
            FieldType::Text => value.is_string(),
            FieldType::Int => value.is_i64(),
            FieldType::Time => value.as_str().is_some_and(is_canonical_time),
            FieldType::Bool => value.is_boolean(),
            FieldType::TextList => value.as_array().is_some_and(|list| list.iter().all(Value::is_string)),
            FieldType::Object => value.is_object(),
        };
        if !fits {
            return Err(fault(field.name, "does not have its declared type"));
        }
    }
    Ok(())
}

/// Whether a text is a time in the one form that sorts as times do, and that engines with dates give back.
pub(super) fn is_canonical_time(text: &str) -> bool {
    text.parse::<Timestamp>().is_ok_and(|moment| moment.to_string() == text)
}

/// The keys under which the document stands in an index: none when a field has no value, several for a list.
pub fn index_keys(index: &Index, doc: &Value) -> Vec<Vec<Value>> {
    let mut keys: Vec<Vec<Value>> = vec![Vec::with_capacity(index.fields.len())];
    for name in index.fields {
        match doc.get(*name).unwrap_or(&Value::Null) {
            Value::Null => return Vec::new(),
            Value::Array(elements) => {
                let mut distinct: Vec<&Value> = Vec::with_capacity(elements.len());
                elements.iter().for_each(|element| {
                    if !distinct.contains(&element) {
                        distinct.push(element);
                    }
                });
                keys = keys
                    .iter()
                    .flat_map(|key| distinct.iter().map(|element| key.iter().chain([*element]).cloned().collect()))
                    .collect();
            }
            scalar => keys.iter_mut().for_each(|key| key.push(scalar.clone())),
        }
    }
    keys
}
