//! Facts of usage, with the fields of the plan. A fact is never edited: a corrected one is a new row with the next
//! revision, and the row before is marked as superseded.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    id::{ProjectId, SessionId, UsageId},
    media::room::RoomName,
    time::Timestamp,
};

/// What is metered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum UsageType {
    /// Time that people are connected, in seconds.
    ParticipantSeconds,
    /// Time that agents are connected, in seconds.
    AgentSeconds,
    /// Time that an egress runs, in seconds.
    EgressSeconds,
    /// Time that an ingress runs, in seconds.
    IngressSeconds,
}

impl UsageType {
    /// The word on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::ParticipantSeconds => "participant_seconds",
            Self::AgentSeconds => "agent_seconds",
            Self::EgressSeconds => "egress_seconds",
            Self::IngressSeconds => "ingress_seconds",
        }
    }
}

/// Milliseconds as seconds with three digits of fraction.
#[expect(clippy::cast_precision_loss, reason = "2^53 milliseconds are 285,000 years")]
pub fn seconds(millis: u64) -> f64 {
    millis as f64 / 1_000.0
}

/// What a fact says beside its value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct UsageMetadata {
    /// The session in which it was used.
    pub session_id: Option<SessionId>,
    /// The room.
    pub room: Option<RoomName>,
    /// The participant's kind, or the egress's.
    pub kind: String,
    /// LiveKit's id of the connection, egress or ingress.
    pub livekit_id: String,
    /// The participant's identity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<String>,
    /// What an egress writes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outputs: Vec<String>,
    /// How an egress or ingress stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended; `null` while it goes on.
    pub ended_at: Option<Timestamp>,
    /// Whether an edge of it was found by looking, and not told by LiveKit.
    pub synthetic: bool,
    /// Whether it counts: an egress that failed without a byte does not.
    pub billable: bool,
    /// 1, and one more with each correction.
    pub revision: u32,
    /// Why it was corrected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// A fact as it is stored; `value` is in milliseconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// The id, derived from what it is about and its revision.
    pub id: UsageId,
    /// The project.
    pub project_id: ProjectId,
    /// What is metered.
    pub event_type: UsageType,
    /// How much, in thousandths of the unit.
    pub value: i64,
    /// The end of what it is about.
    pub timestamp: Timestamp,
    /// The session in which it was used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_id: Option<SessionId>,
    /// The rest.
    pub metadata: UsageMetadata,
    /// Whether a later revision is there.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub superseded: bool,
    /// When it may be forgotten; absent until it is sealed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// Grows by one with each change.
    #[serde(skip)]
    pub version: u64,
}

/// A fact as it is shown.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "UsageMetric")]
pub struct UsageView {
    /// The id; `null` for what still goes on.
    pub id: Option<UsageId>,
    /// The project.
    pub project_id: ProjectId,
    /// What is metered.
    pub event_type: UsageType,
    /// How much: seconds, to the millisecond.
    pub value: f64,
    /// The end of what it is about; now for what still goes on.
    pub timestamp: Timestamp,
    /// The rest.
    pub metadata: UsageMetadata,
}

impl Usage {
    /// What a caller sees.
    pub fn view(&self) -> UsageView {
        UsageView {
            id: Some(self.id),
            project_id: self.project_id,
            event_type: self.event_type,
            value: seconds(self.value.unsigned_abs()),
            timestamp: self.timestamp,
            metadata: self.metadata.clone(),
        }
    }
}
