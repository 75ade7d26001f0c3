//! Settings: one table of names ([`TABLE`]), values from several sources in a fixed order, and the typed [`Settings`] that
//! they come to, or every fault at once.
//!
//! Nobody here reads the environment or a file: the programs hand the values in. The order, strongest first, is that of
//! [`SourceKind`]. An empty value counts as not set.

mod files;
mod report;
mod table;
mod value;

use std::{
    collections::BTreeMap,
    fmt,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use ipnet::IpNet;

pub use files::{env_file, toml};
pub use report::{check_table, markdown};
pub use table::{Kind, Setting, TABLE, Use, setting};
pub use value::without_credentials;

use crate::{
    boot::{EmbeddedFiles, GivenSecrets},
    error::{Code, Error, Result},
    files::OperatorTokenFile,
    limit::RedisPlace,
    media::cluster::Signer,
    outbound::{AddressPolicy, Outbound},
    parts::{self, MIN_LEASE, PipelineSettings},
    secret::Secret,
};

/// Where a value comes from, strongest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SourceKind {
    /// A flag of the command.
    Flag,
    /// The environment of the process.
    Environment,
    /// The file of `--env-file`.
    EnvFile,
    /// The file of `--config`.
    ConfigFile,
    /// The table.
    Default,
}

impl fmt::Display for SourceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Flag => "flag",
            Self::Environment => "environment",
            Self::EnvFile => "env file",
            Self::ConfigFile => "config file",
            Self::Default => "default",
        })
    }
}

/// Values by source.
#[derive(Clone, Default)]
#[expect(missing_debug_implementations, reason = "holds secrets")]
pub struct Sources(BTreeMap<SourceKind, BTreeMap<String, String>>);

impl Sources {
    /// No values.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the values of a source. Names that are not in [`TABLE`] are left alone.
    #[must_use]
    pub fn with(mut self, kind: SourceKind, values: BTreeMap<String, String>) -> Self {
        self.0.entry(kind).or_default().extend(values);
        self
    }

    /// Which addresses may be connected to, for a program that needs no other setting.
    pub fn address_policy(&self) -> Result<AddressPolicy, Vec<ConfigFault>> {
        let name = "PULSE_OUTBOUND_ONLY";
        let Some((source, text)) = self.get(name) else { return Ok(AddressPolicy::default()) };
        value::networks(text)
            .map(AddressPolicy::only)
            .map_err(|detail| vec![ConfigFault::new(name, Some(source), detail)])
    }

    /// The files of the certificate chain and of its private key, when both are named.
    pub fn tls_files(&self) -> Option<(PathBuf, PathBuf)> {
        let path = |name| self.get(name).map(|(_, text)| PathBuf::from(text));
        path("PULSE_TLS_CERT").zip(path("PULSE_TLS_KEY"))
    }

    /// The strongest value of a name.
    fn get(&self, name: &str) -> Option<(SourceKind, &str)> {
        self.0.iter().find_map(|(kind, values)| {
            let value = values.get(name).map(|value| value.trim()).filter(|value| !value.is_empty())?;
            Some((*kind, value))
        })
    }
}

/// One thing that is wrong with the settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigFault {
    /// The setting, or the line of a file.
    pub name: String,
    /// Where the value came from.
    pub source: Option<SourceKind>,
    /// What is wrong, without the value.
    pub detail: String,
}

impl ConfigFault {
    /// A fault.
    pub fn new(name: impl Into<String>, source: Option<SourceKind>, detail: impl Into<String>) -> Self {
        Self { name: name.into(), source, detail: detail.into() }
    }
}

impl fmt::Display for ConfigFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.source {
            Some(source) => write!(f, "{} ({source}) {}", self.name, self.detail),
            None => write!(f, "{} {}", self.name, self.detail),
        }
    }
}

/// All faults as one error: `misconfigured`.
pub fn faults_error(faults: &[ConfigFault]) -> Error {
    let lines: Vec<String> = faults.iter().map(ToString::to_string).collect();
    Error::new(Code::Misconfigured, lines.join("\n  "))
        .hint("pulsed --check shows every setting and where it comes from.")
}

/// Where the store is.
#[derive(Clone)]
#[expect(missing_debug_implementations, reason = "a connection string holds a password")]
pub enum StoreLocation {
    /// One file.
    Sqlite(PathBuf),
    /// This process.
    Memory,
    /// A replica set.
    Mongo {
        /// The connection string.
        uri: Secret,
        /// The database, when it is not the one of the connection string.
        database: Option<String>,
    },
}

