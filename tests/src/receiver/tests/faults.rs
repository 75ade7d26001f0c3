//! Bytes that no client should have to see.

use super::*;

#[tokio::test]
async fn a_reset_is_one_after_the_request_and_in_the_middle_of_headers() {
    let receiver = Receiver::start(Action::Reset);
    let mut stream = raw(&receiver).await;
    let (bytes, end) = everything(&mut stream).await;
    assert!(is_reset(&end) && bytes.is_empty(), "{end:?} after {bytes:?}");

    receiver.behave(Action::ResetMidHeaders);
    let mut stream = raw(&receiver).await;
    let (bytes, end) = everything(&mut stream).await;
    assert!(is_reset(&end), "{end:?}");
    assert!(bytes.starts_with(b"HTTP/1.1 200") && !bytes.windows(4).any(|four| four == b"\r\n\r\n"));

    receiver.behave(Action::Close);
    let mut stream = raw(&receiver).await;
    let (bytes, end) = everything(&mut stream).await;
    assert!(end.is_ok() && bytes.is_empty(), "{end:?} after {bytes:?}");
    receiver.wait_until("all is done", SOON, |counts| counts.ended == 3).await;
    assert!(receiver.exchanges().iter().all(|exchange| (exchange.end, exchange.status) == (End::Cut, None)));
}

#[tokio::test]
async fn a_client_that_gives_up_on_a_hanging_receiver_is_seen_to_leave() {
    for action in [Action::Hang, Action::ok().after(SOON * 2), Action::ok().held_by(&Gate::new())] {
        let receiver = Receiver::start(action);
        let stream = raw(&receiver).await;
        receiver.wait_for(1, SOON).await;
        drop(stream);

        let exchange = only_exchange(&receiver).await;
        assert_eq!((exchange.end, exchange.written), (End::ClientLeft, 0));
    }
}

#[tokio::test]
async fn slow_answers_come_byte_by_byte() {
    let pause = Duration::from_millis(2);
    let receiver = Receiver::start(Action::SlowHeaders(pause));
    let began = Instant::now();
    let mut stream = raw(&receiver).await;
    let mut bytes = [0; 100];
    stream.read_exact(&mut bytes).await.expect("bytes come");
    assert!(bytes.starts_with(b"HTTP/1.1 200 OK\r\nX-More: "));
    assert!(began.elapsed() >= pause * 98, "a hundred bytes took {:?}", began.elapsed());
    assert!(!bytes.windows(4).any(|four| four == b"\r\n\r\n"), "the headers have an end");
    drop(stream);
    assert_eq!(only_exchange(&receiver).await.end, End::ClientLeft);

    let receiver = Receiver::start(Action::SlowBody(pause));
    let (client, began) = (client(), Instant::now());
    let mut answer = client.post(receiver.url()).send().await.expect("headers at once");
    assert_eq!(answer.status().as_u16(), 200);
    let mut body = 0;
    while body < 50 {
        body += answer.chunk().await.expect("no error").expect("more").len();
    }
    assert!(began.elapsed() >= pause * 48, "fifty bytes took {:?}", began.elapsed());
    drop((answer, client));
    let exchange = only_exchange(&receiver).await;
    assert_eq!((exchange.end, exchange.status), (End::ClientLeft, None));
}

#[tokio::test]
async fn bodies_without_end_end_with_the_client_and_large_ones_are_as_large_as_told() {
    let receiver = Receiver::start(Action::EndlessBody);
    let client = client();
    let mut answer = client.post(receiver.url()).send().await.expect("headers");
    let mut body = 0;
    while body < 1_000_000 {
        body += answer.chunk().await.expect("no error").expect("more").len();
    }
    drop(answer);
    let exchange = only_exchange(&receiver).await;
    assert_eq!(exchange.end, End::ClientLeft);
    assert!(exchange.written >= 1_000_000);

    let receiver = Receiver::start(Action::LargeBody(100_000_000));
    let mut answer = client.post(receiver.url()).send().await.expect("headers");
    assert_eq!(answer.content_length(), Some(100_000_000));
    let mut body = 0;
    while let Some(chunk) = answer.chunk().await.expect("no error") {
        body += chunk.len();
    }
    assert_eq!(body, 100_000_000);
    assert_eq!(only_exchange(&receiver).await.status, Some(200));
}

#[tokio::test]
async fn what_is_not_http_is_not_http() {
    let receiver = Receiver::start(Action::Garbage);
    let error = client().post(receiver.url()).send().await.expect_err("no answer");
    assert!(error.is_request(), "{error:?}");
    assert_eq!(only_exchange(&receiver).await.end, End::Cut);
}

#[tokio::test]
async fn interim_answers_come_before_the_last_one() {
    let receiver = Receiver::start(Action::Interim(250));
    let mut stream = raw(&receiver).await;
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"Content-Length: 0\r\n\r\n") {
        assert!(stream.read_buf(&mut bytes).await.expect("bytes come") > 0);
    }
    let text = String::from_utf8(bytes).expect("text");
    assert_eq!(text.matches("HTTP/1.1 103 ").count(), 250);
    assert!(text.contains("\r\n\r\nHTTP/1.1 200 "), "{text}");
}

#[tokio::test]
async fn a_204_can_have_what_it_must_not_have() {
    let receiver = Receiver::start(Action::NoContentWithBody);
    let mut stream = raw(&receiver).await;
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"but there is!!") {
        assert!(stream.read_buf(&mut bytes).await.expect("bytes come") > 0);
    }
    assert!(bytes.starts_with(b"HTTP/1.1 204 ") && bytes.windows(18).any(|part| part == b"Content-Length: 14"));
}

#[tokio::test]
async fn an_idle_connection_is_closed_without_a_word() {
    let receiver = Receiver::start(Action::AnswerThenClose(Answer::new(200).body("bye")));
    let mut stream = raw(&receiver).await;
    let (bytes, end) = everything(&mut stream).await;
    let text = String::from_utf8(bytes).expect("text");
    assert!(end.is_ok() && text.ends_with("\r\n\r\nbye"), "{end:?} after {text}");
    assert!(!text.to_ascii_lowercase().contains("connection:"), "{text}");
}

#[tokio::test]
async fn a_closed_port_refuses_and_opens_again() {
    let receiver = Receiver::start(Action::Hang);
    let mut held = raw(&receiver).await;
    receiver.wait_for(1, SOON).await;

    receiver.close().await;

    let error = TcpStream::connect(receiver.address()).await.expect_err("nobody listens");
    assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    assert!(everything(&mut held).await.0.is_empty(), "a connection outlived the close");
    receiver.behave(Action::ok());
    receiver.open().await;
    assert_eq!(client().post(receiver.url()).send().await.expect("an answer").status().as_u16(), 204);
}
