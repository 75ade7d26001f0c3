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
