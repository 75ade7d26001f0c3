//! Verification of credentials: form, cache, digest, state, network; in this order, so that garbage costs next to nothing.
//!
//! A key's record is cached with its project and organization. A cached record is honoured while the store's generation
//! number, read each second, stays the same; when it has not been readable for [`MAX_STALE`], the cache is not trusted.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use parking_lot::{Mutex, RwLock};
use quick_cache::sync::Cache;
use tokio::sync::Semaphore;

use super::{
    caller::{Caller, KeyCaller, OperatorVia, unauthenticated},
    key::{self, Presented},
    network,
    pepper::{CheckedDigest, Digest, Peppers},
};
use crate::{
    error::{Code, Error, Result},
    id::{KeyId, OrgId, ProjectId},
    limit::{Limiter, Rate},
    metrics::Metrics,
    model::{
        api_key::{ApiKey, KeyStatus},
        key_use::KeyUse,
        organization::Organization,
        project::{Project, ProjectState},
    },
    op::Tenant,
    repo::{api_keys::ApiKeys, organizations::Organizations, projects::Projects},
    secret::Secret,
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
/// Look-ups of unknown keys that may be under way in the store at once.
const LOOKUPS_AT_ONCE: usize = 64;
/// Failed authentications a minute and address, after which keys that are not cached are refused.
const FAILURES: Rate = Rate { per_minute: 100 };
/// For how long cached records are honoured while the store's generation cannot be read.
pub const MAX_STALE: Duration = Duration::from_secs(10);
/// How much newer a use must be than the recorded one to be recorded.
const USE_STEP_MILLIS: u64 = 10_000;

type PublicId = [u8; key::ID_CHARS];

/// A key with all that its verification needs.
pub struct KeyRecord {
    /// The key.
    pub key: ApiKey,
    /// Its project.
    pub project: Arc<Project>,
    /// Its organization.
    pub org: Arc<Organization>,
    digest: CheckedDigest,
    last_used_millis: AtomicU64,
    rehash_noted: AtomicBool,
}

impl std::fmt::Debug for KeyRecord {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeyRecord").field("key", &self.key.id).finish_non_exhaustive()
    }
}

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
    operator: RwLock<Option<CheckedDigest>>,
    /// Grows when the caches are dropped, so that what was read before is not put into them after.
    epoch: AtomicU64,
    generation: AtomicU64,
    confirmed_millis: AtomicU64,
    uses: Mutex<HashMap<KeyId, KeyUse>>,
    rehash: Mutex<HashMap<KeyId, (ProjectId, Digest)>>,
}

impl std::fmt::Debug for Keyring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keyring").field("records", &self.records.len()).finish_non_exhaustive()
    }
}

impl Keyring {
    /// An empty keyring over these repositories.
    pub fn new(
        (keys, projects, organizations): (ApiKeys, Projects, Organizations),
        peppers: Peppers,
        clock: Arc<dyn Clock>,
        metrics: Metrics,
    ) -> Self {
        let now = u64::try_from(clock.monotonic().as_millis()).unwrap_or(u64::MAX);
        Self {
            keys,
            projects,
            organizations,
            peppers,
            clock,
            metrics,
            records: Cache::new(KEY_CAPACITY),
            unknown: Cache::new(NEGATIVE_CAPACITY),
            tenants: Cache::new(TENANT_CAPACITY),
            orgs: Cache::new(TENANT_CAPACITY),
            lookups: Semaphore::new(LOOKUPS_AT_ONCE),
            failures: Limiter::new(100_000),
            operator: RwLock::new(None),
            epoch: AtomicU64::new(0),
            generation: AtomicU64::new(0),
            confirmed_millis: AtomicU64::new(now),
            uses: Mutex::default(),
            rehash: Mutex::default(),
        }
    }

