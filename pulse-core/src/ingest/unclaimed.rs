//! Webhooks that belong to no project that is known.

use tokio::sync::Mutex;

use super::{
    Accepted, Door, Ingest,
    arrival::{by_media, media_key},
};
use crate::{
    access::seal::Place,
    error::{Code, Error, Result},
    id::EventId,
    media::event::LiveKitEvent,
    model::unclaimed::{MAX_UNCLAIMED, Unclaimed},
    parts::Parts,
    repo::Document,
    store::{Batch, CommitMode, Outcome, schema},
};

/// For how long they are kept.
const KEPT: std::time::Duration = std::time::Duration::from_secs(7 * 86_400);
/// How many may be kept before they are counted again, and for how many the oldest make room at once. Other daemons keep
/// theirs in between: by so many each there may be too many until then.
const ROOM: u64 = 100;
/// How many too many one count finds, and one batch removes.
const SURPLUS: u64 = 500;

/// How many more this process may keep before it has to count what is there.
#[derive(Debug, Default)]
pub(super) struct Vacancies(Mutex<u64>);

impl Vacancies {
    /// Makes sure that there is room for one more.
    async fn take(&self, parts: &Parts) -> Result<()> {
        let mut left = self.0.lock().await;
        if *left == 0 {
            *left = make_room(parts).await?;
        }
        *left = left.saturating_sub(1);
        Ok(())
    }
}

/// Counts what is there, removes the oldest when it is too much, and tells how many may come before the next count.
async fn make_room(parts: &Parts) -> Result<u64> {
    let count = parts.unclaimed.count(MAX_UNCLAIMED + SURPLUS).await?;
    if count < MAX_UNCLAIMED {
        return Ok(ROOM.min(MAX_UNCLAIMED - count));
    }
    let gone = usize::try_from(count - MAX_UNCLAIMED + ROOM).unwrap_or(usize::MAX);
    let mut batch = Batch::new();
    for old in parts.unclaimed.oldest(gone).await? {
        batch.delete(Unclaimed::COLLECTION, old.id, old.version);
    }
    match parts.store.commit(batch, CommitMode::Apply).await? {
        Outcome::Committed { .. } => Ok(ROOM),
        // Somebody else made room, or one went by itself: LiveKit sends the event again.
        Outcome::Conflict { .. } | Outcome::Stale { .. } | Outcome::OutOfBounds { .. } => {
            Err(Error::new(Code::Overloaded, "others make room for events, too"))
        }
    }
}

/// The place of what LiveKit sent, for sealing.
pub(super) fn place(source_id: &str) -> Place<'_> {
    Place { collection: schema::UNCLAIMED.name, field: "raw", id: source_id, org: "system" }
}

impl Ingest {
    /// Keeps a webhook for the operator, sealed.
    pub(super) async fn keep(&self, door: Door, event: &LiveKitEvent, body: &[u8]) -> Result<Accepted> {
        let parts = self.plane.parts();
        let now = parts.clock.now();
        let unclaimed = Unclaimed {
            id: EventId::new(now, parts.entropy.as_ref()),
            cluster: door.cluster(),
            kind: event.kind.livekit_name().to_owned(),
            wire_room: event.facts.room.wire_name.clone(),
            key: media_key(&event.facts).map(str::to_owned),
            raw: parts.sealer.seal(place(&event.source_id), body, parts.entropy.as_ref())?,
            source_id: event.source_id.clone(),
            received_at: now,
            expires_at: now.plus(KEPT),
            version: 0,
        };
        self.vacancies.take(parts).await?;
        let mut batch = Batch::new();
        unclaimed.insert_into(&mut batch)?;
        // A conflict means that it was kept before.
        parts.store.commit(batch, CommitMode::Apply).await?;
        self.claim_at_once(&unclaimed, event).await?;
        Ok(Accepted::Unclaimed)
    }

    /// Calls for the adoption of what was kept just now, when its project became known on the way: who recorded the egress
    /// or ingress looked for it too early.
    async fn claim_at_once(&self, kept: &Unclaimed, event: &LiveKitEvent) -> Result<()> {
        let parts = self.plane.parts();
        let Some(key) = kept.key.as_deref().filter(|_| kept.wire_room.is_none()) else { return Ok(()) };
        let Some((project, _)) = by_media(parts, &kept.cluster, &event.facts).await? else { return Ok(()) };
        if parts.keyring.tenant(project).await?.is_none() {
            // Gone: what is on record of it goes as well, and nobody is there to adopt anything.
            return Ok(());
        }
        let mut batch = Batch::new();
        self.adoption(&kept.cluster, key).insert_into(&mut batch)?;
        parts.commit(batch, CommitMode::Apply).await.map(drop)
    }
}
