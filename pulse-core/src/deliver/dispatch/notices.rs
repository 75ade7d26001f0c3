//! Operational events: what a project's other endpoints are told about one that is in trouble. Never to the endpoint itself,
//! never because of another operational event, and at most once an hour for each endpoint and type, with a count.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Dispatcher;
use crate::{
    error::Result,
    id::EndpointId,
    ingest::{Audience, NewEvent, Outbox, Recorder, Routes},
    model::{
        endpoint::{Endpoint, EndpointHealth, NamedEndpoint, hour_of},
        event::{Event, PULSE_CLUSTER},
    },
    store::{Batch, CommitMode, Outcome},
    time::Timestamp,
};

/// An endpoint was switched off by Pulse.
pub const DISABLED: &str = "endpoint.disabled";
/// Deliveries to an endpoint were given up.
pub const EXHAUSTED: &str = "delivery.exhausted";

/// The `data` of an operational event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NoticeData {
    /// The endpoint that it is about.
    pub endpoint: NamedEndpoint,
    /// Why, in `endpoint.disabled`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// How often it happened since it was told last.
    pub count: u64,
}

/// Whether an event is an operational one: what happens to its deliveries is not told again.
pub(super) fn is_operational(event_type: &str) -> bool {
    [DISABLED, EXHAUSTED].contains(&event_type)
}

/// The id that Pulse gives the operational event of a type about an endpoint in an hour.
fn source_id(kind: &str, endpoint: EndpointId, hour: impl fmt::Display) -> String {
    format!("{kind}:{endpoint}:{hour}")
}

/// The endpoint that an operational event is about, to which it is never sent. What somebody made up is about none.
pub(in crate::deliver) fn endpoint_it_is_about(event: &Event) -> Option<EndpointId> {
    if !is_operational(&event.kind) || event.cluster != PULSE_CLUSTER {
        return None;
    }
    event.source_id.split(':').nth(1)?.parse().ok()
}

impl Dispatcher {
    /// Adds an operational event to the batch, unless one of its type has been recorded for the endpoint in this hour:
    /// then the commit is a conflict.
    pub(super) async fn notice(
        &self,
        endpoint: &Endpoint,
        kind: &str,
        reason: Option<&str>,
        count: u64,
        now: Timestamp,
        batch: &mut Batch,
    ) -> Result<()> {
        let parts = self.parts();
        let Some(tenant) = parts.keyring.tenant(endpoint.project_id).await? else { return Ok(()) };
        let data = NoticeData { endpoint: endpoint.named(), reason: reason.map(str::to_owned), count };
        let recorder = Recorder { parts, routes: &Routes::default(), dispatcher: None, tenant: &tenant, now };
        let new = NewEvent {
            kind,
            occurred_at: now,
            cluster: PULSE_CLUSTER,
            source_id: &source_id(kind, endpoint.id, hour_of(now)),
            room: None,
            session_id: None,
            synthetic: false,
            test: false,
            corrects: None,
            data: &data,
        };
        recorder.record(new, Audience::AllBut(endpoint.id), batch, &mut Outbox::default()).await.map(drop)
    }

    /// Tells of deliveries that were given up, each endpoint once an hour.
    pub(super) async fn give_notices(&self) -> Result<()> {
        let now = self.parts().clock.now();
        let hour = hour_of(now);
        let due: Vec<EndpointHealth> = {
            let ward = self.ward.0.lock();
            let untold = |health: &&EndpointHealth| health.exhausted_untold > 0 && health.told_in_hour != Some(hour);
            ward.values().map(|(health, _)| health).filter(untold).cloned().collect()
        };
        for health in due {
            self.tell_exhausted(&health, now).await?;
        }
        Ok(())
    }

    async fn tell_exhausted(&self, health: &EndpointHealth, now: Timestamp) -> Result<()> {
        let parts = self.parts();
        let mut batch = Batch::new();
        if let Some(endpoint) = parts.endpoints.find(health.endpoint_id).await? {
            self.notice(&endpoint, EXHAUSTED, None, health.exhausted_untold, now, &mut batch).await?;
        }
        // Told, or told in this hour already, before this process began.
        let settled = match parts.commit(batch, CommitMode::Apply).await? {
            Outcome::Committed { .. } => health.exhausted_untold,
            Outcome::Conflict { .. } => 0,
            Outcome::Stale { .. } | Outcome::OutOfBounds { .. } => return Ok(()),
        };
        if let Some((kept, dirty)) = self.ward.0.lock().get_mut(&health.endpoint_id) {
            kept.exhausted_untold -= settled.min(kept.exhausted_untold);
            kept.told_in_hour = Some(hour_of(now));
            *dirty = true;
        }
        Ok(())
    }
}
