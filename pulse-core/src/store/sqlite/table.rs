//! How a declared collection lies in SQLite: its tables, indexes and statements, derived from the declaration.
//!
//! A collection is a table of `id`, `version` and `doc` (JSON), with a column `c_<field>` for each scalar field that an
//! index, the expiry or the log uses. An index over a list is a side table `<collection>__<index>` of its keys and ids.
//! Absent and null fields are NULL, and rows with one are in no index.

use std::{collections::HashMap, sync::LazyLock};

use rusqlite::types::{ToSqlOutput, ValueRef};
use serde_json::Value;

use crate::{
    error::{Error, Result},
    store::schema::{COLLECTIONS, Collection, Field, FieldType, Index},
};

/// A collection's place in the database.
#[derive(Debug)]
pub(super) struct Table {
    /// The declaration.
    pub(super) collection: &'static Collection,
    /// The fields that have a column.
    pub(super) columns: Vec<&'static Field>,
    /// The indexes that are side tables.
    pub(super) sides: Vec<Side>,
    /// `id` -> `version, doc`.
    pub(super) get: String,
    /// `id, doc, columns..`.
    pub(super) insert: String,
    /// `id` -> `rowid, version, columns..`.
    pub(super) columns_of: String,
    /// `id, version`.
    pub(super) delete: String,
    /// `now, limit` -> `id, version` of rows that have expired, for collections that declare an expiry.
    pub(super) expired: Option<String>,
}

/// An index over a list.
#[derive(Debug)]
pub(super) struct Side {
    /// The declaration.
    pub(super) index: &'static Index,
    /// The side table's name.
    pub(super) name: String,
    /// `keys.., id`.
    pub(super) insert: String,
    /// `keys.., id`.
    pub(super) delete: String,
    /// `keys.., id` -> a row when there is one.
    pub(super) lookup: String,
}

static TABLES: LazyLock<HashMap<&'static str, Table>> =
    LazyLock::new(|| COLLECTIONS.iter().map(|collection| (collection.name, Table::new(collection))).collect());

/// The place of a collection. Errors: `internal` for one that is not declared.
pub(super) fn table(collection: &'static Collection) -> Result<&'static Table> {
    TABLES
        .get(collection.name)
        .ok_or_else(|| Error::internal(format!("collection {} is not declared", collection.name)))
}

/// The name of the SQLite index or side table of a declared index.
pub(super) fn index_name(collection: &Collection, index: &Index) -> String {
    format!("{}__{}", collection.name, index.name)
}

/// Whether an index is over a list, and so a side table.
pub(super) fn has_list(collection: &Collection, index: &Index) -> bool {
    index.fields.iter().any(|name| collection.field(name).is_some_and(|field| field.kind == FieldType::TextList))
}

/// A value as SQLite has it. Errors: `internal` for one that is not of the field's kind.
pub(super) fn sql_value<'v>(field: &Field, value: &'v Value) -> Result<ToSqlOutput<'v>> {
    let sql = match (field.kind, value) {
        (_, Value::Null) => ValueRef::Null,
        (FieldType::Text | FieldType::Time | FieldType::TextList, Value::String(text)) => {
            ValueRef::Text(text.as_bytes())
        }
        (FieldType::Bool, Value::Bool(flag)) => ValueRef::Integer(i64::from(*flag)),
        (FieldType::Int, Value::Number(number)) if number.is_i64() => {
            ValueRef::Integer(number.as_i64().unwrap_or_default())
        }
        _ => return Err(Error::internal(format!("a value for the field {} is not of its declared type", field.name))),
    };
    Ok(ToSqlOutput::Borrowed(sql))
}

impl Table {
    fn new(collection: &'static Collection) -> Self {
        let name = collection.name;
        let (lists, plain): (Vec<&Index>, Vec<&Index>) =
            collection.indexes.iter().partition(|i| has_list(collection, i));
        let logged: &[&str] = if collection.log.is_some() { &["log", "seq"] } else { &[] };
        let used = |field: &&Field| {
            let indexed = plain.iter().any(|index| index.fields.contains(&field.name));
            indexed || collection.swept() == Some(field.name) || logged.contains(&field.name)
        };
        let columns: Vec<&Field> = collection.fields.iter().filter(used).collect();
        let each = |first: usize, format: &dyn Fn(&str, usize) -> String| -> String {
            columns.iter().enumerate().map(|(at, field)| format(field.name, at + first)).collect()
        };
        Self {
            get: format!("SELECT version, doc FROM {name} WHERE id = ?1"),
            insert: format!(
                "INSERT INTO {name} (id, version, doc{}) VALUES (?1, 1, ?2{})",
                each(3, &|field, _| format!(", c_{field}")),
                each(3, &|_, at| format!(", ?{at}")),
            ),
            columns_of: format!(
                "SELECT rowid, version{} FROM {name} WHERE id = ?1",
                each(0, &|field, _| format!(", c_{field}"))
            ),
            delete: format!("DELETE FROM {name} WHERE id = ?1 AND version = ?2"),
            expired: collection.swept().map(|field| {
                format!("SELECT id, version FROM {name} WHERE c_{field} <= ?1 ORDER BY c_{field} LIMIT ?2")
            }),
            sides: lists.into_iter().map(|index| Side::new(collection, index)).collect(),
            columns,
            collection,
        }
    }

