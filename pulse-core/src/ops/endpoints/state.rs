//! Pausing and disabling endpoints. Only the endpoint's own row changes: what waits for it stays as it is, and goes on when
//! the endpoint is active again.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{PENDING, pending, read_to_change, replacing, shown};
use crate::{
    access::Permission,
    error::{Code, Error, Result},
    id::{EndpointId, ProjectId},
    model::{
        endpoint::{Endpoint, EndpointState, EndpointView},
        text::Note,
    },
    op::{Cx, Meta, Method, Operation, Planned, Scope},
};

/// The plan of bringing an endpoint into a state, with what waits for it.
async fn moved(
    cx: &Cx<'_>,
    before: Endpoint,
    state: EndpointState,
    reason: Option<&Note>,
) -> Result<Planned<EndpointView>> {
    let state_reason = reason.map(ToString::to_string);
    if before.state == state && before.state_reason == state_reason {
        return Ok(Planned::read(shown(cx, &before).await?));
    }
    let waiting = pending(cx, before.id).await?;
    let after = Endpoint { state, state_reason, ..before.clone() };
    Ok(replacing(cx, &before, after).await?.touching(PENDING, waiting))
}

/// The refusal of what an endpoint does not allow in the state in which it is.
pub(in crate::ops) fn wrong_state(id: EndpointId, is: &str, hint: &str) -> Error {
    Error::new(Code::WrongState, format!("endpoint {id} is {is}")).hint(hint)
}

/// Pause a webhook endpoint: events are kept for it, and sent when it is resumed.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PauseEndpoint {
    /// Which.
    pub id: EndpointId,
    /// The project; a project's key implies it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project_id: Option<ProjectId>,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Note>,
}

impl Operation for PauseEndpoint {
    type Output = EndpointView;
    const META: Meta = Meta::mutation(
        "endpoints.pause",
        Method::Post,
        "/v1/webhooks/endpoints/{id}/pause",
        &[Permission::WebhooksWrite],
        "Pause a webhook endpoint: events are kept for it, and sent when it is resumed",
    )
    .versioned();

    fn scope(&self) -> Scope {
        Scope::CallerProject(self.project_id)
    }

    fn version_of(output: &EndpointView) -> Option<u64> {
        Some(output.version)
    }

    async fn plan(&self, cx: &Cx<'_>) -> Result<Planned<EndpointView>> {
        let before = read_to_change(cx, self.id).await?;
        match before.state {
            EndpointState::Active | EndpointState::Paused => {
                moved(cx, before, EndpointState::Paused, self.reason.as_ref()).await
            }
            EndpointState::Disabled => Err(wrong_state(self.id, "disabled", "Enable it first.")),
        }
    }
}

/// Let a paused webhook endpoint go on: what was kept for it is sent.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ResumeEndpoint {
    /// Which.
    pub id: EndpointId,
    /// The project; a project's key implies it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project_id: Option<ProjectId>,
}

impl Operation for ResumeEndpoint {
    type Output = EndpointView;
    const META: Meta = Meta::mutation(
        "endpoints.resume",
        Method::Post,
        "/v1/webhooks/endpoints/{id}/resume",
        &[Permission::WebhooksWrite],
        "Let a paused webhook endpoint go on: what was kept for it is sent",
    )
    .versioned();

    fn scope(&self) -> Scope {
        Scope::CallerProject(self.project_id)
    }

    fn version_of(output: &EndpointView) -> Option<u64> {
        Some(output.version)
    }

    async fn plan(&self, cx: &Cx<'_>) -> Result<Planned<EndpointView>> {
        let before = read_to_change(cx, self.id).await?;
        match before.state {
            EndpointState::Active | EndpointState::Paused => moved(cx, before, EndpointState::Active, None).await,
            EndpointState::Disabled => Err(wrong_state(self.id, "disabled", "Enable it instead.")),
        }
    }
}

/// Disable a webhook endpoint: nothing is sent to it, and no new event is kept for it.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DisableEndpoint {
    /// Which.
    pub id: EndpointId,
    /// The project; a project's key implies it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project_id: Option<ProjectId>,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Note>,
}

impl Operation for DisableEndpoint {
    type Output = EndpointView;
    const META: Meta = Meta::mutation(
        "endpoints.disable",
        Method::Post,
        "/v1/webhooks/endpoints/{id}/disable",
        &[Permission::WebhooksWrite],
        "Disable a webhook endpoint: nothing is sent to it, and no new event is kept for it",
    )
    .versioned();

    fn scope(&self) -> Scope {
        Scope::CallerProject(self.project_id)
    }

    fn version_of(output: &EndpointView) -> Option<u64> {
        Some(output.version)
    }

    async fn plan(&self, cx: &Cx<'_>) -> Result<Planned<EndpointView>> {
        let before = read_to_change(cx, self.id).await?;
        moved(cx, before, EndpointState::Disabled, self.reason.as_ref()).await
    }
}

/// Enable a disabled webhook endpoint: what still waits for it is sent, and new events are. It gets its five days anew
/// before it is disabled for failing.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EnableEndpoint {
    /// Which.
    pub id: EndpointId,
    /// The project; a project's key implies it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project_id: Option<ProjectId>,
}

impl Operation for EnableEndpoint {
    type Output = EndpointView;
    const META: Meta = Meta::mutation(
        "endpoints.enable",
        Method::Post,
        "/v1/webhooks/endpoints/{id}/enable",
        &[Permission::WebhooksWrite],
        "Enable a disabled webhook endpoint: what still waits for it is sent, and new events are",
    )
    .versioned();

    fn scope(&self) -> Scope {
        Scope::CallerProject(self.project_id)
    }

    fn version_of(output: &EndpointView) -> Option<u64> {
        Some(output.version)
    }

    async fn plan(&self, cx: &Cx<'_>) -> Result<Planned<EndpointView>> {
        let before = read_to_change(cx, self.id).await?;
        match before.state {
            EndpointState::Active | EndpointState::Disabled => moved(cx, before, EndpointState::Active, None).await,
            EndpointState::Paused => Err(wrong_state(self.id, "paused", "Resume it instead.")),
        }
    }
}
