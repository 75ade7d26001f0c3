//! Webhook endpoints and deliveries: secrets in and out, questions with what hangs on them, a test that is waited for.

use std::process::Command;

use pulse_tests::{
    cli::{Cli, program},
    process::Child,
    receiver::{Action, Gate, Receiver},
    temporary_folder,
};
use serde_json::Value;

use super::{customer, script};

const URL: &str = "https://hooks.example/in";
const TOKEN: &str = "an-operators-token-of-more-than-32-characters";

#[test]
fn from_an_endpoint_to_its_end() {
    let cli = customer().env("HOOK_AUTH", "Bearer visible-nowhere");
    let shown = script(
        &cli,
        &[
            &[
                "webhook",
                "endpoint",
                "create",
                URL,
                "--project",
                "standup",
                "--event",
                "room_*,participant_joined",
                "--header-env",
                "Authorization=HOOK_AUTH",
                "--schedule",
                "plan",
                "--rate",
                "5/20",
                "--timeout",
                "10s",
                "--jq",
                "del(.secret)",
            ],
            &["webhook", "endpoint", "list", "--project", "standup"],
            &["webhook", "endpoint", "update", URL, "--project", "standup", "--clear", "rate,headers", "-o", "yaml"],
            &["webhook", "endpoint", "update", URL, "--project", "standup", "--clear", "events,schedule", "-q"],
            &["webhook", "endpoint", "list", "--project", "standup"],
            &["webhook", "endpoint", "get", URL, "--project", "standup", "--columns", "event_types,schedule,rate"],
            &["webhook", "endpoint", "pause", URL, "--project", "standup", "--reason", "it moves", "-o", "name"],
            &["webhook", "test", URL, "--project", "standup"],
            &["webhook", "endpoint", "resume", URL, "--project", "standup", "-q"],
            &["webhook", "test", URL, "--project", "standup"],
            &["webhook", "delivery", "list", "--project", "standup"],
            &["webhook", "endpoint", "disable", URL, "--project", "standup"],
            &[
                "webhook",
                "endpoint",
                "disable",
                URL,
                "--project",
                "standup",
                "--dry-run",
                "-o",
                "json",
                "--jq",
                ".effects",
            ],
            &["webhook", "endpoint", "disable", URL, "--project", "standup", "--yes", "-o", "name"],
            &["webhook", "endpoint", "enable", URL, "--project", "standup", "--if-match", "1"],
            &["webhook", "endpoint", "enable", URL, "--project", "standup", "-o", "json", "--jq", ".state"],
            &["webhook", "endpoint", "delete", URL, "--project", "standup", "--yes", "-o", "name"],
            &["webhook", "endpoint", "delete", URL, "--project", "standup", "--yes", "--ignore-not-found"],
            &["webhook", "endpoint", "list", "--project", "standup", "-o", "json"],
        ],
    );
    assert!(!shown.contains("visible-nowhere"), "{shown}");
    insta::assert_snapshot!(shown);
}

#[test]
fn a_secret_is_shown_once_or_goes_where_it_is_told_to() {
    let cli = customer();
    let make = ["webhook", "endpoint", "create", URL, "--project", "standup"];
    let made = cli.run(&[&make[..], &["-o", "json"]].concat());
    let first = made.json()["secret"].as_str().expect("shown").to_owned();
    assert!(first.starts_with("whsec_"));
    let rotate = ["webhook", "endpoint", "rotate-secret", URL, "--project", "standup", "--yes", "-o", "json"];
    let run = cli.run(&[&rotate[..], &["--secret-to-file", "s.txt", "--secret-to-env-file", ".env:HOOK"]].concat());
    let answer = run.json();
    assert_eq!((&answer["secret"], &answer["live_secrets"]), (&Value::Null, &2.into()), "{}", run.shown());
    assert_eq!(answer["stored_in"].as_array().map(Vec::len), Some(2));
    let kept = std::fs::read_to_string(cli.path("s.txt")).expect("a file");
    assert_eq!(std::fs::read_to_string(cli.path(".env")).expect("a file"), format!("HOOK={kept}"));
    assert_ne!(kept.trim(), first);
    // What exists already is not written over, and nothing is made for that.
    let again = cli.run(&[&rotate[..], &["--secret-to-file", "s.txt"]].concat());
    assert_eq!((again.code, again.error()["code"].as_str()), (2, Some("usage")));
    let broken = cli.run(&[&rotate[..], &["--secret-to-cmd", "exit 3"]].concat());
    assert_eq!((broken.code, broken.error()["code"].as_str()), (11, Some("secret_not_stored")), "{}", broken.shown());
    let own = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    std::fs::write(cli.path("own.txt"), format!("{own}\n")).expect("a file");
    let run = cli.run(
        &[&rotate[..], &["--secret-file", "own.txt", "--overlap", "0", "--jq", "[.secret, .live_secrets]"]].concat(),
    );
    assert_eq!(run.json(), serde_json::json!([own, 1]), "{}", run.shown());
}

