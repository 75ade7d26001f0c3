//! Figures over HTTP: `pulsed` as a process of its own, and a bare hyper server, also a process, that answers the same
//! bytes.

use std::{
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use http_body_util::{BodyExt as _, Full};
use hyper::{Request, body::Bytes, client::conn::http1::SendRequest};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpStream;

use super::{Row, binary, histogram, median, millis, record};

/// The argument that makes this program the bare server.
pub(crate) const BARE_SERVER: &str = "bare-server";
const TOKEN: &str = "operator-token-of-a-benchmark-0123456789";
const CONNECTIONS: usize = 64;
const ROUNDS: usize = 5;

/// Answers every request with the bytes of the file, as `hyper` does with nothing around it.
pub(crate) fn serve_bare(file: &str) {
    let answer = Bytes::from(std::fs::read(file).expect("the answer"));
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    runtime.block_on(async move {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        std::fs::write(format!("{file}.ready"), json!({ "url": url }).to_string()).expect("the ready file");
        loop {
            let (stream, _) = listener.accept().await.expect("a connection");
            stream.set_nodelay(true).expect("no delay");
            let answer = answer.clone();
            let service = hyper::service::service_fn(move |request: Request<hyper::body::Incoming>| {
                let answer = answer.clone();
                async move {
                    request.into_body().collect().await?;
                    let response = hyper::Response::builder().status(201).header("content-type", "application/json");
                    Ok::<_, hyper::Error>(response.body(Full::new(answer)).expect("an answer"))
                }
            });
            tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    });
}

/// A server process, ended when dropped.
pub(crate) struct Server {
    pub(crate) process: Child,
    pub(crate) url: String,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Starts a program and waits for its ready file; gives how long that took.
pub(crate) fn start(command: &mut Command, ready: &Path) -> (Server, Duration) {
    let _ = std::fs::remove_file(ready);
    let began = Instant::now();
    let process = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the program starts");
    let mut server = Server { process, url: String::new() };
    loop {
        let text = std::fs::read_to_string(ready).unwrap_or_default();
        if let Ok(value) = serde_json::from_str::<Value>(&text) {
            value["url"].as_str().expect("an address").clone_into(&mut server.url);
            return (server, began.elapsed());
        }
        assert!(began.elapsed() < Duration::from_secs(30), "{command:?} is not ready");
        std::thread::yield_now();
    }
}

/// A release `pulsed` over a SQLite store in `folder`.
pub(crate) fn pulsed(folder: &Path) -> (Server, Duration) {
    let ready = folder.join("ready.json");
    let mut command = Command::new(binary("pulsed"));
    command.env_clear().current_dir(folder).arg("--ready-file").arg(&ready);
    command.envs(pulse_tests::daemon::OUTBOUND).envs([
        ("PULSE_LISTEN", "127.0.0.1:0"),
        ("PULSE_ADMIN_TOKEN", TOKEN),
        ("LIVEKIT_HOST", "ws://127.0.0.1:7880"),
        ("LIVEKIT_API_KEY", "APIbench"),
        ("LIVEKIT_API_SECRET", "a-secret-of-the-benchmarks-0123456789"),
        ("PULSE_LOG", "warn"),
    ]);
    start(&mut command, &ready)
}

/// One keep-alive connection.
struct Connection {
    sender: SendRequest<Full<Bytes>>,
    host: String,
}

impl Connection {
    async fn open(url: &str) -> Self {
        let host = url.trim_start_matches("http://").to_owned();
        let stream = TcpStream::connect(&host).await.expect("connects");
        stream.set_nodelay(true).expect("no delay");
        let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.expect("HTTP/1.1");
        tokio::spawn(connection);
        Self { sender, host }
    }

    async fn send(&mut self, method: &str, path: &str, bearer: &str, body: Bytes) -> (u16, Bytes) {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", &self.host)
            .header("authorization", format!("Bearer {bearer}"))
            .header("content-type", "application/json")
            .body(Full::new(body))
            .expect("a request");
        self.sender.ready().await.expect("the connection is kept alive");
        let answer = self.sender.send_request(request).await.expect("an answer");
        let status = answer.status().as_u16();
        (status, answer.into_body().collect().await.expect("a body").to_bytes())
    }

    async fn json(&mut self, method: &str, path: &str, bearer: &str, body: Value) -> Value {
        let body = if body.is_null() { Bytes::new() } else { body.to_string().into() };
        let (status, answer) = self.send(method, path, bearer, body).await;
        assert!(status < 300, "{method} {path}: {status} {}", String::from_utf8_lossy(&answer));
        serde_json::from_slice(&answer).expect("JSON")
    }
}

/// Makes an Enterprise organization; gives its id.
async fn organization(connection: &mut Connection) -> String {
    let org = json!({ "name": "bench", "admin_email": "a@b.example", "plan": "Enterprise" });
    let org = connection.json("POST", "/v1/organizations", TOKEN, org).await;
    org["id"].as_str().expect("an id").to_owned()
}

fn token_request() -> Bytes {
    json!({ "room_name": "standup", "identity": "ada", "name": "Ada", "can_publish": false }).to_string().into()
}

/// Requests a second over 64 keep-alive connections, for two seconds.
async fn throughput(url: &str, secret: &str) -> f64 {
    let stop = Arc::new(AtomicBool::new(false));
    let done = Arc::new(AtomicU64::new(0));
    let mut tasks = Vec::new();
    for _ in 0..CONNECTIONS {
        let mut connection = Connection::open(url).await;
        let (stop, done, secret) = (Arc::clone(&stop), Arc::clone(&done), secret.to_owned());
        tasks.push(tokio::spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                let (status, _) = connection.send("POST", "/v1/tokens/create", &secret, token_request()).await;
                assert_eq!(status, 201);
                done.fetch_add(1, Ordering::Relaxed);
            }
        }));
    }
    let (began, before) = (Instant::now(), done.load(Ordering::Relaxed));
    tokio::time::sleep(Duration::from_secs(2)).await;
    let rate = (done.load(Ordering::Relaxed) - before) as f64 / began.elapsed().as_secs_f64();
    stop.store(true, Ordering::Relaxed);
    for task in tasks {
        task.await.expect("a connection ends");
    }
    rate
}

