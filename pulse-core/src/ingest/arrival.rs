//! Whose an event is: the project of a LiveKit of its own, else the one that the room's name tells, else the one of the
//! egress or ingress that it names, else nobody's.

use super::Door;
use crate::{
    error::Result,
    id::ProjectId,
    media::{
        event::{Facts, LiveKitEvent},
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

/// Whose an event is.
#[derive(Debug)]
pub(super) enum Owner {
    /// A project's.
    Project(Box<Arrival>),
    /// Nobody's that is known.
    Nobody(Box<LiveKitEvent>),
}

impl Arrival {
    /// Finds the project.
    pub(super) async fn of(parts: &Parts, door: Door, mut event: LiveKitEvent) -> Result<Owner> {
        let cluster = door.cluster();
        let wire = event.facts.room.wire_name.as_deref();
        let found = match (door, wire) {
            (Door::Project(id), None) => Some((id, None)),
            // LiveKit allows more than Pulse: what happens there is told, and metered where it ends by itself.
            (Door::Project(id), Some(name)) => {
                let room = name.parse().ok();
                parts.metrics.foreign_rooms.inc_by(u64::from(room.is_none()));
                Some((id, room))
            }
            (Door::Server, Some(name)) => room::split(name).map(|(id, room)| (id, Some(room))),
            (Door::Server, None) => by_media(parts, &cluster, &event.facts).await?,
        };
        let Some((id, room)) = found else { return Ok(Owner::Nobody(Box::new(event))) };
        let Some(tenant) = parts.keyring.tenant(id).await? else { return Ok(Owner::Nobody(Box::new(event))) };
        if let Some(room) = &room {
            event.rename_rooms(room.as_str());
        }
        Ok(Owner::Project(Box::new(Self { cluster, tenant, room, event })))
    }

    /// What events that must not come between each other share.
    pub(super) fn lane(&self) -> &str {
        let facts = &self.event.facts;
        // All lives of a room share one: each may end another.
        let room = facts.room.wire_name.as_deref().or(facts.room.sid.as_deref());
        room.or_else(|| media_key(facts)).unwrap_or(&self.event.source_id)
    }
}

/// LiveKit's id of the egress or ingress that an event names, by which one without a room finds its project.
pub(super) fn media_key(facts: &Facts) -> Option<&str> {
    let egress = facts.egress.as_ref().map(|egress| egress.id.as_str());
    egress.or_else(|| facts.ingress.as_ref().map(|ingress| ingress.id.as_str()))
}

/// The project and room of the egress or ingress that an event without a room names.
pub(super) async fn by_media(
    parts: &Parts,
    cluster: &str,
    facts: &Facts,
) -> Result<Option<(ProjectId, Option<RoomName>)>> {
    let known = match (&facts.egress, &facts.ingress) {
        (Some(egress), _) => parts.intervals.of_key(cluster, "egress", &egress.id).await?,
        (None, Some(ingress)) => parts.intervals.run_of_ingress(cluster, &ingress.id).await?,
        (None, None) => None,
    };
    Ok(known.map(|interval| (interval.project_id, interval.room)))
}

/// Whether a project's endpoints get events now. What happens in a suspended or deleted project is on record, and is sent
/// to nobody.
pub(crate) fn delivers(tenant: &Tenant) -> bool {
    tenant.project.state == ProjectState::Active && tenant.org.deleted_at.is_none()
}
