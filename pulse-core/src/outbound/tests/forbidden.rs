//! No connection to a forbidden address is ever tried, however it is written and whatever name servers say.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;

use super::*;
use crate::outbound::testing::Said;

/// An address of every kind that is not public.
const FORBIDDEN: &[&str] = &[
    "0.0.0.0",
    "0.1.2.3",
    "10.0.0.1",
    "10.255.255.255",
    "100.64.0.1",
    "100.100.100.200",
    "100.127.255.255",
    "127.0.0.1",
    "127.255.255.254",
    "168.63.129.16",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.1",
    "192.0.0.192",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.0.1",
    "198.18.0.1",
    "198.19.255.255",
    "198.51.100.7",
    "203.0.113.9",
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",
    "::8.8.8.8",
    "::ffff:127.0.0.1",
    "::ffff:169.254.169.254",
    "::ffff:8.8.8.8",
    "::ffff:0:127.0.0.1",
    "64:ff9b::127.0.0.1",
    "64:ff9b::10.0.0.1",
    "64:ff9b::169.254.169.254",
    "64:ff9b:1::1",
    "100::1",
    "200::1",
    "400::1",
    "1fff::1",
    "2001::1",
    "2001:0:4136:e378:8000:63bf:3fff:fdd2",
    "2001:2::1",
    "2001:20::1",
    "2001:db8::1",
    "2002:7f00:1::",
    "2002:a9fe:a9fe::1",
    "3fff::1",
    "4000::1",
    "5f00::1",
    "8000::1",
    "fc00::1",
    "fd00::1",
    "fd00:ec2::254",
    "fe80::1",
    "febf::1",
    "fec0::1",
    "feff::1",
    "ff02::1",
    "ffff::1",
];

/// Neighbours of those that are public.
const PUBLIC_ONES: &[&str] = &[
    "1.1.1.1",
    "9.255.255.255",
    "11.0.0.0",
    "100.63.255.255",
    "100.128.0.0",
    "126.255.255.255",
    "128.0.0.0",
    "168.63.129.15",
    "169.253.255.255",
    "172.15.255.255",
    "172.32.0.0",
    "192.0.1.0",
    "192.167.255.255",
    "198.17.255.255",
    "198.20.0.0",
    "203.0.112.255",
    "223.255.255.255",
    "2001:200::1",
    "2001:4860:4860::8888",
    "2003::1",
    "2606:4700::1111",
    "2a00::1",
    "3ffe:ffff::1",
    "64:ff9b::8.8.8.8",
];

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn url_of(ip: IpAddr, scheme: &str) -> String {
    match ip {
        IpAddr::V4(v4) => format!("{scheme}://{v4}/hook"),
        IpAddr::V6(v6) => format!("{scheme}://[{v6}]/hook"),
    }
}

async fn refused(outbound: &Outbound, url: &str) -> FailureKind {
    let failure = outbound.exchange(&impatient(url)).await.expect_err(url);
    assert!(!failure.bytes_written && failure.peer.is_none(), "{url}: {failure:?}");
    failure.kind
}

fn is_refused(kind: FailureKind) -> bool {
    matches!(kind, FailureKind::RefusedAddress(Refusal::Special(_)))
}

#[tokio::test]
async fn every_kind_of_address_is_refused_by_itself_and_behind_a_name_and_its_neighbours_are_not() {
    let dial = ScriptedDial::new();
    let outbound = Outbound::over(plain(), dial.clone());
    for text in FORBIDDEN {
        assert!(is_refused(refused(&outbound, &url_of(ip(text), "http")).await), "{text} by itself");
        dial.name("hooks.example", [Said::addresses(&[text])]);
        assert!(is_refused(refused(&outbound, "http://hooks.example/").await), "{text} behind a name");
    }
    assert_eq!(dial.attempts(), [], "a connection was tried");
    for text in PUBLIC_ONES {
        assert_eq!(refused(&outbound, &url_of(ip(text), "http")).await, FailureKind::Connect, "{text}");
    }
    assert_eq!(dial.attempts().len(), PUBLIC_ONES.len());
}

#[tokio::test]
async fn every_way_to_write_an_address_is_seen_through() {
    let dial = ScriptedDial::new();
    let outbound = Outbound::over(plain(), dial.clone());
    let written = [
        "http://2130706433/",
        "http://0x7f000001/",
        "http://0x7f.1/",
        "http://017700000001/",
        "http://0177.0.0.01/",
        "http://127.1/",
        "http://127.0.1/",
        "http://127.0.0.1./",
        "http://%31%32%37.0.0.1/",
        "http://１２７。０。０。１/",
        "http://0/",
        "http://0xa9fea9fe/latest/meta-data",
        "http://[::ffff:127.0.0.1]/",
        "http://[::ffff:7f00:1]/",
        "http://[0:0:0:0:0:0:0:1]/",
        "http://[::1]/",
        "http://[::]/",
        "http://[fd00::1]/",
        "http://[2002:7f00:1::]/",
        "http://[64:ff9b::7f00:1]/",
        "http://localhost/",
        "http://LOCALHOST/",
        "http://localhost./",
        "http://a.b.localhost/",
        "http:127.0.0.1/",
        "http:///127.0.0.1/",
        "http:\\\\127.0.0.1\\",
        "ht\ntp://127.0.0.1/",
    ];
    for text in written {
        assert!(is_refused(refused(&outbound, text).await), "{text}");
    }
    // A zone, a broken literal, a number that is too large, an empty host: no URLs at all.
    for text in ["http://[fe80::1%25eth0]/", "http://[::1", "http://4294967296/", "http://256.1.1.1/", "http:///"] {
        assert!(text.parse::<Url>().is_err(), "{text} was read");
    }
    assert_eq!((dial.asked(), dial.attempts()), (Vec::new(), Vec::new()));
}

