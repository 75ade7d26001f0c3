//! What a load came to: what the sender was told, joined with what arrived.

use std::{collections::HashMap, fmt, time::Duration};

use tokio::time::Instant;

use super::manner::Fate;
use crate::latency::Latencies;

/// What became of one webhook.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Its id.
    pub id: String,
    /// The text by which its delivery is recognized.
    pub correlation: String,
    /// What the sender made of the answers.
    pub fate: Fate,
    /// How often it was sent.
    pub tries: u32,
    /// From the moment for which it was scheduled to the end.
    pub took: Duration,
    /// When the end was.
    pub ended: Instant,
}

/// Counts of a load. Nothing may be lost: each event that was acknowledged arrives.
#[derive(Clone, Debug)]
pub struct Report {
    /// Events that were to be sent.
    pub sent: u64,
    /// Those that were acknowledged with a 2xx: they are Pulse's to deliver.
    pub acknowledged: u64,
    /// Those that were refused, which LiveKit takes for delivered.
    pub refused: u64,
    /// Those that the sender dropped: too many, too old, or too many tries.
    pub dropped: u64,
    /// Those that were sent more than once.
    pub retried: u64,
    /// Acknowledged events that arrived.
    pub delivered: u64,
    /// Arrivals beyond the first of each event, acknowledged or not.
    pub duplicated: u64,
    /// Acknowledged events that did not arrive, by the text that correlates.
    pub lost: Vec<String>,
    /// From the moment for which an event was scheduled to its acknowledgement.
    pub acknowledgement: Latencies,
    /// From the first scheduled moment to the last end.
    pub took: Duration,
}

impl Report {
    /// Joins outcomes with how often each event was delivered: once each is as it should be. The load `began` when its
    /// first event was scheduled.
    pub fn join(outcomes: &[Outcome], deliveries: &HashMap<String, u32>, began: Instant) -> Self {
        let mut acknowledgement = Latencies::default();
        let mut lost = Vec::new();
        let count = |wanted: fn(&Outcome) -> bool| outcomes.iter().filter(|outcome| wanted(outcome)).count() as u64;
        for outcome in outcomes.iter().filter(|outcome| outcome.fate == Fate::Acknowledged) {
            acknowledgement.record(outcome.took);
            if deliveries.get(&outcome.correlation).is_none_or(|times| *times == 0) {
                lost.push(outcome.correlation.clone());
            }
        }
        let acknowledged = acknowledgement.len();
        Self {
            sent: outcomes.len() as u64,
            acknowledged,
            refused: count(|outcome| matches!(outcome.fate, Fate::Refused(_))),
            dropped: count(|outcome| matches!(outcome.fate, Fate::GivenUp | Fate::TooOld | Fate::QueueFull)),
            retried: count(|outcome| outcome.tries > 1),
            delivered: acknowledged - lost.len() as u64,
            duplicated: deliveries.values().map(|times| u64::from(times.saturating_sub(1))).sum(),
            lost,
            acknowledgement,
            took: outcomes.iter().map(|outcome| outcome.ended).max().unwrap_or(began).duration_since(began),
        }
    }

    /// Events that were acknowledged in a second.
    pub fn per_second(&self) -> f64 {
        self.acknowledged as f64 / self.took.as_secs_f64().max(f64::EPSILON)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { sent, acknowledged, refused, dropped, retried, delivered, duplicated, lost, .. } = self;
        write!(
            f,
            "sent {sent}: acknowledged {acknowledged} ({:.0}/s), refused {refused}, dropped {dropped}, retried {retried}; \
             delivered {delivered}, duplicated {duplicated}, lost {}; acknowledgement {}",
            self.per_second(),
            lost.len(),
            self.acknowledgement,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_acknowledged_can_be_lost() {
        let began = Instant::now();
        let outcome = |correlation: &str, fate, tries| Outcome {
            id: format!("EV_{correlation}"),
            correlation: correlation.to_owned(),
            fate,
            tries,
            took: Duration::from_millis(4),
            ended: began + Duration::from_secs(2),
        };
        let outcomes = [
            outcome("arrived", Fate::Acknowledged, 1),
            outcome("twice", Fate::Acknowledged, 2),
            outcome("never", Fate::Acknowledged, 1),
            outcome("seen but never answered", Fate::Acknowledged, 1),
            outcome("refused", Fate::Refused(400), 1),
            outcome("given up, arrived all the same", Fate::GivenUp, 5),
            outcome("old", Fate::TooOld, 0),
            outcome("too many", Fate::QueueFull, 0),
        ];
        let deliveries =
            [("arrived", 1), ("twice", 2), ("given up, arrived all the same", 1), ("seen but never answered", 0)];
        let deliveries = deliveries.map(|(correlation, times)| (correlation.to_owned(), times)).into();

        let report = Report::join(&outcomes, &deliveries, began);

        assert_eq!((report.sent, report.acknowledged, report.refused, report.dropped), (8, 4, 1, 3));
        assert_eq!((report.retried, report.delivered, report.duplicated), (2, 2, 1));
        assert_eq!(report.lost, ["never", "seen but never answered"]);
        let text = report.to_string();
        assert!(text.starts_with("sent 8: acknowledged 4 (2/s), refused 1, dropped 3, retried 2;"), "{text}");
        assert!(text.contains("delivered 2, duplicated 1, lost 2; acknowledgement p50 4.00 ms"), "{text}");
    }
}
