//! The arithmetic of the generic cell rate algorithm: one moment tells all that there is to know of a bucket.

use super::{Decision, Rate};

/// A minute in nanoseconds.
pub(super) const MINUTE: u64 = 60_000_000_000;

/// How long one request takes to come back, in nanoseconds.
pub(super) fn interval(rate: Rate) -> u64 {
    MINUTE / u64::from(rate.per_minute.max(1))
}

/// What a cost comes to: above the whole limit it would never pass, so that it then costs the whole limit.
pub(super) fn affordable(rate: Rate, cost: u32) -> u32 {
    cost.min(rate.per_minute.max(1))
}

/// Nanoseconds as the seconds of a header, rounded up.
pub(super) fn seconds(nanos: u64) -> u64 {
    nanos.div_ceil(1_000_000_000)
}

/// A bucket by the theoretical arrival time of its next request, in nanoseconds of the monotonic clock.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Bucket(u64);

impl Bucket {
    /// A full bucket.
    pub(super) fn full(now: u64) -> Self {
        Self(now)
    }

    /// Decides on `cost` requests at `now`, and takes them if `spend` says so and they fit.
    pub(super) fn decide(&mut self, rate: Rate, cost: u32, now: u64, spend: bool) -> Decision {
        let interval = interval(rate);
        let full = interval * u64::from(rate.per_minute.max(1));
        let current = self.0.clamp(now, now.saturating_add(MINUTE));
        let after = current.saturating_add(interval.saturating_mul(u64::from(affordable(rate, cost))));
        let allowed = after <= now.saturating_add(full);
        let standing = if allowed { after } else { current };
        if allowed && spend {
            self.0 = after;
        }
        let room = full.saturating_sub(standing - now);
        let wait = if allowed { standing - now } else { after.saturating_sub(now + full) };
        Decision {
            allowed,
            limit: rate.per_minute,
            remaining: u32::try_from(room / interval).unwrap_or(u32::MAX),
            reset_seconds: seconds(wait),
        }
    }

    /// Takes `cost` requests that somebody else has admitted, as far as there are any.
    pub(super) fn charge(&mut self, rate: Rate, cost: u32, now: u64) {
        let taken = interval(rate).saturating_mul(u64::from(cost));
        self.0 = self.0.max(now).saturating_add(taken).min(now.saturating_add(MINUTE));
    }
}
