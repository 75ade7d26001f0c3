//! How long the daemon takes to end in order under load, and how soon after a start the first delivery goes out.

use std::time::{Duration, Instant};

use pulse_tests::{
    livekit_sender::{Load, Manner, Pace},
    process::Signal,
    receiver::{Action, Receiver, ReceiverOptions},
};
use serde_json::json;

use super::{
    Scale,
    audience::{Audience, first_arrival},
    backlog::{Standing, Target, seed},
    grouped,
    scene::{Customer, Scene, patient, rooms, story},
};
use crate::parts::{Row, median};

/// The longest that an end is waited for.
const BOUND: Duration = Duration::from_secs(30);
/// How long the first delivery is waited for.
const FIRST: Duration = Duration::from_secs(20);
/// How long the load goes on after the daemon was asked to end, at most.
const BEYOND: Duration = Duration::from_secs(15);

/// Rows of ends and starts.
pub(crate) async fn stop_and_start(scale: &Scale) -> Vec<Row> {
    let mut rows = ends(scale).await;
    rows.push(starts(scale).await);
    rows
}

/// Ends under load, and one with a receiver that hangs.
async fn ends(scale: &Scale) -> Vec<Row> {
    let mut scene = Scene::new().await;
    let audience = Audience::well();
    let crowd = scene.crowd(&audience.receiver, "crowd", scale.projects).await;
    let mut took = Vec::new();
    for round in 0..scale.ends {
        took.push(end(&scene, &crowd, scale, round as u64, None).await);
        scene.start().await;
    }
    let hanging = Receiver::start_with(ReceiverOptions::new().counting(), Action::Hang);
    scene.endpoint(crowd[0].project, &format!("{}/hang", hanging.url()), json!({})).await;
    let held = end(&scene, &crowd, scale, 99, Some(&hanging)).await;
    let all: Vec<String> = took.iter().map(|seconds| format!("{seconds:.2}")).collect();
    let what = format!("SIGTERM to the end, under {}/s", grouped(scale.ending.0 as usize));
    vec![
        Row::less(&what, "s", median(took), (10.0, 2.0), format!("each: {} s", all.join(", "))),
        Row::less(
            format!("{what} and with a receiver that hangs"),
            "s",
            held,
            (10.0, 10.0),
            "what is under way has 8 s before it is given back".to_owned(),
        ),
    ]
}

/// Seconds from SIGTERM to the end, in the middle of a load that goes on.
async fn end(scene: &Scene, crowd: &[Customer], scale: &Scale, seed: u64, hanging: Option<&Receiver>) -> f64 {
    let (rate, after) = scale.ending;
    // What the daemon does not take any more is not sent again: the door stays closed.
    let sender = scene.sender(scale.senders, Manner { tries: 1, ..patient() });
    let load = Load { sender, pace: Pace::PerSecond(rate.into(), after + BEYOND), departures: None };
    let story = scene.happening(story(seed, rooms(crowd, scale.rooms), scale.participants, rate));
    let told = tokio::spawn(async move { load.run(story).await });
    tokio::time::sleep(after).await;
    if let Some(hanging) = hanging {
        hanging.wait_until("a request is not answered", FIRST, |counts| counts.requests > 0).await;
    }
    let began = Instant::now();
    scene.daemon().process.signal(Signal::TERM);
    let status = scene.daemon().process.exited(BOUND).await;
    let took = began.elapsed().as_secs_f64();
    told.abort();
    assert_eq!(status.code(), Some(0), "{}", scene.daemon().process.log_tail());
    took
}

/// Starts over a store in which deliveries wait, each after a kill.
async fn starts(scale: &Scale) -> Row {
    let mut scene = Scene::new().await;
    let audience = Audience::well();
    let project = scene.project("waiting").await;
    let customer = scene.endpoint(project, &format!("{}/waiting", audience.receiver.url()), json!({})).await;
    let mut took = Vec::new();
    for _ in 0..scale.ends {
        scene.daemon().kill().await;
        seed(&scene.store().await, &[Target::of(customer)], scale.waiting, Standing::Due).await;
        let (began, before) = (tokio::time::Instant::now(), audience.receiver.counts().requests);
        scene.start().await;
        audience.receiver.wait_until("a delivery", FIRST, move |counts| counts.requests > before).await;
        let first = first_arrival(&audience.receiver, began).expect("a delivery");
        took.push(first.duration_since(began).as_secs_f64());
    }
    let all: Vec<String> = took.iter().map(|seconds| format!("{seconds:.2}")).collect();
    Row::less(
        format!("start after a kill with {} deliveries waiting: the first one arrives", grouped(scale.waiting)),
        "s",
        median(took),
        (2.0, 0.5),
        format!("from exec on; each: {} s", all.join(", ")),
    )
}
