//! Test events: one to one endpoint, whatever types it wants. They are marked `test` in the envelope and never billed.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{read_to_change, trail, wrong_state};
use crate::{
    access::Permission,
    error::Result,
    id::{DeliveryId, EndpointId, EventId, ProjectId},
    ingest::{Audience, NewEvent, Outbox, Recorder, Routes},
    model::{
        delivery::{Delivery, FIRST},
        endpoint::{Endpoint, EndpointState, NamedEndpoint},
        event::{PULSE_CLUSTER, TEST_EVENT},
    },
    op::{Cx, Meta, Method, Operation, Planned, Scope},
    repo::Document,
    store::Batch,
};

/// The `data` of a test event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TestData {
    /// The endpoint that is tested.
    pub endpoint: NamedEndpoint,
}

/// Send a test event to a webhook endpoint.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TestEndpoint {
    /// Which.
    pub id: EndpointId,
    /// The project; a project's key implies it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project_id: Option<ProjectId>,
}

/// A test event that is on its way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TestSent {
    /// The event.
    pub event_id: EventId,
    /// Its delivery: GET /v1/webhooks/deliveries/{id} tells what became of it.
    pub delivery_id: DeliveryId,
}

/// Refuses an endpoint that gets nothing now.
fn check_active(endpoint: &Endpoint) -> Result<()> {
    match endpoint.state {
        EndpointState::Active => Ok(()),
        EndpointState::Paused => {
            Err(wrong_state(endpoint.id, "paused", "Resume it first: nothing is sent to it meanwhile."))
        }
        EndpointState::Disabled => {
            Err(wrong_state(endpoint.id, "disabled", "Enable it first: nothing is sent to it meanwhile."))
        }
    }
}

impl Operation for TestEndpoint {
    type Output = TestSent;
    const META: Meta = Meta::mutation(
        "endpoints.test",
        Method::Post,
        "/v1/webhooks/endpoints/{id}/test",
        &[Permission::WebhooksWrite],
        "Send a test event to a webhook endpoint",
    )
    .accepts();

    fn scope(&self) -> Scope {
        Scope::CallerProject(self.project_id)
    }

    async fn plan(&self, cx: &Cx<'_>) -> Result<Planned<TestSent>> {
        let tenant = cx.tenant()?;
        tenant.check_usable()?;
        let endpoint = Arc::new(read_to_change(cx, self.id).await?);
        check_active(&endpoint)?;
        let data = TestData { endpoint: endpoint.named() };
        let new = NewEvent {
            kind: TEST_EVENT,
            occurred_at: cx.now,
            cluster: PULSE_CLUSTER,
            // Its own: a test is never the same as another.
            source_id: &format!("test:{}", EventId::new(cx.now, cx.parts.entropy.as_ref())),
            room: None,
            session_id: None,
            synthetic: false,
            test: true,
            corrects: None,
            data: &data,
        };
        let routes = Routes::default();
        let recorder = Recorder { parts: cx.parts, routes: &routes, dispatcher: None, tenant, now: cx.now };
        let mut batch = Batch::new();
        endpoint.require_in(&mut batch);
        let event_id = recorder.record(new, Audience::Only(&endpoint), &mut batch, &mut Outbox::default()).await?;
        let delivery_id = Delivery::id_of(event_id, endpoint.id, FIRST);
        let trail = trail(cx, Some(&endpoint), Some(&endpoint))?;
        Ok(Planned::write(TestSent { event_id, delivery_id }, batch, trail).touching("deliveries", 1))
    }
}
