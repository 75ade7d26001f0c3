//! Tracks in the data of events.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A track that a participant publishes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TrackData {
    /// LiveKit's id.
    pub sid: String,
    /// Sound, picture or data.
    #[serde(rename = "type")]
    pub kind: TrackKind,
    /// What it is called, cut at 256 bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What it comes from.
    pub source: TrackSource,
    /// Its codec, such as `video/VP8`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mime_type: Option<String>,
    /// The picture's width in pixels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub width: Option<u32>,
    /// The picture's height in pixels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub height: Option<u32>,
    /// Whether it is muted.
    pub muted: bool,
    /// Whether it is sent in several qualities at once.
    pub simulcast: bool,
    /// How it is encrypted from end to end.
    pub encryption: TrackEncryption,
}

/// What a track carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum TrackKind {
    /// Sound.
    Audio,
    /// A picture.
    Video,
    /// Data.
    Data,
    /// Something that this version does not know.
    Unknown,
}

/// What a track comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum TrackSource {
    /// A camera's picture.
    Camera,
    /// A microphone's sound.
    Microphone,
    /// A screen's picture.
    ScreenShare,
    /// A screen's sound.
    ScreenShareAudio,
    /// The client did not say, or something that this version does not know.
    Unknown,
}

/// How a track is encrypted from end to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum TrackEncryption {
    /// Not at all: only between each client and the server.
    None,
    /// With AES-GCM.
    Gcm,
    /// In the client's own way.
    Custom,
    /// In a way that this version does not know.
    Unknown,
}
