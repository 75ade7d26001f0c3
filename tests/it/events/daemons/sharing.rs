//! How daemons share the work: one event and one set of deliveries however many take it in, one sender to an endpoint,
//! and no retry that is early.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use pulse_core::time::{Clock as _, SystemClock};
use pulse_tests::{livekit_sender::ApiKey, process::READY, receiver::Action};
use serde_json::json;
use tokio::task::JoinSet;

use super::{
    super::{
        load::{Crowd, more_accepted},
        scene::KEY,
        timing,
    },
    Mongo, RATE, three, until_shared_by,
};

/// A retry begins so long after it is due, at most: taking it asks MongoDB several times, which other tests keep busy.
const LATE: Duration = Duration::from_secs(2);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_webhook_that_comes_to_all_daemons_at_once_is_one_event_and_one_set_of_deliveries() {
    let mongo = Mongo::shared().await;
    let scene = three(mongo).await;
    let project = scene.client().project("Enterprise").await;
    let project = project["id"].as_str().expect("an id").to_owned();
    for path in ["/one", "/other"] {
        scene.endpoint(&project, path, json!({})).await;
    }
    let now = SystemClock::new().now();
    let room =
        json!({ "sid": "RM_1", "name": format!("{project}~standup"), "creationTimeMs": now.as_millis().to_string() });
    let body = json!({ "event": "room_started", "id": "EV_1", "createdAt": now.as_secs().to_string(), "room": room });
    let body = Arc::new(body.to_string());
    let authorization = ApiKey::new(KEY.0, KEY.1).authorization(body.as_bytes(), now);
    let mut posts = JoinSet::new();
    for n in 0..100 {
        let client = scene.daemons()[n % 3].client();
        let (body, authorization) = (Arc::clone(&body), authorization.clone());
        posts.spawn(async move {
            let post = client.bare("POST", "/v1/webhooks/livekit").header("authorization", authorization);
            client.send(post.header("content-type", "application/webhook+json").body(body.to_string())).await.status
        });
    }
    let answers = posts.join_all().await;
    assert!(answers.iter().all(|status| (200..300).contains(status)), "{answers:?}");
    let quiet = async || scene.is_quiet().await.then_some(());
    scene.daemon().process.until("all is delivered", READY, quiet).await;
    for (collection, count) in [("events", 1), ("sessions", 1), ("deliveries", 2), ("attempts", 2)] {
        let found = scene.documents(collection).await;
        assert_eq!(found.len(), count, "{collection}: {found:#?}");
    }
    assert_eq!(scene.receiver.counts().requests, 2, "a customer got it twice");
    scene.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_cap_of_an_endpoint_holds_over_all_daemons() {
    let mongo = Mongo::shared().await;
    let mut scene = three(mongo).await;
    let mut crowd = Crowd::settle(&scene, 1).await;
    until_shared_by(&scene, &[0, 1, 2]).await;
    let project = crowd.project();
    for n in 0..4 {
        let path = format!("/one/at/a/time/{n}");
        scene.receiver.behave_at(&path, Action::ok().after(Duration::from_millis(40)));
        crowd.add(&scene, &project, &path, json!({ "max_in_flight": 1 })).await;
    }
    let load = crowd.tell_at(&scene.sender, 51, RATE);
    more_accepted(&scene, 60).await;
    // Shards go to the others, and some come back.
    assert_eq!(scene.daemons()[2].stop().await.code(), Some(0));
    until_shared_by(&scene, &[0, 1]).await;
    scene.restart_one(2).await;
    until_shared_by(&scene, &[0, 1, 2]).await;
    load.settle(&scene, &crowd).await;

    let exchanges = scene.receiver.exchanges();
    let took: BTreeMap<u64, Duration> = exchanges.iter().map(|exchange| (exchange.request, exchange.took)).collect();
    let mut ends = BTreeMap::new();
    let mut together = 0;
    for received in scene.receiver.received() {
        if !received.path().starts_with("/one/at/a/time/") {
            continue;
        }
        let end = received.at + took.get(&received.number).copied().unwrap_or_default();
        let before = ends.insert(received.path().to_owned(), end);
        together += u64::from(before.is_some_and(|before| received.at < before));
    }
    assert_eq!(together, 0, "two daemons sent to one endpoint at the same time");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn retries_of_three_daemons_are_never_early_and_sent_soon_after_their_moment() {
    let mongo = Mongo::shared().await;
    let scene = three(mongo).await;
    // Nothing but time is to stand in the way of a retry: a shard that changes hands is nobody's for a moment.
    until_shared_by(&scene, &[0, 1, 2]).await;
    timing::retries_come_on_time(&scene, LATE).await;
}
