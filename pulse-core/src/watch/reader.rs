//! One reader of a project's events: first what the store has since where it goes on, then what happens.
//!
//! An event may come to light up to [`LATE`] after the moment in its id. So from the first page on that reaches into that
//! time, the reader remembers what it gave out, and reads once more from there when it joins the live events: whatever came
//! to light behind its back is found, however long the other side kept it waiting.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use super::{
    LATE, Place, Recent, Told, WatchFilter,
    ring::{Receiver, Signal},
    room::{Hold, Room},
};
use crate::{
    error::Result,
    id::EventId,
    repo::events::{Events, EventsSince, Since},
    time::{Clock, Timestamp},
};

/// Events that are read at once while a reader catches up: a few to begin with, and as many as have room from then on.
const FIRST_PAGE: usize = 25;
const PAGE: usize = 100;
/// How long a reader waits for its turn to read and for room before it says that time passes.
const TURN: Duration = Duration::from_secs(1);
/// How many events that were given out are remembered: beyond, those of the first seconds come twice. About 64 KiB.
const REMEMBERED: usize = 2_048;
/// After how long without an event a reader that catches up says that it is alive.
const QUIET: Duration = Duration::from_secs(15);

/// What a reader gets.
#[derive(Clone, Debug)]
pub enum Item {
    /// An event.
    Event(Arc<Told>),
    /// Events between these moments may be missing: they are not kept any more, or the event to go on after is unknown.
    Gap {
        /// From then.
        from: Timestamp,
        /// Until then.
        to: Timestamp,
    },
    /// Time has passed; with `beat`, so much that the other side should hear something.
    Tick {
        /// Whether the other side should hear something.
        beat: bool,
    },
    /// Nothing comes any more.
    End(Why),
}

/// Why nothing comes any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// The reader was too slow.
    TooSlow,
    /// The process is about to end.
    Stopping,
    /// The store cannot be read.
    StoreUnavailable,
}

/// What was read, as far as it had room.
struct Read {
    /// The events' ids, and those events that the reader wants.
    events: Vec<(EventId, Option<Arc<Told>>)>,
    last: Option<EventId>,
    next: Option<Since>,
}

/// How far a reader is.
#[derive(Debug)]
enum Stage {
    /// It reads the store from here on. `joined` once the live events are kept for it, too, so that the end of this reading is
    /// where they begin.
    Behind { since: Since, joined: bool },
    /// It gets what happens, since then.
    Live { since: Timestamp },
}

/// What a reader needs of the hub.
#[derive(Debug)]
pub(super) struct Seat {
    /// Cancelled when the process is about to end.
    pub(super) stop: CancellationToken,
    /// How many readers may read the store at once.
    pub(super) pages: Arc<Semaphore>,
    /// Memory for what is read from it.
    pub(super) room: Room,
    pub(super) _place: Place,
}

impl Seat {
    /// Waits for room for a page, and for a turn to read it; none when that takes long.
    async fn turn(&self) -> Option<(Hold, OwnedSemaphorePermit)> {
        let turn = async {
            let hold = self.room.take().await?;
            let page = Arc::clone(&self.pages).acquire_owned().await.ok()?;
            Some((hold, page))
        };
        tokio::time::timeout(TURN, turn).await.ok().flatten()
    }
}

/// Where a reader begins.
#[derive(Clone, Debug)]
pub(super) struct Begin {
    pub(super) filter: WatchFilter,
    /// After this event.
    pub(super) last: Option<EventId>,
    /// For how long events are kept.
    pub(super) kept: Duration,
}

/// One reader.
#[derive(Debug)]
pub struct Watching {
    events: Events,
    clock: Arc<dyn Clock>,
    filter: WatchFilter,
    receiver: Receiver,
    stage: Stage,
    /// How many events are read next.
    page: usize,
    /// Read from the store and not given out yet.
    ready: VecDeque<Item>,
    /// From where on events may still have come to light behind this reader's back; none before it has read so far.
    unsettled: Option<Timestamp>,
    /// What was given out from there on.
    told: Recent,
    /// What was recorded before is not asked for.
    least: Timestamp,
    said_at: Instant,
    position: Option<EventId>,
    seat: Seat,
}

impl Watching {
    pub(super) async fn begin(
        events: Events,
        clock: Arc<dyn Clock>,
        begin: Begin,
        receiver: Receiver,
        seat: Seat,
    ) -> Result<Self> {
        let Begin { filter, last, kept } = begin;
        let now = clock.now();
        let oldest = now.minus(kept);
        let mut ready = VecDeque::new();
        let asked = match (last, filter.from) {
            (Some(id), _) => Some(id.moment().min(now).minus(LATE)),
            (None, from) => from,
        };
        if let Some(id) = last {
            // A clock that was set back: nobody knows what was recorded in the time that came twice.
            let of_the_future = id.moment() > now.plus(LATE);
            let known = id == EventId::lowest(id.moment()) || events.get(filter.project_id, id).await?.is_some();
            if !known || of_the_future || id.moment() < oldest {
                let to = id.moment().max(oldest);
                ready.push_back(Item::Gap { from: id.moment().min(now), to: if of_the_future { now } else { to } });
            }
        } else if let Some(from) = filter.from.filter(|from| *from < oldest) {
            ready.push_back(Item::Gap { from, to: oldest });
        }
        let stage = match asked {
            Some(since) => Stage::Behind { since: Since::Moment(since.max(oldest)), joined: false },
            None => Stage::Live { since: now },
        };
        let least = asked.map_or(now, |since| since.max(oldest));
        let position = asked.is_none().then(|| EventId::lowest(now));
        let (told, said_at) = (Recent::default(), Instant::now());
        Ok(Self {
            events,
            clock,
            filter,
            receiver,
            stage,
            page: FIRST_PAGE,
            ready,
            unsettled: None,
            told,
            least,
            said_at,
            position,
            seat,
        })
    }

