//! Verification of credentials: form, cache, digest, state, network; in this order, so that garbage costs next to nothing.
//!
//! A key's record is cached with its project and organization. A cached record is honoured while the store's generation
//! number stays the same. The daemon's worker reads it twice a second; where nobody does, as in a local command line, it
//! is read when a record is older than [`MAX_STALE`], and when it cannot be read, no record is honoured.

mod operator;
mod record;
mod uses;

pub use record::KeyRecord;
pub use uses::{Outdated, Rehashed, Uses};

use std::{
    hash::Hash,
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use parking_lot::RwLock;
use quick_cache::sync::Cache;
use tokio::sync::{Mutex, Semaphore};

use self::operator::Operator;
use super::{
    caller::{Caller, KeyCaller, OperatorVia, unauthenticated},
    key::{self, Presented},
    network,
    pepper::{Digest, Peppers},
};
use crate::{
    error::{Code, Error, Result},
    id::{OrgId, ProjectId},
    limit::{Limiter, Rate},
    metrics::Metrics,
    model::{api_key::KeyStatus, key_use::KeyUse, organization::Organization, project::ProjectState, tenant::Tenant},
    repo::{api_keys::ApiKeys, bans::Bans, organizations::Organizations, projects::Projects},
    secret::Secret,
    store::SharedStore,
    time::Clock,
};

/// Keys that are kept in memory.
const KEY_CAPACITY: usize = 200_000;
/// Projects and organizations that are kept in memory.
const TENANT_CAPACITY: usize = 100_000;
/// Unknown ids that are kept in memory, each for [`NEGATIVE_MILLIS`].
const NEGATIVE_CAPACITY: usize = 20_000;
/// For how long an unknown id stays unknown without asking the store again.
const NEGATIVE_MILLIS: u64 = 1_000;
/// Look-ups of keys that are not in memory that may be under way in the store at once, so that garbage does not take it.
const LOOKUPS_AT_ONCE: usize = 64;
/// For how long a look-up waits for its turn, since a change to one key empties the caches for all of them.
const LOOKUP_PATIENCE: Duration = Duration::from_secs(2);
/// Failed authentications a minute and address, after which keys that are not cached are refused.
const FAILURES: Rate = Rate { per_minute: 100 };
/// For how long cached records are honoured while the store's generation cannot be read.
pub const MAX_STALE: Duration = Duration::from_secs(10);
/// How much newer a use must be than the recorded one to be recorded.
const USE_STEP_MILLIS: u64 = 10_000;

type PublicId = [u8; key::ID_CHARS];

/// What a request presents.
#[derive(Clone, Copy)]
#[expect(missing_debug_implementations, reason = "holds a secret")]
pub enum Credentials<'a> {
    /// One bearer secret.
    Bearer(&'a str),
    /// A public key and its secret.
    Pair {
        /// `pulse_key_...`
        key: &'a str,
        /// `pulse_secret_...`
        secret: &'a str,
    },
}

/// Verifies credentials and knows the tenants of recent calls.
pub struct Keyring {
    store: SharedStore,
    bans: Bans,
    keys: ApiKeys,
    projects: Projects,
    organizations: Organizations,
    peppers: Peppers,
    clock: Arc<dyn Clock>,
    metrics: Metrics,
    records: Cache<PublicId, Arc<KeyRecord>>,
    unknown: Cache<PublicId, u64>,
    tenants: Cache<ProjectId, Tenant>,
    orgs: Cache<OrgId, Arc<Organization>>,
    lookups: Semaphore,
    failures: Limiter<IpAddr>,
    operator: RwLock<Operator>,
    /// Grows when the caches are dropped, so that what was read before is not put into them after.
    epoch: AtomicU64,
    generation: AtomicU64,
    confirmed_millis: AtomicU64,
    /// Held by the one caller that reads the generation because nobody has done so lately.
    catching_up: Mutex<()>,
    uses: Uses,
    rehashed: Rehashed,
}

impl std::fmt::Debug for Keyring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keyring").field("records", &self.records.len()).finish_non_exhaustive()
    }
}

