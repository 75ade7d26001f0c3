//! Who sends to which endpoints, where several daemons share a store. Endpoints lie in 64 shards; a daemon that has a shard
//! alone sends to its endpoints, so that caps, breakers and paces are whole although each daemon counts for itself.
//!
//! - A shard is leased for 15 seconds by the store's clock, and the lease is put off every 5. A daemon that could not do so in
//!   time takes its shards for lost before anybody else can have them: it counts by its own monotonic clock, from before it
//!   asked.
//! - Nothing depends on it for safety: a claim is conditional on the delivery itself, and so is its end. Two daemons that
//!   both believe to have a shard cost a lost race, never a delivery.
//! - Each daemon has its share, by the number of those that are seen to live. What one has beyond its share it begins nothing
//!   in any more, and gives it back as soon as nothing is under way there; whoever has less than its share looks for shards
//!   every second, so that a shard that changes hands stands empty for a moment only. One that ends gives back at once what is
//!   idle, and the rest when it has drained; one that dies loses its shards with its leases.
//! - Whoever begins something takes its place first and asks then whether the shard is still its own; whoever gives a shard
//!   away says so first and looks then whether anything has a place there.
//! - A store that one process has alone has no shards: all endpoints are its own.

mod roll;

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use parking_lot::Mutex;
use tokio::time::{Interval, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use self::roll::Roll;
use crate::{
    error::Result,
    id::EndpointId,
    model::shard::{SHARDS, Shard, shard_of},
    parts::Parts,
    time::Timestamp,
};

/// For how long a shard is taken.
const LEASE: Duration = Duration::from_secs(15);
/// How often that is put off.
const BEAT: Duration = Duration::from_secs(5);
/// How often shards are given back that have become idle, and missing ones looked for.
const LOOK: Duration = Duration::from_secs(1);
/// By how much a daemon takes a shard for lost before it is; and by how much another one is taken for dead before its leases
/// are over, so that it is at the third beat that was missed.
const MARGIN: Duration = Duration::from_secs(2);

/// Shards in which something is under way.
pub(super) type Busy = HashSet<usize>;

/// A shard that this process has.
#[derive(Clone, Debug)]
struct Held {
    shard: Shard,
    /// The monotonic moment before its lease was written last.
    written: Duration,
    /// Nothing is begun in it any more: it is to be given back.
    leaving: bool,
}

impl Held {
    /// Whether it is surely ours.
    fn holds_at(&self, now: Duration) -> bool {
        now.saturating_sub(self.written) < LEASE.saturating_sub(MARGIN)
    }
}

/// The shards of this process.
#[derive(Debug)]
pub(super) enum Ownership {
    /// The store is its own.
    Alone,
    /// It shares the store.
    Shared(Mutex<State>),
}

#[derive(Debug, Default)]
pub(super) struct State {
    held: HashMap<usize, Held>,
    /// How many it shall have.
    share: usize,
    roll: Roll,
    prepared: bool,
}

impl State {
    /// Says what is to leave so that the share stays: the idle first, and those that were to leave before.
    fn settle(&mut self, share: usize, busy: &Busy) {
        self.share = share;
        let mut numbers: Vec<usize> = self.held.keys().copied().collect();
        // Those that are to stay come last.
        numbers.sort_unstable_by_key(|number| (!self.held[number].leaving, busy.contains(number), *number));
        let surplus = numbers.len().saturating_sub(share);
        for (place, number) in numbers.iter().enumerate() {
            if let Some(held) = self.held.get_mut(number) {
                held.leaving = place < surplus;
            }
        }
    }

    /// Says that everything is to leave.
    fn leave(&mut self) {
        self.share = 0;
        self.held.values_mut().for_each(|held| held.leaving = true);
    }

    /// Takes out what is to leave and is idle, as was seen after it was said to leave.
    fn let_go(&mut self, busy: &Busy) -> Vec<Shard> {
        let goes = |number: &usize, held: &mut Held| held.leaving && !busy.contains(number);
        self.held.extract_if(goes).map(|(_, held)| held.shard).collect()
    }

    /// How many it has too few.
    fn missing(&self) -> usize {
        self.share.saturating_sub(self.held.len())
    }
}

impl Ownership {
    /// Of a process on this store.
    pub(super) fn new(parts: &Parts) -> Self {
        if parts.store.info().is_shared() { Self::Shared(Mutex::default()) } else { Self::Alone }
    }

    /// Whether this process sends to the endpoint.
    pub(super) fn has(&self, endpoint: EndpointId, now: Duration) -> bool {
        match self {
            Self::Alone => true,
            Self::Shared(state) => {
                let state = state.lock();
                state.held.get(&shard_of(endpoint)).is_some_and(|held| !held.leaving && held.holds_at(now))
            }
        }
    }

    /// How many shards it has; all when the store is its own.
    pub(super) fn count(&self, now: Duration) -> usize {
        match self {
            Self::Alone => SHARDS,
            Self::Shared(state) => state.lock().held.values().filter(|held| held.holds_at(now)).count(),
        }
    }

    /// Keeps this process's share until it is time to stop, and then gives back what is idle; `gained` is called whenever it
    /// has got another shard.
    pub(super) async fn keep(
        &self,
        parts: &Parts,
        stopping: &CancellationToken,
        busy: impl Fn() -> Busy,
        gained: impl Fn(),
    ) {
        let Self::Shared(state) = self else { return };
        let mut beats = ticks(BEAT);
        let mut looks = ticks(LOOK);
        loop {
            let done = tokio::select! {
                biased;
                () = stopping.cancelled() => break,
                _ = beats.tick() => beat(state, parts, &busy).await,
                _ = looks.tick() => hand_over(state, parts, &busy).await,
            };
            match done {
                Ok(true) => gained(),
                Ok(false) => {}
                Err(error) => tracing::warn!(error = %error, "shards of endpoints could not be kept"),
            }
        }
        if let Err(error) = leave(state, parts, &busy).await {
            tracing::warn!(error = %error, "shards of endpoints are given back later");
        }
    }

    /// The first beat, before anything is taken in.
    pub(super) async fn begin(&self, parts: &Parts) -> Result<()> {
        match self {
            Self::Alone => Ok(()),
            Self::Shared(state) => beat(state, parts, &Busy::new).await.map(drop),
        }
    }

    /// Gives every shard back that there still is, once nothing is sent any more.
    pub(super) async fn end(&self, parts: &Parts) -> Result<()> {
        match self {
            Self::Alone => Ok(()),
            Self::Shared(state) => leave(state, parts, &Busy::new).await,
        }
    }
}

fn ticks(every: Duration) -> Interval {
    let mut ticks = tokio::time::interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

/// Gives back what is idle, and is a daemon no more that the others share with.
async fn leave(state: &Mutex<State>, parts: &Parts, busy: &impl Fn() -> Busy) -> Result<()> {
    state.lock().leave();
    give_back_idle(state, parts, busy).await?;
    match parts.shards.member(&parts.process_id).await? {
        Some(member) => parts.shards.strike_off(&member).await,
        None => Ok(()),
    }
}

/// Gives back what is to leave and is idle.
async fn give_back_idle(state: &Mutex<State>, parts: &Parts, busy: &impl Fn() -> Busy) -> Result<()> {
    let busy = busy();
    let idle = state.lock().let_go(&busy);
    let free = |shard| Shard { holder: None, due_at: Timestamp::from_millis(0), ..shard };
    parts.shards.change(idle, free).await.map(drop)
}

/// Puts the leases off, says that this process lives, finds what its share is, and hands over; whether it has got a shard.
async fn beat(state: &Mutex<State>, parts: &Parts, busy: &impl Fn() -> Busy) -> Result<bool> {
    if !state.lock().prepared {
        parts.shards.prepare().await?;
        state.lock().prepared = true;
    }
    put_off(state, parts).await?;
    parts.shards.beat(&parts.process_id).await?;
    let members = parts.shards.members().await?;
    let now = parts.clock.monotonic();
    let (living, dead) = state.lock().roll.call(members, &parts.process_id, now);
    for member in dead {
        parts.shards.strike_off(&member).await?;
    }
    let under_way = busy();
    state.lock().settle(SHARDS.div_ceil(living), &under_way);
    hand_over(state, parts, busy).await
}

/// Gives back what is beyond this process's share, and takes what it has too few; whether it has got a shard.
async fn hand_over(state: &Mutex<State>, parts: &Parts, busy: &impl Fn() -> Busy) -> Result<bool> {
    give_back_idle(state, parts, busy).await?;
    let missing = state.lock().missing();
    if missing == 0 {
        return Ok(false);
    }
    let (written, lease) = (parts.clock.monotonic(), u64::try_from(LEASE.as_millis()).unwrap_or(u64::MAX));
    let taken = parts.shards.take(&parts.process_id, missing, lease, parts.clock.now()).await?;
    let gained = !taken.is_empty();
    let taken = taken.into_iter().map(|shard| (shard.number, Held { shard, written, leaving: false }));
    state.lock().held.extend(taken);
    Ok(gained)
}

/// Puts the leases off. What somebody else has taken meanwhile is theirs.
async fn put_off(state: &Mutex<State>, parts: &Parts) -> Result<()> {
    let written = parts.clock.monotonic();
    let at = parts.store.now(parts.clock.now()).await?;
    parts.set_steady(at, written);
    let known = state.lock().held.values().map(|held| held.shard.clone()).collect();
    let kept = parts.shards.change(known, |shard| Shard { due_at: at.plus(LEASE), ..shard }).await?;
    let mut state = state.lock();
    let mut before = std::mem::take(&mut state.held);
    let kept = kept.into_iter().filter_map(|shard| {
        let held = before.remove(&shard.number)?;
        Some((shard.number, Held { shard, written, ..held }))
    });
    state.held = kept.collect();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(numbers: impl IntoIterator<Item = usize>) -> State {
        let held = numbers.into_iter().map(|number| {
            let shard = Shard { number, holder: None, generation: 1, due_at: Timestamp::from_millis(0), version: 1 };
            (number, Held { shard, written: Duration::ZERO, leaving: false })
        });
        State { held: held.collect(), ..State::default() }
    }

    fn numbers(shards: &[Shard]) -> Vec<usize> {
        let mut numbers: Vec<usize> = shards.iter().map(|shard| shard.number).collect();
        numbers.sort_unstable();
        numbers
    }

    fn leaving(state: &State) -> usize {
        state.held.values().filter(|held| held.leaving).count()
    }

    #[test]
    fn a_shard_is_lost_before_another_can_have_it() {
        let held = state([1]).held.remove(&1).expect("held");
        assert!(held.holds_at(Duration::from_secs(12)));
        assert!(!held.holds_at(LEASE - MARGIN), "so late it could be another's when the attempt begins");
    }

    #[test]
    fn surplus_is_given_back_once_nothing_is_under_way_in_it() {
        let mut state = state(0..64);
        let busy: Busy = (0..30).collect();
        state.settle(32, &busy);
        assert_eq!(numbers(&state.let_go(&busy)), (30..62).collect::<Vec<_>>(), "the idle ones go");
        assert_eq!((state.missing(), leaving(&state)), (0, 0));

        state.settle(20, &busy);
        // What was begun before anybody said that it leaves is seen now.
        let busy: Busy = (0..30).chain([63]).collect();
        assert_eq!(numbers(&state.let_go(&busy)), [62], "in the others something is under way");
        assert_eq!(leaving(&state), 11);
        assert_eq!(state.let_go(&Busy::new()).len(), 11);
        assert_eq!((state.held.len(), leaving(&state)), (20, 0));
    }

    #[test]
    fn what_was_to_leave_stays_when_the_share_grows() {
        let mut state = state(0..40);
        state.settle(32, &Busy::new());
        assert_eq!(leaving(&state), 8);
        state.settle(64, &Busy::new());
        assert_eq!((state.let_go(&Busy::new()).len(), state.missing(), leaving(&state)), (0, 24, 0));
    }

    #[test]
    fn whoever_ends_gives_back_at_once_what_is_idle_and_begins_nothing_in_the_rest() {
        let mut state = state(0..3);
        state.settle(3, &Busy::new());
        state.leave();
        assert_eq!(numbers(&state.let_go(&[1].into())), [0, 2]);
        assert_eq!((state.held.len(), leaving(&state), state.missing()), (1, 1, 0), "it takes nothing any more");
        assert_eq!(numbers(&state.let_go(&Busy::new())), [1]);
    }
}
