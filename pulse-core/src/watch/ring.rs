//! What was told lately in one project, once for all of its readers: each has a place in it and no copy.
//!
//! A ring has as many bytes as its events, and at most [`EVENTS`] and [`BYTES`] of them. What it has dropped is lost to the
//! readers that were not so far, and they hear it.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use parking_lot::Mutex;
use tokio::sync::watch;

use super::Told;

/// How many events a reader may be behind.
const EVENTS: usize = 1_024;
/// Bytes of events that all rings may hold.
pub(super) const ALL_BYTES: usize = 32 << 20;
/// Bytes of one ring, so that no project takes the place of all others.
const BYTES: usize = ALL_BYTES / 4;
/// After how many ticks every reader that keeps up has taken an event.
const QUIET: u32 = 2;
/// Every how many ticks a reader hears that the stream is alive.
const BEAT: u32 = 15;

/// What a reader hears.
#[derive(Clone, Debug)]
pub(super) enum Signal {
    Event(Arc<Told>),
    /// Time has passed: a second, or with `beat` so much that the other side should hear something.
    Tick {
        beat: bool,
    },
    /// What comes next for it was dropped.
    Lost,
}

/// How far a ring is.
#[derive(Clone, Copy, Debug, Default)]
struct Head {
    /// The number of the event that comes next.
    next: u64,
    /// Seconds.
    ticks: u32,
}

/// What a ring holds.
#[derive(Debug, Default)]
struct Kept {
    events: VecDeque<Arc<Told>>,
    /// The number of the first of them.
    first: u64,
    bytes: usize,
    /// The tick at which the last one came.
    last_at: u32,
}

/// The events that were told last.
#[derive(Debug)]
pub(super) struct Ring {
    kept: Mutex<Kept>,
    head: watch::Sender<Head>,
    /// The bytes of all rings.
    all: Arc<AtomicUsize>,
}

impl Ring {
    /// An empty one, whose bytes are counted among those of `all`.
    pub(super) fn new(all: &Arc<AtomicUsize>) -> Arc<Self> {
        let head = watch::Sender::new(Head::default());
        Arc::new(Self { kept: Mutex::default(), head, all: Arc::clone(all) })
    }

    /// A place in it, behind everything that it holds.
    pub(super) fn subscribe(self: &Arc<Self>) -> Receiver {
        let head = self.head.subscribe();
        let Head { next, ticks } = *head.borrow();
        Receiver { ring: Arc::clone(self), head, next, ticks }
    }

    pub(super) fn readers(&self) -> usize {
        self.head.receiver_count()
    }

    /// How many bytes can be dropped: all but the last event, and that one, too, when readers had the time to take it.
    pub(super) fn spare(&self) -> usize {
        let kept = self.kept.lock();
        let last = kept.events.back().filter(|_| !self.is_quiet(&kept));
        kept.bytes - last.map_or(0, |last| last.size())
    }

    /// Whether the last event came two ticks ago or more.
    fn is_quiet(&self, kept: &Kept) -> bool {
        self.head.borrow().ticks.wrapping_sub(kept.last_at) >= QUIET
    }

    /// Tells an event. Of two at once nobody knows which is first, so whoever calls this calls it for one after the other.
    pub(super) fn push(&self, told: Arc<Told>) {
        let mut kept = self.kept.lock();
        self.all.fetch_add(told.size(), Ordering::Relaxed);
        kept.bytes += told.size();
        kept.events.push_back(told);
        kept.last_at = self.head.borrow().ticks;
        while kept.events.len() > EVENTS || kept.bytes > BYTES && kept.events.len() > 1 {
            self.drop_first(&mut kept);
        }
        let next = kept.first + kept.events.len() as u64;
        drop(kept);
        self.head.send_modify(|head| head.next = next);
    }

    /// Tells that a second has passed.
    pub(super) fn tick(&self) {
        self.head.send_modify(|head| head.ticks = head.ticks.wrapping_add(1));
    }

    /// Drops the older half of what can be dropped, by bytes, and at least one event.
    pub(super) fn halve(&self) {
        let mut kept = self.kept.lock();
        let (half, least) = (kept.bytes / 2, usize::from(!self.is_quiet(&kept)));
        while kept.bytes > half && kept.events.len() > least {
            self.drop_first(&mut kept);
        }
    }

    fn drop_first(&self, kept: &mut Kept) {
        let Some(first) = kept.events.pop_front() else { return };
        kept.first += 1;
        kept.bytes -= first.size();
        self.all.fetch_sub(first.size(), Ordering::Relaxed);
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        self.all.fetch_sub(self.kept.get_mut().bytes, Ordering::Relaxed);
    }
}

/// A reader's place in a ring.
#[derive(Debug)]
pub(super) struct Receiver {
    ring: Arc<Ring>,
    head: watch::Receiver<Head>,
    /// The number of the event that comes next for it.
    next: u64,
    /// The last tick that it heard.
    ticks: u32,
}

