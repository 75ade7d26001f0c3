//! The one HTTP client for everything that leaves Pulse: no proxy, no redirects, no cookies, and a policy that judges every
//! address after its name is resolved and before anything is connected.
//!
//! - [`policy`](AddressPolicy) says which addresses are allowed and for whom, and [`special`](SPECIAL) which are not public.
//! - [`Dial`] is the network: names and connections. Tests put a script in its place.
//! - `connect` goes from a name to a connection: resolves once, judges every answer, connects only to what was judged, and
//!   checks who answered. There is no second look-up between judging and connecting that could say something else.
//! - `line` is one connection of HTTP/1.1 with a meter of what was written, `pool` keeps idle ones, `tls` speaks TLS.
//! - [`exchange`](Outbound::exchange) sends one request within bounds of time and size.
//! - [`open`](Outbound::open) gives a bare connection, for what does not speak HTTP.

mod connect;
mod dial;
mod exchange;
mod failure;
mod line;
mod policy;
mod pool;
mod resolver;
mod special;
mod stream;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
#[cfg(test)]
mod tests;
mod tls;

use std::sync::Arc;

use url::Url;

pub use dial::{Dial, Dialed, SystemDial, hosts_file};
pub use exchange::{Answer, Limits, Request};
pub use failure::{FailureKind, Phase, SendFailure, TlsFault, Unresolved};
pub use policy::{AddressPolicy, Refusal, Trust};
pub use special::{SPECIAL, Special, special};
pub use stream::Stream;

use self::{pool::Pool, tls::Tls};
use crate::error::{Code, Error, Result};

/// The client. Clones share their connections.
#[derive(Clone, Debug)]
pub struct Outbound(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    policy: AddressPolicy,
    dial: Arc<dyn Dial>,
    tls: Tls,
    pool: Pool,
}

impl Outbound {
    /// A client under this policy, over the machine's own network. While `PULSE_OUTBOUND_ONLY` is set, no name server is
    /// asked.
    pub fn new(policy: AddressPolicy) -> Self {
        let dial = SystemDial::new(policy.only.is_some());
        Self::over(policy, Arc::new(dial))
    }

    /// A client under this policy, over another network.
    pub fn over(policy: AddressPolicy, dial: Arc<dyn Dial>) -> Self {
        Self(Arc::new(Shared { policy, dial, tls: Tls::default(), pool: Pool::default() }))
    }

    /// A client that trusts only these authorities.
    #[cfg(any(test, feature = "testing"))]
    #[must_use]
    pub fn trusting(policy: AddressPolicy, dial: Arc<dyn Dial>, roots: rustls::RootCertStore) -> Self {
        Self(Arc::new(Shared { policy, dial, tls: Tls::trusting(roots), pool: Pool::default() }))
    }

    /// The policy.
    pub fn policy(&self) -> &AddressPolicy {
        &self.0.policy
    }

    /// Sends a request and reads the answer. Every status is an answer; a body that is longer than what is to be read is
    /// cut off, and the connection with it.
    ///
    /// # Errors
    /// A [`SendFailure`] says why there is no answer, and whether any byte of the request went out. A connection that was
    /// kept and that the other side has closed meanwhile is no failure: another one takes its place.
    pub async fn exchange(&self, request: &Request) -> Result<Answer, SendFailure> {
        self.0.exchange(request).await
    }

    /// Gets what the operator named. A failure is [`Code::Unreachable`] without the transport's words.
    pub async fn get(&self, url: &str) -> Result<Answer> {
        let url: Url = url.parse().map_err(Error::internal)?;
        let host = url.host_str().unwrap_or_default().to_owned();
        self.exchange(&Request::get(url)).await.map_err(|failure| match failure.kind {
            FailureKind::RefusedAddress(Refusal::OutsideOnly) => AddressPolicy::refusal(),
            _ => Error::new(Code::Unreachable, format!("{host} cannot be reached")).because(failure),
        })
    }
}
