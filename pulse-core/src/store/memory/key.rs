//! Keys of an index in their order: integers by value, texts byte by byte, the id last.

use std::ops::Bound;

use serde_json::Value;

use crate::store::{Order, Scan};

/// One field of a key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Key {
    Bool(bool),
    Int(i64),
    Text(String),
    /// Above every value: the end of what begins with the fields before it.
    End,
}

/// A place in an index: the key and the id.
pub(super) type Entry = (Vec<Key>, String);

/// A range of places, from the first bound to the second, which is never included.
pub(super) type Range = (Bound<Entry>, Bound<Entry>);

/// The key's fields, in order. A value that no declared field can have sorts last.
pub(super) fn keys<'a>(values: impl IntoIterator<Item = &'a Value>) -> Vec<Key> {
    values
        .into_iter()
        .map(|value| match value {
            Value::Bool(flag) => Key::Bool(*flag),
            Value::String(text) => Key::Text(text.clone()),
            other => other.as_i64().map_or(Key::End, Key::Int),
        })
        .collect()
}

/// Everything that begins with `prefix`.
pub(super) fn under(prefix: &[Value]) -> Range {
    let first = keys(prefix);
    let end = first.iter().cloned().chain([Key::End]).collect();
    (Bound::Included((first, String::new())), Bound::Excluded((end, String::new())))
}

/// What a scan may look at, given how many fields its index has; `None` when that is nothing.
pub(super) fn of_scan(scan: &Scan, fields: usize) -> Option<Range> {
    let prefix = keys(&scan.prefix);
    let place = |bound: &Value| match bound {
        Value::String(id) if scan.prefix.len() == fields => (prefix.clone(), id.clone()),
        value => (prefix.iter().cloned().chain(keys([value])).collect(), String::new()),
    };
    let (mut first, mut end) = under(&scan.prefix);
    if let Some(from) = &scan.from {
        first = Bound::Included(place(from));
    }
    if let Some(to) = &scan.to {
        end = Bound::Excluded(place(to));
    }
    if let Some(after) = &scan.after {
        let last_seen = Bound::Excluded((keys(scan.prefix.iter().chain(&after.key)), after.id.clone()));
        match scan.order {
            Order::Ascending if place_of(&last_seen) >= place_of(&first) => first = last_seen,
            Order::Descending if place_of(&last_seen) <= place_of(&end) => end = last_seen,
            _ => {}
        }
    }
    (place_of(&first) < place_of(&end)).then_some((first, end))
}

fn place_of(bound: &Bound<Entry>) -> Option<&Entry> {
    match bound {
        Bound::Included(entry) | Bound::Excluded(entry) => Some(entry),
        Bound::Unbounded => None,
    }
}
