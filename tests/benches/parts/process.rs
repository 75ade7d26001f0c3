//! Figures of whole processes: start to ready, memory, and the command line's own time.

use std::{
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use super::{Row, binary, http, median, store};

/// Resident memory in MiB, now.
pub(crate) fn resident(process: u32) -> f64 {
    memory(process, "VmRSS:")
}

/// The most resident memory that there has been, in MiB.
pub(crate) fn resident_at_most(process: u32) -> f64 {
    memory(process, "VmHWM:")
}

fn memory(process: u32, figure: &str) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).expect("the process lives");
    let line = status.lines().find_map(|line| line.strip_prefix(figure)).expect("the figure");
    line.trim().trim_end_matches(" kB").trim().parse::<f64>().expect("a number") / 1024.0
}

/// The median of five starts in milliseconds; the first, which makes the store, is left out.
fn starts(folder: &Path) -> f64 {
    drop(http::pulsed(folder));
    median((0..5).map(|_| http::pulsed(folder).1.as_secs_f64() * 1e3).collect())
}

/// Starts and memory, with an empty store and with 100,000 projects and keys.
pub(crate) async fn start_and_memory() -> Vec<Row> {
    let empty = tempfile::tempdir().expect("a folder");
    let empty_start = starts(empty.path());
    let (server, _) = http::pulsed(empty.path());
    tokio::time::sleep(Duration::from_secs(2)).await;
    let idle = resident(server.process.id());
    drop(server);
    let full = tempfile::tempdir().expect("a folder");
    let secrets = store::seed(&full.path().join("pulse-data/pulse.db"), 100_000).await;
    let full_start = starts(full.path());
    let (server, _) = http::pulsed(full.path());
    http::warm(&server.url, &secrets).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let warm = resident(server.process.id());
    let bytes = format!("{:.0} bytes a key", (warm - idle) * 1_048_576.0 / 100_000.0);
    vec![
        Row::less("start to ready, empty store", "ms", empty_start, (100.0, 50.0), String::new()),
        Row::less("start to ready, 100,000 projects and keys", "ms", full_start, (500.0, 200.0), String::new()),
        Row::less("idle memory", "MiB", idle, (30.0, 20.0), String::new()),
        Row::less("memory with 100,000 keys warm", "MiB", warm, (120.0, 80.0), bytes),
    ]
}

fn command_time(command: &mut Command) -> f64 {
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut once = || {
        let began = Instant::now();
        assert!(command.status().expect("pulse runs").success(), "{command:?}");
        began.elapsed().as_secs_f64() * 1e3
    };
    once();
    median((0..31).map(|_| once()).collect())
}

/// The command line: its version, and a list straight from a store.
pub(crate) fn command_line() -> Vec<Row> {
    let folder = tempfile::tempdir().expect("a folder");
    drop(http::pulsed(folder.path()));
    let pulse = || {
        let mut command = Command::new(binary("pulse"));
        command.env_clear().env("HOME", folder.path()).current_dir(folder.path());
        command
    };
    let version = command_time(pulse().arg("--version"));
    let list = command_time(pulse().args(["--local", "--store", "sqlite:pulse-data/pulse.db", "project", "list"]));
    vec![
        Row::less("pulse --version", "ms", version, (15.0, 8.0), "median of 31".to_owned()),
        Row::less("pulse --local project list", "ms", list, (50.0, 25.0), "median of 31".to_owned()),
    ]
}
