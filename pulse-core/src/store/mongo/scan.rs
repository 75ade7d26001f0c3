//! Lists and counts: the entries of a declared index, in the index's order.
//!
//! An index that is not unique ends with `_id` in MongoDB, so that it gives the whole order with its tie-break and no
//! page is sorted in memory. Conditions are evaluated here and not by the server, so they mean what they mean in every
//! other engine.

use futures_util::TryStreamExt as _;
use mongodb::{
    Collection as DriverCollection, Cursor,
    bson::{Bson, Document, RawDocument, RawDocumentBuf, doc},
    options::Hint,
};
use serde_json::Value;

use super::codec;
use crate::{
    error::{Error, Result},
    store::{
        Order, Position, Rows, SCAN_BUDGET, Scan, Stored, check,
        schema::{Collection, PRIMARY},
    },
};

/// The most documents that the server sends at a time, and how many it sends while a filter looks for matches.
const CHUNK: usize = 1_000;
const FILTERED_CHUNK: usize = 500;

/// What a field must be for a document to stand in an index: a partial index has the same condition.
pub(super) fn entry_condition(collection: &Collection, name: &str) -> Document {
    match collection.field(name) {
        Some(field) if !field.required => doc! { "$type": codec::type_name(field.kind) },
        _ => Document::new(),
    }
}

/// What selects the entries under a prefix.
pub(super) fn under(collection: &Collection, fields: &[&str], prefix: &[Value]) -> Document {
    let mut selected = Document::new();
    for (position, name) in fields.iter().enumerate() {
        let mut condition = entry_condition(collection, name);
        if let Some(value) = prefix.get(position) {
            condition.insert("$eq", codec::field(collection, name, value));
        }
        if !condition.is_empty() {
            selected.insert(codec::stored_name(name), condition);
        }
    }
    selected
}

fn hint(index: &str) -> Hint {
    if index == PRIMARY { Hint::Keys(doc! { codec::ID: 1 }) } else { Hint::Name(index.to_owned()) }
}

/// A scan in MongoDB's words.
struct Plan<'a> {
    scan: &'a Scan,
    /// All fields of the index.
    fields: &'static [&'static str],
    /// The fields that order the entries: those that the prefix leaves open, and the id where it breaks ties.
    keys: Vec<String>,
}

impl<'a> Plan<'a> {
    fn new(scan: &'a Scan) -> Result<Self> {
        let fields = check::index_fields(scan.collection, scan.index)?;
        let mut keys: Vec<String> =
            fields[scan.prefix.len()..].iter().map(|name| codec::stored_name(name).into()).collect();
        if keys.is_empty() || !scan.collection.index(scan.index).is_some_and(|index| index.unique) {
            keys.push(codec::ID.to_owned());
        }
        Ok(Self { scan, fields, keys })
    }

