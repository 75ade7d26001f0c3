//! A control plane in the test's own process: a real engine, a clock that the test moves, randomness from a seed.

use std::sync::Arc;

use pulse_core::{
    access::{Caller, OperatorVia, keyring::Credentials},
    boot::{self, Assembly, GivenSecrets},
    entropy::SeededEntropy,
    error::Result,
    id::{OrgId, ProjectId},
    ingest::{Accepted, Door},
    media::{cluster::Signer, engine::MediaEngine, testing::FakeEngine},
    metrics::Metrics,
    model::{organization::Plan, project::ProjectView},
    op::{Call, Operation},
    ops::{
        organizations::CreateOrganization,
        projects::{CreateProject, CreatedProject},
    },
    outbound::{AddressPolicy, Outbound, testing::ScriptedDial},
    parts::{PipelineSettings, Settings},
    pipeline::Pipeline,
    plane::{Answer, ControlPlane},
    registry,
    secret::Secret,
    store::{SharedStore, memory::MemoryStore, testing::faulty::FaultyStore},
    time::{ManualClock, Timestamp},
    wire::Incoming,
};
use serde_json::Value;

use crate::{livekit_sender::ApiKey, peers::livekit::LiveKit};

/// The moment at which every test plane starts.
pub const START: Timestamp = Timestamp::from_secs(1_780_000_000);
/// The key of the test planes' LiveKit.
pub const LIVEKIT_KEY: &str = "APItest";
/// Its secret.
pub const LIVEKIT_SECRET: &str = "a-secret-of-the-test-planes-livekit-server";

/// A plane, its clock and its store.
#[derive(Debug)]
pub struct TestPlane {
    /// The plane.
    pub plane: Arc<ControlPlane>,
    /// Its clock.
    pub clock: Arc<ManualClock>,
    /// Its store.
    pub store: SharedStore,
    /// What comes from LiveKit and goes to webhooks, over the plane. It does nothing by itself.
    pub pipeline: Arc<Pipeline>,
    /// The script that answers in LiveKit's place, unless the plane was made for a real one.
    pub engine: Arc<FakeEngine>,
}

/// A project with a caller that holds its first key.
#[derive(Clone, Debug)]
pub struct Customer {
    /// The organization.
    pub org: OrgId,
    /// The project.
    pub project: ProjectView,
    /// The first key's secret.
    pub secret: String,
    /// Who calls with it.
    pub caller: Caller,
}

impl Customer {
    /// The project's id.
    pub fn id(&self) -> ProjectId {
        self.project.id
    }
}

/// The operator in local mode.
pub fn operator() -> Caller {
    Caller::Operator(OperatorVia::Local { os_user: "tester".to_owned() })
}

/// The pepper of the test planes.
pub fn secrets() -> GivenSecrets {
    GivenSecrets {
        pepper: Some(Secret::new("a-pepper-of-the-test-planes-that-is-long")),
        previous_pepper: None,
        master_key: Some(Secret::new("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=")),
        admin_token: None,
    }
}

/// What the test planes are told about their installation.
pub fn settings() -> Settings {
    Settings {
        livekit: Signer {
            url: "ws://127.0.0.1:9".to_owned(),
            api_key: LIVEKIT_KEY.to_owned(),
            api_secret: Secret::new(LIVEKIT_SECRET),
            shared: true,
        },
        regions: vec!["moon-1".to_owned()],
        operator_token_given: false,
        operator_token_file: None,
        purge_after: std::time::Duration::from_secs(30 * 86_400),
        pipeline: PipelineSettings::default(),
        redis: None,
    }
}

impl TestPlane {
    /// A plane over an empty memory store.
    pub async fn new() -> Self {
        Self::over(Arc::new(MemoryStore::new()), 1).await.expect("a plane over an empty memory store")
    }

    /// A plane over a store, with randomness from `seed`: two planes over one store need two seeds.
    pub async fn over(store: SharedStore, seed: u64) -> Result<Self> {
        Self::with(store, seed, settings(), secrets(), Outbound::new(loopback_only()), true).await
    }

