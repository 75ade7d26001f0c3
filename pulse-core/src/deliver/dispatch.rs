//! The dispatcher: sends what is due, each delivery under a lease of its own, and writes down what came of it.
//!
//! - A permit comes before a claim: nothing is taken out of the queue that cannot be sent at once.
//! - Every claim has a token; only its holder ends it. Nothing is sent to an endpoint as it was before a change that was answered.
//! - What waits for an endpoint that is not sent to is parked: it takes no place, and is not looked at again until something
//!   has changed.
//! - Places are shared fairly: over projects first, then over a project's endpoints; an endpoint has a cap of its own, a
//!   project a quarter of all places, and a fifth of all is kept for first attempts.
//! - Where several daemons share the store, an endpoint is one daemon's at a time (`ownership`).
//! - A breaker leaves a receiver alone that hangs or fails; a pace keeps to the rate that the customer gave. Neither
//!   rewrites a row.
//! - What is committed is found without a hint, within a second: hints only make it faster.
//! - A panic in an attempt is a fault of Pulse like any other: the place is given back and the delivery waits.

mod attempt;
mod backlog;
mod book;
mod claim;
mod endpoint;
mod finish;
mod health;
mod notices;
mod ownership;
mod reaper;
mod rounds;

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use tokio::sync::{Notify, Semaphore};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub(in crate::deliver) use self::notices::endpoint_it_is_about;
pub use self::{
    backlog::{Backlog, backlog},
    endpoint::{headers_place, open_secret, secret_place},
    notices::{DISABLED, EXHAUSTED, NoticeData},
};

use self::{
    book::{Book, Limits, Pick, Place},
    ownership::Ownership,
    rounds::Pass,
};
use crate::{
    error::Result,
    id::{EndpointId, LeaseToken},
    model::{delivery::Delivery, endpoint::Endpoint, shard::shard_of},
    parts::Parts,
    plane::ControlPlane,
    repo::deliveries::{due_at, endpoint_of, is_first},
    store::Stored,
};

/// How long attempts under way may go on when the dispatcher stops; what is not done by then is given back.
const DRAIN: Duration = Duration::from_secs(8);
/// How long giving back may take.
const RELEASE: Duration = Duration::from_secs(1);
/// How long it takes at most from the word to stop until everything is given back.
pub const STOPS_WITHIN: Duration = DRAIN.saturating_add(RELEASE);

/// How many ends of what is replayed are written down at once. A store that commits together what waits has everybody wait for all
/// of it: with 64 ends at once, and 200 rows of a replay in a commit, LiveKit waited 0.7 s for its answers
/// (`tests/bench "events replay"`).
const REPLAYS_END: usize = 8;

/// A delivery that is leased to this dispatcher, with everything that sending it takes.
#[derive(Clone, Debug)]
pub struct Work {
    /// The delivery, leased.
    pub delivery: Delivery,
    /// Where to, as it was read under the lease.
    pub endpoint: Arc<Endpoint>,
    /// The event's number in its session.
    pub seq: Option<u64>,
    /// The envelope but for the number.
    pub body: Arc<str>,
}

/// Sends what is due.
pub struct Dispatcher {
    plane: Arc<ControlPlane>,
    book: Mutex<Book>,
    /// Something has changed that may let an attempt begin.
    wake: Notify,
    /// There may be work of which nobody has told.
    look: Notify,
    attempts: TaskTracker,
    /// Attempts so far.
    begun: AtomicU64,
    /// Nothing new is begun.
    stopping: CancellationToken,
    /// What is under way is given back.
    cut: CancellationToken,
    prepared: endpoint::Cache,
    ward: health::Ward,
    /// For endpoints that belong into the ward.
    search: Mutex<health::Search>,
    /// Which endpoints are this process's.
    ownership: Ownership,
    /// For the ends of what is replayed.
    replays_end: Semaphore,
}

impl fmt::Debug for Dispatcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dispatcher").field("plane", &self.plane).finish_non_exhaustive()
    }
}

