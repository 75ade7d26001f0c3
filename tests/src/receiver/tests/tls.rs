//! Doors with TLS: certificates that are bad in one way each, and a handshake that goes nowhere.

use tokio_rustls::{
    TlsConnector,
    rustls::{
        self, CertificateError, ClientConfig, RootCertStore,
        pki_types::{CertificateDer, ServerName, pem::PemObject as _},
    },
};

use super::*;

/// What a TLS client that trusts the tests' authority says to the receiver's door.
async fn handshake(receiver: &Receiver) -> Result<TcpStream, rustls::Error> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority_pem().as_bytes()).expect("PEM")).expect("an authority");
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("the provider has TLS 1.2 and 1.3")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = TcpStream::connect(receiver.address()).await.expect("it listens");
    let name = ServerName::try_from("127.0.0.1").expect("a name");
    match TlsConnector::from(Arc::new(config)).connect(name, stream).await {
        Ok(mut stream) => {
            stream.write_all(b"POST /tls HTTP/1.1\r\nConnection: close\r\n\r\n").await.expect("it reads");
            let mut text = String::new();
            stream.read_to_string(&mut text).await.expect("it answers and closes");
            assert!(text.starts_with("HTTP/1.1 204 "), "{text}");
            Ok(stream.into_inner().0)
        }
        Err(error) => {
            let error = error.into_inner().expect("a TLS error").downcast::<rustls::Error>().expect("a TLS error");
            Err(*error)
        }
    }
}

#[tokio::test]
async fn certificates_are_bad_in_one_way_each() {
    let receiver = Receiver::start_with(
        ReceiverOptions::new().door(Door::Tls(Certificate::Good)),
        Action::AnswerThenClose(Answer::new(204)),
    );
    assert!(receiver.url().starts_with("https://127.0.0.1:"));
    handshake(&receiver).await.expect("a good certificate");
    receiver.wait_for(1, SOON).await;

    let fault = |error| match error {
        Err(rustls::Error::InvalidCertificate(fault)) => fault,
        other => panic!("not about the certificate: {other:?}"),
    };
    receiver.set_door(Door::Tls(Certificate::SelfSigned));
    assert_eq!(fault(handshake(&receiver).await), CertificateError::UnknownIssuer);
    receiver.set_door(Door::Tls(Certificate::Expired));
    let expired = fault(handshake(&receiver).await);
    assert!(matches!(expired, CertificateError::Expired | CertificateError::ExpiredContext { .. }), "{expired:?}");
    receiver.set_door(Door::Tls(Certificate::WrongName));
    let name = fault(handshake(&receiver).await);
    assert!(
        matches!(name, CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. }),
        "{name:?}"
    );
    receiver.wait_until("three refusals", SOON, |counts| counts.handshakes_failed == 3).await;
    assert_eq!(receiver.counts().requests, 1, "a request came through a refused certificate");
}

#[tokio::test]
async fn a_tls_handshake_can_stall() {
    let receiver = Receiver::start_with(ReceiverOptions::new().door(Door::TlsStall), Action::ok());
    let mut stream = TcpStream::connect(receiver.address()).await.expect("it listens");
    stream.write_all(b"\x16\x03\x01\x00\x05hello").await.expect("it reads");
    receiver.wait_until("a connection", SOON, |counts| counts.connections == 1).await;
    assert_eq!(receiver.counts().handshakes_failed, 0);

    stream.shutdown().await.expect("it can be ended");

    assert!(everything(&mut stream).await.0.is_empty(), "the door said something");
    receiver.wait_until("the client left", SOON, |counts| counts.handshakes_failed == 1).await;
    assert_eq!(receiver.counts().requests, 0);
}
