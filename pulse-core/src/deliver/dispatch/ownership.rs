//! Who sends to which endpoints, where several daemons share a store. Endpoints lie in 64 shards; a daemon that has a shard
//! alone sends to its endpoints, so that caps, breakers and paces are whole although each daemon counts for itself.
//!
//! - A shard is leased for 15 seconds by the store's clock, and the lease is put off every 5. A daemon that could not do so in
//!   time takes its shards for lost before anybody else can have them: it counts by its own monotonic clock, from before it
//!   asked.
//! - Nothing depends on it for safety: a claim is conditional on the delivery itself, and so is its end. Two daemons that
//!   both believe to have a shard cost a lost race, never a delivery.
//! - Each daemon has its share, by the number of those that are seen to live. What one has beyond its share it begins nothing
//!   in any more, and gives it back once nothing is under way there. One that ends gives back at once what is idle, and the
//!   rest when it has drained; one that dies loses its shards with its leases.
//! - A store that one process has alone has no shards: all endpoints are its own.

mod roll;

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use parking_lot::Mutex;
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
    roll: Roll,
    prepared: bool,
}

impl State {
    /// Takes out what was leaving before and is idle now, and brings what stays to the share: the idle leave first, and
    /// those that were to leave stay first. Gives what is to be given back, and how many are missing.
    fn settle(&mut self, share: usize, busy: &Busy) -> (Vec<Shard>, usize) {
        let gone: Vec<usize> = self
            .held
            .values()
            .filter(|held| held.leaving)
            .map(|held| held.shard.number)
            .filter(|n| !busy.contains(n))
            .collect();
        let mut numbers: Vec<usize> = self.held.keys().copied().collect();
        // Those that are to stay come last.
        numbers.sort_unstable_by_key(|number| (!self.held[number].leaving, busy.contains(number), *number));
        let surplus = numbers.len().saturating_sub(share);
        for (place, number) in numbers.iter().enumerate() {
            if let Some(held) = self.held.get_mut(number) {
                held.leaving = place < surplus;
            }
        }
        let leaves = |held: &Held| held.leaving && gone.contains(&held.shard.number);
        let left: Vec<usize> = numbers.into_iter().filter(|number| leaves(&self.held[number])).collect();
        let left = left.iter().filter_map(|number| self.held.remove(number)).map(|held| held.shard).collect();
        (left, share.saturating_sub(self.held.len()))
    }

    /// Takes out everything that is idle.
    fn let_go_of_idle(&mut self, busy: &Busy) -> Vec<Shard> {
        let idle: Vec<usize> = self.held.keys().copied().filter(|number| !busy.contains(number)).collect();
        self.held.values_mut().for_each(|held| held.leaving = true);
        idle.iter().filter_map(|number| self.held.remove(number)).map(|held| held.shard).collect()
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
        let mut ticks = tokio::time::interval(BEAT);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = stopping.cancelled() => break,
                _ = ticks.tick() => {}
            }
            match beat(state, parts, &busy).await {
                Ok(true) => gained(),
                Ok(false) => {}
                Err(error) => tracing::warn!(error = %error, "shards of endpoints could not be kept"),
            }
        }
        if let Err(error) = leave(state, parts, &busy()).await {
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
            Self::Shared(state) => leave(state, parts, &Busy::new()).await,
        }
    }
}

/// Gives back what is idle, and is a daemon no more that the others share with.
async fn leave(state: &Mutex<State>, parts: &Parts, busy: &Busy) -> Result<()> {
    let idle = state.lock().let_go_of_idle(busy);
    give_back(parts, idle).await?;
    let own = parts.shards.members().await?.into_iter().find(|member| member.process == parts.process_id);
    match own {
        Some(member) => parts.shards.strike_off(&member).await,
        None => Ok(()),
    }
}

async fn give_back(parts: &Parts, shards: Vec<Shard>) -> Result<()> {
    let free = |shard| Shard { holder: None, due_at: Timestamp::from_millis(0), ..shard };
    parts.shards.change(shards, free).await.map(drop)
}

/// Puts the leases off, says that this process lives, and takes or gives what makes its share; whether it has got a shard.
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
    let (surplus, missing) = {
        let busy = busy();
        state.lock().settle(SHARDS.div_ceil(living), &busy)
    };
    give_back(parts, surplus).await?;
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
    fn surplus_is_given_back_a_beat_later_and_not_while_something_is_under_way_in_it() {
        let mut state = state(0..64);
        let busy: Busy = (0..30).collect();
        let (given, missing) = state.settle(32, &busy);
        assert_eq!((given.len(), missing, leaving(&state)), (0, 0, 32), "nothing is begun in them for a beat");
        let (given, _) = state.settle(32, &busy);
        assert_eq!(numbers(&given), (30..62).collect::<Vec<_>>(), "the idle ones go");

        let (given, _) = state.settle(20, &busy);
        assert!(given.is_empty());
        let (given, _) = state.settle(20, &busy);
        assert_eq!(numbers(&given), [62, 63], "of the others something is under way");
        assert_eq!(leaving(&state), 10);
        let (given, _) = state.settle(20, &Busy::new());
        assert_eq!((given.len(), state.held.len(), leaving(&state)), (10, 20, 0));
    }

    #[test]
    fn what_was_to_leave_stays_when_the_share_grows() {
        let mut state = state(0..40);
        state.settle(32, &Busy::new());
        assert_eq!(leaving(&state), 8);
        let (given, missing) = state.settle(64, &Busy::new());
        assert_eq!((given.len(), missing, leaving(&state)), (0, 24, 0));
    }

    #[test]
    fn whoever_ends_gives_back_at_once_what_is_idle_and_begins_nothing_in_the_rest() {
        let mut state = state(0..3);
        let given = state.let_go_of_idle(&[1].into());
        assert_eq!(numbers(&given), [0, 2]);
        assert_eq!((state.held.len(), leaving(&state)), (1, 1));
        assert_eq!(numbers(&state.let_go_of_idle(&Busy::new())), [1]);
    }
}
