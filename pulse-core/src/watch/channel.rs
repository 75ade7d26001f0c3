//! One project that is watched: what is new in it is found, and told once to all of its readers.

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::{sync::OnceCell, time::Instant};

use super::{LATE, Recent, Told, ring::Ring, room::Room};
use crate::{
    error::Result,
    id::{EventId, ProjectId},
    model::event::Event,
    repo::events::{Events, Since},
    time::{Clock, Timestamp},
};

/// How often what others commit is looked for.
pub(super) const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How often a look goes back as far as an event may come to light; those between go back a little.
const FAR_EVERY: Duration = Duration::from_secs(10);
/// How far the others go back: almost every event comes to light within milliseconds.
const NEAR: Duration = Duration::from_secs(3);
/// Ids that are read at once.
const PAGE: usize = 2_000;

/// What was told, and how far the store was looked at.
#[derive(Debug)]
struct Known {
    told: Recent,
    /// When the last look that succeeded began, and the last that went far back.
    looked_at: Timestamp,
    far_at: Timestamp,
    /// The same of the latter, on the clock that is never set.
    far: Instant,
}

/// A project that is watched.
#[derive(Debug)]
pub(super) struct Channel {
    pub(super) project: ProjectId,
    events: Events,
    clock: Arc<dyn Clock>,
    pub(super) ring: Arc<Ring>,
    /// Memory for its readers that catch up.
    pub(super) room: Room,
    known: Mutex<Known>,
    primed: OnceCell<()>,
}

impl Channel {
    pub(super) fn new(
        project: ProjectId,
        events: Events,
        clock: Arc<dyn Clock>,
        (ring, room): (Arc<Ring>, Room),
    ) -> Self {
        let now = clock.now();
        let known = Known { told: Recent::default(), looked_at: now, far_at: now, far: Instant::now() };
        Self { project, events, clock, ring, room, known: Mutex::new(known), primed: OnceCell::new() }
    }

    /// Tells an event, unless it was told before.
    pub(super) fn offer(&self, event: &Event) {
        // Under the lock, so that all are told in one order. Nobody listening is no fault.
        let mut known = self.known.lock();
        if known.told.insert(event.id) {
            self.ring.push(Arc::new(Told::new(event)));
        }
    }

    /// Learns what is there already, so that it is not told as if it were new.
    pub(super) async fn prime(&self) -> Result<()> {
        self.primed.get_or_try_init(|| self.scan(true, false)).await.map(drop)
    }

    /// Looks for what others have committed, and tells it.
    pub(super) async fn look(&self) -> Result<()> {
        if !self.primed.initialized() {
            return Ok(());
        }
        let far = self.known.lock().far.elapsed() >= FAR_EVERY;
        self.scan(far, true).await
    }

    /// Looks at the ids that may have come to light since the last such look: since a little before it, or as far back as one
    /// may come to light. A clock that was set back is looked after from where it is now. Only what was not told yet is read,
    /// and told where `tell` says so.
    async fn scan(&self, far: bool, tell: bool) -> Result<()> {
        let (began, beginning) = (self.clock.now(), Instant::now());
        let from = {
            let known = self.known.lock();
            if far { known.far_at.min(began).minus(LATE) } else { known.looked_at.min(began).minus(NEAR) }
        };
        let mut next = Some(Since::Moment(from));
        while let Some(since) = next {
            let page = self.events.ids_since(self.project, since, PAGE).await?;
            next = page.next;
            let unknown: Vec<EventId> = {
                let known = self.known.lock();
                page.ids.into_iter().filter(|id| !known.told.has(*id)).collect()
            };
            let (Some(first), Some(last)) = (unknown.first(), unknown.last()) else { continue };
            if tell {
                let events = self.events.between(self.project, *first, *last).await?;
                events.iter().for_each(|event| self.offer(event));
            }
            // One that does not read is passed over once, and not at every look.
            let mut known = self.known.lock();
            known.told.extend(unknown);
        }
        let mut known = self.known.lock();
        known.looked_at = began;
        if far {
            (known.far_at, known.far) = (began, beginning);
            // Longer than the next look goes back.
            known.told.forget(began, LATE * 2);
        }
        Ok(())
    }
}