impl Keyring {
    /// An empty keyring over this store.
    pub fn new(store: SharedStore, peppers: Peppers, clock: Arc<dyn Clock>, metrics: Metrics) -> Self {
        let now = u64::try_from(clock.monotonic().as_millis()).unwrap_or(u64::MAX);
        Self {
            bans: Bans(store.clone()),
            keys: ApiKeys(store.clone()),
            projects: Projects(store.clone()),
            organizations: Organizations(store.clone()),
            store,
            peppers,
            clock,
            metrics,
            records: Cache::new(KEY_CAPACITY),
            unknown: Cache::new(NEGATIVE_CAPACITY),
            tenants: Cache::new(TENANT_CAPACITY),
            orgs: Cache::new(TENANT_CAPACITY),
            lookups: Semaphore::new(LOOKUPS_AT_ONCE),
            failures: Limiter::new(100_000),
            operator: RwLock::new(Operator::unread()),
            epoch: AtomicU64::new(1),
            generation: AtomicU64::new(0),
            confirmed_millis: AtomicU64::new(now),
            catching_up: Mutex::default(),
            uses: Uses::default(),
            rehashed: Rehashed::default(),
        }
    }

    /// Who presents these credentials from `ip`.
    pub async fn verify(&self, credentials: Credentials<'_>, ip: Option<IpAddr>) -> Result<Caller> {
        let (key, secret) = match credentials {
            Credentials::Bearer(secret) => (None, secret),
            Credentials::Pair { key, secret } => (Some(key), secret),
        };
        if secret.len() > 255 || key.is_some_and(|key| key.len() > 255) {
            return Err(self.refuse(ip));
        }
        if key.is_none() && self.is_operator(secret).await? {
            return Ok(Caller::Operator(OperatorVia::Token));
        }
        let Some(Presented::Secret { public_id }) = key::parse(secret) else { return Err(self.refuse(ip)) };
        if key.is_some_and(|key| key::parse(key) != Some(Presented::Public { public_id })) {
            return Err(self.refuse(ip));
        }
        let Some(record) = self.record(public_id, ip).await? else {
            self.peppers.pretend(secret);
            return Err(self.refuse(ip));
        };
        if !self.peppers.matches(&record.digest, secret) || key.is_some_and(|key| record.public_text() != key) {
            return Err(self.refuse(ip));
        }
        self.check_state(&record, ip)?;
        self.note_use(&record, secret, ip);
        Ok(Caller::Key(KeyCaller { record, ip }))
    }

    /// Counts a failure and gives the one answer that all failures share.
    fn refuse(&self, ip: Option<IpAddr>) -> Error {
        if let Some(ip) = ip {
            self.failures.spend(&network::bucket(ip), FAILURES, 1, self.clock.monotonic());
        }
        self.metrics.key_lookups.with_label_values(&["refused"]).inc();
        unauthenticated()
    }

