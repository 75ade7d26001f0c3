//! Tokens of Pulse at a real LiveKit with a real client: what they let in, and what they keep out.

use std::{process::Command, time::Duration};

use pulse_core::time::{Clock as _, SystemClock};
use pulse_tests::{
    daemon::{Client, Daemon, DaemonOptions, program},
    peers::{
        livekit::LiveKit,
        python::{Join, Media},
    },
    plane::{TestPlane, operator},
};
use serde_json::{Value, json};

async fn daemon(livekit: &LiveKit) -> Daemon {
    let options = DaemonOptions::new()
        .env("LIVEKIT_HOST", livekit.ws_url())
        .env("LIVEKIT_API_KEY", livekit.key())
        .env("LIVEKIT_API_SECRET", livekit.secret());
    Daemon::start(options).await
}

/// A token over REST with a project's key.
async fn token(client: &Client, project: &Value, body: Value) -> Value {
    let secret = project["pulse_api_secret"].as_str().expect("a new project shows its secret");
    let request = client.bare("POST", "/v1/tokens/create").bearer_auth(secret);
    let answer = client.send(request.header("content-type", "application/json").body(body.to_string())).await;
    assert_eq!(answer.status, 201, "{}", answer.text);
    answer.json()
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_else(|| panic!("{field} is not a text in {value}"))
}

#[tokio::test]
async fn a_token_made_over_rest_joins_publishes_and_is_heard() {
    let livekit = LiveKit::shared().await;
    let daemon = daemon(livekit).await;
    let client = daemon.client();
    let project = client.project("Enterprise").await;
    let made =
        |identity: &str| json!({ "room_name": "standup", "identity": identity, "attributes": { "team": "red" } });
    let (ann, bob) = (token(&client, &project, made("ann")).await, token(&client, &project, made("bob")).await);

    let ann = Join::new(text(&ann, "server_url"), text(&ann, "token")).publish(&[Media::Audio]).stay().await;
    let bob = Join::new(text(&bob, "server_url"), text(&bob, "token")).subscribe(&[Media::Audio]).run().await;
    let ann = ann.leave().await;

    assert_eq!((ann.error, ann.publish_error, bob.error, bob.subscribe_error), (None, None, None, None));
    assert_eq!(ann.room_name, Some(format!("{}~standup", text(&project, "id"))), "the wire name carries the project");
    assert_eq!(ann.attributes.get("pulse.project_id").map(String::as_str), project["id"].as_str());
    assert_eq!(ann.attributes.get("team").map(String::as_str), Some("red"));
}

