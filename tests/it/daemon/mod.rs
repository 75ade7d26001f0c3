//! The real daemon over HTTP.

mod config;
mod dev;
mod lifecycle;
mod limits;
mod metrics;
mod notify;
mod requests;
mod security;
pub(crate) mod streams;
mod watching;

use std::{convert::Infallible, pin::Pin, time::Duration};

use bytes::Bytes;
use http::{Request, Response, Version};
use http_body_util::{BodyExt as _, Empty, StreamBody, combinators::BoxBody};
use hyper::{
    body::{Frame, Incoming},
    client::conn::http2,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use pulse_tests::daemon::Daemon;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::mpsc,
};

/// The body of a request that makes an organization.
const ACME: &str = r#"{"name":"acme","admin_email":"a@acme.example"}"#;

/// Sends a request with [`ACME`] up to its body, and waits until the daemon asks for that: the request is under way.
async fn under_way(daemon: &Daemon) -> TcpStream {
    let mut stream = TcpStream::connect(daemon.address()).await.unwrap();
    let head = format!(
        "POST /v1/organizations HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\nExpect: 100-continue\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        daemon.admin_token,
        ACME.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut go_on = [0; 25];
    stream.read_exact(&mut go_on).await.unwrap();
    assert!(go_on.starts_with(b"HTTP/1.1 100"), "{}", String::from_utf8_lossy(&go_on));
    stream
}

/// A body that is sent bit by bit.
type Streamed = BoxBody<Bytes, Infallible>;

/// The answer to a request over HTTP/2.
type Answer = Pin<Box<dyn Future<Output = hyper::Result<Response<Incoming>>> + Send>>;

/// A request over HTTP/2, with a body that has not ended.
struct Stream {
    /// Takes the rest of the body, which ends when this is dropped.
    body: mpsc::Sender<Bytes>,
    answer: Answer,
    /// Without it the connection would be closed after the answer.
    connection: http2::SendRequest<Streamed>,
}

impl Stream {
    /// The status and text of the answer that comes although the body does not end.
    async fn answered(self) -> (u16, String) {
        let Self { body: _open, answer, connection: _kept } = self;
        read(answer).await
    }

    /// Ends the body with this, and gives the status and text of the answer.
    async fn ended_with(self, rest: &'static str) -> (u16, String) {
        let Self { body, answer, connection: _kept } = self;
        body.send(Bytes::from_static(rest.as_bytes())).await.unwrap();
        drop(body);
        read(answer).await
    }
}

async fn read(answer: Answer) -> (u16, String) {
    let answer = tokio::time::timeout(Duration::from_secs(10), answer).await.expect("an answer comes").unwrap();
    let status = answer.status().as_u16();
    let text = answer.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8_lossy(&text).into_owned())
}

/// The same over HTTP/2: sends a request to make an organization up to its body. What comes behind it on the connection is
/// answered when this returns, so it is under way.
async fn under_way_over_http_2(daemon: &Daemon) -> Stream {
    let stream = TcpStream::connect(daemon.address()).await.unwrap();
    let (mut connection, driver) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(driver);
    let request = |method: &str, path: &str, body: Streamed| {
        let request = Request::builder().method(method).uri(format!("{}{path}", daemon.url));
        let request = request.header("authorization", format!("Bearer {}", daemon.admin_token));
        request.header("content-type", "application/json").body(body).unwrap()
    };
    let (body, mut rest) = mpsc::channel::<Bytes>(1);
    let frames = futures_util::stream::poll_fn(move |cx| {
        rest.poll_recv(cx).map(|bytes| bytes.map(|bytes| Ok::<_, Infallible>(Frame::data(bytes))))
    });
    let body_of_post = StreamBody::new(frames).boxed();
    let answer = Box::pin(connection.send_request(request("POST", "/v1/organizations", body_of_post)));
    let behind = connection.send_request(request("GET", "/health", Empty::<Bytes>::new().boxed())).await.unwrap();
    assert_eq!((behind.version(), behind.status().as_u16()), (Version::HTTP_2, 200));
    Stream { body, answer, connection }
}
