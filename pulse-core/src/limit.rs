//! Rate limits: the generic cell rate algorithm over a bounded table.
//!
//! A rate of `n` a minute with a burst of `n` admits up to `n` at once and refills evenly. The table holds a fixed number
//! of entries; when it is full, the least recently used goes, which can only admit more and never refuse wrongly. Keys are
//! verified ids or addresses, never texts from a request.
//!
//! [`Limiter`] counts in this process alone. [`SharedLimiter`] counts over all daemons, through [`Redis`].

mod account;
mod bucket;
mod redis;
mod shared;

use std::{
    hash::Hash,
    sync::{Arc, OnceLock},
    time::Duration,
};

use quick_cache::sync::Cache;

use self::bucket::Bucket;
pub use self::{
    account::{CHUNKS, LIFE},
    redis::{Redis, RedisPlace, Standing},
    shared::{BOUND, Patience, SharedLimiter},
};

/// A rate: so many requests a minute, all at once if they come after a pause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Requests a minute.
    pub per_minute: u32,
}

/// What a limiter says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Whether the request may go on.
    pub allowed: bool,
    /// The limit, in requests a minute.
    pub limit: u32,
    /// How many more may come right now.
    pub remaining: u32,
    /// In how many seconds the whole limit is there again (allowed), or the request may come again (refused); rounded up.
    pub reset_seconds: u64,
}

/// Counts requests by key.
#[derive(Debug)]
pub struct Limiter<K> {
    buckets: Cache<K, Arc<parking_lot::Mutex<Bucket>>>,
}

impl<K: Hash + Eq + Clone> Limiter<K> {
    /// A limiter that remembers up to `capacity` keys.
    pub fn new(capacity: usize) -> Self {
        Self { buckets: Cache::new(capacity) }
    }

    /// Spends `cost` requests of `key` at `now` (monotonic), if they fit.
    pub fn spend(&self, key: &K, rate: Rate, cost: u32, now: Duration) -> Decision {
        self.decide(key, rate, cost, now, true)
    }

    /// Whether `cost` requests would fit, without spending them.
    pub fn peek(&self, key: &K, rate: Rate, cost: u32, now: Duration) -> Decision {
        self.decide(key, rate, cost, now, false)
    }

    fn decide(&self, key: &K, rate: Rate, cost: u32, now: Duration, spend: bool) -> Decision {
        let now = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX / 2);
        let bucket = match self.buckets.get(key) {
            Some(bucket) => bucket,
            None if !spend => {
                return Decision {
                    allowed: true,
                    limit: rate.per_minute,
                    remaining: rate.per_minute,
                    reset_seconds: 0,
                };
            }
            None => {
                let fresh = || Ok::<_, std::convert::Infallible>(Arc::new(parking_lot::Mutex::new(Bucket::full(now))));
                self.buckets.get_or_insert_with(key, fresh).unwrap_or_else(|never| match never {})
            }
        };
        let mut bucket = bucket.lock();
        bucket.decide(rate, cost, now, spend)
    }

    /// How many keys are remembered.
    pub fn len(&self) -> usize {
        self.buckets.len()
    }

    /// Whether no key is remembered.
    pub fn is_empty(&self) -> bool {
        self.buckets.is_empty()
    }
}

/// Where a call leaves the decision of the tightest limit, for the edge's headers.
#[derive(Clone, Debug, Default)]
pub struct RateCell(Arc<OnceLock<Decision>>, Arc<OnceLock<Decision>>);

impl RateCell {
    /// Whether a limit has been asked.
    pub fn is_told(&self) -> bool {
        self.0.get().is_some()
    }

    /// Leaves a decision; there are two at most.
    pub fn tell(&self, decision: Decision) {
        let _ = if self.0.get().is_none() { self.0.set(decision) } else { self.1.set(decision) };
    }

    /// The decision that leaves the least room, when any limit was asked.
    pub fn tightest(&self) -> Option<Decision> {
        let refused_first = |decision: &&Decision| (decision.allowed, decision.remaining);
        [self.0.get(), self.1.get()].into_iter().flatten().min_by_key(refused_first).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate { per_minute: 60 };

    #[test]
    fn a_burst_passes_then_one_a_second() {
        let limiter = Limiter::new(16);
        let at = |seconds| Duration::from_secs(seconds);
        for sent in 0..60 {
            let decision = limiter.spend(&1, RATE, 1, at(10));
            assert!(decision.allowed && decision.remaining == 59 - sent, "request {sent}: {decision:?}");
        }
        let refused = limiter.spend(&1, RATE, 1, at(10));
        assert_eq!((refused.allowed, refused.remaining, refused.reset_seconds), (false, 0, 1));
        assert!(limiter.spend(&2, RATE, 1, at(10)).allowed, "another key pays for the first");
        assert!(limiter.spend(&1, RATE, 1, at(11)).allowed);
        assert!(!limiter.spend(&1, RATE, 1, at(11)).allowed);
        assert_eq!(limiter.spend(&1, RATE, 20, at(100)).remaining, 40);
    }

    #[test]
    fn the_table_stays_bounded() {
        let limiter = Limiter::new(1_000);
        (0..100_000_u32).for_each(|key| {
            limiter.spend(&key, RATE, 1, Duration::ZERO);
        });
        assert!(limiter.len() <= 1_100, "{} entries", limiter.len());
    }
}
