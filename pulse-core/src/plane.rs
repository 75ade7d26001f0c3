//! The only door: [`ControlPlane::execute`] spends the rate cost, resolves the scope, authorizes, asks for the plan, adds
//! the audit entry and the idempotency record to its batch, and commits; for the daemon and for the command line alike.

mod admit;
mod audit;
mod idempotent;

pub(crate) use audit::worker_entry;

use std::{collections::BTreeMap, time::Duration};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use self::admit::Limits;
use crate::{
    access::{Caller, caller::unauthenticated},
    error::{Code, Error, Fault, Result},
    id::{OrgId, ProjectId},
    model::tenant::Tenant,
    op::{Call, Cx, Meta, Operation, Planned, Scope},
    parts::{Ingredients, Parts},
    repo::audit::Audit,
    store::{CommitMode, Outcome},
};

/// How often an operation is planned before the store's changes count as a conflict.
const MAX_PLANS: usize = 5;

/// The control plane of one installation.
#[derive(Debug)]
pub struct ControlPlane {
    parts: Parts,
    limits: Limits,
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
    /// A plane over these.
    pub fn new(ingredients: Ingredients) -> Self {
        let parts = Parts::new(ingredients);
        Self { limits: Limits::of(&parts), parts }
    }

    /// Repositories, clock, keyring and the rest.
    pub fn parts(&self) -> &Parts {
        &self.parts
    }

    /// Does one operation for one caller.
    pub async fn execute<O: Operation>(&self, call: &Call, op: &O) -> Result<Answer<O::Output>> {
        let began = self.parts.clock.monotonic();
        let answer = self.run(call, op).await;
        self.count(&O::META, began, answer.as_ref().err());
        answer
    }

    /// Counts a request of an operation that began at this monotonic time, and failed or not.
    pub fn count(&self, meta: &Meta, began: Duration, failed: Option<&Error>) {
        let status = failed.map_or(meta.status, |error| error.code().info().status);
        let took = self.parts.clock.monotonic().saturating_sub(began);
        self.parts.metrics.latency.with_label_values(&[meta.id]).observe(took.as_secs_f64());
        self.parts.metrics.requests.with_label_values(&[meta.id, status_text(status)]).inc();
    }

    /// Does a read for a caller who has been admitted, without counting it: for an edge where more than that belongs to the
    /// request, or where it goes on and whoever asked is looked at again.
    pub async fn check<O: Operation>(&self, call: &Call, op: &O) -> Result<O::Output> {
        let tenant = self.resolve(&call.caller, op.scope()).await?;
        call.caller.authorize(op.needs())?;
        let expected_version = expected_version(&O::META, op.expected_version(), call.if_match)?;
        let cx = Cx { parts: &self.parts, call, tenant, now: self.parts.clock.now(), expected_version };
        Ok(op.plan(&cx).await?.output)
    }

    /// Counts a request of an operation that was refused before it came to [`ControlPlane::execute`].
    pub fn count_refused(&self, operation: &str, error: &Error) {
        let status = status_text(error.code().info().status);
        self.parts.metrics.requests.with_label_values(&[operation, status]).inc();
    }

    async fn run<O: Operation>(&self, call: &Call, op: &O) -> Result<Answer<O::Output>> {
        self.admit(call, O::META.cost).await?;
        if matches!(call.caller, Caller::Anonymous) && !O::META.permissions.is_empty() {
            return Err(unauthenticated());
        }
        if !O::META.is_mutation() {
            return Ok(Answer::Done { output: self.check(call, op).await?, replayed: false });
        }
        let tenant = self.resolve(&call.caller, op.scope()).await?;
        call.caller.authorize(op.needs())?;
        let expected_version = expected_version(&O::META, op.expected_version(), call.if_match)?;
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
        let mode = if call.dry_run { CommitMode::Check } else { CommitMode::Apply };
        match self.parts.commit(std::mem::take(&mut planned.batch), mode).await? {
            Outcome::Committed { .. } => Ok(Some(answer::<O>(call, planned))),
            Outcome::Conflict { collection, index } => op.conflict(collection, index).map_or(Ok(None), Err),
            // A plan keeps within what it read: others have taken what was left.
            Outcome::Stale { .. } | Outcome::OutOfBounds { .. } => Ok(None),
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
            Scope::OwnProject => match caller.key() {
                Some(record) => Ok(Some(record.tenant())),
                None => {
                    Err(Error::new(Code::Forbidden, "only a project's key may do this: it says which project is meant")
                        .hint("Send a key's secret as the bearer."))
                }
            },
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
