//! Watching a project's events as they happen.
//!
//! The store has no order of commits that every engine could tell, and events are recorded side by side: an id is made a
//! little before its event is committed. So what is new is found in two ways, and told once:
//!
//! - what this process commits is told at its commit, whether or not the caller still waits for it;
//! - what others commit is told at once where the store can tell, and looked for every second, over the last seconds of ids
//!   and from time to time over the last half minute, and further back when the store could not be read for longer. Only
//!   projects that somebody watches are looked at, 200 a second, and only what was not told yet is read.
//!
//! A [`Watching`] that goes on after an event reads the store from half a minute before it, and then joins the live ones without
//! a gap: at least once, never less. All readers of a project share what is told; each holds a place in a ring and no copy.
//! One that falls a whole ring behind is ended with a word, and goes on from the store when it comes back. Rings, and what is
//! read for one reader alone, have so many bytes together and no more, however many projects are watched.

mod announced;
mod channel;
mod reader;
mod recent;
mod ring;
mod room;
mod told;

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::{Notify, Semaphore};
use tokio_util::sync::CancellationToken;

pub(crate) use self::announced::Announced;
use self::{
    channel::Channel,
    reader::{Begin, Seat},
    ring::{Receiver, Ring},
    room::Room,
};
pub use self::{
    reader::{Item, Watching, Why},
    recent::Recent,
    told::Told,
};
use crate::{
    deliver::event_filter::EventTypeFilter,
    error::{Code, Error, Result},
    id::{EventId, ProjectId, SessionId},
    media::room::RoomName,
    model::event::Event,
    repo::events::Events,
    time::{Clock, Timestamp},
};

/// For how long an event may come to light after the moment in its id: a call of the store may take ten seconds, one that was
/// given up may still be carried out, and the clocks of several daemons differ.
pub const LATE: Duration = Duration::from_secs(30);
/// How many readers read the store at once while they catch up.
const PAGES: usize = 8;
/// How many projects are looked at in a second: of more, each has its turn less often. A look at a quiet project is one seek
/// in an index, tens of microseconds over SQLite and a few hundred over MongoDB.
const LOOKS: usize = 200;
/// How many at once.
const LOOKS_AT_ONCE: usize = 2;
/// After how many seconds a refused reader should come again.
const RETRY: u64 = 5;

/// Which events somebody watches.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct WatchFilter {
    /// Of this project.
    pub project_id: ProjectId,
    /// Of these types.
    #[serde(rename = "type")]
    pub types: EventTypeFilter,
    /// In this room.
    pub room: Option<RoomName>,
    /// Of this session.
    pub session_id: Option<SessionId>,
    /// Since then.
    pub from: Option<Timestamp>,
}

/// Everybody who watches, in this process.
#[derive(Debug)]
pub struct Hub {
    channels: Mutex<HashMap<ProjectId, Arc<Channel>>>,
    /// How many channels there are: asked at every commit.
    watched: AtomicUsize,
    /// Readers now.
    readers: Arc<AtomicUsize>,
    most: usize,
    pages: Arc<Semaphore>,
    looks: Semaphore,
    /// Bytes of all rings.
    rings: Arc<AtomicUsize>,
    /// Bytes for events that are read for one reader alone, as far as they are free.
    room: Arc<Semaphore>,
    stop: CancellationToken,
    /// The first began to watch, or the last ended.
    turned: Notify,
}

impl Hub {
    /// For `most` readers at once; a project has a quarter of them.
    pub fn new(most: usize) -> Arc<Self> {
        Arc::new(Self {
            channels: Mutex::default(),
            watched: AtomicUsize::new(0),
            readers: Arc::default(),
            most: most.max(1),
            pages: Arc::new(Semaphore::new(PAGES)),
            looks: Semaphore::new(LOOKS_AT_ONCE),
            rings: Arc::default(),
            room: Arc::new(Semaphore::new(room::HELD)),
            stop: CancellationToken::new(),
            turned: Notify::new(),
        })
    }

    /// Whether anybody watches anything.
    pub(crate) fn is_watched(&self) -> bool {
        self.watched.load(Ordering::Relaxed) > 0
    }

    /// Hears at once of what other processes record, where the store can tell, while anybody watches.
    pub(crate) async fn hear_of_others(&self, events: &Events) {
        while !self.stop.is_cancelled() {
            let is_turned = async |watched| {
                while self.is_watched() != watched {
                    self.turned.notified().await;
                }
            };
            is_turned(true).await;
            tokio::select! {
                biased;
                () = is_turned(false) => {}
                () = events.hear(|event| self.watches(event), |event| self.tell(&event)) => return,
            }
        }
    }

    /// Whether anybody watches the project of a stored event.
    pub(crate) fn watches(&self, event: &Value) -> bool {
        let project = event["project_id"].as_str().and_then(|id| id.parse().ok());
        project.is_some_and(|project: ProjectId| self.channels.lock().contains_key(&project))
    }

    /// How many bytes of events are held for readers now: 64 MiB at most.
    pub fn held(&self) -> usize {
        self.rings.load(Ordering::Relaxed) + room::HELD.saturating_sub(self.room.available_permits())
    }

