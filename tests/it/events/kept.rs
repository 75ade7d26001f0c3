//! The store of a scene, read beside the daemons.

use std::path::PathBuf;

use pulse_core::store::{
    Order, Scan, Store as _,
    mongo::{MongoOptions, MongoStore},
    schema::{self, COLLECTIONS},
};
use rusqlite::{Connection, OpenFlags};
use serde_json::Value;

/// Where the store is.
pub(super) enum Kept {
    /// A SQLite database.
    File(PathBuf),
    /// MongoDB.
    Server(Box<MongoStore>),
}

impl Kept {
    /// A database of MongoDB.
    pub(super) async fn server(uri: &str) -> Self {
        Self::Server(Box::new(MongoStore::connect(MongoOptions::new(uri)).await.expect("a connection string")))
    }

    /// Every document of a collection.
    pub(super) async fn documents(&self, collection: &str) -> Vec<Value> {
        match self {
            Self::File(path) => {
                let connection = open(path);
                let mut rows = connection.prepare(&format!("SELECT doc FROM \"{collection}\"")).expect("a collection");
                let docs = rows.query_map([], |row| row.get::<_, String>(0)).expect("rows");
                docs.map(|doc| serde_json::from_str(&doc.expect("text")).expect("JSON")).collect()
            }
            Self::Server(store) => {
                let collection = COLLECTIONS.iter().find(|one| one.name == collection).expect("a collection");
                let (mut documents, mut after) = (Vec::new(), None);
                loop {
                    let scan = Scan::new(collection, schema::PRIMARY, Vec::new());
                    let scan = Scan { order: Order::Ascending, limit: 1_000, after, ..scan };
                    let page = store.scan(scan).await.expect("the store answers");
                    documents.extend(page.rows.into_iter().map(|row| row.doc));
                    match page.next {
                        Some(next) => after = Some(next),
                        None => return documents,
                    }
                }
            }
        }
    }

    /// Whether no delivery waits or is under way.
    pub(super) async fn is_quiet(&self) -> bool {
        match self {
            Self::File(path) => {
                let open_ones =
                    "SELECT count(*) FROM deliveries WHERE json_extract(doc, '$.status') IN ('pending', 'leased')";
                open(path).query_row(open_ones, [], |row| row.get::<_, i64>(0)).expect("a count") == 0
            }
            Self::Server(store) => {
                for index in ["pending", "leased"] {
                    // Away for a moment is not quiet.
                    if store.count(&schema::DELIVERIES, index, &[], 1).await.ok() != Some(0) {
                        return false;
                    }
                }
                // Two looks: what was leased at the first one and pending at the second was in neither.
                let is_open = |delivery: &Value| delivery["status"] == "pending" || delivery["status"] == "leased";
                !self.documents("deliveries").await.iter().any(is_open)
            }
        }
    }
}

fn open(path: &PathBuf) -> Connection {
    Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).expect("the store opens")
}
