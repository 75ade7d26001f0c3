//! Everything that operations and workers use of one installation, put together once.

use std::{sync::Arc, time::Duration};

use crate::{
    access::{keyring::Keyring, pepper::Peppers, seal::Sealer},
    entropy::Entropy,
    files::OperatorTokenFile,
    health::Probes,
    media::cluster::Signer,
    metrics::Metrics,
    outbound::Outbound,
    repo::{
        api_keys::ApiKeys, audit::Audit, idempotency::Idempotency, jobs::Jobs, key_uses::KeyUses,
        organizations::Organizations, projects::Projects, revocations::Revocations,
    },
    store::SharedStore,
    time::Clock,
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
    pub(crate) probes: Probes,
    started: Duration,
}

impl std::fmt::Debug for Parts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Parts").field("store", &self.store).finish_non_exhaustive()
    }
}

impl Parts {
    /// All of them, over a prepared store.
    pub(crate) fn new(ingredients: Ingredients) -> Self {
        let Ingredients { store, peppers, sealer, outbound, clock, entropy, metrics, settings } = ingredients;
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
            probes: Probes::new(&clock),
            started: clock.monotonic(),
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

    /// How long this process has been up.
    pub fn uptime(&self) -> Duration {
        self.clock.monotonic().saturating_sub(self.started)
    }
}

/// What a new plane is made of.
#[expect(missing_debug_implementations, reason = "holds secrets")]
pub struct Ingredients {
    /// A prepared store.
    pub store: SharedStore,
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
}
