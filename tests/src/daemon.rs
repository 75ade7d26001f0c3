//! The real `pulsed` under test: its own folder, a free port, a cleared environment, and connections to loopback only.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Output},
    sync::Arc,
    time::Duration,
};

use serde_json::Value;

use crate::{
    process::{Child, READY, Signal},
    secrets::Secrets,
    temporary_folder,
};

/// The operator's token of every daemon that does not make its own.
pub const ADMIN_TOKEN: &str = "operator-token-of-a-test-0123456789abcdef";
/// This machine.
pub const LOOPBACK: &str = "127.0.0.0/8,::1/128";
/// What every program under test is told about connecting to others: only to this machine, which customers may name, too.
pub const OUTBOUND: [(&str, &str); 3] = [
    ("PULSE_OUTBOUND_ONLY", LOOPBACK),
    ("PULSE_WEBHOOK_ALLOW_NETWORKS", LOOPBACK),
    ("PULSE_WEBHOOK_ALLOW_HTTP", "true"),
];
/// Where a daemon says, in its folder, that it accepts.
const READY_FILE: &str = "ready.json";
/// The bound of an orderly end.
const END: Duration = Duration::from_secs(20);

/// How a daemon is started.
#[derive(Clone, Debug, Default)]
pub struct DaemonOptions {
    flags: Vec<String>,
    environment: BTreeMap<String, String>,
    own_token: bool,
    at_terminal: bool,
    file_size_blocks: Option<u32>,
}

impl DaemonOptions {
    /// A SQLite store in its folder, and [`ADMIN_TOKEN`].
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a flag.
    #[must_use]
    pub fn flag(mut self, flag: &str) -> Self {
        self.flags.push(flag.to_owned());
        self
    }

