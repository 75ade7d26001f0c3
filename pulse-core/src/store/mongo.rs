//! The MongoDB engine: for several daemons over one store.
//!
//! - A replica set (or a sharded cluster) of MongoDB 6.0 or newer is required: without one there are no transactions.
//! - What a commit acknowledges is in the journals of a majority and survives the loss of a minority. Reads are of what
//!   a majority has, from the primary.
//! - While there is no primary, every call answers `store_unavailable` within the settings' time limits; once there is
//!   one again, the next call works. A batch that meets a change of the primary is carried over it when time allows.
//! - Claims go by the server's clock, so daemons may disagree about the time.
//! - The connection string, and with it the password, is in no error, no log line and no `Debug`.
//!
//! How documents are stored says `codec`, how batches are applied and retried `commit`, what a check of the whole store
//! looks at `inspect`, and what is enforced when Pulse may connect to listed networks only `tunnel`.

mod abandoned;
mod changes;
mod codec;
mod commit;
mod fault;
mod inspect;
mod prepare;
mod queue;
mod scan;
mod topology;
mod tunnel;
mod write;

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use mongodb::{
    Client, Collection as DriverCollection, Database,
    bson::{Document, RawDocumentBuf, doc},
    error::Error as DriverError,
    options::{ClientOptions, ReadConcern, ReadPreference, SelectionCriteria},
};
use serde_json::Value;

use self::{fault::misconfigured, inspect::Inspection, tunnel::Tunnel};
use super::{
    Batch, Claim, Collection, CommitMode, CommitObserver, Inserted, Insertions, Outcome, Rows, Scan, Store, StoreInfo,
    Stored, check,
    schema::{COLLECTIONS, SCHEMA_VERSION},
    soundness::CheckReport,
    timing::Timing,
};
use crate::{
    error::{Error, Result},
    outbound::AddressPolicy,
    time::{Clock, Timestamp},
};

/// The collection of the heads of logs.
const LOG_HEADS: &str = "log_heads";
/// The collection of what the engine knows about the store: the schema's version and the generation.
const STATE: &str = "pulse_schema";

/// The longest that [`Store::ping`] takes.
const PING_TIME: Duration = Duration::from_secs(2);

/// Where MongoDB is and how long to wait for it.
#[derive(Clone)]
pub struct MongoOptions {
    /// The connection string, which may hold credentials. What it says about reads, writes and their retries does not
    /// count: the engine's guarantees need its own.
    pub uri: String,
    /// The database; without it the connection string's, else `pulse`.
    pub database: Option<String>,
    /// Which addresses Pulse may connect to.
    pub outbound: AddressPolicy,
    /// The name under which the server's log shows this client.
    pub app_name: String,
    /// How long to look for a primary.
    pub server_selection_timeout: Duration,
    /// How long one call of the store may take, retries and waiting for a primary included.
    pub operation_timeout: Duration,
}

impl MongoOptions {
    /// The options for a connection string, with the usual limits: 5 s to find a primary, 10 s for a call.
    pub fn new(uri: impl Into<String>) -> Self {
        Self {
            uri: uri.into(),
            database: None,
            outbound: AddressPolicy::default(),
            app_name: "pulse".to_owned(),
            server_selection_timeout: Duration::from_secs(5),
            operation_timeout: Duration::from_secs(10),
        }
    }
}

impl fmt::Debug for MongoOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MongoOptions").field("database", &self.database).finish_non_exhaustive()
    }
}

/// A store in MongoDB.
pub struct MongoStore {
    client: Client,
    db: Database,
    options: ClientOptions,
    limit: Duration,
    outbound: AddressPolicy,
    locks: commit::Locks,
    timing: Timing,
    schema_version: AtomicU32,
    location: String,
    /// Open for as long as the client may connect.
    _tunnel: Option<Tunnel>,
}

impl fmt::Debug for MongoStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MongoStore").field("location", &self.location).finish_non_exhaustive()
    }
}

impl MongoStore {
    /// The version of the schema that is there, without making or changing anything; `None` when nothing is. Refuses what
    /// [`Store::prepare`] refuses: a server without a replica set, and a newer schema than this program knows.
    pub async fn found_version(&self) -> Result<Option<u32>> {
        topology::check(&self.db, &self.options, &self.outbound).await?;
        prepare::version(&self.db).await
    }

