//! Limits: of time, of size, of rate.

use std::time::Duration;

use pulse_core::{
    access::key::{self, Environment},
    entropy::SeededEntropy,
    secret::Secret,
    time::{Clock as _, SystemClock},
};
use pulse_tests::{
    daemon::{Answered, Daemon, DaemonOptions},
    livekit_sender::{ApiKey, CONTENT_TYPE},
};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use super::{ACME, under_way, under_way_over_http_2};

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

    let (status, answer) = under_way_over_http_2(&daemon).await.answered().await;
    assert!(status == 408 && answer.contains("request_timeout"), "over HTTP/2: {status} {answer}");
}

#[tokio::test]
async fn a_webhook_of_livekit_that_does_not_arrive_in_time_is_to_be_sent_again() {
    let daemon = Daemon::start(DaemonOptions::new()).await;
    let began = tokio::time::Instant::now();
    let mut slow = TcpStream::connect(daemon.address()).await.unwrap();
    let head = "POST /v1/webhooks/livekit HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{";
    slow.write_all(head.as_bytes()).await.unwrap();
    let answer = to_the_end(&mut slow).await.to_lowercase();
    // A 4xx would be taken for delivered, and after five seconds nobody waits for the answer.
    assert!(answer.starts_with("http/1.1 503") && answer.contains("retry-after: 5\r\n"), "{answer}");
    assert!(began.elapsed() < Duration::from_secs(5), "answered after {:?}", began.elapsed());
}

