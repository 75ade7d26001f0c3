//! A media server by script: rooms and participants that a test puts there, and faults as real ones have them.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use async_trait::async_trait;
use parking_lot::Mutex;

use super::{
    engine::{Egress, EngineError, Ingress, MediaEngine, Participant, Room},
    room::WireRoom,
};
use crate::{
    media::event::{EgressFacts, IngressFacts},
    model::event_data::{
        EgressData, EgressKind, EgressStatus, FileResult, IngressData, IngressStatus, ParticipantKind,
    },
    time::Timestamp,
};

/// How a call goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Course {
    /// As it should.
    Well,
    /// It fails so.
    Fails(EngineError),
    /// It never ends.
    Stalls,
    /// The answer is cut off on its way.
    Truncates,
}

#[derive(Debug, Default)]
struct State {
    rooms: Vec<Room>,
    participants: BTreeMap<String, Vec<Participant>>,
    egress: Vec<Egress>,
    ingress: Vec<Ingress>,
    courses: BTreeMap<&'static str, Course>,
    next_courses: BTreeMap<&'static str, VecDeque<Course>>,
    calls: Vec<String>,
    removed: Vec<(String, String)>,
}

/// A media server by script.
#[derive(Debug, Default)]
pub struct FakeEngine(Mutex<State>);

/// A participant of a person, active since `joined_at`.
pub fn person(sid: &str, identity: &str, joined_at: Timestamp) -> Participant {
    Participant {
        sid: sid.to_owned(),
        identity: identity.to_owned(),
        name: String::new(),
        kind: ParticipantKind::Standard,
        active: true,
        joined_at,
        attributes: BTreeMap::new(),
    }
}

/// An egress of a room, by its name and LiveKit's id, that began and perhaps ended then. When it has ended it has written a
/// file.
pub fn egress(id: &str, room: (&WireRoom, &str), began: Timestamp, ended: Option<Timestamp>) -> Egress {
    let (wire_room, room_sid) = (Some(room.0.as_str().to_owned()), Some(room.1.to_owned()));
    let status = if ended.is_some() { EgressStatus::Complete } else { EgressStatus::Active };
    let kind = EgressKind::RoomComposite;
    let file = FileResult {
        filename: Some("standup.mp4".to_owned()),
        location: Some("https://storage.example/standup.mp4".to_owned()),
        size: Some(1_000),
        duration_seconds: None,
        started_at: None,
        ended_at: None,
    };
    let data = EgressData {
        livekit_id: id.to_owned(),
        kind,
        status,
        room_sid: room_sid.clone(),
        room_name: wire_room.clone(),
        started_at: Some(began),
        ended_at: ended,
        files: Vec::from_iter(ended.map(|_| file)),
        ..EgressData::default()
    };
    let (started_at_ns, ended_at_ns) = (Some(nanos(began)), ended.map(nanos));
    let facts = EgressFacts { id: id.to_owned(), wire_room, room_sid, kind, status, started_at_ns, ended_at_ns };
    Egress { facts, data }
}

/// A use of an ingress (its id and the use's) into a room, by its name and LiveKit's id, that began and perhaps ended then.
pub fn ingress(
    (id, resource): (&str, &str),
    room: (&WireRoom, &str),
    began: Timestamp,
    ended: Option<Timestamp>,
) -> Ingress {
    let (wire_room, room_sid) = (Some(room.0.as_str().to_owned()), Some(room.1.to_owned()));
    let status = if ended.is_some() { IngressStatus::Inactive } else { IngressStatus::Publishing };
    let data = IngressData {
        livekit_id: id.to_owned(),
        status,
        room_sid: room_sid.clone(),
        room_name: wire_room.clone(),
        ..IngressData::default()
    };
    let facts = IngressFacts {
        id: id.to_owned(),
        resource_id: Some(resource.to_owned()),
        wire_room,
        room_sid,
        status,
        started_at_ns: Some(nanos(began)),
        ended_at_ns: ended.map(nanos),
    };
    Ingress { facts, data }
}

fn nanos(at: Timestamp) -> i64 {
    at.as_millis() * 1_000_000
}

