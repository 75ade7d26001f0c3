//! How long things took, and when they set out: what the sender of a load notes and the receiver at the other end reads.
//!
//! Latencies count from the moment for which a request was scheduled, never from the one at which a busy sender got
//! round to it: else a server that stalls would look quick, because the load waits for it (coordinated omission).

use std::{collections::HashMap, fmt, time::Duration};

use hdrhistogram::Histogram;
use parking_lot::Mutex;
use tokio::time::Instant;

/// The longest latency that is told apart, in nanoseconds: ten minutes.
const LONGEST: u64 = 600_000_000_000;

/// A distribution of latencies, exact to one part in a thousand.
#[derive(Clone, Debug)]
pub struct Latencies {
    histogram: Histogram<u64>,
}

impl Default for Latencies {
    fn default() -> Self {
        Self { histogram: Histogram::new_with_bounds(1, LONGEST, 3).expect("the bounds are in order") }
    }
}

impl Latencies {
    /// Adds one.
    pub fn record(&mut self, took: Duration) {
        self.histogram.saturating_record(u64::try_from(took.as_nanos()).unwrap_or(LONGEST).max(1));
    }

    /// How many there are.
    pub fn len(&self) -> u64 {
        self.histogram.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.histogram.is_empty()
    }

    /// The latency that this part of all, from 0 to 1, does not exceed, in milliseconds; 0 when there is none.
    pub fn millis(&self, part: f64) -> f64 {
        self.histogram.value_at_quantile(part) as f64 / 1e6
    }

    /// The longest, in milliseconds.
    pub fn longest_millis(&self) -> f64 {
        self.histogram.max() as f64 / 1e6
    }
}

impl fmt::Display for Latencies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [p50, p95, p99] = [0.5, 0.95, 0.99].map(|part| self.millis(part));
        write!(f, "p50 {p50:.2} ms, p95 {p95:.2} ms, p99 {p99:.2} ms, longest {:.2} ms", self.longest_millis())
    }
}

/// When each event set out, by the text that the event carries from end to end.
#[derive(Debug, Default)]
pub struct Departures {
    moments: Mutex<HashMap<String, Instant>>,
}

impl Departures {
    /// Notes that an event sets out at this moment.
    pub fn note(&self, correlation: &str, at: Instant) {
        self.moments.lock().insert(correlation.to_owned(), at);
    }

    /// When it set out.
    pub fn of(&self, correlation: &str) -> Option<Instant> {
        self.moments.lock().get(correlation).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_those_of_what_was_recorded() {
        let mut latencies = Latencies::default();
        (1..=100).for_each(|millis| latencies.record(Duration::from_millis(millis)));

        assert_eq!(latencies.len(), 100);
        assert!((latencies.millis(0.5) - 50.0).abs() < 0.1, "{latencies}");
        assert!((latencies.millis(0.99) - 99.0).abs() < 0.2, "{latencies}");
        assert_eq!(format!("{:.0}", latencies.longest_millis()), "100");
    }
}