#[tokio::test]
async fn what_is_no_event_of_livekit_is_refused_at_its_door_and_counted() {
    let (key, secret) = ("devkey", "a-secret-of-livekit-0123456789abcdef");
    let options = DaemonOptions::new().env("LIVEKIT_API_KEY", key).env("LIVEKIT_API_SECRET", secret);
    let daemon = Daemon::start(options).await;
    let (client, key) = (daemon.client(), ApiKey::new(key, secret));
    let (now, event) = (SystemClock::new().now(), br#"{"event":"room_started","id":"EV_1"}"#.to_vec());
    let long_ago = now.minus(Duration::from_secs(3_600));
    // What came, when it was signed, the answer, and how it is counted.
    let cases = [
        ("nothing", Vec::new(), now, 400, "bad_request"),
        ("garbage", b"\xff\x00{[".to_vec(), now, 400, "bad_request"),
        ("another thing", b"[1]".to_vec(), now, 400, "bad_request"),
        ("deep nesting", br#"{"room":"#.repeat(5_000), now, 400, "bad_request"),
        ("2 MiB", vec![b' '; 2 << 20], now, 413, "body_too_large"),
        ("an old one", event, long_ago, 401, "unauthenticated"),
    ];
    for (name, body, signed_at, status, code) in cases {
        let series = format!("pulse_livekit_webhooks_total{{door=\"server\",result=\"{code}\"}}");
        let before = client.series(&series).await;
        let authorization = key.authorization(&body, signed_at);
        let post = client.bare("POST", "/v1/webhooks/livekit").header("authorization", authorization);
        let answer = client.send(post.header("content-type", CONTENT_TYPE).body(body)).await;
        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{name}: {}", answer.text);
        let counted = client.series(&series).await - before;
        assert!((counted - 1.0).abs() < 0.1, "{name} was counted {counted} times");
    }
}

/// Asks for `/health` on a connection that stays open, and reads the answer.
async fn ask(stream: &mut TcpStream) {
    stream.write_all(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let mut bytes = Vec::new();
    while !bytes.windows(4).any(|end| end == b"\r\n\r\n") || !bytes.ends_with(b"}") {
        let read = tokio::time::timeout(Duration::from_secs(10), stream.read_buf(&mut bytes)).await;
        let read = read.expect("an answer comes").unwrap();
        assert!(read > 0, "the connection was closed: {}", String::from_utf8_lossy(&bytes));
    }
    assert!(bytes.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&bytes));
}

#[tokio::test]
async fn an_idle_connection_is_kept_longer_than_slow_headers_and_not_for_ever() {
    let options = DaemonOptions::new().env("PULSE_HEADER_TIMEOUT", "1").env("PULSE_IDLE_TIMEOUT", "4");
    let daemon = Daemon::start(options).await;
    let mut kept = TcpStream::connect(daemon.address()).await.unwrap();
    ask(&mut kept).await;
    // Beyond the bound of headers: a connection that sends nothing at all from its start is what tells the time.
    let mut silent = TcpStream::connect(daemon.address()).await.unwrap();
    assert_eq!(to_the_end(&mut silent).await, "", "a new connection without a request");
    let mut slow = TcpStream::connect(daemon.address()).await.unwrap();
    ask(&mut slow).await;
    slow.write_all(b"GET /health HTT").await.unwrap();
    to_the_end(&mut slow).await;
    ask(&mut kept).await;
    let began = tokio::time::Instant::now();
    assert_eq!(to_the_end(&mut kept).await, "");
    let idle = began.elapsed();
    assert!(idle > Duration::from_millis(3_500), "closed after {idle:?}");
}

#[tokio::test]
async fn headers_beyond_16_kib_are_431() {
    let daemon = Daemon::start(DaemonOptions::new()).await;
    for (client, version) in
        [(daemon.client(), reqwest::Version::HTTP_11), (daemon.client().over_http_2(), reqwest::Version::HTTP_2)]
    {
        let one = client.send(client.request("GET", "/v1/organizations").header("x-big", "x".repeat(17_000))).await;
        assert_eq!((one.version, one.status, one.code().as_str()), (version, 431, "headers_too_large"));
        // Many small ones are as large together.
        let many = (0..60).fold(client.request("GET", "/v1/organizations"), |request, number| {
            request.header(format!("x-small-{number}"), "x".repeat(300))
        });
        let many = client.send(many).await;
        assert_eq!((many.version, many.status, many.code().as_str()), (version, 431, "headers_too_large"));
        assert_eq!(client.get("/v1/organizations").await.status, 200, "the next request is answered");
    }
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
async fn strangers_behind_one_address_share_a_limit_and_probes_have_none() {
    let daemon = Daemon::start(DaemonOptions::new()).await;
    let client = daemon.client();
    let mut passed = 0;
    let refused = loop {
        let answer = client.send(client.bare("GET", "/v1/status")).await;
        assert_eq!(answer.header("ratelimit-policy"), "\"default\";q=100;w=60", "{answer:?}");
        if answer.status == 429 {
            break answer;
        }
        passed += 1;
        assert!(answer.status == 200 && passed < 200, "request {passed}: {answer:?}");
    };
    assert!(passed >= 100, "refused after {passed} requests");
    assert!(refused.header("retry-after").parse::<u64>().is_ok_and(|seconds| seconds > 0), "{refused:?}");
    for path in ["/health", "/ready", "/openapi.json"] {
        let answer = client.send(client.bare("GET", path)).await;
        assert_eq!((answer.status, answer.header("ratelimit")), (200, ""), "{path}");
    }
    assert_eq!(client.get("/v1/status").await.status, 200, "the operator has no limit");
}

/// Holds an answer to what it says is left of a limit of which so many requests were spent.
fn assert_paid(answer: &Answered, spent: u32) {
    let left = answer.header("ratelimit").split(['=', ';']).nth(2).and_then(|text| text.parse::<u32>().ok());
    // One comes back every 0.6 seconds.
    let expected = 100 - spent..=100 - spent + 3;
    assert!(left.is_some_and(|left| left <= 99 && expected.contains(&left)), "after {spent}: {answer:?}");
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
        assert_paid(&answer, spent);
    }
}

#[tokio::test]
async fn a_key_that_is_known_and_refused_is_paid_for_by_its_address() {
    let daemon = Daemon::start(DaemonOptions::new()).await;
    let client = daemon.client();
    // A plan without limits: what is told and kept here is the address's.
    let project = client.project("Enterprise").await;
    let path = format!("/v1/projects/{}", project["id"].as_str().unwrap());
    let office = json!({ "name": "office", "networks": ["10.1.0.0/16"] });
    let office = client.post(&format!("{path}/keys"), &office).await.json();
    let ask = async |key: &serde_json::Value| {
        let secret = key["pulse_api_secret"].as_str().unwrap();
        client.send(client.bare("GET", "/v1/me").bearer_auth(secret)).await
    };
    assert_eq!(ask(&project).await.header("ratelimit"), "", "a key that works has no limit in this plan");
    let answer = ask(&office).await;
    assert_eq!((answer.status, answer.code().as_str()), (403, "forbidden"), "from another network");
    assert_paid(&answer, 1);
    let suspended = client.post(&format!("{path}/suspend"), &json!({ "reason": "a test" })).await;
    assert_eq!(suspended.status, 200, "{}", suspended.text);
    let answer = ask(&project).await;
    assert_eq!((answer.status, answer.code().as_str()), (403, "project_suspended"));
    assert_paid(&answer, 2);
    let mut asked = 2;
    let limited = loop {
        let answer = ask(&project).await;
        asked += 1;
        if answer.status == 429 {
            break answer;
        }
        // What comes back in the meantime is one request in 0.6 seconds.
        assert!(answer.status == 403 && asked < 200, "request {asked}: {answer:?}");
    };
    assert!(asked > 100, "refused after {asked} requests");
    assert!(limited.header("retry-after").parse::<u64>().is_ok_and(|seconds| seconds > 0), "{limited:?}");
    assert_eq!(client.get("/v1/me").await.status, 200, "the operator has no limit");
}

/// A secret that is well-formed, with the right checksum, and unknown.
fn garbage(number: u64) -> Secret {
    key::generate(Environment::Live, &SeededEntropy::new(number)).secret
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_thousand_garbage_keys_do_not_become_load_of_the_store_and_a_key_in_use_goes_on() {
    const SENDERS: u64 = 32;
    const EACH: u64 = 157;
    let daemon = Daemon::start(DaemonOptions::new()).await;
    let client = daemon.client();
    let project = client.project("Enterprise").await;
    let secret = project["pulse_api_secret"].as_str().unwrap();
    let works = async || client.send(client.bare("GET", "/v1/me").bearer_auth(secret)).await.status;
    assert_eq!(works().await, 200);
    let senders = (0..SENDERS).map(|sender| {
        let client = client.clone();
        tokio::spawn(async move {
            let (mut refused, mut limited) = (0_u64, 0_u64);
            for number in sender * EACH..(sender + 1) * EACH {
                match client.send(client.bare("GET", "/v1/me").bearer_auth(garbage(number).expose())).await.status {
                    401 => refused += 1,
                    429 => limited += 1,
                    status => panic!("a garbage key was answered {status}"),
                }
            }
            (refused, limited)
        })
    });
    let (mut refused, mut limited) = (0, 0);
    for sender in senders.collect::<Vec<_>>() {
        assert_eq!(works().await, 200, "a neighbour behind the same address suffers");
        let (some, others) = sender.await.unwrap();
        (refused, limited) = (refused + some, limited + others);
    }
    // An address has 100 failures a minute; the rest is what comes back while the test runs.
    assert!(refused <= 150, "{refused} of {} were looked at, {limited} turned away", SENDERS * EACH);
    let metrics = client.get("/metrics").await.text;
    let misses = metrics.lines().find_map(|line| line.strip_prefix("pulse_key_lookups_total{result=\"miss\"} "));
    let misses: u64 = misses.expect("the series is there").parse().expect("a number");
    assert!(misses <= 150, "{misses} look-ups reached the store");
}

#[tokio::test]
async fn beyond_the_requests_at_once_clients_are_told_to_come_back_and_probes_are_answered() {
    let daemon = Daemon::start(DaemonOptions::new().env("PULSE_MAX_REQUESTS", "2")).await;
    let client = daemon.client();
    let mut first = under_way(&daemon).await;
    let second = under_way(&daemon).await;
    for _ in 0..3 {
        let refused = client.get("/v1/organizations").await;
        assert_eq!((refused.status, refused.code().as_str()), (503, "overloaded"), "{}", refused.text);
        assert!(refused.header("retry-after").parse::<u64>().is_ok_and(|seconds| seconds > 0), "{refused:?}");
        for probe in ["/health", "/ready"] {
            assert_eq!(client.get(probe).await.status, 200, "{probe} under load");
        }
    }
    first.write_all(ACME.as_bytes()).await.unwrap();
    let answer = to_the_end(&mut first).await;
    assert!(answer.starts_with("HTTP/1.1 201"), "a request that was let in is finished: {answer}");
    assert_eq!(client.get("/v1/organizations").await.status, 200, "its place is free again");
    // A client that goes away gives its place back as well, once the daemon has noticed.
    let third = under_way(&daemon).await;
    assert_eq!(client.get("/v1/organizations").await.status, 503);
    drop((second, third));
    let free = async || (client.get("/v1/organizations").await.status == 200).then_some(());
    daemon.process.until("the places are free again", Duration::from_secs(5), free).await;
}
