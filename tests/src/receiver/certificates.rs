//! Certificates of TLS receivers, good and bad in exactly one way, from an authority made for this test process.

use std::sync::{Arc, LazyLock};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose, date_time_ymd};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        crypto::ring,
        pki_types::{CertificateDer, PrivateKeyDer},
    },
};

/// Names that are the receiver's.
const OWN: [&str; 2] = ["127.0.0.1", "localhost"];
/// A name that is not.
const OTHER: &str = "elsewhere.example";

/// What the certificate of a TLS receiver is worth to a client that trusts [`authority_pem`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Certificate {
    /// It holds for 127.0.0.1 and localhost.
    Good,
    /// Nobody but itself signed it.
    SelfSigned,
    /// It held until the end of 2019.
    Expired,
    /// It is another name's.
    WrongName,
}

/// The authority's own certificate as PEM: what a client is given as the one authority to trust (`SSL_CERT_FILE`).
pub fn authority_pem() -> &'static str {
    &AUTHORITY.pem
}

/// What accepts connections with such a certificate.
pub(super) fn acceptor(certificate: Certificate) -> &'static TlsAcceptor {
    let acceptors = &*ACCEPTORS;
    match certificate {
        Certificate::Good => &acceptors.good,
        Certificate::SelfSigned => &acceptors.self_signed,
        Certificate::Expired => &acceptors.expired,
        Certificate::WrongName => &acceptors.wrong_name,
    }
}

struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

static AUTHORITY: LazyLock<Authority> = LazyLock::new(|| {
    let key = KeyPair::generate().expect("a key");
    let mut params = params(&[], "authority of the tests");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let pem = params.self_signed(&key).expect("a certificate").pem();
    Authority { issuer: Issuer::new(params, key), pem }
});

struct Acceptors {
    good: TlsAcceptor,
    self_signed: TlsAcceptor,
    expired: TlsAcceptor,
    wrong_name: TlsAcceptor,
}

static ACCEPTORS: LazyLock<Acceptors> = LazyLock::new(|| {
    let mut expired = params(&OWN, "expired");
    expired.not_before = date_time_ymd(2019, 1, 1);
    expired.not_after = date_time_ymd(2020, 1, 1);
    Acceptors {
        good: signed(&params(&OWN, "good")),
        self_signed: alone(&params(&OWN, "self-signed")),
        expired: signed(&expired),
        wrong_name: signed(&params(&[OTHER], "wrong name")),
    }
});

/// Valid from long ago into the far future, where nothing else is said.
fn params(names: &[&str], subject: &str) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).expect("names");
    params.distinguished_name.push(DnType::CommonName, subject);
    params
}

fn signed(params: &CertificateParams) -> TlsAcceptor {
    let key = KeyPair::generate().expect("a key");
    let certificate = params.signed_by(&key, &AUTHORITY.issuer).expect("a certificate");
    accepting(certificate.der().clone(), &key)
}

fn alone(params: &CertificateParams) -> TlsAcceptor {
    let key = KeyPair::generate().expect("a key");
    let certificate = params.self_signed(&key).expect("a certificate");
    accepting(certificate.der().clone(), &key)
}

fn accepting(certificate: CertificateDer<'static>, key: &KeyPair) -> TlsAcceptor {
    let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("the provider has TLS 1.2 and 1.3")
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .expect("the key is the certificate's");
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    TlsAcceptor::from(Arc::new(config))
}