    async fn record(&self, public_id: &str, ip: Option<IpAddr>) -> Result<Option<Arc<KeyRecord>>> {
        let Ok(id) = PublicId::try_from(public_id.as_bytes()) else { return Ok(None) };
        self.ensure_fresh().await?;
        if let Some(record) = self.records.get(&id) {
            self.metrics.key_lookups.with_label_values(&["hit"]).inc();
            return Ok(Some(record));
        }
        if self.is_known_to_miss(&id) {
            return Ok(None);
        }
        if let Some(ip) = ip {
            let decision = self.failures.peek(&network::bucket(ip), FAILURES, 1, self.clock.monotonic());
            if !decision.allowed {
                self.metrics.limited.with_label_values(&["failed_auth"]).inc();
                return Err(Error::new(Code::RateLimited, "too many failed authentications from this address")
                    .retry_after(decision.reset_seconds.max(1)));
            }
        }
        self.metrics.key_lookups.with_label_values(&["miss"]).inc();
        let guard = match self.records.get_value_or_guard_async(&id).await {
            Ok(record) => return Ok(Some(record)),
            Err(guard) => guard,
        };
        // Whoever held the guard before may have found that there is no such key.
        if self.is_known_to_miss(&id) {
            return Ok(None);
        }
        let overloaded = || Error::new(Code::Overloaded, "too many keys are being looked up").retry_after(1);
        let permit = tokio::time::timeout(LOOKUP_PATIENCE, self.lookups.acquire()).await;
        let _permit = permit.ok().and_then(std::result::Result::ok).ok_or_else(overloaded)?;
        let epoch = self.epoch.load(Ordering::SeqCst);
        let loaded = self.load(id, public_id).await?;
        match &loaded {
            None => self.unknown.insert(id, self.millis() + NEGATIVE_MILLIS),
            // A record that was read before the caches were dropped may be out of date: used once, not kept.
            Some(record) if epoch == self.epoch.load(Ordering::SeqCst) => {
                let _ = guard.insert(Arc::clone(record));
            }
            Some(_) => {}
        }
        self.metrics.keys_cached.set(i64::try_from(self.records.len()).unwrap_or(i64::MAX));
        Ok(loaded)
    }

    fn is_known_to_miss(&self, id: &PublicId) -> bool {
        let missing = self.unknown.get(id).is_some_and(|until| until > self.millis());
        if missing {
            self.metrics.key_lookups.with_label_values(&["negative"]).inc();
        }
        missing
    }

    async fn load(&self, id: PublicId, public_id: &str) -> Result<Option<Arc<KeyRecord>>> {
        let Some(key) = self.keys.find(public_id).await? else { return Ok(None) };
        let Some(digest) = self.peppers.decode(&key.digest) else { return Ok(None) };
        let Some(tenant) = self.tenant(key.project_id).await? else { return Ok(None) };
        Ok(Some(Arc::new(KeyRecord::new(id, key, tenant, digest))))
    }

    /// Whether the project is in memory, so that [`Self::tenant`] asks the store for nothing of it.
    pub fn has_at_hand(&self, id: ProjectId) -> bool {
        self.tenants.get(&id).is_some()
    }

    /// The project and its organization, from memory when they are there.
    pub async fn tenant(&self, id: ProjectId) -> Result<Option<Tenant>> {
        self.ensure_fresh().await?;
        if let Some(tenant) = self.tenants.get(&id) {
            return Ok(Some(tenant));
        }
        let epoch = self.epoch.load(Ordering::SeqCst);
        let Some(project) = self.projects.get(id).await? else { return Ok(None) };
        let Some(org) = self.organization(project.org_id).await? else { return Ok(None) };
        let has_bans = self.bans.count(id, 1).await? > 0;
        let tenant = Tenant::new(org, project, has_bans);
        self.keep(&self.tenants, id, &tenant, epoch);
        Ok(Some(tenant))
    }

    /// The organization, from memory when it is there.
    pub async fn organization(&self, id: OrgId) -> Result<Option<Arc<Organization>>> {
        if let Some(org) = self.orgs.get(&id) {
            return Ok(Some(org));
        }
        let epoch = self.epoch.load(Ordering::SeqCst);
        let org = self.organizations.get(id).await?.map(Arc::new);
        if let Some(org) = &org {
            self.keep(&self.orgs, id, org, epoch);
        }
        Ok(org)
    }

    /// Keeps what was read in `epoch`, unless the caches have been dropped since, or are while this puts it in.
    fn keep<K: Copy + Eq + Hash, V: Clone>(&self, cache: &Cache<K, V>, id: K, value: &V, epoch: u64) {
        let is_current = || epoch == self.epoch.load(Ordering::SeqCst);
        if is_current() {
            cache.insert(id, value.clone());
            if !is_current() {
                cache.remove(&id);
            }
        }
    }

