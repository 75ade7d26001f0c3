//! Sessions of rooms: one for each LiveKit room sid, from the room's creation to its end.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::absence::Absence;
use crate::{
    id::{EventId, ProjectId, SessionId},
    media::room::RoomName,
    time::Timestamp,
};

/// How many gaps a session names; further ones are left out.
pub const MAX_GAPS: usize = 50;

/// What LiveKit failed to tell and the reconciler found out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Gap {
    /// What was missing: `room_started`, `room_ended`, `participant_joined`, `participant_left`, `egress_started`, `egress_ended`,
    /// `ingress_started`, `ingress_ended`.
    pub missing: String,
    /// Of what: a participant's, an egress's or an ingress's id in LiveKit, or the room's.
    pub subject: String,
    /// Since when it may have happened: the last moment at which things were known to be as before.
    pub from: Timestamp,
    /// When it was found out.
    pub to: Timestamp,
}

/// What is added up when a session has ended and all of its people are gone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionSummary {
    /// Connections of people and agents.
    pub participants: u64,
    /// The most of them at once.
    pub peak: u64,
    /// Time that people were connected, in milliseconds.
    pub participant_millis: u64,
}

/// A session as it is stored. Evidence of its end is kept apart by kind, so that the end is the same in whatever order
/// the evidence comes: see [`Session::ended_at`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// The id.
    pub id: SessionId,
    /// The project.
    pub project_id: ProjectId,
    /// Which LiveKit: see [`Event::cluster`](super::event::Event::cluster).
    pub cluster: String,
    /// LiveKit's id of this life of the room.
    pub livekit_sid: String,
    /// The room, as the customer knows it.
    pub room: RoomName,
    /// When the room was created: LiveKit's word when `start_known`, else the earliest sign of it.
    pub started_at: Timestamp,
    /// Whether LiveKit has said when the room was created.
    pub start_known: bool,
    /// Whether the reconciler, and no event, told of the start; the id of the event that it wrote.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub synthetic_start: Option<EventId>,
    /// When LiveKit says that the room ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Timestamp>,
    /// When a newer room of the same name was created, which cannot be while this one lives.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub superseded_at: Option<Timestamp>,
    /// When the reconciler found the room gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lost_at: Option<Timestamp>,
    /// The event that the reconciler wrote when it found the room gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub synthetic_end: Option<EventId>,
    /// Since which good listing the room has been missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub absent: Option<Absence>,
    /// The sums, once it has ended and nobody is left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<SessionSummary>,
    /// What LiveKit failed to tell.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gaps: Vec<Gap>,
    /// When it may be forgotten.
    pub expires_at: Timestamp,
    /// Grows by one with each change.
    #[serde(skip)]
    pub version: u64,
}

impl Session {
    /// A session of which nothing is known but that its room was there at `started_at`; to be kept until `expires_at`.
    pub fn new(
        id: SessionId,
        (project_id, cluster): (ProjectId, &str),
        (livekit_sid, room): (&str, &RoomName),
        started_at: Timestamp,
        expires_at: Timestamp,
    ) -> Self {
        Self {
            id,
            project_id,
            cluster: cluster.to_owned(),
            livekit_sid: livekit_sid.to_owned(),
            room: room.clone(),
            started_at,
            start_known: false,
            synthetic_start: None,
            finished_at: None,
            superseded_at: None,
            lost_at: None,
            synthetic_end: None,
            absent: None,
            summary: None,
            gaps: Vec::new(),
            expires_at,
            version: 0,
        }
    }

    /// When it ended: LiveKit's own word before what was inferred, from a newer room or by the reconciler, and of that the
    /// earlier: a room that was lost in the evening did not go on until it was opened again.
    pub fn ended_at(&self) -> Option<Timestamp> {
        let inferred = [self.superseded_at, self.lost_at].into_iter().flatten().min();
        self.finished_at.or(inferred).map(|end| end.max(self.started_at))
    }

    /// Adds a gap, unless there are too many or it is known.
    pub fn add_gap(&mut self, gap: Gap) {
        if self.gaps.len() < MAX_GAPS && !self.gaps.contains(&gap) {
            self.gaps.push(gap);
        }
    }
}

/// Whether a session goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum SessionState {
    /// It does.
    Live,
    /// It is over.
    Ended,
}

/// A session as a list shows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Session")]
pub struct SessionView {
    /// The id.
    pub id: SessionId,
    /// The project.
    pub project_id: ProjectId,
    /// The room.
    pub room: RoomName,
    /// LiveKit's id of this life of the room.
    pub livekit_sid: String,
    /// Whether it goes on.
    pub state: SessionState,
    /// When the room was created.
    pub started_at: Timestamp,
    /// When the room ended; `null` while it lives.
    pub ended_at: Option<Timestamp>,
    /// Whether the start was found by looking, and not told by LiveKit.
    pub synthetic_start: bool,
    /// Whether the end was found by looking, or follows from a newer room, and was not told by LiveKit.
    pub synthetic_end: bool,
    /// Connections of people and agents so far.
    pub participants: u64,
    /// The most of them at once.
    pub peak: u64,
    /// Time that people were connected, in seconds, those who are connected now included.
    pub participant_seconds: f64,
    /// The moment that the sums are of.
    pub as_of: Timestamp,
}

impl Session {
    /// What a list shows, with these sums as of `now`.
    pub fn view(&self, sums: SessionSummary, now: Timestamp) -> SessionView {
        let ended_at = self.ended_at();
        SessionView {
            id: self.id,
            project_id: self.project_id,
            room: self.room.clone(),
            livekit_sid: self.livekit_sid.clone(),
            state: if ended_at.is_some() { SessionState::Ended } else { SessionState::Live },
            started_at: self.started_at,
            ended_at,
            synthetic_start: self.synthetic_start.is_some() && !self.start_known,
            synthetic_end: ended_at.is_some() && self.finished_at.is_none(),
            participants: sums.participants,
            peak: sums.peak,
            participant_seconds: super::usage::seconds(sums.participant_millis),
            as_of: now,
        }
    }
}
