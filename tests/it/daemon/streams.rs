//! Streams of events over HTTP: server-sent events, how they end, and who may read them.

use std::time::Duration;

use http::Request;
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use pulse_tests::{
    daemon::{Client, Daemon, DaemonOptions},
    process::Signal,
    temporary_folder,
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

/// The bound of everything that is awaited.
const SOON: Duration = Duration::from_secs(20);

/// A stream that is read.
pub(crate) struct Stream {
    response: reqwest::Response,
    text: String,
}

/// One frame: its fields by name.
#[derive(Debug, Default)]
pub(crate) struct Frame {
    pub(crate) id: Option<String>,
    pub(crate) event: Option<String>,
    pub(crate) data: Option<Value>,
}

impl Stream {
    async fn open(client: &Client, query: &str, last: Option<&str>) -> Self {
        Self::try_open(client, query, last).await.expect("an answer")
    }

    /// Opens one; `None` when nobody answers.
    pub(crate) async fn try_open(client: &Client, query: &str, last: Option<&str>) -> Option<Self> {
        let mut request = client.request("GET", &format!("/v1/events/stream{query}")).timeout(Duration::from_secs(600));
        if let Some(last) = last {
            request = request.header("last-event-id", last);
        }
        let response = request.send().await.ok()?;
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream; charset=utf-8");
        assert_eq!(response.headers()["cache-control"], "no-store");
        Some(Self { response, text: String::new() })
    }

    /// The next frame that is no comment; `None` at the end.
    async fn next(&mut self) -> Option<Frame> {
        tokio::time::timeout(SOON, self.try_next()).await.expect("something in time")
    }

    /// The same, however long it takes; `None` also when the connection breaks. What was read is kept when this is dropped.
    pub(crate) async fn try_next(&mut self) -> Option<Frame> {
        loop {
            while let Some((frame, rest)) = self.text.split_once("\n\n") {
                let (frame, rest) = (frame.to_owned(), rest.to_owned());
                self.text = rest;
                let mut read = Frame::default();
                for line in frame.lines() {
                    match line.split_once(": ") {
                        Some(("id", id)) => read.id = Some(id.to_owned()),
                        Some(("event", event)) => read.event = Some(event.to_owned()),
                        Some(("data", data)) => read.data = Some(serde_json::from_str(data).expect("JSON")),
                        Some(("retry", _)) => {}
                        _ => assert_eq!(line, ":", "neither a field nor a comment"),
                    }
                }
                if read.id.is_some() || read.data.is_some() {
                    return Some(read);
                }
            }
            let chunk = self.response.chunk().await.ok()??;
            self.text.push_str(std::str::from_utf8(&chunk).expect("UTF-8"));
        }
    }

    /// The next event of the project: its id and its room.
    async fn room(&mut self) -> (String, String) {
        loop {
            let frame = self.next().await.expect("not the end");
            if let (Some(id), None, Some(data)) = (frame.id, frame.event, frame.data) {
                assert_eq!(data["id"], json!(id));
                return (id, data["room"].as_str().expect("a room").to_owned());
            }
        }
    }

    /// The code with which it ends.
    async fn ends(&mut self) -> String {
        let mut code = None;
        while let Some(frame) = self.next().await {
            if frame.event.as_deref() == Some("end") {
                code = Some(frame.data.expect("data")["code"].as_str().expect("a code").to_owned());
            }
        }
        code.expect("the stream ends with a word")
    }
}

async fn trigger(client: &Client, room: &str) {
    let body = json!({ "type": "room_started", "room": room });
    assert_eq!(client.post("/v1/events/trigger", &body).await.status, 201);
}

/// A daemon with a project, whose key calls.
async fn with_project(options: DaemonOptions) -> (Daemon, Client, Value) {
    let daemon = Daemon::start(options).await;
    let made = daemon.client().project("Enterprise").await;
    let client = daemon.client().with_token(made["pulse_api_secret"].as_str().expect("a secret"));
    (daemon, client, made)
}

#[tokio::test]
async fn events_come_as_they_happen_over_both_versions_of_http() {
    let (_daemon, client, _) = with_project(DaemonOptions::new()).await;
    trigger(&client, "before").await;
    for (client, n) in [(client.clone(), 1), (client.over_http_2(), 2)] {
        let mut all = Stream::open(&client, "", None).await;
        let mut some = Stream::open(&client, &format!("?room=b{n}&type=room_*"), None).await;
        trigger(&client, &format!("a{n}")).await;
        trigger(&client, &format!("b{n}")).await;
        assert_eq!(all.room().await.1, format!("a{n}"));
        let (id, room) = all.room().await;
        assert_eq!((some.room().await, room), ((id, format!("b{n}")), format!("b{n}")));
    }
}

#[tokio::test]
async fn a_stream_goes_on_where_it_was_after_a_restart_also_before_its_first_event() {
    let folder = temporary_folder("stream");
    let options = DaemonOptions::new();
    let daemon = Daemon::start_in(folder.path(), options.clone()).await;
    let made = daemon.client().project("Enterprise").await;
    let secret = made["pulse_api_secret"].as_str().expect("a secret").to_owned();
    let client = daemon.client().with_token(&secret);
    let mut read = Stream::open(&client, "", None).await;
    let mut unread = Stream::open(&client, "", None).await;
    trigger(&client, "one").await;
    let (last, _) = read.room().await;
    let position = unread.next().await.expect("a frame").id.expect("where it begins");
    daemon.process.signal(Signal::TERM);
    assert_eq!(read.ends().await, "stopping");
    assert_eq!(daemon.process.exited(Duration::from_secs(8)).await.code(), Some(0), "streams do not hold it up");

    let daemon = Daemon::start_in(folder.path(), options).await;
    let client = daemon.client().with_token(&secret);
    trigger(&client, "two").await;
    for last in [last, position] {
        let mut again = Stream::open(&client, "", Some(&last)).await;
        let rooms = [again.room().await.1, again.room().await.1];
        assert_eq!(rooms, ["one", "two"], "at least once, and nothing is left out");
    }
}

#[tokio::test]
async fn a_stream_ends_when_its_reader_may_not_read_any_more() {
    let (daemon, client, made) = with_project(DaemonOptions::new()).await;
    let project = made["id"].as_str().expect("an id");
    let operator = daemon.client();
    for n in 0..250 {
        trigger(&client, &format!("before{n}")).await;
    }
    let mut behind = Stream::open(&client, "?from=2020-01-01T00:00:00Z", None).await;
    assert_eq!(behind.next().await.expect("a frame").event.as_deref(), Some("gap"), "so old ones are not kept");
    let mut of_key = Stream::open(&client, "", None).await;
    let mut of_operator = Stream::open(&operator, &format!("?project_id={project}"), None).await;
    trigger(&client, "one").await;
    assert_eq!((of_key.room().await.1.as_str(), of_operator.room().await.1.as_str()), ("one", "one"));
    let keys = operator.get(&format!("/v1/projects/{project}/keys")).await.json();
    let key = keys["data"][0]["id"].as_str().expect("an id");
    let revoke = operator.request("DELETE", &format!("/v1/projects/{project}/keys/{key}?force=true"));
    assert_eq!(operator.send(revoke).await.status, 200);
    assert_eq!(of_key.ends().await, "unauthenticated");
    assert_eq!(behind.ends().await, "unauthenticated", "also for who is not done with what was before");
    let body = json!({ "type": "room_started", "room": "two", "project_id": project });
    assert_eq!(operator.post("/v1/events/trigger", &body).await.status, 201);
    assert_eq!(of_operator.room().await.1, "two", "others read on");
}

#[tokio::test]
async fn who_may_not_watch_is_told_so_and_no_stream_begins() {
    let (daemon, client, made) = with_project(DaemonOptions::new().env("PULSE_MAX_STREAMS", "4")).await;
    let project = made["id"].as_str().expect("an id");
    let operator = daemon.client();
    let path = "/v1/events/stream";
    assert_eq!(client.send(client.bare("GET", path)).await.status, 401);
    let bad = client.send(client.request("GET", path).header("last-event-id", "yesterday")).await;
    assert_eq!((bad.status, bad.json()["errors"][0]["field"].clone()), (422, json!("Last-Event-ID")));
    assert_eq!(client.get("/v1/events/stream?rooms=x").await.status, 422);
    assert_eq!(operator.get(path).await.status, 422, "the operator says of which project");
    let body = json!({ "name": "narrow", "scopes": ["tokens:mint"] });
    let narrow = operator.post(&format!("/v1/projects/{project}/keys"), &body).await.json();
    let narrow = operator.with_token(narrow["pulse_api_secret"].as_str().expect("a secret"));
    assert_eq!(narrow.get(path).await.status, 403);
    let refused = r#"pulse_requests_total{operation="events.stream",status="401"}"#;
    let metrics = operator.get("/metrics").await.text;
    assert!(metrics.contains(refused), "{metrics}");
    let held = Stream::open(&client, "", None).await;
    let full = client.get(path).await;
    assert_eq!((full.status, full.code().as_str(), full.header("retry-after")), (503, "overloaded", "5"));
    let metrics = operator.get("/metrics").await.text;
    for status in ["200", "503"] {
        let counted = format!("pulse_requests_total{{operation=\"events.stream\",status=\"{status}\"}} 1\n");
        assert!(metrics.contains(&counted), "{metrics}");
    }
    drop(held);
}

/// A connection on which nothing is asked, from its first answer until the server closes it: the time that it tells is the
/// bound of idle connections.
async fn one_idle_span(daemon: &Daemon) {
    let mut idle = TcpStream::connect(daemon.address()).await.expect("connects");
    idle.write_all(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n").await.expect("asks");
    let mut text = Vec::new();
    tokio::time::timeout(SOON, idle.read_to_end(&mut text)).await.expect("it is closed").expect("in order");
    assert!(text.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&text));
}

/// Reads until this text has come.
async fn until<B: hyper::body::Body<Data = bytes::Bytes, Error: std::fmt::Debug> + Unpin>(body: &mut B, text: &str) {
    let mut read = String::new();
    while !read.contains(text) {
        let frame = tokio::time::timeout(SOON, body.frame()).await.expect("something in time");
        let frame = frame.unwrap_or_else(|| panic!("the end, after {read}")).expect("no fault");
        read += std::str::from_utf8(&frame.into_data().expect("data")).expect("UTF-8");
    }
}

#[tokio::test]
async fn a_quiet_stream_keeps_its_connection_longer_than_an_idle_one_is_kept() {
    let (daemon, client, made) = with_project(DaemonOptions::new().env("PULSE_IDLE_TIMEOUT", "1")).await;
    let secret = made["pulse_api_secret"].as_str().expect("a secret");
    let request = |path: &str| {
        let request = Request::get(format!("{}{path}", daemon.url)).header("host", daemon.address());
        let request = request.header("authorization", format!("Bearer {secret}"));
        request.body(Empty::<bytes::Bytes>::new()).expect("a request")
    };
    let connect = async || TokioIo::new(TcpStream::connect(daemon.address()).await.expect("connects"));
    let (mut one, driver) = http1::handshake(connect().await).await.expect("HTTP/1.1");
    tokio::spawn(driver);
    let (mut many, driver) = http2::handshake(TokioExecutor::new(), connect().await).await.expect("HTTP/2");
    tokio::spawn(driver);
    let mut of_one = one.send_request(request("/v1/events/stream")).await.expect("a stream").into_body();
    let mut of_many = many.send_request(request("/v1/events/stream")).await.expect("a stream").into_body();
    for _ in 0..2 {
        one_idle_span(&daemon).await;
    }
    let beside = many.send_request(request("/health")).await.expect("the connection takes more requests");
    assert_eq!(beside.status(), 200);
    trigger(&client, "after").await;
    until(&mut of_one, "\"room\":\"after\"").await;
    until(&mut of_many, "\"room\":\"after\"").await;
    // Without the stream, it is as idle as any other.
    drop(of_many);
    let ended = async {
        while many.ready().await.is_ok() {
            one_idle_span(&daemon).await;
        }
    };
    tokio::time::timeout(SOON, ended).await.expect("an idle connection is closed");
}
