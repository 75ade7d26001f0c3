//! Connections that are kept for the next request.

use tokio::sync::mpsc;

use super::*;

fn to_public() -> Request {
    hook(&format!("http://{PUBLIC}/"))
}

#[tokio::test]
async fn one_connection_serves_request_after_request() {
    let (server, accepted) = serve(|_, stream| answer_all(stream, OK)).await;
    let (outbound, _) = client_of(server);
    for _ in 0..20 {
        assert_eq!(outbound.exchange(&to_public()).await.unwrap().status.as_u16(), 200);
    }
    assert_eq!(accepted.load(Ordering::SeqCst), 1);
}

/// The test closes the other side itself, right before the next request: the kernel knows of it then, and the event loop of
/// the client has had no chance to hear.
async fn closed_before_each_request(close: fn(TcpStream)) {
    let (told, mut answered) = mpsc::channel(1);
    let (server, accepted) = serve(move |_, mut stream| {
        let told = told.clone();
        async move {
            read(&mut stream).await;
            stream.write_all(OK.as_bytes()).await.unwrap();
            told.send(stream).await.unwrap();
        }
    })
    .await;
    let (outbound, _) = client_of(server);
    for round in 1..=50 {
        let answer = outbound.exchange(&to_public()).await.unwrap_or_else(|failure| panic!("{round}: {failure:?}"));
        assert_eq!((answer.status.as_u16(), accepted.load(Ordering::SeqCst)), (200, round));
        close(answered.recv().await.expect("the server's side of the connection"));
    }
}

#[tokio::test]
async fn a_kept_connection_that_the_other_side_closed_does_not_show() {
    closed_before_each_request(drop).await;
}

#[tokio::test]
async fn a_kept_connection_that_was_reset_does_not_show_either() {
    closed_before_each_request(|stream| stream.set_zero_linger().unwrap()).await;
}

/// A request that the other side has read and then not answered may have been acted upon: it is not sent again by itself.
#[tokio::test]
async fn a_request_that_went_out_on_a_kept_connection_is_not_repeated() {
    let (server, accepted) = serve(|_, mut stream| async move {
        read(&mut stream).await;
        stream.write_all(OK.as_bytes()).await.unwrap();
        read(&mut stream).await;
        stream.set_zero_linger().unwrap();
    })
    .await;
    let (outbound, _) = client_of(server);
    outbound.exchange(&to_public()).await.unwrap();
    let failure = outbound.exchange(&to_public()).await.unwrap_err();
    assert_eq!((failure.kind, failure.bytes_written), (FailureKind::Reset, true));
    assert_eq!(accepted.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn what_comes_after_an_answer_is_not_taken_for_the_next_one() {
    for odd in [
        "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 500 Odd\r\nContent-Length: 0\r\n\r\n",
    ] {
        let (server, accepted) =
            serve(move |number, stream| answer_all(stream, if number == 0 { odd } else { OK })).await;
        let (outbound, _) = client_of(server);
        assert!(outbound.exchange(&to_public()).await.unwrap().status.is_success());
        assert_eq!(outbound.exchange(&to_public()).await.unwrap().status.as_u16(), 200, "{odd}");
        assert_eq!(accepted.load(Ordering::SeqCst), 2, "a connection with an unasked answer was used again");
    }
}

#[tokio::test]
async fn no_more_than_64_connections_to_a_place_are_kept_and_none_for_long() {
    let (server, accepted) = serve(|_, stream| answer_all(stream, OK)).await;
    let (outbound, _) = client_of(server);
    let request = to_public();
    let all = futures_util::future::join_all((0..80).map(|_| outbound.exchange(&request))).await;
    assert!(all.iter().all(Result::is_ok));
    assert_eq!(accepted.load(Ordering::SeqCst), 80, "each request under way has a connection of its own");
    assert_eq!(outbound.0.pool.idle(), 64);
    tokio::time::pause();
    tokio::time::sleep(Duration::from_secs(25)).await;
    assert_eq!(outbound.0.pool.idle(), 64);
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert_eq!(outbound.0.pool.idle(), 0);
}

/// A customer's request must not travel over a connection that only the operator could have asked for.
#[tokio::test]
async fn what_the_operator_connected_is_no_way_around_the_rules_for_customers() {
    let (server, accepted) = serve(|_, stream| answer_all(stream, OK)).await;
    let dial = ScriptedDial::new();
    dial.route(server, server);
    let outbound = Outbound::over(plain(), dial.clone());
    let request = hook(&format!("http://{server}/"));
    outbound.exchange(&request.clone().trust(Trust::Operator)).await.unwrap();
    dial.name("inside.example", [testing::Said::addresses(&["127.0.0.1"])]);
    let by_name = hook(&format!("http://inside.example:{}/", server.port()));
    outbound.exchange(&by_name.clone().trust(Trust::Operator)).await.unwrap();
    for customers in [request, by_name] {
        let failure = outbound.exchange(&customers).await.unwrap_err();
        assert!(matches!(failure.kind, FailureKind::RefusedAddress(_)), "{failure:?}");
    }
    assert_eq!(accepted.load(Ordering::SeqCst), 2);
}
