//! How replays make way for what happens now: by how many events LiveKit has told of lately, which is known before one of them has
//! to wait.
//!
//! A replay's own share of the time is one part; the others have one part, too, and another one for every few events a second. So a
//! replay has half of the store's one writer while nothing else goes on, and writes in few and short commits, far apart, beside a
//! load. Only what this process was told of counts. What somebody has resent is sent as what is replayed. An attempt waits for its gap with its
//! place taken: for seconds when many endpoints are replayed to at once beside a load (`docs/DECISIONS.md`).

use std::{sync::Arc, thread::available_parallelism, time::Duration};

use parking_lot::Mutex;
use tokio::time::{Instant, sleep, sleep_until};

use crate::time::Clock;

/// How many events a second each core has until the others' part of the time is larger by one. On two cores, 500 events a second make
/// 21 parts: others' deliveries take a quarter as long again then at the 99th percentile (`tests/bench "events replay"`).
const EVENTS_PER_PART: u32 = 12;
/// For how long events are counted.
const WINDOW: Duration = Duration::from_secs(1);
/// The longest rest after a step: beside a load that takes all there is, a replay goes on slowly.
const LONGEST_REST: Duration = Duration::from_secs(1);
/// What an attempt is reckoned at: twice what it takes of a core with its claim and the record of its end (1.13 cores at 5,776/s in
/// `tests/bench "events drain"`).
const ATTEMPT: Duration = Duration::from_micros(400);
/// The longest time from the beginning of one attempt of what is replayed to the next: whatever goes on, they go on.
const LONGEST_GAP: Duration = Duration::from_millis(20);

/// Counts what happens now, and has replays rest.
#[derive(Debug)]
pub struct Courtesy {
    clock: Arc<dyn Clock>,
    events_per_part: u32,
    longest_gap: Duration,
    lately: Mutex<Lately>,
    /// When the last attempt of what is replayed began.
    begun: tokio::sync::Mutex<Instant>,
}

/// Events of this window and of the one before it.
#[derive(Debug, Default)]
struct Lately {
    /// When this window began (monotonic).
    since: Duration,
    events: u32,
    before: u32,
}

impl Lately {
    /// The same as of now.
    fn at(&mut self, now: Duration) -> &mut Self {
        let elapsed = now.saturating_sub(self.since);
        if elapsed >= WINDOW {
            let before = if elapsed < WINDOW * 2 { self.events } else { 0 };
            *self = Self { since: now, events: 0, before };
        }
        self
    }
}

impl Courtesy {
    /// That of a process on this machine that has so many deliveries under way at once, each under a lease of that length; the clock
    /// says what was lately.
    pub fn new(clock: Arc<dyn Clock>, under_way: usize, lease: Duration) -> Self {
        let cores = available_parallelism().map_or(1, |cores| u32::try_from(cores.get()).unwrap_or(u32::MAX));
        Self::of(clock, EVENTS_PER_PART.saturating_mul(cores), longest_gap(under_way, lease))
    }

    fn of(clock: Arc<dyn Clock>, events_per_part: u32, longest_gap: Duration) -> Self {
        let begun = tokio::sync::Mutex::new(Instant::now());
        Self { clock, events_per_part, longest_gap, lately: Mutex::default(), begun }
    }

    /// An event was recorded of which LiveKit has told.
    pub fn note_event(&self) {
        let mut lately = self.lately.lock();
        let lately = lately.at(self.clock.monotonic());
        lately.events = lately.events.saturating_add(1);
    }

    /// How many parts of the time are others', where one is a replay's: one at least.
    fn parts(&self) -> u32 {
        let mut lately = self.lately.lock();
        let lately = lately.at(self.clock.monotonic());
        1 + lately.events.max(lately.before) / self.events_per_part
    }

    /// Of what a replay would do at once if it were alone, as much as it does now: one at least.
    pub fn portion(&self, whole: usize) -> usize {
        (whole / self.parts() as usize).max(1)
    }

    /// Rests after a step of a replay that took so long.
    pub async fn rest(&self, took: Duration) {
        sleep(took.saturating_mul(self.parts()).min(LONGEST_REST)).await;
    }

