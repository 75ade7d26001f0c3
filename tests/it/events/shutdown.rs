//! SIGTERM in the middle of everything, with a receiver that never answers.

use std::{process::ExitStatus, time::Duration};

use pulse_tests::{process::Signal, receiver::Action};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{
    crashes::signal_of,
    load::{Crowd, more_accepted, tell},
    rounds,
    scene::{SOON, Scene},
};

/// The longest that an orderly end may take.
const ORDERLY: Duration = Duration::from_secs(10);
/// The longest that a forced end may take.
const FORCED: Duration = Duration::from_secs(4);

/// Adds an endpoint that waits so long for its receiver.
async fn waiting(scene: &Scene, crowd: &mut Crowd, path: &str, timeout_seconds: u32) {
    let project = crowd.project();
    crowd.add(scene, &project, path, json!({ "timeout_seconds": timeout_seconds, "max_in_flight": 2 })).await;
}

/// Lets the receiver hang at this path, and waits until the daemon waits for it.
async fn hang(scene: &Scene, path: &str) {
    let requests = || scene.receiver.received().iter().filter(|received| received.path() == path).count();
    scene.receiver.behave_at(path, Action::Hang);
    let before = requests();
    let waits = async || (requests() > before).then_some(());
    scene.daemon().process.until("a request is not answered", SOON, waits).await;
}

/// Ends the daemon as `signals` times SIGTERM do.
async fn end(scene: &Scene, signals: u32) -> (ExitStatus, Duration) {
    let began = Instant::now();
    scene.daemon().process.signal(Signal::TERM);
    for _ in 1..signals {
        scene.daemon().process.until_logged("\"message\":\"stopping\"").await;
        scene.daemon().process.signal(Signal::TERM);
    }
    (scene.daemon().process.exited(SOON).await, began.elapsed())
}

/// Lets the receiver answer again, and starts the daemon again.
async fn go_on(scene: &mut Scene, path: &str) {
    scene.receiver.behave_at(path, Action::ok());
    scene.restart().await;
}

/// The deliveries that are leased.
async fn leased(scene: &Scene) -> Vec<Value> {
    let mut deliveries = scene.documents("deliveries").await;
    deliveries.retain(|delivery| delivery["status"] == "leased");
    deliveries
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_under_load_with_a_hanging_receiver_ends_in_order_within_ten_seconds_and_loses_nothing() {
    let mut scene = Scene::new().await;
    let mut crowd = Crowd::settle(&scene, 1).await;
    let load = crowd.tell(&scene.sender, 6);
    waiting(&scene, &mut crowd, "/long", 15).await;
    waiting(&scene, &mut crowd, "/short", 1).await;
    let mut longest = Duration::ZERO;
    for round in 0..rounds(10) {
        // Once it would take longer than there is time: then the attempts are broken off.
        let path = if round == 0 { "/long" } else { "/short" };
        hang(&scene, path).await;
        let (ended, took) = end(&scene, 1).await;
        assert_eq!(ended.code(), Some(0), "round {round}");
        assert!(took <= ORDERLY, "round {round}: the end took {took:?}");
        assert_eq!(leased(&scene).await, Vec::<Value>::new(), "round {round}: an orderly end gives back what it holds");
        go_on(&mut scene, path).await;
        longest = longest.max(took);
    }
    tell(&format!("the longest end took {longest:?}"));
    load.settle(&scene, &crowd).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_sigterm_does_not_wait_for_a_hanging_receiver_and_loses_nothing() {
    let mut scene = Scene::new().await;
    let mut crowd = Crowd::settle(&scene, 1).await;
    let load = crowd.tell(&scene.sender, 7);
    waiting(&scene, &mut crowd, "/hang", 15).await;
    more_accepted(&scene, 50).await;
    hang(&scene, "/hang").await;
    let (ended, took) = end(&scene, 2).await;
    assert_eq!(ended.code(), Some(0));
    assert!(took <= FORCED, "the forced end took {took:?}");
    go_on(&mut scene, "/hang").await;
    load.settle(&scene, &crowd).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dying_in_the_middle_of_an_orderly_end_loses_nothing() {
    let mut scene = Scene::new().await;
    let mut crowd = Crowd::settle(&scene, 1).await;
    let load = crowd.tell(&scene.sender, 9);
    waiting(&scene, &mut crowd, "/hang", 15).await;
    more_accepted(&scene, 50).await;
    hang(&scene, "/hang").await;
    scene.faults("shutdown.mid abort");
    let (ended, _) = end(&scene, 1).await;
    assert_eq!(signal_of(ended), Some(Signal::ABORT.as_raw()), "{}", scene.daemon().process.log_tail());
    assert!(!leased(&scene).await.is_empty(), "it died in the middle of something");
    scene.faults("");
    go_on(&mut scene, "/hang").await;
    load.settle(&scene, &crowd).await;
}
