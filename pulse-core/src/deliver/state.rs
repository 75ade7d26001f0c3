//! The states of a delivery, and the one function that changes them.
//!
//! ```text
//! pending ── claim ──> leased ── 2xx ───────────────────────> succeeded
//!    ^                   │ ├──── refused for the last time ──> exhausted
//!    │                   │ └──── the fifth fault of Pulse ───> quarantined
//!    ├── due again <─────┘
//!    └── cancel, expire ─────────────────────────────────────> cancelled, expired
//! ```
//!
//! A claim comes with a token of its own, and only its holder ends it. What a holder brings whose lease was over changes
//! nothing: it is kept as an attempt that came late. What the receiver did counts as an attempt and ends in `exhausted`; what
//! Pulse did wrong never does, and ends in `quarantined`.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::schedule::{MAX_RETRY_AFTER, Schedule, backoff, next_delay};
use crate::id::LeaseToken;

/// After so many faults of Pulse, one after the other, a delivery is put aside.
pub const QUARANTINE_AFTER: u32 = 5;
/// For how long an endpoint is spared that answers 429 or 503 and does not say for how long.
pub const SPARED: Duration = Duration::from_secs(5);

/// What became of a delivery so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum Status {
    /// It waits until it is due.
    Pending,
    /// Somebody is at it.
    Leased,
    /// The receiver took it.
    Succeeded,
    /// The receiver did not take it, however often it was tried.
    Exhausted,
    /// Pulse cannot send it, through a fault of its own.
    Quarantined,
    /// It is no longer wanted: its endpoint was deleted.
    Cancelled,
    /// It became too old.
    Expired,
}

impl Status {
    /// Every status.
    pub const ALL: [Self; 7] = [
        Self::Pending,
        Self::Leased,
        Self::Succeeded,
        Self::Exhausted,
        Self::Quarantined,
        Self::Cancelled,
        Self::Expired,
    ];

    /// The word for it, as it is stored and answered.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Leased => "leased",
            Self::Succeeded => "succeeded",
            Self::Exhausted => "exhausted",
            Self::Quarantined => "quarantined",
            Self::Cancelled => "cancelled",
            Self::Expired => "expired",
        }
    }

    /// Whether nothing can come after it.
    pub fn is_terminal(self) -> bool {
        match self {
            Self::Pending | Self::Leased => false,
            Self::Succeeded | Self::Exhausted | Self::Quarantined | Self::Cancelled | Self::Expired => true,
        }
    }
}

/// Where a delivery stands. It begins with [`DeliveryState::new`], and [`step`] makes every other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeliveryState {
    /// What became of it.
    pub status: Status,
    /// Attempts whose end is known and that count; the attempt that is being made has the next number.
    pub attempts_made: u32,
    /// Faults of Pulse since the last attempt that counts.
    #[serde(default)]
    pub faults: u32,
    /// Attempts that were broken off, or could not be made, since the last one that counts.
    #[serde(default)]
    pub interruptions: u32,
    /// Whose it is: set exactly while it is leased.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease_token: Option<LeaseToken>,
}

impl DeliveryState {
    /// A delivery that has never been tried.
    pub fn new() -> Self {
        Self { status: Status::Pending, attempts_made: 0, faults: 0, interruptions: 0, lease_token: None }
    }

    /// Whether the token is that of the lease under which it stands.
    pub fn is_leased_under(&self, token: LeaseToken) -> bool {
        self.status == Status::Leased && self.lease_token == Some(token)
    }

    fn with(self, status: Status) -> Self {
        Self { status, lease_token: None, ..self }
    }
}

impl Default for DeliveryState {
    fn default() -> Self {
        Self::new()
    }
}

