//! What this process knows of one payer whose budget is shared: the chunk that it has taken and may spend, how much of the
//! whole is left as far as it was told, and its own share for when nobody can be asked.
//!
//! A chunk that is not spent within [`LIFE`] lapses, so that a quiet process hoards nothing. What lapses was never spent:
//! it is given back with the next question, as long as the budget has not come back by itself meanwhile.
//!
//! Who cannot wait any longer for an answer that is on its way is admitted on account of it, up to a chunk, and beyond that by the
//! own share. What is owed so is paid from the next answers that leave something over, for a minute: so a slow Redis refuses
//! nobody, and what it would have refused is a chunk a process at most, beyond the own share.

use std::time::Duration;

use super::{
    Decision, Rate,
    bucket::{Bucket, MINUTE, affordable, interval, seconds},
};

/// For how long a chunk may be spent.
pub const LIFE: Duration = Duration::from_secs(1);
/// Into how many chunks a minute's limit is cut. A fiftieth comes back in little more than [`LIFE`], so what lapses unspent
/// hurts nobody for longer; and at 1,000 requests a minute one question is asked for 20 of them.
pub const CHUNKS: u32 = 50;
/// For how long a refusal is believed at most and at least: longer, and a budget that came back would not be seen; shorter,
/// and those who wait for this very answer would ask again.
const LONGEST_REFUSAL: u64 = 1_000_000_000;
const SHORTEST_REFUSAL: u64 = 1_000_000;

/// A question for more of a payer's budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ask {
    /// The limit, in requests a minute.
    pub(super) limit: u32,
    /// The least that is of use.
    pub(super) need: u32,
    /// How much is wanted.
    pub(super) want: u32,
    /// How much of what was taken before is given back.
    pub(super) back: u32,
}

/// What was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Grant {
    /// What may be spent: from what was needed to what was wanted, or nothing.
    pub(super) granted: u32,
    /// In how many nanoseconds the whole limit is there again.
    pub(super) debt: u64,
}

/// One payer. Times are nanoseconds of the monotonic clock.
#[derive(Debug)]
pub(super) struct Account {
    /// What is left of the chunk, and until when.
    left: u32,
    until: u64,
    /// When the whole limit is there again, as far as it was told.
    full_at: u64,
    /// So much was refused, until then; 0 when nothing was.
    refused: u32,
    refused_until: u64,
    /// What those who wait for an answer need together.
    waiting: u32,
    asking: bool,
    /// What was admitted without having been taken, while an answer was on its way; and until when it is missing in the budget,
    /// which comes back by itself in a minute.
    owed: u32,
    owed_until: u64,
    /// This process' own share, which is charged for everything that is admitted here.
    own: Bucket,
}

impl Account {
    /// A payer of whom nothing is known.
    pub(super) fn new(now: u64) -> Self {
        Self {
            left: 0,
            until: 0,
            full_at: now,
            refused: 0,
            refused_until: 0,
            waiting: 0,
            asking: false,
            owed: 0,
            owed_until: 0,
            own: Bucket::full(now),
        }
    }

    /// Decides from what is at hand: spends of the chunk, or refuses again what was just refused. `None`: somebody must be
    /// asked. `share` is this process' part of the limit.
    pub(super) fn decide(&mut self, rate: Rate, share: Rate, cost: u32, now: u64) -> Option<Decision> {
        let cost = affordable(rate, cost);
        let left = self.left_at(now);
        if left >= cost {
            self.left = left - cost;
            self.own.charge(share, cost, now);
            return Some(self.told(rate, cost, now, true));
        }
        let known = self.refused > 0 && now < self.refused_until && cost - left >= self.refused;
        known.then(|| self.told(rate, cost, now, false))
    }

    /// Decides by this process' own share.
    pub(super) fn decide_alone(&mut self, rate: Rate, share: Rate, cost: u32, now: u64) -> Decision {
        Decision { limit: rate.per_minute, ..self.own.decide(share, cost, now, true) }
    }

