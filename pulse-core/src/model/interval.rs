//! Metered spans of time: a participant's connection, an egress, an ingress. What is kept is the evidence, each kind by
//! itself, so that the span is the same in whatever order, and however often, the evidence comes.

use std::{collections::BTreeSet, time::Duration};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    absence::Absence,
    event_data::{DisconnectReason, EgressKind, EgressStatus, IngressStatus, ParticipantKind},
};
use crate::{
    id::{EventId, IntervalId, ProjectId, SessionId},
    media::room::RoomName,
    time::Timestamp,
};

/// What a span is of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Subject {
    /// A participant's connection.
    Participant {
        /// Who.
        identity: String,
        /// What the participant is called.
        name: String,
        /// What kind it is.
        participant_kind: ParticipantKind,
        /// Why the connection ended.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        disconnect_reason: Option<DisconnectReason>,
        /// The token with which it joined, when Pulse made it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        jti: Option<String>,
    },
    /// An egress.
    Egress {
        /// What it takes.
        egress_kind: EgressKind,
        /// What it writes: `files`, `images`, `segments`, `streams`.
        outputs: BTreeSet<String>,
        /// How far it is.
        status: EgressStatus,
        /// Bytes that it has written.
        bytes: u64,
    },
    /// An ingress's run.
    Ingress {
        /// The ingress.
        ingress_id: String,
        /// Who it is in the room.
        identity: String,
        /// How far it is.
        status: IngressStatus,
    },
}

impl Subject {
    /// `participant`, `egress` or `ingress`: part of the unique key.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Participant { .. } => "participant",
            Self::Egress { .. } => "egress",
            Self::Ingress { .. } => "ingress",
        }
    }
}

/// What is known about a span. Every field is a least or greatest value, or a yes that stays: merging is commutative.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// It was active. A connection that never was is not billed.
    #[serde(default)]
    pub active: bool,
    /// When LiveKit says that it began, by its latest word: seconds come before milliseconds, and an egress begins anew when
    /// it is under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub began_at: Option<Timestamp>,
    /// The earliest sign of it, which stands in for an unknown beginning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_sign_at: Option<Timestamp>,
    /// When LiveKit says that it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
    /// When LiveKit says that the connection was aborted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aborted_at: Option<Timestamp>,
    /// When the room ended around it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub room_ended_at: Option<Timestamp>,
    /// When the reconciler found it gone: the middle of the time in which it went.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lost_at: Option<Timestamp>,
    /// The latest sign of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_sign_at: Option<Timestamp>,
}

impl Evidence {
    /// When it began, as far as is known.
    pub fn start(&self) -> Option<Timestamp> {
        self.began_at.or(self.first_sign_at)
    }

    /// When it ended: LiveKit's own word first, then what follows from the room's end or was found by the reconciler,
    /// whichever is earlier: who was found gone did not come back for the room's end. Never before it began.
    pub fn end(&self) -> Option<Timestamp> {
        let inferred = [self.room_ended_at, self.lost_at].into_iter().flatten().min();
        let end = self.ended_at.or(self.aborted_at).or(inferred)?;
        Some(self.start().map_or(end, |start| end.max(start)))
    }

    /// The latest moment at which it was certainly there.
    pub fn latest_sign(&self) -> Option<Timestamp> {
        self.last_sign_at.max(self.start())
    }

    /// Whether the end is only what the reconciler found, or follows from the room's.
    pub fn end_is_inferred(&self) -> bool {
        self.ended_at.is_none() && self.aborted_at.is_none() && self.end().is_some()
    }
}

/// The fact that was recorded for a span last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordedFact {
    /// Its revision, from 1.
    pub revision: u32,
    /// When the recorded span began.
    pub started_at: Timestamp,
    /// When it ended.
    pub ended_at: Timestamp,
    /// Whether it counts.
    pub billable: bool,
    /// Whether the end, or the beginning, was found by looking.
    pub synthetic: bool,
}

