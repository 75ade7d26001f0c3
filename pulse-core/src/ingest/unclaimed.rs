//! Webhooks that belong to no project that is known.

use super::{Accepted, Door};
use crate::{
    access::seal::Place,
    error::Result,
    id::EventId,
    media::event::LiveKitEvent,
    model::unclaimed::{MAX_UNCLAIMED, Unclaimed},
    parts::Parts,
    repo::Document,
    store::{Batch, CommitMode, Outcome, schema},
};

/// For how long they are kept.
const KEPT: std::time::Duration = std::time::Duration::from_secs(7 * 86_400);
/// How many of the oldest make room at once.
const MAKE_ROOM: usize = 100;

/// The place of what LiveKit sent, for sealing.
pub(super) fn place(source_id: &str) -> Place<'_> {
    Place { collection: schema::UNCLAIMED.name, field: "raw", id: source_id, org: "system" }
}

/// Keeps a webhook for the operator, sealed.
pub(super) async fn keep(parts: &Parts, door: Door, body: &[u8]) -> Result<Accepted> {
    let now = parts.clock.now();
    let event = LiveKitEvent::parse(body).map_err(crate::Error::internal)?;
    let key = event.facts.egress.as_ref().map(|egress| egress.id.clone());
    let unclaimed = Unclaimed {
        id: EventId::new(now, parts.entropy.as_ref()),
        cluster: door.cluster(),
        kind: event.kind.livekit_name().to_owned(),
        wire_room: event.facts.room.wire_name,
        key: key.or(event.facts.ingress.map(|ingress| ingress.id)),
        raw: parts.sealer.seal(place(&event.source_id), body, parts.entropy.as_ref())?,
        source_id: event.source_id,
        received_at: now,
        expires_at: now.plus(KEPT),
        version: 0,
    };
    let mut batch = Batch::new();
    unclaimed.insert_into(&mut batch)?;
    if parts.unclaimed.count(MAX_UNCLAIMED).await? >= MAX_UNCLAIMED {
        for old in parts.unclaimed.oldest(MAKE_ROOM).await? {
            batch.delete(Unclaimed::COLLECTION, old.id, old.version);
        }
    }
    match parts.store.commit(batch, CommitMode::Apply).await? {
        // Kept before, or just now.
        Outcome::Conflict { .. } | Outcome::Committed { .. } => Ok(Accepted::Unclaimed),
        // Somebody else made room, or it went by itself: LiveKit sends it again.
        Outcome::Stale { .. } | Outcome::OutOfBounds { .. } => {
            Err(crate::Error::new(crate::error::Code::Overloaded, "others make room for events, too"))
        }
    }
}
