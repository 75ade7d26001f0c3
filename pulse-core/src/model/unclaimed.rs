//! Webhooks of LiveKit that belong to no project that is known: kept sealed for a week, for the operator to look at, and
//! adopted when the egress or ingress that they name becomes known.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{access::seal::Sealed, id::EventId, time::Timestamp};

/// The most that are kept; the oldest go first.
pub const MAX_UNCLAIMED: u64 = 10_000;

/// A webhook without a project, as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unclaimed {
    /// The id.
    pub id: EventId,
    /// Which LiveKit sent it.
    pub cluster: String,
    /// LiveKit's id.
    pub source_id: String,
    /// LiveKit's type.
    #[serde(rename = "type")]
    pub kind: String,
    /// The room's name as LiveKit knows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wire_room: Option<String>,
    /// The egress or ingress that it names, by which it can be adopted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// What LiveKit sent.
    pub raw: Sealed,
    /// When it came.
    pub received_at: Timestamp,
    /// When it goes.
    pub expires_at: Timestamp,
    /// Grows by one with each change.
    #[serde(skip)]
    pub version: u64,
}

/// The same as it is shown: without what LiveKit sent, which may hold secrets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "UnclaimedEvent")]
pub struct UnclaimedView {
    /// The id.
    pub id: EventId,
    /// Which LiveKit sent it.
    pub cluster: String,
    /// LiveKit's id.
    pub source_id: String,
    /// LiveKit's type.
    #[serde(rename = "type")]
    pub kind: String,
    /// The room's name as LiveKit knows it.
    pub wire_room: Option<String>,
    /// The egress or ingress that it names.
    pub livekit_id: Option<String>,
    /// When it came.
    pub received_at: Timestamp,
    /// When it goes.
    pub expires_at: Timestamp,
}

impl Unclaimed {
    /// What the operator sees.
    pub fn view(&self) -> UnclaimedView {
        let own = self.clone();
        UnclaimedView {
            id: own.id,
            cluster: own.cluster,
            source_id: own.source_id,
            kind: own.kind,
            wire_room: own.wire_room,
            livekit_id: own.key,
            received_at: own.received_at,
            expires_at: own.expires_at,
        }
    }
}
