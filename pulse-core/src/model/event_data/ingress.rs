//! Ingresses in the data of events. The stream key and the URL, which may hold it, are in none of them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

/// An ingress: media that come into a room from an encoder or a URL.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema, Default)]
pub struct IngressData {
    /// LiveKit's id; the same ingress may publish many times.
    pub livekit_id: String,
    /// What it is called, cut at 256 bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// How media come in.
    pub kind: IngressKind,
    /// The room that it publishes to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub room_name: Option<String>,
    /// LiveKit's id of the room's life that it publishes, or last published, to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub room_sid: Option<String>,
    /// As whom it publishes; left out when it is longer than 256 bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub participant_identity: Option<String>,
    /// What that participant is called, cut at 256 bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub participant_name: Option<String>,
    /// How far it is.
    pub status: IngressStatus,
    /// What is wrong, in LiveKit's words and your names of rooms, cut at 2,048 bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// LiveKit's id of this one time that it publishes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resource_id: Option<String>,
    /// When it began to publish.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// When it stopped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
    /// When LiveKit last changed it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub updated_at: Option<Timestamp>,
    /// Whether it can be used again.
    pub reusable: bool,
    /// The picture that comes in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub video: Option<IngressVideo>,
    /// The sound that comes in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audio: Option<IngressAudio>,
}

/// How media come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Default)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum IngressKind {
    /// An encoder sends RTMP.
    Rtmp,
    /// An encoder sends WebRTC over WHIP.
    Whip,
    /// LiveKit fetches them from a URL.
    Url,
    /// Something that this version does not know.
    #[default]
    Unknown,
}

/// How far an ingress is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Default)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum IngressStatus {
    /// Nothing comes in.
    Inactive,
    /// Media come in and are not yet published.
    Buffering,
    /// It publishes.
    Publishing,
    /// It failed.
    Error,
    /// What it fetched has ended.
    Complete,
    /// Something that this version does not know.
    #[default]
    Unknown,
}

/// A picture that comes in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct IngressVideo {
    /// Its codec, such as `video/H264`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mime_type: Option<String>,
    /// Bits a second, on average.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub average_bitrate: Option<u32>,
    /// Its width in pixels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub width: Option<u32>,
    /// Its height in pixels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub height: Option<u32>,
    /// Pictures a second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub framerate: Option<f64>,
}

/// Sound that comes in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct IngressAudio {
    /// Its codec, such as `audio/aac`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mime_type: Option<String>,
    /// Bits a second, on average.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub average_bitrate: Option<u32>,
    /// How many channels it has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channels: Option<u32>,
    /// Samples a second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sample_rate: Option<u32>,
}
