//! LiveKit's answers, as a real server gave them (`tests/fixtures/livekit/api.json`), and as none should.

use std::time::Duration;

use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

use super::*;
use crate::{
    model::event_data::{EgressKind, EgressStatus, IngressStatus, ParticipantKind},
    outbound::AddressPolicy,
    secret::Secret,
    time::{ManualClock, Timestamp},
};

const RECORDED: &str = include_str!("../../../../tests/fixtures/livekit/api.json");
const NOW: i64 = 1_795_459_500;

/// The recorded answer of a call.
fn recorded(method: &str, note: &str) -> (u16, Value) {
    let all: Vec<Value> = serde_json::from_str(RECORDED).unwrap();
    let found = all.into_iter().find(|call| call["method"] == method && call["note"] == note);
    let call = found.unwrap_or_else(|| panic!("{method} {note:?} is not recorded"));
    (u16::try_from(call["status"].as_u64().unwrap()).unwrap(), call["response"].clone())
}

fn signer(url: String) -> Signer {
    Signer { url, api_key: "APItest".to_owned(), api_secret: Secret::new("secret-of-the-tests"), shared: true }
}

/// A client of a server that answers the requests one after another, each on its own connection, and the requests.
async fn answering(answers: Vec<Vec<u8>>) -> (LiveKit, tokio::sync::mpsc::UnboundedReceiver<Vec<u8>>) {
    crate::boot::open::install_cryptography();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (told, heard) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        for answer in answers {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = vec![0; 64 * 1024];
            let length = stream.read(&mut request).await.unwrap();
            request.truncate(length);
            // Not every test looks at what was asked.
            drop(told.send(request));
            stream.write_all(&answer).await.unwrap();
        }
    });
    let policy = AddressPolicy::only(vec!["127.0.0.0/8".parse().unwrap()]);
    let clock = Arc::new(ManualClock::new(Timestamp::from_secs(NOW)));
    (LiveKit::own(Outbound::new(policy), signer(format!("ws://{address}/")), clock), heard)
}

