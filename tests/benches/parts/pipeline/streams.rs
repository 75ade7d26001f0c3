//! Many readers of one project's events as they happen: memory for each of them, and how long an event takes to all.

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;
use pulse_core::time::{Clock as _, SystemClock, Timestamp};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::Instant,
};

use super::{Scale, ground::Ground, grouped, scene::Scene};
use crate::parts::{Row, process::resident};

/// Every how many readers one looks at the moments in what it reads; all read everything.
const LOOKS: usize = 20;
/// How long the connections and the daemon are left alone before memory is looked at.
const SETTLE: Duration = Duration::from_secs(3);
/// How long after the last event was made all readers have it, at most.
const LATE: Duration = Duration::from_secs(30);
/// Who makes events up, side by side.
const MAKERS: u32 = 4;

/// Readers at a daemon that makes events up at a steady rate; then at a smaller one over MongoDB, whose changes it hears of.
pub(crate) async fn streams(scale: &Scale) -> Vec<Row> {
    let mut rows = watched(Ground::File, scale.readers, scale.watched).await;
    let over_mongodb = watched(Ground::mongodb().await, scale.readers, scale.mongodb.live).await;
    rows.extend(over_mongodb.into_iter().map(Row::without_bounds));
    rows
}

/// So many readers, and so many events in a second for so long.
async fn watched(ground: Ground, readers: usize, (rate, lasting): (u32, Duration)) -> Vec<Row> {
    let said = ground.said();
    let scene = Scene::over(ground).await;
    let project = scene.project("watched").await;
    let process = scene.daemon().process.id();
    trigger(&scene, project).await;
    tokio::time::sleep(SETTLE).await;
    let before = resident(process);
    let took = Arc::new(Mutex::new(Vec::new()));
    let request = format!(
        "GET /v1/events/stream?project_id={project} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\n\r\n",
        scene.daemon().admin_token
    );
    let mut reading = Vec::with_capacity(readers);
    for n in 0..readers {
        let mut stream = TcpStream::connect(scene.daemon().address()).await.expect("connects");
        stream.write_all(request.as_bytes()).await.expect("asks");
        let took = (n % LOOKS == 0).then(|| Arc::clone(&took));
        reading.push(tokio::spawn(read(stream, took)));
    }
    tokio::time::sleep(SETTLE).await;
    let idle = resident(process);
    let count = rate * u32::try_from(lasting.as_secs()).unwrap_or(1);
    let making = (0..MAKERS).map(|maker| make(&scene, project, (maker, count / MAKERS), rate));
    let began = Instant::now();
    futures_util::future::join_all(making).await;
    let reached = f64::from(count) / began.elapsed().as_secs_f64();
    let expected = readers.div_ceil(LOOKS) * (count / MAKERS * MAKERS) as usize;
    let all_read = async {
        while took.lock().len() < expected {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(LATE, all_read).await.expect("every reader gets every event");
    let busy = resident(process);
    reading.iter().for_each(tokio::task::JoinHandle::abort);
    let mut took = std::mem::take(&mut *took.lock());
    took.sort_unstable();
    assert_eq!(took.len(), expected, "some reader got an event twice");
    let at = |part: f64| took[((took.len() - 1) as f64 * part) as usize];
    let each = |now: f64| (now - before) * 1024.0 / readers as f64;
    let what = format!("{} readers of one project at {rate} events/s{said}", grouped(readers));
    let note = format!(
        "p50 {} ms, longest {} ms; from the moment in the event, before its commit, to its arrival, over {} readers; {reached:.0} events/s came to be, {} MiB/s to all readers",
        at(0.5),
        at(1.0),
        readers.div_ceil(LOOKS),
        readers as u64 * u64::from(rate) * 700 / 1_048_576,
    );
    let of_memory = format!(
        "idle {:.1} KiB each; {before:.1} MiB before, {idle:.1} MiB with them, {busy:.1} MiB after the load",
        each(idle)
    );
    vec![
        Row::less(format!("{what}: memory of each"), "KiB", each(busy), (64.0, 16.0), of_memory),
        Row::less(format!("{what}: to a reader, p99"), "ms", at(0.99) as f64, (500.0, 100.0), note),
    ]
}

/// Makes one event up.
async fn trigger(scene: &Scene, project: pulse_core::id::ProjectId) {
    let body = json!({ "project_id": project, "type": "participant_joined" });
    let made = scene.client().post("/v1/events/trigger", &body).await;
    assert_eq!(made.status, 201, "{}", made.text);
}

/// Makes every fourth event up, each at its moment.
async fn make(scene: &Scene, project: pulse_core::id::ProjectId, (maker, count): (u32, u32), rate: u32) {
    let client = scene.client();
    let body = json!({ "project_id": project, "type": "participant_joined" });
    let began = Instant::now();
    for n in 0..count {
        tokio::time::sleep_until(began + Duration::from_secs(1) / rate * (n * MAKERS + maker)).await;
        assert_eq!(client.post("/v1/events/trigger", &body).await.status, 201);
    }
}

/// Reads a stream to its end, and notes how old each event is when it arrives.
async fn read(mut stream: TcpStream, took: Option<Arc<Mutex<Vec<u64>>>>) {
    let (clock, mut bytes, mut text) = (SystemClock::new(), vec![0; 16 << 10], String::new());
    while let Ok(count @ 1..) = stream.read(&mut bytes).await {
        let Some(took) = &took else { continue };
        let now = clock.now();
        text.push_str(&String::from_utf8_lossy(&bytes[..count]));
        while let Some((line, rest)) = text.split_once('\n') {
            if let Some((_, moment)) = line.split_once("\"created_at\":\"") {
                let moment: Timestamp = moment.split('"').next().unwrap_or_default().parse().expect("a moment");
                took.lock().push(u64::try_from(now.since(moment).as_millis()).unwrap_or(u64::MAX));
            }
            text = rest.to_owned();
        }
    }
}
