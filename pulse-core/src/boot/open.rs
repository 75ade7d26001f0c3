//! From settings to a plane, for the daemon and for a local command line alike: opens the store, holds its locks, and
//! puts the plane together.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{Assembled, Assembly, assemble};
use crate::{
    config::{Settings, StoreLocation},
    entropy::Entropy,
    error::{Code, Error, Result},
    metrics::Metrics,
    secret::Secret,
    store::{
        CommitObserver, SharedStore,
        memory::MemoryStore,
        mongo::{MongoOptions, MongoStore},
        sqlite::{SqliteOptions, SqliteStore, locks::DaemonLock},
    },
    time::Clock,
};

/// Who opens the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The daemon: one at a time on a SQLite store; makes the operator's token when there is none.
    Daemon,
    /// A command line beside it: must be run by the owner of the store's file.
    Local,
}

/// A plane over an open store.
#[expect(missing_debug_implementations, reason = "holds a secret")]
pub struct Opened {
    /// The plane, and the operator's token if it was made just now.
    pub assembled: Assembled,
    /// Keeps other daemons away for as long as it lives.
    pub daemon_lock: Option<DaemonLock>,
}

/// An open store and where files belong to it.
#[derive(Debug)]
pub struct OpenStore {
    /// The store, not prepared yet.
    pub store: SharedStore,
    /// The database's path; `None` in memory and with MongoDB.
    pub beside: Option<PathBuf>,
    /// Whether it lives only as long as the process.
    pub in_memory: bool,
}

/// Chooses the cryptography of TLS and of tokens for this process. Call it first; a second call does nothing.
pub fn install_cryptography() {
    // Each fails only when another choice was made before, which then holds.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let _ = jsonwebtoken::crypto::rust_crypto::DEFAULT_PROVIDER.install_default();
}

/// Opens the store that the settings name. It is not prepared yet.
pub async fn open_store(settings: &Settings, clock: Arc<dyn Clock>, metrics: &Metrics) -> Result<OpenStore> {
    let observer: Arc<dyn CommitObserver> = Arc::new(Observer(metrics.clone()));
    Ok(match &settings.store {
        StoreLocation::Memory => {
            let store = MemoryStore::new().observed(clock, observer);
            OpenStore { store: Arc::new(store), beside: None, in_memory: true }
        }
        StoreLocation::Sqlite(path) => {
            let mut options = SqliteOptions::new(path, clock);
            options.observer = Some(observer);
            OpenStore { store: Arc::new(SqliteStore::open(options)?), beside: Some(path.clone()), in_memory: false }
        }
        StoreLocation::Mongo { uri, database } => {
            let store = connect_mongo(settings, uri, database.as_deref()).await?.observed(clock, observer);
            OpenStore { store: Arc::new(store), beside: None, in_memory: false }
        }
    })
}

/// A MongoDB store, not prepared: for work on the store itself.
pub async fn connect_mongo(settings: &Settings, uri: &Secret, database: Option<&str>) -> Result<MongoStore> {
    let mut options = MongoOptions::new(uri.expose());
    options.database = database.map(str::to_owned);
    options.outbound = settings.address_policy();
    MongoStore::connect(options).await
}

/// Opens the store and puts a plane over it.
///
/// Errors: `store_locked` when another daemon serves the store, `misconfigured`, `store_newer`, `store_unavailable`;
/// `forbidden` for a local command line of another user.
pub async fn open(
    settings: &Settings,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    metrics: Metrics,
    role: Role,
) -> Result<Opened> {
    let daemon_lock = match (&settings.store, role) {
        (StoreLocation::Sqlite(path), Role::Daemon) => Some(DaemonLock::acquire(path)?),
        (StoreLocation::Sqlite(path), Role::Local) => {
            check_owner(path)?;
            None
        }
        (StoreLocation::Memory | StoreLocation::Mongo { .. }, _) => None,
    };
    let mut plane_settings = settings.plane_settings();
    if role == Role::Local {
        // The operator has no limits, and a command is no daemon for others to count.
        plane_settings.redis = None;
    }
    let OpenStore { store, beside, in_memory } = open_store(settings, Arc::clone(&clock), &metrics).await?;
    let assembly = Assembly {
        store,
        beside,
        in_memory,
        secrets: settings.secrets(),
        settings: plane_settings,
        outbound: settings.outbound(),
        clock,
        entropy,
        metrics,
        engine: None,
    };
    let assembled = assemble(assembly, role == Role::Daemon).await.map_err(at_start)?;
    Ok(Opened { assembled, daemon_lock })
}

/// An error that ends a start. The general hint of an unreachable store speaks to callers of a daemon that runs.
fn at_start(error: Error) -> Error {
    if error.code() != Code::StoreUnavailable || error.hint_text() != Code::StoreUnavailable.info().hint {
        return error;
    }
    error.hint("Check that the store which PULSE_STORE names runs, and that this machine can reach it.")
}

/// Refuses a user who does not own the store's file: what root makes beside it, the daemon's user could not open.
///
/// Errors: `forbidden`.
pub fn check_owner(path: &Path) -> Result<()> {
    use std::os::unix::fs::MetadataExt as _;
    let Ok(found) = std::fs::metadata(path) else { return Ok(()) };
    if found.uid() == rustix::process::geteuid().as_raw() {
        return Ok(());
    }
    Err(Error::new(Code::Forbidden, format!("the store {} belongs to another user", path.display()))
        .hint("Run this as the user that pulsed runs as, or use the daemon through --server."))
}

#[derive(Debug)]
struct Observer(Metrics);

impl CommitObserver for Observer {
    #[expect(clippy::cast_precision_loss, reason = "a group has at most a few hundred batches")]
    fn committed(&self, jobs: usize, seconds: f64) {
        self.0.commit_seconds.observe(seconds);
        self.0.commit_group.observe(jobs as f64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_without_the_store_says_what_to_look_at() {
        let hint = |error: Error| at_start(error).hint_text().to_owned();
        let unreachable = hint(Error::store_unavailable("connection refused"));
        assert!(unreachable.contains("PULSE_STORE") && !unreachable.contains("Retry-After"), "{unreachable}");
        assert_eq!(hint(Error::store_unavailable("no space").hint("Make space.")), "Make space.");
        assert_eq!(hint(Error::new(Code::StoreNewer, "newer")), Code::StoreNewer.info().hint);
    }
}