/// An answer over HTTP.
fn http(status: u16, content_type: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 {status} X\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

/// An answer of Twirp.
fn json(body: &str) -> Vec<u8> {
    http(200, "application/json", body.as_bytes())
}

/// What LiveKit answered.
fn answered(method: &str, note: &str) -> Vec<u8> {
    json(&recorded(method, note).1.to_string())
}

#[tokio::test]
async fn recorded_lists_are_read_with_what_pulse_uses_and_without_their_secrets() {
    let room = WireRoom::heard("prj_00000000000000000000000000~fixture".to_owned());
    let (livekit, _) = answering(vec![
        answered("ListRooms", "all rooms"),
        answered("ListParticipants", "one publisher"),
        answered("ListEgress", "complete"),
        answered("ListIngress", "list"),
    ])
    .await;
    let rooms = livekit.list_rooms(None).await.unwrap();
    assert_eq!((rooms[0].sid.as_str(), &rooms[0].name), ("RM_3wMhYpRA4roE", &room));
    assert_eq!(rooms[0].created_at, Timestamp::from_millis(1_795_459_435_950));
    let participants = livekit.list_participants(&room).await.unwrap();
    let alice = &participants[0];
    assert_eq!((alice.identity.as_str(), alice.kind, alice.active), ("alice", ParticipantKind::Standard, true));
    assert_eq!(alice.sid, "PA_HqtpV9wUVDXT");
    let egress = livekit.list_egress(false).await.unwrap();
    let facts = &egress[0].facts;
    assert_eq!((facts.status, facts.kind), (EgressStatus::Complete, EgressKind::TrackComposite));
    assert_eq!(facts.wire_room.as_deref(), Some(room.as_str()));
    assert_eq!(facts.started_at_ns, Some(1_795_459_454_019_424_736));
    assert_eq!(facts.ended_at_ns, Some(1_795_459_457_155_702_221));
    assert!(egress[0].data.segments[0].size.is_some(), "{egress:?}");
    let ingress = livekit.list_ingress().await.unwrap();
    let facts = &ingress[0].facts;
    assert_eq!((facts.status, facts.wire_room.as_deref()), (IngressStatus::Inactive, Some(room.as_str())));
    assert_eq!(facts.resource_id, None, "it was never used");
    let shown = format!("{rooms:?}{participants:?}{egress:?}{ingress:?}");
    let turn_password = recorded("ListRooms", "all rooms").1["rooms"][0]["turn_password"].clone();
    let stream_key = recorded("ListIngress", "list").1["items"][0]["stream_key"].clone();
    for secret in [turn_password, stream_key] {
        let secret = secret.as_str().unwrap();
        assert!(secret.len() > 8 && !shown.contains(secret), "{secret} came along");
    }
}

#[tokio::test]
async fn each_call_can_do_just_that_for_a_minute() {
    let answers = [r#"{"rooms":[]}"#, r#"{"participants":[]}"#, "{}", r#"{"items":[]}"#, r#"{"items":[]}"#];
    let (livekit, mut heard) = answering(answers.map(json).to_vec()).await;
    let room = WireRoom::heard("r".to_owned());
    livekit.list_rooms(None).await.unwrap();
    livekit.list_participants(&room).await.unwrap();
    livekit.remove_participant(&room, "mallory").await.unwrap();
    livekit.list_egress(true).await.unwrap();
    livekit.list_ingress().await.unwrap();
    let expected = [
        ("RoomService/ListRooms", VideoGrants { room_list: true, ..VideoGrants::default() }),
        ("RoomService/ListParticipants", in_room(&room)),
        ("RoomService/RemoveParticipant", in_room(&room)),
        ("Egress/ListEgress", VideoGrants { room_record: true, ..VideoGrants::default() }),
        ("Ingress/ListIngress", VideoGrants { ingress_admin: true, ..VideoGrants::default() }),
    ];
    for (method, grants) in expected {
        let request = heard.recv().await.unwrap();
        let text = String::from_utf8_lossy(&request);
        assert!(text.starts_with(&format!("POST /twirp/livekit.{method} HTTP/1.1\r\n")), "{text}");
        assert!(text.contains("content-type: application/json\r\n"), "{text}");
        let token = text.lines().find_map(|line| line.strip_prefix("authorization: Bearer ")).unwrap();
        let claims = token::decode_signed(&signer(String::new()), token).unwrap().livekit;
        assert_eq!(claims.video, grants, "{method}");
        assert_eq!((claims.nbf, claims.exp), (1_795_459_500, 1_795_459_560));
    }
}

#[test]
fn recorded_refusals_are_told_apart() {
    let of = |method: &str, note: &str| {
        let (status, response) = recorded(method, note);
        let body = response.as_str().map_or_else(|| response.to_string(), str::to_owned);
        refusal(&answer(status, body))
    };
    assert_eq!(of("RemoveParticipant", "unknown identity"), EngineError::NotFound);
    assert_eq!(of("ListEgress", "unknown"), EngineError::NotFound);
    assert_eq!(of("ListRooms", "bad token"), EngineError::PermissionDenied);
    assert_eq!(of("ListRooms", "token without roomList"), EngineError::PermissionDenied);
    let busy = "twirp error unknown: no response from servers".to_owned();
    assert_eq!(of("StartTrackCompositeEgress", "no egress worker is running"), EngineError::Unavailable(busy));
    let code = "failed_precondition".to_owned();
    let message = "egress with status EGRESS_COMPLETE cannot be stopped".to_owned();
    assert_eq!(of("StopEgress", "stop again"), EngineError::Other { code, message });
}

fn answer(status: u16, body: impl Into<Bytes>) -> Answer {
    Answer {
        status: http::StatusCode::from_u16(status).unwrap(),
        headers: http::HeaderMap::new(),
        body: body.into(),
        truncated: false,
        peer: ([127, 0, 0, 1], 1).into(),
    }
}

#[test]
fn what_stands_between_pulse_and_livekit_is_not_taken_for_livekit() {
    let page = "<html>no such page</html>";
    let code = "http_404".to_owned();
    let other = EngineError::Other { code, message: String::new() };
    assert_eq!(refusal(&answer(404, page)), other, "a page that is missing says nothing about a room");
    assert_eq!(refusal(&answer(503, page)), EngineError::Unavailable("status 503".to_owned()));
    let redis = r#"{"code":"internal","msg":"egress not connected (redis required)"}"#;
    assert_eq!(refusal(&answer(500, redis)), EngineError::NeedsRedis);
    let long = format!(r#"{{"code":"internal","msg":"{}"}}"#, "é".repeat(1_000));
    assert!(matches!(refusal(&answer(500, long)), EngineError::Other { message, .. } if message.len() <= MAX_WORDS));
}

/// Somebody who is not in a list counts as gone, so a list that lost its end must never be taken for a whole one.
#[tokio::test]
async fn a_list_that_may_have_lost_its_end_is_no_list() {
    let two = r#"{"rooms":[{"sid":"RM_1","name":"a"},{"sid":"RM_2","name":"b"}]}"#;
    let whole = json(two);
    let endless = |body: &str| format!("HTTP/1.1 200 X\r\nContent-Type: application/json\r\n\r\n{body}").into_bytes();
    let mut refused = vec![
        (http(200, "text/html", b"{\"rooms\":[]}"), "a page".to_owned()),
        (json(""), "nothing".to_owned()),
        (json("{}"), "an object without the list, which LiveKit names when it is empty".to_owned()),
        (json(r#"{"rooms":null}"#), "no list".to_owned()),
        (json(r#"{"participants":[]}"#), "a list of something else".to_owned()),
        (json(&two.replace("]}", "]} ]")), "more than a list".to_owned()),
    ];
    for cut in 1..two.len() {
        refused.push((whole[..whole.len() - cut].to_vec(), format!("{cut} bytes shorter than its length")));
        refused.push((json(&two[..two.len() - cut]), format!("cut {cut} bytes before its end")));
        refused.push((endless(&two[..two.len() - cut]), format!("without a length, {cut} bytes too short")));
    }
    for (answer, what) in refused {
        let (livekit, _) = answering(vec![answer]).await;
        let listed = livekit.list_rooms(None).await;
        assert!(listed.is_err(), "{what}: {listed:?}");
    }
    let (livekit, _) = answering(vec![endless(two)]).await;
    assert_eq!(livekit.list_rooms(None).await.unwrap().len(), 2, "it says itself where it ends");
}

#[tokio::test]
async fn pages_of_a_list_are_put_together() {
    let page = |id: &str, next: &str| {
        json(&format!(r#"{{"items":[{{"egress_id":"{id}"}}],"next_page_token":{{"token":"{next}"}}}}"#))
    };
    let (livekit, mut heard) = answering(vec![page("EG_1", "more"), page("EG_2", "")]).await;
    let listed = livekit.list_egress(false).await.unwrap();
    let ids: Vec<String> = listed.into_iter().map(|egress| egress.facts.id).collect();
    assert_eq!(ids, ["EG_1", "EG_2"]);
    heard.recv().await.unwrap();
    assert!(String::from_utf8_lossy(&heard.recv().await.unwrap()).contains("more"), "the next page was not asked for");
}

/// A server that answers every request with a page and the word that there is another one.
async fn endless_pages(page: &'static str) -> (LiveKit, Arc<std::sync::atomic::AtomicUsize>) {
    crate::boot::open::install_cryptography();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let sent = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counted = Arc::clone(&sent);
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = vec![0; 64 * 1024];
            if stream.read(&mut request).await.unwrap() == 0 {
                continue;
            }
            counted.fetch_add(page.len(), std::sync::atomic::Ordering::Relaxed);
            // Who has enough hangs up.
            drop(stream.write_all(&json(page)).await);
        }
    });
    let policy = AddressPolicy::only(vec!["127.0.0.0/8".parse().unwrap()]);
    let clock = Arc::new(ManualClock::new(Timestamp::from_secs(NOW)));
    // A customer's has to speak TLS, and has the same bounds.
    let livekit = LiveKit::own(Outbound::new(policy), signer(format!("ws://{address}/")), clock);
    (LiveKit { bounds: Bounds::TENANT, ..livekit }, sent)
}

/// A customer's LiveKit may be anything: its lists are read row by row, and no further than so many rows and bytes.
#[tokio::test]
async fn a_customers_list_without_an_end_is_refused_before_it_fills_the_memory() {
    let now = Timestamp::from_secs(NOW);
    let rows = |count: usize| format!(r#"{{"rooms":[{}]}}"#, vec!["{}"; count].join(","));
    assert_eq!(Page::<Room>::read(rows(100).as_bytes(), 100, now).unwrap().rows, [], "rows of nobody are left out");
    assert!(Page::<Room>::read(rows(101).as_bytes(), 100, now).is_none());

    // Of results and attributes, which have two bytes when they are empty, there may be four a row.
    let filled =
        |row: String| Page::<Egress>::read(format!(r#"{{"items":[{row},{row}]}}"#).as_bytes(), 2, now).is_some();
    let egress = |files: usize| format!(r#"{{"egress_id":"EG_1","file_results":[{}]}}"#, vec!["{}"; files].join(","));
    assert!(filled(egress(4)) && !filled(egress(5)));
    let person = |name: &str| format!(r#""{name}":"""#);
    let people = |count: usize| {
        let attributes: Vec<String> = (0..count).map(|n| person(&n.to_string())).collect();
        let list = format!(r#"{{"participants":[{{"sid":"PA_1","attributes":{{{}}}}}]}}"#, attributes.join(","));
        Page::<Participant>::read(list.as_bytes(), 1, now).is_some()
    };
    assert!(people(4) && !people(5));

    let page: &'static str = Box::leak(
        format!(r#"{{"items":[{}{{}}],"next_page_token":{{"token":"more"}}}}"#, "{},".repeat(10_000)).into_boxed_str(),
    );
    let (livekit, sent) = endless_pages(page).await;
    assert_eq!(livekit.list_egress(false).await, Err(EngineError::TooLarge), "rows of nobody count by their bytes");
    let sent = sent.load(std::sync::atomic::Ordering::Relaxed);
    assert!(sent < Bounds::TENANT.bytes + 2 * page.len(), "{sent} bytes were asked for");

    let named: &'static str = Box::leak(
        format!(
            r#"{{"items":[{}{{}}],"next_page_token":{{"token":"more"}}}}"#,
            r#"{"egress_id":"EG_1"},"#.repeat(Bounds::TENANT.rows / 2)
        )
        .into_boxed_str(),
    );
    let (livekit, _) = endless_pages(named).await;
    let too_long = EngineError::Unreadable("it is no list of that kind, or too long");
    assert_eq!(livekit.list_egress(false).await, Err(too_long));
}

/// What a webhook may not bring along a list may not either.
#[tokio::test]
async fn texts_of_a_list_have_the_bounds_of_the_webhooks() {
    let long = "x".repeat(100_000);
    let (livekit, _) = answering(vec![json(&format!(
        r#"{{"participants":[{{"sid":"{long}","identity":"a"}},{{"sid":"PA_1","identity":"{long}","name":"{long}"}}]}}"#
    ))])
    .await;
    let room = WireRoom::heard("r".to_owned());
    let listed = livekit.list_participants(&room).await.unwrap();
    assert_eq!(listed.len(), 1, "an id that is too long is none");
    assert_eq!((listed[0].identity.len(), listed[0].name.len()), (0, 256));
}

#[tokio::test]
async fn no_names_are_no_rooms_and_not_all_of_them() {
    let (livekit, mut heard) = answering(vec![]).await;
    assert_eq!(livekit.list_rooms(Some(&[])).await, Ok(Vec::new()));
    assert!(heard.try_recv().is_err(), "LiveKit was asked");
}

#[tokio::test]
async fn a_customers_livekit_is_under_the_rules_for_customers_and_rests_after_failing() {
    crate::boot::open::install_cryptography();
    let clock = Arc::new(ManualClock::new(Timestamp::from_secs(NOW)));
    let breakers = Arc::new(Breakers::new(clock.clone()));
    let outbound = Outbound::new(AddressPolicy::default());
    let signer = signer("wss://10.0.0.1".to_owned());
    let livekit = LiveKit::of_tenant(outbound, signer, clock.clone(), breakers);
    assert_eq!((livekit.bounds.bytes, livekit.bounds.rows), (Bounds::TENANT.bytes, Bounds::TENANT.rows));
    for _ in 0..5 {
        let refused = livekit.list_rooms(None).await.unwrap_err();
        let EngineError::Unreachable(failure) = refused else { panic!("{refused:?}") };
        assert_eq!(failure.kind.word(), "refused_address");
    }
    assert_eq!(livekit.list_rooms(None).await, Err(EngineError::Resting(Duration::from_secs(30))));
    clock.advance(Duration::from_secs(30));
    assert!(matches!(livekit.list_rooms(None).await, Err(EngineError::Unreachable(_))));
}
