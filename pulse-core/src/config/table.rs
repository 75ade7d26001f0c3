//! The one table of settings. The flags of `pulsed`, its `--check`, `docs/CONFIG.md` and the check of every value are
//! made from it.

/// What a value looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `IP:PORT`, or `localhost:PORT`.
    Address,
    /// A port number.
    Port,
    /// `sqlite:PATH`, `memory:`, `mongodb://...` or `mongodb+srv://...`.
    Store,
    /// A MongoDB connection string.
    MongoUri,
    /// `redis://...` or `rediss://...`.
    RedisUrl,
    /// Any text.
    Text,
    /// A path.
    Path,
    /// A URL with one of these schemes.
    Url(&'static [&'static str]),
    /// `true` or `false`.
    Switch,
    /// Whole seconds, from 1 to 3600.
    Seconds,
    /// Whole days, from 1 to 3650.
    Days,
    /// A number above 0.
    Count,
    /// Networks such as `10.0.0.0/8`, or `loopback`, with commas between.
    Networks,
    /// Names, with commas between.
    Names,
    /// Origins such as `https://app.example`, with commas between.
    Origins,
    /// A level, or `target=level` pairs with commas between.
    LogFilter,
    /// `KEY:SECRET` pairs, with commas between.
    KeyPairs,
    /// `default`, `plan`, or seconds with commas between.
    Schedule,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// 32 characters or more.
    Pepper,
    /// Standard base64 of 32 bytes.
    MasterKey,
    /// 32 to 255 visible ASCII characters.
    AdminToken,
}

/// What becomes of a setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// It is used.
    Used,
    /// It is checked, and nothing uses it yet.
    NotYet,
    /// It is known from other programs and means nothing here.
    Ignored,
}

/// One setting.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// The name in the environment and in files.
    pub name: &'static str,
    /// The flag of `pulsed`, without dashes. Secrets have none: a flag's value is seen by every user of the machine.
    pub flag: Option<&'static str>,
    /// What its value looks like.
    pub kind: Kind,
    /// The value when nothing sets it; empty when there is none.
    pub default: &'static str,
    /// The value instead of that one in a development start.
    pub dev_default: Option<&'static str>,
    /// Whether the value is never shown.
    pub secret: bool,
    /// What becomes of it.
    pub used: Use,
    /// The heading under which documents list it.
    pub group: &'static str,
    /// What it does, as a sentence.
    pub meaning: &'static str,
}

impl Setting {
    const fn new(group: &'static str, name: &'static str, kind: Kind, meaning: &'static str) -> Self {
        Self { name, flag: None, kind, default: "", dev_default: None, secret: false, used: Use::Used, group, meaning }
    }

    const fn flag(self, flag: &'static str) -> Self {
        Self { flag: Some(flag), ..self }
    }

    const fn default(self, default: &'static str) -> Self {
        Self { default, ..self }
    }

    const fn dev_default(self, default: &'static str) -> Self {
        Self { dev_default: Some(default), ..self }
    }

    /// The value when nothing sets it, in a development start or in another one; empty when there is none.
    pub fn default_in(&self, dev: bool) -> &'static str {
        self.dev_default.filter(|_| dev).unwrap_or(self.default)
    }

    const fn secret(self) -> Self {
        Self { secret: true, ..self }
    }

    const fn not_yet(self) -> Self {
        Self { used: Use::NotYet, ..self }
    }
}

const SERVER: &str = "Server";
const STORE: &str = "Store";
const SECRETS: &str = "Secrets";
const LIVEKIT: &str = "LiveKit";
const WEBHOOKS: &str = "Events and webhooks";
const EDGE: &str = "Edge";
const OUTBOUND: &str = "Outbound connections";
const LIMITS: &str = "Limits";
const LOG: &str = "Log";
const LATER: &str = "Accepted, not used yet";
const HTTP: &[&str] = &["http", "https"];

