//! The receiver does what it says, seen by a plain client and by one that looks at the bytes.

mod faults;
mod tls;

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::Instant,
};

use super::*;
use crate::latency::Departures;

/// The bound of what must happen.
const SOON: Duration = Duration::from_secs(20);

fn client() -> reqwest::Client {
    pulse_core::boot::open::install_cryptography();
    let redirects = reqwest::redirect::Policy::none();
    reqwest::Client::builder().no_proxy().redirect(redirects).timeout(SOON).build().expect("a client")
}

fn post(client: &reqwest::Client, url: &str, id: &str, body: &str) -> reqwest::RequestBuilder {
    client.post(url).header("webhook-id", id).body(body.to_owned())
}

/// Sends a request by hand and gives the connection.
async fn raw(receiver: &Receiver) -> TcpStream {
    let mut stream = TcpStream::connect(receiver.address()).await.expect("it listens");
    stream.write_all(b"POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\nhi").await.expect("it reads");
    stream
}

/// All that comes until the end, and how that was.
async fn everything(stream: &mut TcpStream) -> (Vec<u8>, io::Result<()>) {
    let mut bytes = Vec::new();
    let end = tokio::time::timeout(SOON, stream.read_to_end(&mut bytes)).await.expect("the connection has an end");
    (bytes, end.map(|_| ()))
}

async fn only_exchange(receiver: &Receiver) -> Exchange {
    receiver.wait_until("an exchange ended", SOON, |counts| counts.ended == 1).await;
    receiver.exchanges()[0]
}

fn is_reset(end: &io::Result<()>) -> bool {
    end.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::ConnectionReset)
}

#[tokio::test]
async fn an_answer_is_the_one_asked_for_and_the_connection_is_kept() {
    let answer = Answer::new(201).header("X-Kind", "test").body("thanks");
    let receiver = Receiver::start(Action::Answer(answer));
    let client = client();
    for n in 0..3 {
        let answer = post(&client, &format!("{}/hook?n={n}", receiver.url()), "evt_1", "{}").send().await.expect("it");
        assert_eq!((answer.status().as_u16(), &answer.headers()["x-kind"]), (201, &"test".parse().expect("a value")));
        assert_eq!(answer.text().await.expect("a body"), "thanks");
    }

    let received = receiver.wait_for(3, SOON).await;
    assert_eq!(received[2].path(), "/hook?n=2");
    assert_eq!((received[2].method(), &received[2].body[..], received[2].number), ("POST", &b"{}"[..], 2));
    assert!(received[0].at < received[2].at);
    assert!(received.iter().all(|one| one.connection == 0), "a connection was not kept");
    assert_eq!(receiver.counts().connections, 1);
}

#[tokio::test]
async fn statuses_of_the_table_say_what_they_are() {
    let receiver = Receiver::start(Action::ok());
    let client = client();
    for (action, status, header, value) in [
        (Action::ok(), 204, "", ""),
        (Action::gone(), 410, "", ""),
        (Action::redirect(307, "http://127.0.0.1:1/x"), 307, "location", "http://127.0.0.1:1/x"),
        (Action::too_many("soon; or 5"), 429, "retry-after", "soon; or 5"),
        (Action::unavailable(Some("7")), 503, "retry-after", "7"),
        (Action::unavailable(None), 503, "", ""),
    ] {
        receiver.behave(action);
        let answer = client.post(receiver.url()).send().await.expect("an answer");
        assert_eq!(answer.status().as_u16(), status);
        assert_eq!(answer.headers().get(header).map_or("", |value| value.to_str().expect("text")), value);
        assert!(!header.is_empty() || !answer.headers().contains_key("retry-after"));
    }
}

#[tokio::test]
async fn behaviour_is_by_path_by_attempt_and_by_the_request() {
    let receiver = Receiver::start(Behaviour::by_attempt([Action::status(500), Action::status(502), Action::ok()]));
    receiver.behave_at("/gone", Action::gone());
    receiver.behave_at("/echo", Behaviour::by(|received| Action::Answer(Answer::new(200).body(received.body.clone()))));
    let client = client();
    let status = async |path: &str, id: &str| {
        let answer = post(&client, &format!("{}{path}", receiver.url()), id, "ping").send().await.expect("an answer");
        answer.status().as_u16()
    };

    let mut statuses = Vec::new();
    for (path, id) in [("/", "a"), ("/", "b"), ("/", "a"), ("/", "a"), ("/", "a"), ("/", "b"), ("/gone", "a")] {
        statuses.push(status(path, id).await);
    }

    assert_eq!(statuses, [500, 500, 502, 204, 204, 502, 410]);
    let echo = post(&client, &format!("{}/echo", receiver.url()), "a", "ping").send().await.expect("an answer");
    assert_eq!(echo.text().await.expect("a body"), "ping");
}

