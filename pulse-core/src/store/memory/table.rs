//! One collection in memory: its documents by id, and an ordered set of places for each index.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::{Bound, RangeInclusive},
};

use serde_json::Value;

use super::key::{self, Entry, Key, keys};
use crate::{
    error::{Error, Result},
    store::{
        Order, Position, Rows, SCAN_BUDGET, Scan, Stored, check, document,
        schema::{Collection, Expiry, Index, PRIMARY},
    },
    time::Timestamp,
};

/// The name of the index that sweeps use; scans cannot, for it is not declared.
const EXPIRES: &str = "(expires)";

/// What a write makes of a document.
#[derive(Debug)]
pub(super) enum Change {
    To(Value),
    OutOfBounds(&'static str),
}

#[derive(Debug)]
pub(super) struct Table {
    documents: BTreeMap<String, Stored>,
    indexes: Vec<(Index, BTreeSet<Entry>)>,
}

impl Table {
    pub(super) fn new(collection: &'static Collection) -> Self {
        let primary = Index { name: PRIMARY, fields: &[], unique: false };
        let expires = collection.expires.as_ref().and_then(|expiry| match expiry {
            Expiry::Swept(field) => Some(Index { name: EXPIRES, fields: std::slice::from_ref(field), unique: false }),
            Expiry::Worker(_) => None,
        });
        let all = [primary].into_iter().chain(collection.indexes.iter().copied()).chain(expires);
        Self { documents: BTreeMap::new(), indexes: all.map(|index| (index, BTreeSet::new())).collect() }
    }

    pub(super) fn get(&self, id: &str) -> Option<&Stored> {
        self.documents.get(id)
    }

    /// Puts a document in its place, or removes it, and gives what was there.
    pub(super) fn set(&mut self, id: &str, stored: Option<Stored>) -> Option<Stored> {
        let before = self.documents.remove(id);
        for (index, places) in &mut self.indexes {
            for place in before.iter().flat_map(|before| places_in(index, before)) {
                places.remove(&place);
            }
            places.extend(stored.iter().flat_map(|stored| places_in(index, stored)));
        }
        if let Some(stored) = stored {
            self.documents.insert(id.to_owned(), stored);
        }
        before
    }

    /// The first unique index that has a key of `stored` for another document.
    pub(super) fn conflict(&self, stored: &Stored) -> Option<&'static str> {
        let taken = |(index, places): &&(Index, BTreeSet<Entry>)| {
            document::index_keys(index, &stored.doc)
                .iter()
                .any(|key| places.range(key::under(key)).any(|(_, id)| *id != stored.id))
        };
        self.indexes.iter().filter(|(index, _)| index.unique).find(taken).map(|(index, _)| index.name)
    }

    pub(super) fn find(&self, index: &str, key: &[Value]) -> Option<&Stored> {
        let (_, places) = self.index(index)?;
        places.range(key::under(key)).next().and_then(|(_, id)| self.get(id))
    }

    pub(super) fn count(&self, index: &str, prefix: &[Value], cap: u64) -> u64 {
        let cap = usize::try_from(cap).unwrap_or(usize::MAX);
        self.index(index).map_or(0, |(_, places)| places.range(key::under(prefix)).take(cap).count() as u64)
    }

    pub(super) fn scan(&self, scan: &Scan) -> Rows {
        let Some((index, places)) = self.index(scan.index) else { return Rows::default() };
        let Some(range) = key::of_scan(scan, index.fields.len()) else { return Rows::default() };
        let range = places.range(range);
        match scan.order {
            Order::Ascending => self.page(scan, index, range),
            Order::Descending => self.page(scan, index, range.rev()),
        }
    }

    fn page<'a>(&'a self, scan: &Scan, index: &Index, places: impl Iterator<Item = &'a Entry>) -> Rows {
        let budget = if scan.filter.is_empty() { usize::MAX } else { SCAN_BUDGET };
        let mut places = places.peekable();
        let mut page = Rows::default();
        for _ in 0..budget {
            let Some((key, id)) = places.next() else { break };
            let row = self.get(id).filter(|row| scan.filter.iter().all(|condition| condition.matches(&row.doc)));
            page.rows.extend(row.map(|row| if scan.ids { only_id(row) } else { row.clone() }));
            if places.peek().is_none() {
                page.next = None;
                break;
            }
            page.next = Some(position(key, id, scan.prefix.len()..index.fields.len()));
            if page.rows.len() == scan.limit {
                break;
            }
        }
        page
    }

    /// The ids under a time index that are not after `now`, earliest first.
    pub(super) fn until(&self, index: &str, now: Timestamp, limit: usize) -> Vec<String> {
        let Some((_, places)) = self.index(index) else { return Vec::new() };
        let end = vec![Key::Text(now.to_string()), Key::End];
        let due = places.range((Bound::Unbounded, Bound::Excluded((end, String::new()))));
        due.take(limit).map(|(_, id)| id.clone()).collect()
    }

    /// The ids of documents whose time is over.
    pub(super) fn expired(&self, now: Timestamp, limit: usize) -> Vec<String> {
        self.until(EXPIRES, now, limit)
    }

    /// Moves the due field of a document.
    pub(super) fn lease(&mut self, id: &str, due: &'static str, until: &str) -> Option<Stored> {
        let mut leased = self.get(id)?.clone();
        leased.version += 1;
        leased.doc[due] = until.into();
        self.set(id, Some(leased.clone()));
        Some(leased)
    }

    fn index(&self, name: &str) -> Option<&(Index, BTreeSet<Entry>)> {
        self.indexes.iter().find(|(index, _)| index.name == name)
    }
}

/// The row where ids are enough.
fn only_id(row: &Stored) -> Stored {
    Stored { id: row.id.clone(), version: 0, doc: Value::Null }
}

/// What an increment makes of a document. A sum that does not fit 64 bits is out of any bounds.
pub(super) fn increment(
    collection: &Collection,
    doc: &Value,
    field: &'static str,
    by: i64,
    bounds: RangeInclusive<i64>,
) -> Result<Change> {
    let current = match doc.get(field).unwrap_or(&Value::Null) {
        Value::Null => 0,
        value => value.as_i64().ok_or_else(|| Error::internal(format!("{}.{field} is no integer", collection.name)))?,
    };
    let Some(sum) = current.checked_add(by).filter(|sum| bounds.contains(sum)) else {
        return Ok(Change::OutOfBounds(field));
    };
    let mut doc = doc.clone();
    doc[field] = sum.into();
    check::document(collection, &doc)?;
    Ok(Change::To(doc))
}

fn places_in(index: &Index, stored: &Stored) -> impl Iterator<Item = Entry> {
    document::index_keys(index, &stored.doc).into_iter().map(|key| (keys(&key), stored.id.clone()))
}

/// The position of an entry: the values of the fields that the prefix does not fix.
fn position(key: &[Key], id: &str, open: std::ops::Range<usize>) -> Position {
    let values = key[open].iter().map(|key| match key {
        Key::Bool(flag) => (*flag).into(),
        Key::Int(number) => (*number).into(),
        Key::Text(text) => text.as_str().into(),
        Key::End => Value::Null,
    });
    Position { key: values.collect(), id: id.to_owned() }
}
