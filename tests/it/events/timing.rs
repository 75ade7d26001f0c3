//! When retries come by the real clock, through the daemon's own waits: nobody in the test says that something is due.

use std::{collections::BTreeMap, time::Duration};

use pulse_core::time::Timestamp;
use pulse_tests::receiver::{Action, Behaviour};
use serde_json::{Value, json};

use super::{
    ledger,
    load::Crowd,
    scene::{SOON, Scene},
};

/// The wait of every endpoint here.
const WAIT: Duration = Duration::from_secs(1);
/// What may be added to it at random.
const SPREAD: f64 = 1.2;
/// A delivery is sent so long after it is due, at most, by a daemon that has its store to itself.
const LATE: Duration = Duration::from_secs(1);
/// Moments are written down in whole milliseconds, rounded down.
const ROUNDED: Duration = Duration::from_millis(1);
/// So many that each of three daemons has some to send to.
const ENDPOINTS: usize = 12;
/// So few that no breaker opens: that is another test's matter.
const EVENTS: usize = 4;

/// When an attempt began, and when it ended.
fn span(attempt: &Value) -> (Timestamp, Timestamp) {
    let began: Timestamp = serde_json::from_value(attempt["started_at"].clone()).expect("a moment");
    let took = Duration::from_millis(attempt["duration_millis"].as_u64().expect("a duration"));
    (began, began.plus(took))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_retry_is_never_early_and_sent_within_a_second_of_its_moment() {
    let scene = Scene::new().await;
    retries_come_on_time(&scene, LATE).await;
}

/// Has every delivery to some endpoints refused once, waits until all have arrived, ends the daemons, and looks at the moments
/// that they wrote down. However many they are, and whatever store they share, a retry is never early.
///
/// # Panics
/// When a retry began before its wait was over, or longer than `late` after the longest wait that there can be.
pub(super) async fn retries_come_on_time(scene: &Scene, late: Duration) {
    let mut crowd = Crowd::settle(scene, 1).await;
    let project = crowd.project();
    for n in 0..ENDPOINTS {
        let path = format!("/refuses/{n}");
        scene.receiver.behave_at(&path, Behaviour::by_attempt([Action::status(500), Action::ok()]));
        crowd.add(scene, &project, &path, json!({ "schedule": [WAIT.as_secs()] })).await;
    }
    crowd.story(11).take(EVENTS).for_each(|webhook| scene.sender.send(webhook));
    scene.sender.settled(SOON).await;
    let done = async || scene.is_quiet().await.then_some(());
    scene.daemon().process.until("no delivery waits or is under way", SOON, done).await;
    scene.stop().await;
    let counted = ledger::hold(scene).await;
    assert_eq!(counted.succeeded, (ENDPOINTS + 2) * EVENTS);

    let mut attempts = BTreeMap::<String, BTreeMap<u64, Value>>::new();
    for attempt in scene.documents("attempts").await {
        let delivery = attempt["delivery_id"].as_str().expect("an id").to_owned();
        attempts.entry(delivery).or_default().insert(attempt["number"].as_u64().expect("a number"), attempt);
    }
    let mut retries = 0;
    for (delivery, attempts) in attempts {
        let spans: Vec<_> = attempts.values().map(span).collect();
        for next in spans.windows(2) {
            let waited = next[1].0.since(next[0].1);
            assert!(waited + ROUNDED >= WAIT, "{delivery} was tried again after {waited:?}");
            assert!(waited <= WAIT.mul_f64(SPREAD) + late + ROUNDED, "{delivery} was tried again after {waited:?}");
            retries += 1;
        }
    }
    assert!(retries >= ENDPOINTS * EVENTS, "{retries} retries");
}