impl Receiver {
    /// What comes next.
    pub(super) async fn recv(&mut self) -> Signal {
        loop {
            // Ticks first: events must not keep a reader from knowing that time passes.
            if let Some(signal) = self.tick().or_else(|| self.take(usize::MAX)) {
                return signal;
            }
            // Its sender is the ring's, which lives as long as this.
            if self.head.changed().await.is_err() {
                return Signal::Lost;
            }
        }
    }

    /// The next event, if it is there already and has no more than so many bytes; or that it is lost.
    pub(super) fn take(&mut self, most: usize) -> Option<Signal> {
        let kept = self.ring.kept.lock();
        let Some(place) = self.next.checked_sub(kept.first) else { return Some(Signal::Lost) };
        let told = kept.events.get(usize::try_from(place).ok()?).filter(|told| told.size() <= most)?;
        self.next += 1;
        Some(Signal::Event(Arc::clone(told)))
    }

    /// Goes on behind everything that the ring holds now.
    pub(super) fn skip(&mut self) {
        self.next = self.head.borrow().next;
    }

    fn tick(&mut self) -> Option<Signal> {
        let now = self.head.borrow().ticks;
        let before = std::mem::replace(&mut self.ticks, now);
        (now != before).then_some(Signal::Tick { beat: now / BEAT != before / BEAT })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::event::{Event, PULSE_CLUSTER};
    use crate::{
        id::{EventId, ProjectId},
        time::Timestamp,
    };

    /// The `n`th event, with so many bytes in it.
    fn told(n: u64, bytes: usize) -> Arc<Told> {
        Arc::new(Told::new(&Event {
            id: EventId::from_bits(u128::from(n)),
            project_id: ProjectId::from_bits(1),
            kind: "room_started".to_owned(),
            occurred_at: Timestamp::from_secs(0),
            cluster: PULSE_CLUSTER.to_owned(),
            source_id: n.to_string(),
            room: None,
            body: "x".repeat(bytes).into(),
            test: false,
            session_id: None,
            seq: None,
            expires_at: Timestamp::from_secs(0),
            version: 1,
        }))
    }

    /// The number of the event that was heard.
    fn number(signal: Option<Signal>) -> Option<u64> {
        match signal {
            Some(Signal::Event(told)) => (0..=EVENTS as u64).find(|n| EventId::from_bits(u128::from(*n)) == told.id),
            _ => None,
        }
    }

    #[test]
    fn a_ring_holds_no_more_than_its_events_and_bytes_and_whoever_was_behind_hears_it() {
        let all = Arc::new(AtomicUsize::new(0));
        let ring = Ring::new(&all);
        let mut slow = ring.subscribe();
        for n in 0..EVENTS as u64 {
            ring.push(told(n, 1));
        }
        assert_eq!(number(slow.take(usize::MAX)), Some(0));
        ring.push(told(EVENTS as u64, 1));
        assert!(slow.take(10).is_none(), "one that does not fit is left");
        assert_eq!(number(slow.take(usize::MAX)), Some(1), "those behind it are kept");
        for n in 0..20 {
            ring.push(told(n, 1 << 20));
            assert!(all.load(Ordering::Relaxed) <= BYTES, "{} bytes", all.load(Ordering::Relaxed));
        }
        assert!(matches!(slow.take(usize::MAX), Some(Signal::Lost)));
        let before = ring.spare();
        assert!(before > BYTES / 2);
        ring.halve();
        assert!(ring.spare() < before / 2);
        slow.skip();
        assert!(slow.take(usize::MAX).is_none());
        ring.push(told(7, BYTES));
        assert!(matches!(slow.take(usize::MAX), Some(Signal::Event(_))), "the last one is kept, whatever its size");
        ring.halve();
        assert!(
            ring.spare() == 0 && all.load(Ordering::Relaxed) > BYTES,
            "it is not taken from those who hear of it now"
        );
        (0..QUIET).for_each(|_| ring.tick());
        assert!(ring.spare() > BYTES);
        ring.halve();
        assert_eq!(all.load(Ordering::Relaxed), 0);
        assert!(slow.take(usize::MAX).is_none(), "it was taken");
        ring.push(told(8, 1));
        assert_eq!(number(slow.take(usize::MAX)), Some(8));
        assert_eq!(ring.readers(), 1);
        drop((slow, ring));
        assert_eq!(all.load(Ordering::Relaxed), 0);
    }

    #[tokio::test]
    async fn ticks_come_between_events_and_every_fifteenth_is_a_beat() {
        let ring = Ring::new(&Arc::default());
        let mut reader = ring.subscribe();
        for second in 1..=40_u64 {
            ring.push(told(second, 1));
            ring.tick();
            let beat = match reader.recv().await {
                Signal::Tick { beat } => beat,
                other => panic!("{other:?}"),
            };
            assert_eq!(beat, second % 15 == 0, "second {second}");
            assert!(matches!(reader.recv().await, Signal::Event(_)));
        }
        (0..20).for_each(|_| ring.tick());
        assert!(matches!(reader.recv().await, Signal::Tick { beat: true }), "a beat that was slept through");
    }
}
