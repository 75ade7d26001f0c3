//! What leaves Pulse, against servers on the loopback address that behave as the tests say.

mod exchange;
mod forbidden;
mod kept;
mod resolver;
mod tls;

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use http::HeaderValue;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

use super::{testing::ScriptedDial, *};

/// A public address, behind which a test puts a server of its own.
const PUBLIC: &str = "93.184.215.14:80";

fn public() -> SocketAddr {
    PUBLIC.parse().unwrap()
}

/// A policy under which customers may name public addresses with and without TLS.
fn plain() -> AddressPolicy {
    AddressPolicy::default().tenants([], true)
}

/// A server that treats every connection as it is told, with its number from 0, and tells how many there were.
async fn serve<F, T>(treat: F) -> (SocketAddr, Arc<AtomicUsize>)
where
    F: Fn(usize, TcpStream) -> T + Send + 'static,
    T: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let accepted = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&accepted);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let number = count.fetch_add(1, Ordering::SeqCst);
            tokio::spawn(treat(number, stream));
        }
    });
    (address, accepted)
}

/// A customer's client for one server, which seems to be public.
fn client_of(server: SocketAddr) -> (Outbound, Arc<ScriptedDial>) {
    let dial = ScriptedDial::new();
    dial.route(public(), server);
    (Outbound::over(plain(), dial.clone()), dial)
}

/// A customer's webhook with a short patience.
fn hook(url: &str) -> Request {
    let limits = Limits { connect: Duration::from_secs(2), total: Duration::from_secs(5), max_answer: 1024 };
    let json = HeaderValue::from_static("application/json");
    Request::post(url.parse().unwrap(), json, r#"{"a":1}"#).trust(Trust::Tenant).limits(limits)
}

/// The same with hardly any.
fn impatient(url: &str) -> Request {
    let limits = Limits { connect: Duration::from_millis(150), total: Duration::from_millis(300), max_answer: 1024 };
    hook(url).limits(limits)
}

/// Reads one request; `None` at the end of the connection.
async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Option<String> {
    let mut bytes = Vec::new();
    loop {
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
            if body.len() >= length.unwrap_or(0) {
                return Some(text);
            }
        }
    }
}

/// Answers every request on the connection with these bytes.
async fn answer_all(mut stream: TcpStream, answer: &str) {
    while read(&mut stream).await.is_some() {
        stream.write_all(answer.as_bytes()).await.unwrap();
    }
}

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
