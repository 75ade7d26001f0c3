//! A load that is told and followed to the customers' servers.

use std::{collections::HashMap, sync::Arc, time::Duration};

use pulse_tests::{
    latency::{Departures, Latencies},
    livekit_sender::{LiveKitSender, Load, Outcome, Pace, Post, Report, Webhook, correlation_of_delivery},
    receiver::{Action, Behaviour, Receiver, ReceiverOptions},
};
use tokio::time::Instant;

use super::scene::Scene;

/// How long the last answers, and the last deliveries, may take after the load.
const LAST: Duration = Duration::from_secs(60);
/// The pause between two looks at counters, and between two at everything that has arrived.
const LOOK: Duration = Duration::from_millis(20);
const LOOK_AT_ALL: Duration = Duration::from_millis(500);

/// A receiver of a load, and when its events set out.
pub(super) struct Audience {
    pub(super) receiver: Receiver,
    departures: Arc<Departures>,
}

impl Audience {
    /// One that behaves so.
    pub(super) fn new(behaviour: impl Into<Behaviour>) -> Self {
        let departures = Arc::new(Departures::default());
        let options = ReceiverOptions::new().counting();
        let options = options.correlate(&departures, |received| correlation_of_delivery(&received.body));
        Self { receiver: Receiver::start_with(options, behaviour), departures }
    }

    /// One with which all is well.
    pub(super) fn well() -> Self {
        Self::new(Action::ok())
    }

    /// Deliveries that have arrived, each counted once.
    pub(super) fn arrived(&self) -> u64 {
        let counts = self.receiver.counts();
        counts.succeeded - counts.duplicates
    }

    /// Waits until so many have arrived in all; whether they have within the bound.
    pub(super) async fn until_arrived(&self, deliveries: u64, bound: Duration) -> bool {
        let arrived = async {
            while self.arrived() < deliveries {
                tokio::time::sleep(LOOK).await;
            }
        };
        tokio::time::timeout(bound, arrived).await.is_ok()
    }
}

/// What came of a load.
pub(super) struct Told {
    /// What the sender was told, joined with what arrived.
    pub(super) report: Report,
    /// From the moment for which an event was due to its first arrival.
    pub(super) end_to_end: Latencies,
    /// Events that were not acknowledged, or not delivered where that was awaited.
    pub(super) lost: u64,
    /// From the first moment to the last answer, and to the last arrival where that was awaited.
    pub(super) took: Duration,
    /// Who used the processors.
    pub(super) cores: String,
}

/// Sends events at this pace, waits until each has met its fate and what was acknowledged has arrived (or a minute is
/// over), and says how it went. `delivered` says whether deliveries are awaited.
pub(super) async fn tell<P: Post>(
    scene: &Scene,
    sender: LiveKitSender<P>,
    audience: &Audience,
    pace: Pace,
    events: impl Iterator<Item = Webhook>,
    delivered: bool,
) -> Told {
    let arrived = audience.arrived();
    let cores = scene.cores();
    let load = Load { sender, pace, departures: Some(Arc::clone(&audience.departures)) };
    let began = load.run(events).await;
    let sent = pace.events();
    let outcomes = settled(&load.sender, sent).await;
    let cores = cores.note();
    let acknowledged = Report::join(&outcomes, &HashMap::new(), began).acknowledged;
    if delivered {
        audience.until_arrived(arrived + acknowledged, LAST).await;
    }
    let took = began.elapsed();
    let joined = || Report::join(&outcomes, &audience.receiver.deliveries(None), began);
    let (mut report, end) = (joined(), Instant::now() + LAST);
    // The number alone does not tell that all have arrived: what the reconciler found out arrives beside them.
    while delivered && !report.lost.is_empty() && Instant::now() < end {
        tokio::time::sleep(LOOK_AT_ALL).await;
        report = joined();
    }
    let lost = if delivered { sent - report.delivered } else { sent - report.acknowledged };
    Told { report, end_to_end: audience.receiver.take_latencies(), lost, took, cores }
}

/// The outcomes of all webhooks, or after a while of those that have met their fate.
async fn settled<P: Post>(sender: &LiveKitSender<P>, sent: u64) -> Vec<Outcome> {
    let bound = LAST + Duration::from_secs(sent / 1_000);
    match tokio::time::timeout(bound, sender.settled(bound * 2)).await {
        Ok(outcomes) => outcomes,
        Err(_) => sender.outcomes(),
    }
}

/// The first arrival at the receiver since a moment.
pub(super) fn first_arrival(receiver: &Receiver, since: Instant) -> Option<Instant> {
    receiver.tallies().into_iter().map(|(_, _, tally)| tally.last).filter(|at| *at >= since).min()
}