/// What an attempt came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttemptOutcome {
    /// The receiver answered.
    Answered {
        /// The HTTP status.
        status: u16,
        /// For how long it wants to be left alone.
        retry_after: Option<Duration>,
    },
    /// The receiver did not answer: its address is refused or unknown, the connection failed or broke, time ran out.
    NoAnswer {
        /// Whether time ran out.
        timed_out: bool,
    },
    /// Pulse failed: a row that does not decode, a panic that was caught.
    Fault {
        /// Whether something of the request may have gone out.
        sent: bool,
    },
    /// This machine could not: it had no descriptors, no ports, no certificates that it trusts, or its store did not answer.
    /// That says nothing about the delivery.
    Hindered {
        /// Whether something of the request may have gone out.
        sent: bool,
    },
    /// The claim was given back: the endpoint was found paused, or the daemon stops.
    Released {
        /// Whether something of the request may have gone out.
        sent: bool,
    },
}

impl AttemptOutcome {
    /// Whether the receiver took it: any 2xx. A redirection is not followed and is a failure.
    pub fn is_success(&self) -> bool {
        matches!(self, Self::Answered { status: 200..=299, .. })
    }

    /// Whether there is something to record: the receiver may have seen the request, or an attempt counts.
    fn leaves_a_row(&self) -> bool {
        match self {
            Self::Answered { .. } | Self::NoAnswer { .. } => true,
            Self::Fault { sent } | Self::Hindered { sent } | Self::Released { sent } => *sent,
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Answered { retry_after, .. } => *retry_after,
            Self::NoAnswer { .. } | Self::Fault { .. } | Self::Hindered { .. } | Self::Released { .. } => None,
        }
    }

    /// What it means for the endpoint.
    fn effect(&self) -> Effect {
        match self {
            Self::Answered { status: 410, .. } => Effect::Disable,
            Self::Answered { status: 429 | 503, retry_after } => {
                Effect::Spare(retry_after.unwrap_or(SPARED).min(MAX_RETRY_AFTER))
            }
            Self::Answered { .. }
            | Self::NoAnswer { .. }
            | Self::Fault { .. }
            | Self::Hindered { .. }
            | Self::Released { .. } => Effect::None,
        }
    }
}

/// What happens to a delivery. Sending it once more on request is not among these: that is another delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// Somebody takes it, under this token.
    Claim {
        /// The token, which no other claim has.
        token: LeaseToken,
    },
    /// Who took it under this token is done.
    Finish {
        /// The token of the claim.
        token: LeaseToken,
        /// What it came to.
        outcome: AttemptOutcome,
    },
    /// The lease with this token is over, and nobody has finished it.
    LeaseOver {
        /// The token that was found.
        token: LeaseToken,
    },
    /// It is no longer wanted.
    Cancel,
    /// It became too old.
    Expire,
}

/// What comes of an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The delivery stands elsewhere now.
    Moved(Transition),
    /// The token is not that of a lease which stands: the attempt is recorded as `late`, and nothing else changes.
    Late,
    /// It does not concern the delivery where it stands: nothing is written.
    Unmoved,
}

/// What is to be written, all of it in one commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transition {
    /// Where the delivery stands afterwards.
    pub to: DeliveryState,
    /// In how long it is due again: there exactly when it is pending again.
    pub due_in: Option<Duration>,
    /// The row about the attempt.
    pub record: Option<Record>,
    /// What becomes of the endpoint.
    pub effect: Effect,
}

/// A row about an attempt, with its number from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Record {
    /// An attempt that counts.
    Attempt {
        /// Which.
        number: u32,
    },
    /// One that was broken off; the receiver may have seen it, and the next one has the same number.
    Interrupted {
        /// Which.
        number: u32,
    },
}

/// What an attempt means for its endpoint, beside success and failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Nothing.
    None,
    /// It wants to be left alone for so long.
    Spare(Duration),
    /// It is gone (410): nothing more is sent to it until somebody enables it again.
    Disable,
}

