//! A thousand rooms whose events set out at a fixed rate: what is lost, how long it takes to the customer's server, and how
//! long LiveKit waits for its answer.

use std::time::Duration;

use pulse_tests::livekit_sender::Pace;

use super::{
    Scale,
    audience::{Audience, Told, tell},
    ground::Ground,
    grouped,
    scene::{Customer, Scene, patient, rooms, story},
};
use crate::parts::Row;

/// The load, and when it holds, the one that is aimed at; then a smaller one over MongoDB.
pub(crate) async fn load(scale: &Scale) -> Vec<Row> {
    let crowd = Crowd::over(Ground::File, scale).await;
    let mut rows = crowd.rows(1, scale.sqlite.load).await;
    let holds = rows.iter().all(Row::holds);
    rows.push(if holds { crowd.aimed_at(2, scale.aimed_load).await } else { not_tried(scale.aimed_load) });
    drop(crowd);
    let crowd = Crowd::over(Ground::mongodb().await, scale).await;
    let over_mongodb = crowd.rows(3, scale.mongodb.load).await.into_iter();
    // Nothing may be lost over any store; how long it takes is not held against what SQLite has to keep.
    rows.extend(over_mongodb.enumerate().map(|(place, row)| if place == 0 { row } else { row.without_bounds() }));
    rows
}

/// The customers of a daemon.
struct Crowd<'a> {
    scene: Scene,
    audience: Audience,
    customers: Vec<Customer>,
    said: &'static str,
    scale: &'a Scale,
}

/// What a row says of the aimed load.
fn aim((rate, lasting): (u32, Duration)) -> String {
    format!("events of the same rooms, {}/s for {} s: lost", grouped(rate as usize), lasting.as_secs())
}

fn not_tried(load: (u32, Duration)) -> Row {
    Row::told(aim(load), "", f64::NAN, "not tried: the smaller load did not hold".to_owned())
}

impl<'a> Crowd<'a> {
    async fn over(ground: Ground, scale: &'a Scale) -> Self {
        let said = ground.said();
        let (scene, audience) = (Scene::over(ground).await, Audience::well());
        let customers = scene.crowd(&audience.receiver, "crowd", scale.projects).await;
        Self { scene, audience, customers, said, scale }
    }

    /// New lives of the crowd's rooms, told at this rate: events in a second, and how long.
    async fn at_rate(&self, seed: u64, (rate, lasting): (u32, Duration)) -> Told {
        let story = story(seed, rooms(&self.customers, self.scale.rooms), self.scale.participants, rate);
        let pace = Pace::PerSecond(rate.into(), lasting);
        let sender = self.scene.sender(self.scale.senders, patient());
        tell(&self.scene, sender, &self.audience, pace, self.scene.happening(story), true).await
    }

    /// What is lost, and how long it takes.
    async fn rows(&self, seed: u64, load: (u32, Duration)) -> Vec<Row> {
        let Told { report, end_to_end, lost, cores, .. } = self.at_rate(seed, load).await;
        let what = format!(
            "events of {} rooms, {}/s for {} s{}",
            grouped(self.scale.projects * self.scale.rooms),
            grouped(load.0 as usize),
            load.1.as_secs(),
            self.said
        );
        let acknowledgement = &report.acknowledgement;
        let rounds = self.scene.metric("pulse_reconciler_rounds_total").await;
        let corrections = self.scene.metric("pulse_reconciler_corrections_total").await;
        vec![
            Row::less(
                format!("{what}: lost"),
                "",
                lost as f64,
                (0.0, 0.0),
                format!(
                    "{} sent, {} acknowledged, {} retried, {} delivered, {} twice or more; reconciler: {rounds} \
                     rounds, {corrections} corrections; {cores}",
                    report.sent, report.acknowledged, report.retried, report.delivered, report.duplicated
                ),
            ),
            Row::less(
                format!("{what}: to the customer's server, p95"),
                "ms",
                end_to_end.millis(0.95),
                (50.0, 25.0),
                format!("p50 {:.2} ms", end_to_end.millis(0.5)),
            ),
            Row::less(
                format!("{what}: to the customer's server, p99"),
                "ms",
                end_to_end.millis(0.99),
                (100.0, 50.0),
                format!("p99.9 {:.2} ms, longest {:.2} ms", end_to_end.millis(0.999), end_to_end.longest_millis()),
            ),
            Row::less(
                format!("{what}: answer to LiveKit, p99"),
                "ms",
                acknowledgement.millis(0.99),
                (50.0, 20.0),
                format!(
                    "p50 {:.2} ms, longest {:.2} ms",
                    acknowledgement.millis(0.5),
                    acknowledgement.longest_millis()
                ),
            ),
        ]
    }

    /// What is lost of the load that is aimed at.
    async fn aimed_at(&self, seed: u64, load: (u32, Duration)) -> Row {
        let Told { report, end_to_end, lost, cores, .. } = self.at_rate(seed, load).await;
        let note = format!(
            "{} acknowledged, {} delivered, {} retried; to the customer's server {end_to_end}; answer to LiveKit {}; \
             {cores}",
            report.acknowledged, report.delivered, report.retried, report.acknowledgement
        );
        Row::less(aim(load), "", lost as f64, (0.0, 0.0), note).only_aimed_at()
    }
}
