//! What survives when processes die, disks fill, servers go away and several write at once.

mod mongo;
mod processes;
mod races;

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use parking_lot::Mutex;
use pulse_core::entropy::{Entropy as _, SeededEntropy};
use pulse_tests::{
    daemon::{Client, Daemon, DaemonOptions, pulse},
    temporary_folder,
};
use serde_json::json;

const ROUNDS: usize = 50;
const WRITERS: usize = 4;

/// Creates organizations one after the other until the daemon is gone; records the names that were acknowledged.
async fn write_until_killed(client: Client, prefix: String, acked: Arc<Mutex<Vec<String>>>, count: Arc<AtomicUsize>) {
    for n in 0.. {
        let name = format!("{prefix}-{n}");
        let body = json!({ "name": name, "admin_email": "a@b.example" }).to_string();
        let request = client.request("POST", "/v1/organizations").header("content-type", "application/json").body(body);
        match request.send().await {
            Ok(answer) if answer.status() == 201 => {
                acked.lock().push(name);
                count.fetch_add(1, Ordering::SeqCst);
            }
            Ok(answer) => panic!("{name} was answered {}", answer.status()),
            Err(_) => return,
        }
    }
}

async fn all_names(client: &Client) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let mut cursor = String::new();
    loop {
        let page = client.get(&format!("/v1/organizations?limit=100{cursor}")).await.json();
        let rows = page["data"].as_array().expect("rows");
        names.extend(rows.iter().map(|row| row["name"].as_str().expect("a name").to_owned()));
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return names,
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_when_the_daemon_is_killed_again_and_again() {
    let folder = temporary_folder("kill");
    let entropy = SeededEntropy::new(50);
    let acked: Arc<Mutex<Vec<String>>> = Arc::default();
    for round in 0..ROUNDS {
        let daemon = Daemon::start_in(folder.path(), DaemonOptions::new()).await;
        let count = Arc::new(AtomicUsize::new(0));
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let prefix = format!("r{round}-w{writer}");
                tokio::spawn(write_until_killed(daemon.client(), prefix, Arc::clone(&acked), Arc::clone(&count)))
            })
            .collect();
        let mut random = [0_u8; 1];
        entropy.fill(&mut random);
        let enough = 1 + usize::from(random[0] % 32);
        while count.load(Ordering::SeqCst) < enough {
            tokio::task::yield_now().await;
        }
        daemon.kill().await;
        for writer in writers {
            writer.await.expect("a writer ends with its connection");
        }
    }
    let daemon = Daemon::start_in(folder.path(), DaemonOptions::new()).await;
    let stored = all_names(&daemon.client()).await;
    let acked = std::mem::take(&mut *acked.lock());
    let lost: Vec<&String> = acked.iter().filter(|name| !stored.contains(*name)).collect();
    assert!(acked.len() >= ROUNDS, "only {} writes were acknowledged in {ROUNDS} rounds", acked.len());
    assert!(lost.is_empty(), "{} of {} acknowledged writes are lost: {lost:?}", lost.len(), acked.len());
    daemon.stop().await;
    let check = pulse(folder.path())
        .args(["--local", "--store", "sqlite:pulse-data/pulse.db", "store", "check"])
        .output()
        .expect("pulse runs");
    let (out, err) = (String::from_utf8_lossy(&check.stdout), String::from_utf8_lossy(&check.stderr));
    assert!(check.status.success(), "the store, its indexes or its audit chains are damaged:\n{out}\n{err}");
}

#[tokio::test]
async fn a_full_disk_is_answered_503_and_reads_go_on() {
    let folder = temporary_folder("full");
    // The limit is 2 MiB a file, for this daemon and nothing else: blocks of 512 bytes in sh.
    let options = DaemonOptions::new().file_size_limit(4096);
    let daemon = Daemon::start_in(folder.path(), options).await;
    let client = daemon.client();
    let padding = "x".repeat(60);
    let labels: serde_json::Map<_, _> = (0..32).map(|n| (format!("label-{n}"), json!(padding))).collect();
    let mut acked = 0;
    let refused = loop {
        let body = json!({ "name": format!("org {acked}"), "admin_email": "a@b.example", "labels": labels });
        let answer = client.post("/v1/organizations", &body).await;
        if answer.status != 201 {
            break answer;
        }
        acked += 1;
        assert!(acked < 5_000, "the limit never bit");
    };
    assert_eq!((refused.status, refused.code().as_str()), (503, "store_unavailable"), "{}", refused.text);
    assert!(!refused.header("retry-after").is_empty(), "a client is told when to try again");
    assert!(acked > 0, "nothing was written before the limit");
    assert_eq!(all_names(&client).await.len(), acked, "what was acknowledged is there, and nothing else");
    assert_eq!(client.get("/health").await.status, 200);
}
