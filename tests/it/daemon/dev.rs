//! `--dev`: the first and the second start, and the command that it prints.

use std::process::Command;

use pulse_tests::{
    daemon::{Daemon, DaemonOptions},
    temporary_folder,
};
use serde_json::Value;

/// Runs the printed command as a person would.
fn token(daemon: &Daemon) -> Value {
    let told = daemon.process.stderr();
    let command =
        told.lines().find(|line| line.contains("curl ")).unwrap_or_else(|| panic!("no command in {told}")).trim();
    let ran = Command::new("sh").args(["-c", command]).current_dir(daemon.folder()).output().unwrap();
    serde_json::from_slice(&ran.stdout).unwrap_or_else(|error| panic!("{command}: {error}: {ran:?}"))
}

fn kit(daemon: &Daemon, name: &str) -> String {
    let text = std::fs::read_to_string(daemon.folder().join("pulse-data/dev.env")).unwrap();
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('=').map(str::to_owned)).unwrap()
}

#[tokio::test]
async fn what_the_first_start_made_works_at_the_second_and_comes_back_when_it_is_lost() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = temporary_folder("dev");
    let dev = || DaemonOptions::new().flag("--dev").env("LIVEKIT_HOST", "ws://127.0.0.1:1");
    let first = Daemon::start_in(folder.path(), dev()).await;
    assert!(token(&first)["token"].is_string());
    assert!(first.process.stderr().contains("livekit-server --dev"), "nothing tells how to start LiveKit");
    let orgs = first.client().get("/v1/organizations").await.json();
    assert_eq!((&orgs["data"][0]["name"], &orgs["data"][0]["plan"]), (&"dev".into(), &"Enterprise".into()), "{orgs}");
    let file = folder.path().join("pulse-data/dev.env");
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let (project, key) = (kit(&first, "PULSE_PROJECT_ID"), kit(&first, "PULSE_API_KEY"));
    first.stop().await;

    let second = Daemon::start_in(folder.path(), dev()).await;
    assert!(token(&second)["token"].is_string());
    assert_eq!((kit(&second, "PULSE_PROJECT_ID"), kit(&second, "PULSE_API_KEY")), (project.clone(), key.clone()));
    second.stop().await;

    std::fs::remove_file(&file).unwrap();
    let third = Daemon::start_in(folder.path(), dev()).await;
    assert!(token(&third)["token"].is_string());
    assert_eq!(kit(&third, "PULSE_PROJECT_ID"), project);
    assert_ne!(kit(&third, "PULSE_API_KEY"), key);
}

#[tokio::test]
async fn a_suspended_project_does_not_keep_the_daemon_from_starting() {
    let folder = temporary_folder("dev");
    let dev = || DaemonOptions::new().flag("--dev").env("LIVEKIT_HOST", "ws://127.0.0.1:1");
    let first = Daemon::start_in(folder.path(), dev()).await;
    let (project, key) = (kit(&first, "PULSE_PROJECT_ID"), kit(&first, "PULSE_API_KEY"));
    let path = format!("/v1/projects/{project}/suspend");
    let suspended = first.client().post(&path, &serde_json::json!({ "reason": "a test" })).await;
    assert_eq!(suspended.status, 200, "{}", suspended.text);
    first.stop().await;

    let second = Daemon::start_in(folder.path(), dev()).await;
    let told = second.process.stderr();
    assert!(told.contains("pulse --local project resume dev"), "nothing tells how to go on: {told}");
    assert_eq!(kit(&second, "PULSE_API_KEY"), key, "the key was replaced");
}

#[tokio::test]
async fn the_command_line_makes_a_token_beside_it_with_what_is_in_the_file() {
    let daemon = Daemon::start(DaemonOptions::new().flag("--dev").env("LIVEKIT_HOST", "ws://127.0.0.1:1")).await;
    let told = daemon.process.stderr();
    let command = told.lines().find(|line| line.contains("--env-file")).unwrap_or_else(|| panic!("no command: {told}"));
    let words: Vec<&str> = command.split_whitespace().skip(1).collect();
    let ran = pulse_tests::daemon::pulse(daemon.folder()).args(&words).args(["-o", "json"]).output().unwrap();
    let made: Value = serde_json::from_slice(&ran.stdout).unwrap_or_else(|error| panic!("{command}: {error}: {ran:?}"));
    assert_eq!(made["server_url"], "ws://127.0.0.1:1", "not the daemon's LiveKit: {made}");
}
