//! The daemon dies at any moment, and at every point that was ever thought to be a bad one.

use pulse_tests::process::Signal;

use super::{
    load::{Crowd, Dice, more_accepted, more_requests, tell},
    rounds,
    scene::{SOON, Scene},
};

/// Every point at which a webhook, a delivery or an attempt is half done.
const POINTS: [&str; 8] = [
    "ingest.after_verify",
    "fanout.half",
    "ingest.before_commit",
    "ingest.after_commit_before_reply",
    "send.after_headers",
    "finish.before_commit",
    "finish.after_commit",
    "send.after_request_written",
];
/// The same where they are passed for sure only when the daemon has just begun: it takes back what was left leased, claims
/// it (a new delivery is leased as it is recorded, and so a daemon that keeps up never claims), and has no connection yet.
const AT_THE_START: [&str; 3] = ["reaper.mid", "claim.after_mark", "send.before_connect"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_acknowledged_event_is_lost_when_the_daemon_is_killed_again_and_again_under_load() {
    let mut scene = Scene::new().await;
    let crowd = Crowd::settle(&scene, 3).await;
    let (load, dice) = (crowd.tell(&scene.sender, 4), Dice::of(4));
    for round in 0..rounds(20) {
        if round % 2 == 0 {
            more_requests(&scene, dice.roll(200)).await;
        } else {
            more_accepted(&scene, dice.roll(100)).await;
        }
        scene.crash().await;
    }
    let share = load.settle(&scene, &crowd).await;
    assert!(share > 0.8, "LiveKit gave up too often: only {share:.2} of all was acknowledged");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_acknowledged_event_is_lost_when_the_daemon_dies_at_a_fault_point() {
    let mut scene = Scene::new().await;
    let crowd = Crowd::settle(&scene, 2).await;
    let load = crowd.tell(&scene.sender, 5);
    for point in POINTS {
        more_requests(&scene, 10).await;
        tell(&format!("to die at {point}"));
        scene.faults(&format!("{point} abort"));
        let ended = scene.daemon().process.exited(SOON).await;
        assert_eq!(signal_of(ended), Some(Signal::ABORT.as_raw()), "{point}: {}", scene.daemon().process.log_tail());
        // The last one leaves at least one lease behind.
        if Some(&point) != POINTS.last() {
            scene.faults("");
            scene.restart().await;
        }
    }
    for point in AT_THE_START {
        scene.faults(&format!("{point} abort"));
        assert_eq!(signal_of(scene.restart_until_it_dies().await), Some(Signal::ABORT.as_raw()), "{point}");
    }
    scene.faults("");
    scene.restart().await;
    let share = load.settle(&scene, &crowd).await;
    assert!(share > 0.8, "LiveKit gave up too often: only {share:.2} of all was acknowledged");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_attempt_that_panics_is_made_again_and_keeps_no_place() {
    let scene = Scene::new().await;
    let crowd = Crowd::settle(&scene, 1).await;
    let load = crowd.tell(&scene.sender, 8);
    more_accepted(&scene, 20).await;
    scene.faults("send.after_headers panic");
    scene.daemon().process.until_logged("an attempt panicked").await;
    // Each panic makes the next attempt wait longer: a few are enough.
    scene.faults("");
    more_accepted(&scene, 120).await;
    let share = load.settle(&scene, &crowd).await;
    assert!(share > 0.99, "a panic in an attempt kept webhooks from being taken in: {share:.2}");
}

/// The signal of which a process has died.
pub(super) fn signal_of(ended: std::process::ExitStatus) -> Option<i32> {
    std::os::unix::process::ExitStatusExt::signal(&ended)
}
