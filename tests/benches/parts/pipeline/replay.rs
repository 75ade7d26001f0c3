//! How fast a replay makes its deliveries, and what another project feels of it: what was given up is sent once more, as fast
//! as it goes, while the other one's events come at a steady rate.

use std::time::Duration;

use pulse_core::time::Timestamp;
use pulse_tests::{
    latency::Latencies,
    livekit_sender::{Pace, Story},
};
use serde_json::{Value, json};

use super::{
    Scale,
    audience::{Audience, Told, tell},
    backlog::{Standing, Target, seed},
    ground::Ground,
    grouped,
    scale::Counts,
    scene::{Customer, Scene, patient, rooms, story},
};
use crate::parts::{Row, median};

/// How many deliveries an endpoint gets at once: as many as its project may have under way, a quarter of all.
const AT_ONCE: u32 = 64;
/// How long the live load has gone on when it is looked at.
const LEAD_IN: Duration = Duration::from_secs(1);
/// How long a replay, and what it has made, may take.
const BOUND: Duration = Duration::from_secs(180);
/// The pause between two looks at a replay, which says itself when it began and ended.
const LOOK: Duration = Duration::from_millis(100);

/// Rows of replays over both stores. What MongoDB shall do is aimed at, and fails nothing.
pub(crate) async fn replay(scale: &Scale) -> Vec<Row> {
    let mut rows = over(Ground::File, scale).await;
    rows.extend(over(Ground::mongodb().await, scale).await.into_iter().map(Row::only_aimed_at));
    rows
}

async fn over(ground: Ground, scale: &Scale) -> Vec<Row> {
    let (counts, said) = (ground.counts(scale), ground.said());
    let stage = Stage::set(ground, scale, counts).await;
    let cores = stage.scene.cores();
    let id = stage.start(0).await;
    let alone = stage.completed(0, &id).await;
    let cores = cores.note();
    stage.all_arrived(1).await;
    let mut story = story(1, rooms(&stage.live, scale.rooms), scale.participants, counts.live.0);
    stage.tell(scale, &mut story, LEAD_IN).await;
    let mut pairs = Vec::new();
    for pair in 1..=scale.pairs {
        let without = stage.tell(scale, &mut story, counts.live.1).await;
        pairs.push((without, stage.beside(scale, &mut story, pair).await));
    }
    let p99 = |latencies: &Latencies| latencies.millis(0.99);
    let ratios = pairs.iter().map(|(without, beside)| p99(&beside.live) / p99(without)).collect();
    let notes = pairs.iter().map(|(without, beside)| {
        format!(
            "{:.2} against {:.2} ms, {} of the replay's deliveries had arrived by then, {:.0} rows/s",
            p99(&beside.live),
            p99(without),
            grouped(usize::try_from(beside.arrived).expect("few")),
            beside.per_second
        )
    });
    let what = format!("replay of {} events{said}", grouped(counts.replayed));
    vec![
        Row::more(
            format!("{what}: rows made, while they are sent"),
            "/s",
            alone,
            (2_000.0, 5_000.0),
            format!("what was given up, to one fast receiver, {AT_ONCE} at once; {cores}"),
        ),
        Row::less(
            format!("{what}: another project's live deliveries, p99, {}/s, against the same without it", counts.live.0),
            "x",
            median(ratios),
            (1.5, 1.1),
            format!("median of {} pairs: {}", scale.pairs, notes.collect::<Vec<_>>().join("; ")),
        ),
    ]
}

/// A daemon with a project that lives, and others of which everything was given up, one for each replay.
struct Stage {
    scene: Scene,
    audience: Audience,
    live: Vec<Customer>,
    /// Who gets what is replayed.
    replayed: Audience,
    given_up: Vec<Customer>,
    counts: Counts,
}

/// What came of a replay beside which others lived.
struct Beside {
    /// How long their events took.
    live: Latencies,
    /// How much of the replay had arrived at the end of what was measured.
    arrived: u64,
    /// Rows of the replay in a second.
    per_second: f64,
}

impl Stage {
    async fn set(ground: Ground, scale: &Scale, counts: Counts) -> Self {
        let mut scene = Scene::over(ground).await;
        let audience = Audience::well();
        let live = scene.crowd(&audience.receiver, "live", 1).await;
        let replayed = Audience::well();
        let mut given_up = Vec::new();
        for n in 0..=scale.pairs {
            let project = scene.project(&format!("given up {n}")).await;
            let url = format!("{}/{n}", replayed.receiver.url());
            given_up.push(scene.endpoint(project, &url, json!({ "max_in_flight": AT_ONCE })).await);
        }
        scene.stop().await;
        let targets: Vec<Target> = given_up.iter().copied().map(Target::of).collect();
        seed(&scene.store().await, &targets, counts.replayed, Standing::GivenUp).await;
        scene.start().await;
        Self { scene, audience, live, replayed, given_up, counts }
    }

    /// Starts a replay of what the n-th of the projects was not given.
    async fn start(&self, n: usize) -> String {
        let body = json!({ "project_id": self.given_up[n].project, "status": "failed" });
        let started = self.scene.client().post("/v1/webhooks/replays", &body).await;
        assert_eq!(started.status, 202, "{}", started.text);
        started.json()["id"].as_str().expect("an id").to_owned()
    }

    /// Waits until the replay has made all of its rows: so many in a second, by its own moments.
    async fn completed(&self, n: usize, id: &str) -> f64 {
        let path = format!("/v1/webhooks/replays/{id}?project_id={}", self.given_up[n].project);
        let client = self.scene.client();
        let ended = async {
            loop {
                let replay = client.get(&path).await.json();
                if replay["state"] != "running" {
                    return replay;
                }
                tokio::time::sleep(LOOK).await;
            }
        };
        let ended = tokio::time::timeout(BOUND, ended).await.expect("the replay ends");
        let came_to = (&ended["state"], &ended["deliveries"]);
        assert_eq!(came_to, (&json!("completed"), &json!(self.counts.replayed)), "{ended}");
        let took = moment(&ended["finished_at"]).since(moment(&ended["created_at"]));
        self.counts.replayed as f64 / took.as_secs_f64()
    }

    /// Waits until everything has arrived that so many replays have made.
    async fn all_arrived(&self, replays: usize) {
        let all = (replays * self.counts.replayed) as u64;
        assert!(self.replayed.until_arrived(all, BOUND).await, "{} of {all} have arrived", self.replayed.arrived());
    }

    /// Tells the living project's story for so long; how long its events took to arrive.
    async fn tell(&self, scale: &Scale, story: &mut Story, lasting: Duration) -> Latencies {
        let sender = self.scene.sender(scale.senders, patient());
        let pace = Pace::PerSecond(self.counts.live.0.into(), lasting);
        let Told { report, end_to_end, lost, .. } =
            tell(&self.scene, sender, &self.audience, pace, self.scene.happening(story), true).await;
        assert_eq!(lost, 0, "the living project lost events: {report}");
        end_to_end
    }

    /// The same from the moment on at which the n-th replay is started.
    async fn beside(&self, scale: &Scale, story: &mut Story, n: usize) -> Beside {
        let before = self.replayed.arrived();
        let id = self.start(n).await;
        let live = self.tell(scale, story, self.counts.live.1).await;
        let arrived = self.replayed.arrived() - before;
        let per_second = self.completed(n, &id).await;
        self.all_arrived(n + 1).await;
        Beside { live, arrived, per_second }
    }
}

fn moment(value: &Value) -> Timestamp {
    value.as_str().and_then(|text| text.parse().ok()).expect("a moment")
}
