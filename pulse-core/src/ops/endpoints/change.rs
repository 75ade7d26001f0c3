//! Changing and deleting endpoints. The endpoint of a project's `webhook_url` takes that along.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{PENDING, draft, end, living_project, read_to_change, replacing, shown, trail, url_fault};
use crate::{
    access::Permission,
    deliver::{event_filter::EventTypeFilter, pace::EndpointRate, schedule::Schedule},
    error::{Error, Fault, Result},
    id::{EndpointId, ProjectId},
    model::{
        endpoint::{DEFAULT_MAX_IN_FLIGHT, DEFAULT_TIMEOUT_SECONDS, Endpoint, EndpointView},
        project::Project,
        text::{Note, WebhookUrl},
    },
    op::{Cx, Meta, Method, Operation, Planned, Scope},
    patch::Patch,
    repo::Document,
    secret::SecretText,
    store::Batch,
};

/// Change a webhook endpoint. Absent fields stay, `null` clears.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UpdateEndpoint {
    /// Which.
    pub id: EndpointId,
    /// The project; a project's key implies it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project_id: Option<ProjectId>,
    /// Where events are sent. Another scheme, host or port needs `headers` in the same request when some are stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<WebhookUrl>,
    /// What it is for.
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    pub description: Patch<Note>,
    /// Which events, all anew; `null` for every type.
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    pub event_types: Patch<EventTypeFilter>,
    /// Headers to send along, all anew. Their values are never returned.
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    #[schemars(extend("maxProperties" = 20))]
    pub headers: Patch<BTreeMap<String, SecretText>>,
    /// When failed deliveries are tried again; `null` for as the installation does.
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    pub schedule: Patch<Schedule>,
    /// How many deliveries a second; `null` for as many as it takes.
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    pub rate: Patch<EndpointRate>,
    /// For how long it may take to answer, in seconds; `null` for 15.
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    #[schemars(range(min = 1, max = 15))]
    pub timeout_seconds: Patch<u32>,
    /// How many deliveries at once; `null` for 8.
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    #[schemars(range(min = 1, max = 256))]
    pub max_in_flight: Patch<u32>,
    /// The version that was read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
}

impl UpdateEndpoint {
    fn faults(&self, cx: &Cx<'_>) -> Vec<Fault> {
        let mut faults: Vec<_> = self.url.iter().filter_map(|url| url_fault(cx.parts, "url", url)).collect();
        faults.extend(self.headers.set().into_iter().flat_map(draft::header_faults));
        faults.extend(draft::bound_faults(self.timeout_seconds.set().copied(), self.max_in_flight.set().copied()));
        faults
    }

    /// Header values are secrets of the server for which they were given, and are shown to nobody: who may change the
    /// address must not be able to have them sent elsewhere.
    fn headers_fault(&self, endpoint: &Endpoint) -> Option<Fault> {
        let url = self.url.as_ref().filter(|url| draft::moves(endpoint, url))?;
        let stored = endpoint.headers.as_ref().filter(|_| self.headers.is_absent())?;
        let detail = format!(
            "must be given anew or cleared together with the url: the values of {} were given for {}, not for {url}",
            stored.names.join(", "),
            endpoint.url,
        );
        Some(Fault::new("headers", "required", detail))
    }

    fn apply(&self, cx: &Cx<'_>, endpoint: &mut Endpoint) -> Result<()> {
        if let Some(url) = &self.url {
            endpoint.url = url.clone();
        }
        self.description.clone().apply_to(&mut endpoint.description);
        self.schedule.clone().apply_to(&mut endpoint.schedule);
        self.rate.clone().apply_to(&mut endpoint.rate);
        match &self.event_types {
            Patch::Absent => {}
            Patch::Clear => endpoint.event_types = EventTypeFilter::default(),
            Patch::Set(filter) => endpoint.event_types = filter.clone(),
        }
        match &self.headers {
            Patch::Absent => {}
            Patch::Clear => endpoint.headers = None,
            Patch::Set(headers) => {
                endpoint.headers = draft::seal_headers(cx.parts, endpoint.id, endpoint.project_id, headers)?;
            }
        }
        endpoint.timeout_seconds = number(&self.timeout_seconds, endpoint.timeout_seconds, DEFAULT_TIMEOUT_SECONDS);
        endpoint.max_in_flight = number(&self.max_in_flight, endpoint.max_in_flight, DEFAULT_MAX_IN_FLIGHT);
        Ok(())
    }
}