#[tokio::test]
async fn only_urls_of_the_web_with_tls_and_without_credentials_are_sent_to_for_a_customer() {
    let dial = ScriptedDial::new();
    let strict = Outbound::over(AddressPolicy::default(), dial.clone());
    for (url, refusal) in [
        ("http://hooks.example/", Refusal::PlainText),
        ("ws://hooks.example/", Refusal::PlainText),
        ("https://user@hooks.example/", Refusal::Credentials),
        ("https://:password@hooks.example/", Refusal::Credentials),
        ("https://hooks.example@127.0.0.1/", Refusal::Credentials),
        ("ftp://hooks.example/", Refusal::NotWeb),
        ("file:///etc/passwd", Refusal::NotWeb),
        ("gopher://hooks.example/", Refusal::NotWeb),
        ("data:text/plain,x", Refusal::NotWeb),
    ] {
        assert_eq!(refused(&strict, url).await, FailureKind::BadUrl(refusal), "{url}");
    }
    assert_eq!((dial.asked(), dial.attempts()), (Vec::new(), Vec::new()));
}

#[tokio::test]
async fn one_forbidden_address_among_the_answers_refuses_them_all() {
    let dial = ScriptedDial::new();
    let outbound = Outbound::over(plain(), dial.clone());
    for mixed in [["93.184.215.14", "127.0.0.1"], ["10.0.0.1", "93.184.215.14"], ["2606:4700::1111", "fd00::1"]] {
        dial.name("mixed.example", [Said::addresses(&mixed)]);
        assert!(is_refused(refused(&outbound, "http://mixed.example/").await), "{mixed:?}");
    }
    let mut many = vec!["93.184.215.14"; 100];
    many.push("169.254.169.254");
    dial.name("mixed.example", [Said::addresses(&many)]);
    assert!(is_refused(refused(&outbound, "http://mixed.example/").await), "the last of many");
    assert_eq!(dial.attempts(), []);
}

#[tokio::test]
async fn a_name_that_leads_elsewhere_at_its_second_look_up_is_connected_to_where_it_was_judged() {
    let closing = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    let (server, _) = serve(move |_, stream| answer_all(stream, closing)).await;
    let (outbound, dial) = client_of(server);
    dial.name("flips.example", [Said::addresses(&["93.184.215.14"]), Said::addresses(&["127.0.0.1"])]);
    let answer = outbound.exchange(&hook("http://flips.example/")).await.expect("the judged address answers");
    assert_eq!((answer.status.as_u16(), answer.peer), (200, public()));
    assert_eq!(dial.asked().len(), 1, "the name was looked up again between judging and connecting");
    assert!(is_refused(refused(&outbound, "http://flips.example/").await));
    assert_eq!(dial.attempts(), [public()]);
}

#[tokio::test]
async fn whoever_answers_from_another_address_gets_no_byte() {
    let (server, _) = serve(|_, stream| answer_all(stream, OK)).await;
    let dial = ScriptedDial::new();
    dial.misroute(public(), server);
    let outbound = Outbound::over(plain(), dial.clone());
    let failure = outbound.exchange(&hook(&format!("http://{PUBLIC}/"))).await.expect_err("another one answered");
    assert_eq!(failure.kind, FailureKind::RefusedAddress(Refusal::OtherPeer));
    assert!(!failure.bytes_written);
}

#[tokio::test]
async fn a_redirect_to_the_metadata_service_is_told_and_not_followed() {
    for status in [301, 302, 303, 307, 308] {
        let (server, _) = serve(move |_, mut stream| async move {
            read(&mut stream).await;
            let head =
                format!("HTTP/1.1 {status} Go\r\nLocation: http://169.254.169.254/latest\r\nContent-Length: 0\r\n\r\n");
            stream.write_all(head.as_bytes()).await.unwrap();
        })
        .await;
        let (outbound, dial) = client_of(server);
        let answer = outbound.exchange(&hook(&format!("http://{PUBLIC}/"))).await.expect("a redirect is an answer");
        assert_eq!(answer.status.as_u16(), status);
        assert_eq!(dial.attempts(), [public()], "a redirect was followed");
    }
}

