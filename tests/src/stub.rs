//! A server in the place of Pulse's, which answers each request as the test says: with a status, by cutting the
//! connection, or by asking the real daemon behind it, whose answer may then get lost on the way back.
//!
//! It has a thread and a runtime of its own, because the programs under test are awaited without one.

use std::{
    net::SocketAddr,
    sync::Arc,
    thread::JoinHandle,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::oneshot,
};

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The method.
    pub method: String,
    /// The path, with its query.
    pub path: String,
    /// Whether one with the same idempotency key came before it.
    pub repeated: bool,
    /// When it was there, since the stub was started.
    pub at: Duration,
    head: String,
    body: Vec<u8>,
}

impl Seen {
    /// A header, or an empty text.
    pub fn header(&self, name: &str) -> &str {
        let fields = self.head.lines().skip(1).filter_map(|line| line.split_once(':'));
        fields.filter(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim()).next().unwrap_or("")
    }
}

/// What becomes of a request.
#[derive(Clone, Debug)]
pub enum Reply {
    /// This status, with these header lines and this body.
    Answer(u16, String, String),
    /// The connection is cut before anything is done.
    Cut,
    /// What the real server answers.
    Pass,
    /// The real server does it, and then the connection is cut.
    Lose,
}

impl Reply {
    /// A status with a JSON body.
    pub fn json(status: u16, body: &str) -> Self {
        Self::Answer(status, String::new(), body.to_owned())
    }

    /// Pulse's own refusal with this code, and after how many seconds the client should come again.
    pub fn problem(status: u16, code: &str, retry_after: u64) -> Self {
        let body = format!(
            r#"{{"type":"urn:pulse:error:{code}","title":"t","status":{status},"code":"{code}","detail":"the stub says {code}","retry_after":{retry_after}}}"#
        );
        Self::Answer(status, format!("Retry-After: {retry_after}\r\n"), body)
    }
}

/// A running stub, ended when dropped.
#[derive(Debug)]
pub struct Stub {
    /// Where it listens.
    pub url: String,
    seen: Arc<Mutex<Vec<Seen>>>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Stub {
    /// One that answers every request by itself, given its number among all, from 0.
    pub fn start(reply: impl FnMut(usize, &Seen) -> Reply + Send + 'static) -> Self {
        Self::before("127.0.0.1:1".parse().expect("an address"), reply)
    }

    /// One that stands before a real server.
    ///
    /// # Panics
    /// When it cannot listen.
    pub fn before(server: SocketAddr, mut reply: impl FnMut(usize, &Seen) -> Reply + Send + 'static) -> Self {
        let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        listener.set_nonblocking(true).expect("a listener can be non-blocking");
        let url = format!("http://{}", listener.local_addr().expect("it is bound"));
        let (stop, stopped) = oneshot::channel();
        let list = Arc::clone(&seen);
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            let serving = async {
                let listener = TcpListener::from_std(listener).expect("the listener is tokio's now");
                let began = now();
                while let Ok((stream, _)) = listener.accept().await {
                    serve(stream, server, began, &list, &mut reply).await;
                }
            };
            runtime.block_on(async {
                tokio::select! {
                    () = serving => {}
                    _ = stopped => {}
                }
            });
        });
        Self { url, seen, stop: Some(stop), thread: Some(thread) }
    }

    /// Every request so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().clone()
    }
}

impl Drop for Stub {
    fn drop(&mut self) {
        drop(self.stop.take());
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

#[expect(clippy::disallowed_methods, reason = "how long the program under test really waited")]
fn now() -> Instant {
    Instant::now()
}

/// One request on a connection, which ends with it.
async fn serve(
    mut client: TcpStream,
    server: SocketAddr,
    began: Instant,
    list: &Mutex<Vec<Seen>>,
    reply: &mut impl FnMut(usize, &Seen) -> Reply,
) {
    let Some((head, body)) = read(&mut client).await else { return };
    let mut words = head.split(' ').map(str::to_owned);
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let mut seen = Seen { method, path, repeated: false, at: now().duration_since(began), head, body };
    let number = {
        let mut list = list.lock();
        let key = seen.header("idempotency-key");
        seen.repeated = !key.is_empty() && list.iter().any(|before| before.header("idempotency-key") == key);
        list.push(seen.clone());
        list.len() - 1
    };
    match reply(number, &seen) {
        Reply::Answer(status, headers, body) => {
            let length = body.len();
            let answer = format!(
                "HTTP/1.1 {status} Stubbed\r\nContent-Type: application/json\r\nContent-Length: {length}\r\nConnection: close\r\n{headers}\r\n{body}"
            );
            let _ = client.write_all(answer.as_bytes()).await;
        }
        Reply::Cut => cut(&client),
        Reply::Pass => {
            let answer = pass(server, &seen).await;
            let _ = client.write_all(&answer).await;
        }
        Reply::Lose => {
            pass(server, &seen).await;
            cut(&client);
        }
    }
}

/// Makes the end of the connection a reset.
fn cut(client: &TcpStream) {
    client.set_zero_linger().expect("a connection can be reset");
}

async fn read(client: &mut TcpStream) -> Option<(String, Vec<u8>)> {
    let mut bytes = Vec::new();
    loop {
        if client.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
        let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
        let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
        let length = head
            .lines()
            .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length:")?.trim().parse().ok());
        let whole = end + 4 + length.unwrap_or(0);
        while bytes.len() < whole {
            if client.read_buf(&mut bytes).await.ok()? == 0 {
                return None;
            }
        }
        return Some((head, bytes[end + 4..whole].to_vec()));
    }
}

/// Asks the real server, on a connection of its own.
async fn pass(server: SocketAddr, seen: &Seen) -> Vec<u8> {
    let mut stream = TcpStream::connect(server).await.expect("the real server listens");
    let head = format!("{}\r\nConnection: close\r\n\r\n", seen.head);
    stream.write_all(head.as_bytes()).await.expect("the real server reads");
    stream.write_all(&seen.body).await.expect("the real server reads");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.expect("the real server answers");
    answer
}
