//! A new version comes: one daemon after the other is ended in order and started again, under load; and a store that a newer
//! version has taken is refused.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use mongodb::bson::{Document, doc};
use pulse_tests::{
    daemon::{ADMIN_TOKEN, DaemonOptions, run},
    process::READY,
    temporary_folder,
};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::{
    super::load::{Crowd, more_accepted, tell},
    Mongo, RATE, Scene, three, until_shared_by,
};

/// Clients that write.
const CLIENTS: usize = 3;
/// How often a client tries a request: once more than a restart alone calls for.
const TRIES: u32 = 3;
/// The wait between two of them.
const WAIT: Duration = Duration::from_millis(300);

/// What a client did.
struct Wrote {
    names: Vec<String>,
    again: u32,
}

/// Makes one organization after the other through the balancer until told to stop, and tries each again as clients do: with
/// the same idempotency key, after no answer and after a 503.
fn write(scene: &Scene, client: usize, stop: &Arc<AtomicBool>) -> JoinHandle<Wrote> {
    let door = scene.balancer.as_ref().expect("several daemons").address();
    let (http, stop) = (reqwest::Client::builder().no_proxy().timeout(READY), Arc::clone(stop));
    let http = http.build().expect("a client can be made");
    tokio::spawn(async move {
        let mut wrote = Wrote { names: Vec::new(), again: 0 };
        while !stop.load(Ordering::SeqCst) {
            let name = format!("client-{client}-{}", wrote.names.len());
            let body = json!({ "name": name, "admin_email": "a@acme.example" }).to_string();
            let mut seen = Vec::new();
            loop {
                let request = http.post(format!("http://{door}/v1/organizations")).bearer_auth(ADMIN_TOKEN);
                let request = request.header("content-type", "application/json").header("idempotency-key", &name);
                match request.body(body.clone()).send().await {
                    Ok(answer) if answer.status() == 201 => break,
                    Ok(answer) => {
                        let status = answer.status().as_u16();
                        assert_eq!(status, 503, "{name}: {}", answer.text().await.unwrap_or_default());
                        seen.push("503".to_owned());
                    }
                    Err(error) => seen.push(format!("{error:?}")),
                }
                assert!(seen.len() < TRIES as usize, "{name} could not be made: {seen:?}");
                wrote.again += 1;
                tokio::time::sleep(WAIT).await;
            }
            wrote.names.push(name);
        }
        wrote
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn daemons_are_restarted_one_by_one_under_load_and_every_request_is_answered() {
    let mongo = Mongo::shared().await;
    let mut scene = three(mongo).await;
    let crowd = Crowd::settle(&scene, 1).await;
    until_shared_by(&scene, &[0, 1, 2]).await;
    let load = crowd.tell_at(&scene.sender, 41, RATE);
    let stop = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..CLIENTS).map(|client| write(&scene, client, &stop)).collect();
    for n in 0..3 {
        more_accepted(&scene, 30).await;
        let ended = scene.daemons()[n].stop().await;
        assert_eq!(ended.code(), Some(0), "{}", scene.daemons()[n].process.log_tail());
        scene.restart_one(n).await;
    }
    more_accepted(&scene, 30).await;
    stop.store(true, Ordering::SeqCst);
    let (mut names, mut again) = (Vec::new(), 0);
    for client in clients {
        let wrote = client.await.expect("no client gave up");
        names.extend(wrote.names);
        again += wrote.again;
    }
    tell(&format!("{} organizations, {again} requests sent again", names.len()));
    until_shared_by(&scene, &[0, 1, 2]).await;
    let share = load.settle(&scene, &crowd).await;
    assert!(share > 0.99, "LiveKit's own retries did not do: {share:.2}");
    let mut made: Vec<String> = scene.documents("organizations").await.iter().filter_map(name_of_client).collect();
    names.sort();
    made.sort();
    assert_eq!(made, names, "each was made once");
}

fn name_of_client(organization: &Value) -> Option<String> {
    organization["name"].as_str().filter(|name| name.starts_with("client")).map(str::to_owned)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_daemon_that_ends_in_order_gives_its_shards_back_at_once() {
    let mongo = Mongo::shared().await;
    let scene = three(mongo).await;
    until_shared_by(&scene, &[0, 1, 2]).await;
    scene.daemons()[2].stop().await;
    let rows = scene.documents("shards").await;
    until_shared_by(&scene, &[0, 1]).await;
    let mut holders: Vec<&str> = rows.iter().filter_map(|shard| shard["holder"].as_str()).collect();
    holders.sort_unstable();
    holders.dedup();
    assert_eq!(holders.len(), 2, "the one that ended holds something: {holders:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_a_newer_daemon_has_taken_is_refused_with_a_word() {
    let mongo = Mongo::shared().await;
    let database = mongo.unique_database();
    let scene = Scene::several(2, &mongo.uri(&database), super::of_the_sender()).await;
    let state = mongo.client().await.database(&database).collection::<Document>("pulse_schema");
    let newer = doc! { "$set": { "version": 99_i64 } };
    state.update_one(doc! { "_id": "schema" }, newer).await.expect("a newer daemon was here");
    let folder = temporary_folder("older");
    let options = DaemonOptions::new().over_mongodb(mongo.uri(&database));
    let mut environment: Vec<(&str, &str)> = options.environment().collect();
    environment.push(("PULSE_ADMIN_TOKEN", ADMIN_TOKEN));
    let output = run(folder.path(), &[], &environment);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    // With this exit code a supervisor does not start it again.
    assert_eq!(output.status.code(), Some(6), "{text}");
    assert!(text.contains("the store has schema version 99; this version of Pulse knows"), "{text}");
    // Those that run go on until it is their turn.
    assert_eq!(scene.client().get("/ready").await.status, 200);
    scene.stop().await;
}