    /// Checks the store beside daemons: collections, validators and indexes as declared, every document, the numbers and
    /// chains of every log. Reads all of it, and makes or changes nothing. `progress` is told documents read and about how
    /// many there are. What is wrong with the content is in the report.
    ///
    /// # Errors
    /// Those of [`found_version`](Self::found_version), and `store_unavailable`.
    pub async fn check(&self, progress: &mut dyn FnMut(u64, u64)) -> Result<CheckReport> {
        let version = self.found_version().await?;
        Inspection::new(self, version, progress).run().await
    }

    /// Reads the options and starts to look for the server, without waiting for it: [`Store::prepare`] and
    /// [`Store::ping`] tell whether it is there.
    ///
    /// # Errors
    /// `misconfigured` when the connection string is not valid or names a host that `outbound` forbids.
    pub async fn connect(options: MongoOptions) -> Result<Self> {
        let limit = options.operation_timeout;
        let outbound = options.outbound.clone();
        let (mut settings, database) = settings(options).await?;
        let tunnel = match &outbound.only {
            Some(_) => Some(Tunnel::open(&mut settings, outbound.clone()).await?),
            None => None,
        };
        let hosts: Vec<String> = settings.hosts.iter().map(ToString::to_string).collect();
        let client = Client::with_options(settings.clone())?;
        Ok(Self {
            db: client.database(&database),
            client,
            options: settings,
            limit,
            outbound,
            locks: commit::Locks::new(),
            timing: Timing::default(),
            schema_version: AtomicU32::new(SCHEMA_VERSION),
            location: format!("mongodb://{}/{database}", hosts.join(",")),
            _tunnel: tunnel,
        })
    }

    /// The same, telling the observer of every batch that wrote something, with all its attempts: each is a commit of its
    /// own. Claims and sweeps, which are several writes each, are not told.
    #[must_use]
    pub fn observed(mut self, clock: Arc<dyn Clock>, observer: Arc<dyn CommitObserver>) -> Self {
        self.timing = Timing::new(clock, Some(observer));
        self
    }

    fn documents(&self, collection: &Collection) -> DriverCollection<RawDocumentBuf> {
        self.db.collection(collection.name)
    }

    /// Gives up when the time for a call is over. What was begun is dropped: a transaction is aborted in the background.
    async fn bounded<T, E: Into<Error>>(
        &self,
        limit: Duration,
        call: impl IntoFuture<Output = Result<T, E>>,
    ) -> Result<T> {
        let late = |_| Error::store_unavailable(format!("MongoDB did not answer within {} ms", limit.as_millis()));
        tokio::time::timeout(limit, call).await.map_err(late)?.map_err(Into::into)
    }
}

/// The driver's settings and the name of the database.
async fn settings(options: MongoOptions) -> Result<(ClientOptions, String)> {
    if options.outbound.only.is_some() && options.uri.trim_start().starts_with("mongodb+srv:") {
        let hint = "Name the hosts: mongodb://host1,host2/?replicaSet=rs0.";
        return Err(misconfigured("PULSE_OUTBOUND_ONLY does not allow mongodb+srv", hint));
    }
    // The parser's message may quote the string, so it is not kept.
    let invalid = |_: DriverError| {
        let hint = "It looks like mongodb://user:password@host:27017/pulse?replicaSet=rs0.";
        misconfigured("the MongoDB connection string is not valid", hint)
    };
    let mut settings = ClientOptions::parse(&options.uri).await.map_err(invalid)?;
    let mut durable = commit::durable();
    durable.w_timeout = Some(options.operation_timeout);
    settings.app_name = Some(options.app_name);
    settings.server_selection_timeout = Some(options.server_selection_timeout);
    settings.connect_timeout.get_or_insert(options.server_selection_timeout);
    settings.max_pool_size.get_or_insert(100);
    settings.retry_reads = Some(true);
    settings.retry_writes = Some(true);
    settings.read_concern = Some(ReadConcern::majority());
    settings.write_concern = Some(durable);
    settings.selection_criteria = Some(SelectionCriteria::ReadPreference(ReadPreference::Primary));
    let database = options.database.or_else(|| settings.default_database.clone()).unwrap_or_else(|| "pulse".to_owned());
    if database.is_empty() || database.contains(['/', '\\', '.', ' ', '"', '$', '\0']) {
        let message = format!("{database:?} cannot be the name of a MongoDB database");
        return Err(misconfigured(&message, "Use letters, digits, - and _."));
    }
    Ok((settings, database))
}

