//! From a place to a connection: resolve once, judge every answer, connect to what was judged and to nothing else, and look
//! at who answered.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use futures_util::stream::{FuturesUnordered, StreamExt as _};
use tokio::time::{Instant, sleep, timeout_at};
use url::Host;

use super::{
    dial::{Dial, Dialed},
    failure::{FailureKind, Phase, SendFailure, Unresolved, of_connect, of_http},
    line::{Line, Metered},
    policy::{AddressPolicy, Refusal},
    pool::Place,
    tls::{Speaks, Tls},
};

/// How long one address is tried before the next is tried beside it (RFC 8305, section 5).
const NEXT_ADDRESS: Duration = Duration::from_millis(250);
/// How many of a name's addresses are tried.
const MAX_ADDRESSES: usize = 8;

/// What it takes to connect.
#[derive(Debug)]
pub(super) struct Connector<'a> {
    pub(super) policy: &'a AddressPolicy,
    pub(super) dial: &'a dyn Dial,
    pub(super) tls: &'a Tls,
}

impl Connector<'_> {
    /// A new connection to the place, TLS included, until `deadline`.
    pub(super) async fn connect(&self, place: &Place, deadline: Instant) -> Result<Line, SendFailure> {
        let late = FailureKind::Timeout(Phase::Connect);
        let Dialed { stream, peer } = self.dial(place, deadline).await?;
        let fail = |kind| SendFailure::unsent(kind, peer);
        let stream = Metered::new(stream);
        let meter = stream.meter();
        let opened = if place.tls {
            let stream = timeout_at(deadline, self.tls.handshake(&place.host, stream, Speaks::Http)).await;
            Line::open(stream.map_err(|_| fail(late))?.map_err(fail)?, meter, peer).await
        } else {
            Line::open(stream, meter, peer).await
        };
        opened.map_err(|error| fail(of_http(&error)))
    }

    /// A new TCP connection to the place until `deadline`, with whoever was judged at its other end.
    pub(super) async fn dial(&self, place: &Place, deadline: Instant) -> Result<Dialed, SendFailure> {
        let addresses = self.addresses(place, deadline).await.map_err(SendFailure::unconnected)?;
        let dialed = timeout_at(deadline, race(self.dial, &addresses)).await;
        let late = |_| SendFailure::unconnected(FailureKind::Timeout(Phase::Connect));
        let dialed = dialed.map_err(late)?.map_err(SendFailure::unconnected)?;
        if !addresses.contains(&dialed.peer) {
            return Err(SendFailure::unsent(FailureKind::RefusedAddress(Refusal::OtherPeer), dialed.peer));
        }
        Ok(dialed)
    }

    /// The addresses of the place, every one of which may be connected to.
    async fn addresses(&self, place: &Place, deadline: Instant) -> Result<Vec<SocketAddr>, FailureKind> {
        let found = match &place.host {
            Host::Ipv4(ip) => vec![IpAddr::V4(*ip)],
            Host::Ipv6(ip) => vec![IpAddr::V6(*ip)],
            Host::Domain(name) => {
                let looking = timeout_at(deadline, self.dial.resolve(name, place.trust));
                looking.await.unwrap_or(Err(Unresolved::TimedOut)).map_err(FailureKind::Resolve)?
            }
        };
        if found.is_empty() {
            return Err(FailureKind::Resolve(Unresolved::NoSuchName));
        }
        for ip in &found {
            self.policy.judge(*ip, place.trust)?;
        }
        Ok(found.into_iter().take(MAX_ADDRESSES).map(|ip| SocketAddr::new(ip, place.port)).collect())
    }
}

/// The first connection that one of the addresses accepts: each is tried when the one before failed or took long. The
/// failure is the last one that says something about the other side, if any does.
async fn race(dial: &dyn Dial, addresses: &[SocketAddr]) -> Result<Dialed, FailureKind> {
    let mut waiting = addresses.iter().copied();
    let mut trying = FuturesUnordered::new();
    let mut failed = FailureKind::Local;
    loop {
        if let Some(next) = waiting.next() {
            trying.push(async move { dial.connect(next).await.map_err(|error| of_connect(&error, next)) });
        }
        tokio::select! {
            tried = trying.next() => match tried {
                Some(Ok(dialed)) => return Ok(dialed),
                Some(Err(kind)) if failed == FailureKind::Local || kind != FailureKind::Local => failed = kind,
                Some(Err(_)) => {}
                None => return Err(failed),
            },
            () = sleep(NEXT_ADDRESS), if waiting.len() > 0 => {}
        }
    }
}
