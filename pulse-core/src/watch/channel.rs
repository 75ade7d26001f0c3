//! One project that is watched: what is new in it is found, and told once to all of its readers.

use std::{ops::Range, sync::Arc, time::Duration};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::{OnceCell, broadcast};

use super::{LATE, Recent, WatchFilter};
use crate::{
    error::Result,
    id::{EventId, ProjectId, SessionId},
    media::room::RoomName,
    model::event::Event,
    repo::events::{Events, Since},
    time::{Clock, Timestamp},
};

/// How often what others commit is looked for.
pub(super) const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Every how many looks one goes back as far as an event may come to light; those between go back a little.
const FAR_EVERY: u32 = 10;
/// How far the others go back: almost every event comes to light within milliseconds.
const NEAR: Duration = Duration::from_secs(3);
/// How many events a reader may be behind.
const RING: usize = 1_024;
/// Events that are read at once.
const PAGE: usize = 500;
/// Every how many looks a reader hears that the stream is alive.
const BEAT: u32 = 15;

/// An event as all its readers get it.
#[derive(Debug)]
pub struct Told {
    /// The event.
    pub id: EventId,
    kind: String,
    room: Option<RoomName>,
    session_id: Option<SessionId>,
    /// The event as one of a stream of server-sent events. JSON has no line breaks of its own.
    pub frame: Bytes,
    /// Where the envelope lies in the frame.
    envelope: Range<usize>,
}

impl Told {
    pub(super) fn new(event: &Event) -> Arc<Self> {
        let head = format!("id: {}\ndata: ", event.id);
        let envelope = event.envelope();
        let place = head.len()..head.len() + envelope.len();
        Arc::new(Self {
            id: event.id,
            kind: event.kind.clone(),
            room: event.room.clone(),
            session_id: event.session_id,
            frame: Bytes::from(head + &envelope + "\n\n"),
            envelope: place,
        })
    }

    /// The envelope, as webhooks carry it.
    pub fn envelope(&self) -> &str {
        self.frame.get(self.envelope.clone()).and_then(|bytes| std::str::from_utf8(bytes).ok()).unwrap_or_default()
    }

    /// Whether somebody with this filter gets it.
    pub(super) fn fits(&self, filter: &WatchFilter) -> bool {
        filter.types.matches(&self.kind)
            && filter.room.as_ref().is_none_or(|room| self.room.as_ref() == Some(room))
            && filter.session_id.is_none_or(|session| self.session_id == Some(session))
    }
}

/// What a channel tells.
#[derive(Clone, Debug)]
pub(super) enum Signal {
    Event(Arc<Told>),
    /// Time has passed: a second, or with `beat` so much that the other side should hear something.
    Tick {
        beat: bool,
    },
}

pub(super) type Receiver = broadcast::Receiver<Signal>;

/// What was told, and how far the store was looked at.
#[derive(Debug)]
struct Known {
    told: Recent,
    /// When the last look that succeeded began, and the last that went far back.
    looked_at: Timestamp,
    far_at: Timestamp,
    looks: u32,
    ticks: u32,
}

/// A project that is watched.
#[derive(Debug)]
pub(super) struct Channel {
    pub(super) project: ProjectId,
    events: Events,
    clock: Arc<dyn Clock>,
    sender: broadcast::Sender<Signal>,
    known: Mutex<Known>,
    primed: OnceCell<()>,
}

impl Channel {
    pub(super) fn new(project: ProjectId, events: Events, clock: Arc<dyn Clock>) -> Self {
        let now = clock.now();
        let known = Known { told: Recent::default(), looked_at: now, far_at: now, looks: 0, ticks: 0 };
        let (sender, _) = broadcast::channel(RING);
        Self { project, events, clock, sender, known: Mutex::new(known), primed: OnceCell::new() }
    }

    pub(super) fn subscribe(&self) -> Receiver {
        self.sender.subscribe()
    }

    pub(super) fn readers(&self) -> usize {
        self.sender.receiver_count()
    }

    /// Tells an event, unless it was told before.
    pub(super) fn offer(&self, event: &Event) {
        // Under the lock, so that all are told in one order. Nobody listening is no fault.
        let mut known = self.known.lock();
        if known.told.insert(event.id) {
            let _ = self.sender.send(Signal::Event(Told::new(event)));
        }
    }

    /// Learns what is there already, so that it is not told as if it were new.
    pub(super) async fn prime(&self) -> Result<()> {
        let learn = || {
            self.scan(true, |channel, event| {
                channel.known.lock().told.insert(event.id);
            })
        };
        self.primed.get_or_try_init(learn).await.map(drop)
    }

    /// Looks for what others have committed, and tells it.
    pub(super) async fn look(&self) -> Result<()> {
        if !self.primed.initialized() {
            return Ok(());
        }
        let far = {
            let mut known = self.known.lock();
            known.looks = known.looks.wrapping_add(1);
            known.looks.is_multiple_of(FAR_EVERY)
        };
        self.scan(far, Self::offer).await
    }

    /// Gives every event to `each` that may have come to light since the last such look: since a little before it, or as far
    /// back as one may come to light. A clock that was set back is looked after from where it is now.
    async fn scan(&self, far: bool, each: impl Fn(&Self, &Event)) -> Result<()> {
        let began = self.clock.now();
        let from = {
            let known = self.known.lock();
            if far { known.far_at.min(began).minus(LATE) } else { known.looked_at.min(began).minus(NEAR) }
        };
        let mut next = Some(Since::Moment(from));
        while let Some(since) = next {
            let page = self.events.since(self.project, since, PAGE).await?;
            page.events.iter().for_each(|event| each(self, event));
            next = page.next;
        }
        let mut known = self.known.lock();
        known.looked_at = began;
        if far {
            known.far_at = began;
            // Longer than the next look goes back.
            known.told.forget(began, LATE * 2);
        }
        Ok(())
    }

    /// Tells that time has passed.
    pub(super) fn tick(&self) {
        let mut known = self.known.lock();
        known.ticks = known.ticks.wrapping_add(1);
        let beat = known.ticks.is_multiple_of(BEAT);
        drop(known);
        let _ = self.sender.send(Signal::Tick { beat });
    }
}
