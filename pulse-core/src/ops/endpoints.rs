//! Webhook endpoints of a project: create, list, get; `change` changes and deletes them, `state` pauses and disables them,
//! `secrets` rotates what signs, `trial` sends a test event.
//!
//! Every change drops the caches in which who records events keeps endpoints. A new endpoint also replaces the project's
//! [`KeySet`](crate::repo::api_keys::KeySet), so that two at once cannot both take the last place.

mod change;
mod draft;
mod secrets;
mod state;
mod trial;
mod webhook_url;

use std::{collections::BTreeMap, sync::Arc};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub(crate) use self::draft::Draft;
pub use self::{
    change::{DeleteEndpoint, UpdateEndpoint},
    secrets::RotateSecret,
    state::{DisableEndpoint, EnableEndpoint, PauseEndpoint, ResumeEndpoint},
    trial::{TestData, TestEndpoint, TestSent},
};
pub(super) use self::{
    draft::url_fault,
    state::wrong_state,
    webhook_url::{Followed, follow},
};
use super::{
    diff::{changes, target},
    organizations::job,
};
use crate::{
    access::Permission,
    deliver::{event_filter::EventTypeFilter, pace::EndpointRate, schedule::Schedule, sign::SigningSecret},
    error::{Code, Error, Result},
    id::{EndpointId, ProjectId},
    model::{
        endpoint::{
            DEFAULT_MAX_IN_FLIGHT, DEFAULT_TIMEOUT_SECONDS, Endpoint, EndpointHealth, EndpointView, MAX_ENDPOINTS,
        },
        job::JobKind,
        project::Project,
        tenant::Tenant,
        text::{Note, WebhookUrl},
    },
    op::{Cx, Meta, Method, Operation, Planned, Scope, Trail},
    page::{Cursor, Page, PageLimit},
    repo::Document,
    secret::SecretText,
    store::Batch,
};

/// Up to how many pending deliveries are counted for a dry run.
const COUNTED: u64 = 1_000_000;
/// What a dry run calls deliveries that wait.
const PENDING: &str = "deliveries_pending";

/// An endpoint and, this once, its signing secret.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CreatedEndpoint {
    /// The endpoint.
    #[serde(flatten)]
    pub endpoint: EndpointView,
    /// The secret that signs, `whsec_...`: shown now and never again. Absent in a dry run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<SecretText>,
}

fn cut(created: CreatedEndpoint) -> CreatedEndpoint {
    CreatedEndpoint { secret: None, ..created }
}

fn trail(cx: &Cx<'_>, before: Option<&Endpoint>, after: Option<&Endpoint>) -> Result<Trail> {
    let tenant = cx.tenant()?;
    let id = after.or(before).map(|endpoint| target("endpoint", endpoint.id, Some(endpoint.url.to_string())));
    let project = target("project", tenant.project.id, Some(tenant.project.name.to_string()));
    let targets = id.into_iter().chain([project]).collect();
    Ok(Trail { org: Some(tenant.org.id), targets, changes: changes(before, after) })
}

/// The project as it is now; refuses when it is deleted.
async fn living_project(cx: &Cx<'_>) -> Result<Project> {
    let tenant = cx.tenant()?;
    let id = tenant.project.id;
    let project = cx.parts.projects.get(id).await?.ok_or_else(|| Error::not_found("project", id))?;
    Tenant::new(Arc::clone(&tenant.org), project.clone(), tenant.project.has_bans).check_alive()?;
    Ok(project)
}

/// The project's endpoint of that id.
async fn read(cx: &Cx<'_>, id: EndpointId) -> Result<Endpoint> {
    let project = cx.tenant()?.project.id;
    let found = cx.parts.endpoints.get(project, id).await?;
    let endpoint = found.ok_or_else(|| Error::not_found("endpoint", id))?;
    cx.check_version("endpoint", &id, endpoint.version)?;
    Ok(endpoint)
}

/// The same, to change it: the project must not be deleted.
async fn read_to_change(cx: &Cx<'_>, id: EndpointId) -> Result<Endpoint> {
    cx.tenant()?.check_alive()?;
    read(cx, id).await
}

