//! The messages of LiveKit's webhooks as they come, in protobuf's JSON with either spelling of field names. Only fields
//! that something is made of are listed: the others, secrets among them, are skipped without being read.

use serde::Deserialize;

use super::{
    InvalidEvent,
    lenient::{Attributes, List, Part},
    scalar::{Exact, Flag, Integer, Named, Present, Prose, Real},
};
use crate::model::event_data::{
    DisconnectReason, EgressStatus, IngressKind, IngressStatus, ParticipantKind, ParticipantState, RoomEndReason,
    StreamStatus, TrackEncryption, TrackKind, TrackSource,
};

/// LiveKit's ids.
pub(super) type Id = Exact<128>;
/// Identities of participants, by LiveKit's own default bound.
pub(super) type Identity = Exact<256>;
/// Names of rooms, by LiveKit's own default bound.
pub(super) type RoomName = Exact<{ crate::media::room::MAX_WIRE_BYTES }>;
/// The customers' own texts.
pub(super) type Metadata = Exact<65_536>;
/// Names of objects in a storage, locations and stream URLs.
pub(super) type Location = Exact<4_096>;
/// What something is called.
pub(super) type Name = Prose<256>;
/// Explanations.
pub(super) type Explanation = Prose<2_048>;

/// `livekit.WebhookEvent`.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Body {
    pub(super) event: Exact<64>,
    pub(super) id: Id,
    #[serde(alias = "created_at")]
    pub(super) created_at: Integer,
    pub(super) room: Part<Room>,
    pub(super) participant: Part<Participant>,
    pub(super) track: Part<Track>,
    #[serde(alias = "egress_info")]
    pub(super) egress_info: Part<Egress>,
    #[serde(alias = "ingress_info")]
    pub(super) ingress_info: Part<Ingress>,
    pub(super) job: Part<Job>,
    #[serde(alias = "room_end_reason")]
    pub(super) room_end_reason: Named<RoomEndReason>,
}

/// What of a [`Body`] has to be readable.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Envelope {
    event: Exact<64>,
    id: Id,
    #[serde(alias = "created_at")]
    created_at: Integer,
}

/// Reads a body. What JSON allows and no value can hold (half a surrogate pair, 1e999, a name twice) costs the event
/// everything but its envelope.
pub(super) fn read(body: &[u8]) -> Result<Body, InvalidEvent> {
    let read = match serde_json::from_slice::<Part<Body>>(body) {
        Ok(Part(read)) => read,
        Err(_) => serde_json::from_slice::<Part<Envelope>>(body)
            .map_err(|_| InvalidEvent { reason: "is not JSON" })?
            .0
            .map(|Envelope { event, id, created_at }| Body { event, id, created_at, ..Body::default() }),
    };
    read.ok_or(InvalidEvent { reason: "is not a JSON object" })
}

/// `livekit.Room`.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Room {
    pub(super) sid: Id,
    pub(super) name: RoomName,
    pub(super) metadata: Metadata,
    #[serde(alias = "empty_timeout")]
    pub(super) empty_timeout: Integer,
    #[serde(alias = "departure_timeout")]
    pub(super) departure_timeout: Integer,
    #[serde(alias = "max_participants")]
    pub(super) max_participants: Integer,
    #[serde(alias = "creation_time")]
    pub(super) creation_time: Integer,
    #[serde(alias = "creation_time_ms")]
    pub(super) creation_time_ms: Integer,
    #[serde(alias = "num_participants")]
    pub(super) num_participants: Integer,
    #[serde(alias = "num_publishers")]
    pub(super) num_publishers: Integer,
    #[serde(alias = "active_recording")]
    pub(super) active_recording: Flag,
}

/// `livekit.ParticipantInfo`.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Participant {
    pub(super) sid: Id,
    pub(super) identity: Identity,
    pub(super) name: Name,
    pub(super) kind: Named<ParticipantKind>,
    pub(super) state: Named<ParticipantState>,
    pub(super) metadata: Metadata,
    pub(super) attributes: Attributes,
    #[serde(alias = "joined_at")]
    pub(super) joined_at: Integer,
    #[serde(alias = "joined_at_ms")]
    pub(super) joined_at_ms: Integer,
    #[serde(alias = "is_publisher")]
    pub(super) is_publisher: Flag,
    pub(super) region: Name,
    pub(super) permission: Part<Permission>,
    #[serde(alias = "disconnect_reason")]
    pub(super) disconnect_reason: Named<DisconnectReason>,
}

/// `livekit.ParticipantPermission`.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Permission {
    #[serde(alias = "can_publish")]
    pub(super) can_publish: Flag,
    #[serde(alias = "can_subscribe")]
    pub(super) can_subscribe: Flag,
    #[serde(alias = "can_publish_data")]
    pub(super) can_publish_data: Flag,
    #[serde(alias = "can_publish_sources")]
    pub(super) can_publish_sources: List<Named<TrackSource>>,
    #[serde(alias = "can_update_metadata")]
    pub(super) can_update_metadata: Flag,
    pub(super) hidden: Flag,
}

/// `livekit.TrackInfo`.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Track {
    pub(super) sid: Id,
    #[serde(rename = "type")]
    pub(super) kind: Named<TrackKind>,
    pub(super) name: Name,
    pub(super) source: Named<TrackSource>,
    #[serde(alias = "mime_type")]
    pub(super) mime_type: Name,
    pub(super) width: Integer,
    pub(super) height: Integer,
    pub(super) muted: Flag,
    pub(super) simulcast: Flag,
    pub(super) encryption: Named<TrackEncryption>,
}

/// `livekit.Job`, of which the room and the participant count.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Job {
    pub(super) room: Part<Room>,
    pub(super) participant: Part<Participant>,
}

