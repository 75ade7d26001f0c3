//! Everything that operations and workers use of one installation, put together once.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::{
    access::{keyring::Keyring, pepper::Peppers, seal::Sealer},
    deliver::{courtesy::Courtesy, schedule::Schedule},
    entropy::Entropy,
    error::Result,
    files::OperatorTokenFile,
    health::Probes,
    id::{EndpointId, EventId},
    limit::{Redis, RedisPlace},
    media::{cluster::Signer, engine::MediaEngine, engines::Engines},
    metrics::Metrics,
    model::endpoint::MAX_TIMEOUT_SECONDS,
    outbound::Outbound,
    repo::{
        api_keys::ApiKeys,
        audit::Audit,
        bans::Bans,
        deliveries::{Deliveries, endpoint_of},
        endpoints::Endpoints,
        events::Events,
        idempotency::Idempotency,
        jobs::Jobs,
        key_uses::KeyUses,
        organizations::Organizations,
        projects::Projects,
        replays::Replays,
        revocations::Revocations,
        sessions::{Intervals, Sessions},
        shards::Shards,
        unclaimed::UnclaimedEvents,
        usage::UsageFacts,
    },
    secret::Secret,
    store::{Batch, CommitMode, Outcome, SharedStore, Write, schema},
    time::{Clock, Timestamp},
    watch::{Announced, Hub, WatchFilter, Watching},
};

/// What the plane is told about this installation.
#[derive(Clone)]
#[expect(missing_debug_implementations, reason = "holds the LiveKit secret")]
pub struct Settings {
    /// The server's own LiveKit.
    pub livekit: Signer,
    /// Regions beside the known ones.
    pub regions: Vec<String>,
    /// Whether the operator's token comes from the settings, so that `admin rotate` cannot replace it.
    pub operator_token_given: bool,
    /// Where the operator's token is handed over; `None` where none is ever made.
    pub operator_token_file: Option<OperatorTokenFile>,
    /// How long deleted organizations and projects can be restored.
    pub purge_after: Duration,
    /// What comes from LiveKit and goes to webhooks.
    pub pipeline: PipelineSettings,
    /// The Redis through which daemons share limits; `None` where each counts by itself.
    pub redis: Option<RedisPlace>,
}

/// Settings of what comes from LiveKit and goes to webhooks.
#[derive(Clone)]
#[expect(missing_debug_implementations, reason = "holds secrets")]
pub struct PipelineSettings {
    /// Keys with which the server's own LiveKit may sign its webhooks, beside the one that signs tokens.
    pub webhook_keys: Vec<(String, Secret)>,
    /// How often LiveKit is asked who is there.
    pub reconcile_every: Duration,
    /// When failed deliveries are tried again, for endpoints without a schedule.
    pub schedule: Schedule,
    /// Deliveries under way at once.
    pub concurrency: usize,
    /// For how long a delivery that was taken is nobody else's: [`MIN_LEASE`] or more.
    pub lease: Duration,
    /// For how long events, deliveries and attempts are kept.
    pub keep_events: Duration,
    /// For how long sessions and metered spans are kept.
    pub keep_sessions: Duration,
    /// Readers of events as they happen, at once.
    pub streams: usize,
}

/// The shortest lease: twice the longest timeout of an endpoint, so that no lease ends under an attempt that is in time.
pub const MIN_LEASE: Duration = Duration::from_secs(2 * MAX_TIMEOUT_SECONDS as u64);

impl Default for PipelineSettings {
    /// The defaults of the table of settings.
    fn default() -> Self {
        let days = |days: u64| Duration::from_secs(days * 86_400);
        Self {
            webhook_keys: Vec::new(),
            reconcile_every: Duration::from_secs(30),
            schedule: Schedule::default(),
            concurrency: 256,
            lease: MIN_LEASE,
            keep_events: days(30),
            keep_sessions: days(760),
            streams: 4_096,
        }
    }
}

/// How far the store's clock and the time that is reckoned since it was last asked may be apart.
pub(crate) const APART: Duration = Duration::from_millis(250);

/// How many endpoints are told of at most; more are found without.
const TOLD: usize = 10_000;

/// Hints that there is work: what is committed is found without them, only later.
#[derive(Debug, Default)]
pub struct Wakes {
    /// A job was recorded.
    pub jobs: Notify,
    /// Deliveries were recorded, or what stood in their way is gone.
    pub deliveries: Told,
}

/// Endpoints of which somebody said that something may wait for them.
#[derive(Debug, Default)]
pub struct Told {
    endpoints: Mutex<BTreeSet<EndpointId>>,
    called: Notify,
}

impl Told {
    fn tell(&self, endpoints: BTreeSet<EndpointId>) {
        if endpoints.is_empty() {
            return;
        }
        let mut told = self.endpoints.lock();
        if told.len() < TOLD {
            told.extend(endpoints);
        }
        drop(told);
        self.called.notify_one();
    }