/// The endpoint with how it has been doing.
async fn shown(cx: &Cx<'_>, endpoint: &Endpoint) -> Result<EndpointView> {
    let health = cx.parts.endpoints.health(endpoint.id).await?;
    Ok(endpoint.view(health.as_ref(), cx.now))
}

/// The plan of replacing an endpoint by its changed form.
async fn replacing(cx: &Cx<'_>, before: &Endpoint, after: Endpoint) -> Result<Planned<EndpointView>> {
    let mut batch = Batch::new();
    let after = Endpoint { updated_at: cx.now, ..after }.replaced_in(&mut batch)?;
    batch.bump_generation();
    Ok(Planned::write(shown(cx, &after).await?, batch, trail(cx, Some(before), Some(&after))?))
}

/// Makes the batch the only one that adds an endpoint to the project since now; refuses when it has as many as it may.
async fn take_place(cx: &Cx<'_>, project: ProjectId, batch: &mut Batch) -> Result<()> {
    let guard = cx.parts.keys.key_set(project).await?;
    if cx.parts.endpoints.of_project(project).await?.len() >= MAX_ENDPOINTS {
        return Err(Error::new(
            Code::Conflict,
            format!("the project has {MAX_ENDPOINTS} webhook endpoints, which is the most it can have"),
        )
        .hint("Delete one that is not used: pulse webhook endpoint list shows how each is doing."));
    }
    guard.guard(batch)
}

/// Ends an endpoint: its health goes with it, and a job ends what waits for it. Tells how much that is.
async fn end(cx: &Cx<'_>, endpoint: &Endpoint, batch: &mut Batch) -> Result<u64> {
    batch.delete(Endpoint::COLLECTION, endpoint.id, endpoint.version).bump_generation();
    match cx.parts.endpoints.health(endpoint.id).await? {
        Some(health) => batch.delete(EndpointHealth::COLLECTION, endpoint.id, health.version),
        // One that is written meanwhile must not stay.
        None => batch.require(EndpointHealth::COLLECTION, endpoint.id, None),
    };
    job(cx, JobKind::CancelDeliveries, endpoint.id, cx.now).insert_into(batch)?;
    pending(cx, endpoint.id).await
}

/// How many deliveries wait for an endpoint.
async fn pending(cx: &Cx<'_>, id: EndpointId) -> Result<u64> {
    cx.parts.deliveries.count_pending(id, COUNTED).await
}

/// Create a webhook endpoint.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateEndpoint {
    /// The project; a project's key implies it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project_id: Option<ProjectId>,
    /// Where events are sent.
    pub url: WebhookUrl,
    /// What it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<Note>,
    /// Which events, by type or by the beginning of types and a `*`; all, those of later versions too, when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event_types: Option<EventTypeFilter>,
    /// Headers to send along, for instance for the receiver's own authentication. Their values are never returned.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 20))]
    pub headers: BTreeMap<String, SecretText>,
    /// When failed deliveries are tried again; as the installation does when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<Schedule>,
    /// How many deliveries a second; as many as it takes when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<EndpointRate>,
    /// For how long it may take to answer, in seconds; 15 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 15))]
    pub timeout_seconds: Option<u32>,
    /// How many deliveries at once; 8 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 256))]
    pub max_in_flight: Option<u32>,
    /// A signing secret that the receiver has already, `whsec_` and base64 of 24 to 64 bytes; a new one when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<SecretText>,
}

