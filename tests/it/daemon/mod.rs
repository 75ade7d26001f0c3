//! The real daemon over HTTP.

mod config;
mod dev;
mod lifecycle;
mod limits;
mod metrics;
mod notify;
mod requests;
mod security;

use pulse_tests::daemon::Daemon;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
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