impl FakeEngine {
    /// A server without rooms.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Opens a room with these in it, or says anew who is in it.
    pub fn put_room(&self, sid: &str, name: &WireRoom, created_at: Timestamp, participants: Vec<Participant>) {
        let mut state = self.0.lock();
        state.rooms.retain(|room| room.name != *name);
        state.rooms.push(Room {
            sid: sid.to_owned(),
            name: name.clone(),
            created_at,
            participants: u32::try_from(participants.len()).unwrap_or(u32::MAX),
        });
        state.participants.insert(name.as_str().to_owned(), participants);
    }

    /// Closes a room.
    pub fn close_room(&self, name: &WireRoom) {
        let mut state = self.0.lock();
        state.rooms.retain(|room| room.name != *name);
        state.participants.remove(name.as_str());
    }

    /// The egresses that are listed.
    pub fn put_egress(&self, egress: Vec<Egress>) {
        self.0.lock().egress = egress;
    }

    /// The ingresses that are listed.
    pub fn put_ingress(&self, ingress: Vec<Ingress>) {
        self.0.lock().ingress = ingress;
    }

    /// How calls of a method go from now on: `list_rooms`, `list_participants`, `remove_participant`, `list_egress`,
    /// `list_ingress`.
    pub fn course(&self, method: &'static str, course: Course) {
        self.0.lock().courses.insert(method, course);
    }

    /// How the next call of a method goes, and no other after those of which this was said before.
    pub fn course_of_next(&self, method: &'static str, course: Course) {
        self.0.lock().next_courses.entry(method).or_default().push_back(course);
    }

    /// Every call so far: the method, and the room if there is one.
    pub fn calls(&self) -> Vec<String> {
        self.0.lock().calls.clone()
    }

    /// Who was put out of which room, on the wire.
    pub fn removed(&self) -> Vec<(String, String)> {
        self.0.lock().removed.clone()
    }

    async fn go(&self, method: &'static str, room: &str) -> Result<(), EngineError> {
        let course = {
            let mut state = self.0.lock();
            state.calls.push(format!("{method} {room}").trim_end().to_owned());
            let next = state.next_courses.get_mut(method).and_then(VecDeque::pop_front);
            next.or_else(|| state.courses.get(method).cloned()).unwrap_or(Course::Well)
        };
        match course {
            Course::Well => Ok(()),
            Course::Fails(error) => Err(error),
            Course::Stalls => std::future::pending().await,
            Course::Truncates => Err(EngineError::Unreadable("it is no message of that kind")),
        }
    }
}

#[async_trait]
impl MediaEngine for FakeEngine {
    async fn list_rooms(&self, names: Option<&[WireRoom]>) -> Result<Vec<Room>, EngineError> {
        self.go("list_rooms", "").await?;
        let rooms = self.0.lock().rooms.clone();
        Ok(rooms.into_iter().filter(|room| names.is_none_or(|names| names.contains(&room.name))).collect())
    }

    async fn list_participants(&self, room: &WireRoom) -> Result<Vec<Participant>, EngineError> {
        self.go("list_participants", room.as_str()).await?;
        Ok(self.0.lock().participants.get(room.as_str()).cloned().unwrap_or_default())
    }

    async fn remove_participant(&self, room: &WireRoom, identity: &str) -> Result<(), EngineError> {
        self.go("remove_participant", room.as_str()).await?;
        let mut state = self.0.lock();
        let present = state.participants.entry(room.as_str().to_owned()).or_default();
        let before = present.len();
        present.retain(|participant| participant.identity != identity);
        if present.len() == before {
            return Err(EngineError::NotFound);
        }
        state.removed.push((room.as_str().to_owned(), identity.to_owned()));
        Ok(())
    }

    async fn list_egress(&self, active_only: bool) -> Result<Vec<Egress>, EngineError> {
        self.go("list_egress", "").await?;
        let egress = self.0.lock().egress.clone();
        Ok(egress.into_iter().filter(|egress| !active_only || !egress.facts.status.is_over()).collect())
    }

    async fn list_ingress(&self) -> Result<Vec<Ingress>, EngineError> {
        self.go("list_ingress", "").await?;
        Ok(self.0.lock().ingress.clone())
    }
}
