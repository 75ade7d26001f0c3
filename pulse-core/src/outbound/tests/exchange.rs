//! One request and its answer, with servers that do not keep to the rules.

use super::*;

/// One exchange with a server that does this on each connection.
async fn with<F, T>(request: Request, treat: F) -> Result<Answer, SendFailure>
where
    F: Fn(TcpStream) -> T + Send + 'static,
    T: Future<Output = ()> + Send + 'static,
{
    let (server, _) = serve(move |_, stream| treat(stream)).await;
    client_of(server).0.exchange(&request).await
}

fn to_public() -> Request {
    hook(&format!("http://{PUBLIC}/hook?a=b#c"))
}

fn soon_over() -> Request {
    impatient(&format!("http://{PUBLIC}/"))
}

/// A server that answers with these bytes and then leaves the connection open.
fn saying(bytes: &'static str) -> impl Fn(TcpStream) -> futures_util::future::BoxFuture<'static, ()> {
    move |mut stream| {
        Box::pin(async move {
            read(&mut stream).await;
            stream.write_all(bytes.as_bytes()).await.unwrap();
            read(&mut stream).await;
        })
    }
}

fn reset(stream: &TcpStream) {
    stream.set_zero_linger().unwrap();
}

#[tokio::test]
async fn a_request_is_written_as_it_was_asked_for() {
    let (told, mut heard) = tokio::sync::mpsc::channel(1);
    let (server, _) = serve(move |_, mut stream| {
        let told = told.clone();
        async move {
            told.send(read(&mut stream).await.unwrap()).await.unwrap();
            stream.write_all(OK.as_bytes()).await.unwrap();
        }
    })
    .await;
    let (outbound, _) = client_of(server);
    let mut request = to_public();
    // A header that would let two servers in a row see two different requests, and others that are the client's own.
    for (name, value) in [("transfer-encoding", "chunked"), ("content-length", "1"), ("host", "other"), ("expect", "x")]
    {
        request = request.header(name.parse().unwrap(), value.parse().unwrap());
    }
    request = request.header("webhook-id".parse().unwrap(), "evt_1".parse().unwrap());
    let answer = outbound.exchange(&request).await.unwrap();
    assert_eq!((answer.status.as_u16(), &answer.body[..], answer.truncated), (200, &b"ok"[..], false));
    assert_eq!(answer.peer, public());
    let seen = heard.recv().await.unwrap();
    let mut lines: Vec<&str> = seen.split("\r\n").collect();
    lines.sort_unstable();
    let agent = format!("user-agent: pulse/{}", env!("CARGO_PKG_VERSION"));
    let mut expected = [
        "POST /hook?a=b HTTP/1.1",
        "",
        "content-length: 7",
        "content-type: application/json",
        "host: 93.184.215.14",
        &agent,
        "webhook-id: evt_1",
        r#"{"a":1}"#,
    ];
    expected.sort_unstable();
    assert_eq!(lines, expected);
}

#[tokio::test]
async fn whether_a_byte_went_out_is_known_of_every_failure() {
    let nobody = ScriptedDial::new();
    let failure = Outbound::over(plain(), nobody).exchange(&to_public()).await.unwrap_err();
    assert_eq!((failure.kind, failure.bytes_written, failure.peer), (FailureKind::Connect, false, None));

    let failure = with(to_public(), |mut stream| async move {
        read(&mut stream).await;
        reset(&stream);
    })
    .await
    .unwrap_err();
    assert_eq!((failure.kind, failure.bytes_written, failure.peer), (FailureKind::Reset, true, Some(public())));

    let failure = with(to_public(), |mut stream| async move {
        read(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200 O").await.unwrap();
        reset(&stream);
    })
    .await
    .unwrap_err();
    assert_eq!((failure.kind, failure.bytes_written, failure.status), (FailureKind::Reset, true, None));
}

#[tokio::test]
async fn every_wait_is_bounded_and_says_what_was_waited_for() {
    let dial = ScriptedDial::new();
    dial.silence(public());
    let failure = Outbound::over(plain(), dial).exchange(&soon_over()).await.unwrap_err();
    assert_eq!((failure.kind, failure.bytes_written), (FailureKind::Timeout(Phase::Connect), false));

    let failure = with(soon_over(), saying("")).await.unwrap_err();
    assert_eq!((failure.kind, failure.bytes_written), (FailureKind::Timeout(Phase::Headers), true));

    let failure = with(soon_over(), |mut stream| async move {
        read(&mut stream).await;
        // A byte at a time, each of which could be taken for life.
        for byte in "HTTP/1.1 200 OK\r\nServer: a very slow one, which never comes to its end".bytes().cycle() {
            if stream.write_all(&[byte]).await.is_err() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await
    .unwrap_err();
    assert_eq!((failure.kind, failure.bytes_written), (FailureKind::Timeout(Phase::Headers), true));

    let failure = with(soon_over(), saying("HTTP/1.1 503 No\r\nContent-Length: 9\r\n\r\nab")).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Timeout(Phase::Body));
    assert_eq!(failure.status.map(|status| status.as_u16()), Some(503), "the status was there already");
}

#[tokio::test]
async fn an_endless_answer_counts_by_its_status_and_its_connection_is_cut() {
    let (told, mut ended) = tokio::sync::mpsc::channel(1);
    for head in ["HTTP/1.1 200 OK\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 104857600\r\n\r\n"] {
        let told = told.clone();
        let (server, _) = serve(move |_, mut stream| {
            let told = told.clone();
            async move {
                read(&mut stream).await;
                stream.write_all(head.as_bytes()).await.unwrap();
                while stream.write_all(&[b'x'; 4096]).await.is_ok() {}
                told.send(()).await.unwrap();
            }
        })
        .await;
        let (outbound, _) = client_of(server);
        let answer = outbound.exchange(&to_public()).await.unwrap();
        assert_eq!((answer.status.as_u16(), answer.truncated, answer.body.len()), (200, true, 1024));
        ended.recv().await.expect("the server was cut off");
    }
    let whole: &'static str = format!("HTTP/1.1 200 OK\r\nContent-Length: 1024\r\n\r\n{}", "x".repeat(1024)).leak();
    let answer = with(to_public(), saying(whole)).await.unwrap();
    assert_eq!((answer.truncated, answer.body.len()), (false, 1024), "exactly as much as is read");
}

#[tokio::test]
async fn what_is_not_http_is_told_as_that() {
    let many_headers: &'static str = format!("HTTP/1.1 200 OK\r\n{}\r\n", "a: b\r\n".repeat(2000)).leak();
    let long_header: &'static str = format!("HTTP/1.1 200 OK\r\na: {}\r\n\r\n", "b".repeat(200_000)).leak();
    for answer in [
        "SSH-2.0-OpenSSH_9.2\r\n\r\n",
        "\x15\x03\x01\x00\x02\x02\x46garbage\r\n\r\n",
        "HTTP/1.1 999999 No\r\n\r\n",
        "HTTP/3.0 200 OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nnonsense\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        many_headers,
        long_header,
    ] {
        let failure = with(to_public(), move |mut stream| async move {
            read(&mut stream).await;
            // The client may hang up before it has heard everything.
            drop(stream.write_all(answer.as_bytes()).await);
            read(&mut stream).await;
        })
        .await
        .expect_err(&answer[..answer.len().min(40)]);
        let shown = &answer[..answer.len().min(40)];
        assert_eq!((failure.kind, failure.bytes_written), (FailureKind::Protocol, true), "{shown:?}");
    }
}

#[tokio::test]
async fn a_few_interim_answers_are_passed_over_and_a_flood_is_not() {
    let few = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    assert_eq!(with(to_public(), saying(few)).await.unwrap().status.as_u16(), 200);
    let failure = with(to_public(), |mut stream| async move {
        read(&mut stream).await;
        while stream.write_all(b"HTTP/1.1 102 Processing\r\n\r\n").await.is_ok() {}
    })
    .await
    .unwrap_err();
    assert_eq!((failure.kind, failure.bytes_written), (FailureKind::Protocol, true));
}

#[tokio::test]
async fn an_address_that_nobody_answers_does_not_hold_up_the_next_one() {
    let (server, _) = serve(|_, stream| answer_all(stream, OK)).await;
    let (outbound, dial) = client_of(server);
    let silent: SocketAddr = "[2606:4700::1111]:80".parse().unwrap();
    dial.silence(silent);
    dial.name("two.example", [testing::Said::addresses(&["2606:4700::1111", "93.184.215.14"])]);
    let answer = outbound.exchange(&hook("http://two.example/")).await.unwrap();
    assert_eq!((answer.status.as_u16(), answer.peer), (200, public()));
    assert_eq!(dial.attempts(), [silent, public()]);
}

/// Where IPv6 is switched off, connecting to any address of it says that none can be had here.
#[tokio::test]
async fn what_this_machine_lacks_is_told_only_when_nothing_is_known_of_the_other_side() {
    use rustix::io::Errno;
    const V4: &str = "93.184.215.14";
    const V6: &str = "2606:4700::1111";
    for (v4, v6, expected) in [
        (None, Some(Errno::ADDRNOTAVAIL), FailureKind::Connect),
        (None, Some(Errno::MFILE), FailureKind::Connect),
        (Some(Errno::MFILE), None, FailureKind::Connect),
        (Some(Errno::MFILE), Some(Errno::MFILE), FailureKind::Local),
        (Some(Errno::ADDRNOTAVAIL), Some(Errno::NFILE), FailureKind::Local),
        (Some(Errno::ADDRNOTAVAIL), Some(Errno::ADDRNOTAVAIL), FailureKind::Connect),
    ] {
        let dial = ScriptedDial::new();
        dial.name("two.example", [testing::Said::addresses(&[V4, V6])]);
        for (address, error) in [(format!("{V4}:80"), v4), (format!("[{V6}]:80"), v6)] {
            if let Some(error) = error {
                dial.fail(address.parse().unwrap(), error.raw_os_error());
            }
        }
        let outbound = Outbound::over(plain(), dial);
        let failure = outbound.exchange(&hook("http://two.example/")).await.unwrap_err();
        assert_eq!((failure.kind, failure.bytes_written), (expected, false), "{v4:?} {v6:?}");
    }
}
