//! A daemon at a port of its own over a SQLite store, customers with endpoints at one receiver, and a sender that does what
//! LiveKit does. The daemon can die and come back; the others stay.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    process::ExitStatus,
    sync::Arc,
    time::Duration,
};

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
    receiver::{Action, Received, Receiver, ReceiverOptions},
    temporary_folder,
};
use serde_json::{Value, json};

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
    pub(super) daemon: Daemon,
    pub(super) receiver: Receiver,
    pub(super) sender: LiveKitSender,
    options: DaemonOptions,
    keys: Keys,
    folder: tempfile::TempDir,
}

impl Scene {
    /// A daemon whose LiveKit is only this sender, which waits a fifth as long as LiveKit would.
    pub(super) async fn new() -> Self {
        let options = DaemonOptions::new()
            .env("LIVEKIT_HOST", format!("ws://127.0.0.1:{}", ports::free()))
            .env("LIVEKIT_API_KEY", KEY.0)
            .env("LIVEKIT_API_SECRET", KEY.1);
        Self::with(options, ports::free(), ApiKey::new(KEY.0, KEY.1)).await
    }

    /// One with other options, at this port.
    pub(super) async fn with(options: DaemonOptions, port: u16, key: ApiKey) -> Self {
        let folder = temporary_folder("events");
        let options = options
            .env("PULSE_LISTEN", format!("127.0.0.1:{port}"))
            .env("PULSE_FAULT_FILE", folder.path().join("faults").to_str().expect("UTF-8"));
        let keys = Keys::default();
        let known = Arc::clone(&keys);
        let receiving = ReceiverOptions::new()
            .correlate(&Arc::new(Departures::default()), |received| correlation_of_delivery(&received.body))
            .verify(move |received| verify(&known.lock(), received));
        let receiver = Receiver::start_with(receiving, Action::ok());
        let manner = Manner::livekit().scaled(0.2);
        let door = format!("http://127.0.0.1:{port}/v1/webhooks/livekit");
        let sender = LiveKitSender::to(&door, 16, key, manner, Arc::new(SystemClock::new()));
        let daemon = Daemon::start_in(folder.path(), options.clone()).await;
        Self { daemon, receiver, sender, options, keys, folder }
    }

    /// The operator.
    pub(super) fn client(&self) -> Client {
        self.daemon.client()
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
        self.daemon.kill().await;
        self.restart().await;
    }

    /// Starts the daemon that has ended.
    pub(super) async fn restart(&mut self) {
        self.daemon = Daemon::start_in(self.folder.path(), self.options.clone()).await;
    }

    /// Starts the daemon that has ended, and waits until it has ended again.
    pub(super) async fn restart_until_it_dies(&self) -> ExitStatus {
        Daemon::spawn_in(self.folder.path(), &self.options).exited(SOON).await
    }

    /// What happens at fault points from now on: lines as [`pulse_core::fault`] reads them.
    pub(super) fn faults(&self, lines: &str) {
        let file = self.folder.path().join("faults");
        // Whole or not at all: it is read at any moment.
        std::fs::write(file.with_extension("new"), lines).expect("a file in the folder");
        std::fs::rename(file.with_extension("new"), file).expect("a rename in the folder");
    }

    /// The folder of the daemon.
    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The database.
    pub(super) fn database(&self) -> PathBuf {
        self.folder.path().join("pulse-data/pulse.db")
    }
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
