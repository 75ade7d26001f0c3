//! What daemons have their store in: a file, as they are shipped, or a database in a real MongoDB, a replica set of one that
//! syncs its journal before a commit counts.

use std::{path::Path, sync::Arc};

use pulse_core::{
    store::{
        SharedStore,
        mongo::{MongoOptions, MongoStore},
        sqlite::{SqliteOptions, SqliteStore},
    },
    time::SystemClock,
};
use pulse_tests::{
    daemon::DaemonOptions,
    peers::mongo::{Memory, Mongo},
};

use super::scale::{Counts, Scale};

/// See the head of this file. A copy is the same store.
#[derive(Clone)]
pub(super) enum Ground {
    /// SQLite, in a file in the daemon's folder.
    File,
    /// A database of its own in this server.
    Database(Arc<Mongo>, String),
}

impl Ground {
    /// A database in a server that has nothing else.
    pub(super) async fn mongodb() -> Self {
        Self::in_server(&Arc::new(Mongo::start_with(Memory::FOR_LOADS).await))
    }

    /// A new database in this server.
    pub(super) fn in_server(server: &Arc<Mongo>) -> Self {
        Self::Database(Arc::clone(server), server.unique_database())
    }

    /// An empty store of the same kind.
    pub(super) fn fresh(&self) -> Self {
        match self {
            Self::File => Self::File,
            Self::Database(server, _) => Self::in_server(server),
        }
    }

    /// How a daemon is started over it.
    pub(super) fn options(&self) -> DaemonOptions {
        match self {
            Self::File => DaemonOptions::new(),
            Self::Database(server, name) => DaemonOptions::new().over_mongodb(server.uri(name)),
        }
    }

    /// The store of the daemon whose folder this is, which must not run when it is a file.
    pub(super) async fn open(&self, folder: &Path) -> SharedStore {
        let store: SharedStore = match self {
            Self::File => {
                let (database, clock) = (folder.join("pulse-data/pulse.db"), Arc::new(SystemClock::new()));
                Arc::new(SqliteStore::open(SqliteOptions::new(database, clock)).expect("opens"))
            }
            Self::Database(server, name) => {
                Arc::new(MongoStore::connect(MongoOptions::new(server.uri(name))).await.expect("connects"))
            }
        };
        store.prepare().await.expect("prepares");
        store
    }

    /// How much of what depends on the engine.
    pub(super) fn counts(&self, scale: &Scale) -> Counts {
        match self {
            Self::File => scale.sqlite,
            Self::Database(..) => scale.mongodb,
        }
    }

    /// What a row says of it.
    pub(super) fn said(&self) -> &'static str {
        match self {
            Self::File => "",
            Self::Database(..) => ", over MongoDB",
        }
    }

    /// The process beside the daemons.
    pub(super) fn process(&self) -> Option<u32> {
        match self {
            Self::File => None,
            Self::Database(server, _) => Some(server.process().id()),
        }
    }
}