/// What a number is after a patch, where clearing means the default.
fn number(patch: &Patch<u32>, current: u32, default: u32) -> u32 {
    match patch {
        Patch::Absent => current,
        Patch::Clear => default,
        Patch::Set(value) => *value,
    }
}

/// Puts another `webhook_url` into the project whose endpoint this is.
async fn set_webhook_url(cx: &Cx<'_>, endpoint: &Endpoint, url: Option<&WebhookUrl>, batch: &mut Batch) -> Result<()> {
    if endpoint.of_project.is_none() {
        return Ok(());
    }
    let project = living_project(cx).await?;
    if project.webhook_url.as_ref() != url {
        Project { webhook_url: url.cloned(), updated_at: cx.now, ..project }.replace_in(batch)?;
    }
    Ok(())
}

impl Operation for UpdateEndpoint {
    type Output = EndpointView;
    const META: Meta = Meta::mutation(
        "endpoints.update",
        Method::Put,
        "/v1/webhooks/endpoints/{id}",
        &[Permission::WebhooksWrite],
        "Change a webhook endpoint; absent fields stay, null clears",
    )
    .versioned();

    fn scope(&self) -> Scope {
        Scope::CallerProject(self.project_id)
    }

    fn expected_version(&self) -> Option<u64> {
        self.version
    }

    fn version_of(output: &EndpointView) -> Option<u64> {
        Some(output.version)
    }

    async fn plan(&self, cx: &Cx<'_>) -> Result<Planned<EndpointView>> {
        let faults = self.faults(cx);
        if !faults.is_empty() {
            return Err(Error::invalid(faults));
        }
        let before = read_to_change(cx, self.id).await?;
        if let Some(fault) = self.headers_fault(&before) {
            return Err(Error::invalid(vec![fault]).hint(
                "Send headers in the same request, with every value anew, or as null to send none to the new address.",
            ));
        }
        let mut after = before.clone();
        self.apply(cx, &mut after)?;
        if after == before {
            return Ok(Planned::read(shown(cx, &before).await?));
        }
        let url = after.url.clone();
        let mut planned = replacing(cx, &before, after).await?;
        set_webhook_url(cx, &before, Some(&url), &mut planned.batch).await?;
        Ok(planned)
    }
}

/// Delete a webhook endpoint. What waits for it is cancelled.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DeleteEndpoint {
    /// Which.
    pub id: EndpointId,
    /// The project; a project's key implies it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project_id: Option<ProjectId>,
    /// The version that was read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
}

impl Operation for DeleteEndpoint {
    type Output = EndpointView;
    const META: Meta = Meta::mutation(
        "endpoints.delete",
        Method::Delete,
        "/v1/webhooks/endpoints/{id}",
        &[Permission::WebhooksWrite],
        "Delete a webhook endpoint; what waits for it is cancelled",
    )
    .versioned();

    fn scope(&self) -> Scope {
        Scope::CallerProject(self.project_id)
    }

    fn expected_version(&self) -> Option<u64> {
        self.version
    }

    fn version_of(output: &EndpointView) -> Option<u64> {
        Some(output.version)
    }

    async fn plan(&self, cx: &Cx<'_>) -> Result<Planned<EndpointView>> {
        let endpoint = read_to_change(cx, self.id).await?;
        let mut batch = Batch::new();
        let output = shown(cx, &endpoint).await?;
        let pending = end(cx, &endpoint, &mut batch).await?;
        set_webhook_url(cx, &endpoint, None, &mut batch).await?;
        let trail = trail(cx, Some(&endpoint), None)?;
        Ok(Planned::write(output, batch, trail).touching(PENDING, pending))
    }
}
