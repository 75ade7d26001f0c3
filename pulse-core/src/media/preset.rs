//! Presets: named sets of grants. Explicit fields of a request narrow a preset and never widen it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::grants::TrackSource;

/// What a preset gives.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Preset {
    /// Send audio and video.
    pub can_publish: bool,
    /// Receive audio and video.
    pub can_subscribe: bool,
    /// Send data messages.
    pub can_publish_data: bool,
    /// Which tracks may be sent; empty: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 4))]
    pub can_publish_sources: Vec<TrackSource>,
    /// Not shown to others.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub hidden: bool,
    /// The longest life of a token, and of each that is refreshed from it, in seconds: 1 to 2,592,000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 2_592_000))]
    pub max_ttl_seconds: Option<u32>,
}

const fn preset(can_publish: bool, can_publish_data: bool, sources: Vec<TrackSource>) -> Preset {
    Preset {
        can_publish,
        can_subscribe: true,
        can_publish_data,
        can_publish_sources: sources,
        hidden: false,
        max_ttl_seconds: None,
    }
}

/// The presets that every project has; a project's own of the same name comes first. A `host` sends everything, a
/// `speaker` camera, microphone and data but no screen, a `viewer` only receives.
pub fn built_in(name: &str) -> Option<Preset> {
    match name {
        "host" => Some(preset(true, true, Vec::new())),
        "speaker" => Some(preset(true, true, vec![TrackSource::Camera, TrackSource::Microphone])),
        "viewer" => Some(preset(false, false, Vec::new())),
        _ => None,
    }
}
