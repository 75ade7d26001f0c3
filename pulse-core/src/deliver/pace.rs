//! How fast one endpoint may be called: the generic cell rate algorithm for its own rate, and a pause where it asks to be
//! spared. Unlike [`limit`](crate::limit), which refuses requests by the minute, this says to the nanosecond when the next
//! one may go, so that whoever sends can wait for that.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The rate that a customer gives an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
pub struct EndpointRate {
    /// Attempts a second, evenly.
    #[schemars(range(min = 1, max = 10_000))]
    pub per_second: u32,
    /// Attempts that may come at once after a pause; 1 when not said.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 10_000))]
    pub burst: u32,
}

fn one() -> u32 {
    1
}

impl EndpointRate {
    /// The time of one attempt.
    fn interval(self) -> Duration {
        Duration::from_secs(1) / self.per_second.max(1)
    }
}

/// Whether an attempt may be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pacing {
    /// Now, and it is counted.
    Now,
    /// Not before this moment (monotonic); nothing is counted.
    NotBefore(Duration),
}

/// How one endpoint has been called. All times are those of the monotonic clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pace {
    /// When the next attempt would come if all came evenly.
    next: Duration,
    /// Until when it is spared.
    spared_until: Duration,
}

impl Pace {
    /// Asks for one attempt `now` under the endpoint's rate, if it has one.
    pub fn spend(&mut self, rate: Option<EndpointRate>, now: Duration) -> Pacing {
        if now < self.spared_until {
            return Pacing::NotBefore(self.spared_until);
        }
        let Some(rate) = rate else { return Pacing::Now };
        let interval = rate.interval();
        let ahead = interval * (rate.burst.max(1) - 1);
        // No debt beyond what the rate allows, which may have been raised since. What is told now must hold later.
        self.next = self.next.clamp(now, now.saturating_add(ahead).saturating_add(interval));
        let from = self.next.saturating_sub(ahead);
        if now < from {
            return Pacing::NotBefore(from);
        }
        self.next = self.next.saturating_add(interval);
        Pacing::Now
    }

    /// Takes back `attempts` that were counted and not made.
    pub fn give_back(&mut self, rate: Option<EndpointRate>, attempts: usize) {
        if let Some(rate) = rate {
            let attempts = u32::try_from(attempts).unwrap_or(u32::MAX);
            self.next = self.next.saturating_sub(rate.interval().saturating_mul(attempts));
        }
    }

    /// Leaves the endpoint alone for `span` from `now` on, or for longer if it is already.
    pub fn spare(&mut self, span: Duration, now: Duration) {
        self.spared_until = self.spared_until.max(now.saturating_add(span));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn millis(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn rate(per_second: u32, burst: u32) -> Option<EndpointRate> {
        Some(EndpointRate { per_second, burst })
    }

    #[test]
    fn a_burst_passes_then_the_next_is_told_when_it_may_go() {
        let (mut pace, start) = (Pace::default(), millis(5_000));
        for sent in 0..3 {
            assert_eq!(pace.spend(rate(10, 3), start), Pacing::Now, "attempt {sent} of the burst");
        }
        assert_eq!(pace.spend(rate(10, 3), start), Pacing::NotBefore(millis(5_100)));
        assert_eq!(pace.spend(rate(10, 3), millis(5_099)), Pacing::NotBefore(millis(5_100)), "a refusal was counted");
        assert_eq!(pace.spend(rate(10, 3), millis(5_100)), Pacing::Now);
        assert_eq!(pace.spend(rate(10, 3), millis(5_100)), Pacing::NotBefore(millis(5_200)));
    }

    #[test]
    fn what_was_not_made_is_not_counted() {
        let (mut pace, start) = (Pace::default(), millis(5_000));
        for _ in 0..3 {
            assert_eq!(pace.spend(rate(10, 3), start), Pacing::Now);
        }
        pace.give_back(rate(10, 3), 2);
        assert_eq!(pace.spend(rate(10, 3), start), Pacing::Now);
        assert_eq!(pace.spend(rate(10, 3), start), Pacing::Now);
        assert_eq!(pace.spend(rate(10, 3), start), Pacing::NotBefore(millis(5_100)));
        pace.give_back(rate(10, 3), 1_000);
        for sent in 0..3 {
            assert_eq!(pace.spend(rate(10, 3), start), Pacing::Now, "attempt {sent}: no more than a burst is there");
        }
        assert_eq!(pace.spend(rate(10, 3), start), Pacing::NotBefore(millis(5_100)));
    }

    #[test]
    fn without_a_rate_only_sparing_holds_it_back() {
        let mut pace = Pace::default();
        for _ in 0..1_000 {
            assert_eq!(pace.spend(None, millis(1)), Pacing::Now);
        }
        pace.spare(millis(500), millis(1_000));
        pace.spare(millis(100), millis(1_000));
        assert_eq!(pace.spend(None, millis(1_499)), Pacing::NotBefore(millis(1_500)), "the shorter pause won");
        assert_eq!(pace.spend(None, millis(1_500)), Pacing::Now);
        pace.spare(Duration::MAX, millis(1_500));
        assert_eq!(pace.spend(rate(1, 1), millis(9_000)), Pacing::NotBefore(Duration::MAX));
    }

    #[test]
    fn a_rate_that_is_raised_holds_at_once() {
        let mut pace = Pace::default();
        assert_eq!(pace.spend(rate(1, 1), millis(0)), Pacing::Now);
        assert_eq!(pace.spend(rate(1, 1), millis(10)), Pacing::NotBefore(millis(1_000)));
        assert_eq!(pace.spend(rate(100, 1), millis(10)), Pacing::NotBefore(millis(20)));
        assert_eq!(pace.spend(rate(100, 1), millis(20)), Pacing::Now);
    }

    #[test]
    fn no_rate_at_all_and_no_burst_at_all_are_taken_for_one() {
        let (mut pace, none) = (Pace::default(), EndpointRate { per_second: 0, burst: 0 });
        assert_eq!(pace.spend(Some(none), millis(0)), Pacing::Now);
        assert_eq!(pace.spend(Some(none), millis(0)), Pacing::NotBefore(millis(1_000)));
        let read: EndpointRate = serde_json::from_str(r#"{"per_second": 5}"#).unwrap();
        assert_eq!(Some(read), rate(5, 1));
    }

    proptest! {
        #[test]
        fn no_window_has_more_than_burst_and_rate_and_who_waits_as_told_goes(
            (per_second, burst) in (1..50_u32, 1..20_u32),
            steps in proptest::collection::vec(0..400_u64, 1..200),
        ) {
            let (mut pace, mut now, mut sent) = (Pace::default(), Duration::ZERO, Vec::new());
            for step in steps {
                now += millis(step);
                if let Pacing::NotBefore(from) = pace.spend(rate(per_second, burst), now) {
                    prop_assert!(from > now);
                    now = from;
                    prop_assert_eq!(pace.spend(rate(per_second, burst), now), Pacing::Now);
                }
                sent.push(now);
            }
            for (first, start) in sent.iter().enumerate() {
                let within = sent[first..].iter().filter(|at| **at < *start + Duration::from_secs(1)).count();
                prop_assert!(within <= (burst + per_second) as usize, "{within} within a second");
            }
        }
    }
}
