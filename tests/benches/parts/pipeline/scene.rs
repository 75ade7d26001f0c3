//! What every part needs: a daemon as it is shipped, customers with endpoints, a load that is told and followed to the
//! customers' servers.

use std::{collections::HashMap, path::PathBuf, sync::Arc, time::Duration};

use pulse_core::{
    id::{EndpointId, ProjectId},
    time::{Clock as _, SystemClock},
};
use pulse_tests::{
    daemon::{Client, Daemon, DaemonOptions},
    latency::{Departures, Latencies},
    livekit_sender::{
        ApiKey, HttpPost, LiveKitSender, Load, Manner, Outcome, Pace, Post, Report, Story, Webhook,
        correlation_of_delivery,
    },
    receiver::{Action, Behaviour, Receiver, ReceiverOptions},
    temporary_folder,
};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{
    cores::Cores,
    livekit::{Happening, LiveKit},
};

/// LiveKit's key, and its secret.
const KEY: (&str, &str) = ("APIbench", "a-secret-of-the-livekit-in-the-benchmarks");
/// How long the last answers, and the last deliveries, may take after the load.
const LAST: Duration = Duration::from_secs(60);
/// The pause between two looks at counters.
const LOOK: Duration = Duration::from_millis(20);

/// A daemon in a folder of its own, and its LiveKit.
pub(super) struct Scene {
    pub(super) daemon: Daemon,
    pub(super) livekit: LiveKit,
    options: DaemonOptions,
    folder: tempfile::TempDir,
}

impl Scene {
    /// A daemon over an empty store. Its log is quiet, as that of the other benchmarks is.
    pub(super) async fn new() -> Self {
        let livekit = LiveKit::start().await;
        let options = DaemonOptions::new()
            .env("LIVEKIT_HOST", &livekit.url)
            .env("LIVEKIT_API_KEY", KEY.0)
            .env("LIVEKIT_API_SECRET", KEY.1)
            .env("PULSE_LOG", "warn");
        let folder = temporary_folder("bench");
        let daemon = Daemon::start_in(folder.path(), options.clone()).await;
        Self { daemon, livekit, options, folder }
    }

    /// Starts the daemon that has ended.
    pub(super) async fn start(&mut self) {
        self.daemon = Daemon::start_in(self.folder.path(), self.options.clone()).await;
    }

    /// The operator.
    pub(super) fn client(&self) -> Client {
        self.daemon.client()
    }

    /// The database.
    pub(super) fn database(&self) -> PathBuf {
        self.folder.path().join("pulse-data/pulse.db")
    }

    /// A project of an organization without limits.
    pub(super) async fn project(&self, name: &str) -> ProjectId {
        let project = self.client().project_of(name, "Enterprise").await;
        project["id"].as_str().and_then(|id| id.parse().ok()).expect("an id")
    }

    /// An endpoint of the project, with more fields than its address.
    pub(super) async fn endpoint(&self, project: ProjectId, url: &str, more: Value) -> Customer {
        let mut body = json!({ "project_id": project, "url": url });
        for (name, value) in more.as_object().into_iter().flatten() {
            body[name] = value.clone();
        }
        let made = self.client().post("/v1/webhooks/endpoints", &body).await;
        assert_eq!(made.status, 201, "{}", made.text);
        let endpoint = made.json()["id"].as_str().and_then(|id| id.parse().ok()).expect("an id");
        Customer { project, endpoint }
    }

    /// Does something with an endpoint: `pause`, `resume`.
    pub(super) async fn change(&self, Customer { project, endpoint }: Customer, verb: &str) {
        let body = json!({ "project_id": project });
        let done = self.client().post(&format!("/v1/webhooks/endpoints/{endpoint}/{verb}"), &body).await;
        assert!(done.status < 300, "{verb}: {}", done.text);
    }

    /// Projects with one endpoint each at the receiver.
    pub(super) async fn crowd(&self, receiver: &Receiver, name: &str, projects: usize) -> Vec<Customer> {
        let mut crowd = Vec::with_capacity(projects);
        for n in 0..projects {
            let project = self.project(&format!("{name} {n}")).await;
            crowd.push(self.endpoint(project, &format!("{}/{project}", receiver.url()), json!({})).await);
        }
        crowd
    }

    /// A sender over so many connections to the daemon, for events that each have their moment.
    pub(super) fn sender(&self, connections: usize, manner: Manner) -> LiveKitSender {
        LiveKitSender::over(self.post(connections, &manner), key(), manner, Arc::new(SystemClock::new()))
    }

    /// One that is given all events at once, and of which each connection waits for its answers.
    pub(super) fn closed_loop(&self, connections: usize) -> LiveKitSender<Happening> {
        let (manner, livekit) = (patient(), self.livekit.clone());
        let post = Happening { post: self.post(connections, &manner), livekit };
        LiveKitSender::over(post, key(), manner, Arc::new(SystemClock::new()))
    }

    fn post(&self, connections: usize, manner: &Manner) -> HttpPost {
        HttpPost::to(&format!("{}/v1/webhooks/livekit", self.daemon.url), connections, manner.answer_within)
    }

