//! The Python peers: a real LiveKit client (`tests/py/join.py`), and the interpreter for any other tool installed
//! beside it.
//!
//! A client is one process. It reads its task from stdin and leaves the room when stdin closes; every wait is bounded
//! on both sides. It does not outlive its handle, nor the test process.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout};

use crate::reaper;

/// What starting Python and leaving a room may take on top of the waits of the task.
const MARGIN: Duration = Duration::from_secs(30);

/// A command that runs the tests' Python, without the user's own settings and packages.
pub fn command() -> Command {
    let mut command = Command::new(super::installed("python/bin/python"));
    command.args(["-E", "-s"]);
    command
}

/// A kind of track: microphone, camera or shared screen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Media {
    Audio,
    Video,
    Screen,
}

/// The task of a LiveKit client.
#[derive(Debug, Clone, Serialize)]
pub struct Join {
    url: String,
    token: String,
    publish: Vec<Media>,
    subscribe: Vec<Media>,
    wait: u32,
    stay: bool,
}

/// What happened to a client. A refusal by LiveKit is an `error` here, not a failure.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Report {
    pub connected: bool,
    /// When the client was in the room, in seconds since 1970.
    pub joined_at: Option<f64>,
    /// When it was out of it again.
    pub left_at: Option<f64>,
    /// Why the client could not join.
    pub error: Option<String>,
    pub room_name: Option<String>,
    pub room_sid: Option<String>,
    pub room_metadata: Option<String>,
    pub participant_sid: Option<String>,
    pub identity: Option<String>,
    pub name: Option<String>,
    pub metadata: Option<String>,
    pub attributes: BTreeMap<String, String>,
    /// What LiveKit made of the token's grants, by LiveKit's names: `can_publish`, `can_publish_sources`, ...
    pub permissions: serde_json::Map<String, serde_json::Value>,
    pub published: Vec<Published>,
    /// Why some of the tracks could not be published.
    pub publish_error: Option<String>,
    /// The tracks of others whose media has arrived.
    pub subscribed: Vec<Subscribed>,
    /// The media that did not arrive in time.
    pub subscribe_error: Option<String>,
    /// LiveKit's name of the reason, such as `CLIENT_INITIATED`, `PARTICIPANT_REMOVED` or `ROOM_DELETED`.
    pub disconnect_reason: Option<String>,
}

/// A track that the client published.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Published {
    pub kind: Media,
    pub sid: String,
}

/// A track of another participant that the client received. A shared screen is a video.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Subscribed {
    pub kind: Media,
    pub sid: String,
    pub name: String,
    pub identity: String,
}

impl Join {
    /// Joins and leaves.
    pub fn new(url: impl Into<String>, token: impl Into<String>) -> Self {
        Self { url: url.into(), token: token.into(), publish: Vec::new(), subscribe: Vec::new(), wait: 10, stay: false }
    }

    /// Publishes made-up tracks of these kinds.
    #[must_use]
    pub fn publish(mut self, kinds: &[Media]) -> Self {
        self.publish = kinds.to_vec();
        self
    }

    /// Subscribes, and waits until media of these kinds (audio, video) has arrived from others.
    #[must_use]
    pub fn subscribe(mut self, kinds: &[Media]) -> Self {
        self.subscribe = kinds.to_vec();
        self
    }

    /// Bounds the joining and the waiting for media, in seconds (default 10).
    #[must_use]
    pub fn wait(mut self, seconds: u32) -> Self {
        self.wait = seconds;
        self
    }

    /// Joins, publishes, waits for media, leaves, and tells what happened.
    pub async fn run(self) -> Report {
        Participant::start(self).await.report
    }

    /// As `run`, but remains in the room: returns as soon as everything asked for has succeeded or failed.
    pub async fn stay(mut self) -> Participant {
        self.stay = true;
        Participant::start(self).await
    }
}

/// A client that is in a room until it leaves, is dropped or is put out.
#[derive(Debug)]
pub struct Participant {
    /// What had happened when the client settled in the room.
    pub report: Report,
    process: ClientProcess,
    bound: Duration,
}

impl Participant {
    async fn start(task: Join) -> Self {
        let bound = MARGIN + Duration::from_secs(u64::from(task.wait) * 3);
        let mut process = ClientProcess::spawn();
        process.send(&serde_json::to_string(&task).expect("a task is JSON")).await;
        let report = process.report(bound).await;
        Self { report, process, bound }
    }

    /// Leaves the room. The report of a client that could not join stays what it was.
    pub async fn leave(mut self) -> Report {
        self.process.stdin = None;
        let bound = self.bound;
        self.last_report(bound).await
    }

    /// Kills the client's process: it says goodbye to nobody.
    pub async fn kill(mut self) -> Report {
        self.process.kill().await;
        self.report
    }

    /// Waits until LiveKit ends the session, as when the participant is removed or the room is deleted.
    pub async fn until_ended(self, bound: Duration) -> Report {
        self.last_report(bound).await
    }

    async fn last_report(mut self, bound: Duration) -> Report {
        if self.report.connected { self.process.report(bound).await } else { self.report }
    }
}

#[derive(Debug)]
struct ClientProcess {
    /// Closing it makes the client leave.
    stdin: Option<ChildStdin>,
    reports: Lines<BufReader<ChildStdout>>,
    stderr: File,
    process: Child,
}

impl ClientProcess {
    fn spawn() -> Self {
        let stderr = tempfile::tempfile().expect("a temporary file");
        let mut command = command();
        command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("py/join.py"));
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        command.stderr(stderr.try_clone().expect("a second handle"));
        let mut process = tokio::process::Command::from(command)
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start Python: {error}"));
        process.id().into_iter().for_each(reaper::watch);
        let stdin = process.stdin.take();
        let stdout = process.stdout.take().expect("stdout is piped");
        Self { stdin, reports: BufReader::new(stdout).lines(), stderr, process }
    }

    async fn send(&mut self, line: &str) {
        let stdin = self.stdin.as_mut().expect("stdin is open");
        let written = stdin.write_all(format!("{line}\n").as_bytes()).await;
        written.unwrap_or_else(|error| panic!("the client is gone: {error}\n{}", self.stderr()));
    }

    async fn report(&mut self, bound: Duration) -> Report {
        let line = match tokio::time::timeout(bound, self.reports.next_line()).await {
            Ok(Ok(Some(line))) => line,
            Ok(ended) => panic!("the client ended without a report ({ended:?})\n{}", self.stderr()),
            Err(_) => panic!("the client did not report within {bound:?}\n{}", self.stderr()),
        };
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("not a report: {error}\n{line}"))
    }

    async fn kill(&mut self) {
        // Before it is waited for: then its id is free.
        self.process.id().into_iter().for_each(reaper::forget);
        self.process.kill().await.expect("a child can be killed");
    }

    fn stderr(&mut self) -> String {
        let mut text = String::new();
        let _ = self.stderr.seek(SeekFrom::Start(0)).and_then(|_| self.stderr.read_to_string(&mut text));
        text
    }
}

impl Drop for ClientProcess {
    fn drop(&mut self) {
        // Nothing has waited for it, so the id is still its own; dropping the handle kills it.
        self.process.id().into_iter().for_each(reaper::forget);
    }
}