/// What comes of `input` where a delivery stands at `state`. `random`, uniform in `[0, 1)`, spreads the waits.
pub fn step(state: &DeliveryState, input: Input, schedule: &Schedule, random: f64) -> Step {
    match input {
        Input::Claim { token } => from_pending(state, Status::Leased, Some(token)),
        Input::Cancel => from_pending(state, Status::Cancelled, None),
        Input::Expire => from_pending(state, Status::Expired, None),
        Input::Finish { token, outcome } if state.is_leased_under(token) => {
            Step::Moved(finish(state, &outcome, schedule, random))
        }
        Input::Finish { outcome, .. } if outcome.leaves_a_row() => Step::Late,
        Input::LeaseOver { token } if state.is_leased_under(token) => Step::Moved(interrupt(state, true, random)),
        Input::Finish { .. } | Input::LeaseOver { .. } => Step::Unmoved,
    }
}

/// What can happen only to a delivery that waits.
fn from_pending(state: &DeliveryState, status: Status, lease_token: Option<LeaseToken>) -> Step {
    if state.status != Status::Pending {
        return Step::Unmoved;
    }
    let to = DeliveryState { status, lease_token, ..*state };
    Step::Moved(Transition { to, due_in: None, record: None, effect: Effect::None })
}

/// The holder of the lease is done.
fn finish(state: &DeliveryState, outcome: &AttemptOutcome, schedule: &Schedule, random: f64) -> Transition {
    match outcome {
        AttemptOutcome::Answered { .. } | AttemptOutcome::NoAnswer { .. } => count(state, outcome, schedule, random),
        AttemptOutcome::Fault { sent } => fault(state, *sent, random),
        AttemptOutcome::Hindered { sent } => interrupt(state, *sent, random),
        AttemptOutcome::Released { sent: true } => interrupt(state, true, random),
        AttemptOutcome::Released { sent: false } => {
            let to = state.with(Status::Pending);
            Transition { to, due_in: Some(backoff(1, random)), record: None, effect: Effect::None }
        }
    }
}

/// An attempt that counts: the receiver took it, or has to be asked again, or was asked often enough.
fn count(state: &DeliveryState, outcome: &AttemptOutcome, schedule: &Schedule, random: f64) -> Transition {
    let number = state.attempts_made.saturating_add(1);
    let (status, due_in) = if outcome.is_success() {
        (Status::Succeeded, None)
    } else {
        let wait = next_delay(schedule, number, outcome.retry_after(), random);
        (if wait.is_some() { Status::Pending } else { Status::Exhausted }, wait)
    };
    let to = DeliveryState { status, attempts_made: number, faults: 0, interruptions: 0, lease_token: None };
    Transition { to, due_in, record: Some(Record::Attempt { number }), effect: outcome.effect() }
}

/// A fault of Pulse: not an attempt, and after some of them not to be tried again.
fn fault(state: &DeliveryState, sent: bool, random: f64) -> Transition {
    let faults = state.faults.saturating_add(1);
    let again = faults < QUARANTINE_AFTER;
    let status = if again { Status::Pending } else { Status::Quarantined };
    Transition {
        to: DeliveryState { faults, ..state.with(status) },
        due_in: again.then(|| backoff(faults, random)),
        record: sent.then(|| interrupted(state)),
        effect: Effect::None,
    }
}

/// Nobody knows how the attempt ended, or it could not be made: it is made again, later each time, and never given up for
/// that.
fn interrupt(state: &DeliveryState, sent: bool, random: f64) -> Transition {
    let interruptions = state.interruptions.saturating_add(1);
    Transition {
        to: DeliveryState { interruptions, ..state.with(Status::Pending) },
        due_in: Some(backoff(interruptions, random)),
        record: sent.then(|| interrupted(state)),
        effect: Effect::None,
    }
}

fn interrupted(state: &DeliveryState) -> Record {
    Record::Interrupted { number: state.attempts_made.saturating_add(1) }
}

#[cfg(test)]
mod tests;