#[tokio::test]
async fn a_token_made_by_the_local_command_line_joins() {
    let livekit = LiveKit::shared().await;
    let daemon = daemon(livekit).await;
    let project = daemon.client().project("Enterprise").await;
    let output = Command::new(program("pulse"))
        .env_clear()
        .current_dir(daemon.folder())
        .env("HOME", daemon.folder())
        .envs(pulse_tests::daemon::OUTBOUND)
        .env("LIVEKIT_HOST", livekit.ws_url())
        .env("LIVEKIT_API_KEY", livekit.key())
        .env("LIVEKIT_API_SECRET", livekit.secret())
        .args(["--local", "--store", "sqlite:pulse-data/pulse.db", "token", "create", "-q"])
        .args(["--project", text(&project, "id"), "--room", "local", "--identity", "carol"])
        .output()
        .expect("pulse runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let token = String::from_utf8(output.stdout).expect("text");

    let carol = Join::new(livekit.ws_url(), token.trim()).run().await;

    assert_eq!(carol.error, None, "LiveKit refused the token");
    assert_eq!(carol.identity.as_deref(), Some("carol"));
}

#[tokio::test]
async fn can_publish_false_really_cannot_publish() {
    let livekit = LiveKit::shared().await;
    let daemon = daemon(livekit).await;
    let client = daemon.client();
    let project = client.project("Enterprise").await;
    let mute = token(&client, &project, json!({ "room_name": "r", "identity": "mute", "can_publish": false })).await;
    let camera = json!({ "room_name": "r", "identity": "mic", "can_publish_sources": ["microphone"] });
    let microphone = token(&client, &project, camera).await;

    let mute = Join::new(livekit.ws_url(), text(&mute, "token")).publish(&[Media::Audio]).run().await;
    let microphone = Join::new(livekit.ws_url(), text(&microphone, "token")).publish(&[Media::Video]).run().await;

    assert!(mute.connected && mute.published.is_empty(), "can_publish false was not enforced: {mute:?}");
    assert_eq!(mute.permissions.get("can_publish"), Some(&json!(false)));
    assert!(microphone.connected && microphone.published.is_empty(), "only a microphone was allowed: {microphone:?}");
}

#[tokio::test]
async fn a_token_of_one_project_cannot_meet_another_project_in_a_room_of_the_same_name() {
    let livekit = LiveKit::shared().await;
    let t = TestPlane::signing_for(livekit).await;
    t.clock.set(SystemClock::new().now());
    pulse_core::worker::follow(&t.plane).await.expect("follows");
    let (a, b) = (t.customer("a").await, t.customer("b").await);
    let body = json!({ "room_name": "standup", "identity": "x" }).to_string();
    let of_a = t.send(&a.caller, "tokens.create", &[], "", &body).await.expect("creates");
    let of_b = t.send(&b.caller, "tokens.create", &[], "", &body).await.expect("creates");

    let a_in = Join::new(livekit.ws_url(), text(&of_a, "token")).publish(&[Media::Audio]).stay().await;
    let b_in = Join::new(livekit.ws_url(), text(&of_b, "token")).subscribe(&[Media::Audio]).wait(3).run().await;
    let a_in = a_in.leave().await;

    assert!(a_in.connected && b_in.connected, "{a_in:?} {b_in:?}");
    assert_ne!(a_in.room_sid, b_in.room_sid, "two projects met in one room");
    assert_eq!(b_in.subscribed, [], "one project heard another");
    assert_eq!(a_in.disconnect_reason.as_deref(), Some("CLIENT_INITIATED"), "the same identity elsewhere put it out");
}

#[tokio::test]
async fn a_token_with_the_ceiling_of_its_preset_joins_and_shows_it_to_nobody() {
    let livekit = LiveKit::shared().await;
    let t = TestPlane::signing_for(livekit).await;
    t.clock.set(SystemClock::new().now());
    pulse_core::worker::follow(&t.plane).await.expect("follows");
    let a = t.customer("a").await;
    let guest =
        json!({ "can_publish": false, "can_subscribe": true, "can_publish_data": false, "max_ttl_seconds": 3600 });
    let presets = json!({ "token_presets": { "guest": guest } });
    let id = a.id().to_string();
    t.send(&operator(), "projects.update", &[("id", &id)], "", &presets.to_string()).await.expect("updates");
    let caller = t.login(&a.secret).await.expect("works");
    let body = json!({ "room_name": "guests", "identity": "guest", "preset": "guest" }).to_string();
    let made = t.send(&caller, "tokens.create", &[], "", &body).await.expect("creates");
    let body = json!({ "token": made["token"] }).to_string();
    let next = t.send(&caller, "tokens.refresh", &[], "", &body).await.expect("refreshes");

    let guest = Join::new(livekit.ws_url(), text(&next, "token")).run().await;

    assert_eq!(guest.error, None, "LiveKit refused the token");
    let shown: Vec<&str> = guest.attributes.keys().map(String::as_str).collect();
    assert_eq!(shown, ["pulse.jti", "pulse.project_id"]);
}

#[tokio::test]
async fn an_expired_token_is_refused_by_livekit_once_its_minute_of_leeway_is_over() {
    let livekit = LiveKit::shared().await;
    let t = TestPlane::signing_for(livekit).await;
    let now = SystemClock::new().now();
    t.clock.set(now.minus(Duration::from_secs(200)));
    pulse_core::worker::follow(&t.plane).await.expect("follows");
    let a = t.customer("a").await;
    let body = |ttl: u32| json!({ "room_name": "late", "identity": "x", "ttl_seconds": ttl }).to_string();
    let ended = t.send(&a.caller, "tokens.create", &[], "", &body(60)).await.expect("creates");
    let within = t.send(&a.caller, "tokens.create", &[], "", &body(180)).await.expect("creates");

    let ended = Join::new(livekit.ws_url(), text(&ended, "token")).run().await;
    let within = Join::new(livekit.ws_url(), text(&within, "token")).run().await;

    assert!(!ended.connected && ended.error.is_some(), "a token that ended 140 s ago was let in");
    assert_eq!(within.error, None, "LiveKit lets a token in that ended 20 s ago, which is why the documents say so");
}

#[tokio::test]
async fn without_livekit_tokens_are_still_made_and_the_status_says_so() {
    let port = pulse_tests::ports::free();
    let options = DaemonOptions::new()
        .env("LIVEKIT_HOST", format!("ws://127.0.0.1:{port}"))
        .env("LIVEKIT_API_KEY", "APIx")
        .env("LIVEKIT_API_SECRET", "a-secret-of-a-livekit-that-is-not-there");
    let daemon = Daemon::start(options).await;
    let client = daemon.client();
    let project = client.project("Enterprise").await;
    token(&client, &project, json!({ "room_name": "r", "identity": "i" })).await;
    let status = client.get("/v1/status").await.json();
    assert_eq!((&status["state"], &status["livekit"]["state"]), (&json!("degraded"), &json!("down")));
    assert_eq!(client.get("/ready").await.status, 200, "LiveKit is no reason not to be ready");
}