    /// Keeps all rings together within bounds: the largest pays.
    fn bound_rings(&self) {
        while self.rings.load(Ordering::Relaxed) > ring::ALL_BYTES {
            let largest = {
                let channels = self.channels.lock();
                let rings = channels.values().map(|channel| (channel.ring.spare(), &channel.ring));
                rings.max_by_key(|(spare, _)| *spare).map(|(spare, ring)| (spare, Arc::clone(ring)))
            };
            let Some((1.., largest)) = largest else { return };
            largest.halve();
        }
    }

    /// How many watch now.
    pub fn readers(&self) -> usize {
        self.readers.load(Ordering::Relaxed)
    }

    /// Tells whoever watches the event's project.
    pub(crate) fn tell(&self, event: &Event) {
        let channel = self.channels.lock().get(&event.project_id).map(Arc::clone);
        if let Some(channel) = channel {
            channel.offer(event);
            self.bound_rings();
        }
    }

    /// Is done when the process is about to end.
    pub async fn closed(&self) {
        self.stop.cancelled().await;
    }

    /// Ends every reader: the process is about to end.
    pub fn close(&self) {
        self.stop.cancel();
        self.channels.lock().clear();
        self.watched.store(0, Ordering::Relaxed);
    }

    /// Begins to watch: after the event `last`, else since the filter's moment, else from now on. What is committed after this
    /// has answered is seen.
    ///
    /// # Errors
    /// `overloaded` when too many watch already, `store_unavailable`.
    pub async fn watch(
        self: &Arc<Self>,
        events: &Events,
        clock: &Arc<dyn Clock>,
        filter: WatchFilter,
        last: Option<EventId>,
        kept: Duration,
    ) -> Result<Watching> {
        let place = Place::take(self)?;
        let (channel, receiver) = self.join(filter.project_id, events, clock)?;
        channel.prime().await?;
        let room = channel.room.clone();
        drop(channel);
        let seat = Seat { stop: self.stop.clone(), pages: Arc::clone(&self.pages), room, _place: place };
        Watching::begin(events.clone(), Arc::clone(clock), Begin { filter, last, kept }, receiver, seat).await
    }

    /// The project's channel, begun when nobody watches it yet, and a reader's place in it.
    fn join(
        self: &Arc<Self>,
        project: ProjectId,
        events: &Events,
        clock: &Arc<dyn Clock>,
    ) -> Result<(Arc<Channel>, Receiver)> {
        let mut channels = self.channels.lock();
        if self.stop.is_cancelled() {
            return Err(Error::new(Code::Overloaded, "this process is shutting down").retry_after(1));
        }
        let channel = channels.entry(project).or_insert_with(|| {
            let memory = (Ring::new(&self.rings), Room::new(&self.room));
            let channel = Arc::new(Channel::new(project, events.clone(), Arc::clone(clock), memory));
            self.watched.fetch_add(1, Ordering::Relaxed);
            self.turned.notify_one();
            tokio::spawn(Arc::clone(self).keep(Arc::clone(&channel)));
            channel
        });
        if channel.ring.readers() >= self.most.div_ceil(4) {
            return Err(full("this project's events are watched"));
        }
        Ok((Arc::clone(channel), channel.ring.subscribe()))
    }

    /// Looks for what others commit, until nobody watches the project any more. That the stream is alive is told beside it,
    /// whether or not the store answers.
    async fn keep(self: Arc<Self>, channel: Arc<Channel>) {
        tokio::select! {
            biased;
            () = self.stop.cancelled() => {}
            () = self.tick(&channel) => {}
            () = self.look(&channel) => {}
        }
    }

    /// Tells the readers every second that time has passed, for as long as there are any.
    async fn tick(&self, channel: &Channel) {
        let mut ticks = tokio::time::interval(channel::LOOK_EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            {
                // Under the lock, so that nobody joins a channel that ends.
                let mut channels = self.channels.lock();
                if channel.ring.readers() == 0 {
                    if channels.remove(&channel.project).is_some() {
                        self.watched.fetch_sub(1, Ordering::Relaxed);
                        self.turned.notify_one();
                    }
                    return;
                }
            }
            channel.ring.tick();
        }
    }

    /// Looks every second, or when it is this project's turn again; never ends.
    async fn look(&self, channel: &Channel) {
        loop {
            // Closed never.
            let turn = self.looks.acquire().await;
            if let Err(error) = channel.look().await {
                tracing::warn!(project = %channel.project, error = %error, "events of others could not be looked for");
            }
            drop(turn);
            self.bound_rings();
            let watched = u32::try_from(self.watched.load(Ordering::Relaxed).div_ceil(LOOKS)).unwrap_or(u32::MAX);
            tokio::time::sleep(channel::LOOK_EVERY * watched.max(1)).await;
        }
    }
}

fn full(who: &str) -> Error {
    Error::new(Code::Overloaded, format!("{who} by too many already"))
        .hint("Close streams that nobody reads, or ask the operator for more: PULSE_MAX_STREAMS.")
        .retry_after(RETRY)
}

/// One of the readers.
#[derive(Debug)]
struct Place(Arc<AtomicUsize>);

impl Place {
    fn take(hub: &Hub) -> Result<Self> {
        let taken = hub.readers.fetch_add(1, Ordering::Relaxed);
        let place = Self(Arc::clone(&hub.readers));
        if taken < hub.most { Ok(place) } else { Err(full("events are watched")) }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