    /// Sets a variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl Into<String>) -> Self {
        self.environment.insert(name.to_owned(), value.into());
        self
    }

    /// A MongoDB store, and the secrets: there is no file of the store beside which they could be kept.
    #[must_use]
    pub fn over_mongodb(self, uri: impl Into<String>) -> Self {
        self.env("PULSE_STORE", uri)
            .env("API_KEY_PEPPER", "a-pepper-of-the-daemons-over-mongodb")
            .env("PULSE_MASTER_KEY", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=")
    }

    /// The variables that it sets.
    pub fn environment(&self) -> impl Iterator<Item = (&str, &str)> {
        self.environment.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Lets no file of the daemon grow beyond so many blocks of 512 bytes.
    #[must_use]
    pub fn file_size_limit(mut self, blocks: u32) -> Self {
        self.file_size_blocks = Some(blocks);
        self
    }

    /// Gives the daemon a terminal for its stderr.
    #[must_use]
    pub fn at_terminal(mut self) -> Self {
        self.at_terminal = true;
        self
    }

    /// Lets the daemon make the operator's token.
    #[must_use]
    pub fn making_its_token(mut self) -> Self {
        self.own_token = true;
        self
    }
}

/// Where the program under test is: beside the test binary's folder, as cargo puts it.
///
/// # Panics
/// When it has not been built.
pub fn program(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("a test knows its own path");
    let path = test.parent().and_then(Path::parent).expect("target/debug/deps").join(name);
    assert!(path.exists(), "{} is missing: cargo build --workspace --bins", path.display());
    path
}

/// `pulsed` in `folder` with nothing in its environment but what is always set in tests.
pub fn pulsed(folder: &Path) -> Command {
    let mut command = Command::new(program("pulsed"));
    command.env_clear().current_dir(folder).envs(OUTBOUND).env("PULSE_LISTEN", "127.0.0.1:0");
    command
}

/// `pulse` in `folder`, with the same environment and that folder as its home.
pub fn pulse(folder: &Path) -> Command {
    let mut command = Command::new(program("pulse"));
    command
        .env_clear()
        .current_dir(folder)
        .env("HOME", folder)
        .env("PATH", "/usr/local/bin:/usr/bin:/bin")
        .envs(OUTBOUND);
    command
}

/// `pulsed` under a file size limit in blocks of 512 bytes.
fn limited(folder: &Path, blocks: u32) -> Command {
    let plain = pulsed(folder);
    let mut command = Command::new("/bin/sh");
    command.arg("-c").arg(format!("ulimit -f {blocks} && exec \"$0\" \"$@\"")).arg(program("pulsed"));
    command.env_clear().current_dir(folder);
    command.envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command
}

/// Runs `pulsed` to its end.
pub fn run(folder: &Path, flags: &[&str], environment: &[(&str, &str)]) -> Output {
    let mut command = pulsed(folder);
    command.args(flags).envs(environment.iter().copied());
    let output = command.output().unwrap_or_else(|error| panic!("cannot run pulsed: {error}"));
    let secrets = Secrets::of(&command).and_files(folder);
    for text in [&output.stdout, &output.stderr] {
        let text = String::from_utf8_lossy(text);
        assert!(secrets.shown_in(&text).is_empty(), "pulsed {flags:?} shows {:?}", secrets.shown_in(&text));
    }
    output
}

/// A running daemon.
#[derive(Debug)]
pub struct Daemon {
    /// Its process.
    pub process: Child,
    /// Where it listens.
    pub url: String,
    /// The operator's token.
    pub admin_token: String,
    folder: PathBuf,
    _own: Option<tempfile::TempDir>,
}

impl Daemon {
    /// Starts one in a folder of its own and waits until it accepts.
    pub async fn start(options: DaemonOptions) -> Self {
        let folder = temporary_folder("daemon");
        let mut daemon = Self::start_in(folder.path(), options).await;
        daemon._own = Some(folder);
        daemon
    }

    /// Starts one in this folder and waits until it accepts.
    pub async fn start_in(folder: &Path, options: DaemonOptions) -> Self {
        let ready = folder.join(READY_FILE);
        let _ = std::fs::remove_file(&ready);
        let process = Self::spawn_in(folder, &options);
        let text = process.until_file(&ready).await;
        let value: Value = serde_json::from_str(&text).expect("the ready file is JSON");
        let url = value["url"].as_str().expect("the ready file has the address").to_owned();
        let admin_token = if options.own_token {
            let file = folder.join("pulse-data/pulse.db.admin-token");
            std::fs::read_to_string(file).unwrap_or_default().trim().to_owned()
        } else {
            ADMIN_TOKEN.to_owned()
        };
        Self { process, url, admin_token, folder: folder.to_owned(), _own: None }
    }

    /// Starts one in this folder and does not wait for anything: it may end before it accepts.
    pub fn spawn_in(folder: &Path, options: &DaemonOptions) -> Child {
        let mut command = match options.file_size_blocks {
            None => pulsed(folder),
            Some(blocks) => limited(folder, blocks),
        };
        command.args(&options.flags).arg("--ready-file").arg(folder.join(READY_FILE));
        if !options.own_token {
            command.env("PULSE_ADMIN_TOKEN", ADMIN_TOKEN);
        }
        command.envs(&options.environment);
        let spawn = if options.at_terminal { Child::spawn_at_terminal } else { Child::spawn };
        spawn("pulsed", &mut command, folder)
    }

    /// Its folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// `host:port`, for raw connections.
    pub fn address(&self) -> &str {
        self.url.split_once("://").map_or("", |(_, address)| address)
    }

    /// A client for it.
    pub fn client(&self) -> Client {
        let (http, secrets) = (http_client().build().expect("a client can be made"), Arc::new(self.process.secrets()));
        Client { http, url: self.url.clone(), token: self.admin_token.clone(), secrets }
    }

    /// Asks it to end and waits for that.
    pub async fn stop(&self) -> ExitStatus {
        self.process.terminate(END).await
    }

    /// Kills it.
    pub async fn kill(&self) -> ExitStatus {
        self.process.kill().await
    }

    /// Sends it a SIGHUP.
    pub fn hang_up(&self) {
        self.process.signal(Signal::HUP);
    }
}

fn http_client() -> reqwest::ClientBuilder {
    pulse_core::boot::open::install_cryptography();
    reqwest::Client::builder().no_proxy().timeout(READY)
}

/// An HTTP client that is the operator unless told otherwise.
#[derive(Clone, Debug)]
pub struct Client {
    http: reqwest::Client,
    url: String,
    token: String,
    /// What no answer may have in it.
    secrets: Arc<Secrets>,
}

/// What came back.
#[derive(Debug)]
pub struct Answered {
    /// In which version of HTTP.
    pub version: reqwest::Version,
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: reqwest::header::HeaderMap,
    /// The body.
    pub text: String,
}

impl Answered {
    /// A header, or an empty text.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// When it is none.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("not JSON ({error}): {}", self.text))
    }

    /// The code of a problem document.
    pub fn code(&self) -> String {
        self.json()["code"].as_str().unwrap_or_default().to_owned()
    }
}

