//! How fast what waits goes out when its receiver is fast, and beside it what a plain loop does that sends one event after
//! the other.

use std::time::Duration;

use bytes::Bytes;
use pulse_tests::{
    livekit_sender::{HttpPost, Post as _, Tried},
    receiver::{Action, Receiver, ReceiverOptions},
};
use serde_json::json;
use tokio::time::Instant;

use super::{
    Scale,
    audience::Audience,
    backlog::{Standing, Target, seed},
    ground::Ground,
    grouped,
    scene::Scene,
};
use crate::parts::Row;

/// How many deliveries the endpoint gets at once: as many as its project may have under way, a quarter of all.
const AT_ONCE: u32 = 64;
/// How long the backlog may take.
const BOUND: Duration = Duration::from_secs(90);
/// How long the plain loop may take: its rate is the same however far it comes.
const PLAIN_BOUND: Duration = Duration::from_secs(5);

/// Rows of the drain over both stores, and of the plain loop.
pub(crate) async fn drain(scale: &Scale) -> Vec<Row> {
    let over_sqlite = drained(Ground::File, scale).await;
    let plain = plain_loop(scale.plain_loop).await;
    let over_mongodb = drained(Ground::mongodb().await, scale).await;
    let row = |drained: Drained| {
        let note = format!("{:.2} x the plain loop; {}", drained.per_second / plain, drained.note);
        Row::more(drained.what, "/s", drained.per_second, (4_000.0, 8_000.0), note)
    };
    vec![
        row(over_sqlite),
        Row::told(
            "plain loop: insert a row, send, update the row",
            "/s",
            plain,
            "rusqlite with synchronous=FULL, one kept connection, one event after the other".to_owned(),
        ),
        row(over_mongodb).without_bounds(),
    ]
}

/// How fast it went.
struct Drained {
    what: String,
    per_second: f64,
    note: String,
}

async fn drained(ground: Ground, scale: &Scale) -> Drained {
    let (backlog, said) = (ground.counts(scale).backlog, ground.said());
    let mut scene = Scene::over(ground).await;
    let audience = Audience::well();
    let project = scene.project("drained").await;
    let url = format!("{}/drained", audience.receiver.url());
    let customer = scene.endpoint(project, &url, json!({ "max_in_flight": AT_ONCE })).await;
    scene.change(customer, "pause").await;
    scene.stop().await;
    seed(&scene.store().await, &[Target::of(customer)], backlog, Standing::Due).await;
    scene.start().await;

    let (cores, began) = (scene.cores(), Instant::now());
    scene.change(customer, "resume").await;
    let all = audience.until_arrived(backlog as u64, BOUND).await;
    let (took, arrived) = (began.elapsed(), audience.arrived());
    let unfinished = if all { String::new() } else { format!("; only {arrived} arrived within {BOUND:?}") };
    Drained {
        what: format!("drain of {} to one fast receiver, {AT_ONCE} at once{said}", grouped(backlog)),
        per_second: arrived as f64 / took.as_secs_f64(),
        note: format!("{:.1} s; {}{unfinished}", took.as_secs_f64(), cores.note()),
    }
}

/// Turns in a second of the loop that one would write first: a row, its request to the same kind of receiver, its new
/// state, each before the next.
async fn plain_loop(turns: usize) -> f64 {
    let folder = tempfile::tempdir().expect("a folder");
    let raw = rusqlite::Connection::open(folder.path().join("plain.db")).expect("opens");
    raw.execute_batch(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
         CREATE TABLE deliveries (id INTEGER PRIMARY KEY, status TEXT NOT NULL, body TEXT NOT NULL) STRICT;",
    )
    .expect("sets");
    let receiver = Receiver::start_with(ReceiverOptions::new().counting(), Action::ok());
    let post = HttpPost::to(&format!("{}/plain", receiver.url()), 1, Duration::from_secs(10));
    let body = json!({ "type": "participant_joined", "data": { "text": "x".repeat(700) } }).to_string();
    let (began, mut made) = (Instant::now(), 0);
    for turn in 0..i64::try_from(turns).expect("few") {
        if began.elapsed() > PLAIN_BOUND {
            break;
        }
        let insert = "INSERT INTO deliveries (id, status, body) VALUES (?1, 'pending', ?2)";
        raw.prepare_cached(insert).and_then(|mut insert| insert.execute((turn, &body))).expect("inserts");
        let tried = post.post("", Bytes::from(body.clone())).await;
        assert!(matches!(tried, Tried::Answered { status: 204, .. }), "{tried:?}");
        let update = "UPDATE deliveries SET status = 'succeeded' WHERE id = ?1";
        raw.prepare_cached(update).and_then(|mut update| update.execute([turn])).expect("updates");
        made = turn + 1;
    }
    made as f64 / began.elapsed().as_secs_f64()
}
