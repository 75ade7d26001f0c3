//! A real MongoDB on a loopback port and in a temporary folder of its own.
//!
//! `start` and `shared` give a replica set of one that is primary, so transactions work; `guarded` one that wants a
//! password; `standalone` a server without a replica set, which Pulse must refuse. No client is kept: a MongoDB client lives on the runtime of the
//! test that makes it.

use std::fs::Permissions;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use mongodb::Client;
use mongodb::bson::{Document, doc};
use tempfile::TempDir;
use tokio::sync::OnceCell;

use crate::process::{Child, READY};
use crate::proxy::Proxy;
use crate::{ports, reaper};

const REPLICA_SET: &str = "rs0";
/// The user, and the password, who makes the others of a guarded server.
const ADMIN: &str = "admin-of-the-tests";
/// MongoDB writes a last checkpoint when it ends.
const SHUTDOWN: Duration = Duration::from_secs(20);

/// How much a server may keep in memory, and for how long it remembers what was written.
#[derive(Clone, Copy, Debug)]
pub struct Memory {
    /// Its cache, in GiB.
    cache_gib: f64,
    /// Its log of operations, in MiB.
    oplog_mib: u32,
}

impl Memory {
    /// For tests, many of which run at once: the smallest cache that there is.
    pub const SMALL: Self = Self { cache_gib: 0.25, oplog_mib: 64 };
    /// For loads: the cache that MongoDB takes by itself on a machine with 4 GiB, and the smallest log that it makes by itself.
    pub const FOR_LOADS: Self = Self { cache_gib: 1.5, oplog_mib: 990 };
}

/// Who is let in.
#[derive(Debug)]
struct Login {
    user: String,
    password: String,
}

/// A MongoDB server, ended when dropped.
#[derive(Debug)]
pub struct Mongo {
    process: Option<Child>,
    address: SocketAddr,
    /// Where clients find it: its address, or that of a proxy before it.
    door: SocketAddr,
    replica_set: bool,
    memory: Memory,
    login: Option<Login>,
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
        Self::start_with(Memory::SMALL).await
    }

    /// A replica set of one with this much memory.
    pub async fn start_with(memory: Memory) -> Self {
        Self::primary(memory, None).await
    }

    /// A replica set of one that lets nobody in but this user, who has these roles in the database of the same name.
    pub async fn guarded(user: &str, password: &str, roles: &[&str]) -> Self {
        let login = Login { user: user.to_owned(), password: password.to_owned() };
        let mongo = Self::primary(Memory::SMALL, Some(login)).await;
        // As long as there is no user, whoever is on this machine may make the first one.
        mongo.admin(doc! { "createUser": ADMIN, "pwd": ADMIN, "roles": ["root"] }).await;
        let admin = format!("mongodb://{ADMIN}:{ADMIN}@{}/admin?directConnection=true", mongo.address);
        let admin = Client::with_uri_str(admin).await.expect("the connection string is valid");
        let create = doc! { "createUser": user, "pwd": password, "roles": roles };
        admin.database(user).run_command(create).await.expect("a user is made");
        mongo
    }

    async fn primary(memory: Memory, login: Option<Login>) -> Self {
        let mongo = Self::boot(true, memory, login).await;
        mongo.initiate().await;
        mongo
    }

    /// The same, reached through a proxy alone, also by whoever asks it for its members.
    pub async fn start_behind_proxy() -> (Self, Proxy) {
        let mut mongo = Self::boot(true, Memory::SMALL, None).await;
        let proxy = Proxy::before(vec![mongo.address]).await;
        mongo.door = proxy.address();
        mongo.initiate().await;
        (mongo, proxy)
    }

    async fn initiate(&self) {
        let member = doc! { "_id": 0, "host": self.door.to_string() };
        self.admin(doc! { "replSetInitiate": { "_id": REPLICA_SET, "members": [member] } }).await;
        self.until_primary().await;
    }

    /// A server without a replica set.
    pub async fn standalone() -> Self {
        Self::boot(false, Memory::SMALL, None).await
    }

    async fn boot(replica_set: bool, memory: Memory, login: Option<Login>) -> Self {
        let folder = reaper::temporary_folder("mongo");
        let address = ports::free_address();
        let mut mongo = Self { process: None, address, door: address, replica_set, memory, login, folder };
        mongo.spawn().await;
        mongo
    }

    async fn spawn(&mut self) {
        let data = self.folder.path().join("data");
        std::fs::create_dir_all(&data).expect("the data folder can be made");
        let mut command = Command::new(super::installed("bin/mongod"));
        command.arg("--dbpath").arg(&data);
        command.args(["--bind_ip", "127.0.0.1", "--port", &self.address.port().to_string(), "--nounixsocket"]);
        command.args(["--wiredTigerCacheSizeGB", &self.memory.cache_gib.to_string()]);
        command.args(["--setParameter", "diagnosticDataCollectionEnabled=false"]);
        if self.replica_set {
            command.args(["--replSet", REPLICA_SET, "--oplogSize", &self.memory.oplog_mib.to_string()]);
        }
        if self.login.is_some() {
            command.arg("--keyFile").arg(self.key_file());
        }
        let process = Child::spawn("mongod", &mut command, self.folder.path());
        process.until_connects(self.address).await;
        self.process = Some(process);
    }

    /// A key by which members would know each other, which has MongoDB ask everybody for a password.
    fn key_file(&self) -> PathBuf {
        let path = self.folder.path().join("key");
        std::fs::write(&path, "a2V5LW9mLXRoZS10ZXN0cw==").expect("a file can be written");
        // MongoDB refuses one that others could read.
        std::fs::set_permissions(&path, Permissions::from_mode(0o600)).expect("its rights can be set");
        path
    }

    /// The connection string for a database.
    pub fn uri(&self, database: &str) -> String {
        let login = self.login.as_ref().map(|login| format!("{}:{}@", login.user, login.password)).unwrap_or_default();
        let options = if self.replica_set { format!("?replicaSet={REPLICA_SET}") } else { String::new() };
        format!("mongodb://{login}{}/{database}{options}", self.door)
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
