//! A breaker for one endpoint: a receiver that hangs or fails most of the time is left alone for a while, so that it holds
//! no permit which others could use, and then asked with one attempt.
//!
//! It opens after [`TIMEOUTS_IN_A_ROW`], or when [`FAILING`] of the last [`WATCHED`] outcomes within [`WINDOW`] were
//! failures. While it is open nothing is claimed: no attempt is counted and no delivery is rewritten.

use std::{collections::VecDeque, time::Duration};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::state::AttemptOutcome;

/// So many attempts one after the other that ran out of time open it.
pub const TIMEOUTS_IN_A_ROW: u32 = 5;
/// So many outcomes are looked at; with fewer there is no share to speak of.
pub const WATCHED: usize = 10;
/// So many failures among them open it: 70 %.
pub const FAILING: usize = 7;
/// Older outcomes are forgotten.
pub const WINDOW: Duration = Duration::from_secs(300);
/// For how long it is open, and for how long a probe may take before another is let through.
pub const OPEN: Duration = Duration::from_secs(30);

/// What the breaker is told about an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Observed {
    /// The receiver took it.
    Success,
    /// It answered with something else, or the connection failed.
    Failure,
    /// It ran out of time.
    Timeout,
}

impl Observed {
    /// What an outcome tells about the receiver; nothing where Pulse itself failed or gave the claim back.
    pub fn of(outcome: &AttemptOutcome) -> Option<Self> {
        match outcome {
            AttemptOutcome::Answered { .. } if outcome.is_success() => Some(Self::Success),
            AttemptOutcome::Answered { .. } | AttemptOutcome::NoAnswer { timed_out: false } => Some(Self::Failure),
            AttemptOutcome::NoAnswer { timed_out: true } => Some(Self::Timeout),
            AttemptOutcome::Fault { .. } | AttemptOutcome::Hindered { .. } | AttemptOutcome::Released { .. } => None,
        }
    }
}

/// Whether an attempt may be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// Yes.
    Go,
    /// Yes, this one, and no other until its outcome is told.
    Probe,
    /// Not before this moment (monotonic).
    NotBefore(Duration),
}

/// How the breaker stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum BreakerState {
    /// Attempts are made.
    #[default]
    Closed,
    /// The endpoint is left alone.
    Open,
    /// One attempt is under way to see how it is.
    HalfOpen,
}

/// The breaker of one endpoint. All times are those of the monotonic clock.
#[derive(Clone, Debug, Default)]
pub struct Breaker {
    /// From when on a probe may be made; `None` while it is closed.
    probe_from: Option<Duration>,
    /// Whether a probe is under way.
    probing: bool,
    timeouts_in_a_row: u32,
    /// The last outcomes: when, and whether they were failures.
    watched: VecDeque<(Duration, bool)>,
}

impl Breaker {
    /// Whether an attempt may be made `now`. [`Admission::Probe`] is given to one caller, who must make the attempt; if its
    /// outcome is not told in time, another one gets it.
    pub fn admit(&mut self, now: Duration) -> Admission {
        match self.probe_from {
            None => Admission::Go,
            Some(from) if now < from => Admission::NotBefore(from),
            Some(_) => {
                self.probing = true;
                self.probe_from = Some(now.saturating_add(OPEN));
                Admission::Probe
            }
        }
    }

    /// The probe that was let through was not made: nothing was there to send. The next one may be made at once.
    pub fn probe_was_not_made(&mut self, now: Duration) {
        if self.probing {
            self.probing = false;
            self.probe_from = Some(now);
        }
    }

    /// Takes note of an attempt that ended `now`. Those that were under way when it opened change nothing.
    pub fn observe(&mut self, observed: Observed, now: Duration) {
        match (self.state(), observed) {
            (BreakerState::Open, _) => {}
            (BreakerState::HalfOpen, Observed::Success) => *self = Self::default(),
            (BreakerState::HalfOpen, Observed::Failure | Observed::Timeout) => self.open(now),
            (BreakerState::Closed, _) => self.watch(observed, now),
        }
    }

    /// How it stands.
    pub fn state(&self) -> BreakerState {
        match (self.probe_from, self.probing) {
            (None, _) => BreakerState::Closed,
            (Some(_), false) => BreakerState::Open,
            (Some(_), true) => BreakerState::HalfOpen,
        }
    }

    fn watch(&mut self, observed: Observed, now: Duration) {
        self.timeouts_in_a_row = match observed {
            Observed::Timeout => self.timeouts_in_a_row.saturating_add(1),
            Observed::Success | Observed::Failure => 0,
        };
        if self.watched.len() == WATCHED {
            self.watched.pop_front();
        }
        self.watched.push_back((now, observed != Observed::Success));
        let forgotten = now.saturating_sub(WINDOW);
        self.watched.retain(|(at, _)| *at >= forgotten);
        let failures = self.watched.iter().filter(|(_, failed)| *failed).count();
        let failing = self.watched.len() == WATCHED && failures >= FAILING;
        if failing || self.timeouts_in_a_row >= TIMEOUTS_IN_A_ROW {
            self.open(now);
        }
    }

