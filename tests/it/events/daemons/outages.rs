//! MongoDB and Redis that are away for a while: everything that was acknowledged is delivered once they are back.

use std::time::Duration;

use pulse_tests::{peers::redis::Redis, proxy::Wire};
use tokio::time::Instant;

use super::{
    super::{
        load::{Crowd, more_accepted},
        scene::{Scene, of_the_sender},
    },
    Mongo, RATE, three,
};

/// How long MongoDB is away: longer than an answer to LiveKit may take.
const AWAY: Duration = Duration::from_secs(7);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_is_delivered_after_mongodb_was_stepped_down_killed_and_cut_off() {
    let (mut mongo, wire) = Mongo::start_behind_proxy().await;
    let scene = three(&mongo).await;
    let crowd = Crowd::settle(&scene, 1).await;
    let load = crowd.tell_at(&scene.sender, 31, RATE);
    more_accepted(&scene, 30).await;
    mongo.step_down(3).await;
    mongo.until_primary().await;
    more_accepted(&scene, 30).await;
    for cut in [Wire::Silent, Wire::Cut] {
        wire.set(cut);
        tokio::time::sleep_until(Instant::now() + AWAY).await;
        for daemon in scene.daemons() {
            assert_eq!(daemon.client().get("/ready").await.status, 503, "{cut:?}");
        }
        wire.set(Wire::Whole);
        more_accepted(&scene, 30).await;
    }
    mongo.kill().await;
    mongo.restart().await;
    more_accepted(&scene, 30).await;
    load.settle(&scene, &crowd).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_is_flushed_and_killed_costs_no_delivery() {
    let (mongo, mut redis) = (Mongo::shared().await, Redis::start().await);
    let options = of_the_sender().env("REDIS_URL", redis.url());
    let scene = Scene::several(3, &mongo.uri(&mongo.unique_database()), options).await;
    let crowd = Crowd::settle(&scene, 1).await;
    let load = crowd.tell_at(&scene.sender, 32, RATE);
    for _ in 0..3 {
        more_accepted(&scene, 20).await;
        redis.flush().await;
    }
    redis.kill().await;
    more_accepted(&scene, 40).await;
    redis.restart().await;
    more_accepted(&scene, 20).await;
    let share = load.settle(&scene, &crowd).await;
    assert!(share > 0.99, "webhooks were refused without Redis: {share:.2}");
}