    /// Decides for a request that can wait no longer, while Redis is there and has not answered yet.
    pub(super) fn decide_late(&mut self, rate: Rate, share: Rate, cost: u32, now: u64) -> Decision {
        let due = affordable(rate, cost);
        let owed = self.owed_at(now).saturating_add(due);
        let decision = if owed <= chunk(rate) {
            self.own.charge(share, due, now);
            self.told(rate, due, now, true)
        } else {
            self.decide_alone(rate, share, cost, now)
        };
        if decision.allowed {
            self.owed = owed.min(rate.per_minute);
            self.owed_until = now.saturating_add(MINUTE);
        }
        decision
    }

    /// The question to be asked for a request that nothing at hand decides; `None` when one is on its way.
    pub(super) fn ask(&mut self, rate: Rate, cost: u32, now: u64) -> Option<Ask> {
        if self.asking {
            return None;
        }
        self.asking = true;
        let left = self.left_at(now);
        let lapsed = std::mem::replace(&mut self.left, left) - left;
        // Exact only while the budget would not have been whole again without the lapsed part.
        let is_owed = now.saturating_add(interval(rate).saturating_mul(u64::from(lapsed))) <= self.full_at;
        let need = affordable(rate, cost) - left;
        Some(Ask {
            limit: rate.per_minute.max(1),
            need,
            want: chunk(rate).max(self.waiting.saturating_sub(left)).max(need).saturating_add(self.owed_at(now)),
            back: if is_owed { lapsed } else { 0 },
        })
    }

    /// Takes the answer to a question that was asked at `asked`; `None` when there was none.
    pub(super) fn answered(&mut self, ask: Ask, answer: Option<Grant>, asked: u64, now: u64) {
        self.asking = false;
        let Some(Grant { granted, debt }) = answer else {
            // It is away: what was admitted meanwhile was charged to the own share as far as that went, which holds from here on.
            self.owed = 0;
            return;
        };
        self.full_at = now.saturating_add(debt.min(MINUTE));
        if granted > 0 {
            let paid = self.owed_at(now).min(granted.saturating_sub(self.waiting));
            self.owed = self.owed_at(now) - paid;
            self.left = self.left_at(now).saturating_add(granted - paid);
            self.until = asked.saturating_add(u64::try_from(LIFE.as_nanos()).unwrap_or(u64::MAX));
            self.refused = 0;
        } else {
            let missing = interval(Rate { per_minute: ask.limit }).saturating_mul(u64::from(ask.need));
            let wait = missing.saturating_sub(MINUTE.saturating_sub(debt));
            self.refused = ask.need;
            self.refused_until = now.saturating_add(wait.clamp(SHORTEST_REFUSAL, LONGEST_REFUSAL));
        }
    }

    /// Counts a request that waits for an answer, or does not any more.
    pub(super) fn waits(&mut self, cost: u32, begins: bool) {
        self.waiting = if begins { self.waiting.saturating_add(cost) } else { self.waiting.saturating_sub(cost) };
    }

    fn owed_at(&self, now: u64) -> u32 {
        if now < self.owed_until { self.owed } else { 0 }
    }

    fn left_at(&self, now: u64) -> u32 {
        if now < self.until { self.left } else { 0 }
    }

    /// The decision with what is left of the whole, as far as it is known here: what is told by others is in `full_at`, and
    /// what was taken and is not spent yet is this process'.
    fn told(&self, rate: Rate, cost: u32, now: u64, allowed: bool) -> Decision {
        let interval = interval(rate);
        let debt = self.full_at.saturating_sub(now).min(MINUTE);
        let room = MINUTE - debt;
        let left = self.left_at(now);
        let missing = interval.saturating_mul(u64::from(cost.saturating_sub(left))).saturating_sub(room);
        let free = u32::try_from(room / interval).unwrap_or(u32::MAX);
        Decision {
            allowed,
            limit: rate.per_minute,
            remaining: free.saturating_add(left).min(rate.per_minute),
            reset_seconds: seconds(if allowed { debt } else { missing }),
        }
    }
}

/// How much is taken at a time.
fn chunk(rate: Rate) -> u32 {
    (rate.per_minute / CHUNKS).max(1)
}

#[cfg(test)]
#[path = "account/tests.rs"]
mod tests;
