//! Daemons that are killed, and one that stands still for longer than its leases last.

use std::{collections::BTreeMap, time::Duration};

use pulse_core::{id::EndpointId, model::shard::shard_of};
use pulse_tests::{
    process::{READY, Signal},
    receiver::Action,
};
use serde_json::{Value, json};

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
    let crowd = Crowd::settle(&scene, 1).await;
    let project = crowd.project();
    until_shared_by(&scene, &[0, 1, 2]).await;
    // Some of each daemon's, whichever shards it has.
    let mut of_each = BTreeMap::<String, u32>::new();
    let holders: BTreeMap<u64, String> = scene.documents("shards").await.iter().filter_map(holder).collect();
    for n in 0.. {
        let path = format!("/slow/{n}");
        let made = scene.endpoint(&project, &path, json!({ "max_in_flight": 32 })).await;
        let id: EndpointId = made["id"].as_str().expect("an id").parse().expect("an id");
        let holder = &holders[&(shard_of(id) as u64)];
        let some = of_each.entry(holder.clone()).or_default();
        if *some == 2 {
            let deleted =
                scene.client().request("DELETE", &format!("/v1/webhooks/endpoints/{id}?project_id={project}"));
            assert_eq!(scene.client().send(deleted).await.status, 200);
            continue;
        }
        *some += 1;
        scene.receiver.behave_at(&path, Action::ok().after(SLOW));
        if of_each.len() == 3 && of_each.values().all(|some| *some == 2) {
            break;
        }
    }
    // Each event goes to eight endpoints, most of them slow.
    let load = crowd.tell_at(&scene.sender, 22, RATE / 2);
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

/// A shard's number and the daemon that has it.
fn holder(shard: &Value) -> Option<(u64, String)> {
    Some((shard["number"].as_u64()?, shard["holder"].as_str()?.to_owned()))
}
