//! What every part needs: daemons as they are shipped, customers with endpoints, and who tells the daemons of their rooms.

use std::{sync::Arc, time::Duration};

use futures_util::{StreamExt as _, future::join_all, stream};
use pulse_core::{
    id::{EndpointId, ProjectId},
    store::SharedStore,
    time::{Clock as _, SystemClock},
};
use pulse_tests::{
    daemon::{Client, Daemon, DaemonOptions},
    livekit_sender::{ApiKey, LiveKitSender, Manner, Story, Webhook},
    receiver::Receiver,
    temporary_folder,
};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{
    cores::Cores,
    ground::Ground,
    livekit::{Happening, LiveKit},
    spread::Spread,
};

/// LiveKit's key, and its secret.
const KEY: (&str, &str) = ("APIbench", "a-secret-of-the-livekit-in-the-benchmarks");

/// A daemon, or several that share a store, each in a folder of its own, and their LiveKit.
pub(super) struct Scene {
    pub(super) daemons: Vec<Daemon>,
    pub(super) livekit: LiveKit,
    ground: Ground,
    options: DaemonOptions,
    folders: Vec<TempDir>,
}

impl Scene {
    /// A daemon over an empty store in a file.
    pub(super) async fn new() -> Self {
        Self::over(Ground::File).await
    }

    /// A daemon over this store, which is empty.
    pub(super) async fn over(ground: Ground) -> Self {
        Self::of(1, ground, &[]).await
    }

    /// So many daemons over this store, which is empty, with these settings beside the usual ones. Their log is quiet, as
    /// that of the other benchmarks is.
    pub(super) async fn of(daemons: usize, ground: Ground, settings: &[(&str, String)]) -> Self {
        let livekit = LiveKit::start().await;
        let options = ground
            .options()
            .env("LIVEKIT_HOST", &livekit.url)
            .env("LIVEKIT_API_KEY", KEY.0)
            .env("LIVEKIT_API_SECRET", KEY.1)
            .env("PULSE_LOG", "warn");
        let options = settings.iter().fold(options, |options, (name, value)| options.env(name, value));
        let folders = (0..daemons).map(|_| temporary_folder("bench")).collect();
        let mut scene = Self { daemons: Vec::new(), livekit, ground, options, folders };
        scene.start().await;
        scene
    }

    /// Starts the daemons, which do not run, one after the other.
    pub(super) async fn start(&mut self) {
        let starting = stream::iter(&self.folders);
        self.daemons = starting.then(|folder| Daemon::start_in(folder.path(), self.options.clone())).collect().await;
    }

    /// Ends the daemons in order.
    pub(super) async fn stop(&self) {
        join_all(self.daemons.iter().map(Daemon::stop)).await;
    }

    /// The daemon, or the first of them.
    pub(super) fn daemon(&self) -> &Daemon {
        &self.daemons[0]
    }

    /// The operator.
    pub(super) fn client(&self) -> Client {
        self.daemon().client()
    }

    /// The store; no daemon may run when it is a file.
    pub(super) async fn store(&self) -> SharedStore {
        self.ground.open(self.folders[0].path()).await
    }

    /// Looks at the processors from now on.
    pub(super) fn cores(&self) -> Cores {
        let daemons = self.daemons.iter().map(|daemon| ("daemon", daemon.process.id()));
        Cores::from_now(daemons.chain(self.ground.process().map(|process| ("mongod", process))).collect())
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

    /// A sender over so many connections, for events that each have their moment.
    pub(super) fn sender(&self, connections: usize, manner: Manner) -> LiveKitSender<Spread> {
        LiveKitSender::over(self.post(connections, &manner), key(), manner, Arc::new(SystemClock::new()))
    }

    /// One that is given all events at once, and of which each connection waits for its answers.
    pub(super) fn closed_loop(&self, connections: usize) -> LiveKitSender<Happening> {
        let (manner, livekit) = (patient(), self.livekit.clone());
        let post = Happening { post: self.post(connections, &manner), livekit };
        LiveKitSender::over(post, key(), manner, Arc::new(SystemClock::new()))
    }

    fn post(&self, connections: usize, manner: &Manner) -> Spread {
        let doors: Vec<String> =
            self.daemons.iter().map(|daemon| format!("{}/v1/webhooks/livekit", daemon.url)).collect();
        Spread::over(&doors, connections, manner.answer_within)
    }

    /// The events, which happen in LiveKit when they are taken.
    pub(super) fn happening<E: Iterator<Item = Webhook>>(&self, events: E) -> impl Iterator<Item = Webhook> + use<E> {
        let livekit = self.livekit.clone();
        events.inspect(move |webhook| livekit.hear(&webhook.body))
    }

    /// One of the daemon's own figures, over all of its labels.
    pub(super) async fn metric(&self, name: &str) -> f64 {
        figure(self.daemon(), name).await
    }

    /// The same of each of the daemons.
    pub(super) async fn metrics(&self, name: &str) -> Vec<f64> {
        join_all(self.daemons.iter().map(|daemon| figure(daemon, name))).await
    }
}

async fn figure(daemon: &Daemon, name: &str) -> f64 {
    let text = daemon.client().get("/metrics").await.text;
    let of_name = |line: &&str| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']));
    let values = text.lines().filter(of_name).filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
    // Not `sum`, whose sum of nothing is written `-0`.
    values.fold(0.0, |sum, value| sum + value)
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