    /// Waits until some have been told of, and gives them.
    pub async fn told(&self) -> Vec<EndpointId> {
        self.called.notified().await;
        std::mem::take(&mut *self.endpoints.lock()).into_iter().collect()
    }
}

impl Wakes {
    /// Which hints a batch calls for, once it is committed.
    fn called_by(batch: &Batch) -> Called {
        let endpoints = batch.writes.iter().filter_map(|write| match write {
            Write::Insert { collection, doc, .. } | Write::Replace { collection, doc, .. }
                if collection.name == schema::DELIVERIES.name =>
            {
                endpoint_of(doc)
            }
            Write::Insert { collection, id, .. } | Write::Replace { collection, id, .. }
                if collection.name == schema::ENDPOINTS.name =>
            {
                id.parse().ok()
            }
            _ => None,
        });
        Called { endpoints: endpoints.collect(), ..Self::jobs_called_by(batch) }
    }

    /// The same without the hints at deliveries: for who tells the dispatcher itself which endpoints have work.
    pub fn jobs_called_by(batch: &Batch) -> Called {
        let jobs = batch.writes.iter().any(|write| write.collection().name == schema::JOBS.name);
        Called { jobs, endpoints: BTreeSet::new() }
    }

    /// Gives the hints.
    pub fn wake(&self, called: Called) {
        if called.jobs {
            self.jobs.notify_one();
        }
        self.deliveries.tell(called.endpoints);
    }
}

/// Hints that a commit calls for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Called {
    jobs: bool,
    endpoints: BTreeSet<EndpointId>,
}

/// Everything that plans may use.
pub struct Parts {
    /// The store, for what has no repository.
    pub store: SharedStore,
    /// Organizations.
    pub organizations: Organizations,
    /// Projects.
    pub projects: Projects,
    /// Keys.
    pub keys: ApiKeys,
    /// Last uses of keys.
    pub key_uses: KeyUses,
    /// Revocations of media tokens.
    pub revocations: Revocations,
    /// The audit log.
    pub audit: Audit,
    /// Stored answers.
    pub idempotency: Idempotency,
    /// Work for later.
    pub jobs: Jobs,
    /// Events.
    pub events: Events,
    /// Webhooks without a project.
    pub unclaimed: UnclaimedEvents,
    /// Sessions of rooms.
    pub sessions: Sessions,
    /// Metered spans of time.
    pub intervals: Intervals,
    /// Facts of usage.
    pub usage: UsageFacts,
    /// Bans.
    pub bans: Bans,
    /// Webhook endpoints.
    pub endpoints: Endpoints,
    /// Deliveries and attempts.
    pub deliveries: Deliveries,
    /// Replays.
    pub replays: Replays,
    /// Shards of endpoints.
    pub shards: Shards,
    /// Whoever watches events as they happen.
    pub hub: Arc<Hub>,
    /// Hints that there is work.
    pub wakes: Wakes,
    /// How replays make way for what happens now.
    pub courtesy: Courtesy,
    /// Verification of credentials, and recent tenants.
    pub keyring: Keyring,
    /// Sealing of stored secrets.
    pub sealer: Sealer,
    /// What leaves Pulse.
    pub outbound: Outbound,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub entropy: Arc<dyn Entropy>,
    /// Series.
    pub metrics: Metrics,
    /// This installation.
    pub settings: Settings,
    /// Media servers.
    pub engines: Engines,
    /// The Redis through which daemons share limits.
    pub redis: Option<Arc<Redis>>,
    /// Names this process to others on the same store.
    pub process_id: String,
    pub(crate) probes: Probes,
    /// The monotonic time when this process began.
    started: Duration,
    /// The time by the store's clock, and by the monotonic one at that moment.
    anchor: Mutex<(Timestamp, Duration)>,
}

impl std::fmt::Debug for Parts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Parts").field("store", &self.store).finish_non_exhaustive()
    }
}

impl Parts {
    /// Commits a batch and, when it is applied, does in this process what follows from it: caches are dropped if it calls for
    /// that, and whoever waits for what it records is woken.
    pub async fn commit(&self, batch: Batch, mode: CommitMode) -> Result<Outcome> {
        let (bumps, called) = (batch.bumps_generation, Wakes::called_by(&batch));
        let outcome = self.store.commit(batch, mode).await?;
        if mode == CommitMode::Apply && matches!(outcome, Outcome::Committed { .. }) {
            if bumps {
                self.keyring.forget();
            }
            self.wakes.wake(called);
        }
        Ok(outcome)
    }

