//! What a LiveKit webhook says: from the body of the request to [`LiveKitEvent`], in one pass and without any I/O.
//!
//! LiveKit never sends again what it got a 4xx for. So a body is refused only when nothing can be made of it: when it is
//! not a JSON object, or its `event`, `id` or `createdAt` cannot be read. Everything else is read tolerantly: unknown
//! fields, kinds and enum values, either spelling of field names, numbers as texts, values of the wrong type and values
//! beyond their bounds cost no more than themselves. Ids, identities, names to look something up by and the customers'
//! own texts are left out when they are longer than their bound, because cut they would be others; titles and
//! explanations are cut; lists end after 64 elements.
//!
//! What customers get is [`EventData`], an allow-list; what Pulse decides by is [`Facts`].

mod data;
mod facts;
mod kind;
mod lenient;
mod listed;
mod scalar;
mod wire;
mod words;

pub use facts::{EgressFacts, Facts, IngressFacts, ParticipantFacts, RoomFacts};
pub use kind::{EventKind, RECORDING_AVAILABLE, UnknownKind};
pub use listed::{Egress, Ingress, Participant, Room};
pub(crate) use listed::{Page, Row};

use crate::{
    model::event_data::{EgressData, EventData, FileResult, RecordingData, RecordingKind, SegmentsResult},
    time::Timestamp,
};

/// An event of LiveKit's.
#[derive(Clone, Debug, PartialEq)]
pub struct LiveKitEvent {
    /// LiveKit's id of the event, the same on every try to send it: 1 to 128 bytes.
    pub source_id: String,
    /// What happened.
    pub kind: EventKind,
    /// When, in whole seconds: LiveKit cuts the rest off.
    pub created_at: Timestamp,
    /// What customers read.
    pub data: EventData,
    /// What Pulse decides by.
    pub facts: Facts,
}

/// Why a body is no event, as the end of a sentence about the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the body {reason}")]
pub struct InvalidEvent {
    /// The reason, without anything from the body.
    pub reason: &'static str,
}

impl LiveKitEvent {
    /// Reads the body of a webhook, of which the caller bounds the size.
    ///
    /// # Errors
    /// [`InvalidEvent`] when the body is not a JSON object, or has no usable `event`, `id` or `createdAt`.
    pub fn parse(body: &[u8]) -> Result<Self, InvalidEvent> {
        let mut body = wire::read(body)?;
        let kind = body.event.0.as_deref().and_then(EventKind::parse);
        let kind = kind.ok_or(InvalidEvent { reason: "has no event of 1 to 64 characters of a-z, 0-9 and _" })?;
        let source_id = body.id.0.take().filter(|id| !id.chars().any(char::is_control));
        let source_id = source_id.ok_or(InvalidEvent { reason: "has no id of 1 to 128 bytes" })?;
        let created_at = body.created_at.seconds().ok_or(InvalidEvent { reason: "has no createdAt in seconds" })?;
        let facts = facts::of(&body);
        let mut data = data::of(&kind, body);
        data::without_wire_names(&mut data, facts.room.wire_name.as_deref());
        Ok(Self { source_id, created_at, data, kind, facts })
    }

    /// Puts the customer's name of the room wherever customers read a room's name. Names of files and locations stay as
    /// they are: the objects in the storage are called so. The facts keep LiveKit's name.
    pub fn rename_rooms(&mut self, to: &str) {
        let names = [
            self.data.room.as_mut().and_then(|room| room.name.as_mut()),
            self.data.egress.as_mut().and_then(|egress| egress.room_name.as_mut()),
            self.data.ingress.as_mut().and_then(|ingress| ingress.room_name.as_mut()),
        ];
        for name in names.into_iter().flatten() {
            to.clone_into(name);
        }
    }

    /// What the event makes available: of the end of an egress its recordings, of every other kind nothing.
    pub fn recordings(&self) -> Vec<RecordingData> {
        let ended = self.data.egress.as_ref().filter(|_| self.kind == EventKind::EgressEnded);
        ended.map(recordings_of).unwrap_or_default()
    }
}

/// What an egress has made once it has ended: each file and each playlist that has bytes and a location, whatever became of
/// the egress. A failed upload lists its file without either.
pub fn recordings_of(egress: &EgressData) -> Vec<RecordingData> {
    let files = egress.files.iter().filter_map(|file| recorded_file(egress, file));
    files.chain(egress.segments.iter().filter_map(|segments| recorded_segments(egress, segments))).collect()
}

fn recorded_file(egress: &EgressData, file: &FileResult) -> Option<RecordingData> {
    Some(RecordingData {
        livekit_egress_id: egress.livekit_id.clone(),
        kind: RecordingKind::File,
        filename: file.filename.clone(),
        playlist_name: None,
        live_playlist_name: None,
        location: file.location.clone()?,
        live_location: None,
        size: file.size?,
        duration_seconds: file.duration_seconds,
        segment_count: None,
        started_at: file.started_at,
        ended_at: file.ended_at,
    })
}

fn recorded_segments(egress: &EgressData, segments: &SegmentsResult) -> Option<RecordingData> {
    Some(RecordingData {
        livekit_egress_id: egress.livekit_id.clone(),
        kind: RecordingKind::Segments,
        filename: None,
        playlist_name: segments.playlist_name.clone(),
        live_playlist_name: segments.live_playlist_name.clone(),
        location: segments.playlist_location.clone().or_else(|| segments.live_playlist_location.clone())?,
        live_location: segments.live_playlist_location.clone(),
        size: segments.size?,
        duration_seconds: segments.duration_seconds,
        segment_count: segments.segment_count,
        started_at: segments.started_at,
        ended_at: segments.ended_at,
    })
}

#[cfg(test)]
mod tests;
