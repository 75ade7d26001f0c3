//! A daemon at a port of its own over a SQLite store, or several over one MongoDB behind a balancer; customers with
//! endpoints at one receiver, and a sender that does what LiveKit does. Daemons can die and come back; the others stay.

use std::{collections::HashMap, net::SocketAddr, path::PathBuf, process::ExitStatus, sync::Arc, time::Duration};

use parking_lot::Mutex;
use pulse_core::{
    deliver::sign::{self, Message, SigningSecret, TOLERANCE},
    time::{Clock as _, SystemClock},
};
use pulse_tests::{
    daemon::{Client, Daemon, DaemonOptions},
    latency::Departures,
    livekit_sender::{ApiKey, LiveKitSender, Manner, correlation_of_delivery},
    ports,
    proxy::Proxy,
    receiver::{Action, Received, Receiver, ReceiverOptions},
    temporary_folder,
};
use serde_json::{Value, json};

use super::kept::Kept;

/// LiveKit's key in these tests, and its secret.
pub(super) const KEY: (&str, &str) = ("APIevents", "secret-of-the-livekit-in-tests-of-events");
/// How long anything may take to arrive that nothing stands in the way of.
pub(super) const SOON: Duration = Duration::from_secs(40);
/// The waits of every endpoint: many short ones.
const SCHEDULE: [u32; 12] = [1; 12];

/// The signing secrets by the path of their endpoint.
type Keys = Arc<Mutex<HashMap<String, SigningSecret>>>;

/// See the head of this file.
pub(super) struct Scene {
    daemons: Vec<Daemon>,
    /// In front of several.
    pub(super) balancer: Option<Proxy>,
    pub(super) receiver: Receiver,
    pub(super) sender: LiveKitSender,
    options: DaemonOptions,
    ports: Vec<u16>,
    keys: Keys,
    kept: Kept,
    folder: tempfile::TempDir,
}

impl Scene {
    /// A daemon whose LiveKit is only this sender, which waits a fifth as long as LiveKit would.
    pub(super) async fn new() -> Self {
        Self::with(of_the_sender(), ports::free(), ApiKey::new(KEY.0, KEY.1)).await
    }

    /// One with other options, at this port.
    pub(super) async fn with(options: DaemonOptions, port: u16, key: ApiKey) -> Self {
        let folder = temporary_folder("events");
        let kept = Kept::File(home(&folder, 0).join("pulse-data/pulse.db"));
        Self::set(folder, kept, options, vec![port], key).await
    }

    /// So many daemons over a database of MongoDB.
    pub(super) async fn several(daemons: usize, uri: &str, options: DaemonOptions) -> Self {
        let ports = std::iter::repeat_with(ports::free).take(daemons).collect();
        let options = options.over_mongodb(uri);
        Self::set(temporary_folder("events"), Kept::server(uri).await, options, ports, ApiKey::new(KEY.0, KEY.1)).await
    }

    async fn set(folder: tempfile::TempDir, kept: Kept, options: DaemonOptions, ports: Vec<u16>, key: ApiKey) -> Self {
        let keys = Keys::default();
        let known = Arc::clone(&keys);
        let receiving = ReceiverOptions::new()
            .correlate(&Arc::new(Departures::default()), |received| correlation_of_delivery(&received.body))
            .verify(move |received| verify(&known.lock(), received));
        let receiver = Receiver::start_with(receiving, Action::ok());
        let balancer = match ports.as_slice() {
            [_] => None,
            several => Some(Proxy::before(several.iter().copied().map(address).collect()).await),
        };
        let door = balancer.as_ref().map_or(address(ports[0]), Proxy::address);
        let door = format!("http://{door}/v1/webhooks/livekit");
        let sender = LiveKitSender::to(&door, 16, key, Manner::livekit().scaled(0.2), Arc::new(SystemClock::new()));
        let mut scene = Self { daemons: Vec::new(), balancer, receiver, sender, options, ports, keys, kept, folder };
        for n in 0..scene.ports.len() {
            std::fs::create_dir(home(&scene.folder, n)).expect("a new folder");
            let daemon = scene.start(n).await;
            scene.daemons.push(daemon);
        }
        scene
    }

    async fn start(&self, n: usize) -> Daemon {
        Daemon::start_in(&home(&self.folder, n), self.options_of(n)).await
    }

    fn options_of(&self, n: usize) -> DaemonOptions {
        let options = self.options.clone().env("PULSE_LISTEN", address(self.ports[n]).to_string());
        options.env("PULSE_FAULT_FILE", home(&self.folder, n).join("faults").to_str().expect("UTF-8"))
    }