    /// Where it begins, as an id to go on after until the first event has come; none where it was told where to begin.
    pub fn position(&self) -> Option<EventId> {
        self.position
    }

    /// What comes next; after [`Item::End`] nothing does.
    pub async fn next(&mut self) -> Item {
        loop {
            if self.seat.stop.is_cancelled() {
                return Item::End(Why::Stopping);
            }
            if let Some(item) = self.ready.pop_front() {
                self.said_at = Instant::now();
                return item;
            }
            let next = match self.stage {
                Stage::Behind { since, joined } => self.catch_up(since, joined).await,
                Stage::Live { since } => self.listen(since).await,
            };
            if let Some(item) = next {
                return item;
            }
        }
    }

    /// The next event, if it is there already and its frame has at most so many bytes: for whoever sends several at once.
    pub fn next_at_once(&mut self, most: usize) -> Option<Arc<Told>> {
        if !self.ready.is_empty() {
            let told = match self.ready.front() {
                Some(Item::Event(told)) if told.size() <= most => Arc::clone(told),
                _ => return None,
            };
            self.ready.pop_front();
            return Some(told);
        }
        let Stage::Live { .. } = self.stage else { return None };
        loop {
            // What is no event, or lost, is dealt with in its turn.
            match self.receiver.take(most) {
                Some(Signal::Event(told)) if self.is_for_me(&told) => return Some(told),
                Some(Signal::Event(_)) => {}
                Some(Signal::Tick { .. } | Signal::Lost) | None => return None,
            }
        }
    }

    /// Whether a live event is one that this reader gets, and has not got yet.
    fn is_for_me(&self, told: &Told) -> bool {
        !self.told.has(told.id) && told.fits(&self.filter)
    }

    /// Reads one page from the store.
    async fn catch_up(&mut self, since: Since, joined: bool) -> Option<Item> {
        let Some((hold, _turn)) = self.seat.turn().await else { return Some(self.passed()) };
        let before = self.clock.now();
        let page = match self.events.since(self.filter.project_id, since, self.page).await {
            Ok(page) => page,
            Err(error) => {
                tracing::warn!(error = %error, "events to go on with could not be read");
                return Some(Item::End(Why::StoreUnavailable));
            }
        };
        // What lies before this moment has come to light.
        let settled = before.minus(LATE);
        let Read { events, last, next } = self.keep(page, hold);
        let reached = last.is_none_or(|last| last.moment() >= settled) || next.is_none();
        if reached {
            self.unsettled.get_or_insert(settled);
        }
        for (id, told) in events {
            let is_new = id.moment() < settled && self.unsettled.is_none() || self.told.insert(id);
            self.ready.extend(told.filter(|_| is_new).map(Item::Event));
        }
        self.told.bound(REMEMBERED);
        self.stage = match next {
            Some(next) => Stage::Behind { since: next, joined },
            None if joined => Stage::Live { since: before },
            None => self.join(),
        };
        // Whoever catches up over many events that it does not want is heard of, too.
        self.ready.is_empty().then(|| self.passed())
    }

    /// As much of a page as has room; the next one has as many events as this one came to, or more again.
    fn keep(&mut self, page: EventsSince, mut hold: Hold) -> Read {
        let mut read = Read { events: Vec::with_capacity(page.events.len()), last: None, next: page.next };
        for event in &page.events {
            let told = Told::new(event);
            let told = if told.fits(&self.filter) {
                let Some(part) = hold.part(told.size()) else {
                    self.page = read.events.len().max(1);
                    read.next = read.last.map(Since::Event);
                    return read;
                };
                Some(told.counted(part))
            } else {
                None
            };
            read.events.push((event.id, told));
            read.last = Some(event.id);
        }
        self.page = (self.page * 2).min(PAGE);
        read
    }

    /// Time has passed for somebody who catches up.
    fn passed(&mut self) -> Item {
        let beat = self.said_at.elapsed() >= QUIET;
        if beat {
            self.said_at = Instant::now();
        }
        Item::Tick { beat }
    }

    /// Has the live events kept from now on, and reads once more from where others may have come to light meanwhile.
    fn join(&mut self) -> Stage {
        self.receiver.skip();
        let from = self.unsettled.unwrap_or_else(|| self.clock.now().minus(LATE));
        self.unsettled = Some(from);
        Stage::Behind { since: Since::Moment(from.max(self.least)), joined: true }
    }

    async fn listen(&mut self, since: Timestamp) -> Option<Item> {
        let stop = self.seat.stop.clone();
        let received = tokio::select! {
            biased;
            () = stop.cancelled() => return Some(Item::End(Why::Stopping)),
            received = self.receiver.recv() => received,
        };
        match received {
            Signal::Event(told) => self.is_for_me(&told).then_some(Item::Event(told)),
            Signal::Tick { beat } => {
                // All that was recorded before it was live has come to light, and is told like anything else.
                if self.clock.now().since(since) > LATE * 2 {
                    self.told = Recent::default();
                    self.unsettled = None;
                }
                Some(Item::Tick { beat })
            }
            Signal::Lost => self.fell_behind(since),
        }
    }

    /// What becomes of a reader that is a whole ring behind: one that has only just caught up reads on from the store, from
    /// where it was before.
    fn fell_behind(&mut self, since: Timestamp) -> Option<Item> {
        if self.unsettled.is_some() && self.clock.now().since(since) < LATE {
            self.stage = self.join();
            return None;
        }
        Some(Item::End(Why::TooSlow))
    }
}