/// The value of a series in what `/metrics` answers; 0 when nothing has been counted in it yet.
///
/// # Panics
/// When what stands there is not a number.
pub fn series(text: &str, name: &str) -> f64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.map_or(0.0, |number| number.parse().expect("a number"))
}

impl Client {
    /// The value of a series now.
    pub async fn series(&self, name: &str) -> f64 {
        series(&self.get("/metrics").await.text, name)
    }

    /// The same client for somebody else.
    #[must_use]
    pub fn with_token(&self, token: &str) -> Self {
        Self { token: token.to_owned(), ..self.clone() }
    }

    /// The same client over HTTP/2 in the clear, by prior knowledge.
    #[must_use]
    pub fn over_http_2(&self) -> Self {
        let http = http_client().http2_prior_knowledge().build().expect("a client can be made");
        Self { http, ..self.clone() }
    }

    /// A request with the operator's token.
    pub fn request(&self, method: &str, path: &str) -> reqwest::RequestBuilder {
        self.bare(method, path).bearer_auth(&self.token)
    }

    /// A request without credentials.
    pub fn bare(&self, method: &str, path: &str) -> reqwest::RequestBuilder {
        let method = method.parse().expect("a method");
        self.http.request(method, format!("{}{path}", self.url))
    }

    /// Sends a request.
    pub async fn send(&self, request: reqwest::RequestBuilder) -> Answered {
        let response = request.send().await.unwrap_or_else(|error| panic!("no answer: {error:?}"));
        let (version, status, headers) = (response.version(), response.status().as_u16(), response.headers().clone());
        let text = response.text().await.unwrap_or_else(|error| panic!("no body: {error:?}"));
        let shown = self.secrets.given_shown_in(&text);
        assert!(shown.is_empty(), "an answer shows {shown:?}");
        Answered { version, status, headers, text }
    }

    /// Reads as the operator.
    pub async fn get(&self, path: &str) -> Answered {
        self.send(self.request("GET", path)).await
    }

    /// Posts JSON as the operator.
    pub async fn post(&self, path: &str, body: &Value) -> Answered {
        self.send(self.request("POST", path).header("content-type", "application/json").body(body.to_string())).await
    }

    /// Makes the organization acme and a project; gives the answer of the latter.
    pub async fn project(&self, plan: &str) -> Value {
        self.project_of("acme", plan).await
    }

    /// Makes an organization of this name and a project; gives the answer of the latter.
    pub async fn project_of(&self, org: &str, plan: &str) -> Value {
        let org = serde_json::json!({ "name": org, "admin_email": "a@acme.example", "plan": plan });
        let org = self.post("/v1/organizations", &org).await.json();
        let project = self.post("/v1/projects", &serde_json::json!({ "org_id": org["id"], "name": "app" })).await;
        assert_eq!(project.status, 201, "{}", project.text);
        project.json()
    }
}
