//! The only door: [`ControlPlane::execute`] spends the rate cost, resolves the scope, authorizes, asks for the plan, adds
//! the audit entry and the idempotency record to its batch, and commits; for the daemon and for the command line alike.

mod audit;
mod idempotent;

pub(crate) use audit::worker_entry;

use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::{Arc, OnceLock},
    time::Duration,
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    access::{Caller, caller::unauthenticated, keyring::Keyring, network, pepper::Peppers, seal::Sealer},
    entropy::Entropy,
    error::{Code, Error, Fault, Result},
    files::OperatorTokenFile,
    health::Probes,
    id::{KeyId, OrgId, ProjectId},
    limit::{Decision, Limiter, Rate},
    media::cluster::Signer,
    metrics::Metrics,
    model::project::ProjectState,
    op::{Call, Cx, Meta, Operation, Planned, Scope, Tenant},
    outbound::Outbound,
    repo::{
        api_keys::ApiKeys, audit::Audit, idempotency::Idempotency, jobs::Jobs, key_uses::KeyUses,
        organizations::Organizations, projects::Projects, revocations::Revocations,
    },
    store::{CommitMode, Outcome, SharedStore},
    time::Clock,
};

/// How often an operation is planned before the store's changes count as a conflict.
const MAX_PLANS: usize = 5;
/// Requests a minute from one address without credentials (the plan's figure).
const ANONYMOUS: Rate = Rate { per_minute: 100 };

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
    /// How long this process has been up.
    pub fn uptime(&self) -> Duration {
        self.clock.monotonic().saturating_sub(self.started)
    }
}

/// Who is counted by a rate limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Payer {
    Address(IpAddr),
    Key(KeyId),
    Project(ProjectId),
}

/// The control plane of one installation.
#[derive(Debug)]
pub struct ControlPlane {
    parts: Parts,
    limiter: Limiter<Payer>,
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

/// What a call came to.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer<T> {
    /// It was done.
    Done {
        /// The operation's answer.
        output: T,
        /// Whether this is the stored answer of an earlier call with the same idempotency key.
        replayed: bool,
    },
    /// It would be done; nothing was.
    DryRun(DryRun<T>),
}

/// What a dry run tells.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DryRun<T> {
    /// Always true.
    pub dry_run: bool,
    /// What the operation would answer, without secrets.
    pub result: T,
    /// How many of each thing it would touch.
    pub effects: BTreeMap<String, u64>,
}

impl<T> Answer<T> {
    /// The operation's answer, made or foretold.
    pub fn into_output(self) -> T {
        match self {
            Self::Done { output, .. } => output,
            Self::DryRun(dry) => dry.result,
        }
    }
}

impl ControlPlane {
    /// A plane over a prepared store.
    pub fn new(ingredients: Ingredients) -> Self {
        let Ingredients { store, peppers, sealer, outbound, clock, entropy, metrics, settings } = ingredients;
        let keyring = Keyring::new(store.clone(), peppers, Arc::clone(&clock), metrics.clone());
        let parts = Parts {
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
        };
        Self { parts, limiter: Limiter::new(200_000) }
    }

    /// Repositories, clock, keyring and the rest.
    pub fn parts(&self) -> &Parts {
        &self.parts
    }

    /// Does one operation for one caller.
    pub async fn execute<O: Operation>(&self, call: &Call, op: &O) -> Result<Answer<O::Output>> {
        let began = self.parts.clock.monotonic();
        let answer = self.run(call, op).await;
        let status = match &answer {
            Ok(_) => O::META.status,
            Err(error) => error.code().info().status,
        };
        let took = self.parts.clock.monotonic().saturating_sub(began);
        self.parts.metrics.latency.with_label_values(&[O::META.id]).observe(took.as_secs_f64());
        self.parts.metrics.requests.with_label_values(&[O::META.id, status_text(status)]).inc();
        answer
    }

    /// Counts a request of an operation that was refused before it came to [`ControlPlane::execute`].
    pub fn count_refused(&self, operation: &str, error: &Error) {
        let status = status_text(error.code().info().status);
        self.parts.metrics.requests.with_label_values(&[operation, status]).inc();
    }

    async fn run<O: Operation>(&self, call: &Call, op: &O) -> Result<Answer<O::Output>> {
        self.admit(call, O::META.cost)?;
        if matches!(call.caller, Caller::Anonymous) && !O::META.permissions.is_empty() {
            return Err(unauthenticated());
        }
        let tenant = self.resolve(&call.caller, op.scope()).await?;
        call.caller.authorize(op.needs())?;
        let expected_version = expected_version(&O::META, op.expected_version(), call.if_match)?;
        if !O::META.is_mutation() {
            let cx = Cx { parts: &self.parts, call, tenant, now: self.parts.clock.now(), expected_version };
            return Ok(Answer::Done { output: op.plan(&cx).await?.output, replayed: false });
        }
        self.mutate(call, op, tenant, expected_version).await
    }