    /// The statement that gives a row a new document and new values for these of [`Table::columns`]: `rowid, doc, values..`.
    /// SQLite takes out and puts in the entries of all indexes over a column that is set, also to what it was.
    pub(super) fn update(&self, columns: &[usize]) -> String {
        let set = columns.iter().zip(3..).map(|(column, at)| format!(", c_{} = ?{at}", self.columns[*column].name));
        let set = set.collect::<String>();
        format!("UPDATE {} SET version = version + 1, doc = ?2{set} WHERE rowid = ?1", self.collection.name)
    }

    /// The document's values for [`Table::columns`], in order.
    pub(super) fn values<'v>(&self, doc: &'v Value) -> Result<Vec<ToSqlOutput<'v>>> {
        self.columns.iter().map(|field| sql_value(field, doc.get(field.name).unwrap_or(&Value::Null))).collect()
    }

    /// The statements that make whatever of the collection does not exist yet.
    pub(super) fn create(&self) -> String {
        let Collection { name, fields, indexes, .. } = self.collection;
        let column = |field: &Field| {
            let kind = if matches!(field.kind, FieldType::Int | FieldType::Bool) { "INTEGER" } else { "TEXT" };
            format!("c_{} {kind}", field.name)
        };
        let columns: String = self.columns.iter().map(|field| format!(", {}", column(field))).collect();
        let mut sql = format!(
            "CREATE TABLE IF NOT EXISTS {name} (id TEXT NOT NULL PRIMARY KEY, version INTEGER NOT NULL, doc TEXT NOT NULL{columns}) STRICT;\n"
        );
        for index in *indexes {
            let of_index: Vec<&Field> =
                index.fields.iter().filter_map(|name| fields.iter().find(|f| f.name == *name)).collect();
            let place = index_name(self.collection, index);
            let names = index.fields.iter().map(|field| format!("c_{field}")).collect::<Vec<_>>().join(", ");
            sql += &if has_list(self.collection, index) {
                let columns: String = of_index.iter().map(|field| format!("{} NOT NULL, ", column(field))).collect();
                format!(
                    "CREATE TABLE IF NOT EXISTS {place} ({columns}id TEXT NOT NULL, PRIMARY KEY ({names}, id)) STRICT, WITHOUT ROWID;\n"
                )
            } else {
                let (kind, key) =
                    if index.unique { ("UNIQUE INDEX", names) } else { ("INDEX", format!("{names}, id")) };
                format!("CREATE {kind} IF NOT EXISTS {place} ON {name} ({key}){};\n", partial(&of_index))
            };
        }
        if let Some(field) = self.collection.swept().and_then(|expires| self.collection.field(expires)) {
            let condition = partial(&[field]);
            sql += &format!("CREATE INDEX IF NOT EXISTS {name}__expiry ON {name} (c_{}){condition};\n", field.name);
        }
        sql
    }
}

/// Leaves rows that lack a value out of an index.
fn partial(fields: &[&Field]) -> String {
    let optional = fields.iter().filter(|field| !field.required).map(|field| format!("c_{} IS NOT NULL", field.name));
    let conditions = optional.collect::<Vec<_>>().join(" AND ");
    if conditions.is_empty() { conditions } else { format!(" WHERE {conditions}") }
}

impl Side {
    fn new(collection: &Collection, index: &'static Index) -> Self {
        let name = index_name(collection, index);
        let params: String = (1..=index.fields.len()).map(|at| format!("?{at}, ")).collect();
        let same: String = index.fields.iter().zip(1..).map(|(field, at)| format!("c_{field} = ?{at} AND ")).collect();
        let id = index.fields.len() + 1;
        Self {
            insert: format!("INSERT INTO {name} VALUES ({params}?{id})"),
            delete: format!("DELETE FROM {name} WHERE {same}id = ?{id}"),
            lookup: format!("SELECT 1 FROM {name} WHERE {same}id = ?{id}"),
            index,
            name,
        }
    }

    /// The parameters of the statements: a key and the id.
    pub(super) fn values<'v>(
        &self,
        collection: &Collection,
        key: &'v [Value],
        id: &'v str,
    ) -> Result<Vec<ToSqlOutput<'v>>> {
        let fields = self.index.fields.iter().filter_map(|name| collection.field(name));
        fields.zip(key).map(|(field, value)| sql_value(field, value)).chain([Ok(id.into())]).collect()
    }
}
