//! Webhook endpoints: where a project's events are sent, and how.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::text::{Note, WebhookUrl};
use crate::{
    access::seal::Sealed,
    deliver::{
        breaker::BreakerState, event_filter::EventTypeFilter, pace::EndpointRate, schedule::Schedule, sign::MAX_SECRETS,
    },
    error::Fault,
    id::{EndpointId, ProjectId},
    secret::SecretText,
    time::Timestamp,
};

/// The most endpoints that a project can have.
pub const MAX_ENDPOINTS: usize = 20;
/// The most headers that an endpoint can add.
pub const MAX_HEADERS: usize = 20;
/// For how long an endpoint may take to answer, in seconds, when it does not say.
pub const DEFAULT_TIMEOUT_SECONDS: u32 = 15;
/// The longest time, in seconds, that an endpoint can be given to answer.
pub const MAX_TIMEOUT_SECONDS: u32 = 15;
/// How many deliveries an endpoint gets at once, when it does not say.
pub const DEFAULT_MAX_IN_FLIGHT: u32 = 8;

/// Whether an endpoint is sent to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum EndpointState {
    /// It is.
    Active,
    /// Somebody paused it: events are kept and sent when it is resumed.
    Paused,
    /// It was switched off, by somebody, by its own answer 410, or because it failed for days: nothing new is kept for it.
    Disabled,
}

/// A signing secret as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredSecret {
    /// The secret, sealed.
    pub sealed: Sealed,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it stops to sign; `None` for the current one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
}

/// Headers that the customer adds, as they are stored: their values may be secrets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredHeaders {
    /// The names, in lower case.
    pub names: Vec<String>,
    /// Names and values, sealed.
    pub sealed: Sealed,
}

/// An endpoint as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// The id.
    pub id: EndpointId,
    /// The project.
    pub project_id: ProjectId,
    /// Where to.
    pub url: WebhookUrl,
    /// What it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<Note>,
    /// Which events; empty: all, those of later versions too.
    pub event_types: EventTypeFilter,
    /// Headers that the customer adds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub headers: Option<StoredHeaders>,
    /// Newest first.
    pub secrets: Vec<StoredSecret>,
    /// For how long it may take to answer, in seconds.
    pub timeout_seconds: u32,
    /// When failed deliveries are tried again; the installation's schedule when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<Schedule>,
    /// How many deliveries a second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<EndpointRate>,
    /// How many deliveries at once.
    pub max_in_flight: u32,
    /// Whether it is sent to.
    pub state: EndpointState,
    /// Why it is paused or disabled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state_reason: Option<String>,
    /// The project, when this is the endpoint of its `webhook_url`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of_project: Option<ProjectId>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// Grows by one with each change.
    #[serde(skip)]
    pub version: u64,
}

impl Endpoint {
    /// Whether it wants events of this type.
    pub fn wants(&self, event_type: &str) -> bool {
        self.event_types.matches(event_type)
    }

    /// The secrets that sign at `now`, newest first.
    pub fn live_secrets(&self, now: Timestamp) -> impl Iterator<Item = &StoredSecret> {
        let live = move |secret: &&StoredSecret| secret.expires_at.is_none_or(|end| end > now);
        self.secrets.iter().filter(live).take(MAX_SECRETS)
    }
}

/// Deliveries that ended in one hour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HourCount {
    /// Hours since 1970.
    pub hour: i64,
    /// Attempts that succeeded.
    pub ok: u64,
    /// Attempts that failed.
    pub failed: u64,
}