    /// Plans and commits until nobody else's change comes between. Whatever an attempt comes to, the answer on record for
    /// its idempotency key comes first: the loser of a race sees a world in which its own request is done already.
    async fn mutate<O: Operation>(
        &self,
        call: &Call,
        op: &O,
        tenant: Option<Tenant>,
        expected_version: Option<u64>,
    ) -> Result<Answer<O::Output>> {
        let ticket = self.ticket(call, op)?;
        for _ in 0..MAX_PLANS {
            if let Some(output) = self.replay::<O>(ticket.as_ref()).await? {
                return Ok(Answer::Done { output, replayed: true });
            }
            let now = self.parts.clock.now();
            let cx = Cx { parts: &self.parts, call, tenant: tenant.clone(), now, expected_version };
            match self.attempt(&cx, op, ticket.as_ref()).await {
                Ok(Some(answer)) => return Ok(answer),
                Ok(None) => self.parts.metrics.replans.inc(),
                Err(error) => {
                    let recorded = self.replay::<O>(ticket.as_ref()).await.ok().flatten();
                    return recorded.map(|output| Answer::Done { output, replayed: true }).ok_or(error);
                }
            }
        }
        Err(Error::new(Code::Conflict, "others kept changing the same thing").hint("Try again."))
    }

    /// Plans once and commits. `None`: what the plan was made from has changed, or somebody else has just made the same
    /// thing; another plan sees that.
    async fn attempt<O: Operation>(
        &self,
        cx: &Cx<'_>,
        op: &O,
        ticket: Option<&idempotent::Ticket>,
    ) -> Result<Option<Answer<O::Output>>> {
        let call = cx.call;
        let mut planned = op.plan(cx).await?;
        if planned.batch.is_empty() {
            return Ok(Some(answer::<O>(call, planned)));
        }
        let entry = audit::entry::<O>(call, &planned.trail, cx.now, self.parts.entropy.as_ref());
        Audit::append(&mut planned.batch, &entry)?;
        if let Some(ticket) = ticket {
            self.remember::<O>(ticket, &planned.output, cx.now, &mut planned.batch).await?;
        }
        let bumps = planned.batch.bumps_generation;
        let mode = if call.dry_run { CommitMode::Check } else { CommitMode::Apply };
        match self.parts.store.commit(std::mem::take(&mut planned.batch), mode).await? {
            Outcome::Committed { .. } => {
                if bumps && !call.dry_run {
                    self.parts.keyring.forget();
                }
                Ok(Some(answer::<O>(call, planned)))
            }
            Outcome::Conflict { collection, index } => op.conflict(collection, index).map_or(Ok(None), Err),
            Outcome::OutOfBounds { collection, id, field } => {
                Err(Error::new(Code::Conflict, format!("{collection} {id}: {field} is at its bound")))
            }
            Outcome::Stale { .. } => Ok(None),
        }
    }

    /// What the scope is about; what the caller may not know of is not found.
    async fn resolve(&self, caller: &Caller, scope: Scope) -> Result<Option<Tenant>> {
        match scope {
            Scope::System | Scope::Visible => Ok(None),
            Scope::Org(id) => self.resolve_org(caller, id).await.map(|()| None),
            Scope::Project(id) => self.resolve_project(caller, id).await.map(Some),
            Scope::CallerProject(named) => {
                let own = caller.key().map(|record| record.project.id);
                let id = named.or(own).ok_or_else(|| {
                    Error::invalid_field(
                        "project_id",
                        "required",
                        "is required for callers that are not a project's key",
                    )
                })?;
                self.resolve_project(caller, id).await.map(Some)
            }
        }
    }

    async fn resolve_org(&self, caller: &Caller, id: OrgId) -> Result<()> {
        let known = caller.sees_org(id) && self.parts.organizations.get(id).await?.is_some();
        if known { Ok(()) } else { Err(Error::not_found("organization", id)) }
    }

    async fn resolve_project(&self, caller: &Caller, id: ProjectId) -> Result<Tenant> {
        let missing = || Error::not_found("project", id);
        if !caller.sees_project(id) {
            return Err(missing());
        }
        if let Some(record) = caller.key() {
            return Ok(record.tenant());
        }
        self.parts.keyring.tenant(id).await?.ok_or_else(missing)
    }

