//! Three daemons over one MongoDB, behind a balancer: everything that one daemon promises, while daemons die, stand still and
//! are replaced, and while MongoDB and Redis are away.

mod deaths;
mod edges;
mod outages;
mod rolling;
mod sharing;
mod streams;

use pulse_tests::{peers::mongo::Mongo, process::READY};

use super::scene::{Scene, of_the_sender};

/// Events in a second, for all of them: the daemons, MongoDB and the receiver share the machine.
const RATE: u32 = 40;
/// How many shards there are.
const SHARDS: u64 = 64;

/// Three daemons over a database of this MongoDB.
async fn three(mongo: &Mongo) -> Scene {
    Scene::several(3, &mongo.uri(&mongo.unique_database()), of_the_sender()).await
}

/// The value of a series of the n-th daemon.
async fn metric(scene: &Scene, n: usize, name: &str) -> f64 {
    let text = scene.daemons()[n].client().get("/metrics").await.text;
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {name}")).parse().expect("a number")
}

/// How many shards the n-th daemon has.
async fn shards(scene: &Scene, n: usize) -> u64 {
    // A count, so that nothing is lost.
    metric(scene, n, "pulse_webhook_shards_held").await as u64
}

/// Waits until these daemons have all shards between them, in even shares.
async fn until_shared_by(scene: &Scene, daemons: &[usize]) {
    let share = SHARDS / daemons.len() as u64;
    let shared = async || {
        let mut all = 0;
        for n in daemons {
            let held = shards(scene, *n).await;
            if held < share - 1 || held > share + 1 {
                return None;
            }
            all += held;
        }
        (all == SHARDS).then_some(())
    };
    scene.daemons()[daemons[0]].process.until(&format!("the daemons {daemons:?} share"), READY * 2, shared).await;
}
