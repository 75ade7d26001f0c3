//! Leaves servers alone that fail again and again, so that one customer's dead LiveKit costs a few tries in a minute and not
//! a time limit for each question.

use std::{collections::HashMap, sync::Arc, time::Duration};

use parking_lot::Mutex;

use crate::time::Clock;

/// Failures in a row after which a server is left alone.
const FAILURES: u32 = 5;
/// For how long; then one question is let through, which decides.
const REST: Duration = Duration::from_secs(30);
/// Servers of which something is remembered. Beyond that, those that failed longest ago are forgotten.
const MAX_KEPT: usize = 10_000;

/// What is remembered of a server that failed.
#[derive(Clone, Copy, Debug)]
struct Failing {
    /// How often in a row.
    times: u32,
    /// When it failed last, or when the last question was let through, on the monotonic clock.
    since: Duration,
}

/// What is known of servers, by their address. A server that answers is not remembered.
#[derive(Debug)]
pub struct Breakers {
    clock: Arc<dyn Clock>,
    failing: Mutex<HashMap<String, Failing>>,
}

impl Breakers {
    /// Nothing is known yet.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, failing: Mutex::default() }
    }

    /// Whether the server may be asked. Errors: for how long it is left alone yet.
    pub fn admit(&self, server: &str) -> Result<(), Duration> {
        let now = self.clock.monotonic();
        let mut failing = self.failing.lock();
        let Some(known) = failing.get_mut(server).filter(|known| known.times >= FAILURES) else { return Ok(()) };
        let rested = now.saturating_sub(known.since);
        if rested < REST {
            return Err(REST - rested);
        }
        // This question decides; the next ones wait for another rest.
        known.since = now;
        Ok(())
    }

    /// The server answered.
    pub fn succeeded(&self, server: &str) {
        self.failing.lock().remove(server);
    }

    /// The server failed.
    pub fn failed(&self, server: &str) {
        let now = self.clock.monotonic();
        let mut failing = self.failing.lock();
        if failing.len() >= MAX_KEPT && !failing.contains_key(server) {
            let oldest = failing.iter().min_by_key(|(_, known)| known.since).map(|(server, _)| server.clone());
            oldest.and_then(|oldest| failing.remove(&oldest));
        }
        let known = failing.entry(server.to_owned()).or_insert(Failing { times: 0, since: now });
        *known = Failing { times: known.times.saturating_add(1), since: now };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::{ManualClock, Timestamp};

    fn breakers() -> (Arc<ManualClock>, Breakers) {
        let clock = Arc::new(ManualClock::new(Timestamp::from_secs(1_000)));
        (Arc::clone(&clock), Breakers::new(clock))
    }

    #[test]
    fn after_five_failures_in_a_row_a_server_rests_and_then_one_question_decides() {
        let (clock, breakers) = breakers();
        for _ in 0..5 {
            assert_eq!(breakers.admit("a"), Ok(()));
            breakers.failed("a");
        }
        assert_eq!(breakers.admit("a"), Err(Duration::from_secs(30)));
        assert_eq!(breakers.admit("b"), Ok(()), "another server pays for it");
        clock.advance(Duration::from_millis(29_999));
        assert_eq!(breakers.admit("a"), Err(Duration::from_millis(1)));
        clock.advance(Duration::from_millis(1));
        assert_eq!(breakers.admit("a"), Ok(()));
        assert_eq!(breakers.admit("a"), Err(Duration::from_secs(30)), "a second question came through");
        breakers.failed("a");
        clock.advance(Duration::from_secs(30));
        assert_eq!(breakers.admit("a"), Ok(()));
        breakers.succeeded("a");
        assert_eq!((breakers.admit("a"), breakers.admit("a")), (Ok(()), Ok(())));
    }

    #[test]
    fn a_success_between_failures_starts_the_count_again() {
        let (_, breakers) = breakers();
        for round in 0..20 {
            breakers.failed("a");
            if round % 4 == 3 {
                breakers.succeeded("a");
            }
            assert_eq!(breakers.admit("a"), Ok(()));
        }
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let (clock, breakers) = breakers();
        for number in 0..MAX_KEPT + 10 {
            breakers.failed(&number.to_string());
            clock.advance(Duration::from_millis(1));
        }
        let kept = breakers.failing.lock();
        assert_eq!(kept.len(), MAX_KEPT);
        assert!(!kept.contains_key("0") && kept.contains_key("10"), "not the oldest were forgotten");
    }
}
