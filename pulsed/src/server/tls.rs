//! TLS from certificate files, which a reload reads again.

use std::{path::Path, sync::Arc};

use parking_lot::RwLock;
use pulse_core::error::{Code, Error, Result};
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use tokio_rustls::TlsAcceptor;

/// The certificate in use.
#[derive(Debug)]
pub struct Tls(RwLock<Arc<ServerConfig>>);

impl Tls {
    /// Reads the certificate chain and its key.
    pub fn load((chain, key): (&Path, &Path)) -> Result<Self> {
        Ok(Self(RwLock::new(read(chain, key)?)))
    }

    /// Reads them again; on an error the old ones stay.
    pub fn reload(&self, (chain, key): (&Path, &Path)) -> Result<()> {
        *self.0.write() = read(chain, key)?;
        Ok(())
    }

    /// For the next connection.
    pub fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(Arc::clone(&self.0.read()))
    }
}

fn read(chain: &Path, key: &Path) -> Result<Arc<ServerConfig>> {
    let unusable = |path: &Path, what: &str, cause: String| {
        Error::new(Code::Misconfigured, format!("{} {what}", path.display())).because(cause)
    };
    let certificates = CertificateDer::pem_file_iter(chain)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|cause| unusable(chain, "has no certificates that can be read", cause.to_string()))?;
    let private = PrivateKeyDer::from_pem_file(key)
        .map_err(|cause| unusable(key, "has no private key that can be read", cause.to_string()))?;
    let mut config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(certificates, private)
        .map_err(|cause| unusable(chain, "does not fit its private key", cause.to_string()))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}
