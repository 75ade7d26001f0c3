//! The daemon against its own OpenAPI document: a generator of requests finds no 500 and no answer that the document does
//! not describe.

use std::{
    collections::BTreeMap,
    io::Write as _,
    process::{Command, Stdio},
};

use pulse_core::registry::OPERATIONS;
use pulse_tests::{
    daemon::{Client, Daemon, DaemonOptions},
    peers::python,
};
use serde_json::{Value, json};

/// The same requests in every run.
const SEED: u64 = 20_260_101;
/// Generated requests for an operation beside the systematic ones; more of them take longer and found nothing more.
const EXAMPLES: u32 = 8;

/// Done as dry runs only: they would take away what other requests are about, or lock the caller out.
const DRY: [&str; 11] = [
    "organizations.delete",
    "projects.delete",
    "projects.suspend",
    "projects.regenerate_keys",
    "keys.revoke",
    "keys.rotate_commit",
    "keys.rotate_cancel",
    "endpoints.delete",
    "endpoints.pause",
    "endpoints.disable",
    "bans.delete",
];

/// How often each operation answered each status.
type Answers = BTreeMap<String, BTreeMap<String, u64>>;

/// Everything that a key may be allowed to do with what there is so far.
const SCOPES: [&str; 9] = [
    "project:read",
    "tokens:mint",
    "audit:read",
    "keys:read",
    "keys:write",
    "webhooks:read",
    "webhooks:write",
    "webhooks:secrets",
    "events:read",
];

/// The operations in which a key of these scopes succeeds.
const OF_A_KEY: [&str; 9] =
    ["keys.", "tokens.", "me.", "status.", "audit.", "endpoints.", "deliveries.", "replays.", "events."];

/// A caller, and what its requests need to get beyond "not found".
struct Customer {
    secret: String,
    fields: Value,
    bodies: Value,
    /// By operation, a query for every fourth request.
    queries: Value,
}

async fn customer(client: &Client) -> Customer {
    let project = client.project("Enterprise").await;
    let (org, id) = (&project["org_id"], &project["id"]);
    let keys = format!("/v1/projects/{}/keys", id.as_str().unwrap());
    let key = async |name: &str| client.post(&keys, &json!({ "name": name, "scopes": SCOPES })).await.json();
    let (caller, other, rotating) = (key("caller").await, key("other").await, key("rotating").await);
    let rotate = format!("{keys}/{}/rotate", rotating["id"].as_str().unwrap());
    assert_eq!(client.post(&rotate, &json!({ "commit": false })).await.status, 201);
    let token = json!({ "project_id": id, "room_name": "room", "identity": "anna" });
    let token = client.post("/v1/tokens/create", &token).await.json();
    let mut fields =
        json!({ "id": id, "key_id": other["id"], "org_id": org, "project_id": id, "token": token["token"] });
    for route in OPERATIONS.iter().filter(|route| route.meta.id.starts_with("organizations.")) {
        fields[route.meta.id] = json!({ "id": org });
    }
    for operation in ["keys.rotate_commit", "keys.rotate_cancel"] {
        fields[operation] = json!({ "key_id": rotating["id"] });
    }
    let endpoint = json!({ "project_id": id, "url": "https://hooks.example/in" });
    let endpoint = client.post("/v1/webhooks/endpoints", &endpoint).await.json();
    let test = format!("/v1/webhooks/endpoints/{}/test", endpoint["id"].as_str().unwrap());
    let sent = client.post(&test, &json!({ "project_id": id })).await.json();
    let replay = client.post("/v1/webhooks/replays", &json!({ "project_id": id, "status": "missing" })).await.json();
    // One that is cancelled is cancelled however often it is asked for.
    let cancel = format!("/v1/webhooks/replays/{}/cancel", replay["id"].as_str().unwrap());
    assert_eq!(client.post(&cancel, &json!({ "project_id": id })).await.status, 200);
    let ban = client.post("/v1/bans", &json!({ "project_id": id, "identity": "carl" })).await.json();
    let of_project = json!({ "project_id": id });
    let mut bodies = json!({
        "tokens.revoke": { "project_id": id, "identity": "berta" },
        "keys.create": { "name": "as the caller", "scopes": SCOPES },
        "keys.rotate_commit": {},
    });
    let mut queries = json!({});
    for route in OPERATIONS.iter() {
        let own = match route.meta.id.split_once('.') {
            Some(("endpoints", _)) => &endpoint["id"],
            Some(("deliveries", _)) => &sent["delivery_id"],
            Some(("replays", _)) => &replay["id"],
            Some(("bans", _)) => &ban["id"],
            Some(("events", _)) => &sent["event_id"],
            _ => continue,
        };
        fields[route.meta.id] = json!({ "id": own });
        match (route.meta.method.has_body(), route.meta.id) {
            (_, "endpoints.create" | "bans.create" | "replays.start") => {}
            (_, "events.trigger") => {
                bodies["events.trigger"] = json!({ "project_id": id, "type": "room_started" });
            }
            (true, operation) => bodies[operation] = of_project.clone(),
            (false, operation) => queries[operation] = of_project.clone(),
        }
    }
    Customer { secret: caller["pulse_api_secret"].as_str().unwrap().to_owned(), fields, bodies, queries }
}