/// A span as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interval {
    /// The id, derived from cluster, kind and key.
    pub id: IntervalId,
    /// The project.
    pub project_id: ProjectId,
    /// Which LiveKit.
    pub cluster: String,
    /// LiveKit's id of it: a participant's sid, an egress's id, an ingress's id with its run.
    pub key: String,
    /// The session in which it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_id: Option<SessionId>,
    /// The room.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub room: Option<RoomName>,
    /// What it is of.
    #[serde(flatten)]
    pub subject: Subject,
    /// What is known about it.
    pub evidence: Evidence,
    /// The event by which the reconciler told of its beginning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub synthetic_start: Option<EventId>,
    /// The event by which the reconciler told of its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub synthetic_end: Option<EventId>,
    /// Since which good listing it has been missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub absent: Option<Absence>,
    /// The fact that was recorded last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fact: Option<RecordedFact>,
    /// When it may be forgotten.
    pub expires_at: Timestamp,
    /// Grows by one with each change.
    #[serde(skip)]
    pub version: u64,
}

impl Interval {
    /// The id of the span with this key.
    pub fn id_of(cluster: &str, kind: &str, key: &str) -> IntervalId {
        IntervalId::derived(Timestamp::from_millis(0), &["interval", cluster, kind, key])
    }

    /// A span of which nothing is known yet, in no room; to be kept until `expires_at`.
    pub fn new(
        (project_id, cluster): (ProjectId, &str),
        (key, subject): (&str, Subject),
        expires_at: Timestamp,
    ) -> Self {
        Self {
            id: Self::id_of(cluster, subject.kind(), key),
            project_id,
            cluster: cluster.to_owned(),
            key: key.to_owned(),
            session_id: None,
            room: None,
            subject,
            evidence: Evidence::default(),
            synthetic_start: None,
            synthetic_end: None,
            absent: None,
            fact: None,
            expires_at,
            version: 0,
        }
    }

    /// Whether it goes on.
    pub fn is_open(&self) -> bool {
        self.evidence.end().is_none()
    }

    /// For how long it lasted, or has lasted until `now`.
    pub fn length(&self, now: Timestamp) -> Duration {
        let Some(start) = self.evidence.start() else { return Duration::ZERO };
        self.evidence.end().unwrap_or(now).since(start)
    }

    /// Whether an edge of it was found by looking and LiveKit has not told it since.
    pub fn is_synthetic(&self) -> bool {
        self.evidence.end_is_inferred() || (self.synthetic_start.is_some() && self.evidence.began_at.is_none())
    }
}

/// A participant's connection as a session shows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "SessionParticipant")]
pub struct ParticipantView {
    /// LiveKit's id of the connection.
    pub sid: String,
    /// Who.
    pub identity: String,
    /// What the participant is called.
    pub name: String,
    /// What kind it is.
    pub kind: ParticipantKind,
    /// When it joined.
    pub joined_at: Option<Timestamp>,
    /// When it left; `null` while it is there.
    pub left_at: Option<Timestamp>,
    /// For how long, in seconds, until now while it is there.
    pub seconds: f64,
    /// Whether the time counts as use.
    pub billable: bool,
    /// Why it left.
    pub disconnect_reason: Option<DisconnectReason>,
    /// Whether the beginning was found by looking.
    pub synthetic_start: bool,
    /// Whether the end was found by looking or follows from the room's.
    pub synthetic_end: bool,
}

/// An egress or ingress as a session shows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "SessionMedia")]
pub struct MediaView {
    /// LiveKit's id.
    pub livekit_id: String,
    /// For an egress `room_composite`, `track`, ...; for an ingress the identity in the room.
    pub kind: String,
    /// LiveKit's status in lower case.
    pub status: String,
    /// When it began.
    pub started_at: Option<Timestamp>,
    /// When it ended; `null` while it runs.
    pub ended_at: Option<Timestamp>,
    /// For how long, in seconds, until now while it runs.
    pub seconds: f64,
    /// Whether the time counts as use.
    pub billable: bool,
}
