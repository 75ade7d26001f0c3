//! Operations on a store that this process opens itself, as the operator: whoever owns the store's file may do
//! everything with it. A daemon may run beside it.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use pulse_core::{
    Error,
    access::{Caller, OperatorVia},
    boot::open::{Opened, Role, open},
    config::{Settings, SourceKind, Sources, StoreLocation, env_file, faults_error, toml},
    entropy::SystemEntropy,
    error::Code,
    id::EventId,
    metrics::Metrics,
    model::audit::Origin,
    op::{self, Call, Operation},
    ops::events::WatchEvents,
    outbound::AddressPolicy,
    plane::{Answer, ControlPlane},
    registry,
    wire::{self, Incoming, Request},
};

use reqwest::header::HeaderMap;
use serde_json::Value;
use url::form_urlencoded;

use super::{CallOptions, Opening, stream::EventStream};
use crate::{exit::Failure, session::Session, ui::Printer};

/// An open store.
pub struct Local {
    opened: Opened,
    caller: Caller,
    trace: Option<Printer>,
}

impl std::fmt::Debug for Local {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Local").field("caller", &self.caller.id()).finish_non_exhaustive()
    }
}

/// The settings of a local command: those that pulsed would read, with `store` over them.
pub fn settings(session: &Session, store: Option<&str>) -> Result<Settings, Failure> {
    Ok(Settings::resolve(&sources(session, store)?).map_err(|faults| faults_error(&faults))?)
}

/// What this command line may connect to.
pub(super) fn address_policy(session: &Session) -> Result<AddressPolicy, Failure> {
    Ok(sources(session, None)?.address_policy().map_err(|faults| faults_error(&faults))?)
}

fn sources(session: &Session, store: Option<&str>) -> Result<Sources, Failure> {
    let mut sources = Sources::new();
    if let Some(store) = store {
        sources = sources.with(SourceKind::Flag, BTreeMap::from([("PULSE_STORE".to_owned(), store.to_owned())]));
    }
    let environment = session.env.all().iter().map(|(name, value)| (name.clone(), value.clone())).collect();
    sources = sources.with(SourceKind::Environment, environment);
    if let Some(path) = &session.global.env_file {
        let values = env_file(&crate::input::text(path)?).map_err(|faults| faults_error(&faults))?;
        sources = sources.with(SourceKind::EnvFile, values);
    }
    if let Some(path) = &session.global.config {
        let values = toml(&crate::input::text(path)?).map_err(|faults| faults_error(&faults))?;
        sources = sources.with(SourceKind::ConfigFile, values);
    }
    Ok(sources)
}

impl Local {
    /// Opens the store.
    pub async fn open(session: &Session, store: Option<&str>, opening: Opening) -> Result<Self, Failure> {
        let mut settings = settings(session, store)?;
        if let StoreLocation::Sqlite(path) = &settings.store
            && !path.exists()
        {
            match opening {
                Opening::Existing => return Err(missing(path)),
                Opening::OrMake => {}
                Opening::OrImagine => settings.store = StoreLocation::Memory,
            }
        }
        let metrics = Metrics::new()?;
        let entropy = Arc::new(SystemEntropy::default());
        let opened = open(&settings, Arc::clone(&session.clock), entropy, metrics, Role::Local).await?;
        let caller = Caller::Operator(OperatorVia::Local { os_user: os_user() });
        let trace = session.global.verbose.then(|| session.printer.clone());
        Ok(Self { opened, caller, trace })
    }

    /// The plane over the store.
    pub fn plane(&self) -> &ControlPlane {
        &self.opened.assembled.plane
    }

    fn call_of(&self) -> Call {
        let mut call = Call::new(self.caller.clone(), request_id());
        call.origin = Origin::Cli;
        call.user_agent = Some(concat!("pulse/", env!("CARGO_PKG_VERSION")).to_owned());
        call
    }

    /// Does the operation of a raw request.
    pub async fn raw(
        &self,
        method: &str,
        path: &str,
        query: &str,
        headers: &HeaderMap,
        body: &str,
    ) -> Result<Value, Failure> {
        let none = || Error::new(Code::NoRoute, format!("there is no {method} {path} that works on a store"));
        let (route, fields) = crate::cmd::route(method, path).ok_or_else(none)?;
        let mut call = self.call_of();
        let query = call.read_options(&route.meta, query, headers)?;
        let incoming = Incoming { path: &fields, query: &query, body: body.as_bytes() };
        let reply = route.call(self.plane(), &call, incoming).await?;
        serde_json::from_slice(&reply.body).map_err(|error| Failure::unexpected(error.to_string()))
    }

    /// Does one operation, from its request, as a server would.
    pub async fn call<O: Operation>(
        &self,
        request: &Request,
        options: CallOptions,
    ) -> Result<Answer<O::Output>, Failure> {
        let route =
            registry::by_id(O::META.id).ok_or_else(|| Error::internal("the operation is not in the registry"))?;
        let (path, query) = request.path.split_once('?').unwrap_or((&request.path, ""));
        let fields = path_fields(O::META.path, path);
        let body = request.body.as_ref().map(ToString::to_string).unwrap_or_default();
        let incoming = Incoming { path: &fields, query, body: body.as_bytes() };
        let op: O = wire::decode(route.schema(), incoming)?;
        let mut call = self.call_of();
        call.dry_run = options.dry_run && O::META.is_mutation();
        call.if_match = options.if_match;
        if let Some(printer) = &self.trace {
            printer.note(&format!("* {} on {}", O::META.id, self.plane().parts().store.info().location));
        }
        Ok(self.plane().execute(&call, &op).await?)
    }
}

impl Local {
    /// Watches a project's events, after the one of id `last`: those that other processes record are found by looking.
    pub async fn watch(&self, op: &WatchEvents, last: Option<EventId>) -> Result<EventStream, Failure> {
        let filter = self.plane().execute(&self.call_of(), op).await?.into_output();
        Ok(EventStream::local(self.plane().parts().watch(filter, last).await?))
    }
}

fn missing(path: &Path) -> Failure {
    Failure::new(3, "no_store", format!("there is no store at {}", path.display()))
        .hint("Name another with --store sqlite:PATH or PULSE_STORE, or make this one: pulse --local org create NAME --email ADDRESS.")
}

/// The fields that travel in the path, decoded.
pub fn path_fields(pattern: &str, path: &str) -> Vec<(String, String)> {
    let decoded = |text: &str| {
        // A path segment is encoded like a form value, but for the plus sign.
        let text = format!("v={}", text.replace('+', "%2B"));
        form_urlencoded::parse(text.as_bytes()).next().map(|(_, value)| value.into_owned()).unwrap_or_default()
    };
    let pairs = pattern.split('/').zip(path.split('/'));
    pairs
        .filter_map(|(name, value)| Some((name.strip_prefix('{')?.strip_suffix('}')?.to_owned(), decoded(value))))
        .collect()
}

/// A new request id.
pub(super) fn request_id() -> String {
    op::request_id(&SystemEntropy::default())
}

/// The user of this process by the user database: a variable could be set to anything.
fn os_user() -> String {
    let id = rustix::process::geteuid().as_raw().to_string();
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let name = users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1) == Some(id.as_str())).then(|| name.to_owned())
    });
    name.unwrap_or(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn path_fields_come_out_as_they_went_in() {
        let fields = path_fields("/v1/projects/{id}/keys/{key_id}", "/v1/projects/prj_1/keys/a%20b+c");
        assert_eq!(fields, [("id".into(), "prj_1".into()), ("key_id".into(), "a b+c".into())]);
    }
}
