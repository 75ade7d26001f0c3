//! Daemons that are killed, and one that stands still for longer than its leases last.

use pulse_tests::{
    process::{READY, Signal},
    receiver::Action,
};
use serde_json::json;
use std::time::Duration;

use super::{
    super::{
        load::{Crowd, Dice, more_accepted, tell},
        rounds,
    },
    Mongo, RATE, three, until_shared_by,
};

/// How long an attempt takes at a receiver that is slow: whenever a daemon stops, some are under way.
const SLOW: Duration = Duration::from_millis(300);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_when_one_of_three_daemons_is_killed_again_and_again() {
    let mongo = Mongo::shared().await;
    let mut scene = three(mongo).await;
    let crowd = Crowd::settle(&scene, 2).await;
    let (load, dice) = (crowd.tell_at(&scene.sender, 21, RATE), Dice::of(21));
    for _ in 0..rounds(5) {
        more_accepted(&scene, dice.roll(60)).await;
        let n = usize::try_from(dice.roll(3) - 1).expect("one of three");
        scene.daemons()[n].kill().await;
        // The others go on.
        more_accepted(&scene, 20).await;
        scene.restart_one(n).await;
    }
    let share = load.settle(&scene, &crowd).await;
    assert!(share > 0.9, "the other two did not take over: only {share:.2} of all was acknowledged");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_stands_still_past_its_leases_changes_nothing_but_its_own_attempts_afterwards() {
    let mongo = Mongo::shared().await;
    let scene = three(mongo).await;
    let mut crowd = Crowd::settle(&scene, 1).await;
    let project = crowd.project();
    until_shared_by(&scene, &[0, 1, 2]).await;
    for n in 0..6 {
        let path = format!("/slow/{n}");
        scene.receiver.behave_at(&path, Action::ok().after(SLOW));
        crowd.add(&scene, &project, &path, json!({ "max_in_flight": 32 })).await;
    }
    let load = crowd.tell_at(&scene.sender, 22, RATE);
    more_accepted(&scene, 80).await;

    let stopped = &scene.daemons()[1].process;
    stopped.signal(Signal::STOP);
    let balancer = scene.balancer.as_ref().expect("several daemons");
    balancer.only(vec![scene.address(0), scene.address(2)]);
    until_shared_by(&scene, &[0, 2]).await;
    let taken_back = async || {
        let attempts = scene.documents("attempts").await;
        attempts.iter().any(|attempt| attempt["result"] == "interrupted").then_some(())
    };
    scene.daemon().process.until("what it had under way is taken back", READY * 2, taken_back).await;
    let more = async || scene.documents("attempts").await.len();
    let before = more().await;
    let gone_on = async || (more().await > before + 20).then_some(());
    scene.daemon().process.until("the others deliver", READY * 2, gone_on).await;

    stopped.signal(Signal::CONT);
    let late = async || {
        let attempts = scene.documents("attempts").await;
        let late = attempts.iter().filter(|attempt| attempt["late"] == true).count();
        (late > 0).then_some(late)
    };
    let late = scene.daemon().process.until("it writes down what it did", READY * 2, late).await;
    tell(&format!("{late} attempts were late"));
    balancer.only(vec![scene.address(0), scene.address(1), scene.address(2)]);
    until_shared_by(&scene, &[0, 1, 2]).await;
    let share = load.settle(&scene, &crowd).await;
    assert!(share > 0.9, "only {share:.2} of all was acknowledged");
}
