//! A thousand rooms whose events set out at a fixed rate: what is lost, how long it takes to the customer's server, and how
//! long LiveKit waits for its answer.

use std::time::Duration;

use pulse_tests::livekit_sender::Pace;

use super::{
    Scale, grouped,
    scene::{Audience, Customer, Scene, Told, patient, rooms, story, tell},
};
use crate::parts::Row;

/// The load, and when it holds, the one that is aimed at.
pub(crate) async fn load(scale: &Scale) -> Vec<Row> {
    let scene = Scene::new().await;
    let audience = Audience::well();
    let crowd = scene.crowd(&audience.receiver, "crowd", scale.projects).await;
    let (rate, lasting) = scale.load;
    let told = at_rate(&scene, &audience, &crowd, (1, rate, lasting), scale).await;
    let what = format!(
        "events of {} rooms, {}/s for {} s",
        grouped(scale.projects * scale.rooms),
        grouped(rate as usize),
        lasting.as_secs()
    );
    let Told { report, end_to_end, lost, cores } = &told;
    let acknowledgement = &report.acknowledgement;
    let rounds = scene.metric("pulse_reconciler_rounds_total").await;
    let corrections = scene.metric("pulse_reconciler_corrections_total").await;
    let mut rows = vec![
        Row::less(
            format!("{what}: lost"),
            "",
            *lost as f64,
            (0.0, 0.0),
            format!(
                "{} sent, {} acknowledged, {} retried, {} delivered, {} twice or more; reconciler: {rounds} rounds, \
                 {corrections} corrections; {cores}",
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
            format!("p50 {:.2} ms, longest {:.2} ms", acknowledgement.millis(0.5), acknowledgement.longest_millis()),
        ),
    ];
    let (rate, lasting) = scale.aimed_load;
    let what = format!("events of the same rooms, {}/s for {} s: lost", grouped(rate as usize), lasting.as_secs());
    if rows.iter().all(Row::holds) {
        let Told { report, end_to_end, lost, cores } =
            at_rate(&scene, &audience, &crowd, (2, rate, lasting), scale).await;
        let note = format!(
            "{} acknowledged, {} delivered, {} retried; to the customer's server {end_to_end}; answer to LiveKit {}; \
             {cores}",
            report.acknowledged, report.delivered, report.retried, report.acknowledgement
        );
        rows.push(Row::less(what, "", lost as f64, (0.0, 0.0), note).only_aimed_at());
    } else {
        rows.push(Row::told(what, "", f64::NAN, "not tried: the smaller load did not hold".to_owned()));
    }
    rows
}

/// New lives of the crowd's rooms, told at this rate: by seed, events in a second, and how long.
async fn at_rate(
    scene: &Scene,
    audience: &Audience,
    crowd: &[Customer],
    (seed, rate, lasting): (u64, u32, Duration),
    scale: &Scale,
) -> Told {
    let story = story(seed, rooms(crowd, scale.rooms), scale.participants, rate);
    let pace = Pace::PerSecond(rate.into(), lasting);
    let sender = scene.sender(scale.senders, patient());
    tell(scene, sender, audience, pace, scene.happening(story), true).await
}
