//! Egresses and recordings in the data of events.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

/// An egress: a recording or a stream out of a room, or out of a web page.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema, Default)]
pub struct EgressData {
    /// LiveKit's id.
    pub livekit_id: String,
    /// What it takes.
    pub kind: EgressKind,
    /// How far it is.
    pub status: EgressStatus,
    /// LiveKit's id of the room's life that it takes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub room_sid: Option<String>,
    /// The room; an egress of a web page has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub room_name: Option<String>,
    /// When it began.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
    /// When LiveKit last changed it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub updated_at: Option<Timestamp>,
    /// Why it failed, in LiveKit's words and your names of rooms, cut at 2,048 bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The HTTP status that fits the error.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_code: Option<i32>,
    /// More about its end, in LiveKit's words and your names of rooms, cut at 2,048 bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub details: Option<String>,
    /// Where LiveKit wrote the list of what it recorded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub manifest_location: Option<String>,
    /// The files that it writes, at most 64.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<FileResult>,
    /// The playlists with segments that it writes, at most 64.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub segments: Vec<SegmentsResult>,
    /// Where it streams to, at most 64.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub streams: Vec<StreamResult>,
    /// The series of pictures that it writes, at most 64.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub images: Vec<ImagesResult>,
}

/// What an egress takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Default)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum EgressKind {
    /// A whole room, put together by a template.
    RoomComposite,
    /// A web page.
    Web,
    /// One participant.
    Participant,
    /// One audio and one video track together.
    TrackComposite,
    /// One track as it is.
    Track,
    /// Something that this version does not know.
    #[default]
    Unknown,
}

/// How far an egress is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Default)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum EgressStatus {
    /// It is being started.
    Starting,
    /// It runs.
    Active,
    /// It is being ended: what it recorded is written.
    Ending,
    /// It has ended as it should.
    Complete,
    /// It failed.
    Failed,
    /// It was stopped before it began.
    Aborted,
    /// It ran for as long as the server allows.
    LimitReached,
    /// Something that this version does not know.
    #[default]
    Unknown,
}

impl EgressStatus {
    /// Whether it is over.
    pub fn is_over(self) -> bool {
        matches!(self, Self::Complete | Self::Failed | Self::Aborted | Self::LimitReached)
    }
}

/// A file that an egress writes. Until it is written only its name may be known.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FileResult {
    /// Its name in the storage.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filename: Option<String>,
    /// Where it is, as LiveKit says. The scheme is always https, whatever the storage speaks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub location: Option<String>,
    /// Its size in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// How long it plays, in seconds to the millisecond.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration_seconds: Option<f64>,
    /// When it begins.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// When it ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
}

/// A playlist with segments that an egress writes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SegmentsResult {
    /// The name of the playlist with all segments.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub playlist_name: Option<String>,
    /// The name of the playlist with the latest segments.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub live_playlist_name: Option<String>,
    /// Where the playlist with all segments is, as LiveKit says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub playlist_location: Option<String>,
    /// Where the playlist with the latest segments is, as LiveKit says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub live_playlist_location: Option<String>,
    /// How many segments there are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub segment_count: Option<u64>,
    /// Their size in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// How long they play, in seconds to the millisecond.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration_seconds: Option<f64>,
    /// When the first begins.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// When the last ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
}

/// A place that an egress streams to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StreamResult {
    /// Where to, with LiveKit's mask over the stream key, and without user, password and query, which LiveKit would show.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// How far it is.
    pub status: StreamStatus,
    /// How long it streamed, in seconds to the millisecond.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration_seconds: Option<f64>,
    /// When it began.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
    /// How often it was connected anew.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retries: Option<u32>,
    /// Why it failed, in LiveKit's words and your names of rooms, cut at 2,048 bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// How far a stream is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum StreamStatus {
    /// It streams, or is about to.
    Active,
    /// It has ended as it should.
    Finished,
    /// It failed.
    Failed,
    /// Something that this version does not know.
    Unknown,
}

/// A series of pictures that an egress writes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ImagesResult {
    /// What every picture's name begins with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filename_prefix: Option<String>,
    /// How many pictures there are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_count: Option<u64>,
    /// When the first was taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// When the last was taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
}

/// Something recorded that can be fetched: a file, or a playlist with its segments.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RecordingData {
    /// LiveKit's id of the egress that made it.
    pub livekit_egress_id: String,
    /// Whether it is one file or many.
    pub kind: RecordingKind,
    /// The file's name in the storage.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filename: Option<String>,
    /// The name of the playlist with all segments.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub playlist_name: Option<String>,
    /// The name of the playlist with the latest segments.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub live_playlist_name: Option<String>,
    /// Where the file, or the playlist with all segments, is, as LiveKit says.
    pub location: String,
    /// Where the playlist with the latest segments is, as LiveKit says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub live_location: Option<String>,
    /// Its size in bytes.
    pub size: u64,
    /// How long it plays, in seconds to the millisecond.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration_seconds: Option<f64>,
    /// How many segments there are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub segment_count: Option<u64>,
    /// When it begins.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// When it ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
}

/// Whether a recording is one file or many.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum RecordingKind {
    /// One file.
    File,
    /// Segments with a playlist.
    Segments,
}
