//! LiveKit's answers, as a real server gave them (`tests/fixtures/livekit/api.json`), and as none should.

use std::time::Duration;

use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

use super::*;
use crate::{
    model::event_data::{EgressStatus, IngressStatus, ParticipantKind},
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

/// What LiveKit would have sent had it been asked in protobuf.
fn protobuf<T: Message + serde::de::DeserializeOwned>(method: &str, note: &str) -> Vec<u8> {
    let message: T = serde_json::from_value(recorded(method, note).1).unwrap();
    http(200, "application/protobuf", &message.encode_to_vec())
}

#[tokio::test]
async fn recorded_lists_are_read_with_what_pulse_uses_and_without_their_secrets() {
    let room = WireRoom::heard("prj_00000000000000000000000000~fixture".to_owned());
    let (livekit, _) = answering(vec![
        protobuf::<wire::ListRoomsResponse>("ListRooms", "all rooms"),
        protobuf::<wire::ListParticipantsResponse>("ListParticipants", "one publisher"),
        protobuf::<wire::ListEgressResponse>("ListEgress", "complete"),
        protobuf::<wire::ListIngressResponse>("ListIngress", "list"),
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
    assert_eq!((egress[0].status, egress[0].room.as_ref()), (EgressStatus::Complete, Some(&room)));
    assert_eq!((egress[0].started_ns, egress[0].ended_ns), (1_795_459_454_019_424_736, 1_795_459_457_155_702_221));
    let ingress = livekit.list_ingress().await.unwrap();
    assert_eq!((ingress[0].status, &ingress[0].room), (IngressStatus::Inactive, &room));
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
    let empty = || http(200, "application/protobuf", b"");
    let (livekit, mut heard) = answering(vec![empty(), empty(), empty(), empty(), empty()]).await;
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
        assert!(text.contains("content-type: application/protobuf\r\n"), "{text}");
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

fn answer(status: u16, body: impl Into<bytes::Bytes>) -> Answer {
    Answer {
        status: http::StatusCode::from_u16(status).unwrap(),
        headers: HeaderMap::new(),
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
    let one = wire::Room { sid: "RM_1".to_owned(), ..wire::Room::default() };
    let two = wire::ListRoomsResponse { rooms: vec![one.clone(), one] }.encode_to_vec();
    let half = &two[..two.len() / 2];
    assert_eq!(wire::ListRoomsResponse::decode(half).unwrap().rooms.len(), 1, "half of it reads like a shorter list");
    let cut = http(200, "application/protobuf", &two);
    let endless = [b"HTTP/1.1 200 X\r\nContent-Type: application/protobuf\r\n\r\n", half].concat();
    let chunked = [
        format!(
            "HTTP/1.1 200 X\r\nContent-Type: application/protobuf\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n",
            half.len()
        )
        .as_bytes(),
        half,
    ]
    .concat();
    for (answer, what) in [
        (cut[..cut.len() - half.len()].to_vec(), "shorter than its length"),
        (endless, "without a length"),
        (chunked, "without its last chunk"),
        (http(200, "application/protobuf", &two[..two.len() - 1]), "cut within an element"),
        (http(200, "text/html", b""), "an empty page"),
    ] {
        let (livekit, _) = answering(vec![answer]).await;
        assert!(livekit.list_rooms(None).await.is_err(), "{what}");
    }
}

#[tokio::test]
async fn pages_of_a_list_are_put_together() {
    let page = |id: &str, next: &str| {
        let egress = wire::EgressInfo { egress_id: id.to_owned(), ..wire::EgressInfo::default() };
        let token = wire::TokenPagination { token: next.to_owned() };
        let listed = wire::ListEgressResponse { items: vec![egress], next_page_token: Some(token) };
        http(200, "application/protobuf", &listed.encode_to_vec())
    };
    let (livekit, mut heard) = answering(vec![page("EG_1", "more"), page("EG_2", "")]).await;
    let ids: Vec<String> = livekit.list_egress(false).await.unwrap().into_iter().map(|egress| egress.id).collect();
    assert_eq!(ids, ["EG_1", "EG_2"]);
    heard.recv().await.unwrap();
    assert!(String::from_utf8_lossy(&heard.recv().await.unwrap()).contains("more"), "the next page was not asked for");
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
    for _ in 0..5 {
        let refused = livekit.list_rooms(None).await.unwrap_err();
        let EngineError::Unreachable(failure) = refused else { panic!("{refused:?}") };
        assert_eq!(failure.kind.word(), "refused_address");
    }
    assert_eq!(livekit.list_rooms(None).await, Err(EngineError::Resting(Duration::from_secs(30))));
    clock.advance(Duration::from_secs(30));
    assert!(matches!(livekit.list_rooms(None).await, Err(EngineError::Unreachable(_))));
}