    fn open(&mut self, now: Duration) {
        *self = Self { probe_from: Some(now.saturating_add(OPEN)), ..Self::default() };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// A breaker that was told these outcomes, one a second, and the second of the last one.
    fn told(outcomes: &[Observed]) -> (Breaker, u64) {
        let mut breaker = Breaker::default();
        let mut second = 1_000;
        for observed in outcomes {
            second += 1;
            breaker.observe(*observed, at(second));
        }
        (breaker, second)
    }

    use Observed::{Failure, Success, Timeout};

    #[test]
    fn five_timeouts_in_a_row_open_it_and_four_do_not() {
        assert_eq!(told(&[Timeout; 4]).0.state(), BreakerState::Closed);
        let broken = [Timeout, Timeout, Timeout, Timeout, Failure, Timeout];
        assert_eq!(told(&broken).0.state(), BreakerState::Closed, "a refusal came quickly and ends the row");
        assert_eq!(told(&[Timeout; 5]).0.state(), BreakerState::Open);
    }

    #[test]
    fn seven_failures_of_ten_open_it_and_six_do_not() {
        let mix = |failures: usize| [vec![Success; 10 - failures], vec![Failure; failures]].concat();
        assert_eq!(told(&mix(6)).0.state(), BreakerState::Closed);
        assert_eq!(told(&mix(7)).0.state(), BreakerState::Open);
        assert_eq!(told(&[Failure; 9]).0.state(), BreakerState::Closed, "nine are too few to judge");
        assert_eq!(told(&[Failure; 10]).0.state(), BreakerState::Open);
        let old = [vec![Failure; 6], vec![Success; 10], vec![Failure; 6]].concat();
        assert_eq!(told(&old).0.state(), BreakerState::Closed, "only the last ten count");
    }

    #[test]
    fn failures_older_than_five_minutes_are_forgotten() {
        let (mut breaker, last) = told(&[Failure; 9]);
        breaker.observe(Failure, at(last + 300));
        assert_eq!(breaker.state(), BreakerState::Closed, "eight of the nine are older than five minutes");
        let (mut breaker, last) = told(&[Failure; 9]);
        breaker.observe(Failure, at(last + 292));
        assert_eq!(breaker.state(), BreakerState::Open, "all ten are within five minutes");
    }

    #[test]
    fn open_for_half_a_minute_then_one_probe_decides() {
        let (mut breaker, opened) = told(&[Timeout; 5]);
        assert_eq!(breaker.admit(at(opened)), Admission::NotBefore(at(opened + 30)));
        assert_eq!(breaker.admit(at(opened + 29)), Admission::NotBefore(at(opened + 30)));
        assert_eq!(breaker.admit(at(opened + 30)), Admission::Probe);
        assert_eq!(breaker.state(), BreakerState::HalfOpen);
        assert_eq!(
            breaker.admit(at(opened + 31)),
            Admission::NotBefore(at(opened + 60)),
            "a second probe was let through"
        );

        let mut healed = breaker.clone();
        healed.observe(Success, at(opened + 32));
        assert_eq!((healed.state(), healed.admit(at(opened + 32))), (BreakerState::Closed, Admission::Go));
        healed.observe(Timeout, at(opened + 33));
        assert_eq!(healed.state(), BreakerState::Closed, "what was before it opened still counts");

        breaker.observe(Failure, at(opened + 40));
        assert_eq!(breaker.admit(at(opened + 69)), Admission::NotBefore(at(opened + 70)));
        assert_eq!(breaker.admit(at(opened + 70)), Admission::Probe);
    }

    #[test]
    fn a_probe_that_nobody_tells_about_does_not_keep_it_open() {
        let (mut breaker, opened) = told(&[Timeout; 5]);
        assert_eq!(breaker.admit(at(opened + 30)), Admission::Probe);
        assert_eq!(breaker.admit(at(opened + 60)), Admission::Probe);
    }

    #[test]
    fn attempts_that_were_under_way_when_it_opened_change_nothing() {
        let (mut breaker, opened) = told(&[Timeout; 5]);
        for observed in [Timeout, Failure, Success] {
            breaker.observe(observed, at(opened + 15));
            assert_eq!(breaker.admit(at(opened + 16)), Admission::NotBefore(at(opened + 30)), "after {observed:?}");
        }
    }

    #[test]
    fn only_what_the_receiver_did_is_held_against_it() {
        let answered = |status| AttemptOutcome::Answered { status, retry_after: None };
        for (outcome, expected) in [
            (answered(200), Some(Success)),
            (answered(302), Some(Failure)),
            (answered(429), Some(Failure)),
            (AttemptOutcome::NoAnswer { timed_out: false }, Some(Failure)),
            (AttemptOutcome::NoAnswer { timed_out: true }, Some(Timeout)),
            (AttemptOutcome::Fault { sent: true }, None),
            (AttemptOutcome::Hindered { sent: true }, None),
            (AttemptOutcome::Released { sent: true }, None),
        ] {
            assert_eq!(Observed::of(&outcome), expected, "{outcome:?}");
        }
    }
}
