//! TLS towards others: the certificates that this machine trusts, read when the first connection needs them, because that
//! takes a while and many commands and starts never do.

use std::{net::IpAddr, sync::Arc};

use rustls::{ClientConfig, RootCertStore, pki_types::ServerName};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::OnceCell,
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use url::Host;

use super::failure::{FailureKind, TlsFault, of_tls};

/// Whom to trust.
#[derive(Debug, Default)]
enum Roots {
    /// Whoever the machine trusts; `SSL_CERT_FILE` and `SSL_CERT_DIR` say otherwise.
    #[default]
    Machine,
    /// These.
    #[cfg_attr(not(any(test, feature = "testing")), expect(dead_code, reason = "tests have an authority of their own"))]
    Given(RootCertStore),
}

/// What is spoken over TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Speaks {
    /// HTTP/1.1, which is agreed upon (ALPN).
    Http,
    /// Something without a name to agree upon.
    Other,
}

/// TLS as a client.
#[derive(Debug, Default)]
pub(super) struct Tls {
    roots: Roots,
    config: OnceCell<Arc<ClientConfig>>,
}

impl Tls {
    /// Trusts only who these certificates are of.
    #[cfg(any(test, feature = "testing"))]
    pub(super) fn trusting(roots: RootCertStore) -> Self {
        Self { roots: Roots::Given(roots), config: OnceCell::new() }
    }

    /// Speaks TLS over the connection with `host`, whose certificate must be for that name or address.
    pub(super) async fn handshake<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        host: &Host<String>,
        stream: S,
        speaks: Speaks,
    ) -> Result<TlsStream<S>, FailureKind> {
        let mut config = Arc::clone(self.config.get_or_try_init(|| self.build()).await?);
        if speaks == Speaks::Other {
            Arc::make_mut(&mut config).alpn_protocols.clear();
        }
        let name = server_name(host).ok_or(FailureKind::Tls(TlsFault::WrongName))?;
        TlsConnector::from(config).connect(name, stream).await.map_err(|error| of_tls(&error))
    }

    async fn build(&self) -> Result<Arc<ClientConfig>, FailureKind> {
        let roots = match &self.roots {
            Roots::Given(roots) => roots.clone(),
            Roots::Machine => tokio::task::spawn_blocking(machine_roots).await.map_err(|_| FailureKind::Local)??,
        };
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|_| FailureKind::Local)?;
        let mut config = builder.with_root_certificates(roots).with_no_client_auth();
        // One request at a time on each connection: what is written and what is not stays known of each.
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }
}

/// The name that the certificate must have. A trailing dot is for name servers and in no certificate.
fn server_name(host: &Host<String>) -> Option<ServerName<'static>> {
    match host {
        Host::Domain(name) => ServerName::try_from(name.strip_suffix('.').unwrap_or(name).to_owned()).ok(),
        Host::Ipv4(ip) => Some(ServerName::from(IpAddr::V4(*ip))),
        Host::Ipv6(ip) => Some(ServerName::from(IpAddr::V6(*ip))),
    }
}

fn machine_roots() -> Result<RootCertStore, FailureKind> {
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        tracing::warn!(%error, "some of the machine's trusted certificates cannot be read");
    }
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(found.certs);
    if added > 0 {
        return Ok(roots);
    }
    tracing::error!("this machine trusts no certificate: install ca-certificates, or set SSL_CERT_FILE");
    Err(FailureKind::Local)
}