#[tokio::test]
async fn the_operator_opens_networks_and_pulse_outbound_only_closes_them_again() {
    let dial = ScriptedDial::new();
    let net = |text: &str| text.parse::<ipnet::IpNet>().unwrap();
    let opened = AddressPolicy::default().tenants([net("10.0.0.0/8"), net("::1/128")], true);
    let outbound = Outbound::over(opened.clone(), dial.clone());
    for inside in ["http://10.1.2.3/", "http://[::1]/", "http://[::ffff:10.0.0.1]/"] {
        assert_eq!(refused(&outbound, inside).await, FailureKind::Connect, "{inside}");
    }
    for outside in ["http://127.0.0.1/", "http://192.168.0.1/", "http://[::2]/"] {
        assert!(is_refused(refused(&outbound, outside).await), "{outside}");
    }
    let opened = AddressPolicy { only: Some(Arc::new([net("127.0.0.0/8")])), ..opened };
    let shut = Outbound::over(opened, dial.clone());
    let before = dial.attempts().len();
    dial.name("hooks.example", [Said::addresses(&["10.0.0.1"])]);
    for url in ["http://10.1.2.3/", "http://93.184.215.14/", "http://hooks.example/"] {
        for trust in [Trust::Tenant, Trust::Operator] {
            let failure = shut.exchange(&impatient(url).trust(trust)).await.expect_err(url);
            assert_eq!(failure.kind, FailureKind::RefusedAddress(Refusal::OutsideOnly), "{url} for {trust:?}");
        }
    }
    assert_eq!(dial.attempts().len(), before, "a connection outside of PULSE_OUTBOUND_ONLY was tried");
}

#[tokio::test]
async fn the_operators_own_addresses_may_be_anywhere() {
    let dial = ScriptedDial::new();
    let outbound = Outbound::over(AddressPolicy::default(), dial.clone());
    for url in ["http://10.0.0.1/", "http://127.0.0.1/", "http://localhost/", "ws://[fd00::1]/"] {
        dial.name("localhost", [Said::addresses(&["127.0.0.1"])]);
        let failure = outbound.exchange(&impatient(url).trust(Trust::Operator)).await.expect_err(url);
        assert_eq!(failure.kind, FailureKind::Connect, "{url}");
    }
}

#[tokio::test]
async fn what_a_name_server_says_is_told_apart_and_one_that_says_nothing_is_not_waited_for() {
    let dial = ScriptedDial::new();
    let outbound = Outbound::over(plain(), dial.clone());
    for (said, why) in [
        (Said::NoSuchName, Unresolved::NoSuchName),
        (Said::Addresses(Vec::new()), Unresolved::NoSuchName),
        (Said::Failed, Unresolved::ServerFailed),
        (Said::Nothing, Unresolved::TimedOut),
    ] {
        dial.name("hooks.example", [said]);
        assert_eq!(refused(&outbound, "http://hooks.example/").await, FailureKind::Resolve(why));
    }
}

#[tokio::test]
async fn under_pulse_outbound_only_no_name_server_is_asked() {
    let dial = SystemDial::new(true);
    for trust in [Trust::Operator, Trust::Tenant] {
        let loopback = dial.resolve("localhost", trust).await.expect("it is in the hosts file, or known");
        assert!(loopback.iter().all(IpAddr::is_loopback), "{loopback:?}");
        assert_eq!(dial.resolve("hooks.example", trust).await, Err(Unresolved::NoSuchName));
    }
    assert_eq!(
        SystemDial::new(false).resolve("a.localhost.", Trust::Tenant).await,
        Ok(vec![Ipv4Addr::LOCALHOST.into()]),
        "what is under localhost is this machine, and no name server is asked"
    );
}

proptest! {
    #[test]
    fn no_address_that_the_standard_library_knows_as_special_passes(bits in any::<u32>(), wide in any::<u128>()) {
        let v4 = Ipv4Addr::from(bits);
        let is_special = v4.is_private() || v4.is_loopback() || v4.is_link_local() || v4.is_broadcast()
            || v4.is_documentation() || v4.is_unspecified() || v4.is_multicast();
        prop_assert!(!is_special || special(v4.into()).is_some(), "{v4}");
        for wrapped in [v4.to_ipv6_mapped(), v4.to_ipv6_compatible()] {
            prop_assert!(special(wrapped.into()).is_some(), "{wrapped}");
        }
        let nat64 = Ipv6Addr::from((0x64_FF9B_u128 << 96) | u128::from(bits));
        prop_assert_eq!(special(nat64.into()).is_some(), special(v4.into()).is_some(), "{}", nat64);
        let v6 = Ipv6Addr::from(wide);
        let is_special = v6.is_loopback() || v6.is_unspecified() || v6.is_multicast() || v6.is_unique_local()
            || v6.is_unicast_link_local() || v6.to_ipv4_mapped().is_some();
        prop_assert!(!is_special || special(v6.into()).is_some(), "{v6}");
    }
}
