//! TLS from certificate files, which a reload reads again.

use std::{path::Path, sync::Arc};

use parking_lot::RwLock;
use pulse_core::{boot::open::install_cryptography, config::ConfigFault};
use rustls::{
    ServerConfig,
    pki_types::{
        CertificateDer, PrivateKeyDer,
        pem::{self, PemObject},
    },
};
use tokio_rustls::TlsAcceptor;

/// The certificate in use.
#[derive(Debug)]
pub struct Tls(RwLock<Arc<ServerConfig>>);

impl Tls {
    /// Reads the certificate chain and its key, or tells what is wrong with each.
    pub fn load((chain, key): (&Path, &Path)) -> Result<Self, Vec<ConfigFault>> {
        Ok(Self(RwLock::new(read(chain, key)?)))
    }

    /// Reads them again; on a fault the old ones stay.
    pub fn reload(&self, (chain, key): (&Path, &Path)) -> Result<(), Vec<ConfigFault>> {
        *self.0.write() = read(chain, key)?;
        Ok(())
    }

    /// For the next connection.
    pub fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(Arc::clone(&self.0.read()))
    }
}

fn read(chain: &Path, key: &Path) -> Result<Arc<ServerConfig>, Vec<ConfigFault>> {
    install_cryptography();
    let certificates = CertificateDer::pem_file_iter(chain)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .and_then(|found| if found.is_empty() { Err(pem::Error::NoItemsFound) } else { Ok(found) })
        .map_err(|cause| fault("PULSE_TLS_CERT", "certificates", &cause));
    let private = PrivateKeyDer::from_pem_file(key).map_err(|cause| fault("PULSE_TLS_KEY", "private key", &cause));
    let (certificates, private) = match (certificates, private) {
        (Ok(certificates), Ok(private)) => (certificates, private),
        (certificates, private) => return Err(certificates.err().into_iter().chain(private.err()).collect()),
    };
    let mut config =
        ServerConfig::builder().with_no_client_auth().with_single_cert(certificates, private).map_err(|cause| {
            vec![ConfigFault::new("PULSE_TLS_CERT", None, format!("does not fit PULSE_TLS_KEY: {cause}"))]
        })?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// Why a file cannot be used. What the reader says of its contents is kept back: it repeats some of them, which may be
/// of the key.
fn fault(setting: &str, what: &str, cause: &pem::Error) -> ConfigFault {
    let why = match cause {
        pem::Error::Io(cause) => format!(": {cause}"),
        _ => String::new(),
    };
    ConfigFault::new(setting, None, format!("names a file with no {what} that can be read{why}"))
}
