//! Replays: what happened in a span of time is sent to endpoints once more, or for the first time; list, get, cancel. Starting
//! one records it with its job, in one commit; [`deliver::replay`](crate::deliver::replay) does the rest.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    diff::{changes, target},
    endpoints::wrong_state,
    organizations::job,
};
use crate::{
    access::Permission,
    deliver::{event_filter::EventTypeFilter, replay::count},
    error::{Code, Error, Fault, Result},
    id::{EndpointId, JobId, ProjectId},
    media::room::RoomName,
    model::{
        endpoint::{Endpoint, EndpointState},
        job::{Job, JobKind},
        replay::{MAX_RUNNING, Replay, ReplayState, ReplayStatus, ReplayView},
        tenant::Tenant,
    },
    op::{Cx, Meta, Method, Operation, Planned, Scope, Trail},
    page::{Cursor, Page, PageLimit},
    repo::Document,
    store::Batch,
    time::Timestamp,
};

/// How long it takes at most until every process knows of a new endpoint and makes deliveries to it.
const KNOWN_WITHIN: Duration = Duration::from_secs(2);

/// Send what happened in a span of time to webhook endpoints once more, or for the first time. The events are the same to the
/// byte, with the same `webhook-id`; the header `pulse-replay` tells that they are replayed. A dry run counts up to 10,000
/// events.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StartReplay {
    /// The project; a project's key implies it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project_id: Option<ProjectId>,
    /// Events recorded at or after this moment; all that are kept when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// Events recorded before this moment; until now when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// Of these types, or of types that begin so: `participant_*`; of all when absent.
    #[serde(default, skip_serializing_if = "EventTypeFilter::is_empty")]
    pub types: EventTypeFilter,
    /// In one of these rooms; wherever when absent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 50))]
    pub rooms: Vec<RoomName>,
    /// Which of them an endpoint gets: all that it wants, those whose latest delivery to it was given up (when absent), or those
    /// of which there never was a delivery to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<ReplayStatus>,
    /// To this endpoint; to all of the project that are not disabled when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint_id: Option<EndpointId>,
    /// How many deliveries a second are made at most; as fast as it goes, behind everything else, when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10_000))]
    pub rate_per_second: Option<u32>,
}

impl StartReplay {
    /// The endpoints that it goes to.
    async fn endpoints(&self, cx: &Cx<'_>, project: ProjectId) -> Result<Vec<Endpoint>> {
        if let Some(id) = self.endpoint_id {
            let found = cx.parts.endpoints.get(project, id).await?;
            let endpoint = found.ok_or_else(|| Error::not_found("endpoint", id))?;
            return match endpoint.state {
                EndpointState::Active | EndpointState::Paused => Ok(vec![endpoint]),
                EndpointState::Disabled => Err(wrong_state(id, "disabled", "Enable it first.")),
            };
        }
        let mut all = cx.parts.endpoints.of_project(project).await?;
        all.retain(|endpoint| endpoint.state != EndpointState::Disabled);
        if all.is_empty() {
            return Err(Error::new(Code::WrongState, "the project has no webhook endpoint that could get anything")
                .hint("Create one, or enable one that is disabled."));
        }
        Ok(all)
    }

    /// The span of time: from the oldest event that is kept, and to now.
    async fn span(&self, cx: &Cx<'_>, project: ProjectId) -> Result<(Timestamp, Timestamp)> {
        // A process that did not know a new endpoint yet may have left it out until a moment ago.
        let latest = match self.status.unwrap_or_default() {
            ReplayStatus::Missing => cx.now.plus(KNOWN_WITHIN),
            ReplayStatus::All | ReplayStatus::Failed => cx.now,
        };
        let until = self.until.map_or(latest, |until| until.min(latest));
        if self.since.is_some_and(|since| since >= until) {
            let detail = "must be before until, and before now";
            return Err(Error::invalid(vec![Fault::new("since", "contradiction", detail)]));
        }
        let oldest = cx.parts.events.oldest(project).await?.unwrap_or(until).min(until);
        Ok((self.since.map_or(oldest, |since| since.max(oldest)), until))
    }

    fn replay(
        &self,
        id: JobId,
        project_id: ProjectId,
        endpoints: &[Endpoint],
        (since, until): (Timestamp, Timestamp),
        now: Timestamp,
    ) -> Replay {
        Replay {
            id,
            project_id,
            state: ReplayState::Running,
            running: 1,
            reason: None,
            since,
            until,
            types: self.types.clone(),
            rooms: self.rooms.clone(),
            status: self.status.unwrap_or_default(),
            endpoint_ids: endpoints.iter().map(|endpoint| endpoint.id).collect(),
            rate_per_second: self.rate_per_second,
            cursor: None,
            events: 0,
            deliveries: 0,
            // The first second's worth is made at once.
            paced_at: now.minus(Duration::from_secs(1)),
            created_at: now,
            finished_at: None,
            expires_at: None,
            version: 0,
        }
    }
}

/// Makes the batch the only one that starts a replay of the project since now; refuses when as many run as may.
async fn take_place(cx: &Cx<'_>, project: ProjectId, batch: &mut Batch) -> Result<()> {
    let guard = cx.parts.keys.key_set(project).await?;
    if cx.parts.replays.count_running(project).await? >= MAX_RUNNING {
        let message = format!("the project has {MAX_RUNNING} running replays, the most it can have");
        return Err(Error::new(Code::Conflict, message).hint("Wait until one has ended, or cancel one."));
    }
    guard.guard(batch)
}

