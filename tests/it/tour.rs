//! The README's tour works as it is printed.

use std::{path::Path, process::Command};

use pulse_tests::daemon::{Daemon, DaemonOptions, OUTBOUND, program};

/// The shell blocks between the tour's two markers.
fn tour() -> String {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md");
    let text = std::fs::read_to_string(readme).expect("README.md is there");
    let (_, tour) = text.split_once("<!-- tour:").expect("the tour begins");
    let (tour, _) = tour.split_once("<!-- end of tour -->").expect("the tour ends");
    let blocks = tour.split("```sh\n").skip(1).filter_map(|block| block.split_once("```"));
    blocks.map(|(commands, _)| commands).collect()
}

#[tokio::test]
async fn every_command_of_the_readmes_tour_succeeds() {
    let daemon = Daemon::start(DaemonOptions::new().flag("--dev").making_its_token()).await;
    let script = tour().replace("http://127.0.0.1:8080", &daemon.url);
    let binaries = program("pulse").parent().expect("a folder").to_owned();
    let path = format!("{}:/usr/local/bin:/usr/bin:/bin", binaries.display());

    let output = Command::new("sh")
        .args(["-eux", "-c", &script])
        .current_dir(daemon.folder())
        .env_clear()
        .env("PATH", path)
        .env("HOME", daemon.folder())
        .envs(OUTBOUND)
        .output()
        .expect("sh runs");

    let (shown, traced) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "a command of the tour failed:\n{traced}\n{shown}");
    assert!(script.lines().count() >= 15, "the tour was not found whole:\n{script}");
    for expected in ["acme", "\"token\":", "may join the room", "watcher", "organizations.create", "suspended"] {
        assert!(shown.contains(expected), "{expected:?} is not in what the tour prints:\n{shown}\n{traced}");
    }
    assert!(daemon.folder().join("new.secret").exists(), "the rotation wrote no secret");
}
