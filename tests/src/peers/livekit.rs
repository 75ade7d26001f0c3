//! A real LiveKit server on loopback ports of its own.
//!
//! It is ready when `start` returns. It advertises loopback candidates only and names a closed loopback port as the
//! STUN server, because otherwise it would send its clients to public ones.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::OnceCell;

use crate::process::Child;
use crate::{jwt, ports, reaper};

/// The key that every LiveKit of the tests knows.
const KEY: &str = "APIpulsetests";
/// Its secret; LiveKit wants 32 characters or more.
const SECRET: &str = "secret-of-the-tests-0123456789abcdef";
/// The first second of the year 2100, in seconds since 1970: an expiry that no test reaches, without asking the clock.
const YEAR_2100: u64 = 4_102_444_800;

/// For how long LiveKit keeps what it could not send, as the documents tell operators to set it.
pub const WEBHOOKS_KEPT: &str = "10m";
/// How many events of a room it keeps so.
pub const WEBHOOKS_QUEUED: u32 = 5_000;

/// What a test may want different about its LiveKit.
#[derive(Debug, Clone)]
pub struct Options {
    /// Whether joining a room that does not exist creates it.
    pub auto_create: bool,
    /// Where LiveKit posts its webhooks, signed with its key.
    pub webhook_urls: Vec<String>,
    /// Seconds that a room stays open after its last participant left (LiveKit's own default is 20).
    pub departure_timeout: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self { auto_create: true, webhook_urls: Vec::new(), departure_timeout: 20 }
    }
}

/// A running LiveKit server, ended when dropped.
#[derive(Debug)]
pub struct LiveKit {
    process: Child,
    address: SocketAddr,
    // Removed after the process has ended: fields are dropped in order.
    _folder: TempDir,
}

impl LiveKit {
    /// The instance that the tests of this process share: rooms are created by joining, no webhooks.
    pub async fn shared() -> &'static Self {
        static SHARED: OnceCell<LiveKit> = OnceCell::const_new();
        SHARED.get_or_init(Self::start).await
    }

    /// An instance of its own with the default options.
    pub async fn start() -> Self {
        Self::start_with(&Options::default()).await
    }

    /// An instance of its own.
    pub async fn start_with(options: &Options) -> Self {
        let folder = reaper::temporary_folder("livekit");
        let address = ports::free_address();
        let config = folder.path().join("livekit.yaml");
        // JSON is YAML, and quotes for us.
        std::fs::write(&config, config_of(address.port(), options).to_string()).expect("the config can be written");
        let mut command = Command::new(super::installed("bin/livekit-server"));
        command.arg("--config").arg(&config);
        let process = Child::spawn("livekit-server", &mut command, folder.path());
        process.until_connects(address).await;
        Self { process, address, _folder: folder }
    }

    /// The address for clients, `ws://127.0.0.1:PORT`.
    pub fn ws_url(&self) -> String {
        format!("ws://{}", self.address)
    }

    /// The address of the server APIs, `http://127.0.0.1:PORT`.
    pub fn http_url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The API key.
    pub fn key(&self) -> &'static str {
        KEY
    }

    /// The secret of the API key.
    pub fn secret(&self) -> &'static str {
        SECRET
    }

    /// The process, to signal it or to read its log.
    pub fn process(&self) -> &Child {
        &self.process
    }

    /// A token that lets `identity` join `room` and nothing else, signed here and not by Pulse.
    pub fn join_token(&self, room: &str, identity: &str) -> String {
        self.sign(&json!({
            "iss": KEY, "sub": identity, "exp": YEAR_2100,
            "video": { "roomJoin": true, "room": room },
        }))
    }

    /// A token with exactly these claims, signed with the secret: for the tests of what LiveKit makes of them.
    pub fn sign(&self, claims: &Value) -> String {
        jwt::sign(SECRET.as_bytes(), &claims.to_string())
    }
}

fn config_of(port: u16, options: &Options) -> Value {
    let mut config = json!({
        "port": port,
        "bind_addresses": [Ipv4Addr::LOCALHOST],
        "rtc": {
            "tcp_port": ports::free(),
            "udp_port": ports::free(),
            "node_ip": Ipv4Addr::LOCALHOST,
            "use_external_ip": false,
            "stun_servers": [ports::free_address()],
            "enable_loopback_candidate": true,
            "interfaces": { "includes": ["lo"] },
            "ips": { "includes": ["127.0.0.0/8"] },
        },
        "keys": { KEY: SECRET },
        "room": { "auto_create": options.auto_create, "departure_timeout": options.departure_timeout },
    });
    if !options.webhook_urls.is_empty() {
        let queue = json!({ "max_age": WEBHOOKS_KEPT, "max_depth": WEBHOOKS_QUEUED });
        config["webhook"] = json!({ "api_key": KEY, "urls": options.webhook_urls, "resource_url_notifier": queue });
    }
    config
}