/// How an endpoint has been doing: a document of its own, written on a change of state or once a second at most.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointHealth {
    /// The endpoint.
    pub endpoint_id: EndpointId,
    /// The project.
    pub project_id: ProjectId,
    /// When the failures began that have not been followed by a success.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_failure_at: Option<Timestamp>,
    /// Failed attempts since the last success.
    pub consecutive_failures: u64,
    /// When it last succeeded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_ok_at: Option<Timestamp>,
    /// When it last failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_failure_at: Option<Timestamp>,
    /// What the last failure was: an HTTP status or a fixed word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
    /// What stands between it and its deliveries.
    pub breaker: BreakerState,
    /// Deliveries that were given up and of which the project's other endpoints have not been told.
    #[serde(default)]
    pub exhausted_untold: u64,
    /// In which hour since 1970 they were told last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub told_in_hour: Option<i64>,
    /// The last 25 hours in which something ended.
    pub hours: Vec<HourCount>,
    /// Grows by one with each change.
    #[serde(skip)]
    pub version: u64,
}

/// The length of an hour, in milliseconds.
const HOUR_MILLIS: i64 = 3_600_000;

/// The hour of a moment, counted from 1970.
pub fn hour_of(moment: Timestamp) -> i64 {
    moment.as_millis().div_euclid(HOUR_MILLIS)
}

impl EndpointHealth {
    /// An endpoint of which nothing is known.
    pub fn new(endpoint_id: EndpointId, project_id: ProjectId) -> Self {
        Self {
            endpoint_id,
            project_id,
            first_failure_at: None,
            consecutive_failures: 0,
            last_ok_at: None,
            last_failure_at: None,
            last_error: None,
            breaker: BreakerState::Closed,
            exhausted_untold: 0,
            told_in_hour: None,
            hours: Vec::new(),
            version: 0,
        }
    }

    /// Notes an attempt that ended at `now`; `error` is none for a success.
    pub fn note(&mut self, now: Timestamp, error: Option<&str>) {
        let hour = hour_of(now);
        if self.hours.last().is_none_or(|last| last.hour < hour) {
            self.hours.push(HourCount { hour, ok: 0, failed: 0 });
            self.hours.retain(|count| count.hour > hour - 25);
        }
        let failed = error.is_some();
        if let Some(count) = self.hours.last_mut() {
            count.ok += u64::from(!failed);
            count.failed += u64::from(failed);
        }
        if let Some(error) = error {
            self.first_failure_at = self.first_failure_at.or(Some(now));
            self.consecutive_failures += 1;
            self.last_failure_at = Some(now);
            self.last_error = Some(error.to_owned());
        } else {
            self.first_failure_at = None;
            self.consecutive_failures = 0;
            self.last_ok_at = Some(now);
        }
    }

    /// What a caller sees.
    pub fn view(&self) -> HealthView {
        HealthView {
            breaker: self.breaker,
            consecutive_failures: self.consecutive_failures,
            first_failure_at: self.first_failure_at,
            last_ok_at: self.last_ok_at,
            last_failure_at: self.last_failure_at,
            last_error: self.last_error.clone(),
        }
    }

    /// Attempts of the last 24 hours.
    pub fn stats(&self, now: Timestamp) -> Stats {
        let since = hour_of(now) - 24;
        let recent = self.hours.iter().filter(|count| count.hour > since);
        recent.fold(Stats::default(), |sum, count| Stats { ok: sum.ok + count.ok, failed: sum.failed + count.failed })
    }
}

/// How an endpoint has been doing, as it is shown.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "EndpointHealth")]
pub struct HealthView {
    /// What stands between it and its deliveries.
    pub breaker: BreakerState,
    /// Failed attempts since the last success.
    pub consecutive_failures: u64,
    /// When they began.
    pub first_failure_at: Option<Timestamp>,
    /// When it last succeeded.
    pub last_ok_at: Option<Timestamp>,
    /// When it last failed.
    pub last_failure_at: Option<Timestamp>,
    /// What the last failure was: an HTTP status or a fixed word.
    pub last_error: Option<String>,
}

/// Attempts of the last 24 hours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "EndpointStats")]
pub struct Stats {
    /// That succeeded.
    pub ok: u64,
    /// That failed.
    pub failed: u64,
}

