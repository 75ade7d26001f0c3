//! TLS towards servers with good and with bad certificates.

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::{RootCertStore, ServerConfig, pki_types::PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

use super::*;

const NAME: &str = "hooks.example";

/// An authority that signs certificates.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    roots: RootCertStore,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(params.self_signed(&key).unwrap().der().clone()).unwrap();
        Self { issuer: Issuer::new(params, key), roots }
    }

    /// A TLS server with a certificate for `name`, changed as the test wants.
    fn server(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> TlsAcceptor {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let config = config.with_no_client_auth().with_single_cert(vec![certificate.der().clone()], key).unwrap();
        TlsAcceptor::from(Arc::new(config))
    }

    /// A customer's client that trusts this authority, and for which `NAME` and a public address lead to the server.
    fn client_of(&self, server: SocketAddr) -> Outbound {
        let dial = ScriptedDial::new();
        let address = SocketAddr::new(public().ip(), 443);
        dial.route(address, server);
        dial.name(NAME, [testing::Said::addresses(&["93.184.215.14"])]);
        Outbound::trusting(AddressPolicy::default(), dial, self.roots.clone())
    }
}

/// A server behind TLS that answers every request, and counts connections.
async fn secure(acceptor: TlsAcceptor) -> (SocketAddr, Arc<AtomicUsize>) {
    serve(move |_, stream| {
        let acceptor = acceptor.clone();
        async move {
            let Ok(mut stream) = acceptor.accept(stream).await else { return };
            while read(&mut stream).await.is_some() {
                stream.write_all(OK.as_bytes()).await.unwrap();
            }
        }
    })
    .await
}

#[tokio::test]
async fn a_trusted_certificate_for_the_name_is_accepted_and_the_connection_is_kept() {
    let authority = Authority::new();
    let (server, accepted) = secure(authority.server(NAME, |_| {})).await;
    let outbound = authority.client_of(server);
    for url in ["https://hooks.example/", "https://hooks.example/other", "https://HOOKS.example:443/"] {
        assert_eq!(outbound.exchange(&hook(url)).await.unwrap().status.as_u16(), 200, "{url}");
    }
    assert_eq!(accepted.load(Ordering::SeqCst), 1);
    let (server, _) = secure(authority.server("93.184.215.14", |_| {})).await;
    let by_address = authority.client_of(server).exchange(&hook("https://93.184.215.14/")).await;
    assert_eq!(by_address.unwrap().status.as_u16(), 200, "a certificate can be for an address");
}

#[tokio::test]
async fn bad_certificates_are_told_apart_and_no_byte_of_the_request_goes_out() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let expired = authority.server(NAME, |params| params.not_after = date_time_ymd(2001, 1, 1));
    let early = authority.server(NAME, |params| params.not_before = date_time_ymd(2999, 1, 1));
    for (acceptor, fault) in [
        (expired, TlsFault::Expired),
        (early, TlsFault::Expired),
        (authority.server("other.example", |_| {}), TlsFault::WrongName),
        (stranger.server(NAME, |_| {}), TlsFault::BadCertificate),
    ] {
        let (server, _) = secure(acceptor).await;
        let failure = authority.client_of(server).exchange(&hook("https://hooks.example/")).await.unwrap_err();
        assert_eq!((failure.kind, failure.bytes_written), (FailureKind::Tls(fault), false));
        assert_eq!(failure.peer.map(|peer| peer.ip()), Some(public().ip()));
    }
}

#[tokio::test]
async fn a_server_that_speaks_no_tls_or_nothing_at_all_is_told_as_that() {
    let authority = Authority::new();
    let (plain, _) = serve(|_, mut stream| async move {
        stream.write_all(b"HTTP/1.1 400 This is no TLS port\r\n\r\n").await.unwrap();
        read(&mut stream).await;
    })
    .await;
    let failure = authority.client_of(plain).exchange(&hook("https://hooks.example/")).await.unwrap_err();
    assert_eq!((failure.kind, failure.bytes_written), (FailureKind::Tls(TlsFault::Handshake), false));
    let (silent, _) = serve(|_, stream| async move {
        let _kept = stream;
        std::future::pending::<()>().await;
    })
    .await;
    let failure = authority.client_of(silent).exchange(&impatient("https://hooks.example/")).await.unwrap_err();
    assert_eq!((failure.kind, failure.bytes_written), (FailureKind::Timeout(Phase::Connect), false));
}

#[tokio::test]
async fn a_kept_tls_connection_that_the_other_side_closed_does_not_show() {
    let authority = Authority::new();
    let acceptor = authority.server(NAME, |_| {});
    let (told, mut answered) = tokio::sync::mpsc::channel(1);
    let (server, accepted) = serve(move |_, stream| {
        let (acceptor, told) = (acceptor.clone(), told.clone());
        async move {
            let mut stream = acceptor.accept(stream).await.unwrap();
            read(&mut stream).await;
            stream.write_all(OK.as_bytes()).await.unwrap();
            told.send(stream).await.unwrap();
        }
    })
    .await;
    let outbound = authority.client_of(server);
    for round in 1..=10 {
        assert_eq!(outbound.exchange(&hook("https://hooks.example/")).await.unwrap().status.as_u16(), 200);
        assert_eq!(accepted.load(Ordering::SeqCst), round);
        // Right before the next request, so that the event loop of the client has had no chance to hear.
        answered.recv().await.expect("the server's side of the connection").shutdown().await.unwrap();
    }
}
