//! What it costs that daemons share a store: the same events from LiveKit to the customers' servers with three of them and with
//! one, over the same MongoDB on the same machine, in turns.

use std::{sync::Arc, time::Duration};

use pulse_tests::{
    livekit_sender::Pace,
    peers::{
        mongo::{Memory, Mongo},
        redis::Redis,
    },
};

use super::{
    Scale,
    audience::{Audience, Told, tell},
    ground::Ground,
    grouped,
    scene::{Customer, Scene, rooms, story},
};
use crate::parts::{Row, median};

/// How many share the store.
const DAEMONS: usize = 3;
/// The rate at which the story's clock goes on: near what is measured, so that its moments are near the true ones.
const TOLD_PER_SECOND: u32 = 400;
/// The share of a turn's events that are told before it, so that caches are warm and connections open.
const LEAD_IN: usize = 10;
/// How many shards of endpoints a daemon has.
const SHARDS_HELD: &str = "pulse_webhook_shards_held";
const SHARDS: usize = 64;
/// How long it may take until each has its share: two beats of five seconds, and a little.
const SHARED_WITHIN: Duration = Duration::from_secs(15);
/// The pause between two looks at that.
const LOOK: Duration = Duration::from_millis(200);

/// The rows of several daemons.
pub(crate) async fn daemons(scale: &Scale) -> Vec<Row> {
    let mongo = Arc::new(Mongo::start_with(Memory::FOR_LOADS).await);
    let redis = Redis::start().await;
    let mut one = Side::new(1, &mongo, None, scale).await;
    let mut three = Side::new(DAEMONS, &mongo, Some(&redis), scale).await;
    for turn in 0..scale.pairs {
        one.run(scale, turn).await;
        three.run(scale, turn).await;
    }
    let what = format!("{} events to customers' servers, {DAEMONS} daemons over one MongoDB", grouped(scale.shared));
    let ratio = median(three.per_second.clone()) / median(one.per_second.clone());
    vec![
        Row::more(
            format!("{what}, against one daemon"),
            "x",
            ratio,
            (0.8, 1.0),
            format!(
                "medians of {} turns: {}; against {}; {} senders, deliveries included",
                scale.pairs,
                three.note(),
                one.note(),
                scale.senders
            ),
        ),
        Row::less(
            format!("{what}: lost"),
            "",
            three.lost as f64,
            (0.0, 0.0),
            format!("{} twice or more; of one daemon {} lost, {} twice or more", three.twice, one.lost, one.twice),
        ),
    ]
}

/// Daemons over a database of their own. They run only while they are looked at.
struct Side {
    scene: Scene,
    audience: Audience,
    crowd: Vec<Customer>,
    /// Events in a second, of each turn.
    per_second: Vec<f64>,
    lost: u64,
    twice: u64,
    /// Of the last turn: who had which share of the endpoints, and who used the processors.
    shares: String,
    cores: String,
}

impl Side {
    async fn new(daemons: usize, mongo: &Arc<Mongo>, redis: Option<&Redis>, scale: &Scale) -> Self {
        let settings: Vec<(&str, String)> = redis.iter().map(|redis| ("REDIS_URL", redis.url())).collect();
        let scene = Scene::of(daemons, Ground::in_server(mongo), &settings).await;
        let audience = Audience::well();
        let crowd = scene.crowd(&audience.receiver, "crowd", scale.projects).await;
        scene.stop().await;
        let (shares, cores) = (String::new(), String::new());
        Self { scene, audience, crowd, per_second: Vec::new(), lost: 0, twice: 0, shares, cores }
    }

    /// One turn: from LiveKit's first webhook to the last arrival at a customer's server.
    async fn run(&mut self, scale: &Scale, turn: usize) {
        self.scene.start().await;
        self.shares = self.until_shared().await;
        let lead_in = self.tell(scale, 2 * turn as u64, scale.shared / LEAD_IN).await;
        let Told { report, lost, took, cores, .. } = self.tell(scale, 2 * turn as u64 + 1, scale.shared).await;
        self.per_second.push(report.delivered as f64 / took.as_secs_f64());
        self.cores = cores;
        self.lost += lead_in.lost + lost;
        // The receiver counts from its beginning.
        self.twice = report.duplicated;
        self.scene.stop().await;
    }

    /// Waits until each of the daemons has its share of the endpoints, or that has taken too long; the shares.
    async fn until_shared(&self) -> String {
        let most = SHARDS.div_ceil(self.scene.daemons.len()) as f64;
        let shared = async {
            loop {
                let held = self.scene.metrics(SHARDS_HELD).await;
                if held.iter().all(|held| *held <= most) && held.iter().sum::<f64>() >= SHARDS as f64 {
                    return;
                }
                tokio::time::sleep(LOOK).await;
            }
        };
        // The note tells who had what.
        let _ = tokio::time::timeout(SHARED_WITHIN, shared).await;
        let held = self.scene.metrics(SHARDS_HELD).await;
        held.iter().map(|held| format!("{held:.0}")).collect::<Vec<_>>().join(" + ")
    }

    /// So many events, as fast as they are answered. They are made before, so that making them is no part of it.
    async fn tell(&self, scale: &Scale, seed: u64, events: usize) -> Told {
        let story = story(seed, rooms(&self.crowd, scale.rooms), scale.participants, TOLD_PER_SECOND);
        let events: Vec<_> = story.take(events).collect();
        let (pace, sender) = (Pace::AtOnce(events.len() as u64), self.scene.closed_loop(scale.senders));
        tell(&self.scene, sender, &self.audience, pace, events.into_iter(), true).await
    }

    fn note(&self) -> String {
        let each: Vec<String> = self.per_second.iter().map(|rate| format!("{rate:.0}")).collect();
        format!("{}/s with shards {}, {}", each.join(", "), self.shares, self.cores)
    }
}