    fn open(&self) -> &'static [&'static str] {
        &self.fields[self.scan.prefix.len()..]
    }

    /// The stored form of a value of the key's field at `position`.
    fn value(&self, position: usize, value: &Value) -> Bson {
        match self.open().get(position) {
            Some(name) => codec::field(self.scan.collection, name, value),
            None => value.as_str().unwrap_or_default().into(),
        }
    }

    /// What selects the rows: one alternative for each key field that may be the first to lie beyond `after`. Each is
    /// complete in itself, so that the server walks the index once for each and merges.
    fn filter(&self) -> Document {
        let selected = under(self.scan.collection, self.fields, &self.scan.prefix);
        let bounds = self.scan.from.iter().map(|from| ("$gte", from)).chain(self.scan.to.iter().map(|to| ("$lt", to)));
        let bounds: Document = bounds.map(|(operator, bound)| (operator.to_owned(), self.value(0, bound))).collect();
        let within = if bounds.is_empty() {
            Document::new()
        } else {
            doc! { &self.keys[0]: bounds }
        };
        let Some(after) = &self.scan.after else { return doc! { "$and": [selected, within] } };

        let beyond = if self.scan.order == Order::Ascending { "$gt" } else { "$lt" };
        let id = Value::from(after.id.as_str());
        let parts = after.key.iter().chain([&id]).enumerate();
        let last_seen: Vec<(&String, Bson)> =
            self.keys.iter().zip(parts).map(|(key, (position, part))| (key, self.value(position, part))).collect();
        let alternatives = last_seen.iter().enumerate().map(|(position, (key, part))| {
            let mut range: Document =
                last_seen[..position].iter().map(|(key, part)| ((*key).clone(), part.clone())).collect();
            range.insert(*key, doc! { beyond: part });
            doc! { "$and": [selected.clone(), within.clone(), range] }
        });
        doc! { "$or": alternatives.collect::<Vec<_>>() }
    }

    fn sort(&self) -> Document {
        let direction = if self.scan.order == Order::Ascending { 1 } else { -1 };
        self.keys.iter().map(|key| (key.clone(), direction.into())).collect()
    }

    fn position(&self, entry: &RawDocument, id: &str) -> Result<Position> {
        let value = |name: &&str| match entry.get(codec::stored_name(name)) {
            Ok(value) => value.map_or(Ok(Value::Null), codec::json),
            Err(error) => Err(Error::internal(error)),
        };
        Ok(Position { key: self.open().iter().map(value).collect::<Result<_>>()?, id: id.to_owned() })
    }
}

/// A page of a list.
pub(super) async fn scan(documents: &DriverCollection<RawDocumentBuf>, scan: &Scan) -> Result<Rows> {
    let plan = Plan::new(scan)?;
    let most = if scan.filter.is_empty() { scan.limit } else { SCAN_BUDGET };
    // One more than is looked at tells whether there is a next page.
    let limit = i64::try_from(most).unwrap_or(i64::MAX).saturating_add(1);
    let chunk = if scan.filter.is_empty() { scan.limit.saturating_add(1).min(CHUNK) } else { FILTERED_CHUNK };
    let chunk = u32::try_from(chunk).unwrap_or(u32::MAX);
    let rows = documents.find(plan.filter()).sort(plan.sort()).hint(hint(scan.index)).limit(limit).batch_size(chunk);
    // The index has the ids: no document is looked at.
    let rows = if scan.ids { rows.projection(doc! { codec::ID: 1 }) } else { rows };
    page(&plan, rows.await?, most).await
}

async fn page(plan: &Plan<'_>, mut cursor: Cursor<RawDocumentBuf>, most: usize) -> Result<Rows> {
    let Scan { filter, limit, ids, .. } = plan.scan;
    let mut page = Rows::default();
    let mut last_seen = None;
    let mut seen = 0;
    while let Some(entry) = cursor.try_next().await? {
        if seen == most || page.rows.len() == *limit {
            page.next = last_seen;
            break;
        }
        seen += 1;
        let row = if *ids { codec::decode_id(&entry) } else { codec::decode(&entry) }?;
        last_seen = Some(plan.position(&entry, &row.id)?);
        if filter.iter().all(|condition| condition.matches(&row.doc)) {
            page.rows.push(row);
        }
    }
    Ok(page)
}

/// The document that a unique index has under a whole key.
pub(super) async fn find(
    documents: &DriverCollection<RawDocumentBuf>,
    collection: &'static Collection,
    index: &'static str,
    key: &[Value],
) -> Result<Option<Stored>> {
    let selected = under(collection, check::index_fields(collection, index)?, key);
    documents.find_one(selected).hint(hint(index)).await?.as_deref().map(codec::decode).transpose()
}

/// How many entries stand under a prefix, counted up to `cap`.
pub(super) async fn count(
    documents: &DriverCollection<RawDocumentBuf>,
    collection: &'static Collection,
    index: &'static str,
    prefix: &[Value],
    cap: u64,
) -> Result<u64> {
    if cap == 0 {
        return Ok(0);
    }
    let selected = under(collection, check::index_fields(collection, index)?, prefix);
    Ok(documents.count_documents(selected).hint(hint(index)).limit(cap.min(i64::MAX.unsigned_abs())).await?)
}
