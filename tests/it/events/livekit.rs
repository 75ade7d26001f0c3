//! The real LiveKit with real clients: what they did is what the customer is told and charged for, and who is banned does
//! not stay.

use std::collections::BTreeMap;

use pulse_core::time::{Clock as _, SystemClock, Timestamp};
use pulse_tests::{
    daemon::DaemonOptions,
    livekit_sender::ApiKey,
    peers::{
        livekit::{LiveKit, Options},
        python::{Join, Media, Participant, Report},
    },
    ports,
};
use serde_json::{Value, json};

use super::{
    load::tell,
    scene::{SOON, Scene},
};

/// How exact times are: LiveKit says when something ended to the second, and a client knows of it a little later.
const EXACT: f64 = 1.0;
/// LiveKit takes this long at most to notice that a client is dead.
const NOTICED: f64 = 40.0;
const PATH: &str = "/told";

/// A LiveKit that tells a daemon, and one customer.
struct Stage {
    livekit: LiveKit,
    scene: Scene,
    project: String,
    secret: String,
}

impl Stage {
    async fn new() -> Self {
        let port = ports::free();
        let door = format!("http://127.0.0.1:{port}/v1/webhooks/livekit");
        let options = Options { webhook_urls: vec![door], departure_timeout: 1, ..Options::default() };
        let livekit = LiveKit::start_with(&options).await;
        let options = DaemonOptions::new()
            .env("LIVEKIT_HOST", livekit.ws_url())
            .env("LIVEKIT_API_KEY", livekit.key())
            .env("LIVEKIT_API_SECRET", livekit.secret());
        let scene = Scene::with(options, port, ApiKey::new(livekit.key(), livekit.secret())).await;
        let project = scene.client().project("Enterprise").await;
        let text = |field: &str| project[field].as_str().expect("a text").to_owned();
        let (project, secret) = (text("id"), text("pulse_api_secret"));
        scene.endpoint(&project, PATH, json!({})).await;
        Self { livekit, scene, project, secret }
    }

    /// Asks for a token; gives the status and the answer.
    async fn ask_for_token(&self, identity: &str) -> (u16, Value) {
        let client = self.scene.client().with_token(&self.secret);
        let body = json!({ "room_name": "standup", "identity": identity });
        let answer = client.post("/v1/tokens/create", &body).await;
        (answer.status, answer.json())
    }

    async fn token(&self, identity: &str) -> String {
        let (status, answer) = self.ask_for_token(identity).await;
        assert_eq!(status, 201, "{answer}");
        answer["token"].as_str().expect("a token").to_owned()
    }

    async fn join(&self, token: &str, publish: &[Media]) -> Participant {
        let there = Join::new(self.livekit.ws_url(), token).publish(publish).stay().await;
        assert_eq!((&there.report.error, &there.report.publish_error), (&None, &None));
        there
    }

    /// What came to the customer, in the order of the session.
    fn told(&self) -> Vec<Value> {
        let all = self
            .scene
            .receiver
            .received()
            .into_iter()
            .map(|received| (received.webhook_id().to_owned(), received.json()));
        let mut told: Vec<Value> = all.collect::<BTreeMap<_, _>>().into_values().collect();
        told.sort_by_key(|event| event["sequence"].as_u64());
        told
    }

    async fn get(&self, path: &str) -> Value {
        let answer = self.scene.client().with_token(&self.secret).get(path).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        answer.json()
    }
}

/// Now, in seconds since 1970.
fn now() -> f64 {
    SystemClock::new().now().as_millis() as f64 / 1_000.0
}

/// A moment of the API, in seconds since 1970.
fn seconds(moment: &Value) -> f64 {
    let moment: Timestamp = serde_json::from_value(moment.clone()).unwrap_or_else(|_| panic!("no moment: {moment}"));
    moment.as_millis() as f64 / 1_000.0
}

/// Those who are named in events of this type.
fn who<'a>(told: &'a [Value], kind: &str) -> Vec<&'a str> {
    let of_kind = told.iter().filter(|event| event["type"] == kind);
    let mut who: Vec<_> =
        of_kind.map(|event| event["data"]["participant"]["identity"].as_str().unwrap_or("-")).collect();
    who.sort_unstable();
    who
}

#[tokio::test]
async fn the_customer_gets_the_true_story_of_a_room_in_which_one_left_and_one_was_killed() {
    let stage = Stage::new().await;
    let ann = stage.join(&stage.token("ann").await, &[Media::Audio]).await;
    let bob = stage.join(&stage.token("bob").await, &[Media::Audio, Media::Video]).await;
    // LiveKit tells of a track when its first media is there.
    let heard = async || (who(&stage.told(), "track_published") == ["ann", "bob", "bob"]).then_some(());
    stage.scene.daemon().process.until("the customer is told of all tracks", SOON, heard).await;
    let killed = now();
    let bob = bob.kill().await;
    let ann = ann.leave().await;
    let ended = async || stage.told().iter().any(|event| event["type"] == "room_ended").then_some(());
    stage.scene.daemon().process.until("the customer is told of the room's end", SOON * 2, ended).await;

    let told = stage.told();
    let types: Vec<_> = told.iter().map(|event| event["type"].as_str().unwrap_or_default()).collect();
    assert_eq!((types.first(), types.last()), (Some(&"room_started"), Some(&"room_ended")), "{types:?}");
    assert_eq!(who(&told, "participant_joined"), ["ann", "bob"]);
    assert_eq!(who(&told, "track_published"), ["ann", "bob", "bob"]);
    assert_eq!(who(&told, "participant_left"), ["ann", "bob"]);
    let sequences: Vec<_> = told.iter().map(|event| event["sequence"].as_u64()).collect();
    assert_eq!(sequences, (1..=told.len() as u64).map(Some).collect::<Vec<_>>(), "{types:?}");
    let counts = stage.scene.receiver.counts();
    assert_eq!((counts.objected, counts.unequal), (0, 0), "{:?}", stage.scene.receiver.objections());
    account(&stage, &told, &ann, &bob, killed).await;
}