    fn check_state(&self, record: &KeyRecord, ip: Option<IpAddr>) -> Result<()> {
        let now = self.clock.now();
        let ended = |what: &str| Err(Error::new(Code::Unauthenticated, format!("this key {what}")));
        match record.status(now) {
            KeyStatus::Revoked => return ended("was revoked"),
            KeyStatus::Expired => return ended("has expired"),
            KeyStatus::Active | KeyStatus::Pending | KeyStatus::Rotated => {}
        }
        if record.org.deleted_at.is_some() || record.project.state == ProjectState::Deleted {
            return ended("belongs to a project that was deleted");
        }
        if record.project.state == ProjectState::Suspended {
            return Err(Error::new(Code::Suspended, "the project of this key is suspended"));
        }
        if !network::allows(record.networks(), ip) {
            return Err(Error::new(Code::Forbidden, "this key may not be used from this address")
                .hint("Add the address's network to the key, or call from one that is listed."));
        }
        Ok(())
    }

    fn note_use(&self, record: &KeyRecord, secret: &str, ip: Option<IpAddr>) {
        let now = self.millis();
        let last = record.last_used_millis.load(Ordering::Relaxed);
        if last == 0 || now.saturating_sub(last) >= USE_STEP_MILLIS {
            record.last_used_millis.store(now.max(1), Ordering::Relaxed);
            let (key_id, project_id) = (record.id, record.project.id);
            let last_used_at = self.clock.now();
            self.uses.note(key_id, KeyUse { key_id, project_id, last_used_at, last_used_ip: ip });
            if record.status(last_used_at) == KeyStatus::Rotated {
                tracing::warn!(%key_id, %project_id, ends_at = ?record.expires_at, "a key that was replaced is still used");
            }
        }
        if record.digest.previous && !record.rehash_noted.swap(true, Ordering::Relaxed) {
            self.rehashed.note(Outdated::Key(record.project.id, record.id), self.peppers.digest(secret));
        }
    }

    /// Uses that have not been recorded yet.
    pub fn uses(&self) -> &Uses {
        &self.uses
    }

    /// Digests under the current pepper for what was used with the previous one.
    pub fn rehashed(&self) -> &Rehashed {
        &self.rehashed
    }

    /// Takes the store's generation, just read. Drops the caches when it has changed.
    pub fn confirm(&self, generation: u64) {
        self.confirmed_millis.store(self.millis(), Ordering::SeqCst);
        if self.generation.swap(generation, Ordering::SeqCst) != generation {
            self.forget();
        }
    }

    /// Grows whenever what is kept is dropped: what somebody else keeps beside it is of the same age or older.
    pub fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::SeqCst)
    }

    /// Drops everything that is kept.
    pub fn forget(&self) {
        self.epoch.fetch_add(1, Ordering::SeqCst);
        self.records.clear();
        self.unknown.clear();
        self.tenants.clear();
        self.orgs.clear();
    }

    /// Whether the store's generation was read lately enough for cached records to be honoured.
    pub fn is_fresh(&self) -> bool {
        u128::from(self.age_millis()) <= MAX_STALE.as_millis()
    }

    fn age_millis(&self) -> u64 {
        self.millis().saturating_sub(self.confirmed_millis.load(Ordering::SeqCst))
    }

    /// Reads the generation when nobody has lately. One caller at a time tries; the others are refused at once, so that
    /// they do not pile up before a store that does not answer.
    async fn ensure_fresh(&self) -> Result<()> {
        if self.is_fresh() {
            return Ok(());
        }
        let stale = |_| Error::store_unavailable(format!("the generation was last read {} ms ago", self.age_millis()));
        let _turn = self.catching_up.try_lock().map_err(stale)?;
        self.confirm(self.store.generation().await?);
        Ok(())
    }

    fn millis(&self) -> u64 {
        u64::try_from(self.clock.monotonic().as_millis()).unwrap_or(u64::MAX)
    }

    /// The digest that is stored for a new secret.
    pub fn digest(&self, secret: &Secret) -> Digest {
        self.peppers.digest(secret.expose())
    }
}
