//! A thousand deliveries by the clock on the wall, and what the libraries that customers verify them with say of each: the
//! official ones for Standard Webhooks, in Python and in JavaScript.

use std::{collections::BTreeMap, time::Duration};

use pulse_core::{
    deliver::sign::{self, SigningSecret},
    entropy::SeededEntropy,
    time::{Clock as _, SystemClock},
};
use pulse_tests::{
    livekit_sender::{Fate, Story},
    peers::standard_webhooks::{Library, Message, judge},
    receiver::{Action, Behaviour, Received},
};
use serde_json::json;

use super::{
    load::tell,
    scene::{SOON, Scene},
};

const LIBRARIES: [Library; 2] = [Library::Python, Library::JavaScript];
/// Events between one rotation and the next, each of which goes to two endpoints.
const EVENTS: [usize; 3] = [200, 150, 150];
/// The headers that the standard has.
const HEADERS: [&str; 3] = ["webhook-id", "webhook-timestamp", "webhook-signature"];

/// A customer with two endpoints, whose secrets are replaced again and again.
struct Stage {
    scene: Scene,
    project: String,
    story: Story,
    endpoints: Vec<Endpoint>,
    /// Requests that were looked at.
    judged: usize,
    /// Deliveries that arrived.
    arrived: u64,
}

struct Endpoint {
    id: String,
    path: String,
    /// Oldest first.
    secrets: Vec<String>,
}

impl Stage {
    async fn new() -> Self {
        let scene = Scene::new().await;
        // One in ten is refused at first, and sent again under another time.
        scene.receiver.behave(Behaviour::by(|received| {
            if received.attempt == 1 && received.number % 10 == 0 { Action::status(500) } else { Action::ok() }
        }));
        let project = scene.client().project("Enterprise").await;
        let project = project["id"].as_str().expect("an id").to_owned();
        let mut endpoints = Vec::new();
        for path in ["/one", "/other"] {
            let made = scene.endpoint(&project, path, json!({ "max_in_flight": 32 })).await;
            let text = |field: &str| made[field].as_str().expect("a text").to_owned();
            endpoints.push(Endpoint { id: text("id"), path: path.to_owned(), secrets: vec![text("secret")] });
        }
        let rooms = (0..16).map(|room| format!("{project}~room {room}"));
        let story = Story::new(10, rooms, 3, SystemClock::new().now(), Duration::from_millis(1));
        Self { scene, project, story, endpoints, judged: 0, arrived: 0 }
    }

    /// Replaces the secret of every endpoint; the old ones sign for so many seconds more.
    async fn rotate(&mut self, overlap: u32) {
        for endpoint in &mut self.endpoints {
            let body = json!({ "project_id": self.project, "overlap_seconds": overlap });
            let path = format!("/v1/webhooks/endpoints/{}/rotate-secret", endpoint.id);
            let made = self.scene.client().post(&path, &body).await;
            endpoint.secrets.push(made.json()["secret"].as_str().expect("a new secret is shown").to_owned());
        }
    }

    /// Waits until only one secret signs, which a clock on the wall decides.
    async fn one_secret_signs(&self) {
        for endpoint in &self.endpoints {
            let path = format!("/v1/webhooks/endpoints/{}?project_id={}", endpoint.id, self.project);
            let ended = async || (self.scene.client().get(&path).await.json()["live_secrets"] == 1).then_some(());
            self.scene.daemon().process.until("the old secrets have ended", SOON, ended).await;
        }
    }

    /// Lets so many events happen, and gives the requests that came of them.
    async fn happen(&mut self, events: usize) -> Vec<Received> {
        for webhook in self.story.by_ref().take(events) {
            self.scene.sender.send(webhook);
        }
        let outcomes = self.scene.sender.settled(SOON).await;
        assert!(outcomes.iter().all(|outcome| outcome.fate == Fate::Acknowledged), "LiveKit gave up");
        self.arrived += 2 * events as u64;
        let arrived = self.arrived;
        self.scene.receiver.wait_until("all have arrived", SOON, move |counts| counts.succeeded >= arrived).await;
        let received = self.scene.receiver.received().split_off(self.judged);
        self.judged += received.len();
        received
    }

