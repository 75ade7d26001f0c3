//! A LiveKit that only knows who is there: it hears of everything that its webhooks tell, when it happens, and answers the
//! reconciler's questions with it. So the reconciler finds nothing amiss, as on a good day.

use std::{collections::HashMap, sync::Arc};

use http_body_util::{BodyExt as _, Full};
use hyper::{
    Request, Response,
    body::{Bytes, Incoming},
};
use hyper_util::rt::TokioIo;
use livekit_protocol as wire;
use parking_lot::Mutex;
use prost::Message;
use pulse_tests::livekit_sender::{HttpPost, Post, Tried};
use serde::Deserialize;
use tokio::net::TcpListener;

/// The rooms that are open, by their names.
type Rooms = Arc<Mutex<HashMap<String, Open>>>;

/// An open room.
struct Open {
    room: wire::Room,
    people: HashMap<String, wire::ParticipantInfo>,
}

/// See the head of this file. It serves for as long as the runtime does; a copy is the same.
#[derive(Clone)]
pub(super) struct LiveKit {
    /// Where it listens.
    pub(super) url: String,
    rooms: Rooms,
}

impl LiveKit {
    /// One without rooms.
    pub(super) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("ws://{}", listener.local_addr().expect("an address"));
        let rooms = Rooms::default();
        let known = Arc::clone(&rooms);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let known = Arc::clone(&known);
                let service = hyper::service::service_fn(move |request| answer(request, Arc::clone(&known)));
                let serving =
                    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
                tokio::spawn(serving);
            }
        });
        Self { url, rooms }
    }

    /// Lets happen what a webhook with this body tells.
    pub(super) fn hear(&self, body: &[u8]) {
        let Told { event, room, participant } = serde_json::from_slice(body).expect("a webhook of a story");
        let mut rooms = self.rooms.lock();
        match event {
            "room_started" => drop(rooms.insert(room.name.to_owned(), room.open())),
            "room_finished" => drop(rooms.remove(room.name)),
            "participant_joined" | "participant_left" => {
                let (Some(open), Some(person)) = (rooms.get_mut(room.name), participant) else { return };
                if event == "participant_joined" {
                    open.people.insert(person.sid.to_owned(), person.active());
                } else {
                    open.people.remove(person.sid);
                }
                open.room.num_participants = u32::try_from(open.people.len()).expect("few");
            }
            _ => {}
        }
    }
}

/// Posts webhooks, and lets what they tell happen when they are posted: for senders that wait for answers, whose events
/// have no moment of their own.
pub(super) struct Happening {
    pub(super) post: HttpPost,
    pub(super) livekit: LiveKit,
}

impl Post for Happening {
    async fn post(&self, authorization: &str, body: Bytes) -> Tried {
        self.livekit.hear(&body);
        self.post.post(authorization, body).await
    }
}

#[derive(Deserialize)]
struct Told<'a> {
    event: &'a str,
    #[serde(borrow)]
    room: Room<'a>,
    participant: Option<Person<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Room<'a> {
    sid: &'a str,
    name: &'a str,
    creation_time_ms: Option<&'a str>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Person<'a> {
    sid: &'a str,
    identity: &'a str,
    joined_at_ms: Option<&'a str>,
}

/// Milliseconds since 1970, which protojson writes as a text.
fn millis(text: Option<&str>) -> i64 {
    text.and_then(|text| text.parse().ok()).unwrap_or_default()
}

impl Room<'_> {
    fn open(&self) -> Open {
        let created = millis(self.creation_time_ms);
        let room = wire::Room {
            sid: self.sid.to_owned(),
            name: self.name.to_owned(),
            creation_time: created / 1_000,
            creation_time_ms: created,
            ..wire::Room::default()
        };
        Open { room, people: HashMap::new() }
    }
}

impl Person<'_> {
    fn active(&self) -> wire::ParticipantInfo {
        let joined = millis(self.joined_at_ms);
        wire::ParticipantInfo {
            sid: self.sid.to_owned(),
            identity: self.identity.to_owned(),
            state: wire::participant_info::State::Active.into(),
            joined_at: joined / 1_000,
            joined_at_ms: joined,
            ..wire::ParticipantInfo::default()
        }
    }
}

/// Answers one call as Twirp has it.
async fn answer(request: Request<Incoming>, rooms: Rooms) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let path = request.uri().path().to_owned();
    let body = request.into_body().collect().await?.to_bytes();
    let rooms = rooms.lock();
    let encoded = match path.rsplit('/').next() {
        Some("ListRooms") => {
            wire::ListRoomsResponse { rooms: rooms.values().map(|open| open.room.clone()).collect() }.encode_to_vec()
        }
        Some("ListParticipants") => {
            let room = wire::ListParticipantsRequest::decode(body).map(|asked| asked.room).unwrap_or_default();
            let people = rooms.get(&room).map(|open| open.people.values().cloned().collect());
            wire::ListParticipantsResponse { participants: people.unwrap_or_default() }.encode_to_vec()
        }
        // No egress, no ingress, nothing to say.
        _ => Vec::new(),
    };
    let answer = Response::builder().header("content-type", "application/protobuf").body(Full::new(encoded.into()));
    Ok(answer.expect("an answer"))
}