#[tokio::test]
async fn attempts_duplicates_and_unequal_bytes_are_counted_by_id_and_path() {
    let options = ReceiverOptions::new().counting().verify(|received| match received.header("webhook-signature") {
        "good" => Ok(()),
        other => Err(format!("{other:?} does not verify")),
    });
    let receiver = Receiver::start_with(options, Behaviour::by_attempt([Action::status(500), Action::ok()]));
    let client = client();
    for (path, id, body, signature) in [
        ("/one", "a", "1", "good"),
        ("/one", "a", "1", "good"),
        ("/one", "a", "1", "good"),
        ("/one", "b", "1", "bad"),
        ("/one", "b", "2", "good"),
        ("/two", "a", "3", "good"),
    ] {
        let url = format!("{}{path}", receiver.url());
        let sent = post(&client, &url, id, body).header("webhook-signature", signature);
        sent.send().await.expect("an answer");
    }
    receiver.wait_until("all is done", SOON, |counts| counts.ended == 6).await;

    let counts = receiver.counts();
    assert_eq!((counts.requests, counts.succeeded, counts.duplicates), (6, 3, 1), "{counts:?}");
    assert_eq!((counts.unequal, counts.objected, counts.malformed), (1, 1, 0), "{counts:?}");
    assert_eq!(receiver.objections(), ["request 3: \"bad\" does not verify"]);
    let tally = receiver.tally("/one", "a").expect("it came");
    assert_eq!((tally.attempts, tally.succeeded, tally.unequal), (3, 2, 0));
    assert!(tally.first < tally.last);
    assert_eq!(receiver.tallies().len(), 3);
    assert!(receiver.received().is_empty() && receiver.exchanges().is_empty(), "a receiver that counts kept requests");
}

#[tokio::test]
async fn latencies_count_from_the_departure_to_the_first_arrival() {
    let departures = Arc::new(Departures::default());
    let body = |received: &Received| std::str::from_utf8(&received.body).ok().map(str::to_owned);
    let receiver = Receiver::start_with(ReceiverOptions::new().correlate(&departures, body), Action::ok());
    let late = Duration::from_secs(7);
    let departed = Instant::now();
    departures.note("early", departed - late);
    let client = client();
    for (path, id, body) in
        [("/", "a", "early"), ("/", "a", "early"), ("/", "b", "never departed"), ("/2", "a", "early")]
    {
        post(&client, &format!("{}{path}", receiver.url()), id, body).send().await.expect("an answer");
    }
    receiver.wait_until("all is done", SOON, |counts| counts.ended == 4).await;

    assert_eq!(receiver.latencies().len(), 2);
    let latencies = receiver.take_latencies();
    assert!(receiver.latencies().is_empty());
    let longest = (late + departed.elapsed()).as_secs_f64() * 1e3;
    assert_eq!(latencies.len(), 2, "one first arrival at each path");
    assert!(latencies.millis(0.5) >= 6_990.0 && latencies.longest_millis() <= longest * 1.01, "{latencies}");
    assert_eq!(receiver.deliveries(None), [("early".to_owned(), 3), ("never departed".to_owned(), 1)].into());
    assert_eq!(receiver.deliveries(Some("/2")), [("early".to_owned(), 1)].into());
}

#[tokio::test]
async fn a_held_request_is_answered_when_the_gate_opens() {
    let gate = Gate::new();
    let receiver = Receiver::start(Action::ok().held_by(&gate));
    let (client, url) = (client(), receiver.url());
    let waiting = tokio::spawn(async move { client.post(url).send().await });
    receiver.wait_for(1, SOON).await;
    assert_eq!(receiver.counts().ended, 0);

    gate.open();

    let answer = waiting.await.expect("no panic").expect("an answer");
    assert_eq!(answer.status().as_u16(), 204);
}

#[tokio::test]
async fn requests_that_are_none_are_told() {
    let receiver = Receiver::start(Action::ok());
    let mut stream = TcpStream::connect(receiver.address()).await.expect("it listens");
    stream.write_all(b"\x16\x03\x01\x00\x05hello").await.expect("it reads");
    receiver.wait_until("no request", SOON, |counts| counts.malformed == 1).await;
    assert_eq!(receiver.objections(), ["no request: invalid token"]);
}

#[tokio::test]
#[should_panic(expected = "did not reach this within 1ms: 1 requests came")]
async fn a_wait_in_vain_says_what_was_awaited() {
    Receiver::start(Action::ok()).wait_for(1, Duration::from_millis(1)).await;
}

#[test]
fn the_table_of_faults_names_each_once() {
    let table = table("http://127.0.0.1:1/");
    let names: std::collections::BTreeSet<_> = table.iter().map(|fault| fault.name).collect();
    assert_eq!(names.len(), table.len());
    assert_eq!(table.len(), 33);
    assert_eq!(table.iter().filter(|fault| fault.said.is_some()).count(), 3);
    assert_eq!(table.iter().filter(|fault| fault.door.is_none()).count(), 1);
}

/// Behaviour is asked once for each request, so that a function may count.
#[tokio::test]
async fn a_behaviour_is_asked_once_for_each_request() {
    let asked = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&asked);
    let receiver = Receiver::start(Behaviour::by(move |_| {
        counter.fetch_add(1, Ordering::Relaxed);
        Action::ok()
    }));
    let client = client();
    for _ in 0..5 {
        client.post(receiver.url()).send().await.expect("an answer");
    }
    assert_eq!(asked.load(Ordering::Relaxed), 5);
}