    /// What the receivers have who know the endpoint's secret of this number, from the last one back.
    fn known(&self, received: &[Received], back: usize) -> Vec<Message> {
        let secret = |received: &Received| {
            let endpoint =
                self.endpoints.iter().find(|endpoint| endpoint.path == received.path()).expect("an endpoint");
            endpoint.secrets[endpoint.secrets.len() - 1 - back].clone()
        };
        received.iter().map(|received| message(&secret(received), received)).collect()
    }
}

fn message(secret: &str, received: &Received) -> Message {
    Message {
        secret: secret.to_owned(),
        headers: HEADERS.map(|name| (name.to_owned(), received.header(name).to_owned())).into(),
        body: String::from_utf8(received.body.to_vec()).expect("UTF-8"),
    }
}

fn all_good(messages: &[Message]) {
    for library in LIBRARIES {
        let refused: Vec<_> = judge(library, messages).into_iter().flatten().collect();
        assert!(refused.is_empty(), "{library:?} refuses {} of {}: {:?}", refused.len(), messages.len(), refused[0]);
    }
}

fn none_good(messages: &[Message]) {
    for library in LIBRARIES {
        let good = judge(library, messages).iter().filter(|verdict| verdict.is_none()).count();
        assert_eq!(good, 0, "{library:?} takes {good} of {}", messages.len());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_official_libraries_verify_every_one_of_a_thousand_deliveries_over_rotations_and_nothing_else() {
    let mut stage = Stage::new().await;
    let first = stage.happen(EVENTS[0]).await;
    all_good(&stage.known(&first, 0));
    refuse_what_was_changed(&stage, &first[0]);

    // Whoever knows either secret is content.
    stage.rotate(86_400).await;
    let second = stage.happen(EVENTS[1]).await;
    all_good(&stage.known(&second, 0));
    all_good(&stage.known(&second, 1));

    stage.rotate(1).await;
    stage.one_secret_signs().await;
    let third = stage.happen(EVENTS[2]).await;
    all_good(&stage.known(&third, 0));
    for back in [1, 2] {
        none_good(&stage.known(&third, back));
    }
    let retried = first.iter().chain(&second).chain(&third).filter(|received| received.attempt > 1).count();
    assert!(retried >= 50, "only {retried} attempts were second ones");
    tell(&format!("{} deliveries in {} requests", stage.arrived, stage.judged));
}

/// The message with another part, a stranger's secret, or a signature of long ago: no library may take any of them.
fn refuse_what_was_changed(stage: &Stage, received: &Received) {
    let good = stage.known(std::slice::from_ref(received), 0).remove(0);
    let with = |name: &str, value: String| {
        let mut headers: BTreeMap<String, String> = good.headers.clone();
        headers.insert(name.to_owned(), value);
        Message { headers, ..good.clone() }
    };
    let timestamp: i64 = good.headers["webhook-timestamp"].parse().expect("a number");
    let stranger = SigningSecret::generate(&SeededEntropy::new(4));
    let own = SigningSecret::parse(&good.secret).expect("a secret");
    let old = timestamp - 600;
    let signed = sign::Message { id: received.webhook_id(), timestamp: old, body: &[received.body.as_ref()] };
    let mut replayed = with("webhook-timestamp", old.to_string());
    replayed.headers.insert("webhook-signature".to_owned(), sign::sign(&[own], &signed));
    none_good(&[
        Message { body: good.body.replacen("\"sequence\":", "\"sequence\": ", 1), ..good.clone() },
        with("webhook-id", format!("{}0", received.webhook_id())),
        with("webhook-timestamp", (timestamp + 1).to_string()),
        Message { secret: stranger.text().expose().to_owned(), ..good.clone() },
        replayed,
    ]);
    all_good(&[good]);
}
