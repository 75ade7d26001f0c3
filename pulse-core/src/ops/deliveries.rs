//! Deliveries: search, what became of one, its attempts; `resend` sends an event to an endpoint once more.

mod resend;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use resend::ResendDelivery;

use crate::{
    access::Permission,
    deliver::state::Status,
    error::{Error, Result},
    id::{DeliveryId, EndpointId, EventId, ProjectId},
    media::room::RoomName,
    model::delivery::{AttemptView, Delivery, DeliveryView},
    op::{Cx, Meta, Operation, Planned, Scope},
    page::{Cursor, Page, PageLimit},
    repo::deliveries::DeliveryFilter,
    time::Timestamp,
};

/// The project's delivery of that id.
async fn read(cx: &Cx<'_>, id: DeliveryId) -> Result<Delivery> {
    let project = cx.tenant()?.project.id;
    cx.parts.deliveries.get(project, id).await?.ok_or_else(|| Error::not_found("delivery", id))
}

/// List the project's deliveries, those of the newest events first.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ListDeliveries {
    /// The project; a project's key implies it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project_id: Option<ProjectId>,
    /// To this endpoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint_id: Option<EndpointId>,
    /// Of this event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event_id: Option<EventId>,
    /// Of events of this type.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub event_type: Option<String>,
    /// Of events in this room.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub room: Option<RoomName>,
    /// That stand so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<Status>,
    /// Of events recorded at or after this moment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Timestamp>,
    /// Of events recorded before this moment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Timestamp>,
    /// Rows on the page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<PageLimit>,
    /// `next_cursor` of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<Cursor>,
}

impl Operation for ListDeliveries {
    type Output = Page<DeliveryView>;
    const META: Meta = Meta::read(
        "deliveries.list",
        "/v1/webhooks/deliveries",
        &[Permission::WebhooksRead],
        "List the project's deliveries, those of the newest events first",
    );

    fn scope(&self) -> Scope {
        Scope::CallerProject(self.project_id)
    }

    async fn plan(&self, cx: &Cx<'_>) -> Result<Planned<Self::Output>> {
        let filter = DeliveryFilter {
            endpoint_id: self.endpoint_id,
            event_id: self.event_id,
            event_type: self.event_type.clone(),
            room: self.room.clone(),
            status: self.status,
            from: self.from,
            to: self.to,
        };
        let project = cx.tenant()?.project.id;
        let page = cx.parts.deliveries.list(project, &filter, self.limit, self.cursor.as_ref()).await?;
        Ok(Planned::read(page))
    }
}

/// A delivery and what it delivers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DeliveryDetail {
    /// The delivery.
    #[serde(flatten)]
    pub delivery: DeliveryView,
    /// The event as the receiver gets it; `null` when it is not kept any more.
    pub event: Option<Value>,
}

/// Get a delivery with its event.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GetDelivery {
    /// Which.
    pub id: DeliveryId,
    /// The project; a project's key implies it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project_id: Option<ProjectId>,
}

impl Operation for GetDelivery {
    type Output = DeliveryDetail;
    const META: Meta = Meta::read(
        "deliveries.get",
        "/v1/webhooks/deliveries/{id}",
        &[Permission::WebhooksRead],
        "Get a delivery with its event",
    );

    fn scope(&self) -> Scope {
        Scope::CallerProject(self.project_id)
    }

    async fn plan(&self, cx: &Cx<'_>) -> Result<Planned<DeliveryDetail>> {
        let delivery = read(cx, self.id).await?;
        let event = cx.parts.events.get(delivery.project_id, delivery.event_id).await?;
        let event = event.map(|event| serde_json::from_str(&event.envelope())).transpose().map_err(Error::internal)?;
        Ok(Planned::read(DeliveryDetail { delivery: delivery.view(), event }))
    }
}

/// The attempts of a delivery, oldest first.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ListAttempts {
    /// The delivery.
    pub id: DeliveryId,
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

impl Operation for ListAttempts {
    type Output = Page<AttemptView>;
    const META: Meta = Meta::read(
        "deliveries.attempts",
        "/v1/webhooks/deliveries/{id}/attempts",
        &[Permission::WebhooksRead],
        "The attempts of a delivery, oldest first",
    );

    fn scope(&self) -> Scope {
        Scope::CallerProject(self.project_id)
    }

    async fn plan(&self, cx: &Cx<'_>) -> Result<Planned<Self::Output>> {
        let delivery = read(cx, self.id).await?;
        let deliveries = &cx.parts.deliveries;
        let page = deliveries.attempts(delivery.project_id, delivery.id, self.limit, self.cursor.as_ref()).await?;
        Ok(Planned::read(page))
    }
}
