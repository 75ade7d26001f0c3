//! What a customer feels of another one whose receiver hangs while very much waits for it.

use std::time::Duration;

use pulse_tests::{
    latency::Latencies,
    livekit_sender::Pace,
    receiver::{Action, Receiver, ReceiverOptions},
};
use serde_json::json;

use super::{
    Scale,
    backlog::{Target, seed},
    grouped,
    scene::{Audience, Customer, Scene, patient, rooms, story, tell},
};
use crate::parts::{Row, median};

/// How many deliveries the endpoint that hangs gets at once: as many as its project may have under way, a quarter of all.
const AT_ONCE: u32 = 64;
/// How long it may take until the receiver that hangs has them.
const HANGING: Duration = Duration::from_secs(20);
/// How long the load has gone on when it is looked at.
const LEAD_IN: Duration = Duration::from_secs(1);

/// The row of the neighbour: the ratio of its latencies with and without the other, in turns.
pub(crate) async fn neighbour(scale: &Scale) -> Vec<Row> {
    let hanging = Receiver::start_with(ReceiverOptions::new().counting(), Action::Hang);
    let mut without = Side::new(scale, None).await;
    let mut with = Side::new(scale, Some(&hanging)).await;
    let (mut ratios, mut notes) = (Vec::new(), Vec::new());
    for pair in 0..scale.pairs {
        let alone = without.run(scale, pair, None).await;
        let beside = with.run(scale, pair, Some(&hanging)).await;
        ratios.push(beside.millis(0.99) / alone.millis(0.99));
        notes.push(format!("{:.2} against {:.2} ms", beside.millis(0.99), alone.millis(0.99)));
    }
    vec![Row::less(
        format!(
            "{} deliveries wait for a receiver that hangs: a neighbour's p99, {}/s, against the same without it",
            grouped(scale.hanging),
            scale.neighbour.0
        ),
        "x",
        median(ratios),
        (2.0, 1.2),
        format!("median of {} pairs: {}", scale.pairs, notes.join(", ")),
    )]
}

/// One of the two stores. Its daemon runs only while it is looked at.
struct Side {
    scene: Scene,
    audience: Audience,
    customer: Vec<Customer>,
}

impl Side {
    async fn new(scale: &Scale, hanging: Option<&Receiver>) -> Self {
        let scene = Scene::new().await;
        let audience = Audience::well();
        let customer = scene.crowd(&audience.receiver, "neighbour", 1).await;
        let target = match hanging {
            None => None,
            Some(hanging) => {
                let project = scene.project("hanging").await;
                let url = format!("{}/hang", hanging.url());
                Some(Target::of(scene.endpoint(project, &url, json!({ "max_in_flight": AT_ONCE })).await))
            }
        };
        scene.daemon.stop().await;
        if let Some(target) = target {
            seed(&scene.database(), &[target], scale.hanging).await;
        }
        Self { scene, audience, customer }
    }

    /// The neighbour's latencies. Where somebody hangs, he does before the first event: his receiver has as many requests
    /// as it is given at once, and answers none.
    async fn run(&mut self, scale: &Scale, pair: usize, hanging: Option<&Receiver>) -> Latencies {
        let before = hanging.map(|hanging| hanging.counts().requests).unwrap_or_default();
        self.scene.start().await;
        if let Some(hanging) = hanging {
            let enough = before + u64::from(AT_ONCE);
            hanging.wait_until("the receiver hangs", HANGING, move |counts| counts.requests >= enough).await;
        }
        let (rate, lasting) = scale.neighbour;
        let mut story = story(pair as u64, rooms(&self.customer, scale.rooms), scale.participants, rate);
        let mut measured = Latencies::default();
        // What a start costs is told elsewhere: the first second is not measured, here nor there.
        for lasting in [LEAD_IN, lasting] {
            let (sender, pace) = (self.scene.sender(scale.senders, patient()), Pace::PerSecond(rate.into(), lasting));
            let events = self.scene.happening(&mut story);
            let told = tell(&self.scene, sender, &self.audience, pace, events, true).await;
            assert_eq!(told.lost, 0, "the neighbour lost events: {}", told.report);
            measured = told.end_to_end;
        }
        // Whoever hangs would keep an orderly end waiting.
        self.scene.daemon.kill().await;
        measured
    }
}