#[async_trait]
impl Store for MongoStore {
    async fn get(&self, collection: &'static Collection, id: &str) -> Result<Option<Stored>> {
        let documents = self.documents(collection);
        let found = self.bounded(self.limit, documents.find_one(doc! { codec::ID: id })).await?;
        found.as_deref().map(codec::decode).transpose()
    }

    async fn find(
        &self,
        collection: &'static Collection,
        index: &'static str,
        key: &[Value],
    ) -> Result<Option<Stored>> {
        check::find(collection, index, key)?;
        self.bounded(self.limit, scan::find(&self.documents(collection), collection, index, key)).await
    }

    async fn scan(&self, scan: Scan) -> Result<Rows> {
        check::scan(&scan)?;
        self.bounded(self.limit, scan::scan(&self.documents(scan.collection), &scan)).await
    }

    async fn count(
        &self,
        collection: &'static Collection,
        index: &'static str,
        prefix: &[Value],
        cap: u64,
    ) -> Result<u64> {
        check::prefix(collection, index, prefix)?;
        self.bounded(self.limit, scan::count(&self.documents(collection), collection, index, prefix, cap)).await
    }

    async fn commit(&self, batch: Batch, mode: CommitMode) -> Result<Outcome> {
        check::batch(&batch)?;
        let begun = self.timing.begin_alone(&batch, mode);
        let commit = commit::commit(&self.client, &self.db, &self.locks, &batch, mode);
        let outcome = self.bounded(self.limit, commit).await?;
        self.timing.committed_alone(begun, &outcome);
        Ok(outcome)
    }

    async fn claim(&self, claim: Claim, _: Timestamp) -> Result<Vec<Stored>> {
        let due = check::claim(&claim)?;
        self.bounded(self.limit, queue::claim(&self.documents(claim.collection), &claim, due)).await
    }

    async fn now(&self, _: Timestamp) -> Result<Timestamp> {
        let hello = self.bounded(self.limit, self.db.run_command(doc! { "hello": 1 })).await?;
        let time = hello.get_datetime("localTime").map_err(Error::internal)?;
        Ok(Timestamp::from_millis(time.timestamp_millis()))
    }

    async fn inserted(&self, wanted: &Inserted) -> Result<Option<Insertions>> {
        self.bounded(self.limit, changes::inserted(&self.documents(wanted.collection), wanted)).await.map(Some)
    }

    async fn sweep(&self, now: Timestamp, limit: usize) -> Result<u64> {
        let limit = limit as u64;
        let mut removed = 0;
        for collection in COLLECTIONS {
            if let Some(expires) = collection.swept().filter(|_| removed < limit) {
                let (documents, heads) = (self.documents(collection), self.db.collection(LOG_HEADS));
                let heads = collection.logs_of_documents().map(|logs| (&heads, logs));
                let sweep = queue::sweep(&documents, heads, expires, now, limit - removed);
                removed += self.bounded(self.limit, sweep).await?;
            }
        }
        Ok(removed)
    }

    async fn tend(&self) -> Result<()> {
        let app_name = self.options.app_name.as_deref().unwrap_or_default();
        let ended = self.bounded(self.limit, abandoned::end(&self.client, app_name)).await?;
        if ended > 0 {
            tracing::warn!(ended, "transactions that somebody had left open were ended");
        }
        Ok(())
    }

    async fn generation(&self) -> Result<u64> {
        let state = self.db.collection::<Document>(STATE);
        let found = self.bounded(self.limit, state.find_one(doc! { codec::ID: "generation" })).await?;
        let value = found.and_then(|found| found.get_i64("value").ok());
        Ok(value.and_then(|value| u64::try_from(value).ok()).unwrap_or_default())
    }

    async fn prepare(&self) -> Result<()> {
        topology::check(&self.db, &self.options, &self.outbound).await?;
        self.schema_version.store(prepare::prepare(&self.db).await?, Ordering::Relaxed);
        Ok(())
    }

    /// A durable write of the engine's own: it proves a primary, a majority behind it and a place to write.
    async fn ping(&self) -> Result<()> {
        let state = self.db.collection::<Document>(STATE);
        let write = state.update_one(doc! { codec::ID: "ping" }, doc! { "$currentDate": { "at": true } }).upsert(true);
        self.bounded(PING_TIME, write).await.map(drop)
    }

    fn info(&self) -> StoreInfo {
        let schema_version = self.schema_version.load(Ordering::Relaxed);
        StoreInfo { engine: "mongodb", location: self.location.clone(), schema_version }
    }
}