    /// A plane over an empty memory store that can be told to fail or to stand still.
    pub async fn over_faulty_store() -> (Arc<FaultyStore>, Self) {
        Self::over_faults_of(Arc::new(MemoryStore::new())).await
    }

    async fn over_faults_of(inner: SharedStore) -> (Arc<FaultyStore>, Self) {
        let store = Arc::new(FaultyStore::new(inner));
        let plane = Self::over(Arc::clone(&store) as SharedStore, 1).await.expect("a plane");
        (store, plane)
    }

    /// The same, and another plane on what is in that store, for which it goes on.
    pub async fn two_over_faulty_store() -> (Arc<FaultyStore>, Self, Self) {
        let inner: SharedStore = Arc::new(MemoryStore::new());
        let (store, plane) = Self::over_faults_of(Arc::clone(&inner)).await;
        let other = Self::over(inner, 2).await.expect("a second plane on the same store");
        (store, plane, other)
    }

    /// A plane over an empty memory store in a network that the test made up.
    pub async fn in_network(dial: Arc<ScriptedDial>) -> Self {
        let (store, outbound) = (Arc::new(MemoryStore::new()), Outbound::over(loopback_only(), dial));
        Self::with(store, 1, settings(), secrets(), outbound, true).await.expect("a plane over an empty memory store")
    }

    /// The same with other settings of what comes from LiveKit and goes to webhooks.
    pub async fn set(store: SharedStore, seed: u64, pipeline: PipelineSettings) -> Result<Self> {
        let settings = Settings { pipeline, ..settings() };
        Self::with(store, seed, settings, secrets(), Outbound::new(loopback_only()), true).await
    }

    /// A plane over an empty memory store, with rules of its own for addresses.
    pub async fn under(policy: AddressPolicy) -> Self {
        let (store, outbound) = (Arc::new(MemoryStore::new()), Outbound::new(policy));
        Self::with(store, 1, settings(), secrets(), outbound, true).await.expect("a plane over an empty memory store")
    }

    /// A plane over a store whose pepper is `current`, after it was `previous`.
    pub async fn with_peppers(store: SharedStore, seed: u64, current: &str, previous: Option<&str>) -> Result<Self> {
        let given = GivenSecrets {
            pepper: Some(Secret::new(current)),
            previous_pepper: previous.map(Secret::new),
            ..secrets()
        };
        Self::with(store, seed, settings(), given, Outbound::new(loopback_only()), true).await
    }

    /// A plane over an empty memory store that signs for this LiveKit.
    pub async fn signing_for(livekit: &LiveKit) -> Self {
        let signer = Signer {
            url: livekit.ws_url(),
            api_key: livekit.key().to_owned(),
            api_secret: Secret::new(livekit.secret()),
            shared: true,
        };
        let settings = Settings { livekit: signer, ..settings() };
        Self::with(Arc::new(MemoryStore::new()), 1, settings, secrets(), Outbound::new(loopback_only()), false)
            .await
            .expect("a plane over an empty memory store")
    }

    async fn with(
        store: SharedStore,
        seed: u64,
        settings: Settings,
        secrets: GivenSecrets,
        outbound: Outbound,
        scripted: bool,
    ) -> Result<Self> {
        Self::put_together(store, seed, settings, secrets, outbound, scripted, false).await
    }

    /// A plane over a store as the daemon starts on it, which completes what an older version left.
    pub async fn started_over(store: SharedStore, seed: u64) -> Result<Self> {
        Self::put_together(store, seed, settings(), secrets(), Outbound::new(loopback_only()), true, true).await
    }

    async fn put_together(
        store: SharedStore,
        seed: u64,
        settings: Settings,
        secrets: GivenSecrets,
        outbound: Outbound,
        scripted: bool,
        daemon: bool,
    ) -> Result<Self> {
        let clock = Arc::new(ManualClock::new(START));
        let engine = FakeEngine::new();
        let assembly = Assembly {
            store: Arc::clone(&store),
            beside: None,
            in_memory: true,
            secrets,
            settings,
            outbound,
            clock: Arc::clone(&clock) as Arc<_>,
            entropy: Arc::new(SeededEntropy::new(seed)),
            metrics: Metrics::new()?,
            engine: scripted.then(|| Arc::clone(&engine) as Arc<dyn MediaEngine>),
        };
        let plane = Arc::new(boot::assemble(assembly, daemon).await?.plane);
        let pipeline = Pipeline::new(Arc::clone(&plane));
        Ok(Self { plane, pipeline, clock, store, engine })
    }

