//! What two customers and the operator are told while the recorded story happens to both of them, and what the daemon
//! leaves on disk and in its log: nobody sees what is another's, and secrets are nowhere.

use std::path::Path;

use bytes::Bytes;
use pulse_core::time::{Clock as _, SystemClock};
use pulse_tests::{
    daemon::Client,
    livekit_sender::{Fate, Recorded, Retelling, Webhook},
    receiver::{Action, Answer, Behaviour, Received},
};
use serde_json::{Value, json};

use super::scene::{KEY, SOON, Scene};

/// In LiveKit's webhooks, and of no concern to anybody else.
const TURN_PASSWORD: &str = "eYs88B4Lff4srbnYpi25EYoKajSEASuweqIxsMba2huD";
const STREAM_KEY: &str = "WA6LhFe5cGcB";
/// A customer's own LiveKit.
const OWN_SECRET: &str = "secret-of-a-livekit-that-a-customer-brought";
/// What a receiver says to Pulse and to nobody else.
const COOKIE: &str = "cookie-of-a-receiver";
/// Files that are there to hold secrets, and that only the daemon can read.
const PRIVATE: [&str; 2] = [".keys", ".admin-token"];

/// One of the two.
struct Tenant {
    project: String,
    key: String,
    path: String,
    room: &'static str,
    /// All of its ids at LiveKit end with this.
    suffix: &'static str,
    /// What its endpoint's secret and headers are.
    signing: String,
    header: String,
    endpoint: String,
}

impl Tenant {
    async fn new(scene: &Scene, room: &'static str, suffix: &'static str) -> Self {
        let project = scene.client().project_of(room, "Enterprise").await;
        let text = |value: &Value, field: &str| value[field].as_str().expect("a text").to_owned();
        let (id, key) = (text(&project, "id"), text(&project, "pulse_api_secret"));
        let (path, header) = (format!("/{room}"), format!("header-secret-of-{room}"));
        let made = scene.endpoint(&id, &path, json!({ "headers": { "x-shared-secret": header } })).await;
        let (signing, endpoint) = (text(&made, "secret"), text(&made, "id"));
        Self { project: id, key, path, room, suffix, signing, header, endpoint }
    }

    /// The recorded story as it happens in this tenant's room.
    fn story(&self) -> Vec<Webhook> {
        let start = SystemClock::new().now().minus(std::time::Duration::from_secs(120));
        let retelling = Retelling::new(&format!("{}~{}", self.project, self.room), start, self.suffix);
        Recorded::story(&retelling).into_iter().map(|(_, webhook)| webhook).collect()
    }

    /// What nobody but this tenant and the operator may see.
    fn marks(&self) -> Vec<String> {
        // A room's sid, as it ends in this tenant's story.
        vec![
            self.project.clone(),
            self.room.to_owned(),
            format!("RM_zfXtJiQwnRua{}", self.suffix),
            self.endpoint.clone(),
        ]
    }
}

/// What must not be where it is not needed, with a name for each.
fn secrets(tenants: &[Tenant]) -> Vec<(String, String)> {
    let mut secrets: Vec<(String, String)> = [
        ("turnPassword", TURN_PASSWORD),
        ("streamKey", STREAM_KEY),
        ("LiveKit's secret", KEY.1),
        ("a customer's LiveKit's secret", OWN_SECRET),
        ("a cookie", COOKIE),
    ]
    .map(|(name, secret)| (name.to_owned(), secret.to_owned()))
    .into();
    for tenant in tenants {
        let signing = tenant.signing.trim_start_matches("whsec_").to_owned();
        secrets.push((format!("{}: the signing secret", tenant.room), signing));
        secrets.push((format!("{}: the endpoint's header", tenant.room), tenant.header.clone()));
        secrets.push((format!("{}: the API key", tenant.room), tenant.key.clone()));
    }
    secrets
}

fn holds_none(place: &str, bytes: &[u8], secrets: &[(String, String)]) {
    for (name, secret) in secrets {
        let found = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
        assert!(!found, "{place} has {name}");
    }
}

/// Names as the shared LiveKit has them: a project, `~`, and a room.
fn holds_no_wire_name(place: &str, text: &str, tenants: &[Tenant]) {
    for tenant in tenants {
        assert!(!text.contains(&format!("{}~", tenant.project)), "{place} has a room as LiveKit calls it");
    }
}

