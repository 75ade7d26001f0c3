//! Limits that hold over all daemons together. Redis has each payer's budget; a process takes a chunk of it at a time and
//! spends that without asking, so most decisions cost what they cost without Redis.
//!
//! - No request is refused because of Redis itself, and none waits for it longer than [`BOUND`]: what it decided without an
//!   answer that comes a little later is charged to that answer.
//! - While Redis cannot be asked, each process admits its share: the limit by the number of daemons that were seen lately.
//!   What it admitted through Redis before has been charged to that share, so an outage gives nobody a second budget.
//! - What is admitted is never more than the budget in Redis, from which chunks are cut, but for what was admitted before an answer
//!   that came too late and was a refusal. What is taken and not spent is missing for a second, one chunk a process at most.

use std::{fmt, hash::Hash, sync::Arc, time::Duration};

use parking_lot::Mutex;
use quick_cache::sync::Cache;
use tokio::{
    sync::Notify,
    time::{Instant, timeout_at},
};

use super::{
    Decision, Rate,
    account::{Account, Ask},
    bucket::affordable,
    redis::Redis,
};
use crate::time::Clock;

/// How long one call may wait for Redis in all, whatever it is asked.
pub const BOUND: Duration = Duration::from_millis(50);

/// How long a call may still wait. Begins with its first question.
#[derive(Debug, Default)]
pub struct Patience(Option<Instant>);

impl Patience {
    fn end(&mut self, bound: Duration) -> Instant {
        *self.0.get_or_insert_with(|| Instant::now() + bound)
    }
}

/// Counts requests by key, together with the other daemons.
#[derive(Debug)]
pub struct SharedLimiter<K> {
    entries: Cache<K, Arc<Entry>>,
    redis: Arc<Redis>,
    clock: Arc<dyn Clock>,
}

#[derive(Debug)]
struct Entry {
    account: Mutex<Account>,
    /// Told when a question has been answered.
    answered: Notify,
}

/// A request, counted among those that wait for as long as this lives.
struct Waiting<'a>(&'a Entry, u32);

impl<'a> Waiting<'a> {
    fn new(entry: &'a Entry, cost: u32) -> Self {
        entry.account.lock().waits(cost, true);
        Self(entry, cost)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.account.lock().waits(self.1, false);
    }
}

impl<K: Hash + Eq + Clone + fmt::Display> SharedLimiter<K> {
    /// A limiter that remembers up to `capacity` keys here, over this Redis.
    pub fn new(capacity: usize, redis: Arc<Redis>, clock: Arc<dyn Clock>) -> Self {
        Self { entries: Cache::new(capacity), redis, clock }
    }

    /// Spends `cost` requests of `key`, if they fit. Waits only when a chunk must be fetched, and until `patience` ends.
    pub async fn spend(&self, key: &K, rate: Rate, cost: u32, patience: &mut Patience) -> Decision {
        let now = self.now();
        let entry = self.entry(key, now);
        let share = self.redis.share(rate);
        let at_hand = entry.account.lock().decide(rate, share, cost, now);
        if let Some(decision) = at_hand {
            return decision;
        }
        if self.redis.is_up() {
            let cost = affordable(rate, cost);
            let _waiting = Waiting::new(&entry, cost);
            let fetched = self.fetched(key, &entry, rate, cost);
            if let Ok(Some(decision)) = timeout_at(patience.end(self.redis.bound()), fetched).await {
                return decision;
            }
        }
        let (mut account, now) = (entry.account.lock(), self.now());
        if self.redis.is_up() {
            account.decide_late(rate, share, cost, now)
        } else {
            account.decide_alone(rate, share, cost, now)
        }
    }

    /// The decision once enough has been fetched; `None` when Redis is away.
    async fn fetched(&self, key: &K, entry: &Arc<Entry>, rate: Rate, cost: u32) -> Option<Decision> {
        let share = self.redis.share(rate);
        loop {
            let answered = entry.answered.notified();
            tokio::pin!(answered);
            // From here on, an answer is not missed.
            answered.as_mut().enable();
            let now = self.now();
            let question = {
                let mut account = entry.account.lock();
                if let Some(decision) = account.decide(rate, share, cost, now) {
                    return Some(decision);
                }
                if !self.redis.is_up() {
                    return None;
                }
                account.ask(rate, cost, now)
            };
            if let Some(ask) = question {
                self.put(key, entry, ask, now);
            }
            answered.await;
        }
    }

    /// Puts a question to Redis by a task of its own: the answer is of use to others, too, when the caller goes away.
    fn put(&self, key: &K, entry: &Arc<Entry>, ask: Ask, asked: u64) {
        let (name, entry) = (key.to_string(), Arc::clone(entry));
        let (redis, clock) = (Arc::clone(&self.redis), Arc::clone(&self.clock));
        tokio::spawn(async move {
            let answer = redis.take(&name, ask).await;
            entry.account.lock().answered(ask, answer, asked, nanos(clock.as_ref()));
            entry.answered.notify_waiters();
        });
    }

    fn entry(&self, key: &K, now: u64) -> Arc<Entry> {
        let fresh = || {
            let (account, answered) = (Mutex::new(Account::new(now)), Notify::new());
            Ok::<_, std::convert::Infallible>(Arc::new(Entry { account, answered }))
        };
        self.entries.get_or_insert_with(key, fresh).unwrap_or_else(|never| match never {})
    }

    fn now(&self) -> u64 {
        nanos(self.clock.as_ref())
    }
}

fn nanos(clock: &dyn Clock) -> u64 {
    u64::try_from(clock.monotonic().as_nanos()).unwrap_or(u64::MAX / 2)
}
