//! The statement of a list: which index it goes over, between which bounds, in which order.

use std::cmp::Ordering;

use rusqlite::types::ToSqlOutput;
use serde_json::Value;

use super::table::{has_list, index_name, sql_value, table};
use crate::{
    error::Result,
    store::{
        Order, Position, Scan, Stored, check,
        schema::{Collection, Field, Index},
    },
};

/// The statement of a scan: an index and its bounds.
#[derive(Debug)]
pub(super) struct Select<'s> {
    /// The index's fields that the prefix does not fix; never a list.
    open: Vec<&'static Field>,
    /// Whether the index's key is unique without the id.
    unique: bool,
    /// Whether the keys lie in a side table.
    side: bool,
    /// `FROM .. WHERE ..`.
    pub(super) source: String,
    /// What its parameters are, in order.
    pub(super) params: Vec<ToSqlOutput<'s>>,
}

impl<'s> Select<'s> {
    /// The statement of a scan that [`check::scan`] has let through.
    pub(super) fn new(scan: &'s Scan) -> Result<Self> {
        let collection = table(scan.collection)?.collection;
        let names = check::index_fields(collection, scan.index)?;
        let fields: Vec<&Field> = names.iter().filter_map(|name| collection.field(name)).collect();
        let index = collection.index(scan.index);
        let side = index.is_some_and(|index| has_list(collection, index));
        let mut select = Self {
            open: fields.iter().skip(scan.prefix.len()).copied().collect(),
            unique: index.is_some_and(|index| index.unique),
            side,
            source: source(collection, index, side),
            params: Vec::new(),
        };
        for (field, value) in fields.iter().zip(&scan.prefix) {
            select.bound(&format!("k.c_{}", field.name), "=", sql_value(field, value)?);
        }
        for field in fields.iter().filter(|field| !field.required && !side) {
            select.source += &format!(" AND k.c_{} IS NOT NULL", field.name);
        }
        select.range(scan)?;
        Ok(select)
    }

    /// Adds the bounds of the first open field and the position. Of two lower (or upper) bounds only the narrower is
    /// written, so that SQLite seeks to it.
    fn range(&mut self, scan: &'s Scan) -> Result<()> {
        let first = self.open.first().copied();
        let column = first.map_or_else(|| "k.id".to_owned(), |field| format!("k.c_{}", field.name));
        let value = |value: &'s Value| match first {
            Some(field) => sql_value(field, value),
            None => Ok(value.as_str().unwrap_or_default().into()),
        };
        let ahead = scan.order == Order::Ascending;
        let reached = |bound: &Value| {
            scan.after.as_ref().map(|after| match after.key.first() {
                Some(key) => compare(key, bound),
                None => bound.as_str().map_or(Ordering::Equal, |bound| after.id.as_str().cmp(bound)),
            })
        };
        if let Some(from) = scan.from.as_ref().filter(|from| !(ahead && reached(from).is_some_and(Ordering::is_ge))) {
            self.bound(&column, ">=", value(from)?);
        }
        if let Some(to) = scan.to.as_ref().filter(|to| ahead || !reached(to).is_some_and(Ordering::is_lt)) {
            self.bound(&column, "<", value(to)?);
        }
        let Some(after) = &scan.after else { return Ok(()) };
        let columns: String = self.open.iter().map(|field| format!("k.c_{}, ", field.name)).collect();
        let holes = "?, ".repeat(self.open.len());
        self.source += &format!(" AND ({columns}k.id) {} ({holes}?)", if ahead { ">" } else { "<" });
        for (field, value) in self.open.iter().zip(&after.key) {
            self.params.push(sql_value(field, value)?);
        }
        self.params.push(after.id.as_str().into());
        Ok(())
    }

    fn bound(&mut self, column: &str, operator: &str, value: ToSqlOutput<'s>) {
        self.source += &format!(" AND {column} {operator} ?");
        self.params.push(value);
    }

    /// The statement for the rows: `id, version, doc`, the latter two without a look at the document where ids are enough.
    pub(super) fn rows(&self, order: Order, ids: bool) -> String {
        let direction = if order == Order::Ascending { "ASC" } else { "DESC" };
        let mut keys: Vec<String> = self.open.iter().map(|field| format!("k.c_{} {direction}", field.name)).collect();
        if !self.unique {
            keys.push(format!("k.id {direction}"));
        }
        let docs = if self.side { "m" } else { "k" };
        let order = if keys.is_empty() { String::new() } else { format!(" ORDER BY {}", keys.join(", ")) };
        let document = if ids { "0, 'null'".to_owned() } else { format!("{docs}.version, {docs}.doc") };
        format!("SELECT k.id, {document} {}{order}", self.source)
    }

    /// Where the row with this document stands.
    pub(super) fn position(&self, stored: &Stored) -> Position {
        let key = self.open.iter().map(|field| stored.doc.get(field.name).cloned().unwrap_or(Value::Null)).collect();
        Position { key, id: stored.id.clone() }
    }
}

/// `FROM` the keys, named `k`, and for a side table the documents, named `m`. Naming the index makes a scan that could
/// not use it fail instead of being slow.
fn source(collection: &Collection, index: Option<&Index>, side: bool) -> String {
    let name = collection.name;
    match index.map(|index| index_name(collection, index)) {
        None => format!("FROM {name} AS k WHERE TRUE"),
        Some(keys) if side => format!("FROM {keys} AS k CROSS JOIN {name} AS m ON m.id = k.id WHERE TRUE"),
        Some(keys) => format!("FROM {name} AS k INDEXED BY {keys} WHERE TRUE"),
    }
}

/// The order of two keys of one field.
fn compare(a: &Value, b: &Value) -> Ordering {
    match (a, b) {
        (Value::String(a), Value::String(b)) => a.cmp(b),
        (Value::Bool(a), Value::Bool(b)) => a.cmp(b),
        _ => a.as_i64().cmp(&b.as_i64()),
    }
}