/// Latencies at 1,000 requests a second for ten seconds, each from the moment at which it was due.
async fn latency(url: &str, secret: &str) -> hdrhistogram::Histogram<u64> {
    const LANES: u32 = 32;
    const EACH: u32 = 10_000 / LANES;
    let began = Instant::now() + Duration::from_millis(50);
    let mut tasks = Vec::new();
    for lane in 0..LANES {
        let (mut connection, secret) = (Connection::open(url).await, secret.to_owned());
        tasks.push(tokio::spawn(async move {
            let mut latencies = histogram();
            for n in 0..EACH {
                let due = began + Duration::from_millis(u64::from(n * LANES + lane));
                tokio::time::sleep_until(due.into()).await;
                let (status, _) = connection.send("POST", "/v1/tokens/create", &secret, token_request()).await;
                assert_eq!(status, 201);
                record(&mut latencies, due.elapsed());
            }
            latencies
        }));
    }
    let mut all = histogram();
    for task in tasks {
        all.add(task.await.expect("a lane ends")).expect("the same bounds");
    }
    all
}

/// Token creation: throughput against the bare server, and latency at a fixed rate.
pub(crate) async fn tokens() -> Vec<Row> {
    let folder = tempfile::tempdir().expect("a folder");
    let (server, _) = pulsed(folder.path());
    let mut connection = Connection::open(&server.url).await;
    let org = organization(&mut connection).await;
    let project = connection.json("POST", "/v1/projects", TOKEN, json!({ "org_id": org, "name": "p" })).await;
    let secret = project["pulse_api_secret"].as_str().expect("a secret").to_owned();
    let (_, answer) = connection.send("POST", "/v1/tokens/create", &secret, token_request()).await;
    let file = folder.path().join("answer");
    std::fs::write(&file, &answer).expect("the answer");
    let own = std::env::current_exe().expect("a program knows its path");
    let ready = folder.path().join("answer.ready");
    let (bare, _) = start(Command::new(own).arg(BARE_SERVER).arg(&file), &ready);
    let (mut pulse_rates, mut bare_rates) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        bare_rates.push(throughput(&bare.url, &secret).await);
        pulse_rates.push(throughput(&server.url, &secret).await);
    }
    let (pulse_rate, bare_rate) = (median(pulse_rates), median(bare_rates));
    let latencies = latency(&server.url, &secret).await;
    vec![
        Row::more(
            "token create, 64 keep-alive connections, against a bare hyper server",
            "x",
            pulse_rate / bare_rate,
            (0.55, 0.7),
            format!("{pulse_rate:.0}/s against {bare_rate:.0}/s; the load shares the cores"),
        ),
        Row::less(
            "token create at 1,000 requests/s, p99",
            "ms",
            millis(&latencies, 0.99),
            (10.0, 5.0),
            format!("p50 {:.2} ms, p99.9 {:.2} ms", millis(&latencies, 0.5), millis(&latencies, 0.999)),
        ),
    ]
}

/// Lists and creations with 100,000 projects in the store.
pub(crate) async fn projects() -> Vec<Row> {
    let folder = tempfile::tempdir().expect("a folder");
    super::store::seed(&folder.path().join("pulse-data/pulse.db"), 100_000).await;
    let (server, _) = pulsed(folder.path());
    let mut connection = Connection::open(&server.url).await;
    let org = organization(&mut connection).await;
    let (mut lists, mut creations) = (histogram(), histogram());
    let mut cursor = String::new();
    for _ in 0..500 {
        let began = Instant::now();
        let page = connection.json("GET", &format!("/v1/projects?limit=100{cursor}"), TOKEN, Value::Null).await;
        record(&mut lists, began.elapsed());
        cursor = page["next_cursor"].as_str().map(|next| format!("&cursor={next}")).unwrap_or_default();
    }
    for n in 0..500 {
        let began = Instant::now();
        connection.json("POST", "/v1/projects", TOKEN, json!({ "org_id": org, "name": format!("new {n}") })).await;
        record(&mut creations, began.elapsed());
    }
    vec![
        Row::less(
            "project list, a page of 100 out of 100,000, p99",
            "ms",
            millis(&lists, 0.99),
            (5.0, 2.0),
            format!("p50 {:.2} ms", millis(&lists, 0.5)),
        ),
        Row::less(
            "project create, p99",
            "ms",
            millis(&creations, 0.99),
            (20.0, 10.0),
            format!("p50 {:.2} ms", millis(&creations, 0.5)),
        ),
    ]
}

/// Uses every secret once, so that the daemon has all of their keys in memory.
pub(crate) async fn warm(url: &str, secrets: &[String]) {
    let lanes = secrets.chunks(secrets.len().div_ceil(16)).map(<[String]>::to_vec);
    let mut tasks = Vec::new();
    for lane in lanes {
        let mut connection = Connection::open(url).await;
        tasks.push(tokio::spawn(async move {
            for secret in &lane {
                let (status, _) = connection.send("GET", "/v1/me", secret, Bytes::new()).await;
                assert_eq!(status, 200);
            }
        }));
    }
    for task in tasks {
        task.await.expect("a lane ends");
    }
}