impl Dispatcher {
    /// A dispatcher that has not begun; once `stopping` is cancelled, it begins nothing new.
    pub fn new(plane: Arc<ControlPlane>, stopping: CancellationToken) -> Arc<Self> {
        let limits = Limits::of(plane.parts().settings.pipeline.concurrency);
        let ownership = Ownership::new(plane.parts());
        Arc::new(Self {
            plane,
            book: Mutex::new(Book::new(limits)),
            wake: Notify::new(),
            look: Notify::new(),
            attempts: TaskTracker::new(),
            begun: AtomicU64::new(0),
            stopping,
            cut: CancellationToken::new(),
            prepared: endpoint::Cache::default(),
            ward: health::Ward::default(),
            search: Mutex::default(),
            ownership,
            replays_end: Semaphore::new(REPLAYS_END),
        })
    }

    fn parts(&self) -> &Parts {
        self.plane.parts()
    }

    /// A place for the first attempt of a fresh delivery, if one is free for the endpoint right now and nothing older
    /// waits for it.
    pub fn reserve(self: &Arc<Self>, endpoint: &Endpoint) -> Option<Slot> {
        let at = self.parts().clock.monotonic();
        if self.stopping.is_cancelled() || !self.ownership.has(endpoint.id, at) {
            return None;
        }
        let is_reserved = self.book.lock().reserve(endpoint, at);
        let slot = is_reserved.then(|| Slot::new(self, endpoint.id, true));
        // Its shard may have been given away before the place was taken.
        slot.filter(|_| self.ownership.has(endpoint.id, at))
    }

    /// Begins the attempt of what is leased and committed.
    pub fn start(self: &Arc<Self>, mut slot: Slot, work: Work) {
        slot.used = true;
        let dispatcher = Arc::clone(self);
        self.begun.fetch_add(1, Ordering::SeqCst);
        self.attempts.spawn(async move { dispatcher.attempt(slot, work).await });
    }

    /// Takes back what is left from before; to be done before anything is taken in or sent. `alone` says that no other
    /// process can hold a lease: then all that there are, and not only those that are over.
    pub async fn recover(&self, alone: bool) {
        if let Err(error) = self.ownership.begin(self.parts()).await {
            tracing::warn!(error = %error, "no shard of endpoints could be taken yet");
        }
        if let Err(error) = self.reap(alone).await {
            tracing::warn!(error = %error, "leases from before could not be taken back yet");
        }
    }

    /// Sends until it is time to stop; then lets what is under way end, and gives back what does not in time.
    pub async fn run(self: Arc<Self>) {
        let sending = async {
            self.claim_in_turns().await;
            self.drain().await;
        };
        let busy = || self.book.lock().under_way().map(shard_of).collect();
        let gained = || {
            // What another daemon left untold, and what waits there.
            *self.search.lock() = health::Search::default();
            self.look.notify_one();
        };
        let sharing = self.ownership.keep(self.parts(), &self.stopping, busy, gained);
        tokio::join!(sending, self.go_rounds(), sharing, self.hear_of_others());
        if let Err(error) = self.ownership.end(self.parts()).await {
            tracing::warn!(error = %error, "shards of endpoints stay this process's until their leases end");
        }
        if let Err(error) = self.write_health().await {
            tracing::warn!(error = %error, "the health of endpoints was not recorded");
        }
    }

    /// Hears at once of what other processes record, where the store can tell; until it is time to stop.
    async fn hear_of_others(self: &Arc<Self>) {
        let hear = self.parts().deliveries.hear(|row| self.heard(row));
        self.stopping.run_until_cancelled(hear).await;
    }

    /// A pending delivery was recorded by whichever process: a first attempt for which a place is free begins without a look
    /// for it.
    fn heard(self: &Arc<Self>, row: Stored) {
        let Some(endpoint) = endpoint_of(&row.doc) else { return };
        let steady = self.parts().steady();
        let is_ready = is_first(&row.doc) && due_at(&row, steady) <= steady;
        let known = self.prepared.last(endpoint).filter(|_| is_ready);
        match known.and_then(|known| Some((self.reserve(&known)?, known))) {
            Some((slot, known)) => drop(self.attempts.spawn(Arc::clone(self).claim_heard(slot, row, known))),
            None => self.have_one_more(&[endpoint]),
        }
    }

