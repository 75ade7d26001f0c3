//! A LiveKit that only knows who is there: it hears of everything that its webhooks tell, when it happens, and answers the
//! reconciler's questions with it. So the reconciler finds nothing amiss, as on a good day.

use std::{collections::HashMap, sync::Arc};

use http_body_util::{BodyExt as _, Full};
use hyper::{
    Request, Response,
    body::{Bytes, Incoming},
};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use pulse_tests::livekit_sender::{Post, Tried};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::spread::Spread;

/// The rooms that are open, by their names.
type Rooms = Arc<Mutex<HashMap<String, Open>>>;

/// An open room.
struct Open {
    room: Value,
    people: HashMap<String, Value>,
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
                open.room["num_participants"] = open.people.len().into();
            }
            _ => {}
        }
    }
}

/// Posts webhooks, and lets what they tell happen when they are posted: for senders that wait for answers, whose events
/// have no moment of their own.
pub(super) struct Happening {
    pub(super) post: Spread,
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

impl Room<'_> {
    fn open(&self) -> Open {
        let room = json!({ "sid": self.sid, "name": self.name, "creation_time_ms": self.creation_time_ms });
        Open { room, people: HashMap::new() }
    }
}

impl Person<'_> {
    fn active(&self) -> Value {
        json!({ "sid": self.sid, "identity": self.identity, "state": "ACTIVE", "joined_at_ms": self.joined_at_ms })
    }
}

/// Answers one call as Twirp has it.
async fn answer(request: Request<Incoming>, rooms: Rooms) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let path = request.uri().path().to_owned();
    let body = request.into_body().collect().await?.to_bytes();
    let rooms = rooms.lock();
    let answer = match path.rsplit('/').next() {
        Some("ListRooms") => json!({ "rooms": rooms.values().map(|open| &open.room).collect::<Vec<_>>() }),
        Some("ListParticipants") => {
            let asked: Value = serde_json::from_slice(&body).unwrap_or_default();
            let open = asked["room"].as_str().and_then(|room| rooms.get(room));
            json!({ "participants": open.map(|open| open.people.values().collect::<Vec<_>>()).unwrap_or_default() })
        }
        // No egress, no ingress.
        _ => json!({ "items": [] }),
    };
    let answer =
        Response::builder().header("content-type", "application/json").body(Full::new(answer.to_string().into()));
    Ok(answer.expect("an answer"))
}
