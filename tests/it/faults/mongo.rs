//! The daemon over MongoDB: the main job, and servers that go away in the middle of it.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use pulse_tests::{
    daemon::{Answered, Client, Daemon, DaemonOptions},
    peers::mongo::Mongo,
    process::READY,
    temporary_folder,
};
use serde_json::json;
use tokio::{task::JoinSet, time::Instant};

use super::all_names;

const WRITERS: usize = 4;
/// A call of the store ends after ten seconds; the rest is for a busy machine.
const PATIENCE: Duration = Duration::from_secs(14);

fn over(uri: String) -> DaemonOptions {
    DaemonOptions::new()
        .over_mongodb(uri)
        .env("LIVEKIT_HOST", "ws://127.0.0.1:1")
        .env("LIVEKIT_API_KEY", "devkey")
        .env("LIVEKIT_API_SECRET", "secret-of-livekit")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_main_job_is_done_over_mongodb_and_outlives_the_daemon() {
    let mongo = Mongo::shared().await;
    let (folder, options) = (temporary_folder("mongo-daemon"), over(mongo.uri(&mongo.unique_database())));
    let daemon = Daemon::start_in(folder.path(), options.clone()).await;
    let client = daemon.client();
    let project = client.project("Pro").await;
    let (id, org) = (project["id"].as_str().unwrap(), project["org_id"].as_str().unwrap());
    let key = client.post(&format!("/v1/projects/{id}/keys"), &json!({ "name": "ci" })).await;
    assert_eq!(key.status, 201, "{}", key.text);
    let secret = key.json()["pulse_api_secret"].as_str().unwrap().to_owned();
    let made = as_key(&client, &secret, "/v1/tokens/create", json!({ "room_name": "room", "identity": "anna" })).await;
    assert_eq!(made.status, 201, "{}", made.text);
    let token = made.json()["token"].clone();
    daemon.stop().await;

    let daemon = Daemon::start_in(folder.path(), options).await;
    let client = daemon.client();
    let valid = as_key(&client, &secret, "/v1/tokens/validate", json!({ "token": token })).await;
    assert_eq!(valid.json()["valid"], true, "{}", valid.text);
    let projects = client.get(&format!("/v1/projects?org_id={org}")).await.json();
    assert_eq!(projects["data"][0]["id"], id, "{projects}");
    let entries = client.get(&format!("/v1/audit-logs?org_id={org}")).await.json();
    let actions: BTreeSet<&str> =
        entries["data"].as_array().unwrap().iter().map(|entry| entry["action"].as_str().unwrap()).collect();
    assert_eq!(actions, ["keys.create", "organizations.create", "projects.create"].into());
}

async fn as_key(client: &Client, secret: &str, path: &str, body: serde_json::Value) -> Answered {
    let request = client.bare("POST", path).bearer_auth(secret).header("content-type", "application/json");
    client.send(request.body(body.to_string())).await
}

/// Writers that create organizations without end.
struct Writers {
    tasks: JoinSet<Told>,
    stop: Arc<AtomicBool>,
    acknowledged: Arc<AtomicUsize>,
    refused: Arc<AtomicUsize>,
}

/// What one writer was told.
#[derive(Default)]
struct Told {
    acknowledged: Vec<String>,
    refused: Vec<String>,
    slowest: Duration,
}

impl Writers {
    fn start(client: &Client) -> Self {
        let (stop, acknowledged, refused) = (Arc::default(), Arc::default(), Arc::default());
        let mut writers = Self { tasks: JoinSet::new(), stop, acknowledged, refused };
        for writer in 0..WRITERS {
            let (acknowledged, refused) = (Arc::clone(&writers.acknowledged), Arc::clone(&writers.refused));
            let (client, stop) = (client.clone(), Arc::clone(&writers.stop));
            writers.tasks.spawn(async move {
                let mut told = Told::default();
                for number in 0.. {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    let name = format!("writer {writer} number {number}");
                    let began = Instant::now();
                    let body = json!({ "name": name, "admin_email": "a@b.example" });
                    let answer = client.post("/v1/organizations", &body).await;
                    told.slowest = told.slowest.max(began.elapsed());
                    if answer.status == 201 {
                        told.acknowledged.push(name);
                        acknowledged.fetch_add(1, Ordering::Relaxed);
                    } else {
                        assert_unavailable(&answer);
                        told.refused.push(name);
                        refused.fetch_add(1, Ordering::Relaxed);
                    }
                }
                told
            });
        }
        writers
    }

    /// Waits for so many more of what is counted.
    async fn more(&self, counter: &AtomicUsize, count: usize) {
        let goal = counter.load(Ordering::Relaxed) + count;
        let reached = async {
            while counter.load(Ordering::Relaxed) < goal {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), reached).await.expect("the writers go on");
    }

    async fn end(self) -> Told {
        self.stop.store(true, Ordering::Relaxed);
        self.tasks.join_all().await.into_iter().fold(Told::default(), |mut all, told| {
            all.acknowledged.extend(told.acknowledged);
            all.refused.extend(told.refused);
            all.slowest = all.slowest.max(told.slowest);
            all
        })
    }
}

fn assert_unavailable(answer: &Answered) {
    assert_eq!((answer.status, answer.code().as_str()), (503, "store_unavailable"), "{}", answer.text);
    let seconds: u64 = answer.header("retry-after").parse().expect("seconds");
    assert!((1..=60).contains(&seconds), "come back after {seconds} s");
}

async fn until_ready(daemon: &Daemon) {
    let client = daemon.client();
    let ready = async || (client.get("/ready").await.status == 200).then_some(());
    daemon.process.until("/ready is 200 again", READY, ready).await;
}

/// What was acknowledged is there, and nothing that was not asked for.
async fn assert_exact(client: &Client, told: &Told) {
    let stored = all_names(client).await;
    let lost: Vec<_> = told.acknowledged.iter().filter(|name| !stored.contains(*name)).collect();
    assert!(lost.is_empty(), "acknowledged and lost: {lost:?}");
    // A request that was cut off may have been done: its client was told to ask again.
    let known: BTreeSet<_> = told.acknowledged.iter().chain(&told.refused).collect();
    assert!(stored.iter().all(|name| known.contains(name)), "{stored:?}");
    assert!(told.slowest < PATIENCE, "a client waited {:?} for its answer", told.slowest);
}

#[tokio::test(flavor = "multi_thread")]
async fn mongodb_killed_mid_request_is_503_for_a_while_and_the_daemon_recovers_by_itself() {
    let mut mongo = Mongo::start().await;
    let daemon = Daemon::start(over(mongo.uri("pulse"))).await;
    let client = daemon.client();
    let writers = Writers::start(&client);
    writers.more(&writers.acknowledged, 20).await;
    mongo.kill().await;
    writers.more(&writers.refused, 1).await;

    let asked = Instant::now();
    let ready = client.get("/ready").await;
    assert!(asked.elapsed() < Duration::from_secs(5), "/ready took {:?}", asked.elapsed());
    assert_eq!((ready.status, ready.header("retry-after")), (503, "5"), "{}", ready.text);
    let reasons = ready.json()["reasons"].clone();
    assert!(reasons[0].as_str().is_some_and(|reason| reason.starts_with("store: ")), "{reasons}");
    assert_eq!(client.get("/health").await.status, 200, "a store that is away is no reason to restart the daemon");

    mongo.restart().await;
    writers.more(&writers.acknowledged, 20).await;
    until_ready(&daemon).await;
    let told = writers.end().await;
    assert_exact(&client, &told).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_primary_that_steps_down_mid_request_is_waited_for_or_503() {
    let mongo = Mongo::start().await;
    let daemon = Daemon::start(over(mongo.uri("pulse"))).await;
    let client = daemon.client();
    let writers = Writers::start(&client);
    writers.more(&writers.acknowledged, 20).await;
    mongo.step_down(1).await;
    writers.more(&writers.acknowledged, 20).await;
    until_ready(&daemon).await;
    let told = writers.end().await;
    assert_exact(&client, &told).await;
}
