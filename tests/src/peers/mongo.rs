//! A real MongoDB on a loopback port and in a temporary folder of its own.
//!
//! `start` and `shared` give a replica set of one that is primary, so transactions work; `standalone` gives a server
//! without a replica set, which Pulse must refuse. No client is kept: a MongoDB client lives on the runtime of the
//! test that makes it.

use std::net::SocketAddr;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use mongodb::Client;
use mongodb::bson::{Document, doc};
use tempfile::TempDir;
use tokio::sync::OnceCell;

use crate::process::{Child, READY};
use crate::{ports, reaper};

const REPLICA_SET: &str = "rs0";
/// MongoDB writes a last checkpoint when it ends.
const SHUTDOWN: Duration = Duration::from_secs(20);

/// A MongoDB server, ended when dropped.
#[derive(Debug)]
pub struct Mongo {
    process: Option<Child>,
    address: SocketAddr,
    replica_set: bool,
    // Removed after the process has ended: fields are dropped in order.
    folder: TempDir,
}

impl Mongo {
    /// The instance that the tests of this process share; each takes a database of its own (`unique_database`).
    pub async fn shared() -> &'static Self {
        static SHARED: OnceCell<Mongo> = OnceCell::const_new();
        SHARED.get_or_init(Self::start).await
    }

    /// A replica set of one, for a test that stops it or makes it step down.
    pub async fn start() -> Self {
        let mongo = Self::boot(true).await;
        let member = doc! { "_id": 0, "host": mongo.address.to_string() };
        mongo.admin(doc! { "replSetInitiate": { "_id": REPLICA_SET, "members": [member] } }).await;
        mongo.until_primary().await;
        mongo
    }

    /// A server without a replica set.
    pub async fn standalone() -> Self {
        Self::boot(false).await
    }

    async fn boot(replica_set: bool) -> Self {
        let folder = reaper::temporary_folder("mongo");
        let mut mongo = Self { process: None, address: ports::free_address(), replica_set, folder };
        mongo.spawn().await;
        mongo
    }

    async fn spawn(&mut self) {
        let data = self.folder.path().join("data");
        std::fs::create_dir_all(&data).expect("the data folder can be made");
        let mut command = Command::new(super::installed("bin/mongod"));
        command.arg("--dbpath").arg(&data);
        command.args(["--bind_ip", "127.0.0.1", "--port", &self.address.port().to_string(), "--nounixsocket"]);
        command.args(["--wiredTigerCacheSizeGB", "0.25", "--setParameter", "diagnosticDataCollectionEnabled=false"]);
        if self.replica_set {
            command.args(["--replSet", REPLICA_SET, "--oplogSize", "64"]);
        }
        let process = Child::spawn("mongod", &mut command, self.folder.path());
        process.until_connects(self.address).await;
        self.process = Some(process);
    }

    /// The connection string for a database.
    pub fn uri(&self, database: &str) -> String {
        let options = if self.replica_set { format!("?replicaSet={REPLICA_SET}") } else { String::new() };
        format!("mongodb://{}/{database}{options}", self.address)
    }

    /// A database name that no other test has, not even one of another process.
    pub fn unique_database(&self) -> String {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        format!("test_{}_{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
    }

    /// A client on the runtime of the caller.
    pub async fn client(&self) -> Client {
        Client::with_uri_str(self.uri("admin")).await.expect("the connection string is valid")
    }

    /// The process, to signal it or to read its log.
    ///
    /// # Panics
    /// While it is stopped.
    pub fn process(&self) -> &Child {
        self.process.as_ref().expect("MongoDB is stopped")
    }

    /// Ends the server in order and keeps its data and its port.
    pub async fn stop(&mut self) {
        self.process().terminate(SHUTDOWN).await;
        self.process = None;
    }

    /// Kills the server as a power cut would and keeps its data and its port.
    pub async fn kill(&mut self) {
        self.process().kill().await;
        self.process = None;
    }

    /// Starts a stopped server again on the same data and port, and waits until it takes writes.
    pub async fn restart(&mut self) {
        self.spawn().await;
        self.until_primary().await;
    }

    /// Makes the primary step down: writes fail for `seconds`, then it is elected again.
    pub async fn step_down(&self, seconds: u32) {
        let mut command = doc! { "replSetStepDown": seconds };
        command.extend(doc! { "secondaryCatchUpPeriodSecs": 0, "force": true });
        self.admin(command).await;
    }

    /// Waits until the server takes writes.
    pub async fn until_primary(&self) {
        let client = self.direct().await;
        let admin = client.database("admin");
        self.process()
            .until("it takes writes", READY, async || {
                let hello = admin.run_command(doc! { "hello": 1 }).await.ok()?;
                hello.get_bool("isWritablePrimary").ok().filter(|primary| *primary)
            })
            .await;
    }

    /// Runs a command on the `admin` database of this very server, primary or not.
    ///
    /// # Panics
    /// When MongoDB answers with an error.
    pub async fn admin(&self, command: Document) -> Document {
        let name = command.keys().next().cloned().unwrap_or_default();
        let answer = self.direct().await.database("admin").run_command(command).await;
        answer.unwrap_or_else(|error| panic!("{name} failed: {error}\n{}", self.process().log_tail()))
    }

    /// A client that talks to this server in any state instead of looking for the primary.
    async fn direct(&self) -> Client {
        let uri = format!("mongodb://{}/?directConnection=true", self.address);
        Client::with_uri_str(uri).await.expect("the connection string is valid")
    }
}
