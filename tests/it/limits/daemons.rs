//! Daemons over one store and one Redis.

use pulse_tests::{
    daemon::{Daemon, DaemonOptions, pulse},
    peers::{
        mongo::Mongo,
        redis::{Options, Redis},
    },
    process::READY,
};
use serde_json::Value;
use tokio::time::Instant;

const PASSWORD: &str = "the-password-of-the-shared-redis";
const NEWS: &str = "Redis cannot be used";

async fn until_redis_is(daemon: &Daemon, up: bool) {
    let client = daemon.client();
    let wanted = async || ((client.series("pulse_redis_up").await > 0.5) == up).then_some(());
    daemon.process.until(if up { "Redis is up" } else { "Redis is away" }, READY, wanted).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_limit_of_a_key_holds_over_two_daemons() {
    let (mongo, redis) = (Mongo::shared().await, Redis::start().await);
    let uri = mongo.uri(&mongo.unique_database());
    let options = || DaemonOptions::new().over_mongodb(uri.as_str()).env("REDIS_URL", redis.url());
    let daemons = [Daemon::start(options()).await, Daemon::start(options()).await];
    for daemon in &daemons {
        let client = daemon.client();
        let both = async || (client.series("pulse_redis_daemons").await > 1.5).then_some(());
        daemon.process.until("both daemons are seen", READY, both).await;
    }
    let project = daemons[0].client().project("Free").await;
    let secret = project["pulse_api_secret"].as_str().expect("a secret");

    let began = Instant::now();
    let (mut passed, mut refused) = (0, 0);
    while refused < 6 {
        for daemon in &daemons {
            let client = daemon.client();
            let answer = client.send(client.bare("GET", "/v1/me").bearer_auth(secret)).await;
            assert_eq!(answer.header("ratelimit-policy"), "\"default\";q=100;w=60", "{answer:?}");
            match answer.status {
                200 => (passed, refused) = (passed + 1, 0),
                429 => {
                    let seconds: u64 = answer.header("retry-after").parse().expect("seconds");
                    assert!((1..=60).contains(&seconds), "{answer:?}");
                    refused += 1;
                }
                status => panic!("{status}: {}", answer.text),
            }
        }
    }
    // One comes back every 0.6 seconds; two chunks of two may be missing.
    let back = u32::try_from(began.elapsed().as_millis() / 600).expect("a test is short") + 1;
    let mut late = 0.0;
    for daemon in &daemons {
        late += daemon.client().series("pulse_redis_chunks_total{result=\"failed\"}").await;
    }
    // Where an answer came too late on a busy machine, shares of 50 have decided for a while.
    let most = 100 + back + if late > 0.0 { 50 } else { 0 };
    assert!((96..=most).contains(&passed), "{passed} passed, of {most} at most; {late} answers were late");
    let mut keys: Vec<String> = redis.ask(&["KEYS", "*"]).await;
    keys.sort();
    let id = project["id"].as_str().expect("an id");
    assert!(keys.contains(&format!("pulse:limit:project:{id}")), "{keys:?}");
    assert!(keys.iter().all(|key| key.starts_with("pulse:limit:")), "{keys:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_is_away_is_told_everywhere_and_refuses_nobody() {
    let mut redis = Redis::start_with(Options { password: Some(PASSWORD.to_owned()), tls: None }).await;
    let daemon = Daemon::start(DaemonOptions::new().env("REDIS_URL", redis.url())).await;
    let client = daemon.client();
    until_redis_is(&daemon, true).await;
    let told = times_told(&daemon);
    let ready = client.get("/ready").await;
    assert_eq!((ready.status, ready.json()["degraded"].clone()), (200, Value::Null), "{}", ready.text);
    let part = client.get("/v1/status").await.json()["redis"].clone();
    assert_eq!(part["state"], "ok", "{part}");
    assert_eq!(part["name"], format!("redis://{}/0", redis.address()));
    let project = client.project("Free").await;
    let secret = project["pulse_api_secret"].as_str().expect("a secret");
    let as_key = async || client.send(client.bare("GET", "/v1/me").bearer_auth(secret)).await;
    assert_eq!(as_key().await.status, 200);

    redis.kill().await;
    until_redis_is(&daemon, false).await;
    for _ in 0..20 {
        let answer = as_key().await;
        assert_eq!((answer.status, answer.header("ratelimit-policy")), (200, "\"default\";q=100;w=60"), "{answer:?}");
    }
    let ready = client.get("/ready").await;
    let body = ready.json();
    assert_eq!((ready.status, body["status"].as_str()), (200, Some("ready")), "{body}");
    assert!(body["degraded"][0].as_str().is_some_and(|why| why.starts_with("redis: ")), "{body}");
    let status = client.get("/v1/status").await.json();
    assert_eq!((&status["state"], &status["redis"]["state"]), (&"degraded".into(), &"degraded".into()), "{status}");
    assert!(status["redis"]["detail"].as_str().is_some_and(|why| !why.is_empty()), "{status}");
    let shown = shown_by_the_command_line(&daemon);
    let row = |name: &str| shown.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().trim();
    assert_eq!(row("redis state"), "degraded", "{shown}");
    assert!(!row("redis detail").is_empty(), "{shown}");
    assert_eq!(times_told(&daemon) - told, 1, "it is told once for each change:\n{}", daemon.process.log_tail());

    redis.restart().await;
    until_redis_is(&daemon, true).await;
    assert_eq!(as_key().await.status, 200);
    let ready = client.get("/ready").await.json();
    assert_eq!(ready["degraded"], Value::Null, "{ready}");
    let log = [daemon.process.stdout(), daemon.process.stderr(), shown, status.to_string(), body.to_string()].concat();
    assert!(!log.contains(PASSWORD), "{log}");
    assert!(daemon.stop().await.success());
}

/// How often the log has told that Redis cannot be used.
fn times_told(daemon: &Daemon) -> usize {
    [daemon.process.stdout(), daemon.process.stderr()].concat().matches(NEWS).count()
}

/// What `pulse status` says.
fn shown_by_the_command_line(daemon: &Daemon) -> String {
    let mut command = pulse(daemon.folder());
    command.args(["--server", &daemon.url, "status"]).env("PULSE_TOKEN", &daemon.admin_token);
    let output = command.output().expect("pulse runs");
    [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat()
}

#[tokio::test]
async fn without_a_redis_nothing_speaks_of_one() {
    let daemon = Daemon::start(DaemonOptions::new()).await;
    let client = daemon.client();
    assert_eq!(client.get("/v1/status").await.json()["redis"], Value::Null);
    assert!(!client.get("/metrics").await.text.contains("pulse_redis"), "a series of a Redis that is not set");
    assert_eq!(client.get("/ready").await.json()["degraded"], Value::Null);
}
