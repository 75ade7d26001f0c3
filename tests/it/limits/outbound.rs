//! Where the connection to Redis goes: nowhere that the policy does not allow, today and after each reconnection.

use std::{fs, net::SocketAddr};

use pulse_core::outbound::{
    AddressPolicy, Outbound,
    testing::{Said, ScriptedDial},
};
use pulse_tests::{
    peers::redis::{Options, Redis},
    temporary_folder,
};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tokio_rustls::rustls::RootCertStore;

use super::{Counter, LONG};

fn inside() -> AddressPolicy {
    AddressPolicy::only(vec!["10.0.0.0/8".parse().expect("a network")])
}

#[tokio::test]
async fn an_address_outside_of_the_networks_is_never_connected_to() {
    for url in ["redis://192.0.2.7:6379", "rediss://[2001:db8::7]", "redis://redis.example", "redis://0xC0000207"] {
        let dial = ScriptedDial::new();
        dial.name("redis.example", [Said::addresses(&["10.0.0.5", "192.0.2.7"])]);
        let counter = Counter::new(url, Outbound::over(inside(), dial.clone()), "one", LONG);
        counter.until_away("outside PULSE_OUTBOUND_ONLY").await;
        assert!(counter.spend("anybody", 1).await.allowed, "{url}");
        assert!(dial.attempts().is_empty(), "{url}: {:?}", dial.attempts());
    }
}

#[tokio::test]
async fn a_name_that_leads_elsewhere_after_a_reconnection_is_not_followed() {
    let mut redis = Redis::start().await;
    let dial = ScriptedDial::new();
    let allowed: SocketAddr = "10.0.0.5:6379".parse().expect("an address");
    dial.route(allowed, redis.address());
    dial.route("192.0.2.7:6379".parse().expect("an address"), redis.address());
    dial.name("redis.example", [Said::addresses(&["10.0.0.5"]), Said::addresses(&["192.0.2.7"])]);
    let counter = Counter::new("redis://redis.example", Outbound::over(inside(), dial.clone()), "one", LONG);
    counter.until_up().await;

    redis.kill().await;
    redis.restart().await;
    counter.until_away("outside PULSE_OUTBOUND_ONLY").await;

    assert_eq!(dial.attempts(), [allowed], "it was connected to behind the policy's back");
    assert!(dial.asked().len() >= 2, "the name was looked up once");
}

#[tokio::test]
async fn tls_is_spoken_with_a_server_whose_certificate_is_trusted_and_of_its_name() {
    let folder = temporary_folder("redis-tls");
    let authority = |name: &str| {
        let mut params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let mut roots = RootCertStore::empty();
        roots.add(params.self_signed(&key).expect("a certificate").der().clone()).expect("a root");
        (Issuer::new(params, key), roots)
    };
    let (issuer, roots) = authority("ours");
    let key = KeyPair::generate().expect("a key");
    let params = CertificateParams::new(vec!["redis.example".to_owned()]).expect("a name");
    let certificate = params.signed_by(&key, &issuer).expect("a certificate");
    let (chain, private) = (folder.path().join("chain.pem"), folder.path().join("key.pem"));
    fs::write(&chain, certificate.pem()).expect("a file");
    fs::write(&private, key.serialize_pem()).expect("a file");
    let password = Some("the-password-over-tls".to_owned());
    let redis = Redis::start_with(Options { password, tls: Some((chain, private)) }).await;
    let dial = ScriptedDial::new();
    dial.route("10.0.0.5:6379".parse().expect("an address"), redis.address());
    for name in ["redis.example", "other.example"] {
        dial.name(name, [Said::addresses(&["10.0.0.5"])]);
    }
    let counter = |name: &str, roots: RootCertStore| {
        let url = format!("rediss://:the-password-over-tls@{name}");
        Counter::new(&url, Outbound::trusting(inside(), dial.clone(), roots), "one", LONG)
    };

    let good = counter("redis.example", roots.clone());
    good.until_up().await;
    assert!(good.spend("anybody", 1).await.allowed);
    counter("other.example", roots).until_away("the certificate is for another name").await;
    counter("redis.example", authority("another").1).until_away("the certificate is not trusted").await;
}