#[test]
fn a_header_s_value_comes_from_a_file_or_a_variable_and_never_twice() {
    let cli = customer().env("EMPTY", "");
    std::fs::write(cli.path("value"), "Bearer x\n").expect("a file");
    let make = |more: &[&str]| {
        let base = ["webhook", "endpoint", "create", URL, "--project", "standup", "-o", "json", "--jq", ".headers"];
        cli.run(&[&base[..], more].concat())
    };
    assert_eq!(make(&["--header-from", "X-Auth=value"]).json(), serde_json::json!(["x-auth"]));
    for more in [
        &["--header-env", "X-Auth=NOT_SET"][..],
        &["--header-env", "X-Auth=EMPTY"],
        &["--header-from", "X-Auth"],
        &["--header-from", "X-Auth=value", "--header-from", "x-auth=value"],
        &["--header-from", "X-A=-", "--header-from", "X-B=-"],
        &["--header-from", "X-A=-", "--secret-file", "-"],
    ] {
        assert_eq!(make(more).code, 2, "{more:?}");
    }
}

#[test]
fn a_secret_in_the_place_of_its_file_or_variable_is_not_repeated() {
    let cli = customer();
    cli.ok(&["webhook", "endpoint", "create", URL, "--project", "standup", "-q"]);
    let create = ["webhook", "endpoint", "create", URL, "--project", "standup"];
    let rotate = ["webhook", "endpoint", "rotate-secret", URL, "--project", "standup", "--yes"];
    for (command, more) in [
        (&create[..], &["--secret-file", "whsec_visiblevisiblevisiblevisible"][..]),
        (&rotate, &["--secret-file", "whsec_visiblevisiblevisiblevisible"]),
        (&create, &["--header-from", "Authorization=visible"]),
        (&create, &["--header-from", "Authorization: Bearer visible"]),
        (&create, &["--header-env", "Authorization=visible"]),
        (&create, &["--header-env", "Authorization: Bearer visible=="]),
    ] {
        for form in ["table", "json"] {
            let run = cli.run(&[command, more, &["-o", form]].concat());
            assert_eq!(run.code, 2, "{}", run.shown());
            assert!(!run.stderr.contains("visible") && !run.stdout.contains("visible"), "{}", run.shown());
        }
    }
}

#[test]
fn headers_are_given_again_when_an_endpoint_moves_and_the_advice_says_how() {
    let cli = customer().env("HOOK_AUTH", "Bearer visible-nowhere");
    cli.ok(&["project", "update", "standup", "--webhook-url", URL, "-q"]);
    let update = |more: &[&str]| {
        let base = ["webhook", "endpoint", "update", URL, "--project", "standup", "-o", "json"];
        cli.run(&[&base[..], more].concat())
    };
    assert_eq!(update(&["--header-env", "Authorization=HOOK_AUTH"]).code, 0);
    let moved = update(&["--url", "https://new.example/in"]);
    let hint = moved.error()["hint"].as_str().expect("a hint").to_owned();
    assert_eq!((moved.code, moved.error()["errors"][0]["field"].as_str()), (2, Some("headers")), "{}", moved.shown());
    assert!(hint.contains("--header-env") && hint.contains("--clear headers"), "{hint}");
    let project = cli.run(&["project", "update", "standup", "--webhook-url", "https://new.example/in", "-o", "json"]);
    let hint = project.error()["hint"].as_str().expect("a hint").to_owned();
    assert!(hint.contains("pulse webhook endpoint update ENDPOINT"), "{hint}");
    assert_eq!(project.code, 2, "{}", project.shown());
    let both = update(&["--url", "https://new.example/in", "--header-env", "Authorization=HOOK_AUTH"]);
    assert_eq!(both.json()["headers"], serde_json::json!(["authorization"]), "{}", both.shown());
}

#[test]
fn an_endpoint_that_is_there_is_shown_and_not_made_twice() {
    let cli = customer();
    let create = ["webhook", "endpoint", "create", URL, "--project", "standup", "--if-not-exists"];
    let create = |more: &[&str]| cli.run(&[&create[..], more].concat());
    let first = create(&["-o", "json", "--secret-to-file", "s.txt"]).json();
    // A pipeline that is run again says the same, and neither fails for the file nor has another secret.
    let again = create(&["-o", "json", "--secret-to-file", "s.txt"]);
    assert_eq!(
        (again.code, &again.json()["id"], again.json().get("secret")),
        (0, &first["id"], None),
        "{}",
        again.shown()
    );
    assert!(again.stderr.is_empty(), "{}", again.shown());
    let read = create(&[]);
    assert!(read.code == 0 && read.stderr.contains("pulse webhook endpoint rotate-secret ep_"), "{}", read.shown());
    let count = ["webhook", "endpoint", "list", "--project", "standup", "--jq", "length"];
    assert_eq!(cli.ok(&count), "1");
    // Without it a second is made; then nobody can tell which is meant.
    cli.ok(&["webhook", "endpoint", "create", URL, "--project", "standup", "-q"]);
    assert_eq!((create(&["-o", "json"]).code, cli.ok(&count).as_str()), (2, "2"));
}