/// `livekit.EgressInfo`. Of the requests that it quotes only which one there is counts; its deprecated twins of the
/// results are skipped.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Egress {
    #[serde(alias = "egress_id")]
    pub(super) egress_id: Id,
    #[serde(alias = "room_id")]
    pub(super) room_id: Id,
    #[serde(alias = "room_name")]
    pub(super) room_name: RoomName,
    pub(super) status: Named<EgressStatus>,
    #[serde(alias = "started_at")]
    pub(super) started_at: Integer,
    #[serde(alias = "ended_at")]
    pub(super) ended_at: Integer,
    #[serde(alias = "updated_at")]
    pub(super) updated_at: Integer,
    #[serde(alias = "room_composite")]
    pub(super) room_composite: Present,
    pub(super) web: Present,
    pub(super) participant: Present,
    #[serde(alias = "track_composite")]
    pub(super) track_composite: Present,
    pub(super) track: Present,
    #[serde(rename = "egress")]
    pub(super) unified: Part<Source>,
    pub(super) replay: Part<Source>,
    #[serde(alias = "file_results")]
    pub(super) file_results: List<Part<File>>,
    #[serde(alias = "segment_results")]
    pub(super) segment_results: List<Part<Segments>>,
    #[serde(alias = "stream_results")]
    pub(super) stream_results: List<Part<Stream>>,
    #[serde(alias = "image_results")]
    pub(super) image_results: List<Part<Images>>,
    pub(super) error: Explanation,
    #[serde(alias = "error_code")]
    pub(super) error_code: Integer,
    pub(super) details: Explanation,
    #[serde(alias = "manifest_location")]
    pub(super) manifest_location: Location,
}

/// What `livekit.StartEgressRequest` and `livekit.ExportReplayRequest` take.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Source {
    pub(super) template: Present,
    pub(super) web: Present,
    pub(super) media: Part<Media>,
}

/// `livekit.MediaSource`.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Media {
    #[serde(alias = "participant_video")]
    pub(super) participant_video: Present,
}

/// `livekit.FileInfo`.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct File {
    pub(super) filename: Location,
    pub(super) location: Location,
    pub(super) size: Integer,
    pub(super) duration: Integer,
    #[serde(alias = "started_at")]
    pub(super) started_at: Integer,
    #[serde(alias = "ended_at")]
    pub(super) ended_at: Integer,
}

/// `livekit.SegmentsInfo`.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Segments {
    #[serde(alias = "playlist_name")]
    pub(super) playlist_name: Location,
    #[serde(alias = "live_playlist_name")]
    pub(super) live_playlist_name: Location,
    #[serde(alias = "playlist_location")]
    pub(super) playlist_location: Location,
    #[serde(alias = "live_playlist_location")]
    pub(super) live_playlist_location: Location,
    #[serde(alias = "segment_count")]
    pub(super) segment_count: Integer,
    pub(super) size: Integer,
    pub(super) duration: Integer,
    #[serde(alias = "started_at")]
    pub(super) started_at: Integer,
    #[serde(alias = "ended_at")]
    pub(super) ended_at: Integer,
}

/// `livekit.StreamInfo`.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Stream {
    pub(super) url: Location,
    pub(super) status: Named<StreamStatus>,
    pub(super) duration: Integer,
    #[serde(alias = "started_at")]
    pub(super) started_at: Integer,
    #[serde(alias = "ended_at")]
    pub(super) ended_at: Integer,
    pub(super) retries: Integer,
    pub(super) error: Explanation,
}

/// `livekit.ImagesInfo`.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Images {
    #[serde(alias = "filename_prefix")]
    pub(super) filename_prefix: Location,
    #[serde(alias = "image_count")]
    pub(super) image_count: Integer,
    #[serde(alias = "started_at")]
    pub(super) started_at: Integer,
    #[serde(alias = "ended_at")]
    pub(super) ended_at: Integer,
}

/// `livekit.IngressInfo`.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Ingress {
    #[serde(alias = "ingress_id")]
    pub(super) ingress_id: Id,
    pub(super) name: Name,
    #[serde(alias = "input_type")]
    pub(super) input_type: Named<IngressKind>,
    #[serde(alias = "room_name")]
    pub(super) room_name: RoomName,
    #[serde(alias = "participant_identity")]
    pub(super) participant_identity: Identity,
    #[serde(alias = "participant_name")]
    pub(super) participant_name: Name,
    pub(super) reusable: Flag,
    pub(super) state: Part<IngressState>,
}

/// `livekit.IngressState`.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct IngressState {
    pub(super) status: Named<IngressStatus>,
    pub(super) error: Explanation,
    #[serde(alias = "room_id")]
    pub(super) room_id: Id,
    #[serde(alias = "resource_id")]
    pub(super) resource_id: Id,
    #[serde(alias = "started_at")]
    pub(super) started_at: Integer,
    #[serde(alias = "ended_at")]
    pub(super) ended_at: Integer,
    #[serde(alias = "updated_at")]
    pub(super) updated_at: Integer,
    pub(super) video: Part<InputVideo>,
    pub(super) audio: Part<InputAudio>,
}

/// `livekit.InputVideoState`.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct InputVideo {
    #[serde(alias = "mime_type")]
    pub(super) mime_type: Name,
    #[serde(alias = "average_bitrate")]
    pub(super) average_bitrate: Integer,
    pub(super) width: Integer,
    pub(super) height: Integer,
    pub(super) framerate: Real,
}

/// `livekit.InputAudioState`.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct InputAudio {
    #[serde(alias = "mime_type")]
    pub(super) mime_type: Name,
    #[serde(alias = "average_bitrate")]
    pub(super) average_bitrate: Integer,
    pub(super) channels: Integer,
    #[serde(alias = "sample_rate")]
    pub(super) sample_rate: Integer,
}
