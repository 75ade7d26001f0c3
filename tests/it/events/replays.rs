//! A replay whose daemon is killed in the middle of it.

use std::collections::BTreeMap;

use pulse_tests::process::Signal;
use serde_json::{Value, json};

use super::{
    crashes::signal_of,
    scene::{SOON, Scene},
};

/// More than one commit makes.
const EVENTS: usize = 70;

/// All rows of a list.
async fn all(scene: &Scene, path: &str) -> Vec<Value> {
    let (mut rows, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = scene.client().get(&format!("{path}&limit=100{cursor}")).await.json();
        rows.extend(page["data"].as_array().expect("rows").iter().cloned());
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return rows,
        }
    }
}

async fn start(scene: &Scene, project: &Value, endpoint: &Value) -> String {
    let body = json!({ "project_id": project, "status": "all", "endpoint_id": endpoint["id"] });
    let started = scene.client().post("/v1/webhooks/replays", &body).await;
    assert_eq!(started.status, 202, "{}", started.text);
    started.json()["id"].as_str().expect("an id").to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replay_whose_daemon_dies_before_or_after_a_commit_delivers_each_event_once() {
    let mut scene = Scene::new().await;
    let project = scene.client().project_of("acme", "Enterprise").await["id"].clone();
    for _ in 0..EVENTS {
        let made =
            scene.client().post("/v1/events/trigger", &json!({ "project_id": project, "type": "room_started" })).await;
        assert_eq!(made.status, 201, "{}", made.text);
    }
    // Each of the two replays has an endpoint of its own, and dies at a point of its own.
    let mut replays = Vec::new();
    for (path, point) in [("/before", "replay.before_commit"), ("/after", "replay.after_commit")] {
        let id = project.as_str().expect("an id");
        let endpoint = scene.endpoint(id, path, json!({})).await;
        scene.faults(&format!("{point} abort"));
        replays.push((path, start(&scene, &project, &endpoint).await));
        let ended = scene.daemon().process.exited(SOON).await;
        assert_eq!(signal_of(ended), Some(Signal::ABORT.as_raw()), "{point}: {}", scene.daemon().process.log_tail());
        scene.faults("");
        scene.restart().await;
    }
    for (path, id) in replays {
        let get = format!("/v1/webhooks/replays/{id}?project_id={}", project.as_str().expect("an id"));
        let client = scene.client();
        let ended = async || {
            let replay = client.get(&get).await.json();
            (replay["state"] != "running").then_some(replay)
        };
        // What is left of the job is taken up when its lease is over.
        let ended = scene.daemon().process.until("the replay ended", SOON * 2, ended).await;
        assert_eq!((&ended["state"], &ended["deliveries"]), (&json!("completed"), &json!(EVENTS)), "{path}");
        let rows =
            all(&scene, &format!("/v1/webhooks/deliveries?project_id={}", project.as_str().expect("an id"))).await;
        let mut events: BTreeMap<&str, usize> = BTreeMap::new();
        for row in rows.iter().filter(|row| row["origin"] == json!(id)) {
            *events.entry(row["event_id"].as_str().expect("an id")).or_default() += 1;
        }
        assert_eq!((events.len(), events.values().max()), (EVENTS, Some(&1)), "{path}: {ended}");
        let receiver = &scene.receiver;
        let sent = async || (arrived(receiver, path, &id) == EVENTS).then_some(());
        scene.daemon().process.until("everything arrived", SOON, sent).await;
    }
    assert_eq!(scene.receiver.objections(), Vec::<String>::new());
}

/// How many events have come to a path for this replay.
fn arrived(receiver: &pulse_tests::receiver::Receiver, path: &str, replay: &str) -> usize {
    let came = receiver.received();
    let mine = came.iter().filter(|one| one.path() == path && one.header("pulse-replay") == replay);
    mine.map(|one| one.webhook_id().to_owned()).collect::<std::collections::BTreeSet<_>>().len()
}