/// A resolved setting, as it may be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// The setting's name.
    pub name: &'static str,
    /// Its value; `<set>` for a secret, empty when it has none.
    pub value: String,
    /// Where the value comes from.
    pub source: SourceKind,
    /// What a reader should know: not used yet, or which other setting wins.
    pub note: Option<String>,
}

/// All settings, typed.
#[derive(Clone)]
#[expect(missing_debug_implementations, reason = "holds secrets")]
pub struct Settings {
    /// Whether this is a development start.
    pub dev: bool,
    /// Where to listen.
    pub listen: SocketAddr,
    /// Certificate chain and private key.
    pub tls: Option<(PathBuf, PathBuf)>,
    /// The folder for what is kept on disk.
    pub data: PathBuf,
    /// The store.
    pub store: StoreLocation,
    /// The server's own LiveKit; its key is empty when none is set.
    pub livekit: Signer,
    /// Regions beside the known ones.
    pub regions: Vec<String>,
    /// Origins that browsers may call from.
    pub cors_origins: Vec<String>,
    /// Proxies whose headers are believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Whether TLS is in front.
    pub https: bool,
    /// The networks that Pulse may connect to, if not all.
    pub outbound_only: Option<Vec<IpNet>>,
    /// Networks that customers may name although they are not public.
    pub webhook_networks: Vec<IpNet>,
    /// Whether customers may name addresses without TLS.
    pub webhook_plain_text: bool,
    /// How long what is deleted can be restored.
    pub purge_after: Duration,
    /// What comes from LiveKit and goes to webhooks.
    pub pipeline: PipelineSettings,
    /// The Redis through which daemons share limits.
    pub redis: Option<RedisPlace>,
    /// Connections at once.
    pub max_connections: usize,
    /// Requests at once.
    pub max_requests: usize,
    /// How long headers may take.
    pub header_timeout: Duration,
    /// For how long a connection is kept open without a request.
    pub idle_timeout: Duration,
    /// How long a body may take.
    pub body_timeout: Duration,
    /// How long a drain may take.
    pub drain_timeout: Duration,
    /// The log's filter.
    pub log: String,
    /// `json` or `text`; `None` goes by the terminal.
    pub log_format: Option<String>,
    /// Every setting as it may be shown, in the order of the table.
    pub shown: Vec<Shown>,
    secrets: GivenSecrets,
}

impl Settings {
    /// Resolves every setting, or tells every fault.
    pub fn resolve(sources: &Sources) -> Result<Self, Vec<ConfigFault>> {
        let mut resolver = Resolver { sources, dev: false, faults: Vec::new() };
        for setting in TABLE {
            if let Some((source, text)) = sources.get(setting.name).filter(|_| setting.used != Use::Ignored)
                && let Err(detail) = value::check(setting.kind, text)
            {
                resolver.faults.push(ConfigFault::new(setting.name, Some(source), detail));
            }
        }
        let settings = resolver.settings();
        if resolver.faults.is_empty() { Ok(settings) } else { Err(resolver.faults) }
    }

    /// The one client for what leaves Pulse.
    pub fn outbound(&self) -> Outbound {
        Outbound::new(self.address_policy())
    }

    /// Which addresses Pulse may connect to.
    pub fn address_policy(&self) -> AddressPolicy {
        let policy = self.outbound_only.clone().map(AddressPolicy::only).unwrap_or_default();
        policy.tenants(self.webhook_networks.clone(), self.webhook_plain_text)
    }

    /// What the plane is told.
    pub fn plane_settings(&self) -> parts::Settings {
        parts::Settings {
            livekit: self.livekit.clone(),
            regions: self.regions.clone(),
            operator_token_given: self.secrets.admin_token.is_some(),
            operator_token_file: Some(self.operator_token_file()),
            purge_after: self.purge_after,
            pipeline: self.pipeline.clone(),
            redis: self.redis.clone(),
        }
    }

    /// Where the operator's token is handed over: beside a database in a file, else in the folder for what is kept.
    pub fn operator_token_file(&self) -> OperatorTokenFile {
        OperatorTokenFile::new(match &self.store {
            StoreLocation::Sqlite(path) => EmbeddedFiles::beside(path).admin_token,
            StoreLocation::Memory | StoreLocation::Mongo { .. } => self.data.join("admin-token"),
        })
    }

    /// The secrets that were given.
    pub fn secrets(&self) -> GivenSecrets {
        self.secrets.clone()
    }
}

/// Types the values; faults of single values are known already, so a bad one is replaced by a harmless one here.
struct Resolver<'a> {
    sources: &'a Sources,
    /// Whether this is a development start, which has defaults of its own.
    dev: bool,
    faults: Vec<ConfigFault>,
}

