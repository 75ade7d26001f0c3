//! Participants in the data of events.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::TrackSource;
use crate::time::Timestamp;

/// A participant, or only its id and identity where LiveKit says no more.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ParticipantData {
    /// LiveKit's id of this connection; the same identity has another when it joins again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sid: Option<String>,
    /// Who it is; left out when it is longer than 256 bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub identity: Option<String>,
    /// What it is called, cut at 256 bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What kind of participant it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<ParticipantKind>,
    /// How far its connection is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<ParticipantState>,
    /// The customer's own text; left out when it is empty or longer than 65,536 bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata: Option<String>,
    /// The customer's own attributes, without those of Pulse, which begin with `pulse.`: at most 64, of at most 65,536 bytes
    /// together.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: BTreeMap<String, String>,
    /// When it joined.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub joined_at: Option<Timestamp>,
    /// Whether others do not see it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hidden: Option<bool>,
    /// Whether it can publish and has a connection for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub is_publisher: Option<bool>,
    /// The region that it is connected to, where LiveKit has regions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// What it may do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub permission: Option<PermissionData>,
    /// Why it left, in `participant_left` and `participant_connection_aborted`, when LiveKit says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disconnect_reason: Option<DisconnectReason>,
}

/// What a participant may do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PermissionData {
    /// Send audio and video.
    pub can_publish: bool,
    /// Receive audio and video.
    pub can_subscribe: bool,
    /// Send data messages.
    pub can_publish_data: bool,
    /// Which tracks it may send; left out for all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub can_publish_sources: Vec<TrackSource>,
    /// Change its own name, metadata and attributes.
    pub can_update_own_metadata: bool,
}

/// What kind of participant it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum ParticipantKind {
    /// A person with a client.
    Standard,
    /// An ingress that publishes.
    Ingress,
    /// An egress that records.
    Egress,
    /// A caller over SIP.
    Sip,
    /// An agent.
    Agent,
    /// Somebody from another messenger.
    Connector,
    /// A bridge to another media system.
    Bridge,
    /// Something that this version does not know.
    Unknown,
}

impl ParticipantKind {
    /// Whether it is one of LiveKit's own machines, an egress or an ingress: these have no token of Pulse, and their time is
    /// not that of a participant.
    pub fn is_machine(self) -> bool {
        matches!(self, Self::Egress | Self::Ingress)
    }
}

/// How far a participant's connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum ParticipantState {
    /// It is connected and has offered no media yet.
    Joining,
    /// It has offered media.
    Joined,
    /// Media flow.
    Active,
    /// It is gone.
    Disconnected,
    /// Something that this version does not know.
    Unknown,
}

/// Why a participant left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum DisconnectReason {
    /// Its client left.
    ClientInitiated,
    /// The same identity joined from another place.
    DuplicateIdentity,
    /// The LiveKit server stopped.
    ServerShutdown,
    /// It was removed.
    ParticipantRemoved,
    /// The room was deleted.
    RoomDeleted,
    /// It wanted to resume a connection that the server did not know any more.
    StateMismatch,
    /// It never got fully connected.
    JoinFailure,
    /// It was moved to another server.
    Migration,
    /// Its signalling connection broke.
    SignalClose,
    /// The room closed because no person was left.
    RoomClosed,
    /// The callee over SIP did not answer in time.
    UserUnavailable,
    /// The callee over SIP refused.
    UserRejected,
    /// The SIP trunk failed.
    SipTrunkFailure,
    /// Nothing was heard of it any more.
    ConnectionTimeout,
    /// Its media stopped or failed.
    MediaFailure,
    /// The agent had an error.
    AgentError,
    /// Something that this version does not know.
    Unknown,
}