/// Runs the generator as one caller.
async fn conforms(daemon: &Daemon, secret: &str, customer: &Customer) -> Answers {
    let Customer { fields, bodies, queries, .. } = customer;
    let task = json!({
        "url": daemon.url,
        "authorization": format!("Bearer {secret}"),
        // The first would replace the credentials of this very run.
        // A stream has no end.
        "exclude": ["admin.rotate", "events.stream"],
        "dry": DRY,
        "fields": fields,
        "bodies": bodies,
        "queries": queries,
        "seed": SEED,
        "examples": EXAMPLES,
    });
    let mut command = python::command();
    command.arg(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("py/openapi_conformance.py"));
    command.current_dir(daemon.folder());
    let report = tokio::task::spawn_blocking(move || run(command, &task)).await.unwrap();
    assert_eq!(report["passed"], true, "{}", report["output"].as_str().unwrap_or_default());
    serde_json::from_value(report["answers"].clone()).unwrap()
}

fn run(mut command: Command, task: &Value) -> Value {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(task.to_string().as_bytes()).unwrap();
    let ended = child.wait_with_output().unwrap();
    serde_json::from_slice(&ended.stdout)
        .unwrap_or_else(|error| panic!("no report ({error}): {}", String::from_utf8_lossy(&ended.stderr)))
}

/// Operations that none of the requests brought to a success: there, nothing was proved about answers of success.
fn never_succeeded(answers: &Answers) -> Vec<&str> {
    let ids = OPERATIONS.iter().map(|route| route.meta.id);
    ids.filter(|id| {
        let succeeded = |statuses: &BTreeMap<String, u64>| statuses.keys().any(|status| status.starts_with('2'));
        !answers.get(*id).is_some_and(succeeded)
    })
    .collect()
}

fn options() -> DaemonOptions {
    let options = DaemonOptions::new().env("LIVEKIT_HOST", "ws://127.0.0.1:1");
    options.env("LIVEKIT_API_KEY", "devkey").env("LIVEKIT_API_SECRET", "secret-of-livekit")
}

#[tokio::test]
async fn every_answer_to_the_operator_is_a_documented_one() {
    let daemon = Daemon::start(options()).await;
    let customer = customer(&daemon.client()).await;
    let answers = conforms(&daemon, &daemon.admin_token, &customer).await;
    // A token source is a key's: it has no field for a project. A session is LiveKit's to begin.
    assert_eq!(
        never_succeeded(&answers),
        ["tokens.source", "events.stream", "sessions.get", "admin.rotate"],
        "{answers:#?}"
    );
}

#[tokio::test]
async fn every_answer_to_a_key_is_a_documented_one() {
    let daemon = Daemon::start(options()).await;
    let customer = customer(&daemon.client()).await;
    let answers = conforms(&daemon, &customer.secret, &customer).await;
    let succeeded: Vec<&str> = {
        let never = never_succeeded(&answers);
        answers.keys().map(String::as_str).filter(|id| !never.contains(id)).collect()
    };
    let of_a_key = |id: &str| OF_A_KEY.iter().any(|start| id.starts_with(start));
    let missed: Vec<_> = answers.keys().filter(|id| of_a_key(id) && !succeeded.contains(&id.as_str())).collect();
    assert!(missed.is_empty(), "{missed:?} never succeeded: {answers:#?}");
    let unauthenticated: u64 = answers.values().filter_map(|statuses| statuses.get("401")).sum();
    assert_eq!(unauthenticated, 0, "the key stopped working on the way: {answers:#?}");
}
