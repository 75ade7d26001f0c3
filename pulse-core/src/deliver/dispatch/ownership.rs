//! Who sends to which endpoints, where several daemons share a store. Endpoints lie in 64 shards; a daemon that has a shard
//! alone sends to its endpoints, so that caps, breakers and paces are whole although each daemon counts for itself.
//!
//! - A shard is leased for 15 seconds by the store's clock, and the lease is put off every 5. A daemon that could not do so in
//!   time takes its shards for lost before anybody else can have them: it counts by its own monotonic clock, from before it
//!   asked.
//! - Nothing depends on it for safety: a claim is conditional on the delivery itself, and so is its end. Two daemons that
//!   both believe to have a shard cost a lost race, never a delivery.
//! - Each daemon has its share: one that comes gets shards from the others within two beats, one that ends gives them back,
//!   one that dies loses them with its leases.
//! - A store that one process has alone has no shards: all endpoints are its own.

use std::{collections::HashMap, time::Duration};

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

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
/// By how much a daemon takes a shard for lost before it is.
const MARGIN: Duration = Duration::from_secs(2);
/// After how long without a beat a daemon is struck off.
const STRUCK_OFF: Duration = Duration::from_secs(60);

/// A shard that this process has.
#[derive(Clone, Debug)]
struct Held {
    shard: Shard,
    /// The monotonic moment before its lease was written last.
    written: Duration,
}

impl Held {
    /// Whether it is surely ours.
    fn holds_at(&self, now: Duration) -> bool {
        now.saturating_sub(self.written) < LEASE.saturating_sub(MARGIN)
    }
}

/// What is known of another daemon.
#[derive(Clone, Copy, Debug)]
struct Seen {
    beats: u64,
    /// The monotonic moment at which it was first seen to have beaten so often.
    at: Duration,
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
    members: HashMap<String, Seen>,
    prepared: bool,
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
            Self::Shared(state) => state.lock().held.get(&shard_of(endpoint)).is_some_and(|held| held.holds_at(now)),
        }
    }

    /// How many shards it has; all when the store is its own.
    pub(super) fn count(&self, now: Duration) -> usize {
        match self {
            Self::Alone => SHARDS,
            Self::Shared(state) => state.lock().held.values().filter(|held| held.holds_at(now)).count(),
        }
    }

    /// Keeps this process's share until it is time to stop; `changed` is called whenever it has got another shard.
    pub(super) async fn keep(&self, parts: &Parts, stopping: &CancellationToken, changed: impl Fn()) {
        let Self::Shared(state) = self else { return };
        let mut ticks = tokio::time::interval(BEAT);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = stopping.cancelled() => return,
                _ = ticks.tick() => {}
            }
            match beat(state, parts).await {
                Ok(true) => changed(),
                Ok(false) => {}
                Err(error) => tracing::warn!(error = %error, "shards of endpoints could not be kept"),
            }
        }
    }

    /// The first beat, before anything is taken in.
    pub(super) async fn begin(&self, parts: &Parts) -> Result<()> {
        match self {
            Self::Alone => Ok(()),
            Self::Shared(state) => beat(state, parts).await.map(drop),
        }
    }

    /// Gives every shard back, once nothing is sent any more.
    pub(super) async fn end(&self, parts: &Parts) -> Result<()> {
        let Self::Shared(state) = self else { return Ok(()) };
        let held = state.lock().held.drain().map(|(_, held)| held.shard).collect();
        give_back(parts, held).await?;
        let own = parts.shards.members().await?.into_iter().find(|member| member.process == parts.process_id);
        match own {
            Some(member) => parts.shards.strike_off(&member).await,
            None => Ok(()),
        }
    }
}

async fn give_back(parts: &Parts, shards: Vec<Shard>) -> Result<()> {
    let free = |shard| Shard { holder: None, due_at: Timestamp::from_millis(0), ..shard };
    parts.shards.keep(shards.into_iter().map(free).collect()).await.map(drop)
}

/// Says that this process lives, puts its leases off, and takes or gives what makes its share; whether it has got a shard.
async fn beat(state: &Mutex<State>, parts: &Parts) -> Result<bool> {
    if !state.lock().prepared {
        parts.shards.prepare().await?;
        state.lock().prepared = true;
    }
    parts.shards.beat(&parts.process_id).await?;
    put_off(state, parts).await?;
    let share = SHARDS.div_ceil(living(state, parts).await?);
    let now = parts.clock.monotonic();
    let surplus = {
        let mut state = state.lock();
        let many = state.held.len().saturating_sub(share);
        let numbers: Vec<usize> = state.held.keys().copied().take(many).collect();
        numbers.iter().filter_map(|number| state.held.remove(number)).map(|held| held.shard).collect()
    };
    give_back(parts, surplus).await?;
    let missing = share.saturating_sub(state.lock().held.len());
    if missing == 0 {
        return Ok(false);
    }
    let lease = u64::try_from(LEASE.as_millis()).unwrap_or(u64::MAX);
    let taken = parts.shards.take(&parts.process_id, missing, lease, parts.clock.now()).await?;
    let got = !taken.is_empty();
    let mut state = state.lock();
    for shard in taken {
        state.held.insert(shard.number, Held { shard, written: now });
    }
    Ok(got)
}

/// Puts the leases off. What somebody else has taken meanwhile is theirs.
async fn put_off(state: &Mutex<State>, parts: &Parts) -> Result<()> {
    let now = parts.clock.monotonic();
    let due_at = parts.store.now(parts.clock.now()).await?.plus(LEASE);
    let put_off = |held: &Held| Shard { due_at, ..held.shard.clone() };
    let wanted: Vec<Shard> = state.lock().held.values().map(put_off).collect();
    let kept = parts.shards.keep(wanted).await?;
    let held = kept.into_iter().map(|shard| (shard.number, Held { shard, written: now }));
    state.lock().held = held.collect();
    Ok(())
}

/// How many daemons live, this one included; those that have not been heard of for long are struck off.
async fn living(state: &Mutex<State>, parts: &Parts) -> Result<usize> {
    let members = parts.shards.members().await?;
    let now = parts.clock.monotonic();
    let mut dead = Vec::new();
    let living = {
        let mut state = state.lock();
        let mut living = 0;
        let mut seen = HashMap::with_capacity(members.len());
        for member in members {
            let before = state.members.get(&member.process).filter(|seen| seen.beats == member.beats);
            let at = before.map_or(now, |seen| seen.at);
            let own = member.process == parts.process_id;
            living += usize::from(own || now.saturating_sub(at) < LEASE);
            seen.insert(member.process.clone(), Seen { beats: member.beats, at });
            if !own && now.saturating_sub(at) >= STRUCK_OFF {
                dead.push(member);
            }
        }
        state.members = seen;
        living
    };
    for member in dead {
        parts.shards.strike_off(&member).await?;
    }
    Ok(living.max(1))
}
