//! How an operation is done: on a store of this machine, or by a server. Both sides go through the same encoding and
//! decoding, so that both judge a request alike, and no command asks which one it has.

mod http;
mod local;
mod remote;
mod stream;
mod trace;

use pulse_core::{id::EventId, op::Operation, ops::events::WatchEvents, plane::Answer, secret::Secret, wire};

pub use http::reason;
pub use local::{Local, path_fields, settings};
pub use remote::{RawAnswer, Remote};
pub use stream::{EventStream, Heard};
pub use trace::Curl;

use url::Url;

use crate::{
    args::{Change, VersionedChange},
    exit::Failure,
    session::Session,
    target::{Place, Target},
};

/// What belongs to a call and to no operation.
#[derive(Clone, Copy, Debug, Default)]
pub struct CallOptions {
    /// Whether everything but the change is to happen.
    pub dry_run: bool,
    /// The version that the thing must have.
    pub if_match: Option<u64>,
}

impl CallOptions {
    /// A dry run, or not.
    pub fn dry(dry_run: bool) -> Self {
        Self { dry_run, if_match: None }
    }
}

impl From<&Change> for CallOptions {
    fn from(change: &Change) -> Self {
        Self::dry(change.dry_run)
    }
}

impl From<&VersionedChange> for CallOptions {
    fn from(change: &VersionedChange) -> Self {
        Self { dry_run: change.dry_run, if_match: change.if_match }
    }
}

/// Whether a missing store is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opening {
    /// It must exist.
    Existing,
    /// It is made when it is missing.
    OrMake,
    /// When it is missing, an empty one in memory takes its place: for a dry run.
    OrImagine,
}

/// Where operations are done.
#[derive(Debug)]
pub enum Client {
    /// Here.
    Local(Box<Local>),
    /// By a server.
    Remote(Box<Remote>),
    /// Nowhere: requests are printed.
    Curl(Curl),
}

impl Client {
    /// The client of the session's target.
    pub async fn open(session: &Session, opening: Opening) -> Result<Self, Failure> {
        if session.global.curl {
            let server = match session.target().map(|target| target.place) {
                Ok(Place::Server(url)) => Some(url),
                Ok(Place::Store(_)) | Err(_) => None,
            };
            return Ok(Self::Curl(Curl::new(session.printer.clone(), server)));
        }
        let target = session.target()?;
        match &target.place {
            Place::Server(url) => {
                let token = credential(session, &target)?;
                let policy = local::address_policy(session)?;
                let trace = session.global.verbose.then(|| session.printer.clone());
                Ok(Self::Remote(Box::new(Remote::new(url.clone(), &policy, token, trace)?)))
            }
            Place::Store(store) => {
                let local = Local::open(session, store.as_deref(), opening).await?;
                Ok(Self::Local(Box::new(local)))
            }
        }
    }

    /// Does one operation.
    pub async fn call<O: Operation>(&self, op: &O, options: CallOptions) -> Result<Answer<O::Output>, Failure> {
        let request = wire::encode(op)?;
        match self {
            Self::Local(local) => local.call::<O>(&request, options).await,
            Self::Remote(remote) => remote.call::<O>(&request, options).await,
            Self::Curl(curl) => curl.print(&request, options, &[]),
        }
    }

    /// Does an operation that is not a change, and gives its answer.
    pub async fn ask<O: Operation>(&self, op: &O) -> Result<O::Output, Failure> {
        self.call(op, CallOptions::default()).await.map(Answer::into_output)
    }

    /// Watches a project's events as they happen, after the one of id `last`.
    pub async fn watch(&self, op: &WatchEvents, last: Option<EventId>) -> Result<EventStream, Failure> {
        match self {
            Self::Local(local) => local.watch(op, last).await,
            Self::Remote(remote) => remote.watch(&wire::encode(op)?, last).await,
            Self::Curl(curl) => {
                let last = last.map(|id| format!("Last-Event-ID: {id}"));
                curl.print(&wire::encode(op)?, CallOptions::default(), &last.into_iter().collect::<Vec<_>>())
            }
        }
    }

    /// Where the store is that this process has open.
    pub fn store(&self) -> Option<String> {
        match self {
            Self::Local(local) => Some(local.plane().parts().store.info().location),
            Self::Remote(_) | Self::Curl(_) => None,
        }
    }

    /// Whether requests are printed instead of sent.
    pub fn is_curl(&self) -> bool {
        matches!(self, Self::Curl(_))
    }
}

/// An HTTP client for a receiver of events on this machine, or wherever this command line may connect to.
pub fn forwarder(session: &Session, url: &Url) -> Result<reqwest::Client, Failure> {
    let policy = local::address_policy(session)?;
    policy.check_literal(url)?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(
            Failure::usage(format!("{url} is not an address of HTTP")).hint("Begin it with http:// or https://.")
        );
    }
    pulse_core::boot::open::install_cryptography();
    http::builder(&policy).build().map_err(|_| Failure::unexpected("the HTTP client cannot be made"))
}

/// The credential for a server: `--token-file`, `PULSE_TOKEN`, `PULSE_ADMIN_TOKEN`, the context's.
fn credential(session: &Session, target: &Target) -> Result<Option<Secret>, Failure> {
    if let Some(path) = &session.global.token_file {
        return crate::input::secret(path).map(Some);
    }
    if let Some(token) = session.env.get("PULSE_TOKEN").or_else(|| session.env.get("PULSE_ADMIN_TOKEN")) {
        return Ok(Some(Secret::new(token)));
    }
    let Some(context) = target.context_name() else { return Ok(None) };
    let token = crate::profile::Profile::of(&session.env)?.token(context)?;
    Ok(token.map(Secret::new))
}

impl Client {
    /// Whether a key's secret is taken: by a call of its own to the server, or by the keyring of the store.
    pub async fn try_secret(&self, secret: &str) -> Result<(), Failure> {
        match self {
            Self::Local(local) => {
                let keyring = &local.plane().parts().keyring;
                keyring.verify(pulse_core::access::keyring::Credentials::Bearer(secret), None).await?;
                Ok(())
            }
            Self::Remote(remote) => {
                let other = remote.with_token(Secret::new(secret));
                let request = wire::encode(&pulse_core::ops::me::GetMe {})?;
                other.call::<pulse_core::ops::me::GetMe>(&request, CallOptions::default()).await.map(drop)
            }
            Self::Curl(_) => Ok(()),
        }
    }
}