/// A webhook of the story with one thing replaced, so that it is another event.
fn instead(webhook: &Webhook, this: &str, that: &str) -> Webhook {
    let body = std::str::from_utf8(&webhook.body).expect("UTF-8");
    let body = body.replace(this, that).replace(&webhook.id, &format!("{}x", webhook.id));
    Webhook { id: format!("{}x", webhook.id), body: Bytes::from(body), ..webhook.clone() }
}

/// Has the beginning of the tenant's room sent to its endpoint once more; gives the answer.
async fn replayed(client: &Client, tenant: &Tenant) -> String {
    let body = json!({
        "project_id": tenant.project, "status": "all", "types": ["room_started"], "rooms": [tenant.room],
    });
    let started = client.post("/v1/webhooks/replays", &body).await;
    assert_eq!(started.status, 202, "{}", started.text);
    started.text
}

/// What a stream gives until the first event of the tenant's room has come whole: it has no end of its own.
async fn streamed(client: &Client, tenant: &Tenant, path: &str) -> String {
    let mut response = client.request("GET", path).send().await.expect("an answer");
    assert_eq!(response.status(), 200, "{path}");
    let mut bytes: Vec<u8> = Vec::new();
    loop {
        let chunk = response.chunk().await.expect("the stream does not break").expect("the stream does not end");
        bytes.extend_from_slice(&chunk);
        let text = String::from_utf8_lossy(&bytes);
        if text.contains(tenant.room) && text.ends_with("\n\n") {
            return text.into_owned();
        }
    }
}

/// Everything that a caller can read about a project.
async fn answers(scene: &Scene, tenant: &Tenant, token: &str) -> Vec<(String, String)> {
    let client = scene.client().with_token(token);
    let mut answers = Vec::new();
    let of = format!("project_id={}", tenant.project);
    let ids = async |path: &str| -> Vec<String> {
        let list = client.get(path).await.json();
        let rows = list["data"].as_array().unwrap_or_else(|| panic!("{path}: {list}"));
        rows.iter().map(|row| row["id"].as_str().expect("an id").to_owned()).collect()
    };
    let mut paths = vec![
        "/v1/me".to_owned(),
        format!("/v1/projects/{}", tenant.project),
        format!("/v1/projects/{}/keys", tenant.project),
        format!("/v1/usage/{}?limit=100", tenant.project),
        format!("/v1/bans?{of}"),
        format!("/v1/sessions?{of}"),
        format!("/v1/webhooks/endpoints?{of}"),
        format!("/v1/webhooks/endpoints/{}?{of}", tenant.endpoint),
        format!("/v1/webhooks/deliveries?{of}&limit=100"),
        format!("/v1/webhooks/replays?{of}"),
        format!("/v1/events?{of}&limit=100"),
    ];
    answers.push(("a new replay".to_owned(), replayed(&client, tenant).await));
    for id in ids(&format!("/v1/webhooks/replays?{of}")).await {
        paths.push(format!("/v1/webhooks/replays/{id}?{of}"));
    }
    for id in ids(&format!("/v1/sessions?{of}")).await {
        paths.push(format!("/v1/sessions/{id}?{of}"));
        paths.push(format!("/v1/events?{of}&session_id={id}&limit=100"));
    }
    for id in ids(&format!("/v1/events?{of}&limit=100")).await {
        paths.push(format!("/v1/events/{id}?{of}"));
    }
    for id in ids(&format!("/v1/webhooks/deliveries?{of}&limit=100")).await {
        paths.push(format!("/v1/webhooks/deliveries/{id}?{of}"));
        paths.push(format!("/v1/webhooks/deliveries/{id}/attempts?{of}"));
    }
    for path in paths {
        let answer = client.get(&path).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text);
        answers.push((path, answer.text));
    }
    let stream = format!("/v1/events/stream?{of}&from=2020-01-01T00:00:00Z");
    answers.push((stream.clone(), streamed(&client, tenant, &stream).await));
    assert!(answers.len() > 170, "only {} answers were looked at", answers.len());
    answers
}

fn request_text(received: &Received) -> String {
    let headers: Vec<String> = received.headers().map(|(name, value)| format!("{name}: {value}")).collect();
    format!("{}\n{}\n{}", received.path(), headers.join("\n"), String::from_utf8_lossy(&received.body))
}

/// What the daemon has on disk, but for what is there to hold secrets.
fn files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let data = std::fs::read_dir(folder.join("pulse-data")).expect("the store's folder");
    let all = data.map(|entry| entry.expect("an entry").path());
    let read = all.filter(|path| {
        let name = path.to_string_lossy();
        path.is_file() && !PRIVATE.iter().any(|private| name.ends_with(private))
    });
    let files: Vec<_> = read.map(|path| (path.display().to_string(), std::fs::read(&path).expect("a file"))).collect();
    let bytes: usize = files.iter().map(|(_, bytes)| bytes.len()).sum();
    assert!(bytes > 100_000, "only {bytes} bytes were looked at");
    files
}

