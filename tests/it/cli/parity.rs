//! The same commands on a store and through a server give the same outputs and exit codes.

use std::process::Command;

use pulse_tests::{
    cli::{Cli, program},
    process::Child,
    temporary_folder,
};
use serde_json::Value;

use super::script;

const TOKEN: &str = "an-operators-token-of-more-than-32-characters";

const SCRIPT: &[&[&str]] = &[
    &["org", "create", "acme", "--email", "ops@acme.example", "--plan", "Enterprise", "-o", "json"],
    &["org", "create", "ACME", "--email", "ops@acme.example"],
    &["org", "create", "dry", "--email", "ops@acme.example", "--dry-run", "-o", "json", "--jq", "keys"],
    &["org", "update", "acme", "--label", "a=b", "--if-match", "1", "-o", "json"],
    &["org", "update", "acme", "--label", "a=c", "--if-match", "1", "-o", "name"],
    &["org", "list", "--label", "a=b"],
    &["project", "create", "one", "--org", "acme", "-o", "json"],
    &["project", "create", "one", "--org", "acme"],
    &["project", "create", "two", "--org", "acme", "--region", "nowhere"],
    &["project", "create", "two", "--org", "nosuch"],
    &["project", "create", "two", "--org", "acme", "--requests-per-minute", "0"],
    &["project", "create", "two", "--org", "acme", "-q"],
    &["project", "list", "--limit", "1", "-o", "csv", "--columns", "name"],
    &["project", "list", "--cursor", "nonsense"],
    &["project", "update", "one", "--webhook-url", "https://hooks.example/x", "--name", "uno", "-o", "yaml"],
    &["webhook", "endpoint", "list", "--project", "uno", "-o", "csv", "--columns", "url,state,of_webhook_url"],
    &[
        "webhook",
        "endpoint",
        "create",
        "https://hooks.example/y",
        "--project",
        "uno",
        "--event",
        "room_*",
        "-o",
        "yaml",
    ],
    &["webhook", "endpoint", "create", "https://10.0.0.1/y", "--project", "uno"],
    &["webhook", "endpoint", "create", "https://hooks.example/z", "--project", "uno", "--max-in-flight", "0"],
    &["webhook", "endpoint", "get", "https://hooks.example/y", "--project", "uno"],
    &["webhook", "endpoint", "get", "https://hooks.example/none", "--project", "uno"],
    &["webhook", "endpoint", "update", "https://hooks.example/y", "--project", "uno", "--rate", "5/20", "-o", "json"],
    &["webhook", "endpoint", "pause", "https://hooks.example/y", "--project", "uno", "--reason", "it moves"],
    &["webhook", "test", "https://hooks.example/y", "--project", "uno"],
    &[
        "webhook",
        "endpoint",
        "rotate-secret",
        "https://hooks.example/y",
        "--project",
        "uno",
        "--yes",
        "-o",
        "json",
        "--jq",
        ".live_secrets",
    ],
    &["webhook", "delivery", "list", "--project", "uno", "-o", "json"],
    &["webhook", "delivery", "resend", "dlv_00000000000000000000000000", "--project", "uno"],
    &["webhook", "endpoint", "delete", "https://hooks.example/y", "--project", "uno"],
    &["webhook", "endpoint", "delete", "https://hooks.example/y", "--project", "uno", "--yes", "-o", "name"],
    &["project", "get", "uno", "-o", "wide"],
    &["project", "get", "prj_00000000000000000000000000"],
    &[
        "key",
        "create",
        "ci",
        "--project",
        "uno",
        "--scope",
        "tokens:mint,project:read",
        "-o",
        "json",
        "--jq",
        "del(.pulse_api_secret)",
    ],
    &["key", "list", "--project", "uno", "--columns", "name,state,primary,scopes"],
    &[
        "key",
        "rotate",
        "ci",
        "--project",
        "uno",
        "--yes",
        "--verify",
        "true",
        "--secret-to-cmd",
        "cat >/dev/null",
        "-o",
        "json",
        "--jq",
        "[.state, .replaces.state, .stored_in]",
    ],
    &["key", "rotate", "default", "--project", "uno", "--yes", "--verify", "exit 5", "--overlap", "1h"],
    &["key", "revoke", "default", "--project", "uno", "--yes", "-o", "name"],
    &["project", "suspend", "uno", "--reason", "unpaid", "--yes", "-o", "json", "--jq", "[.state, .suspend_reason]"],
    &["token", "create", "--project", "uno", "--room", "r", "--identity", "i"],
    &["project", "resume", "uno", "-o", "name"],
    &["token", "create", "--project", "uno", "--room", "a~b", "--identity", "i"],
    &["token", "create", "--project", "uno", "--room", "r", "--identity", "i", "--preset", "viewer", "--can-publish"],
    &[
        "token",
        "create",
        "--project",
        "uno",
        "--room",
        "r",
        "--identity",
        "i",
        "-o",
        "json",
        "--jq",
        "[.room_name, .identity, .region]",
    ],
    &["token", "validate", "x.y.z", "--project", "uno", "-o", "json"],
    &["token", "revoke", "--project", "uno", "--identity", "i", "-o", "json", "--jq", ".kind"],
    &["project", "delete", "two", "--confirm", "two", "-o", "json", "--jq", ".state"],
    &["org", "delete", "acme", "--dry-run", "-o", "json", "--jq", ".effects"],
    &["org", "delete", "acme", "--confirm", "acme", "-o", "name"],
    &["org", "restore", "acme", "-o", "name"],
    &["audit", "list", "--limit", "100", "-o", "json", "--jq", ".[] | [.action, .outcome, .seq]"],
    &["api", "GET", "/v1/organizations?name_prefix=ac", "--jq", ".data[].name"],
    &["api", "GET", "/v1/projects?nonsense=1"],
    &["api", "POST", "/v1/organizations", "--data", "{\"name\": \"\", \"bad\": 1}", "-o", "json"],
];

