//! Whose an event is: the project of a LiveKit of its own, else the one that the room's name tells, else the one of the
//! egress or ingress that it names, else nobody's.

use super::Door;
use crate::{
    error::Result,
    media::{
        event::LiveKitEvent,
        room::{self, RoomName},
    },
    model::{project::ProjectState, tenant::Tenant},
    parts::Parts,
};

/// An event of LiveKit whose project is known.
#[derive(Debug)]
pub struct Arrival {
    /// Which LiveKit: the installation's own or the project's.
    pub cluster: String,
    /// The project and its organization.
    pub tenant: Tenant,
    /// The room, as the customer knows it.
    pub room: Option<RoomName>,
    /// The event, with the customer's names in what customers get.
    pub event: LiveKitEvent,
}

impl Arrival {
    /// Finds the project; none when it is nobody's.
    pub(super) async fn of(parts: &Parts, door: Door, mut event: LiveKitEvent) -> Result<Option<Self>> {
        let cluster = door.cluster();
        let wire = event.facts.room.wire_name.as_deref();
        let found = match (door, wire) {
            (Door::Project(id), wire) => Some((id, wire.and_then(|name| name.parse().ok()))),
            (Door::Server, Some(name)) => room::split(name).map(|(id, room)| (id, Some(room))),
            (Door::Server, None) => Self::by_media(parts, &cluster, &event).await?,
        };
        let Some((id, room)) = found else { return Ok(None) };
        let Some(tenant) = parts.keyring.tenant(id).await? else { return Ok(None) };
        if let Some(room) = &room {
            event.rename_rooms(room.as_str());
        }
        Ok(Some(Self { cluster, tenant, room, event }))
    }

    /// The project and room of the egress or ingress that an event without a room names.
    async fn by_media(
        parts: &Parts,
        cluster: &str,
        event: &LiveKitEvent,
    ) -> Result<Option<(crate::id::ProjectId, Option<RoomName>)>> {
        let Some(egress) = &event.facts.egress else { return Ok(None) };
        let known = parts.intervals.of_key(cluster, "egress", &egress.id).await?;
        Ok(known.map(|interval| (interval.project_id, interval.room)))
    }

    /// What events that must not come between each other share.
    pub(super) fn lane(&self) -> &str {
        let facts = &self.event.facts;
        // All lives of a room share one: each may end another.
        let room = facts.room.wire_name.as_deref().or(facts.room.sid.as_deref());
        let media = facts.egress.as_ref().map(|egress| egress.id.as_str());
        room.or(media).unwrap_or(&self.event.source_id)
    }
}

/// Whether a project's endpoints get events now. What happens in a suspended or deleted project is on record, and is sent
/// to nobody.
pub(crate) fn delivers(tenant: &Tenant) -> bool {
    tenant.project.state == ProjectState::Active && tenant.org.deleted_at.is_none()
}