    /// The daemon, or the first of several.
    pub(super) fn daemon(&self) -> &Daemon {
        &self.daemons[0]
    }

    /// The first that lives; the first of all when none does.
    pub(super) fn living(&self) -> &Daemon {
        self.daemons.iter().find(|daemon| daemon.process.exit_status().is_none()).unwrap_or(self.daemon())
    }

    /// All of them.
    pub(super) fn daemons(&self) -> &[Daemon] {
        &self.daemons
    }

    /// Where the n-th listens.
    pub(super) fn address(&self, n: usize) -> SocketAddr {
        address(self.ports[n])
    }

    /// The operator, who asks the daemon, or the first of several.
    pub(super) fn client(&self) -> Client {
        self.daemon().client()
    }

    /// Makes an endpoint of the project at a path of the receiver, with more fields than its address. Gives the answer,
    /// which shows its secret.
    pub(super) async fn endpoint(&self, project: &str, path: &str, more: Value) -> Value {
        let url = format!("{}{path}", self.receiver.url());
        let mut body = json!({ "project_id": project, "url": url, "schedule": SCHEDULE });
        for (name, value) in more.as_object().into_iter().flatten() {
            body[name] = value.clone();
        }
        let made = self.client().post("/v1/webhooks/endpoints", &body).await;
        assert_eq!(made.status, 201, "{}", made.text);
        let made = made.json();
        let secret = made["secret"].as_str().map(SigningSecret::parse).expect("a new endpoint shows its secret");
        self.keys.lock().insert(path.to_owned(), secret.expect("a signing secret"));
        made
    }

    /// Kills the daemon and starts it again.
    pub(super) async fn crash(&mut self) {
        self.daemon().kill().await;
        self.restart().await;
    }

    /// Starts the daemon that has ended.
    pub(super) async fn restart(&mut self) {
        self.restart_one(0).await;
    }

    /// Starts the n-th daemon, which has ended.
    pub(super) async fn restart_one(&mut self, n: usize) {
        self.daemons[n] = self.start(n).await;
    }

    /// Starts the daemon that has ended, and waits until it has ended again.
    pub(super) async fn restart_until_it_dies(&self) -> ExitStatus {
        Daemon::spawn_in(&home(&self.folder, 0), &self.options_of(0)).exited(SOON).await
    }

    /// Ends every daemon in order.
    ///
    /// # Panics
    /// When one does not say that it ended well.
    pub(super) async fn stop(&self) {
        for daemon in &self.daemons {
            let stopped = daemon.stop().await;
            assert_eq!(stopped.code(), Some(0), "{}", daemon.process.log_tail());
        }
    }

    /// What happens at the daemon's fault points from now on: lines as [`pulse_core::fault`] reads them.
    pub(super) fn faults(&self, lines: &str) {
        let file = home(&self.folder, 0).join("faults");
        // Whole or not at all: it is read at any moment.
        std::fs::write(file.with_extension("new"), lines).expect("a file in the folder");
        std::fs::rename(file.with_extension("new"), file).expect("a rename in the folder");
    }

    /// Every document of a collection.
    pub(super) async fn documents(&self, collection: &str) -> Vec<Value> {
        self.kept.documents(collection).await
    }

    /// Whether no delivery waits or is under way.
    pub(super) async fn is_quiet(&self) -> bool {
        self.kept.is_quiet().await
    }
}

/// Options of a daemon whose LiveKit is a sender with [`KEY`], and nobody else answers.
pub(super) fn of_the_sender() -> DaemonOptions {
    DaemonOptions::new()
        .env("LIVEKIT_HOST", format!("ws://127.0.0.1:{}", ports::free()))
        .env("LIVEKIT_API_KEY", KEY.0)
        .env("LIVEKIT_API_SECRET", KEY.1)
}

fn address(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

/// The folder of the n-th daemon.
fn home(folder: &tempfile::TempDir, n: usize) -> PathBuf {
    folder.path().join(n.to_string())
}

/// Whether a customer can trust the request.
fn verify(keys: &HashMap<String, SigningSecret>, received: &Received) -> Result<(), String> {
    let key = keys.get(received.path()).ok_or("an endpoint without a secret")?;
    let timestamp = received.header("webhook-timestamp").parse().map_err(|_| "no timestamp")?;
    let message = Message { id: received.webhook_id(), timestamp, body: &[&received.body] };
    let header = received.header("webhook-signature");
    sign::verify(std::slice::from_ref(key), &message, header, SystemClock::new().now(), TOLERANCE)
        .map_err(|fault| fault.to_string())
}