/// The story of both, told to the daemon, and of what belongs to nobody.
async fn happen(scene: &Scene, tenants: &[Tenant]) {
    for tenant in tenants {
        let story = tenant.story();
        // One of a kind that Pulse does not know, of which nothing is kept but its type, the room and who; and one of a project
        // that is not there, which is kept as it came.
        let unknown = instead(&story[1], "\"participant_joined\"", "\"participant_sneezed\"");
        let unclaimed = instead(&story[1], &tenant.project, "prj_7ZZZZZZZZZZZZZZZZZZZZZZZZZ");
        story.into_iter().chain([unknown, unclaimed]).for_each(|webhook| scene.sender.send(webhook));
    }
    let outcomes = scene.sender.settled(SOON).await;
    assert!(outcomes.iter().all(|outcome| outcome.fate == Fate::Acknowledged), "{outcomes:?}");
    // 51, one of an unknown kind, and three recordings, each.
    scene.receiver.wait_until("all have arrived", SOON, |counts| counts.succeeded >= 2 * 55).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_sees_what_is_anothers_and_secrets_are_nowhere() {
    let scene = Scene::new().await;
    scene.receiver.behave(Behaviour::by(|received| {
        let status = if received.number == 3 { 500 } else { 200 };
        Action::Answer(Answer::new(status).header("Set-Cookie", COOKIE))
    }));
    let tenants = [Tenant::new(&scene, "alpha-room", "aaaa").await, Tenant::new(&scene, "beta-room", "bbbb").await];
    let org = scene.client().post("/v1/organizations", &json!({ "name": "own", "admin_email": "a@b.example" })).await;
    let own = json!({
        "org_id": org.json()["id"], "name": "own", "livekit_url": "ws://127.0.0.1:1", "livekit_api_key": "APIown",
        "livekit_api_secret": OWN_SECRET,
    });
    assert_eq!(scene.client().post("/v1/projects", &own).await.status, 201);
    happen(&scene, &tenants).await;
    let secrets = secrets(&tenants);

    for (tenant, other) in [(&tenants[0], &tenants[1]), (&tenants[1], &tenants[0])] {
        for (path, text) in answers(&scene, tenant, &tenant.key).await {
            holds_none(&path, text.as_bytes(), &secrets);
            holds_no_wire_name(&path, &text, &tenants);
            other.marks().iter().for_each(|mark| assert!(!text.contains(mark), "{path} has {mark} of another: {text}"));
        }
        for (path, text) in answers(&scene, tenant, &scene.daemon().admin_token).await {
            holds_none(&path, text.as_bytes(), &secrets);
        }
        let came = async || {
            let mut received = scene.receiver.received().into_iter();
            received.any(|one| one.path() == tenant.path && !one.header("pulse-replay").is_empty()).then_some(())
        };
        scene.daemon().process.until("what is replayed has come", SOON, came).await;
        let received = scene.receiver.received().into_iter().filter(|received| received.path() == tenant.path);
        for received in received {
            let text = request_text(&received);
            let own_header = format!("x-shared-secret: {}", tenant.header);
            assert!(text.contains(&own_header), "{text}");
            holds_none("a delivery", text.replace(&own_header, "").as_bytes(), &secrets);
            holds_no_wire_name("a delivery", &text, &tenants);
            other.marks().iter().for_each(|mark| assert!(!text.contains(mark), "{mark} of another: {text}"));
        }
    }
    for path in ["/v1/webhooks/livekit/unclaimed", "/v1/audit-logs", "/v1/status", "/metrics", "/ready", "/v1/projects"]
    {
        let answer = scene.client().get(path).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text);
        holds_none(path, answer.text.as_bytes(), &secrets);
    }
    let while_it_runs = files(scene.daemon().folder());
    scene.daemon().stop().await;
    for (file, bytes) in while_it_runs.into_iter().chain(files(scene.daemon().folder())) {
        holds_none(&file, &bytes, &secrets);
    }
    let log = scene.daemon().process.stderr() + &scene.daemon().process.stdout();
    assert!(log.contains("\"message\":\"stopped\""), "{log}");
    holds_none("the log", log.as_bytes(), &secrets);
    holds_no_wire_name("the log", &log, &tenants);
}