    /// Makes claims, whenever something may have changed, until it is time to stop.
    async fn claim_in_turns(self: &Arc<Self>) {
        loop {
            let wait = self.claim_what_can_be();
            tokio::select! {
                biased;
                () = self.stopping.cancelled() => return,
                endpoints = self.parts().wakes.deliveries.told() => self.have_work(&endpoints),
                () = self.wake.notified() => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    /// Starts a claim for every place that is free and has an endpoint with work; says how long nothing else can begin.
    fn claim_what_can_be(self: &Arc<Self>) -> Duration {
        let now = self.parts().clock.monotonic();
        let (picks, wait) = self.book.lock().pick(now);
        for pick in picks {
            let dispatcher = Arc::clone(self);
            self.attempts.spawn(async move { dispatcher.claim(pick).await });
        }
        wait
    }

    /// Lets what is under way end, and then gives it back.
    async fn drain(&self) {
        self.attempts.close();
        if tokio::time::timeout(DRAIN, self.attempts.wait()).await.is_err() {
            self.cut.cancel();
            if tokio::time::timeout(RELEASE, self.attempts.wait()).await.is_err() {
                tracing::warn!(
                    attempts = self.attempts.len(),
                    "deliveries stay leased until their leases end, or until the next start"
                );
            }
        }
    }

    /// Says that something waits for these endpoints: first attempts, perhaps.
    pub fn have_work(&self, endpoints: &[EndpointId]) {
        self.tell_book(endpoints, |book, endpoint, now| book.has_work(endpoint, now, true));
    }

    /// Says that one fresh delivery to each of these endpoints waits, for which there was no place.
    pub(crate) fn have_one_more(&self, endpoints: &[EndpointId]) {
        self.tell_book(endpoints, Book::has_one_more);
    }

    fn tell_book(&self, endpoints: &[EndpointId], tell: impl Fn(&mut Book, EndpointId, Duration)) {
        if endpoints.is_empty() {
            return;
        }
        let now = self.parts().clock.monotonic();
        let mut book = self.book.lock();
        let own = endpoints.iter().filter(|endpoint| self.ownership.has(**endpoint, now));
        own.for_each(|endpoint| tell(&mut book, *endpoint, now));
        drop(book);
        self.wake.notify_one();
    }

    /// Has an endpoint looked at in a while.
    fn awaken(&self, endpoint: EndpointId, wait: Duration) {
        let at = self.parts().clock.monotonic().saturating_add(wait);
        self.book.lock().has_work(endpoint, at, false);
        self.wake.notify_one();
    }

    /// Does everything that is due until nothing is left that can begin now. For tests with a clock of their own.
    pub async fn run_until_idle(self: &Arc<Self>) -> Result<()> {
        self.ownership.begin(self.parts()).await?;
        self.reap(false).await?;
        loop {
            let before = self.begun.load(Ordering::SeqCst);
            self.look(&mut Pass::default()).await;
            self.claim_what_can_be();
            self.attempts.close();
            self.attempts.wait().await;
            self.attempts.reopen();
            if self.begun.load(Ordering::SeqCst) == before {
                break;
            }
        }
        self.write_health().await?;
        self.look_for_untold().await?;
        self.give_notices().await
    }
}

/// A place for one attempt to one endpoint. It is given back when it is dropped.
#[derive(Debug)]
pub struct Slot {
    dispatcher: Arc<Dispatcher>,
    place: Place,
    /// Whether an attempt has begun.
    used: bool,
}

impl Slot {
    fn new(dispatcher: &Arc<Dispatcher>, endpoint: EndpointId, first: bool) -> Self {
        Self { dispatcher: Arc::clone(dispatcher), place: Place::new(endpoint, first), used: false }
    }

    /// Lets the endpoint be asked anew: it has taken what was sent. The place is kept until that is recorded.
    fn answered(&mut self) {
        self.dispatcher.book.lock().answered(&mut self.place);
        self.dispatcher.wake.notify_one();
    }

    /// Puts the delivery under a lease of this place: committed so, it is sent without another claim.
    pub fn lease(&self, delivery: &mut Delivery, parts: &Parts) {
        claim::lease(delivery, parts);
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut book = self.dispatcher.book.lock();
        if self.used {
            book.give_back(self.place);
        } else {
            book.take_back(self.place, self.dispatcher.parts().clock.monotonic());
        }
        drop(book);
        self.dispatcher.wake.notify_one();
    }
}

/// A token for one claim.
fn token(parts: &Parts) -> LeaseToken {
    LeaseToken::new(parts.clock.now(), parts.entropy.as_ref())
}

/// Uniform in `[0, 1)`.
fn random(parts: &Parts) -> f64 {
    let mut bytes = [0_u8; 4];
    parts.entropy.fill(&mut bytes);
    f64::from(u32::from_le_bytes(bytes)) / (f64::from(u32::MAX) + 1.0)
}