fn trail(tenant: &Tenant, before: Option<&ReplayView>, after: &ReplayView) -> Trail {
    let endpoints = after.endpoint_ids.iter().map(|id| target("endpoint", id, None));
    let project = target("project", tenant.project.id, Some(tenant.project.name.to_string()));
    Trail {
        org: Some(tenant.org.id),
        targets: [target("replay", after.id, None)].into_iter().chain(endpoints).chain([project]).collect(),
        changes: changes(before, Some(after)),
    }
}

impl Operation for StartReplay {
    type Output = ReplayView;
    const META: Meta = Meta::mutation(
        "replays.start",
        Method::Post,
        "/v1/webhooks/replays",
        &[Permission::WebhooksWrite],
        "Send what happened in a span of time to webhook endpoints once more, or for the first time",
    )
    .accepts();

    fn scope(&self) -> Scope {
        Scope::CallerProject(self.project_id)
    }

    async fn plan(&self, cx: &Cx<'_>) -> Result<Planned<ReplayView>> {
        let tenant = cx.tenant()?;
        tenant.check_usable()?;
        let project = tenant.project.id;
        let span = self.span(cx, project).await?;
        let endpoints = self.endpoints(cx, project).await?;
        let job: Job = job(cx, JobKind::Replay, project, cx.now);
        let replay = self.replay(job.id, project, &endpoints, span, cx.now);
        let mut batch = Batch::new();
        take_place(cx, project, &mut batch).await?;
        replay.insert_into(&mut batch)?;
        job.insert_into(&mut batch)?;
        let view = replay.view();
        let trail = trail(tenant, None, &view);
        if !cx.call.dry_run {
            return Ok(Planned::write(view, batch, trail));
        }
        let counted = count(cx.parts, &replay, &endpoints).await?;
        let view = ReplayView { counted_until: counted.until, ..view };
        let planned = Planned::write(view, batch, trail);
        Ok(planned.touching("events", counted.events).touching("deliveries", counted.deliveries))
    }
}

/// List the project's replays, newest first. One that has ended is kept for 30 days.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ListReplays {
    /// The project; a project's key implies it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project_id: Option<ProjectId>,
    /// Rows on the page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<PageLimit>,
    /// `next_cursor` of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<Cursor>,
}

impl Operation for ListReplays {
    type Output = Page<ReplayView>;
    const META: Meta = Meta::read(
        "replays.list",
        "/v1/webhooks/replays",
        &[Permission::WebhooksRead],
        "List the project's replays, newest first",
    );

    fn scope(&self) -> Scope {
        Scope::CallerProject(self.project_id)
    }

    async fn plan(&self, cx: &Cx<'_>) -> Result<Planned<Self::Output>> {
        let project = cx.tenant()?.project.id;
        Ok(Planned::read(cx.parts.replays.list(project, self.limit, self.cursor.as_ref()).await?))
    }
}

/// The project's replay of that id.
async fn read(cx: &Cx<'_>, id: JobId) -> Result<Replay> {
    let found = cx.parts.replays.get(cx.tenant()?.project.id, id).await?;
    found.ok_or_else(|| Error::not_found("replay", id))
}

/// Get a replay, with how far it is.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GetReplay {
    /// Which.
    pub id: JobId,
    /// The project; a project's key implies it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project_id: Option<ProjectId>,
}

impl Operation for GetReplay {
    type Output = ReplayView;
    const META: Meta = Meta::read(
        "replays.get",
        "/v1/webhooks/replays/{id}",
        &[Permission::WebhooksRead],
        "Get a replay, with how far it is",
    );

    fn scope(&self) -> Scope {
        Scope::CallerProject(self.project_id)
    }

    async fn plan(&self, cx: &Cx<'_>) -> Result<Planned<ReplayView>> {
        Ok(Planned::read(read(cx, self.id).await?.view()))
    }
}

/// Stop a running replay. The deliveries that it has made are sent; no more are made.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CancelReplay {
    /// Which.
    pub id: JobId,
    /// The project; a project's key implies it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project_id: Option<ProjectId>,
}

impl Operation for CancelReplay {
    type Output = ReplayView;
    const META: Meta = Meta::mutation(
        "replays.cancel",
        Method::Post,
        "/v1/webhooks/replays/{id}/cancel",
        &[Permission::WebhooksWrite],
        "Stop a running replay: the deliveries that it has made are sent, and no more are made",
    );

    fn scope(&self) -> Scope {
        Scope::CallerProject(self.project_id)
    }

    async fn plan(&self, cx: &Cx<'_>) -> Result<Planned<ReplayView>> {
        let tenant = cx.tenant()?;
        tenant.check_alive()?;
        let before = read(cx, self.id).await?;
        let ended = |word: &str| Err(Error::new(Code::WrongState, format!("replay {} has {word} already", self.id)));
        match before.state() {
            ReplayState::Running => {}
            ReplayState::Cancelled => return Ok(Planned::read(before.view())),
            ReplayState::Completed => return ended("completed"),
            ReplayState::Failed => return ended("failed"),
        }
        let mut batch = Batch::new();
        before.stop_in(&mut batch);
        let after = Replay { running: 0, ..before.clone() }.view();
        let trail = trail(tenant, Some(&before.view()), &after);
        Ok(Planned::write(after, batch, trail).touching("replays", 1))
    }
}