impl CreateEndpoint {
    /// What it is to be, or every fault of it.
    fn draft(&self, cx: &Cx<'_>, project: ProjectId) -> Result<Draft> {
        let mut faults: Vec<_> = url_fault(cx.parts, "url", &self.url).into_iter().collect();
        faults.extend(draft::header_faults(&self.headers));
        faults.extend(draft::bound_faults(self.timeout_seconds, self.max_in_flight));
        let secret = match self.secret.as_ref().map(draft::read_secret) {
            None => SigningSecret::generate(cx.parts.entropy.as_ref()),
            Some(Ok(secret)) => secret,
            Some(Err(fault)) => {
                faults.push(fault);
                return Err(Error::invalid(faults));
            }
        };
        if !faults.is_empty() {
            return Err(Error::invalid(faults));
        }
        Ok(Draft {
            project,
            url: self.url.clone(),
            description: self.description.clone(),
            event_types: self.event_types.clone().unwrap_or_default(),
            headers: self.headers.clone(),
            schedule: self.schedule.clone(),
            rate: self.rate,
            timeout_seconds: self.timeout_seconds.unwrap_or(DEFAULT_TIMEOUT_SECONDS),
            max_in_flight: self.max_in_flight.unwrap_or(DEFAULT_MAX_IN_FLIGHT),
            secret,
            of_webhook_url: false,
        })
    }
}

impl Operation for CreateEndpoint {
    type Output = CreatedEndpoint;
    const META: Meta = Meta::mutation(
        "endpoints.create",
        Method::Post,
        "/v1/webhooks/endpoints",
        &[Permission::WebhooksWrite],
        "Create a webhook endpoint; its signing secret is shown this once",
    )
    .creates()
    .reveals();

    fn scope(&self) -> Scope {
        Scope::CallerProject(self.project_id)
    }

    fn version_of(output: &CreatedEndpoint) -> Option<u64> {
        Some(output.endpoint.version)
    }

    fn without_secrets(output: CreatedEndpoint) -> CreatedEndpoint {
        cut(output)
    }

    async fn plan(&self, cx: &Cx<'_>) -> Result<Planned<CreatedEndpoint>> {
        let project = living_project(cx).await?;
        let draft = self.draft(cx, project.id)?;
        let mut batch = Batch::new();
        take_place(cx, project.id, &mut batch).await?;
        project.require_in(&mut batch);
        let (endpoint, secret) = draft.make(cx.parts, cx.now)?;
        endpoint.insert_into(&mut batch)?;
        batch.bump_generation();
        let trail = trail(cx, None, Some(&endpoint))?;
        let output = CreatedEndpoint { endpoint: endpoint.view(None, cx.now), secret: Some(secret) };
        Ok(Planned::write(output, batch, trail).touching("endpoints", 1))
    }
}

/// List the project's webhook endpoints, newest first.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ListEndpoints {
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

impl Operation for ListEndpoints {
    type Output = Page<EndpointView>;
    const META: Meta = Meta::read(
        "endpoints.list",
        "/v1/webhooks/endpoints",
        &[Permission::WebhooksRead],
        "List the project's webhook endpoints, newest first",
    );

    fn scope(&self) -> Scope {
        Scope::CallerProject(self.project_id)
    }

    async fn plan(&self, cx: &Cx<'_>) -> Result<Planned<Self::Output>> {
        let project = cx.tenant()?.project.id;
        let page = cx.parts.endpoints.list(project, self.limit, self.cursor.as_ref()).await?;
        let mut data = Vec::with_capacity(page.data.len());
        for endpoint in &page.data {
            data.push(shown(cx, endpoint).await?);
        }
        Ok(Planned::read(Page { data, next_cursor: page.next_cursor }))
    }
}

/// Get a webhook endpoint, with how it has been doing.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GetEndpoint {
    /// Which.
    pub id: EndpointId,
    /// The project; a project's key implies it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project_id: Option<ProjectId>,
}

impl Operation for GetEndpoint {
    type Output = EndpointView;
    const META: Meta = Meta::read(
        "endpoints.get",
        "/v1/webhooks/endpoints/{id}",
        &[Permission::WebhooksRead],
        "Get a webhook endpoint, with how it has been doing",
    );

    fn scope(&self) -> Scope {
        Scope::CallerProject(self.project_id)
    }

    fn version_of(output: &EndpointView) -> Option<u64> {
        Some(output.version)
    }

    async fn plan(&self, cx: &Cx<'_>) -> Result<Planned<EndpointView>> {
        Ok(Planned::read(shown(cx, &read(cx, self.id).await?).await?))
    }
}
