//! What a customer feels of another one whose receiver hangs while very much waits for it: from the moment at which the other
//! one's deliveries begin, over their running out of time, and over a whole period of the breaker with its probe.

use std::time::Duration;

use pulse_core::deliver::breaker;
use pulse_tests::{
    latency::Latencies,
    livekit_sender::{Pace, Story},
    receiver::{Action, Receiver, ReceiverOptions},
};
use serde_json::json;

use super::{
    Scale,
    audience::{Audience, tell},
    backlog::{Standing, Target, seed},
    grouped,
    scene::{Customer, Scene, patient, rooms, story},
};
use crate::parts::{Row, median};

/// How many deliveries the endpoint that hangs gets at once: as many as its project may have under way, a quarter of all.
const AT_ONCE: u32 = 64;
/// How long each of them is waited for: as short as can be, so that all that comes of it is measured.
const TIMEOUT: Duration = Duration::from_secs(1);
/// How long the load has gone on when it is looked at.
const LEAD_IN: Duration = Duration::from_secs(1);
/// The daemon's count of attempts that ran out of time.
const TIMEOUTS: &str = "pulse_webhook_attempts_total{result=\"timeout\"}";
/// What is measured, in this order.
const STRETCHES: [&str; 2] = ["while its attempts run out of time", "while its breaker is open, and at the probe"];

/// The rows of the neighbour: for each stretch the ratio of its latencies with and without the other, in turns.
pub(crate) async fn neighbour(scale: &Scale) -> Vec<Row> {
    let hanging = Receiver::start_with(ReceiverOptions::new().counting(), Action::Hang);
    let mut without = Side::new(scale, None).await;
    let mut with = Side::new(scale, Some(&hanging)).await;
    let mut pairs = Vec::new();
    for pair in 0..scale.pairs {
        pairs.push((without.run(scale, pair).await, with.run(scale, pair).await));
    }
    let row = |(stretch, name): (usize, &str)| {
        let p99 = |run: &Run| run.stretches[stretch].millis(0.99);
        let ratios = pairs.iter().map(|(alone, beside)| p99(beside) / p99(alone)).collect();
        let note = |(alone, beside): &(Run, Run)| {
            format!("{:.2} against {:.2} ms, {} timed out", p99(beside), p99(alone), beside.timeouts[stretch])
        };
        let notes: Vec<String> = pairs.iter().map(note).collect();
        Row::less(
            format!(
                "{} deliveries wait for a receiver that hangs, {name}: a neighbour's p99, {}/s, against the same without it",
                grouped(scale.hanging),
                scale.neighbour.0
            ),
            "x",
            median(ratios),
            (2.0, 1.2),
            format!("median of {} pairs: {}", scale.pairs, notes.join("; ")),
        )
    };
    STRETCHES.into_iter().enumerate().map(row).collect()
}

/// What one look at one side came to, for each of the stretches.
struct Run {
    /// The neighbour's latencies.
    stretches: Vec<Latencies>,
    /// How many of the other's attempts ran out of time.
    timeouts: Vec<u64>,
}

/// One of the two stores. Its daemon runs only while it is looked at.
struct Side {
    scene: Scene,
    audience: Audience,
    customer: Vec<Customer>,
    /// The endpoint whose receiver hangs. It is paused but for what is measured.
    hanging: Option<Customer>,
}

impl Side {
    async fn new(scale: &Scale, hanging: Option<&Receiver>) -> Self {
        let scene = Scene::new().await;
        let audience = Audience::well();
        let customer = scene.crowd(&audience.receiver, "neighbour", 1).await;
        let hanging = match hanging {
            None => None,
            Some(hanging) => {
                let project = scene.project("hanging").await;
                let url = format!("{}/hang", hanging.url());
                let patience = json!({ "max_in_flight": AT_ONCE, "timeout_seconds": TIMEOUT.as_secs() });
                let hanging = scene.endpoint(project, &url, patience).await;
                scene.change(hanging, "pause").await;
                Some(hanging)
            }
        };
        scene.stop().await;
        if let Some(hanging) = hanging {
            seed(&scene.store().await, &[Target::of(hanging)], scale.hanging, Standing::Due).await;
        }
        Self { scene, audience, customer, hanging }
    }

    /// The neighbour's latencies. Where somebody hangs, he does from the first moment that is measured.
    async fn run(&mut self, scale: &Scale, pair: usize) -> Run {
        self.scene.start().await;
        let (rate, stretches) = scale.neighbour;
        let mut story = story(pair as u64, rooms(&self.customer, scale.rooms), scale.participants, rate);
        // What a start costs is told elsewhere: the first second is not measured, here nor there.
        self.tell(scale, &mut story, LEAD_IN).await;
        self.hang("resume").await;
        let mut run = Run { stretches: Vec::new(), timeouts: Vec::new() };
        let mut before = 0;
        for lasting in stretches {
            run.stretches.push(self.tell(scale, &mut story, lasting).await);
            let timeouts = self.scene.metric(TIMEOUTS).await as u64;
            run.timeouts.push(timeouts - before);
            before = timeouts;
        }
        if self.hanging.is_some() {
            must_have_hung(&run, stretches);
            self.hang("pause").await;
        }
        // Whoever hangs would keep an orderly end waiting.
        self.scene.daemon().kill().await;
        run
    }

    /// Tells the neighbour's story for so long; how long its events took to arrive.
    async fn tell(&self, scale: &Scale, story: &mut Story, lasting: Duration) -> Latencies {
        let sender = self.scene.sender(scale.senders, patient());
        let pace = Pace::PerSecond(scale.neighbour.0.into(), lasting);
        let told = tell(&self.scene, sender, &self.audience, pace, self.scene.happening(story), true).await;
        assert_eq!(told.lost, 0, "the neighbour lost events: {}", told.report);
        told.end_to_end
    }

    async fn hang(&self, verb: &str) {
        if let Some(hanging) = self.hanging {
            self.scene.change(hanging, verb).await;
        }
    }
}

/// A run in which nothing ran out of time would measure nothing: enough for the breaker, and then each of its probes.
fn must_have_hung(run: &Run, stretches: [Duration; 2]) {
    let [first, then] = stretches;
    assert!(run.timeouts[0] >= breaker::TIMEOUTS_IN_A_ROW.into(), "{} timeouts in {first:?}", run.timeouts[0]);
    let probes = (first + then).as_secs() / (breaker::OPEN + TIMEOUT + LEAD_IN).as_secs();
    assert!(run.timeouts[1] >= probes, "{} timeouts in {then:?}", run.timeouts[1]);
}
