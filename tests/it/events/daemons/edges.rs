//! What a real LiveKit does not tell: three daemons look, and each thing that they find out is told and charged for once,
//! whoever of them stands still or is killed meanwhile.

use std::collections::BTreeMap;

use futures_util::future::join_all;
use pulse_core::time::{Clock as _, SystemClock};
use pulse_tests::{
    daemon::DaemonOptions,
    peers::{
        livekit::{LiveKit, Options},
        python::Join,
    },
    process::Signal,
};
use serde_json::json;

use super::{
    super::{
        ledger,
        load::tell,
        scene::{SOON, Scene},
    },
    Mongo,
};

const ROOMS: [&str; 3] = ["first", "second", "third"];
/// What is found out about each room, in each of which one person was.
const EDGES: [&str; 4] = ["participant_joined", "participant_left", "room_ended", "room_started"];
/// So often a daemon is killed, at most: that takes some seconds each time, and ends are told fifteen after they were noted.
const DEATHS: usize = 30;
/// How far off a stay may be of which nobody told, in seconds: looks are a second apart, and some go by without one when the
/// daemon is away that has the cluster.
const EXACT: f64 = 7.0;

/// How often each thing was told of each room, by room and type.
async fn edges(scene: &Scene) -> BTreeMap<(String, String), u32> {
    let mut edges = BTreeMap::new();
    for event in scene.documents("events").await {
        let text = |field: &str| event[field].as_str().unwrap_or_default().to_owned();
        assert!(text("source_id").starts_with("syn:"), "LiveKit told of something: {event}");
        *edges.entry((text("room"), text("type"))).or_default() += 1;
    }
    edges
}

/// Whether something of this type was told of every room.
async fn all_told(scene: &Scene, kind: &str) -> bool {
    let edges = edges(scene).await;
    ROOMS.iter().all(|room| edges.contains_key(&((*room).to_owned(), kind.to_owned())))
}

/// Waits until some daemon has looked at the LiveKit that had not begun to do so.
async fn until_looked(scene: &Scene) {
    let now = SystemClock::new().now().to_string();
    let looked = async || {
        let meta = scene.documents("meta").await;
        let good = meta.iter().filter_map(|lease| lease["good_at"].as_str()).max()?;
        (good > now.as_str()).then_some(())
    };
    scene.living().process.until("some daemon looks at LiveKit", SOON, looked).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_livekit_does_not_tell_is_told_once_while_daemons_stand_still_and_die() {
    let livekit = LiveKit::start_with(&Options { departure_timeout: 1, ..Options::default() }).await;
    let options = DaemonOptions::new()
        .env("LIVEKIT_HOST", livekit.ws_url())
        .env("LIVEKIT_API_KEY", livekit.key())
        .env("LIVEKIT_API_SECRET", livekit.secret())
        .env("PULSE_RECONCILE_SECONDS", "1");
    let mongo = Mongo::shared().await;
    let mut scene = Scene::several(3, &mongo.uri(&mongo.unique_database()), options).await;
    let project = scene.client().project("Enterprise").await;
    let project = project["id"].as_str().expect("an id").to_owned();
    scene.endpoint(&project, "/told", json!({})).await;

    let token = |room: &str| livekit.join_token(&format!("{project}~{room}"), "ann");
    let there = join_all(ROOMS.map(|room| Join::new(livekit.ws_url(), token(room)).stay())).await;
    let known = async || all_told(&scene, "participant_joined").await.then_some(());
    scene.daemon().process.until("all joins are told", SOON, known).await;
    // Each daemon is away once, and so the one that looks is, whichever it is.
    let mut stays = BTreeMap::new();
    for (n, client) in there.into_iter().enumerate() {
        scene.daemons()[n].process.signal(Signal::STOP);
        let report = client.leave().await;
        until_looked(&scene).await;
        scene.daemons()[n].process.signal(Signal::CONT);
        let stayed = report.left_at.expect("it left") - report.joined_at.expect("it was there");
        stays.insert(report.participant_sid.expect("LiveKit gave one"), stayed);
    }
    for n in (0..3).cycle().take(DEATHS) {
        scene.daemons()[n].kill().await;
        until_looked(&scene).await;
        scene.restart_one(n).await;
        if n == 2 && all_told(&scene, "room_ended").await {
            break;
        }
    }
    // Whoever has just come back finds nothing more to tell.
    until_looked(&scene).await;
    let quiet = async || scene.is_quiet().await.then_some(());
    scene.daemon().process.until("all is delivered", SOON, quiet).await;

    let once = ROOMS.iter().flat_map(|room| EDGES.map(|kind| (((*room).to_owned(), kind.to_owned()), 1)));
    assert_eq!(edges(&scene).await, once.collect(), "each edge is told once");
    let usage = scene.client().get(&format!("/v1/usage/{project}?event_type=participant_seconds")).await.json();
    let facts = usage["data"].as_array().expect("facts");
    assert_eq!(facts.len(), ROOMS.len(), "each stay is charged for once: {usage}");
    for fact in facts {
        let stayed = stays[fact["metadata"]["livekit_id"].as_str().expect("an id")];
        let charged = fact["value"].as_f64().expect("a value");
        tell(&format!("stayed {stayed:.3} s, {charged:.3} s are charged for"));
        assert!((charged - stayed).abs() < EXACT, "{charged} s are charged for, and it stayed {stayed} s: {fact}");
    }
    scene.stop().await;
    tell(&ledger::hold(&scene).await.to_string());
}
