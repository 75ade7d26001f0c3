//! Limits: of time, of size, of rate.

use std::time::Duration;

use pulse_tests::daemon::{Daemon, DaemonOptions};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

async fn to_the_end(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut bytes)).await;
    assert!(read.is_ok(), "the connection stays open: {}", String::from_utf8_lossy(&bytes));
    String::from_utf8_lossy(&bytes).into_owned()
}

#[tokio::test]
async fn slow_headers_and_slow_bodies_are_not_waited_for() {
    let options = DaemonOptions::new().env("PULSE_HEADER_TIMEOUT", "1").env("PULSE_BODY_TIMEOUT", "1");
    let daemon = Daemon::start(options).await;
    let mut slow = TcpStream::connect(daemon.address()).await.unwrap();
    slow.write_all(b"GET /health HTTP/1.1\r\nHost: x\r\nX-Slow: ").await.unwrap();
    let answer = to_the_end(&mut slow).await;
    assert!(answer.is_empty() || answer.contains("408"), "{answer}");

    let mut slow = TcpStream::connect(daemon.address()).await.unwrap();
    let head = format!(
        "POST /v1/organizations HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{{",
        daemon.admin_token
    );
    slow.write_all(head.as_bytes()).await.unwrap();
    let answer = to_the_end(&mut slow).await;
    assert!(answer.starts_with("HTTP/1.1 408") && answer.contains("request_timeout"), "{answer}");
}

#[tokio::test]
async fn headers_beyond_16_kib_are_431() {
    let daemon = Daemon::start(DaemonOptions::new()).await;
    let client = daemon.client();
    let answer = client.send(client.request("GET", "/v1/organizations").header("x-big", "x".repeat(17_000))).await;
    assert_eq!((answer.status, answer.code().as_str()), (431, "headers_too_large"));
}

#[tokio::test]
async fn the_limit_of_a_plan_is_told_and_kept() {
    let daemon = Daemon::start(DaemonOptions::new()).await;
    let client = daemon.client();
    let project = client.project("Free").await;
    let secret = project["pulse_api_secret"].as_str().unwrap();
    let mut passed = 0;
    let refused = loop {
        let answer = client.send(client.bare("GET", "/v1/me").bearer_auth(secret)).await;
        assert_eq!(answer.header("ratelimit-policy"), "\"default\";q=100;w=60");
        if answer.status == 429 {
            break answer;
        }
        assert!(answer.status == 200 && answer.header("ratelimit").starts_with("\"default\";r="), "{answer:?}");
        passed += 1;
        // What comes back in the meantime is one request in 0.6 seconds.
        assert!(passed < 200, "no limit after {passed} requests");
    };
    assert!(passed >= 100, "refused after {passed} requests");
    assert!(refused.header("retry-after").parse::<u64>().unwrap() >= 1, "{refused:?}");
    assert!(refused.header("ratelimit").starts_with("\"default\";r=0;"), "{refused:?}");
    assert_eq!(client.get("/v1/organizations").await.status, 200, "the operator has no limit");
    assert_eq!(client.send(client.bare("GET", "/health")).await.header("ratelimit"), "");
}

#[tokio::test]
async fn refused_requests_cost_as_much_as_others() {
    let daemon = Daemon::start(DaemonOptions::new()).await;
    let client = daemon.client();
    let project = client.project("Free").await;
    let secret = project["pulse_api_secret"].as_str().unwrap();
    let requests = [
        ("GET", "/v1/organizations", ""),
        ("GET", "/v1/projects/prj_01J00000000000000000000000", ""),
        ("POST", "/v1/tokens/create", "{"),
        ("POST", "/v1/tokens/create", "{}"),
        ("POST", "/v1/tokens/revoke?dry_run=maybe", "{}"),
    ];
    for (spent, (method, path, body)) in (1_u32..).zip(requests) {
        let request = client.bare(method, path).bearer_auth(secret).header("content-type", "application/json");
        let answer = client.send(request.body(body)).await;
        assert!((400..429).contains(&answer.status), "{method} {path}: {answer:?}");
        let left = answer.header("ratelimit").split(['=', ';']).nth(2).and_then(|text| text.parse::<u32>().ok());
        // One comes back every 0.6 seconds.
        let expected = 100 - spent..=100 - spent + 3;
        assert!(left.is_some_and(|left| left <= 99 && expected.contains(&left)), "{method} {path}: {answer:?}");
    }
}

#[tokio::test]
async fn garbage_keys_do_not_become_load_of_the_store() {
    let daemon = Daemon::start(DaemonOptions::new()).await;
    let client = daemon.client();
    let (mut refused, mut limited) = (0, 0);
    for number in 0..400 {
        // Well-formed, with the right checksum, and unknown.
        let entropy = pulse_core::entropy::SeededEntropy::new(number);
        let secret = pulse_core::access::key::generate(pulse_core::access::key::Environment::Live, &entropy).secret;
        match client.send(client.bare("GET", "/v1/me").bearer_auth(secret.expose())).await.status {
            401 => refused += 1,
            429 => limited += 1,
            status => panic!("a garbage key was answered {status}"),
        }
    }
    assert!(limited >= 200, "{refused} were looked at, {limited} were turned away");
    let metrics = client.get("/metrics").await.text;
    let misses = metrics.lines().find_map(|line| line.strip_prefix("pulse_key_lookups_total{result=\"miss\"} "));
    let misses: u64 = misses.expect("the series is there").parse().expect("a number");
    assert!(misses <= 130, "{misses} look-ups reached the store");
}
