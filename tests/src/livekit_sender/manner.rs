//! When LiveKit tries a webhook again, and when it gives up: rules without a clock.

use std::time::Duration;

/// LiveKit's habits. The numbers of [`Manner::livekit`] are those of its defaults; a test may want others, or time that
/// goes faster.
#[derive(Clone, Debug, PartialEq)]
pub struct Manner {
    /// How often a webhook is sent at most.
    pub tries: u32,
    /// The wait after the first try that failed; it doubles with each.
    pub first_wait: Duration,
    /// The longest wait that doubling comes to.
    pub longest_wait: Duration,
    /// A webhook whose turn comes later than this after it was queued is dropped. (Its tries may last longer.)
    pub max_age: Duration,
    /// Webhooks of one lane that wait at most; more are dropped at once.
    pub max_depth: usize,
    /// How long one try may take. LiveKit itself would wait for ever.
    pub answer_within: Duration,
    /// What every wait and `max_age` are multiplied with, so that a test can have LiveKit's minutes in a second.
    pub scale: f64,
}

/// How one try went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tried {
    /// An answer came.
    Answered {
        /// Its status.
        status: u16,
        /// Its header `Retry-After`.
        retry_after: Option<String>,
    },
    /// None came, and why.
    Failed(String),
}

/// What becomes of a webhook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// A 2xx: it is the other side's now.
    Acknowledged,
    /// Another answer that LiveKit takes for delivered, such as any 4xx but 429: it is lost.
    Refused(u16),
    /// The last try failed: it is lost.
    GivenUp,
    /// Its turn came too late: it is lost.
    TooOld,
    /// Too many were before it: it is lost.
    QueueFull,
}

/// What happens after a try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Nothing more.
    Done(Fate),
    /// Another try, so much later; already scaled.
    Again(Duration),
}

impl Manner {
    /// As LiveKit is delivered.
    pub fn livekit() -> Self {
        Self {
            tries: 5,
            first_wait: Duration::from_secs(1),
            longest_wait: Duration::from_secs(30),
            max_age: Duration::from_secs(30),
            max_depth: 200,
            answer_within: Duration::from_secs(30),
            scale: 1.0,
        }
    }

    /// As Pulse asks operators to set LiveKit's queues: ten minutes old, five thousand deep.
    pub fn as_deployed() -> Self {
        Self { max_age: Duration::from_secs(600), max_depth: 5_000, ..Self::livekit() }
    }

    /// With time that goes `1 / scale` times as fast.
    #[must_use]
    pub fn scaled(mut self, scale: f64) -> Self {
        self.scale = scale;
        self
    }

    /// Whether a webhook that was queued so long ago is still sent.
    pub fn is_fresh(&self, queued_for: Duration) -> bool {
        queued_for.as_secs_f64() <= self.max_age.as_secs_f64() * self.scale
    }

    /// What follows the `made`-th try, counted from 1.
    pub fn next(&self, made: u32, tried: &Tried) -> Next {
        let fate = match tried {
            Tried::Answered { status: 200..=299, .. } => Fate::Acknowledged,
            Tried::Answered { status, .. } if !is_retried(*status) => Fate::Refused(*status),
            _ if made >= self.tries => Fate::GivenUp,
            _ => return Next::Again(self.wait(made, tried).mul_f64(self.scale)),
        };
        Next::Done(fate)
    }

    fn wait(&self, made: u32, tried: &Tried) -> Duration {
        if let Tried::Answered { status: 429 | 503, retry_after: Some(text) } = tried
            // The other form, a date, is none that Pulse answers with.
            && let Ok(seconds) = text.parse()
        {
            return Duration::from_secs(seconds);
        }
        self.first_wait.saturating_mul(2_u32.saturating_pow(made.saturating_sub(1))).min(self.longest_wait)
    }
}

/// LiveKit's client does not try again what the server does not know how to do (501).
fn is_retried(status: u16) -> bool {
    status == 429 || (status >= 500 && status != 501)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(status: u16, retry_after: Option<&str>) -> Tried {
        Tried::Answered { status, retry_after: retry_after.map(str::to_owned) }
    }

    /// The seconds at which tries are made when all of them go like this one, and the end.
    fn tries(manner: &Manner, tried: &Tried) -> (Vec<f64>, Fate) {
        let (mut at, mut times) = (0.0, Vec::new());
        loop {
            times.push(at);
            match manner.next(u32::try_from(times.len()).expect("few"), tried) {
                Next::Done(fate) => return (times, fate),
                Next::Again(wait) => at += wait.as_secs_f64(),
            }
        }
    }

    #[test]
    fn an_overloaded_server_says_when_to_come_again() {
        let livekit = Manner::livekit();
        assert_eq!(tries(&livekit, &answered(503, Some("5"))), (vec![0.0, 5.0, 10.0, 15.0, 20.0], Fate::GivenUp));
        assert_eq!(tries(&livekit, &answered(503, Some("1"))), (vec![0.0, 1.0, 2.0, 3.0, 4.0], Fate::GivenUp));
        assert_eq!(tries(&livekit, &answered(429, Some("5"))).0, [0.0, 5.0, 10.0, 15.0, 20.0]);
    }

    #[test]
    fn without_that_waits_double() {
        let livekit = Manner::livekit();
        let doubling = (vec![0.0, 1.0, 3.0, 7.0, 15.0], Fate::GivenUp);
        for tried in [
            Tried::Failed("refused".to_owned()),
            answered(500, None),
            answered(500, Some("5")),
            answered(503, None),
            answered(503, Some("soon")),
        ] {
            assert_eq!(tries(&livekit, &tried), doubling, "{tried:?}");
        }
        let patient = Manner { tries: 8, ..Manner::livekit() };
        assert_eq!(tries(&patient, &answered(500, None)).0, [0.0, 1.0, 3.0, 7.0, 15.0, 31.0, 61.0, 91.0]);
    }

    #[test]
    fn a_refusal_is_a_loss_at_the_first_try() {
        let livekit = Manner::livekit();
        for status in [301, 400, 401, 404, 413, 501] {
            assert_eq!(tries(&livekit, &answered(status, Some("5"))), (vec![0.0], Fate::Refused(status)));
        }
        for status in [200, 202, 204] {
            assert_eq!(tries(&livekit, &answered(status, None)), (vec![0.0], Fate::Acknowledged));
        }
    }

    #[test]
    fn time_can_go_faster() {
        let fast = Manner::livekit().scaled(0.01);
        assert_eq!(fast.next(1, &answered(503, Some("5"))), Next::Again(Duration::from_millis(50)));
        assert_eq!(fast.next(2, &answered(500, None)), Next::Again(Duration::from_millis(20)));
        assert!(fast.is_fresh(Duration::from_millis(299)));
        assert!(!fast.is_fresh(Duration::from_millis(301)));
        let endless = Manner { max_age: Duration::MAX, ..Manner::as_deployed() };
        assert!(endless.is_fresh(Duration::from_secs(1_000_000)));
    }
}