#[test]
fn a_question_says_what_hangs_on_the_answer() {
    let cli = customer();
    cli.ok(&["webhook", "endpoint", "create", URL, "--project", "standup", "-q"]);
    cli.ok(&["webhook", "test", URL, "--project", "standup", "-q"]);
    let delete = ["webhook", "endpoint", "delete", URL, "--project", "standup"];
    let run = cli.run_at_terminal(&delete, "Delete endpoint", "n\n");
    assert!(run.stdout.contains("1 delivery pending"), "{}", run.stdout);
    assert_eq!(cli.ok(&["webhook", "endpoint", "list", "--project", "standup", "--jq", "length"]), "1");
    let rotate = ["webhook", "endpoint", "rotate-secret", URL, "--project", "standup"];
    let run = cli.run_at_terminal(&rotate, "Rotate the signing secret", "n\n");
    assert!(run.stdout.contains("1 delivery pending"), "{}", run.stdout);
}

/// A daemon over a store of its own, and a command line that asks it, with a project `standup`.
pub(super) async fn daemon(folder: &std::path::Path) -> (Child, Cli) {
    let ready = folder.join("ready.json");
    let mut command = Command::new(program("pulsed"));
    command.env_clear().envs(pulse_tests::daemon::OUTBOUND).envs([
        ("PULSE_LISTEN", "127.0.0.1:0"),
        ("PULSE_STORE", "memory:"),
        ("PULSE_ADMIN_TOKEN", TOKEN),
        ("PULSE_WEBHOOK_ALLOW_NETWORKS", "127.0.0.0/8"),
        ("PULSE_WEBHOOK_ALLOW_HTTP", "true"),
        ("LIVEKIT_API_KEY", "devkey"),
        ("LIVEKIT_API_SECRET", "secret-of-livekit"),
    ]);
    command.args(["--ready-file", &ready.to_string_lossy()]).current_dir(folder);
    let daemon = Child::spawn("pulsed", &mut command, folder);
    let told: Value = serde_json::from_str(&daemon.until_file(&ready).await).expect("a ready file is JSON");
    let cli = Cli::with_server(told["url"].as_str().expect("a url"), TOKEN);
    cli.ok(&["org", "create", "acme", "--email", "ops@acme.example", "-q"]);
    cli.ok(&["project", "create", "standup", "--org", "acme", "-q"]);
    (daemon, cli)
}

#[tokio::test]
async fn a_test_is_waited_for_and_its_end_is_the_exit_code() {
    let folder = temporary_folder("webhook-test");
    let (_daemon, cli) = daemon(folder.path()).await;
    let receiver = Receiver::start(Action::ok());
    let url = receiver.url();
    cli.ok(&["webhook", "endpoint", "create", &url, "--project", "standup", "-q"]);
    let test = |more: &[&str]| {
        cli.run(&[&["webhook", "test", &url, "--project", "standup", "--wait", "-o", "json"][..], more].concat())
    };
    let taken = test(&[]);
    assert_eq!((taken.code, taken.json()["status"].as_str()), (0, Some("succeeded")), "{}", taken.shown());
    assert_eq!(taken.json()["last_result"], "204");
    receiver.behave(Action::status(500));
    let refused = test(&[]);
    assert_eq!((refused.code, refused.error()["last_result"].as_str()), (12, Some("500")), "{}", refused.shown());
    let delivery = refused.error()["delivery_id"].as_str().expect("an id").to_owned();
    let attempts = ["webhook", "delivery", "attempts", &delivery, "--project", "standup", "--jq", "map(.status_code)"];
    assert_eq!(cli.run(&attempts).json(), serde_json::json!([500]));
    let gate = Gate::new();
    receiver.behave(Action::ok().held_by(&gate));
    let late = test(&["--timeout", "1s"]);
    assert_eq!((late.code, late.error()["code"].as_str()), (8, Some("wait_timed_out")), "{}", late.shown());
    gate.open();
    let got = cli.run(&[
        "webhook",
        "delivery",
        "get",
        &delivery,
        "--project",
        "standup",
        "-o",
        "json",
        "--jq",
        ".event.test",
    ]);
    assert_eq!(got.json(), true);
    let read = cli.run(&["webhook", "delivery", "get", &delivery, "--project", "standup"]);
    let (fields, event) = read.stdout.split_once("\n\n{\n").expect("the event stands below, as JSON");
    assert!(fields.contains("endpoint.test") && !fields.contains("data="), "{}", read.shown());
    assert!(event.contains("\n  \"type\": \"endpoint.test\""), "{}", read.shown());
    receiver.behave(Action::ok());
    let plain = cli.run(&["webhook", "delivery", "resend", &delivery, "--project", "standup", "-o", "name"]);
    assert!(plain.stderr.contains(&format!("pulse webhook delivery get {}", plain.stdout.trim())), "{}", plain.shown());
    let again = cli.run(&["webhook", "delivery", "resend", &delivery, "--project", "standup", "-o", "json"]);
    assert!(again.json()["origin"].as_str().is_some_and(|origin| origin.starts_with("resend:")), "{}", again.shown());
    let ids = receiver.received();
    assert!(ids.len() >= 3, "each test came to the receiver");
}
