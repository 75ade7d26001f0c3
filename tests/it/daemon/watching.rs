//! Streams of events in the test's own process, whose time passes at once: beats, readers that take nothing, and callers who
//! may not read any more.

use std::{collections::BTreeMap, net::Ipv4Addr, sync::Arc, time::Duration};

use http::{Request, Response};
use http_body_util::{BodyExt as _, Empty};
use pulse_core::config::{Settings, SourceKind, Sources};
use pulse_tests::plane::{Customer, TestPlane, operator};
use pulsed::{http::App, server::Peer};
use serde_json::{Value, json};
use tokio::time::Instant;

/// The daemon's HTTP over a plane whose clock the test moves.
fn app(t: &TestPlane) -> Arc<App> {
    let values = BTreeMap::from([("PULSE_STORE".to_owned(), "memory:".to_owned())]);
    let settings = Settings::resolve(&Sources::new().with(SourceKind::Environment, values));
    let settings = settings.unwrap_or_else(|faults| panic!("{faults:?}"));
    App::new(Arc::clone(&t.pipeline), &settings)
}

/// A stream as its connection takes it.
struct Read<B> {
    body: B,
}

impl<B: hyper::body::Body<Data = bytes::Bytes> + Unpin> Read<B> {
    /// What the connection takes next; none at the end.
    async fn chunk(&mut self) -> Option<String> {
        let frame =
            tokio::time::timeout(Duration::from_secs(120), self.body.frame()).await.expect("something in time")?;
        let Ok(data) = frame.map_err(|_| ()).expect("no fault").into_data() else { panic!("trailers") };
        Some(String::from_utf8(data.to_vec()).expect("UTF-8"))
    }

    /// The code with which it ends, and what came before.
    async fn ends(&mut self) -> (String, String) {
        let mut before = String::new();
        while let Some(chunk) = self.chunk().await {
            if let Some((_, data)) = chunk.split_once("event: end\ndata: ") {
                let data: Value = serde_json::from_str(data.trim()).expect("JSON");
                assert_eq!(self.chunk().await, None, "nothing comes after the end");
                return (data["code"].as_str().expect("a code").to_owned(), before);
            }
            before += &chunk;
        }
        panic!("it ends without a word, after {before}");
    }
}

/// Opens a stream with a key's secret.
async fn open(app: &Arc<App>, secret: &str) -> Read<impl hyper::body::Body<Data = bytes::Bytes> + Unpin + use<>> {
    let request = Request::get("/v1/events/stream").header("authorization", format!("Bearer {secret}"));
    let peer = Peer { ip: Ipv4Addr::LOCALHOST.into(), tls: false };
    let request = request.body(Empty::<bytes::Bytes>::new()).expect("a request");
    let answer = pulsed::http::serve(Arc::clone(app), peer, request).await.unwrap_or_else(|never| match never {});
    let (head, body) = Response::into_parts(answer);
    assert_eq!(head.status, 200);
    let mut read = Read { body };
    assert!(read.chunk().await.expect("an opening").starts_with("retry: "));
    read
}

async fn trigger(t: &TestPlane, c: &Customer, room: &str) {
    let body = json!({ "type": "room_started", "room": room }).to_string();
    t.send(&c.caller, "events.trigger", &[], "", &body).await.expect("an event");
}

#[tokio::test(start_paused = true)]
async fn a_quiet_stream_says_every_fifteen_seconds_that_it_is_alive() {
    let t = TestPlane::new().await;
    let (c, app) = (t.customer("a").await, app(&t));
    let mut read = open(&app, &c.secret).await;
    let began = Instant::now();
    for beat in 1..=4_u32 {
        assert_eq!(read.chunk().await.as_deref(), Some(":\n\n"));
        let passed = began.elapsed();
        let expected = Duration::from_secs(15) * beat;
        assert!(passed <= expected && expected - passed < Duration::from_secs(2), "beat {beat} after {passed:?}");
    }
    trigger(&t, &c, "one").await;
    assert!(read.chunk().await.expect("an event").contains("\"room\":\"one\""));
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_takes_nothing_is_let_go_after_a_minute_and_its_place_is_free() {
    let t = TestPlane::new().await;
    let (c, app) = (t.customer("a").await, app(&t));
    let hub = &t.plane.parts().hub;
    let mut stalled = open(&app, &c.secret).await;
    let mut reading = open(&app, &c.secret).await;
    assert_eq!(hub.readers(), 2);
    let began = Instant::now();
    for n in 0..5 {
        trigger(&t, &c, &format!("room{n}")).await;
        assert!(reading.chunk().await.expect("an event").contains(&format!("room{n}")));
    }
    while hub.readers() == 2 {
        assert_eq!(reading.chunk().await.as_deref(), Some(":\n\n"), "who reads is not disturbed");
        assert!(began.elapsed() < Duration::from_secs(100), "the stalled one still has its place");
    }
    assert!(began.elapsed() >= Duration::from_secs(60), "after {:?}", began.elapsed());
    let mut rest = 0;
    while stalled.chunk().await.is_some() {
        rest += 1;
    }
    assert!(rest < 5, "its stream has ended, after what waited for it: {rest}");
    assert_eq!(hub.readers(), 1);
}

#[tokio::test(start_paused = true)]
async fn whatever_takes_the_right_to_read_ends_the_stream_with_its_reason_at_once() {
    let t = TestPlane::new().await;
    let app = app(&t);
    for (what, code) in [("suspend", "project_suspended"), ("delete", "unauthenticated"), ("expire", "unauthenticated")]
    {
        let c = t.customer(what).await;
        let id = c.id().to_string();
        let project = [("id", id.as_str())];
        let ends = t.plane.parts().clock.now().plus(Duration::from_secs(300));
        let key = json!({ "name": "short", "expires_at": ends }).to_string();
        let key = t.send(&operator(), "keys.create", &project, "", &key).await.expect("a key");
        let mut read = open(&app, key["pulse_api_secret"].as_str().expect("a secret")).await;
        trigger(&t, &c, "one").await;
        assert!(read.chunk().await.expect("an event").contains("\"room\":\"one\""));
        let began = Instant::now();
        match what {
            "suspend" => {
                let reason = json!({ "reason": "unpaid" }).to_string();
                t.send(&operator(), "projects.suspend", &project, "", &reason).await.expect("suspended");
            }
            "delete" => {
                t.send(&operator(), "projects.delete", &project, "", "").await.expect("deleted");
            }
            _ => t.clock.advance(Duration::from_secs(301)),
        }
        assert_eq!(read.ends().await, (code.to_owned(), String::new()), "{what}");
        let took = began.elapsed();
        assert!(took <= Duration::from_secs(2), "{what}: after {took:?}");
        assert_eq!(t.plane.parts().hub.readers(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn looking_again_who_reads_is_no_request() {
    let t = TestPlane::new().await;
    let (c, app) = (t.customer("a").await, app(&t));
    let mut read = open(&app, &c.secret).await;
    for _ in 0..4 {
        t.plane.parts().keyring.forget();
        assert_eq!(read.chunk().await.as_deref(), Some(":\n\n"));
    }
    let counted = t.plane.parts().metrics.requests.with_label_values(&["events.stream", "200"]).get();
    assert_eq!(counted, 1);
}
