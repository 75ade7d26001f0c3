//! What changed between two documents, for the audit.

use serde::Serialize;
use serde_json::Value;

use crate::model::audit::{Change, Target};

/// What stands for a secret, whatever it is.
const SET: &str = "<set>";
/// Fields that change with every change and say nothing.
const NOISE: [&str; 3] = ["updated_at", "version", "id"];

/// The changed top-level fields; sealed secrets and digests show as `<set>`.
pub(super) fn changes<T: Serialize>(before: Option<&T>, after: Option<&T>) -> Vec<Change> {
    let fields = |model: Option<&T>| match model.map(serde_json::to_value) {
        Some(Ok(Value::Object(fields))) => fields,
        _ => serde_json::Map::new(),
    };
    let (before, after) = (fields(before), fields(after));
    let names = before.keys().chain(after.keys().filter(|name| !before.contains_key(*name)));
    names
        .filter(|name| !NOISE.contains(&name.as_str()))
        .filter_map(|name| {
            let of = |fields: &serde_json::Map<String, Value>| fields.get(name).cloned().unwrap_or(Value::Null);
            let (before, after) = (of(&before), of(&after));
            (before != after).then(|| Change { field: name.clone(), before: masked(before), after: masked(after) })
        })
        .collect()
}

/// Hides sealed secrets and digests, at any depth.
fn masked(value: Value) -> Value {
    match value {
        Value::Object(fields) if fields.contains_key("sealed") || fields.contains_key("mac") => SET.into(),
        Value::Object(fields) => fields.into_iter().map(|(name, value)| (name, masked(value))).collect(),
        Value::Array(values) => values.into_iter().map(masked).collect(),
        scalar => scalar,
    }
}

/// A target of an audit entry.
pub(super) fn target(kind: &str, id: impl ToString, name: Option<String>) -> Target {
    Target { kind: kind.to_owned(), id: id.to_string(), name }
}
