//! The same thing asked for twice at once, over HTTP.

use std::collections::BTreeSet;

use pulse_tests::daemon::{Answered, Client, Daemon, DaemonOptions};
use serde_json::{Value, json};
use tokio::task::JoinSet;

const AT_ONCE: usize = 8;

/// Sends the same request several times at once.
async fn at_once(client: &Client, path: &str, body: &Value, idempotency_key: Option<&str>) -> Vec<Answered> {
    let mut requests = JoinSet::new();
    for _ in 0..AT_ONCE {
        let mut request = client.request("POST", path).header("content-type", "application/json");
        if let Some(key) = idempotency_key {
            request = request.header("idempotency-key", key);
        }
        let (client, request) = (client.clone(), request.body(body.to_string()));
        requests.spawn(async move { client.send(request).await });
    }
    requests.join_all().await
}

async fn keys(client: &Client, project: &str) -> Vec<Value> {
    let page = client.get(&format!("/v1/projects/{project}/keys")).await.json();
    page["data"].as_array().unwrap().clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn of_rotations_of_one_key_at_once_exactly_one_wins_and_the_others_are_told() {
    let daemon = Daemon::start(DaemonOptions::new()).await;
    let client = daemon.client();
    // With one step a second rotation finds a key that was rotated; with two, one that is about to be.
    for (commit, code) in [(true, "wrong_state"), (false, "rotation_pending")] {
        let project = client.project_of(if commit { "one step" } else { "two steps" }, "Enterprise").await;
        let id = project["id"].as_str().unwrap();
        let key = keys(&client, id).await[0]["id"].as_str().unwrap().to_owned();
        let path = format!("/v1/projects/{id}/keys/{key}/rotate");
        let answers = at_once(&client, &path, &json!({ "commit": commit }), None).await;
        let (won, lost): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status == 201);
        assert_eq!(won.len(), 1, "{answers:?}");
        for answer in lost {
            assert_eq!((answer.status, answer.code().as_str()), (409, code), "{}", answer.text);
        }
        assert_eq!(keys(&client, id).await.len(), 2, "the old key and one successor");
        let secret = won[0].json()["pulse_api_secret"].as_str().unwrap().to_owned();
        assert_eq!(client.send(client.bare("GET", "/v1/me").bearer_auth(secret)).await.status, 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn creations_at_once_under_one_idempotency_key_are_one_creation() {
    let daemon = Daemon::start(DaemonOptions::new()).await;
    let client = daemon.client();
    let org = client.project("Enterprise").await["org_id"].clone();
    let body = json!({ "org_id": org, "name": "once" });
    let answers = at_once(&client, "/v1/projects", &body, Some("the-one")).await;
    assert!(answers.iter().all(|answer| answer.status == 201), "{answers:?}");
    let first: Vec<_> = answers.iter().filter(|answer| answer.header("idempotent-replayed").is_empty()).collect();
    assert_eq!(first.len(), 1, "one answer is the first, the others repeat it: {answers:?}");
    let bodies: BTreeSet<String> = answers.iter().map(|answer| answer.json().to_string()).collect();
    assert_eq!(bodies.len(), 1, "{bodies:?}");
    let named = client.get("/v1/projects?name_prefix=once").await.json();
    assert_eq!(named["data"].as_array().unwrap().len(), 1, "{named}");
}
