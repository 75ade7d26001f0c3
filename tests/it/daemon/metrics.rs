//! What `/metrics` tells an operator.

use pulse_tests::{
    daemon::{Daemon, DaemonOptions},
    peers::mongo::Mongo,
};
use serde_json::json;

/// The value of a series, 0 when it is not there.
fn value(text: &str, series: &str) -> f64 {
    let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.map_or(0.0, |number| number.parse().expect("a number"))
}

#[tokio::test]
async fn the_metrics_count_requests_commits_keys_and_limits() {
    let daemon = Daemon::start(DaemonOptions::new()).await;
    let client = daemon.client();
    let project = client.project("Pro").await;
    let (id, secret) = (project["id"].as_str().unwrap(), project["pulse_api_secret"].as_str().unwrap());
    let as_key = |method, path: &str| client.bare(method, path).bearer_auth(secret);
    let limits = json!({ "limits": { "requests_per_minute": 2 } }).to_string();
    let narrow = client.request("PUT", &format!("/v1/projects/{id}")).header("content-type", "application/json");
    assert_eq!(client.send(narrow.body(limits)).await.status, 200);
    for expected in [200, 200, 429] {
        assert_eq!(client.send(as_key("GET", "/v1/me")).await.status, expected);
    }
    let token = json!({ "project_id": id, "room_name": "r", "identity": "i" });
    let unsigned = client.post("/v1/tokens/create", &token).await;
    assert_eq!(unsigned.status, 409, "there is no LiveKit key");

    let text = client.get("/metrics").await.text;
    for (series, least) in [
        ("pulse_requests_total{operation=\"me.get\",status=\"200\"}", 2.0),
        ("pulse_requests_total{operation=\"me.get\",status=\"429\"}", 1.0),
        ("pulse_requests_total{operation=\"projects.create\",status=\"201\"}", 1.0),
        ("pulse_requests_total{operation=\"tokens.create\",status=\"409\"}", 1.0),
        ("pulse_request_seconds_bucket{operation=\"projects.create\",le=\"+Inf\"}", 1.0),
        ("pulse_request_seconds_count{operation=\"me.get\"}", 2.0),
        // The organization, the project and its change.
        ("pulse_store_commit_seconds_count", 3.0),
        ("pulse_store_commit_group_sum", 3.0),
        ("pulse_keys_cached", 1.0),
        ("pulse_key_lookups_total{result=\"miss\"}", 1.0),
        ("pulse_key_lookups_total{result=\"hit\"}", 2.0),
        ("pulse_rate_limited_total{kind=\"key\"}", 1.0),
    ] {
        let found = value(&text, series);
        assert!(found >= least, "{series} is {found}, not {least}:\n{text}");
    }
    for (series, exact) in [("pulse_keys_cached", 1.0), ("pulse_rate_limited_total{kind=\"key\"}", 1.0)] {
        assert!((value(&text, series) - exact).abs() < 0.5, "{series}:\n{text}");
    }
}

#[tokio::test]
async fn commits_are_timed_and_counted_where_none_is_shared() {
    let mongo = Mongo::shared().await;
    let uri = mongo.uri(&mongo.unique_database());
    let memory = DaemonOptions::new().env("PULSE_STORE", "memory:");
    for options in [DaemonOptions::new().over_mongodb(uri), memory] {
        let daemon = Daemon::start(options).await;
        let client = daemon.client();
        let before = client.get("/metrics").await.text;
        client.project("Pro").await;
        let after = client.get("/metrics").await.text;
        // The organization and the project; what works in the background may add to them.
        for series in ["pulse_store_commit_seconds_count", "pulse_store_commit_group_sum"] {
            let (before, after) = (value(&before, series), value(&after, series));
            assert!(after >= before + 2.0, "{series} was {before}, then {after}");
        }
        let alone = value(&after, "pulse_store_commit_group_bucket{le=\"1\"}");
        assert!((alone - value(&after, "pulse_store_commit_group_count")).abs() < 0.5, "a commit was shared:\n{after}");
        assert!(value(&after, "pulse_store_commit_seconds_sum") > 0.0, "commits took no time:\n{after}");
        daemon.stop().await;
    }
}
