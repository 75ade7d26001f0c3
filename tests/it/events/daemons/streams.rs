//! Streams of events over several daemons: a reader that breaks off at any moment and goes on at another daemon misses
//! nothing, whichever daemon took the event in.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use pulse_core::time::{Clock as _, SystemClock};
use pulse_tests::{
    daemon::{Client, Daemon},
    process::READY,
};
use tokio::task::JoinHandle;

use super::{
    super::load::{Crowd, Dice, more_accepted, tell},
    Mongo, RATE, Scene, three,
};
use crate::daemon::streams::Stream;

/// How long a reader waits for the next event before it looks whether it is to end.
const PATIENCE: Duration = Duration::from_millis(500);

/// Ids of events, each with how often it was read.
type Seen = Arc<Mutex<BTreeMap<String, u64>>>;

/// A reader that goes from one daemon to the other.
struct Reader {
    seen: Seen,
    reading: JoinHandle<u64>,
}

/// Reads the project's events at one daemon after the other, a few new ones at each, until told to stop; gives how often it went on
/// elsewhere.
fn read(clients: Vec<Client>, query: String, seed: u64, stop: &Arc<AtomicBool>) -> Reader {
    let (seen, stop) = (Seen::default(), Arc::clone(stop));
    let known = Arc::clone(&seen);
    let reading = tokio::spawn(async move {
        let (dice, mut last, mut moves) = (Dice::of(seed), None::<String>, 0);
        while !stop.load(Ordering::SeqCst) {
            let client = &clients[usize::try_from(dice.roll(3) - 1).expect("one of three")];
            // One that has just been killed does not answer.
            let Some(mut stream) = Stream::try_open(client, &query, last.as_deref()).await else {
                tokio::time::sleep(PATIENCE).await;
                continue;
            };
            moves += 1;
            let mut few = dice.roll(30);
            while few > 0 && !stop.load(Ordering::SeqCst) {
                let Ok(frame) = tokio::time::timeout(PATIENCE, stream.try_next()).await else { continue };
                let Some(frame) = frame else { break };
                assert_ne!(frame.event.as_deref(), Some("gap"), "nothing is that old");
                if let (Some(id), Some(_)) = (frame.id, frame.data) {
                    // Whoever goes on is told once more of the last half minute: that is no progress.
                    let times = *known.lock().entry(id.clone()).and_modify(|times| *times += 1).or_insert(1);
                    few -= u64::from(times == 1);
                    last = Some(id);
                }
            }
        }
        moves
    });
    Reader { seen, reading }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_that_go_from_daemon_to_daemon_miss_no_event_of_any() {
    let mongo = Mongo::shared().await;
    let mut scene = three(mongo).await;
    let crowd = Crowd::settle(&scene, 1).await;
    let project = crowd.project();
    let stop = Arc::new(AtomicBool::new(false));
    let clients: Vec<Client> = scene.daemons().iter().map(Daemon::client).collect();
    let query = format!("?project_id={project}&from={}", SystemClock::new().now());
    let readers: Vec<Reader> = (0..4).map(|seed| read(clients.clone(), query.clone(), 60 + seed, &stop)).collect();
    let load = crowd.tell_at(&scene.sender, 61, RATE);
    more_accepted(&scene, 100).await;
    scene.daemons()[2].kill().await;
    more_accepted(&scene, 40).await;
    scene.restart_one(2).await;
    more_accepted(&scene, 100).await;
    let ended = load.end(&scene).await;

    let events = ids(&scene, &project).await;
    let all = async || {
        let missing = |reader: &Reader| events.iter().any(|id| !reader.seen.lock().contains_key(id));
        (!readers.iter().any(missing)).then_some(())
    };
    scene.daemon().process.until("every reader has every event", READY * 3, all).await;
    stop.store(true, Ordering::SeqCst);
    for reader in readers {
        let moves = reader.reading.await.expect("reads to the end");
        let seen = reader.seen.lock();
        let again: u64 = seen.values().map(|times| times - 1).sum();
        tell(&format!("{} events, {again} once more, over {moves} connections", seen.len()));
        assert!(moves > 5, "it stayed where it was");
        assert_eq!(seen.keys().cloned().collect::<BTreeSet<_>>(), events, "what was read is what is recorded");
    }
    ended.judge(&scene, &crowd).await;
}

async fn ids(scene: &Scene, project: &str) -> BTreeSet<String> {
    let events = scene.documents("events").await;
    let of_project = events.iter().filter(|event| event["project_id"] == project);
    of_project.map(|event| event["id"].as_str().expect("an id").to_owned()).collect()
}