    /// Spends the cost against every limit that holds for the caller; the tightest is told to the edge. A call pays
    /// once: an edge asks before it reads the request, so that refused requests cost as much as others.
    pub fn admit(&self, call: &Call, cost: u32) -> Result<()> {
        if call.rate.is_told() {
            return Ok(());
        }
        let payers: [Option<(Payer, Rate, &str)>; 2] = match &call.caller {
            Caller::Operator(_) => return Ok(()),
            Caller::Anonymous => [call.ip.map(|ip| (Payer::Address(network::bucket(ip)), ANONYMOUS, "address")), None],
            Caller::Key(key) => {
                let record = &key.record;
                let own = record.project.limits.requests_per_minute;
                let Some(per_minute) = own.or(record.org.plan.requests_per_minute()) else { return Ok(()) };
                let rate = Rate { per_minute };
                let project = Payer::Project(record.project.id);
                [Some((Payer::Key(record.id), rate, "key")), Some((project, rate, "project"))]
            }
        };
        let now = self.parts.clock.monotonic();
        for (payer, rate, kind) in payers.into_iter().flatten() {
            let decision = self.limiter.spend(&payer, rate, cost, now);
            call.rate.tell(decision);
            if !decision.allowed {
                self.parts.metrics.limited.with_label_values(&[kind]).inc();
                return Err(Error::new(
                    Code::RateLimited,
                    format!("the limit of {} requests a minute is used up", rate.per_minute),
                )
                .retry_after(decision.reset_seconds.max(1)));
            }
        }
        Ok(())
    }
}

/// Where [`ControlPlane::execute`] leaves the decision of the tightest limit, for the edge's headers.
#[derive(Clone, Debug, Default)]
pub struct RateCell(Arc<OnceLock<Decision>>, Arc<OnceLock<Decision>>);

impl RateCell {
    fn is_told(&self) -> bool {
        self.0.get().is_some()
    }

    fn tell(&self, decision: Decision) {
        let _ = if self.0.get().is_none() { self.0.set(decision) } else { self.1.set(decision) };
    }

    /// The decision that leaves the least room, when any limit was asked.
    pub fn tightest(&self) -> Option<Decision> {
        let refused_first = |decision: &&Decision| (decision.allowed, decision.remaining);
        [self.0.get(), self.1.get()].into_iter().flatten().min_by_key(refused_first).copied()
    }
}

/// Wraps what was planned into what the caller gets.
fn answer<O: Operation>(call: &Call, planned: Planned<O::Output>) -> Answer<O::Output> {
    if !call.dry_run {
        return Answer::Done { output: planned.output, replayed: false };
    }
    let effects = planned.impact.into_iter().map(|(what, count)| (what.to_owned(), count)).collect();
    Answer::DryRun(DryRun { dry_run: true, result: O::without_secrets(planned.output), effects })
}

fn expected_version(meta: &Meta, body: Option<u64>, header: Option<u64>) -> Result<Option<u64>> {
    match (body, header) {
        // A condition that nobody checks must not look as if it held.
        (_, Some(_)) if !meta.versioned => {
            Err(Error::new(Code::BadRequest, "If-Match has no meaning for this request")
                .hint("Leave it out: this request does not change one thing that has versions."))
        }
        (Some(body), Some(header)) if body != header => {
            Err(Error::invalid(vec![Fault::new("version", "contradiction", "is not the version that If-Match names")]))
        }
        (body, header) => Ok(body.or(header)),
    }
}

/// Statuses as label values, without allocating.
fn status_text(status: u16) -> &'static str {
    match status {
        200 => "200",
        201 => "201",
        202 => "202",
        400 => "400",
        401 => "401",
        403 => "403",
        404 => "404",
        408 => "408",
        409 => "409",
        410 => "410",
        412 => "412",
        413 => "413",
        415 => "415",
        422 => "422",
        429 => "429",
        503 => "503",
        _ => "500",
    }
}

/// Refuses when the project, or its organization, is deleted.
pub fn check_alive(tenant: &Tenant) -> Result<()> {
    let gone = tenant.org.deleted_at.is_some() || tenant.project.state == ProjectState::Deleted;
    if gone { Err(Error::not_found("project", tenant.project.id)) } else { Ok(()) }
}

/// Refuses when the project cannot be used.
pub fn check_usable(tenant: &Tenant) -> Result<()> {
    check_alive(tenant)?;
    let project = &tenant.project;
    if project.state == ProjectState::Suspended {
        // Keys of the project were refused before: this is said to its operator.
        return Err(Error::new(Code::Suspended, format!("project {} is suspended", project.id))
            .hint(format!("pulse project resume {}, or POST /v1/projects/{}/resume.", project.name, project.id)));
    }
    Ok(())
}
