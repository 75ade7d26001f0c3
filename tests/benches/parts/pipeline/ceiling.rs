//! How many events are taken in at most, by many senders of which each waits for its answers: against the store alone, which
//! commits the same rows for as many writers; and when all of them are of one room.

use std::{sync::Arc, time::Instant};

use pulse_core::store::{Batch, CommitMode, Outcome, SharedStore};
use pulse_tests::livekit_sender::{Pace, Webhook};

use super::{
    Scale,
    audience::{Audience, Told, tell},
    ground::Ground,
    grouped,
    recording::{Recorded, record},
    scene::{Scene, rooms, story},
};
use crate::parts::{Row, median};

/// The rate at which the stories' clocks go on: near what is measured, so that their moments are near the true ones.
const TOLD_PER_SECOND: u32 = 5_000;

/// Rows of the ceiling of ingest, over SQLite and over MongoDB.
pub(crate) async fn ceiling(scale: &Scale) -> Vec<Row> {
    let mut rows = over(Ground::File, scale).await;
    rows.extend(over(Ground::mongodb().await, scale).await.into_iter().map(Row::without_bounds));
    rows
}

async fn over(ground: Ground, scale: &Scale) -> Vec<Row> {
    let ((events, rounds), said) = (ground.counts(scale).ceiling, ground.said());
    let recorded = record(scale, events).await;
    let scene = Scene::over(ground.clone()).await;
    let audience = Audience::well();
    let crowd = scene.crowd(&audience.receiver, "waiting", scale.projects).await;
    for customer in &crowd {
        scene.change(*customer, "pause").await;
    }
    let (mut ingest, mut alone, mut cores) = (Vec::new(), Vec::new(), String::new());
    for round in 0..rounds {
        alone.push(store_alone(&ground.fresh(), &recorded).await);
        let story = story(round as u64, rooms(&crowd, scale.rooms), scale.participants, TOLD_PER_SECOND);
        let told = at_once(&scene, &audience, scale, story.take(events).collect(), false).await;
        ingest.push(told.report.per_second());
        cores = told.cores;
    }
    let (ingest, alone) = (median(ingest), median(alone));
    let sent = scene.crowd(&audience.receiver, "sending", scale.projects).await;
    let told_to_all = story(77, rooms(&sent, scale.rooms), scale.participants, TOLD_PER_SECOND);
    let sending = at_once(&scene, &audience, scale, told_to_all.take(events).collect(), true).await;
    let (one, one_cores) = one_room(&scene, &audience, scale, events / 4).await;
    vec![
        Row::more(
            format!(
                "events taken in, {} senders, deliveries waiting, against the store alone with the same rows{said}",
                scale.senders
            ),
            "x",
            ingest / alone,
            (0.5, 0.8),
            format!(
                "{ingest:.0}/s against {alone:.0}/s; {cores}; with deliveries going out beside it {:.0}/s, {} of {} lost, {}",
                sending.report.per_second(),
                sending.lost,
                grouped(events),
                sending.cores
            ),
        ),
        Row::told(
            format!("events taken in, {} senders, all of one room{said}", scale.senders),
            "/s",
            one,
            format!("planned one after the other; {one_cores}"),
        ),
    ]
}

/// All of these events, as fast as they are answered. They are made before, so that making them is no part of it.
async fn at_once(scene: &Scene, audience: &Audience, scale: &Scale, events: Vec<Webhook>, delivered: bool) -> Told {
    let pace = Pace::AtOnce(events.len() as u64);
    let told = tell(scene, scene.closed_loop(scale.senders), audience, pace, events.into_iter(), delivered).await;
    assert_eq!(told.report.acknowledged, told.report.sent, "{}", told.report);
    told
}

/// Events of one room in a second. LiveKit would send them one after the other; here each connection has its own share, so
/// that Pulse and not the sender is what keeps their order.
async fn one_room(scene: &Scene, audience: &Audience, scale: &Scale, events: usize) -> (f64, String) {
    let alone = scene.crowd(&audience.receiver, "alone", 1).await;
    scene.change(alone[0], "pause").await;
    let story = story(78, rooms(&alone, 1), scale.senders, TOLD_PER_SECOND).take(events);
    let spread = story.enumerate();
    let spread = spread.map(|(n, webhook)| Webhook { lane: format!("lane {}", n % scale.senders), ..webhook });
    let told = at_once(scene, audience, scale, spread.collect(), false).await;
    (told.report.per_second(), told.cores)
}

/// Commits in a second of the same batches into this store, which is empty, by as many writers.
async fn store_alone(ground: &Ground, recorded: &Recorded) -> f64 {
    let folder = tempfile::tempdir().expect("a folder");
    let store = ground.open(folder.path()).await;
    for batch in recorded.before.clone() {
        commit(&store, batch).await;
    }
    let shares = recorded.by_writer.clone();
    let commits: usize = shares.iter().map(Vec::len).sum();
    let began = Instant::now();
    let writers: Vec<_> = shares
        .into_iter()
        .map(|share| {
            let store = Arc::clone(&store);
            tokio::spawn(async move {
                for batch in share {
                    commit(&store, batch).await;
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.expect("a writer ends");
    }
    commits as f64 / began.elapsed().as_secs_f64()
}

async fn commit(store: &SharedStore, batch: Batch) {
    let outcome = store.commit(batch, CommitMode::Apply).await.expect("commits");
    assert!(matches!(outcome, Outcome::Committed { .. }), "{outcome:?}");
}
