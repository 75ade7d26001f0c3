//! Sending an event to an endpoint once more: another delivery of the same event, with the same bytes and the same
//! `webhook-id`. Who asked for it, and by which request, is its origin: the same request of the same caller makes one
//! delivery however often it is made, and nobody else's request is taken for it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::read;
use crate::{
    access::Permission,
    error::{Code, Error, Result},
    id::{DeliveryId, ProjectId},
    model::{
        delivery::{Delivery, DeliveryView, Priority},
        endpoint::{Endpoint, EndpointState},
        event::Event,
    },
    op::{Cx, Meta, Method, Operation, Planned, Scope, Trail},
    ops::{diff::target, endpoints::wrong_state},
    repo::Document,
    store::Batch,
};

/// Send a delivery's event to its endpoint once more.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ResendDelivery {
    /// The delivery.
    pub id: DeliveryId,
    /// The project; a project's key implies it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project_id: Option<ProjectId>,
}

/// The endpoint, which must be there and take new events.
async fn endpoint(cx: &Cx<'_>, old: &Delivery) -> Result<Endpoint> {
    let id = old.endpoint_id;
    let found = cx.parts.endpoints.get(old.project_id, id).await?;
    let endpoint = found.ok_or_else(|| Error::new(Code::Gone, format!("endpoint {id} was deleted")))?;
    match endpoint.state {
        EndpointState::Active | EndpointState::Paused => Ok(endpoint),
        EndpointState::Disabled => Err(wrong_state(id, "disabled", "Enable it first.")),
    }
}

/// The event, which must be kept for long enough to be sent.
async fn event(cx: &Cx<'_>, old: &Delivery) -> Result<Event> {
    let found = cx.parts.events.get(old.project_id, old.event_id).await?;
    let kept = cx.parts.settings.pipeline.keep_events;
    found.filter(|event| event.can_be_sent(kept, cx.now)).ok_or_else(|| {
        Error::new(Code::Gone, format!("event {} is not kept any more", old.event_id))
            .hint("Events are kept for as long as the settings say, 30 days by default.")
    })
}

impl ResendDelivery {
    /// The delivery that this request makes.
    fn delivery(cx: &Cx<'_>, event: &Event, endpoint: &Endpoint) -> Delivery {
        let request = cx.call.idempotency_key.as_deref().unwrap_or(&cx.call.request_id);
        let origin = format!("resend:{}:{request}", cx.call.caller.id());
        Delivery::new(event, endpoint.id, origin, Priority::Replay, cx.now, cx.parts.steady())
    }
}

impl Operation for ResendDelivery {
    type Output = DeliveryView;
    const META: Meta = Meta::mutation(
        "deliveries.resend",
        Method::Post,
        "/v1/webhooks/deliveries/{id}/resend",
        &[Permission::WebhooksWrite],
        "Send a delivery's event to its endpoint once more",
    )
    .accepts();

    fn scope(&self) -> Scope {
        Scope::CallerProject(self.project_id)
    }

    async fn plan(&self, cx: &Cx<'_>) -> Result<Planned<DeliveryView>> {
        let tenant = cx.tenant()?;
        tenant.check_usable()?;
        let old = read(cx, self.id).await?;
        let endpoint = endpoint(cx, &old).await?;
        let event = event(cx, &old).await?;
        let delivery = Self::delivery(cx, &event, &endpoint);
        if let Some(made) = cx.parts.deliveries.get(delivery.project_id, delivery.id).await? {
            return Ok(Planned::read(made.view()));
        }
        let mut batch = Batch::new();
        // The sweep must not take the event, nor a deletion the endpoint, from under it.
        event.require_in(&mut batch);
        endpoint.require_in(&mut batch);
        delivery.insert_into(&mut batch)?;
        let targets = vec![
            target("delivery", delivery.id, None),
            target("endpoint", endpoint.id, Some(endpoint.url.to_string())),
            target("project", tenant.project.id, Some(tenant.project.name.to_string())),
        ];
        let trail = Trail { org: Some(tenant.org.id), targets, changes: Vec::new() };
        Ok(Planned::write(delivery.view(), batch, trail).touching("deliveries", 1))
    }
}
