//! A load that does not wait for the server: each event has its moment, and is late when the server is.

use std::{sync::Arc, time::Duration};

use tokio::time::{self, Instant};

use super::{lanes::LiveKitSender, post::Post, webhook::Webhook};
use crate::latency::Departures;

/// When the events of a load set out.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pace {
    /// Evenly: so many in a second, for so long.
    PerSecond(f64, Duration),
    /// So many, all at once: how fast they go is then up to the connections.
    AtOnce(u64),
}

impl Pace {
    /// How many events that is.
    pub fn events(self) -> u64 {
        match self {
            // A rate times a length of time is far within the range.
            Self::PerSecond(rate, lasting) => (rate * lasting.as_secs_f64()).round() as u64,
            Self::AtOnce(events) => events,
        }
    }

    /// How long after the beginning the n-th event, counted from 0, sets out.
    pub fn departure(self, n: u64) -> Duration {
        match self {
            Self::PerSecond(rate, _) => Duration::from_secs_f64(n as f64 / rate),
            Self::AtOnce(_) => Duration::ZERO,
        }
    }
}

/// A load.
#[derive(Debug)]
pub struct Load<P> {
    /// Who sends it.
    pub sender: LiveKitSender<P>,
    /// When.
    pub pace: Pace,
    /// Where the moments are noted for receivers that measure from end to end.
    pub departures: Option<Arc<Departures>>,
}

impl<P: Post> Load<P> {
    /// Hands each event to the sender when its moment has come, and says when the first one's was. The sender may not
    /// be done yet: [`LiveKitSender::settled`] waits for it.
    ///
    /// # Panics
    /// When there are too few events.
    pub async fn run(&self, events: impl IntoIterator<Item = Webhook>) -> Instant {
        let mut events = events.into_iter();
        let began = Instant::now();
        for n in 0..self.pace.events() {
            let scheduled = began + self.pace.departure(n);
            // The timer has a grain of a millisecond; whatever is due goes at once.
            if scheduled > Instant::now() {
                time::sleep_until(scheduled).await;
            }
            let webhook = events.next().expect("there are as many events as the load wants");
            if let Some(departures) = &self.departures {
                departures.note(&webhook.correlation, scheduled);
            }
            self.sender.send_scheduled(webhook, scheduled);
        }
        began
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_spread_evenly() {
        let pace = Pace::PerSecond(2_000.0, Duration::from_secs(3));
        assert_eq!(pace.events(), 6_000);
        assert_eq!(pace.departure(0), Duration::ZERO);
        assert_eq!(pace.departure(3_000), Duration::from_millis(1_500));
        assert_eq!((Pace::AtOnce(7).events(), Pace::AtOnce(7).departure(6)), (7, Duration::ZERO));
    }
}
