//! A new endpoint: its rules, its sealed secrets, its defaults.

use std::collections::{BTreeMap, BTreeSet};

use url::Url;

use crate::{
    deliver::{
        dispatch::{headers_place, secret_place},
        event_filter::EventTypeFilter,
        pace::EndpointRate,
        schedule::Schedule,
        sign::SigningSecret,
    },
    error::{Error, Fault, Result},
    id::{EndpointId, ProjectId},
    model::{
        endpoint::{
            self, DEFAULT_MAX_IN_FLIGHT, DEFAULT_TIMEOUT_SECONDS, Endpoint, EndpointState, MAX_HEADERS,
            MAX_TIMEOUT_SECONDS, StoredHeaders, StoredSecret,
        },
        text::{Note, WebhookUrl},
    },
    outbound::Trust,
    parts::Parts,
    secret::SecretText,
    time::Timestamp,
};

/// The most deliveries that an endpoint can get at once.
const MAX_IN_FLIGHT: u32 = 256;

/// The fault of an address to which nothing is ever sent: what a URL tells by itself. Names are judged when they are
/// resolved.
pub(crate) fn url_fault(parts: &Parts, field: &str, url: &WebhookUrl) -> Option<Fault> {
    let refusal = parts.outbound.policy().check_url(&url.as_str().parse().ok()?, Trust::Tenant).err()?;
    Some(Fault::new(field, refusal.code(), refusal.to_string()))
}

/// Whether what is stored for the endpoint would go to a server that it was not given for: another scheme, host or port.
pub(super) fn moves(endpoint: &Endpoint, url: &WebhookUrl) -> bool {
    let origin = |url: &WebhookUrl| url.as_str().parse::<Url>().map(|url| url.origin());
    // What cannot be read is nowhere that is known.
    !matches!((origin(&endpoint.url), origin(url)), (Ok(from), Ok(to)) if from == to)
}

/// Every fault of headers that a customer adds.
pub(super) fn header_faults(headers: &BTreeMap<String, SecretText>) -> Vec<Fault> {
    let mut faults = endpoint::header_faults(headers);
    if headers.len() > MAX_HEADERS {
        faults.push(Fault::new("headers", "too_many", format!("must be at most {MAX_HEADERS}")));
    }
    let names: BTreeSet<String> = headers.keys().map(|name| name.to_ascii_lowercase()).collect();
    if names.len() < headers.len() {
        faults.push(Fault::new("headers", "repeated", "has a name twice, in upper and in lower case"));
    }
    faults
}

/// Faults of numbers that the schema bounds as well, for callers in the same process.
pub(super) fn bound_faults(timeout_seconds: Option<u32>, max_in_flight: Option<u32>) -> Vec<Fault> {
    let bounds =
        [("timeout_seconds", timeout_seconds, MAX_TIMEOUT_SECONDS), ("max_in_flight", max_in_flight, MAX_IN_FLIGHT)];
    let outside =
        bounds.into_iter().filter(|(_, value, most)| value.is_some_and(|value| !(1..=*most).contains(&value)));
    outside.map(|(field, _, most)| Fault::new(field, "out_of_range", format!("must be from 1 to {most}"))).collect()
}

/// A signing secret that a customer brings along.
pub(super) fn read_secret(text: &SecretText) -> Result<SigningSecret, Fault> {
    SigningSecret::parse(text.expose()).map_err(|refused| Fault::new("secret", "bad_format", refused.0))
}

/// Seals a signing secret for its endpoint.
pub(super) fn seal_secret(
    parts: &Parts,
    id: EndpointId,
    project: ProjectId,
    secret: &SigningSecret,
    now: Timestamp,
) -> Result<StoredSecret> {
    let (id, project) = (id.to_string(), project.to_string());
    let text = secret.text();
    let place = secret_place(&id, &project);
    let sealed = parts.sealer.seal(place, text.expose().as_bytes(), parts.entropy.as_ref())?;
    Ok(StoredSecret { sealed, created_at: now, expires_at: None })
}

/// Seals headers for their endpoint, under their names in lower case; none when there are none.
pub(super) fn seal_headers(
    parts: &Parts,
    id: EndpointId,
    project: ProjectId,
    headers: &BTreeMap<String, SecretText>,
) -> Result<Option<StoredHeaders>> {
    if headers.is_empty() {
        return Ok(None);
    }
    let lower: BTreeMap<String, &SecretText> =
        headers.iter().map(|(name, value)| (name.to_ascii_lowercase(), value)).collect();
    let text = serde_json::to_vec(&lower).map_err(Error::internal)?;
    let (id, project) = (id.to_string(), project.to_string());
    let sealed = parts.sealer.seal(headers_place(&id, &project), &text, parts.entropy.as_ref())?;
    Ok(Some(StoredHeaders { names: lower.into_keys().collect(), sealed }))
}

/// What a new endpoint is to be.
pub(crate) struct Draft {
    pub(super) project: ProjectId,
    pub(super) url: WebhookUrl,
    pub(super) description: Option<Note>,
    pub(super) event_types: EventTypeFilter,
    pub(super) headers: BTreeMap<String, SecretText>,
    pub(super) schedule: Option<Schedule>,
    pub(super) rate: Option<EndpointRate>,
    pub(super) timeout_seconds: u32,
    pub(super) max_in_flight: u32,
    pub(super) secret: SigningSecret,
    pub(super) of_webhook_url: bool,
}

impl Draft {
    /// The endpoint of a project's `webhook_url`: every event, as the installation sends by default.
    pub(crate) fn of_webhook_url(parts: &Parts, project: ProjectId, url: WebhookUrl) -> Self {
        Self {
            project,
            url,
            description: None,
            event_types: EventTypeFilter::default(),
            headers: BTreeMap::new(),
            schedule: None,
            rate: None,
            timeout_seconds: DEFAULT_TIMEOUT_SECONDS,
            max_in_flight: DEFAULT_MAX_IN_FLIGHT,
            secret: SigningSecret::generate(parts.entropy.as_ref()),
            of_webhook_url: true,
        }
    }

    /// The endpoint and its secret.
    pub(crate) fn make(self, parts: &Parts, now: Timestamp) -> Result<(Endpoint, SecretText)> {
        let id = EndpointId::new(now, parts.entropy.as_ref());
        let endpoint = Endpoint {
            id,
            project_id: self.project,
            url: self.url,
            description: self.description,
            event_types: self.event_types,
            headers: seal_headers(parts, id, self.project, &self.headers)?,
            secrets: vec![seal_secret(parts, id, self.project, &self.secret, now)?],
            timeout_seconds: self.timeout_seconds,
            schedule: self.schedule,
            rate: self.rate,
            max_in_flight: self.max_in_flight,
            state: EndpointState::Active,
            state_reason: None,
            of_project: self.of_webhook_url.then_some(self.project),
            created_at: now,
            updated_at: now,
            version: 1,
        };
        Ok((endpoint, SecretText::new(self.secret.text().expose())))
    }
}
