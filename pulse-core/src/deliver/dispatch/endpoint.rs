//! An endpoint, ready to be sent to: its secrets and headers opened, its address read. Kept for as long as the endpoint
//! stays as it is.

use std::{collections::BTreeMap, sync::Arc};

use http::{HeaderMap, HeaderName, HeaderValue};
use url::Url;

use crate::{
    access::seal::Place,
    deliver::sign::SigningSecret,
    error::{Error, Result},
    id::{EndpointId, ProjectId},
    model::endpoint::{Endpoint, StoredSecret},
    parts::Parts,
    secret::SecretText,
    store::schema,
    time::Timestamp,
};

/// How many endpoints are kept ready.
const READY: usize = 10_000;

/// The place of an endpoint's signing secrets, for sealing. Bound to the project, which never changes.
pub fn secret_place<'a>(id: &'a str, project: &'a str) -> Place<'a> {
    Place { collection: schema::ENDPOINTS.name, field: "secrets", id, org: project }
}

/// The place of the headers that a customer adds, for sealing.
pub fn headers_place<'a>(id: &'a str, project: &'a str) -> Place<'a> {
    Place { collection: schema::ENDPOINTS.name, field: "headers", id, org: project }
}

/// Opens a signing secret of an endpoint.
pub fn open_secret(parts: &Parts, id: EndpointId, project: ProjectId, stored: &StoredSecret) -> Result<SigningSecret> {
    let (id, project) = (id.to_string(), project.to_string());
    let text = parts.sealer.open_text(secret_place(&id, &project), &stored.sealed)?;
    SigningSecret::parse(text.expose()).map_err(Error::internal)
}

/// An endpoint, ready to be sent to.
pub(super) struct Prepared {
    endpoint: Arc<Endpoint>,
    pub(super) url: Url,
    /// Newest first, each with the moment at which it stops to sign.
    secrets: Vec<(SigningSecret, Option<Timestamp>)>,
    /// What the customer adds.
    pub(super) headers: HeaderMap,
}

impl Prepared {
    fn new(parts: &Parts, endpoint: &Arc<Endpoint>) -> Result<Self> {
        let open = |stored: &StoredSecret| -> Result<_> {
            Ok((open_secret(parts, endpoint.id, endpoint.project_id, stored)?, stored.expires_at))
        };
        let mut headers = HeaderMap::new();
        if let Some(stored) = &endpoint.headers {
            let (id, project) = (endpoint.id.to_string(), endpoint.project_id.to_string());
            let opened = parts.sealer.open(headers_place(&id, &project), &stored.sealed)?;
            let opened: BTreeMap<String, SecretText> = serde_json::from_slice(&opened).map_err(Error::internal)?;
            for (name, value) in opened {
                let name = HeaderName::from_bytes(name.as_bytes()).map_err(Error::internal)?;
                let mut value = HeaderValue::from_str(value.expose()).map_err(Error::internal)?;
                value.set_sensitive(true);
                headers.insert(name, value);
            }
        }
        Ok(Self {
            endpoint: Arc::clone(endpoint),
            url: endpoint.url.as_str().parse().map_err(Error::internal)?,
            secrets: endpoint.secrets.iter().map(open).collect::<Result<_>>()?,
            headers,
        })
    }

    /// The secrets that sign at `now`, newest first.
    pub(super) fn live(&self, now: Timestamp) -> impl Iterator<Item = &SigningSecret> {
        self.secrets.iter().filter(move |(_, end)| end.is_none_or(|end| end > now)).map(|(secret, _)| secret)
    }
}

/// Endpoints that are ready.
pub(super) struct Cache(quick_cache::sync::Cache<EndpointId, Arc<Prepared>>);

impl Default for Cache {
    fn default() -> Self {
        Self(quick_cache::sync::Cache::new(READY))
    }
}

impl Cache {
    /// The endpoint, ready as of this very version of it.
    pub(super) fn of(&self, parts: &Parts, endpoint: &Arc<Endpoint>) -> Result<Arc<Prepared>> {
        if let Some(ready) = self.0.get(&endpoint.id).filter(|ready| ready.endpoint.version == endpoint.version) {
            return Ok(ready);
        }
        let ready = Arc::new(Prepared::new(parts, endpoint)?);
        self.0.insert(endpoint.id, Arc::clone(&ready));
        Ok(ready)
    }

    /// The endpoint as it was when something was sent to it last, unless it was found changed since.
    pub(super) fn last(&self, id: EndpointId) -> Option<Arc<Endpoint>> {
        self.0.get(&id).map(|ready| Arc::clone(&ready.endpoint))
    }

    /// Takes note of an endpoint that was found changed.
    pub(super) fn forget(&self, id: EndpointId) {
        self.0.remove(&id);
    }
}