/// Every setting there is, in the order of `--check` and of the documents.
pub const TABLE: &[Setting] = &[
    Setting::new(SERVER, "PULSE_DEV", Kind::Switch, "Starts for development: an organization, a project and a key are made, LiveKit is expected at ws://127.0.0.1:7880 with devkey and secret, and only loopback is listened on.").flag("dev").default("false"),
    Setting::new(SERVER, "PULSE_LISTEN", Kind::Address, "The address to listen on. Wins over PORT. Port 0 takes any free port.").flag("listen").default("127.0.0.1:8080"),
    Setting::new(SERVER, "PORT", Kind::Port, "The port to listen on at every address, as hosting platforms set it; at loopback only with --dev."),
    Setting::new(SERVER, "PULSE_TLS_CERT", Kind::Path, "A PEM file with the certificate chain: Pulse then speaks TLS itself. Needs PULSE_TLS_KEY.").flag("tls-cert"),
    Setting::new(SERVER, "PULSE_TLS_KEY", Kind::Path, "A PEM file with the certificate's private key.").flag("tls-key"),
    Setting::new(STORE, "PULSE_DATA", Kind::Path, "The folder for what Pulse keeps on disk.").flag("data").default("./pulse-data"),
    Setting::new(STORE, "PULSE_STORE", Kind::Store, "The store: sqlite:PATH, memory:, mongodb://... or mongodb+srv://... Wins over MONGO_URI. Without both it is pulse.db in PULSE_DATA.").flag("store"),
    Setting::new(STORE, "MONGO_URI", Kind::MongoUri, "A MongoDB replica set as the store."),
    Setting::new(STORE, "MONGO_DB_NAME", Kind::Text, "The database in MongoDB. Wins over the one in the connection string; without both it is pulse."),
    Setting::new(STORE, "PULSE_PURGE_DAYS", Kind::Days, "For how many days deleted organizations and projects can be restored.").default("30"),
    Setting::new(SECRETS, "API_KEY_PEPPER", Kind::Pepper, "Under which API secrets are digested. With SQLite and in memory, one is made when it is missing; with MongoDB it must be given.").secret(),
    Setting::new(SECRETS, "API_KEY_PEPPER_PREVIOUS", Kind::Pepper, "The pepper before, which stays accepted.").secret(),
    Setting::new(SECRETS, "PULSE_MASTER_KEY", Kind::MasterKey, "Under which stored secrets are sealed. Made or required as API_KEY_PEPPER is.").secret(),
    Setting::new(SECRETS, "PULSE_ADMIN_TOKEN", Kind::AdminToken, "The operator's token. Without it one is made at the first start.").secret(),
    Setting::new(LIVEKIT, "LIVEKIT_HOST", Kind::Url(&["ws", "wss", "http", "https"]), "The LiveKit of projects without their own, as clients reach it.").default("ws://127.0.0.1:7880"),
    Setting::new(LIVEKIT, "LIVEKIT_API_KEY", Kind::Text, "The name of that LiveKit's key.").dev_default("devkey"),
    Setting::new(LIVEKIT, "LIVEKIT_API_SECRET", Kind::Text, "The secret of that LiveKit's key.").secret().dev_default("secret"),
    Setting::new(LIVEKIT, "LIVEKIT_WEBHOOK_KEYS", Kind::KeyPairs, "More keys that this LiveKit may sign its webhooks with, for instance while its key is being changed: KEY:SECRET pairs with commas between.").secret(),
    Setting::new(LIVEKIT, "PULSE_RECONCILE_SECONDS", Kind::Seconds, "Every how many seconds a LiveKit is asked who is there, to find what its webhooks did not tell.").default("30"),
    Setting::new(LIVEKIT, "PULSE_REGIONS", Kind::Names, "Regions beside us-east, eu-west and asia-south.").flag("regions"),
    Setting::new(WEBHOOKS, "PULSE_WEBHOOK_SCHEDULE", Kind::Schedule, "After how many seconds each a failed delivery is tried again, for endpoints without a schedule of their own: default, plan, or seconds with commas between.").default("default"),
    Setting::new(WEBHOOKS, "PULSE_WEBHOOK_CONCURRENCY", Kind::Count, "Deliveries under way at once.").default("256"),
    Setting::new(WEBHOOKS, "PULSE_WEBHOOK_LEASE", Kind::Seconds, "After how many seconds a delivery that was taken and not ended is taken again; at least twice the longest timeout of an endpoint.").default("30"),
    Setting::new(WEBHOOKS, "PULSE_EVENT_DAYS", Kind::Days, "For how many days events, deliveries and attempts are kept. A shorter time holds for what is stored already; a longer one for what comes.").default("30"),
    Setting::new(WEBHOOKS, "PULSE_SESSION_DAYS", Kind::Days, "For how many days sessions of rooms are kept.").default("760"),
    Setting::new(EDGE, "CORS_ORIGINS", Kind::Origins, "Origins whose pages may call the API from a browser. Reloaded on SIGHUP."),
    Setting::new(EDGE, "PULSE_TRUSTED_PROXIES", Kind::Networks, "Proxies whose X-Forwarded-For and X-Forwarded-Proto are believed.").flag("trusted-proxies"),
    Setting::new(EDGE, "PULSE_HTTPS", Kind::Switch, "TLS is in front of Pulse: requests that a trusted proxy received without it are refused, and answers carry HSTS. Needs PULSE_TRUSTED_PROXIES, unless Pulse speaks TLS itself.").flag("https").default("false"),
    Setting::new(OUTBOUND, "PULSE_OUTBOUND_ONLY", Kind::Networks, "Pulse connects to nothing outside these networks, whatever else would allow it; loopback stands for 127.0.0.0/8,::1/128.").flag("outbound-only"),
    Setting::new(OUTBOUND, "PULSE_WEBHOOK_ALLOW_NETWORKS", Kind::Networks, "Networks that webhooks may be sent to, and projects' own LiveKit servers be in, although they are not public: 10.0.0.0/8, or loopback, which --dev allows by itself. Without it customers can name public addresses only.").dev_default("loopback"),
    Setting::new(OUTBOUND, "PULSE_WEBHOOK_ALLOW_HTTP", Kind::Switch, "Whether webhooks may be sent, and projects' own LiveKit servers be called, without TLS, as --dev allows by itself.").default("false").dev_default("true"),
    Setting::new(LIMITS, "REDIS_URL", Kind::RedisUrl, "Redis, through which several daemons share the API's rate limits: redis://user:password@host:port/database, or rediss:// with TLS. Without it, each daemon counts by itself."),
    Setting::new(LIMITS, "PULSE_MAX_CONNECTIONS", Kind::Count, "Connections at once; more wait to be accepted.").default("10000"),
    Setting::new(LIMITS, "PULSE_MAX_REQUESTS", Kind::Count, "Requests at once; more are answered 503.").default("2048"),
    Setting::new(LIMITS, "PULSE_MAX_STREAMS", Kind::Count, "Streams of events (GET /v1/events/stream) at once, a quarter of them for one project; more are answered 503.").default("4096"),
    Setting::new(LIMITS, "PULSE_HEADER_TIMEOUT", Kind::Seconds, "In how many seconds the headers of a request must arrive, from their first byte on; on a new connection, from its start.").default("10"),
    Setting::new(LIMITS, "PULSE_IDLE_TIMEOUT", Kind::Seconds, "For how many seconds a connection is kept open without a request; a stream of events is one. What stands before pulsed and keeps its own connections should close them sooner.").default("75"),
    Setting::new(LIMITS, "PULSE_BODY_TIMEOUT", Kind::Seconds, "In how many seconds the body of a request must arrive.").default("10"),
    Setting::new(LIMITS, "PULSE_DRAIN_TIMEOUT", Kind::Seconds, "For how many seconds requests under way may go on after SIGTERM.").default("10"),
    Setting::new(LOG, "PULSE_LOG", Kind::LogFilter, "What is logged: error, warn, info, debug, trace, or target=level pairs. Reloaded on SIGHUP.").flag("log").default("info"),
    Setting::new(LOG, "PULSE_LOG_FORMAT", Kind::Choice(&["json", "text"]), "The form of log lines. Without it, text on a terminal and JSON elsewhere.").flag("log-format"),
    Setting::new(LATER, "JWT_SECRET", Kind::Pepper, "Signs sessions of people.").secret().not_yet(),
    Setting::new(LATER, "CDN_INGEST_URL", Kind::Url(&["http", "https", "rtmp", "rtmps"]), "Where live streams are sent for distribution.").not_yet(),
    Setting::new(LATER, "CDN_PLAYBACK_URL", Kind::Url(HTTP), "Where they are played from.").not_yet(),
    Setting::new(LATER, "R2_ACCOUNT_ID", Kind::Text, "The Cloudflare R2 account for recordings.").not_yet(),
    Setting::new(LATER, "R2_ENDPOINT", Kind::Url(HTTP), "The R2 endpoint.").not_yet(),
    Setting::new(LATER, "R2_BUCKET", Kind::Text, "The R2 bucket.").not_yet(),
    Setting::new(LATER, "R2_BUCKET_NAME", Kind::Text, "Another name of R2_BUCKET.").not_yet(),
    Setting::new(LATER, "R2_ACCESS_KEY_ID", Kind::Text, "The R2 access key.").not_yet(),
    Setting::new(LATER, "R2_SECRET_ACCESS_KEY", Kind::Text, "The R2 secret.").secret().not_yet(),
    Setting::new(LATER, "R2_PUBLIC_URL", Kind::Url(HTTP), "Where the bucket is read from.").not_yet(),
    Setting { used: Use::Ignored, ..Setting::new(LATER, "GIN_MODE", Kind::Text, "Known from other deployments; ignored.") },
];

/// The setting of that name.
pub fn setting(name: &str) -> Option<&'static Setting> {
    TABLE.iter().find(|setting| setting.name == name)
}
