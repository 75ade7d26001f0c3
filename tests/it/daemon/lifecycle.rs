//! Start, signals, drain.

use std::{any::Any, process::Command, time::Duration};

use pulse_tests::{
    daemon::{self, Daemon, DaemonOptions},
    process::{READY, Signal},
    temporary_folder,
};
use rustix::process::{getpriority_process, setpriority_process};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::{ACME, under_way, under_way_over_http_2};

#[tokio::test]
async fn a_second_daemon_on_the_same_store_is_refused_and_told_of_the_first() {
    let daemon = Daemon::start(DaemonOptions::new()).await;
    let second = daemon::run(daemon.folder(), &[], &[]);
    let told = String::from_utf8_lossy(&second.stderr).into_owned();
    assert_eq!(second.status.code(), Some(6), "{told}");
    assert!(told.contains(&format!("process {}", daemon.process.id())), "{told}");
    assert!(told.starts_with("error: ") && told.contains("\n  hint: "), "{told}");
}

#[tokio::test]
async fn a_request_under_way_is_finished_after_sigterm() {
    let daemon = Daemon::start(DaemonOptions::new()).await;
    let mut stream = under_way(&daemon).await;
    daemon.process.signal(Signal::TERM);
    daemon.process.until_logged("\"message\":\"stopping\"").await;
    stream.write_all(ACME.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
    assert_eq!(daemon.process.exited(Duration::from_secs(10)).await.code(), Some(0));
    assert!(!daemon.folder().join("ready.json").exists(), "the ready file is left behind");
}

#[tokio::test]
async fn a_stream_of_http_2_is_finished_after_sigterm() {
    let daemon = Daemon::start(DaemonOptions::new()).await;
    let stream = under_way_over_http_2(&daemon).await;
    daemon.process.signal(Signal::TERM);
    daemon.process.until_logged("\"message\":\"stopping\"").await;
    let (status, answer) = stream.ended_with(ACME).await;
    assert_eq!(status, 201, "{answer}");
    assert_eq!(daemon.process.exited(Duration::from_secs(10)).await.code(), Some(0));
}

#[tokio::test]
async fn a_request_that_does_not_end_is_cut_off_when_the_drain_is_over() {
    // All places for connections are taken, so that the daemon waits for one of them when the signal comes.
    let options = DaemonOptions::new()
        .env("PULSE_MAX_CONNECTIONS", "1")
        .env("PULSE_BODY_TIMEOUT", "600")
        .env("PULSE_DRAIN_TIMEOUT", "1");
    for over_http_2 in [false, true] {
        let daemon = Daemon::start(options.clone()).await;
        let _held: Box<dyn Any> = if over_http_2 {
            Box::new(under_way_over_http_2(&daemon).await)
        } else {
            Box::new(under_way(&daemon).await)
        };
        daemon.process.signal(Signal::TERM);
        daemon.process.until_logged("requests under way were cut off").await;
        assert_eq!(daemon.process.exited(Duration::from_secs(8)).await.code(), Some(0));
    }
}

#[tokio::test]
async fn a_second_signal_does_not_wait() {
    let daemon = Daemon::start(DaemonOptions::new().env("PULSE_DRAIN_TIMEOUT", "600")).await;
    let _stream = under_way(&daemon).await;
    daemon.process.signal(Signal::TERM);
    daemon.process.until_logged("\"message\":\"stopping\"").await;
    daemon.process.signal(Signal::TERM);
    assert_eq!(daemon.process.exited(Duration::from_secs(8)).await.code(), Some(0));
}

#[tokio::test]
async fn sighup_takes_over_what_it_can_and_says_what_not() {
    let folder = temporary_folder("hangup");
    let file = folder.path().join("pulse.toml");
    std::fs::write(&file, "pulse_log = \"info\"\npulse_purge_days = 30\n").unwrap();
    let daemon = Daemon::start_in(folder.path(), DaemonOptions::new().flag("--config").flag("pulse.toml")).await;
    let client = daemon.client();
    std::fs::write(&file, "pulse_purge_days = 31\ncors_origins = [\"https://app.example\"]\n").unwrap();
    daemon.hang_up();
    let line = daemon.process.until_logged("the settings were reloaded").await;
    assert!(line.contains("\"reloaded\":\"[\\\"CORS_ORIGINS\\\"]\""), "{line}");
    assert!(line.contains("\"needs_restart\":\"[\\\"PULSE_PURGE_DAYS\\\"]\""), "{line}");
    let answer = client.send(client.bare("GET", "/health").header("origin", "https://app.example")).await;
    assert_eq!(answer.header("access-control-allow-origin"), "https://app.example");
    std::fs::write(&file, "nonsense = 1\n").unwrap();
    daemon.hang_up();
    daemon.process.until_logged("the settings were not reloaded").await;
    assert_eq!(client.send(client.bare("GET", "/health")).await.status, 200);
}

#[tokio::test]
async fn tls_is_spoken_with_a_certificate_that_a_sighup_reads_again() {
    let folder = temporary_folder("tls");
    make_certificate(folder.path(), "first.example");
    let options = DaemonOptions::new().flag("--tls-cert=chain.pem").flag("--tls-key=key.pem");
    let daemon = Daemon::start_in(folder.path(), options).await;
    assert!(daemon.url.starts_with("https://"), "{}", daemon.url);
    assert!(subject(daemon.address()).contains("first.example"));
    let client = reqwest::Client::builder().no_proxy().tls_danger_accept_invalid_certs(true).build().unwrap();
    let answer = client.get(format!("{}/ready", daemon.url)).send().await.unwrap();
    assert_eq!((answer.status().as_u16(), answer.version()), (200, reqwest::Version::HTTP_2));
    make_certificate(folder.path(), "second.example");
    daemon.hang_up();
    daemon.process.until_logged("the TLS certificate was read again").await;
    assert!(subject(daemon.address()).contains("second.example"));
    std::fs::write(folder.path().join("key.pem"), "no key").unwrap();
    daemon.hang_up();
    daemon.process.until_logged("the TLS certificate stays: PULSE_TLS_KEY names").await;
    assert!(subject(daemon.address()).contains("second.example"));
}

fn make_certificate(folder: &std::path::Path, name: &str) {
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"])
        .args(["-keyout", "key.pem", "-out", "chain.pem", "-subj", &format!("/CN={name}")])
        .current_dir(folder)
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

/// The subject of the certificate that a server shows.
fn subject(address: &str) -> String {
    let shown = Command::new("openssl")
        .args(["s_client", "-connect", address, "-servername", "x"])
        .stdin(std::process::Stdio::null())
        .output()
        .unwrap();
    String::from_utf8_lossy(&shown.stdout)
        .lines()
        .find(|line| line.starts_with("subject="))
        .unwrap_or_default()
        .to_owned()
}

fn private_token(file: &std::path::Path) -> String {
    use std::os::unix::fs::PermissionsExt as _;
    let mode =
        std::fs::metadata(file).unwrap_or_else(|error| panic!("{}: {error}", file.display())).permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "{} can be read by others", file.display());
    std::fs::read_to_string(file).unwrap().trim().to_owned()
}

#[tokio::test]
async fn the_operators_token_is_in_a_private_file_where_no_terminal_shows_it() {
    for (store, file) in [(None, "pulse-data/pulse.db.admin-token"), (Some("memory:"), "pulse-data/admin-token")] {
        let options = DaemonOptions::new().making_its_token();
        let options = store.into_iter().fold(options, |options, store| options.env("PULSE_STORE", store));
        let daemon = Daemon::start(options).await;
        let client = daemon.client().with_token(&private_token(&daemon.folder().join(file)));
        assert_eq!(client.get("/v1/organizations").await.status, 200, "the token of {file} does not work");
        daemon.stop().await;
        assert!(!daemon.process.stderr().contains("pulse_admin_"), "the token is in the log");
    }
}

#[tokio::test]
async fn a_terminal_shows_the_operators_token_and_dev_writes_it_to_its_file_as_well() {
    let plain = Daemon::start(DaemonOptions::new().making_its_token().at_terminal()).await;
    assert!(plain.process.stderr().contains("    pulse_admin_"), "{}", plain.process.stderr());
    assert!(!plain.folder().join("pulse-data/pulse.db.admin-token").exists(), "it is shown, and still in a file");
    let dev = Daemon::start(DaemonOptions::new().making_its_token().at_terminal().flag("--dev")).await;
    let token = private_token(&dev.folder().join("pulse-data/pulse.db.admin-token"));
    assert!(dev.process.stderr().contains(&token), "the token is in the file, but not shown");
    assert_eq!(dev.client().get("/v1/organizations").await.status, 200);
}

#[tokio::test]
async fn the_file_with_the_operators_token_goes_when_the_token_is_replaced() {
    let daemon = Daemon::start(DaemonOptions::new().making_its_token()).await;
    let file = daemon.folder().join("pulse-data/pulse.db.admin-token");
    assert!(file.exists());
    let rotated = daemon.client().post("/v1/admin/rotate", &serde_json::json!({})).await;
    assert_eq!(rotated.status, 200, "{}", rotated.text);
    let gone = async || (!file.exists()).then_some(());
    daemon.process.until("the file with the old token was removed", Duration::from_secs(5), gone).await;
}

#[tokio::test]
async fn an_operators_token_that_the_settings_give_is_replaced_there_and_not_by_a_rotation() {
    let daemon = Daemon::start(DaemonOptions::new()).await;
    let refused = daemon.client().post("/v1/admin/rotate", &serde_json::json!({})).await;
    assert_eq!((refused.status, refused.code().as_str()), (409, "conflict"), "{}", refused.text);
    assert!(refused.json()["hint"].as_str().is_some_and(|hint| hint.contains("PULSE_ADMIN_TOKEN")), "{}", refused.text);
    assert_eq!(daemon.client().get("/v1/organizations").await.status, 200, "the given one holds");
}

/// The threads of a process, by name, and how nice each is: `proc_pid_stat(5)`.
fn niceness_of_threads(process: u32) -> Vec<(String, i32)> {
    let threads = std::fs::read_dir(format!("/proc/{process}/task")).unwrap();
    // One that has ended meanwhile has nothing to be read.
    let read = threads.filter_map(|thread| std::fs::read_to_string(thread.unwrap().path().join("stat")).ok());
    read.map(|stat| {
        let (name, rest) = stat.split_once('(').unwrap().1.rsplit_once(") ").unwrap();
        (name.to_owned(), rest.split(' ').nth(16).unwrap().parse().unwrap())
    })
    .collect()
}

#[tokio::test]
async fn the_thread_that_writes_to_sqlite_goes_before_all_others_where_it_may() {
    const BEFORE: i32 = 4;
    // Who has `CAP_SYS_NICE` may; anybody else may as far as `RLIMIT_NICE` goes.
    let allowed = std::thread::spawn(|| setpriority_process(None, getpriority_process(None).unwrap() - BEFORE).is_ok());
    let before = if allowed.join().unwrap() { BEFORE } else { 0 };
    eprintln!("here a thread may be less nice by {before}");
    let daemon = Daemon::start(DaemonOptions::new()).await;
    // It goes first once it runs.
    let writer_first = async || {
        let threads = niceness_of_threads(daemon.process.id());
        let (writers, others): (Vec<_>, Vec<_>) = threads.iter().partition(|(name, _)| name == "pulse-writer");
        let [(_, writer)] = writers[..] else { return None };
        (others.len() > 2 && others.iter().all(|(_, other)| *other == writer + before)).then_some(())
    };
    daemon.process.until(&format!("the writer is less nice by {before}"), READY, writer_first).await;
}