    /// Sets the digest of the operator's token.
    pub fn set_operator(&self, digest: Option<&Digest>) {
        *self.operator.write() = digest.and_then(|digest| self.peppers.decode(digest));
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
        if key.is_none() && self.is_operator(secret) {
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
        if !self.peppers.matches(&record.digest, secret) || key.is_some_and(|key| record.key.public_text() != key) {
            return Err(self.refuse(ip));
        }
        self.check_state(&record, ip)?;
        self.note_use(&record, secret, ip);
        Ok(Caller::Key(KeyCaller { record, ip }))
    }

    /// Whether this is the operator's token.
    pub fn is_operator(&self, secret: &str) -> bool {
        self.operator.read().as_ref().is_some_and(|digest| self.peppers.matches(digest, secret))
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
        self.check_fresh()?;
        if let Some(record) = self.records.get(&id) {
            self.metrics.key_lookups.with_label_values(&["hit"]).inc();
            return Ok(Some(record));
        }
        let now = self.millis();
        if self.unknown.get(&id).is_some_and(|until| until > now) {
            self.metrics.key_lookups.with_label_values(&["negative"]).inc();
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
        let _permit = self
            .lookups
            .try_acquire()
            .map_err(|_| Error::new(Code::Overloaded, "too many keys are being looked up").retry_after(1))?;
        let epoch = self.epoch.load(Ordering::SeqCst);
        let loaded = self.load(public_id).await?;
        match &loaded {
            None => self.unknown.insert(id, now + NEGATIVE_MILLIS),
            // A record that was read before the caches were dropped may be out of date: used once, not kept.
            Some(record) if epoch == self.epoch.load(Ordering::SeqCst) => {
                let _ = guard.insert(Arc::clone(record));
            }
            Some(_) => {}
        }
        self.metrics.keys_cached.set(i64::try_from(self.records.len()).unwrap_or(i64::MAX));
        Ok(loaded)
    }

    async fn load(&self, public_id: &str) -> Result<Option<Arc<KeyRecord>>> {
        let Some(key) = self.keys.find(public_id).await? else { return Ok(None) };
        let Some(digest) = self.peppers.decode(&key.digest) else { return Ok(None) };
        let Some(Tenant { org, project }) = self.tenant(key.project_id).await? else { return Ok(None) };
        Ok(Some(Arc::new(KeyRecord {
            key,
            project,
            org,
            digest,
            last_used_millis: AtomicU64::new(0),
            rehash_noted: AtomicBool::new(false),
        })))
    }

    /// The project and its organization, from memory when they are there.
    pub async fn tenant(&self, id: ProjectId) -> Result<Option<Tenant>> {
        self.check_fresh()?;
        if let Some(tenant) = self.tenants.get(&id) {
            return Ok(Some(tenant));
        }
        let epoch = self.epoch.load(Ordering::SeqCst);
        let Some(project) = self.projects.get(id).await? else { return Ok(None) };
        let Some(org) = self.organization(project.org_id).await? else { return Ok(None) };
        let tenant = Tenant { org, project: Arc::new(project) };
        if epoch == self.epoch.load(Ordering::SeqCst) {
            self.tenants.insert(id, tenant.clone());
        }
        Ok(Some(tenant))
    }

    /// The organization, from memory when it is there.
    pub async fn organization(&self, id: OrgId) -> Result<Option<Arc<Organization>>> {
        if let Some(org) = self.orgs.get(&id) {
            return Ok(Some(org));
        }
        let epoch = self.epoch.load(Ordering::SeqCst);
        let org = self.organizations.get(id).await?.map(Arc::new);
        if let Some(org) = org.as_ref().filter(|_| epoch == self.epoch.load(Ordering::SeqCst)) {
            self.orgs.insert(id, Arc::clone(org));
        }
        Ok(org)
    }

    fn check_state(&self, record: &KeyRecord, ip: Option<IpAddr>) -> Result<()> {
        let now = self.clock.now();
        let ended = |what: &str| Err(Error::new(Code::Unauthenticated, format!("this key {what}")));
        match record.key.status(now) {
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
        if !network::allows(&record.key.networks, ip) {
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
            let (key_id, project_id) = (record.key.id, record.key.project_id);
            let last_used_at = self.clock.now();
            self.uses.lock().insert(key_id, KeyUse { key_id, project_id, last_used_at, last_used_ip: ip });
        }
        if record.digest.previous && !record.rehash_noted.swap(true, Ordering::Relaxed) {
            self.rehash.lock().insert(record.key.id, (record.key.project_id, self.peppers.digest(secret)));
        }
    }

    /// The uses since the last call, for the worker that records them.
    pub fn take_uses(&self) -> Vec<KeyUse> {
        std::mem::take(&mut *self.uses.lock()).into_values().collect()
    }

    /// A use that has not been recorded yet.
    pub fn fresh_use(&self, key: KeyId) -> Option<KeyUse> {
        self.uses.lock().get(&key).cloned()
    }

    /// Digests under the current pepper for keys that were used with the previous one.
    pub fn take_rehashed(&self) -> Vec<(KeyId, ProjectId, Digest)> {
        std::mem::take(&mut *self.rehash.lock())
            .into_iter()
            .map(|(key, (project, digest))| (key, project, digest))
            .collect()
    }

    /// Takes the store's generation, just read. Drops the caches when it has changed; tells whether it had.
    pub fn confirm(&self, generation: u64) -> bool {
        self.confirmed_millis.store(self.millis(), Ordering::SeqCst);
        let changed = self.generation.swap(generation, Ordering::SeqCst) != generation;
        if changed {
            self.forget();
        }
        changed
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
        self.check_fresh().is_ok()
    }

    fn check_fresh(&self) -> Result<()> {
        let age = self.millis().saturating_sub(self.confirmed_millis.load(Ordering::SeqCst));
        if u128::from(age) <= MAX_STALE.as_millis() {
            return Ok(());
        }
        Err(Error::store_unavailable(format!("the generation was last read {age} ms ago")))
    }

    fn millis(&self) -> u64 {
        u64::try_from(self.clock.monotonic().as_millis()).unwrap_or(u64::MAX)
    }

    /// The digest that is stored for a new secret.
    pub fn digest(&self, secret: &Secret) -> Digest {
        self.peppers.digest(secret.expose())
    }
}