/// An endpoint as it is shown: of the headers only the names, and no secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Endpoint")]
pub struct EndpointView {
    /// The id.
    pub id: EndpointId,
    /// The project.
    pub project_id: ProjectId,
    /// Where to.
    pub url: WebhookUrl,
    /// What it is for.
    pub description: Option<Note>,
    /// Which events; empty: all, those of later versions too.
    pub event_types: EventTypeFilter,
    /// The names of the headers that it adds.
    pub headers: Vec<String>,
    /// Whether this is the endpoint of the project's `webhook_url`.
    pub of_webhook_url: bool,
    /// Whether it is sent to.
    pub state: EndpointState,
    /// Why it is paused or disabled.
    pub state_reason: Option<String>,
    /// When failed deliveries are tried again; the installation's schedule when `null`.
    pub schedule: Option<Schedule>,
    /// How many deliveries a second.
    pub rate: Option<EndpointRate>,
    /// For how long it may take to answer, in seconds.
    pub timeout_seconds: u32,
    /// How many deliveries at once.
    pub max_in_flight: u32,
    /// How many secrets sign now: two while a rotation keeps the old one.
    pub live_secrets: usize,
    /// How it has been doing.
    pub health: HealthView,
    /// Attempts of the last 24 hours.
    pub stats_24h: Stats,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// Grows by one with each change; send it back to change only what you read.
    pub version: u64,
}

/// An endpoint as an event names it that is about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NamedEndpoint {
    /// The id.
    pub id: EndpointId,
    /// Where it is.
    pub url: WebhookUrl,
}

impl Endpoint {
    /// What an event about it names.
    pub fn named(&self) -> NamedEndpoint {
        NamedEndpoint { id: self.id, url: self.url.clone() }
    }

    /// What a caller sees.
    pub fn view(&self, health: Option<&EndpointHealth>, now: Timestamp) -> EndpointView {
        let own = self.clone();
        EndpointView {
            id: own.id,
            project_id: own.project_id,
            url: own.url,
            description: own.description,
            event_types: own.event_types,
            headers: own.headers.map(|headers| headers.names).unwrap_or_default(),
            of_webhook_url: own.of_project.is_some(),
            state: own.state,
            state_reason: own.state_reason,
            schedule: own.schedule,
            rate: own.rate,
            timeout_seconds: own.timeout_seconds,
            max_in_flight: own.max_in_flight,
            live_secrets: self.live_secrets(now).count(),
            health: health.map(EndpointHealth::view).unwrap_or_default(),
            stats_24h: health.map(|health| health.stats(now)).unwrap_or_default(),
            created_at: own.created_at,
            updated_at: own.updated_at,
            version: own.version,
        }
    }
}

/// Names that a customer's header cannot have: those that Pulse or the transport sets.
const RESERVED_HEADERS: &[&str] = &[
    "host",
    "content-length",
    "content-type",
    "content-encoding",
    "transfer-encoding",
    "connection",
    "keep-alive",
    "upgrade",
    "te",
    "trailer",
    "expect",
    "user-agent",
    "accept",
    "accept-encoding",
];

/// Every fault of headers that a customer adds, under the field `headers`.
pub fn header_faults(headers: &BTreeMap<String, SecretText>) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (name, value) in headers {
        let lower = name.to_ascii_lowercase();
        let reserved = RESERVED_HEADERS.contains(&lower.as_str())
            || ["webhook-", "pulse-", "proxy-"].iter().any(|prefix| lower.starts_with(prefix));
        let at = format!("headers.{name}");
        if http::HeaderName::from_bytes(lower.as_bytes()).is_err() || name.len() > 100 {
            faults.push(Fault::new("headers", "bad_format", "has a name that is not one of an HTTP header"));
        } else if reserved {
            faults.push(Fault::new(at, "not_allowed", "is a header that Pulse sets itself"));
        } else if http::HeaderValue::from_str(value.expose()).is_err() || value.expose().len() > 4_096 {
            faults.push(Fault::new(at, "bad_format", "is not 1 to 4096 visible ASCII characters"));
        }
    }
    faults
}
