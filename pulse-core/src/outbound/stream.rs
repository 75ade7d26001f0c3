//! Connections for what does not speak HTTP, such as Redis: dialed under the same policy as everything else that leaves
//! Pulse, each time anew. Whoever speaks over them does not resolve or connect by itself.

use std::time::Duration;

use tokio::{
    net::TcpStream,
    time::{Instant, timeout_at},
};
use tokio_rustls::client::TlsStream;
use tokio_util::either::Either;
use url::Host;

use super::{
    Outbound,
    connect::Connector,
    dial::Dialed,
    failure::{FailureKind, Phase},
    policy::Trust,
    pool::Place,
    tls::Speaks,
};

/// A connection, with TLS or without. Dropping it closes it.
pub type Stream = Either<TcpStream, TlsStream<TcpStream>>;

impl Outbound {
    /// A new connection to what the operator named, TLS included, within `patience`.
    ///
    /// # Errors
    /// Why there is none: the name, the address or its refusal, the certificate, or the time.
    pub async fn open(
        &self,
        host: &Host<String>,
        port: u16,
        tls: bool,
        patience: Duration,
    ) -> Result<Stream, FailureKind> {
        let shared = &self.0;
        let deadline = Instant::now() + patience;
        let connector = Connector { policy: &shared.policy, dial: shared.dial.as_ref(), tls: &shared.tls };
        let place = Place { trust: Trust::Operator, tls, host: host.clone(), port };
        let Dialed { stream, .. } = connector.dial(&place, deadline).await.map_err(|failure| failure.kind)?;
        if !tls {
            return Ok(Either::Left(stream));
        }
        let secured = timeout_at(deadline, shared.tls.handshake(host, stream, Speaks::Other)).await;
        Ok(Either::Right(secured.map_err(|_| FailureKind::Timeout(Phase::Connect))??))
    }
}
