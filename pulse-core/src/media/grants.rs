//! What a participant may do in a room, as Pulse says it, and as LiveKit's claims say it.

use livekit_api::access_token::VideoGrants;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::room::WireRoom;

/// A permission that a token can give.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum Grant {
    /// Send audio and video.
    Publish,
    /// Receive audio and video.
    Subscribe,
    /// Send data messages.
    PublishData,
    /// Be in the room without being shown.
    Hidden,
}

/// A kind of track that may be published.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
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
}

impl TrackSource {
    /// The word in LiveKit's claims.
    pub fn wire_name(self) -> &'static str {
        match self {
            Self::Camera => "camera",
            Self::Microphone => "microphone",
            Self::ScreenShare => "screen_share",
            Self::ScreenShareAudio => "screen_share_audio",
        }
    }
}

/// Every decision made: nothing is left to LiveKit's defaults.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grants {
    /// Send audio and video.
    pub can_publish: bool,
    /// Receive audio and video.
    pub can_subscribe: bool,
    /// Send data messages.
    pub can_publish_data: bool,
    /// Which tracks may be sent; empty: all.
    pub can_publish_sources: Vec<TrackSource>,
    /// Not shown to others.
    pub hidden: bool,
}

impl Grants {
    /// The claims. `false` is written, never left out: to LiveKit an absent grant means true. Server-wide grants and
    /// `roomAdmin` are never set.
    pub fn claims(&self, room: &WireRoom) -> VideoGrants {
        VideoGrants {
            room_join: true,
            room: room.as_str().to_owned(),
            can_publish: Some(self.can_publish),
            can_subscribe: Some(self.can_subscribe),
            can_publish_data: Some(self.can_publish_data),
            can_publish_sources: self.can_publish_sources.iter().map(|source| source.wire_name().to_owned()).collect(),
            can_update_own_metadata: Some(false),
            hidden: self.hidden,
            ..VideoGrants::default()
        }
    }
}