    /// All of them, over a prepared store.
    pub(crate) fn new(ingredients: Ingredients) -> Self {
        let Ingredients { store, store_time, peppers, sealer, outbound, clock, entropy, metrics, settings, engine } =
            ingredients;
        let hub = Hub::new(settings.pipeline.streams);
        let store = Announced::over(store, Arc::clone(&hub));
        let process_id = process_id(entropy.as_ref());
        let redis = settings.redis.clone().map(|place| {
            let (clock, metrics) = (Arc::clone(&clock), metrics.clone());
            Redis::new(place, outbound.clone(), clock, metrics, process_id.as_str())
        });
        let keyring = Keyring::new(store.clone(), peppers, Arc::clone(&clock), metrics.clone());
        Self {
            organizations: Organizations(store.clone()),
            projects: Projects(store.clone()),
            keys: ApiKeys(store.clone()),
            key_uses: KeyUses(store.clone()),
            revocations: Revocations(store.clone()),
            audit: Audit(store.clone()),
            idempotency: Idempotency(store.clone()),
            jobs: Jobs(store.clone()),
            events: Events(store.clone()),
            unclaimed: UnclaimedEvents(store.clone()),
            sessions: Sessions(store.clone()),
            intervals: Intervals(store.clone()),
            usage: UsageFacts(store.clone()),
            bans: Bans(store.clone()),
            endpoints: Endpoints(store.clone()),
            deliveries: Deliveries(store.clone()),
            replays: Replays(store.clone()),
            shards: Shards(store.clone()),
            hub,
            wakes: Wakes::default(),
            courtesy: Courtesy::new(Arc::clone(&clock), settings.pipeline.concurrency, settings.pipeline.lease),
            engines: Engines::new(outbound.clone(), settings.livekit.clone(), Arc::clone(&clock), engine),
            redis,
            process_id,
            probes: Probes::new(&clock),
            started: clock.monotonic(),
            anchor: Mutex::new(store_time),
            store,
            keyring,
            sealer,
            outbound,
            clock,
            entropy,
            metrics,
            settings,
        }
    }

    /// Begins to watch events: after the one of id `last`, else as the filter says; see [`Hub::watch`].
    ///
    /// # Errors
    /// `overloaded` when too many watch already, `store_unavailable`.
    pub async fn watch(&self, filter: WatchFilter, last: Option<EventId>) -> Result<Watching> {
        self.hub.watch(&self.events, &self.clock, filter, last, self.settings.pipeline.keep_events).await
    }

    /// Tells whoever watches events here of what other processes record, at once where the store can tell; never ends over
    /// one that can.
    pub async fn hear_of_events(&self) {
        self.hub.hear_of_others(&self.events).await;
    }

    /// How long this process has been up.
    pub fn uptime(&self) -> Duration {
        self.clock.monotonic().saturating_sub(self.started)
    }

    /// The time by which deliveries wait and leases last: the store's when this process began, and what has passed since.
    /// A wall clock that is set meanwhile makes nothing early, late or all at once, and all processes over one store agree
    /// about it although their machines' clocks differ.
    pub fn steady(&self) -> Timestamp {
        let (at, monotonic) = *self.anchor.lock();
        at.plus(self.clock.monotonic().saturating_sub(monotonic))
    }

    /// The time by which the queue of jobs goes: the store's where daemons share it, else this machine's, also when that is
    /// set.
    pub(crate) fn queue_now(&self) -> Timestamp {
        if self.store.info().is_shared() { self.steady() } else { self.clock.now() }
    }

    /// Says what the time by the store's clock was when it was asked. It is believed when the two have come apart: the machine
    /// stood still, or the store's clock is another one since a fail-over.
    pub(crate) fn set_steady(&self, at: Timestamp, asked: Duration) {
        let answered = self.clock.monotonic();
        let believed = self.steady().minus(answered.saturating_sub(asked));
        let apart = at.since(believed).max(believed.since(at));
        // Less is the way there and back.
        if apart > APART.saturating_add(answered.saturating_sub(asked)) {
            tracing::warn!(apart_ms = apart.as_millis(), "the time by which deliveries wait is set to the store's");
            *self.anchor.lock() = (at, asked);
        }
    }
}

fn process_id(entropy: &dyn Entropy) -> String {
    let mut random = [0_u8; 12];
    entropy.fill(&mut random);
    hex::encode(random)
}

/// What a new plane is made of.
#[expect(missing_debug_implementations, reason = "holds secrets")]
pub struct Ingredients {
    /// A prepared store.
    pub store: SharedStore,
    /// The time by its clock, see [`Store::now`](crate::store::Store::now), and by the monotonic one when it was asked.
    pub store_time: (Timestamp, Duration),
    /// The peppers.
    pub peppers: Peppers,
    /// The sealer.
    pub sealer: Sealer,
    /// What leaves Pulse.
    pub outbound: Outbound,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub entropy: Arc<dyn Entropy>,
    /// Series.
    pub metrics: Metrics,
    /// This installation.
    pub settings: Settings,
    /// Answers in place of every media server, in tests.
    pub engine: Option<Arc<dyn MediaEngine>>,
}