impl<'a> Resolver<'a> {
    /// The value, else the table's default.
    fn text(&self, name: &str) -> Option<&'a str> {
        debug_assert!(setting(name).is_some(), "{name} is not in the table");
        let given = self.sources.get(name).map(|(_, text)| text);
        given.or_else(|| setting(name).map(|setting| setting.default_in(self.dev)).filter(|text| !text.is_empty()))
    }

    fn given(&self, name: &str) -> Option<&'a str> {
        self.sources.get(name).map(|(_, text)| text)
    }

    fn secret(&self, name: &str) -> Option<Secret> {
        self.given(name).map(Secret::new)
    }

    fn parse<T>(&self, name: &str, parser: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        self.text(name).and_then(|text| parser(text).ok())
    }

    fn number(&self, name: &str) -> u32 {
        self.parse(name, |text| value::positive(text, u32::MAX)).unwrap_or(1)
    }

    fn fault(&mut self, name: &str, detail: &str) {
        let source = self.sources.get(name).map(|(source, _)| source);
        self.faults.push(ConfigFault::new(name, source, detail));
    }

    fn settings(&mut self) -> Settings {
        let dev = self.parse("PULSE_DEV", value::switch).unwrap_or_default();
        self.dev = dev;
        let data = PathBuf::from(self.text("PULSE_DATA").unwrap_or_default());
        let store = self.store(&data);
        let seconds = |name: &str| Duration::from_secs(u64::from(self.number(name)));
        let days = |name: &str| Duration::from_secs(u64::from(self.number(name)) * 86_400);
        let count = |name: &str| usize::try_from(self.number(name)).unwrap_or(usize::MAX);
        let settings = Settings {
            dev,
            regions: self.parse("PULSE_REGIONS", value::names).unwrap_or_default(),
            cors_origins: self.parse("CORS_ORIGINS", value::origins).unwrap_or_default(),
            trusted_proxies: self.parse("PULSE_TRUSTED_PROXIES", value::networks).unwrap_or_default(),
            https: self.parse("PULSE_HTTPS", value::switch).unwrap_or_default(),
            outbound_only: self.parse("PULSE_OUTBOUND_ONLY", value::networks),
            webhook_networks: self.parse("PULSE_WEBHOOK_ALLOW_NETWORKS", value::networks).unwrap_or_default(),
            webhook_plain_text: self.parse("PULSE_WEBHOOK_ALLOW_HTTP", value::switch).unwrap_or_default(),
            purge_after: days("PULSE_PURGE_DAYS"),
            pipeline: PipelineSettings {
                webhook_keys: self.parse("LIVEKIT_WEBHOOK_KEYS", value::key_pairs).unwrap_or_default(),
                reconcile_every: seconds("PULSE_RECONCILE_SECONDS"),
                schedule: self.parse("PULSE_WEBHOOK_SCHEDULE", value::schedule).unwrap_or_default(),
                concurrency: count("PULSE_WEBHOOK_CONCURRENCY"),
                lease: seconds("PULSE_WEBHOOK_LEASE"),
                keep_events: days("PULSE_EVENT_DAYS"),
                keep_sessions: days("PULSE_SESSION_DAYS"),
                streams: count("PULSE_MAX_STREAMS"),
            },
            redis: self.given("REDIS_URL").and_then(|text| value::redis(text).ok()),
            max_connections: count("PULSE_MAX_CONNECTIONS"),
            max_requests: count("PULSE_MAX_REQUESTS"),
            header_timeout: seconds("PULSE_HEADER_TIMEOUT"),
            idle_timeout: seconds("PULSE_IDLE_TIMEOUT"),
            body_timeout: seconds("PULSE_BODY_TIMEOUT"),
            drain_timeout: seconds("PULSE_DRAIN_TIMEOUT"),
            log: self.text("PULSE_LOG").unwrap_or_default().to_owned(),
            log_format: self.text("PULSE_LOG_FORMAT").map(str::to_owned),
            listen: self.listen(dev),
            tls: self.tls(),
            livekit: self.livekit(),
            secrets: self.secrets(&store),
            shown: report::shown(self.sources, &store, dev),
            store,
            data,
        };
        if settings.pipeline.lease < MIN_LEASE {
            let least = format!("must be at least {} seconds", MIN_LEASE.as_secs());
            self.fault("PULSE_WEBHOOK_LEASE", &least);
        }
        if settings.redis.as_ref().is_some_and(|redis| !redis.may_be_allowed(&settings.address_policy())) {
            self.fault("REDIS_URL", "is an address outside of PULSE_OUTBOUND_ONLY");
        }
        if dev && matches!(settings.store, StoreLocation::Mongo { .. }) {
            self.fault("PULSE_DEV", "starts with SQLite or in memory only");
        }
        if settings.https && self.hears_of_no_tls() {
            self.fault(
                "PULSE_HTTPS",
                "needs PULSE_TRUSTED_PROXIES, which name what takes TLS off in front, or PULSE_TLS_CERT and PULSE_TLS_KEY: without them every request is refused",
            );
        }
        settings
    }

    /// Whether nothing could tell that a request came over TLS. Values with faults of their own count as something.
    fn hears_of_no_tls(&self) -> bool {
        let proxies = self.given("PULSE_TRUSTED_PROXIES").map_or(Ok(Vec::new()), value::networks);
        let own = self.given("PULSE_TLS_CERT").or_else(|| self.given("PULSE_TLS_KEY"));
        own.is_none() && proxies.is_ok_and(|proxies| proxies.is_empty())
    }

    fn store(&self, data: &std::path::Path) -> StoreLocation {
        let mongo = || self.parse("MONGO_URI", value::mongo).map(|uri| StoreLocation::Mongo { uri, database: None });
        let chosen = self.parse("PULSE_STORE", value::store).or_else(mongo);
        match chosen.unwrap_or_else(|| StoreLocation::Sqlite(data.join("pulse.db"))) {
            StoreLocation::Mongo { uri, .. } => {
                StoreLocation::Mongo { uri, database: self.given("MONGO_DB_NAME").map(str::to_owned) }
            }
            other => other,
        }
    }

    fn listen(&mut self, dev: bool) -> SocketAddr {
        let given = self.given("PULSE_LISTEN").and_then(|text| value::address(text).ok());
        if let Some(address) = given {
            if dev && !address.ip().is_loopback() {
                self.fault(
                    "PULSE_LISTEN",
                    "must be a loopback address with --dev, because its LiveKit secret is public",
                );
            }
            return address;
        }
        let everywhere = IpAddr::V4(if dev { Ipv4Addr::LOCALHOST } else { Ipv4Addr::UNSPECIFIED });
        let port = self.parse("PORT", |text| value::number(text, 65_535)).and_then(|port| u16::try_from(port).ok());
        port.map_or_else(|| SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)), |port| SocketAddr::new(everywhere, port))
    }

    fn tls(&mut self) -> Option<(PathBuf, PathBuf)> {
        match (self.given("PULSE_TLS_CERT"), self.given("PULSE_TLS_KEY")) {
            (Some(_), None) => self.fault("PULSE_TLS_KEY", "is needed with PULSE_TLS_CERT"),
            (None, Some(_)) => self.fault("PULSE_TLS_CERT", "is needed with PULSE_TLS_KEY"),
            (Some(_), Some(_)) | (None, None) => {}
        }
        self.sources.tls_files()
    }

    fn livekit(&mut self) -> Signer {
        let url = self.text("LIVEKIT_HOST").unwrap_or_default();
        // Clients are told this address, and they speak WebSocket.
        let url = match url.split_once("://") {
            Some(("http", rest)) => format!("ws://{rest}"),
            Some(("https", rest)) => format!("wss://{rest}"),
            _ => url.to_owned(),
        };
        let (key, secret) = match (self.given("LIVEKIT_API_KEY"), self.given("LIVEKIT_API_SECRET")) {
            (None, None) => {
                let default = |name| self.text(name).unwrap_or_default();
                (default("LIVEKIT_API_KEY"), default("LIVEKIT_API_SECRET"))
            }
            (Some(key), Some(secret)) => (key, secret),
            (key, _) => {
                let missing = if key.is_none() { "LIVEKIT_API_KEY" } else { "LIVEKIT_API_SECRET" };
                self.fault(missing, "is not set, but the other half of the pair is");
                ("", "")
            }
        };
        Signer { url, api_key: key.to_owned(), api_secret: Secret::new(secret), shared: true }
    }

    fn secrets(&mut self, store: &StoreLocation) -> GivenSecrets {
        if matches!(store, StoreLocation::Mongo { .. }) {
            for name in ["API_KEY_PEPPER", "PULSE_MASTER_KEY"] {
                if self.given(name).is_none() {
                    self.fault(
                        name,
                        "must be set with MongoDB, where nothing is kept beside the store: openssl rand -base64 32",
                    );
                }
            }
        }
        GivenSecrets {
            pepper: self.secret("API_KEY_PEPPER"),
            previous_pepper: self.secret("API_KEY_PEPPER_PREVIOUS"),
            master_key: self.secret("PULSE_MASTER_KEY"),
            admin_token: self.secret("PULSE_ADMIN_TOKEN"),
        }
    }
}

#[cfg(test)]
#[path = "config/tests.rs"]
mod tests;
