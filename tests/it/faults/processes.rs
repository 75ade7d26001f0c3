//! A command line beside a live daemon on one SQLite file: what it may do, and what it may not.

use std::{
    collections::BTreeSet,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use pulse_tests::{
    cli::{Cli, Run},
    daemon::{Daemon, DaemonOptions},
    process::READY,
};
use rusqlite::{Connection, OpenFlags, types::Value as Cell};
use serde_json::json;

use super::all_names;

const COMMANDS: usize = 20;
/// How soon a change by another process on the same store is known.
const PROPAGATION: Duration = Duration::from_secs(2);

/// The command line in local mode on the store of a daemon, run away from the test's own thread.
#[derive(Clone)]
struct Beside {
    cli: Arc<Cli>,
    store: String,
}

impl Beside {
    fn of(folder: &Path) -> Self {
        Self::with(folder, Cli::new())
    }

    fn with(folder: &Path, cli: Cli) -> Self {
        Self { cli: Arc::new(cli), store: format!("sqlite:{}", database(folder).display()) }
    }

    async fn run(&self, arguments: &[&str]) -> Run {
        let (cli, store) = (Arc::clone(&self.cli), self.store.clone());
        let arguments: Vec<String> = arguments.iter().map(|text| (*text).to_owned()).collect();
        let run = move || {
            let mut all = vec!["--local", "--store", &store];
            all.extend(arguments.iter().map(String::as_str));
            cli.run(&all)
        };
        tokio::task::spawn_blocking(run).await.expect("the command ran")
    }

    async fn ok(&self, arguments: &[&str]) -> String {
        let run = self.run(arguments).await;
        assert_eq!(run.code, 0, "{}", run.shown());
        run.stdout.trim_end().to_owned()
    }
}

fn database(folder: &Path) -> std::path::PathBuf {
    folder.join("pulse-data/pulse.db")
}

/// Every row of every table.
fn content(folder: &Path) -> Vec<(String, Vec<Vec<Cell>>)> {
    let connection = Connection::open_with_flags(database(folder), OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    let mut tables = connection.prepare("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name").unwrap();
    let names = tables.query_map([], |row| row.get::<_, String>(0)).unwrap().map(Result::unwrap);
    names
        .map(|name| {
            let mut rows = connection.prepare(&format!("SELECT * FROM \"{name}\"")).unwrap();
            let width = rows.column_count();
            let rows = rows.query_map([], |row| (0..width).map(|column| row.get(column)).collect()).unwrap();
            (name, rows.map(Result::unwrap).collect())
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_line_and_the_daemon_write_at_once_and_each_sees_everything() {
    let daemon = Daemon::start(DaemonOptions::new()).await;
    let beside = Beside::of(daemon.folder());
    let (client, done) = (daemon.client(), Arc::new(AtomicUsize::new(0)));
    let commands = tokio::spawn({
        let (beside, done) = (beside.clone(), Arc::clone(&done));
        async move {
            for number in 0..COMMANDS {
                beside.ok(&["org", "create", &format!("cli {number}"), "--email", "a@b.example", "-q"]).await;
                done.fetch_add(1, Ordering::SeqCst);
            }
        }
    });
    let mut names: BTreeSet<String> = (0..COMMANDS).map(|number| format!("cli {number}")).collect();
    // The daemon writes for as long as the command line does.
    while !commands.is_finished() {
        let name = format!("rest {}", names.len());
        let answer = client.post("/v1/organizations", &json!({ "name": name, "admin_email": "a@b.example" })).await;
        assert_eq!(answer.status, 201, "beside {} commands: {}", done.load(Ordering::SeqCst), answer.text);
        names.insert(name);
    }
    commands.await.expect("every command works");
    assert!(names.len() > COMMANDS, "the daemon wrote nothing meanwhile");
    assert_eq!(all_names(&client).await, names, "what the daemon sees");
    let listed = beside.ok(&["org", "list", "--all", "-o", "json", "--jq", "map(.name)"]).await;
    let listed: BTreeSet<String> = serde_json::from_str(&listed).unwrap();
    assert_eq!(listed, names, "what the command line sees");
    beside.ok(&["store", "check"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_command_line_does_to_a_key_holds_in_the_daemon_within_two_seconds() {
    let daemon = Daemon::start(DaemonOptions::new()).await;
    let client = daemon.client();
    let project = client.project("Enterprise").await;
    let id = project["id"].as_str().unwrap();
    let beside = Beside::of(daemon.folder());
    let made = beside.ok(&["key", "create", "ci", "--project", id, "-o", "json"]).await;
    let made: serde_json::Value = serde_json::from_str(&made).unwrap();
    let (key, secret) = (made["id"].as_str().unwrap(), made["pulse_api_secret"].as_str().unwrap());
    let me = async || client.send(client.bare("GET", "/v1/me").bearer_auth(secret)).await.status;
    assert_eq!(me().await, 200, "a key that another process made works at once");
    beside.ok(&["key", "revoke", key, "--project", id, "--yes", "-q"]).await;
    let stopped = async || (me().await == 401).then_some(());
    daemon.process.until("the revoked key is refused", PROPAGATION, stopped).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_under_a_live_daemon_is_refused_and_names_it() {
    let daemon = Daemon::start(DaemonOptions::new()).await;
    let client = daemon.client();
    let beside = Beside::of(daemon.folder());
    beside.ok(&["store", "backup", "backup.db", "-q"]).await;
    client.project("Free").await;
    let before = content(daemon.folder());
    let refused = beside.run(&["store", "restore", "backup.db", "--yes"]).await;
    assert_eq!(refused.code, 6, "{}", refused.shown());
    let holder = format!("process {}", daemon.process.id());
    assert!(refused.stderr.contains(&holder), "{holder} is not named: {}", refused.shown());
    assert_eq!(content(daemon.folder()), before, "a refused restore changed the store");
    assert_eq!(all_names(&client).await, ["acme".to_owned()].into());
    daemon.stop().await;
    beside.ok(&["store", "restore", "backup.db", "--yes", "-q"]).await;
    assert_eq!(beside.ok(&["org", "list", "-o", "name"]).await, "", "the backup is from before");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_line_with_another_pepper_or_master_key_is_refused_and_writes_nothing() {
    const OTHERS: [(&str, &str); 2] = [
        ("API_KEY_PEPPER", "another-pepper-of-more-than-32-characters"),
        ("PULSE_MASTER_KEY", "/////////////////////////////////////////w8="),
    ];
    let daemon = Daemon::start(DaemonOptions::new()).await;
    let project = daemon.client().project("Enterprise").await;
    let id = project["id"].as_str().unwrap();
    let before = content(daemon.folder());
    for (name, value) in OTHERS {
        let beside = Beside::with(daemon.folder(), Cli::new().env(name, value));
        let writes: [&[&str]; 3] = [
            &["org", "create", "other", "--email", "a@b.example"],
            &["key", "create", "other", "--project", id],
            &["key", "list", "--project", id],
        ];
        for arguments in writes {
            let refused = beside.run(arguments).await;
            assert_eq!(refused.code, 2, "{name}: {}", refused.shown());
            assert!(refused.stderr.contains(name), "{name} is not named: {}", refused.shown());
            assert!(!refused.stderr.contains(value), "{name} is shown: {}", refused.shown());
            assert_eq!(refused.stdout, "", "{name}: {}", refused.shown());
        }
    }
    assert_eq!(content(daemon.folder()), before, "a refused command changed the store");
    let works = async || (daemon.client().get("/ready").await.status == 200).then_some(());
    daemon.process.until("the daemon goes on", READY, works).await;
}