    /// Moves the clock, and lets the plane look at its store as its worker would have done meanwhile.
    pub async fn advance(&self, span: std::time::Duration) {
        self.clock.advance(span);
        pulse_core::worker::follow(&self.plane).await.expect("the store answers");
    }

    /// Lets a webhook come in as the installation's LiveKit sends it: signed, at the plane's time.
    pub async fn livekit_says(&self, event: &Value) -> Result<Accepted> {
        self.livekit_sends(event.to_string().as_bytes()).await
    }

    /// The same with these bytes as the body.
    pub async fn livekit_sends(&self, body: &[u8]) -> Result<Accepted> {
        let now = self.plane.parts().clock.now();
        let authorization = ApiKey::new(LIVEKIT_KEY, LIVEKIT_SECRET).authorization(body, now);
        self.pipeline.ingest.receive(Door::Server, Some(authorization.as_bytes()), body).await
    }

    /// A call by `caller` with a request id.
    pub fn call(&self, caller: &Caller) -> Call {
        Call { ip: Some([127, 0, 0, 1].into()), ..Call::new(caller.clone(), "req-test") }
    }

    /// Does an operation for a caller.
    pub async fn run<O: Operation>(&self, caller: &Caller, op: O) -> Result<O::Output> {
        self.plane.execute(&self.call(caller), &op).await.map(Answer::into_output)
    }

    /// Does an operation for the operator, who may do everything.
    pub async fn operate<O: Operation>(&self, op: O) -> O::Output {
        self.run(&operator(), op).await.expect("the operator may do this")
    }

    /// Sends a request to an operation as the daemon would.
    pub async fn send(
        &self,
        caller: &Caller,
        id: &str,
        path: &[(&str, &str)],
        query: &str,
        body: &str,
    ) -> Result<Value> {
        let route = registry::by_id(id).expect("an operation of that id");
        let path: Vec<(String, String)> = path.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        let incoming = Incoming { path: &path, query, body: body.as_bytes() };
        let reply = route.call(&self.plane, &self.call(caller), incoming).await?;
        Ok(serde_json::from_slice(&reply.body).expect("answers are JSON"))
    }

    /// An organization of this plan.
    pub async fn organization(&self, name: &str, plan: Plan) -> OrgId {
        let create = CreateOrganization {
            name: name.parse().expect("a name"),
            admin_email: "ops@example.com".parse().expect("an address"),
            plan: Some(plan),
            labels: None,
        };
        self.operate(create).await.id
    }

    /// A project in a new organization without limits, named `name` both.
    pub async fn customer(&self, name: &str) -> Customer {
        let org = self.organization(name, Plan::Enterprise).await;
        self.customer_of(org, name).await
    }

    /// A project in an organization.
    pub async fn customer_of(&self, org: OrgId, name: &str) -> Customer {
        let create: CreateProject =
            serde_json::from_value(serde_json::json!({ "org_id": org, "name": name })).expect("valid");
        let CreatedProject { project, pulse_api_secret, .. } = self.operate(create).await;
        let secret = pulse_api_secret.expect("a new project shows its secret").expose().to_owned();
        let caller = self.login(&secret).await.expect("a new key works");
        Customer { org, project, secret, caller }
    }

    /// The caller that a secret stands for.
    pub async fn login(&self, secret: &str) -> Result<Caller> {
        self.plane.parts().keyring.verify(Credentials::Bearer(secret), Some([127, 0, 0, 1].into())).await
    }
}

/// The address policy under which every test runs: only this machine, which customers may name, too, also without TLS.
pub fn loopback_only() -> AddressPolicy {
    let loopback = ["127.0.0.0/8".parse().expect("a network"), "::1/128".parse().expect("a network")];
    AddressPolicy::only(loopback.to_vec()).tenants(loopback.to_vec(), true)
}
