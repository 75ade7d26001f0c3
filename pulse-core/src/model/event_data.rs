//! The `data` of an event, as customers read it: an allow-list. Every field stands here because somebody chose it, so what
//! LiveKit says beside (TURN passwords, stream keys, storage credentials, whole requests) has no place to go to.
//!
//! Names are snake_case, enums lower-case words with `unknown` for what this version does not know, times RFC 3339 with
//! milliseconds, spans in seconds, sizes in bytes. What is not known is left out, never guessed.

mod egress;
mod ingress;
mod participant;
mod track;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use egress::{
    EgressData, EgressKind, EgressStatus, FileResult, ImagesResult, RecordingData, RecordingKind, SegmentsResult,
    StreamResult, StreamStatus,
};
pub use ingress::{IngressAudio, IngressData, IngressKind, IngressStatus, IngressVideo};
pub use participant::{DisconnectReason, ParticipantData, ParticipantKind, ParticipantState, PermissionData};
pub use track::{TrackData, TrackEncryption, TrackKind, TrackSource};

use crate::time::Timestamp;

/// What an event is about. Which parts are there follows from the event's type.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct EventData {
    /// The room: events of rooms and participants have all of it, events of tracks its id and name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub room: Option<RoomData>,
    /// The participant: events of participants have all of it, events of tracks who published.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub participant: Option<ParticipantData>,
    /// The track, in events of tracks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub track: Option<TrackData>,
    /// The egress, in events of egresses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub egress: Option<EgressData>,
    /// The ingress, in events of ingresses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ingress: Option<IngressData>,
    /// The recording, in `recording_available`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recording: Option<RecordingData>,
}

/// A room, or only its id and name where LiveKit says no more.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RoomData {
    /// LiveKit's id of this life of the room; a room that is opened again has another.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sid: Option<String>,
    /// Its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The customer's own text; left out when it is empty or longer than 65,536 bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata: Option<String>,
    /// Seconds until the room closes when nobody has come.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub empty_timeout_seconds: Option<u32>,
    /// Seconds until the room closes when everybody has left.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub departure_timeout_seconds: Option<u32>,
    /// How many may be in it at once; 0 for no bound.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_participants: Option<u32>,
    /// When it was opened.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_at: Option<Timestamp>,
    /// How many are in it, as LiveKit counted last: it counts every few seconds, so this may be behind.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub num_participants: Option<u32>,
    /// How many of them publish, as LiveKit counted last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub num_publishers: Option<u32>,
    /// Whether an egress records it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub active_recording: Option<bool>,
    /// Why it ended, in `room_ended`, when LiveKit says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end_reason: Option<RoomEndReason>,
}

/// Why a room ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum RoomEndReason {
    /// It was deleted.
    ApiDelete,
    /// It was empty for as long as its timeouts allow.
    IdleTimeout,
    /// The LiveKit server stopped.
    ServerShutdown,
    /// It was opened again, or elsewhere.
    Superseded,
    /// It could not be opened.
    OpenFailed,
    /// Something that this version does not know.
    Unknown,
}
