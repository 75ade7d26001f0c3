//! The MongoDB engine: the whole conformance suite, each case in a database of its own, and what only this engine has.

mod changes;
mod check;
mod failover;
mod outbound;
mod schema;

use std::{sync::Arc, time::Duration};

use mongodb::Client;
use pulse_core::store::{
    SharedStore,
    mongo::{MongoOptions, MongoStore},
    testing::model,
};
use pulse_tests::peers::mongo::Mongo;

pulse_core::store_conformance!(conformance, fresh);

#[test]
fn it_is_like_the_memory_engine_on_random_programs() {
    model::assert_like_memory(16, 1, fresh);
}

/// An empty, prepared store, and the database that is dropped after it.
async fn fresh() -> (SharedStore, Database) {
    let database = Database::of(Mongo::shared().await).await;
    (database.prepared().await, database)
}

/// A database that is dropped with this.
struct Database {
    client: Client,
    name: String,
    uri: String,
}

impl Database {
    async fn of(mongo: &Mongo) -> Self {
        let name = mongo.unique_database();
        Self { client: mongo.client().await, uri: mongo.uri(&name), name }
    }

    /// A store on the database, prepared or not.
    async fn store(&self) -> SharedStore {
        Arc::new(MongoStore::connect(MongoOptions::new(&self.uri)).await.expect("the options are valid"))
    }

    async fn prepared(&self) -> SharedStore {
        let store = self.store().await;
        store.prepare().await.expect("the database can be prepared");
        store
    }

    /// The database as an operator reaches it, around Pulse.
    fn around(&self) -> mongodb::Database {
        self.client.database(&self.name)
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let dropped = async { self.around().drop().await };
        tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(dropped)).expect("it can be dropped");
    }
}

/// Options that give up soon, for servers that a test takes away.
fn impatient(uri: &str) -> MongoOptions {
    let mut options = MongoOptions::new(uri);
    options.server_selection_timeout = Duration::from_secs(1);
    options.operation_timeout = Duration::from_secs(4);
    options
}