/// The session and the facts of usage say what the clients say.
async fn account(stage: &Stage, told: &[Value], ann: &Report, bob: &Report, killed: f64) {
    let sessions = stage.get("/v1/sessions").await;
    let id = sessions["data"][0]["id"].as_str().expect("a session");
    assert!(told.iter().all(|event| event["session_id"] == id), "{told:?}");
    let session = stage.get(&format!("/v1/sessions/{id}")).await;
    assert_eq!(session["state"], "ended");
    let connection = |identity: &str| {
        let all = session["participants"].as_array().expect("participants");
        all.iter().find(|one| one["identity"] == identity).unwrap_or_else(|| panic!("{identity} is not in {session}"))
    };
    let near = |what: &str, measured: f64, truth: Option<f64>| {
        let off = measured - truth.expect("the client says");
        assert!(off.abs() <= EXACT, "{what} is off by {off:.3} s: {session}");
        off
    };
    let (of_ann, of_bob) = (connection("ann"), connection("bob"));
    let starts = [
        near("ann's start", seconds(&of_ann["joined_at"]), ann.joined_at),
        near("bob's start", seconds(&of_bob["joined_at"]), bob.joined_at),
    ];
    let end = near("ann's end", seconds(&of_ann["left_at"]), ann.left_at);
    let noticed = seconds(&of_bob["left_at"]) - killed;
    assert!((-EXACT..NOTICED).contains(&noticed), "bob was killed {noticed:.3} s before his end");
    let used: f64 = [of_ann, of_bob].iter().map(|one| one["seconds"].as_f64().expect("seconds")).sum();
    let facts = stage.get(&format!("/v1/usage/{}?event_type=participant_seconds", stage.project)).await;
    let facts = facts["data"].as_array().expect("facts");
    let charged: f64 = facts.iter().map(|fact| fact["value"].as_f64().expect("a value")).sum();
    assert_eq!(facts.len(), 2, "{facts:?}");
    assert!((charged - used).abs() < 0.01, "{charged} s are charged for, and the session has {used} s");
    tell(&format!(
        "starts off by {starts:.3?} s, end off by {end:.3} s; LiveKit noticed the killed client after {noticed:.1} s"
    ));
}

/// So long somebody who may not be there is in a room, at most, in seconds: LiveKit's webhook, its commit, a job and LiveKit's
/// answer take a fraction of one.
const PUT_OUT: f64 = 5.0;

/// Waits until the client is put out; how long it was in the room, in seconds.
async fn put_out(there: Participant) -> f64 {
    let since = there.report.joined_at.expect("a client in the room says since when");
    let report = there.until_ended(SOON).await;
    assert_eq!(report.disconnect_reason.as_deref(), Some("PARTICIPANT_REMOVED"));
    report.left_at.expect("a client that is out says since when") - since
}

#[tokio::test]
async fn who_is_banned_is_put_out_and_cannot_come_back_while_the_ban_lasts() {
    let stage = Stage::new().await;
    let old = stage.token("eve").await;
    // Somebody else keeps the room open.
    let ann = stage.join(&stage.token("ann").await, &[]).await;
    let eve = stage.join(&old, &[]).await;
    let (joined, client) = (eve.report.joined_at, stage.scene.client().with_token(&stage.secret));
    let known = async || (who(&stage.told(), "participant_joined") == ["ann", "eve"]).then_some(());
    stage.scene.daemon().process.until("both are known to be there", SOON, known).await;
    let banned = now();
    let ban = client.post("/v1/bans", &json!({ "identity": "eve", "reason": "spam" })).await;
    assert_eq!(ban.status, 201, "{}", ban.text);
    let was_in = put_out(eve).await;
    let took = joined.expect("she was there") + was_in - banned;
    tell(&format!("put out {:.0} ms after the ban", took * 1_000.0));

    let (status, refused) = stage.ask_for_token("eve").await;
    assert_eq!(status, 403, "{refused}");
    for _ in 0..3 {
        let was_in = put_out(stage.join(&old, &[]).await).await;
        assert!(was_in < PUT_OUT, "in the room for {was_in} s");
        tell(&format!("put out {:.0} ms after joining with an older token", was_in * 1_000.0));
    }
    let ended =
        client.send(client.request("DELETE", &format!("/v1/bans/{}", ban.json()["id"].as_str().unwrap()))).await;
    assert!(ended.status < 300, "{}", ended.text);
    let eve = stage.join(&stage.token("eve").await, &[]).await;
    let left = [eve.leave().await, ann.leave().await].map(|report| report.disconnect_reason);
    assert_eq!(left, ["CLIENT_INITIATED", "CLIENT_INITIATED"].map(|reason| Some(reason.to_owned())));
}
