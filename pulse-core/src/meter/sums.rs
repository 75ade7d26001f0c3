//! What the spans of a session add up to.

use super::fact::word;
use crate::{
    model::{
        interval::{Interval, MediaView, ParticipantView, Subject},
        session::SessionSummary,
        usage::{UsageType, UsageView, seconds},
    },
    time::Timestamp,
};

fn millis(interval: &Interval, now: Timestamp) -> u64 {
    u64::try_from(interval.length(now).as_millis()).unwrap_or(u64::MAX)
}

/// People and agents: who is counted as a participant of a session.
fn counts(interval: &Interval) -> bool {
    matches!(interval.usage_type(), Some(UsageType::ParticipantSeconds | UsageType::AgentSeconds))
        && interval.evidence.active
}

/// What spans come to, added one after the other.
#[derive(Clone, Debug, Default)]
pub struct Sums {
    edges: Vec<(Timestamp, i64)>,
    participants: u64,
    participant_millis: u64,
}

impl Sums {
    /// Adds a span, as of `now`.
    pub fn add(&mut self, interval: &Interval, now: Timestamp) {
        if !counts(interval) {
            return;
        }
        self.participants += 1;
        if interval.usage_type() == Some(UsageType::ParticipantSeconds) {
            self.participant_millis += millis(interval, now);
        }
        if let Some(start) = interval.evidence.start() {
            self.edges.push((start, 1));
            self.edges.push((interval.evidence.end().unwrap_or(Timestamp::MAX), -1));
        }
    }

    /// How many were there, how many at once at most, and for how long people were.
    pub fn summary(mut self) -> SessionSummary {
        // Who leaves in the millisecond in which another joins was not there together with the other.
        self.edges.sort_unstable();
        let (mut there, mut peak) = (0_i64, 0_i64);
        for (_, step) in self.edges {
            there += step;
            peak = peak.max(there);
        }
        SessionSummary {
            participants: self.participants,
            peak: peak.unsigned_abs(),
            participant_millis: self.participant_millis,
        }
    }
}

/// What these spans come to until `now`.
pub fn summary(intervals: &[Interval], now: Timestamp) -> SessionSummary {
    let mut sums = Sums::default();
    intervals.iter().for_each(|interval| sums.add(interval, now));
    sums.summary()
}

/// The participants of a session as it shows them, by the time at which they joined.
pub fn timeline(intervals: &[Interval], now: Timestamp) -> Vec<ParticipantView> {
    let mut shown: Vec<ParticipantView> = intervals
        .iter()
        .filter_map(|interval| match &interval.subject {
            Subject::Participant { identity, name, participant_kind, disconnect_reason, .. } => Some(ParticipantView {
                sid: interval.key.clone(),
                identity: identity.clone(),
                name: name.clone(),
                kind: *participant_kind,
                joined_at: interval.evidence.start(),
                left_at: interval.evidence.end(),
                seconds: seconds(millis(interval, now)),
                billable: interval.is_billable(),
                disconnect_reason: *disconnect_reason,
                synthetic_start: interval.synthetic_start.is_some() && interval.evidence.began_at.is_none(),
                synthetic_end: interval.evidence.end_is_inferred(),
            }),
            Subject::Egress { .. } | Subject::Ingress { .. } => None,
        })
        .collect();
    shown.sort_by(|a, b| (a.joined_at, &a.sid).cmp(&(b.joined_at, &b.sid)));
    shown
}

/// The egresses (`"egress"`) or ingresses (`"ingress"`) of a session as it shows them, by the time at which they began.
pub fn media(intervals: &[Interval], kind: &str, now: Timestamp) -> Vec<MediaView> {
    let of_kind = intervals.iter().filter(|interval| interval.subject.kind() == kind);
    let mut shown: Vec<MediaView> = of_kind
        .filter_map(|interval| {
            let (livekit_id, what, status) = match &interval.subject {
                Subject::Participant { .. } => return None,
                Subject::Egress { egress_kind, status, .. } => (&interval.key, word(egress_kind), word(status)),
                Subject::Ingress { ingress_id, identity, status } => (ingress_id, identity.clone(), word(status)),
            };
            Some(MediaView {
                livekit_id: livekit_id.clone(),
                kind: what,
                status,
                started_at: interval.evidence.start(),
                ended_at: interval.evidence.end(),
                seconds: seconds(millis(interval, now)),
                billable: interval.is_billable(),
            })
        })
        .collect();
    shown.sort_by(|a, b| (a.started_at, &a.livekit_id).cmp(&(b.started_at, &b.livekit_id)));
    shown
}

/// What an open span has come to until `now`, as a row of usage without an id; none for what is not metered.
pub fn live(interval: &Interval, now: Timestamp) -> Option<UsageView> {
    let event_type = interval.usage_type().filter(|_| interval.is_billable())?;
    let started_at = interval.evidence.start()?;
    Some(UsageView {
        id: None,
        project_id: interval.project_id,
        event_type,
        value: seconds(millis(interval, now)),
        timestamp: now,
        metadata: interval.usage_metadata(started_at, None),
    })
}