    /// Waits until an attempt of what is replayed may begin: one after the other, with a gap between them beside a load.
    pub async fn gap(&self) {
        let mut begun = self.begun.lock().await;
        let gap = ATTEMPT.saturating_mul(self.parts() - 1).min(self.longest_gap);
        if !gap.is_zero() {
            sleep_until(*begun + gap).await;
        }
        *begun = Instant::now();
    }
}

/// The last of all that can wait for their turn begins within a quarter of a lease: an attempt that is in time takes half of one.
fn longest_gap(under_way: usize, lease: Duration) -> Duration {
    (lease / 4 / u32::try_from(under_way.max(1)).unwrap_or(u32::MAX)).min(LONGEST_GAP)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::{ManualClock, Timestamp};

    /// One that was told of so many events just now.
    fn beside(events: u32) -> Courtesy {
        let courtesy = Courtesy::of(Arc::new(ManualClock::new(Timestamp::from_millis(0))), 40, LONGEST_GAP);
        (0..events).for_each(|_| courtesy.note_event());
        courtesy
    }

    /// How long it takes, in milliseconds of tokio's clock.
    async fn took(what: impl Future<Output = ()>) -> u128 {
        let began = Instant::now();
        what.await;
        began.elapsed().as_millis()
    }

    #[tokio::test(start_paused = true)]
    async fn a_replay_that_is_alone_rests_for_as_long_as_it_took_and_its_attempts_begin_at_once() {
        for courtesy in [beside(0), beside(39)] {
            assert_eq!((courtesy.parts(), courtesy.portion(100)), (1, 100));
            assert_eq!(took(courtesy.rest(Duration::from_millis(10))).await, 10);
            for _ in 0..1_000 {
                assert_eq!(took(courtesy.gap()).await, 0);
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn beside_a_load_it_does_less_at_once_and_rests_longer() {
        let courtesy = beside(160);
        assert_eq!((courtesy.parts(), courtesy.portion(100)), (5, 20));
        assert_eq!(took(courtesy.rest(Duration::from_millis(10))).await, 50);
        let courtesy = beside(400);
        let begin = async {
            courtesy.gap().await;
            courtesy.gap().await;
        };
        assert_eq!(took(begin).await, 8, "4 ms each");
    }

    #[tokio::test(start_paused = true)]
    async fn whatever_the_load_it_goes_on() {
        let courtesy = beside(1_000_000);
        assert_eq!(courtesy.portion(100), 1);
        assert_eq!(took(courtesy.rest(Duration::from_millis(10))).await, 1_000);
        let courtesy = beside(1_000_000);
        assert_eq!(took(courtesy.gap()).await, 20);
    }

    #[test]
    fn however_many_are_under_way_the_last_begins_within_a_quarter_of_its_lease() {
        let lease = Duration::from_secs(60);
        assert_eq!(longest_gap(256, lease), LONGEST_GAP);
        for under_way in [1, 256, 1_000, 50_000] {
            let last = longest_gap(under_way, lease) * u32::try_from(under_way).expect("few");
            assert!(last <= lease / 4, "{under_way}: {last:?}");
        }
    }

    #[test]
    fn a_load_counts_for_a_window_after_its_own() {
        let clock = Arc::new(ManualClock::new(Timestamp::from_millis(0)));
        let courtesy = Courtesy::of(Arc::<ManualClock>::clone(&clock), 40, LONGEST_GAP);
        (0..80).for_each(|_| courtesy.note_event());
        clock.advance(WINDOW + WINDOW / 2);
        assert_eq!(courtesy.parts(), 3, "the last window was full");
        (0..120).for_each(|_| courtesy.note_event());
        assert_eq!(courtesy.parts(), 4, "there are more already");
        clock.advance(WINDOW);
        assert_eq!(courtesy.parts(), 4);
        clock.advance(WINDOW);
        assert_eq!(courtesy.parts(), 1, "nothing has come for a window");
        (0..40).for_each(|_| courtesy.note_event());
        clock.advance(WINDOW * 2);
        assert_eq!(courtesy.parts(), 1);
    }
}