    /// The events, which happen in LiveKit when they are taken.
    pub(super) fn happening<E: Iterator<Item = Webhook>>(&self, events: E) -> impl Iterator<Item = Webhook> + use<E> {
        let livekit = self.livekit.clone();
        events.inspect(move |webhook| livekit.hear(&webhook.body))
    }

    /// One of the daemon's own figures, over all of its labels.
    pub(super) async fn metric(&self, name: &str) -> f64 {
        let text = self.client().get("/metrics").await.text;
        let of_name = |line: &&str| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']));
        let values = text.lines().filter(of_name).filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
        // Not `sum`, whose sum of nothing is written `-0`.
        values.fold(0.0, |sum, value| sum + value)
    }
}

fn key() -> ApiKey {
    ApiKey::new(KEY.0, KEY.1)
}

/// What LiveKit does with the queues that Pulse asks for, but that it does not wait for ever for an answer.
pub(super) fn patient() -> Manner {
    Manner { answer_within: Duration::from_secs(10), ..Manner::as_deployed() }
}

/// A project and its endpoint.
#[derive(Clone, Copy, Debug)]
pub(super) struct Customer {
    pub(super) project: ProjectId,
    pub(super) endpoint: EndpointId,
}

/// Rooms of these projects as LiveKit names them: so many of each.
pub(super) fn rooms(crowd: &[Customer], rooms: usize) -> Vec<String> {
    crowd.iter().flat_map(|customer| (0..rooms).map(move |room| format!("{}~room {room}", customer.project))).collect()
}

/// The story of these rooms, which begins now and is told at this rate.
pub(super) fn story(seed: u64, rooms: Vec<String>, participants: usize, per_second: u32) -> Story {
    let step = Duration::from_secs(1) / per_second;
    Story::new(seed, rooms, participants, SystemClock::new().now(), step)
}

/// A receiver of a load, and when its events set out.
pub(super) struct Audience {
    pub(super) receiver: Receiver,
    departures: Arc<Departures>,
}

impl Audience {
    /// One that behaves so.
    pub(super) fn new(behaviour: impl Into<Behaviour>) -> Self {
        let departures = Arc::new(Departures::default());
        let options = ReceiverOptions::new().counting();
        let options = options.correlate(&departures, |received| correlation_of_delivery(&received.body));
        Self { receiver: Receiver::start_with(options, behaviour), departures }
    }

    /// One with which all is well.
    pub(super) fn well() -> Self {
        Self::new(Action::ok())
    }

    /// Deliveries that have arrived, each counted once.
    pub(super) fn arrived(&self) -> u64 {
        let counts = self.receiver.counts();
        counts.succeeded - counts.duplicates
    }

    /// Waits until so many have arrived in all; whether they have within the bound.
    pub(super) async fn until_arrived(&self, deliveries: u64, bound: Duration) -> bool {
        let arrived = async {
            while self.arrived() < deliveries {
                tokio::time::sleep(LOOK).await;
            }
        };
        tokio::time::timeout(bound, arrived).await.is_ok()
    }
}

/// What came of a load.
pub(super) struct Told {
    /// What the sender was told, joined with what arrived.
    pub(super) report: Report,
    /// From the moment for which an event was due to its first arrival.
    pub(super) end_to_end: Latencies,
    /// Events that were not acknowledged, or not delivered where that was awaited.
    pub(super) lost: u64,
    /// Who used the processors.
    pub(super) cores: String,
}

/// Sends events at this pace, waits until each has met its fate and what was acknowledged has arrived (or a minute is
/// over), and says how it went. `delivered` says whether deliveries are awaited.
pub(super) async fn tell<P: Post>(
    scene: &Scene,
    sender: LiveKitSender<P>,
    audience: &Audience,
    pace: Pace,
    events: impl Iterator<Item = Webhook>,
    delivered: bool,
) -> Told {
    let arrived = audience.arrived();
    let cores = Cores::from_now(scene.daemon.process.id());
    let load = Load { sender, pace, departures: Some(Arc::clone(&audience.departures)) };
    let began = load.run(events).await;
    let sent = pace.events();
    let outcomes = settled(&load.sender, sent).await;
    let cores = cores.note();
    let acknowledged = Report::join(&outcomes, &HashMap::new(), began).acknowledged;
    if delivered {
        audience.until_arrived(arrived + acknowledged, LAST).await;
    }
    let report = Report::join(&outcomes, &audience.receiver.deliveries(None), began);
    let lost = if delivered { sent - report.delivered } else { sent - report.acknowledged };
    Told { report, end_to_end: audience.receiver.take_latencies(), lost, cores }
}

/// The outcomes of all webhooks, or after a while of those that have met their fate.
async fn settled<P: Post>(sender: &LiveKitSender<P>, sent: u64) -> Vec<Outcome> {
    let bound = LAST + Duration::from_secs(sent / 1_000);
    match tokio::time::timeout(bound, sender.settled(bound * 2)).await {
        Ok(outcomes) => outcomes,
        Err(_) => sender.outcomes(),
    }
}

/// The first arrival at the receiver since a moment.
pub(super) fn first_arrival(receiver: &Receiver, since: Instant) -> Option<Instant> {
    receiver.tallies().into_iter().map(|(_, _, tally)| tally.last).filter(|at| *at >= since).min()
}