/// What a difference between the two sides may be: who calls, and the request's id.
fn same(text: &str) -> String {
    let lines = text.lines().filter(|line| !line.starts_with("!   request id: "));
    let plain =
        lines.map(|line| match line.strip_prefix("! {").and_then(|_| serde_json::from_str::<Value>(&line[2..]).ok()) {
            Some(mut error) => {
                if let Some(fields) = error["error"].as_object_mut() {
                    fields.remove("request_id");
                }
                format!("! {error}")
            }
            None => line.to_owned(),
        });
    let text: Vec<String> = plain.collect();
    let user = text.join("\n");
    let start = user.find("local:").map(|at| {
        user[at..].split(|c: char| !(c.is_alphanumeric() || "_:-".contains(c))).next().unwrap_or_default().to_owned()
    });
    start.map_or(user.clone(), |actor| user.replace(&actor, "operator"))
}

#[tokio::test]
async fn a_store_and_a_server_answer_alike() {
    let folder = temporary_folder("parity-store");
    alike(&format!("sqlite:{}", folder.path().join("pulse.db").display())).await;
}

/// A store in memory ends with its process, so it is a server that has one.
#[tokio::test]
async fn a_server_over_memory_answers_as_one_over_sqlite() {
    alike("memory:").await;
}

async fn alike(store: &str) {
    let folder = temporary_folder("parity");
    let ready = folder.path().join("ready.json");
    let mut command = Command::new(program("pulsed"));
    command.env_clear().envs(pulse_tests::daemon::OUTBOUND).envs([
        ("PULSE_LISTEN", "127.0.0.1:0"),
        ("PULSE_STORE", store),
        ("PULSE_ADMIN_TOKEN", TOKEN),
        ("LIVEKIT_API_KEY", "devkey"),
        ("LIVEKIT_API_SECRET", "secret-of-livekit"),
    ]);
    command.args(["--ready-file", &ready.to_string_lossy()]).current_dir(folder.path());
    let daemon = Child::spawn("pulsed", &mut command, folder.path());
    let told: Value = serde_json::from_str(&daemon.until_file(&ready).await).expect("a ready file is JSON");
    let remote = Cli::with_server(told["url"].as_str().expect("a url"), TOKEN);
    let local = Cli::with_store();
    for arguments in SCRIPT {
        let (here, there) = (script(&local, &[*arguments]), script(&remote, &[*arguments]));
        assert_eq!(same(&here), same(&there), "the store answers left, the server right");
    }
}
