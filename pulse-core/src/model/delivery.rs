//! Deliveries: an event on its way to an endpoint, and the attempts to bring it there. The delivery's row is the queue's
//! entry: there is no other.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::event::Event;
use crate::{
    deliver::state::{DeliveryState, Status},
    id::{AttemptId, DeliveryId, EndpointId, EventId, JobId, LeaseToken, ProjectId},
    media::room::RoomName,
    time::Timestamp,
};

/// The origin of what an event itself caused.
pub const FIRST: &str = "first";

/// Which waits first: an endpoint's fresh events before its retries, and those before what is replayed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Priority {
    /// The first attempt.
    First,
    /// Later attempts.
    Retry,
    /// Anything that somebody asked to be sent again.
    Replay,
}

impl Priority {
    /// All, the first first.
    pub const ALL: [Self; 3] = [Self::First, Self::Retry, Self::Replay];

    /// The number in the store.
    pub const fn number(self) -> i64 {
        self as i64
    }
}

/// A delivery as it is stored. `due_at` is there exactly while it is pending, `leased_until` while it is leased.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivery {
    /// The id, derived from event, endpoint and origin: planning the same twice makes one.
    pub id: DeliveryId,
    /// The project.
    pub project_id: ProjectId,
    /// Where to.
    pub endpoint_id: EndpointId,
    /// What.
    pub event_id: EventId,
    /// The event's type.
    pub event_type: String,
    /// The event's room.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub room: Option<RoomName>,
    /// [`FIRST`], the id of a replay, or `resend:` and what asked for it.
    pub origin: String,
    /// [`Priority::number`].
    pub prio: i64,
    /// Where it stands.
    #[serde(flatten)]
    pub state: DeliveryState,
    /// When the next attempt may begin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due_at: Option<Timestamp>,
    /// Until when it is nobody else's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leased_until: Option<Timestamp>,
    /// When it was recorded.
    pub created_at: Timestamp,
    /// When nothing more could come of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Timestamp>,
    /// What the last attempt came to: an HTTP status or a fixed word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_result: Option<String>,
    /// When it may be forgotten.
    pub expires_at: Timestamp,
    /// Grows by one with each change.
    #[serde(skip)]
    pub version: u64,
}

impl Delivery {
    /// The id of the delivery of an event to an endpoint from this origin.
    pub fn id_of(event: EventId, endpoint: EndpointId, origin: &str) -> DeliveryId {
        DeliveryId::derived(event.moment(), &["delivery", &event.to_string(), &endpoint.to_string(), origin])
    }

    /// The delivery of an event to an endpoint from this origin, recorded `now` and due at `due_at`.
    pub fn new(
        event: &Event,
        endpoint: EndpointId,
        origin: String,
        priority: Priority,
        now: Timestamp,
        due_at: Timestamp,
    ) -> Self {
        Self {
            id: Self::id_of(event.id, endpoint, &origin),
            project_id: event.project_id,
            endpoint_id: endpoint,
            event_id: event.id,
            event_type: event.kind.clone(),
            room: event.room.clone(),
            origin,
            prio: priority.number(),
            state: DeliveryState::new(),
            due_at: Some(due_at),
            leased_until: None,
            created_at: now,
            finished_at: None,
            last_result: None,
            expires_at: event.expires_at,
            version: 0,
        }
    }
}

impl Delivery {
    /// The replay that made it, if one did.
    pub fn replay(&self) -> Option<JobId> {
        self.origin.parse().ok()
    }

    /// Whether somebody asked for it, by a replay or a resend: it makes way for what happens by itself.
    pub fn is_asked_for(&self) -> bool {
        self.prio == Priority::Replay.number()
    }
}

/// How an attempt ended, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum AttemptResult {
    /// The receiver took it.
    Succeeded,
    /// The receiver did not take it, or could not be reached.
    Failed,
    /// Nobody knows: the daemon ended, or lost its lease, while it was made. It is made again under the same number.
    Interrupted,
}

/// Why an attempt was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum Trigger {
    /// The event happened.
    Event,
    /// The one before failed.
    Retry,
    /// Somebody asked for it.
    Resend,
    /// A replay made the delivery.
    Replay,
}

/// An attempt as it is stored: one for each lease that has sent something, or may have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// The id, derived from delivery and lease.
    pub id: AttemptId,
    /// The project.
    pub project_id: ProjectId,
    /// The delivery.
    pub delivery_id: DeliveryId,
    /// Where to.
    pub endpoint_id: EndpointId,
    /// The lease under which it was made.
    pub lease_token: LeaseToken,
    /// Which attempt of the delivery, from 1.
    pub number: u32,
    /// Why it was made.
    pub trigger: Trigger,
    /// How it ended.
    pub result: AttemptResult,
    /// Whether the lease was over before it ended, so that it changed nothing.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub late: bool,
    /// When it began.
    pub started_at: Timestamp,
    /// How long it took, in milliseconds.
    pub duration_millis: u64,
    /// The receiver's address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote_ip: Option<String>,
    /// The HTTP status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status_code: Option<u16>,
    /// What went wrong, as a fixed word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// What went wrong, as a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_detail: Option<String>,
    /// Headers of the answer, those that carry secrets without their values.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub response_headers: Vec<(String, String)>,
    /// The beginning of the answer's body, as text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response_body: Option<String>,
    /// When it may be forgotten.
    pub expires_at: Timestamp,
    /// Grows by one with each change.
    #[serde(skip)]
    pub version: u64,
}

impl Attempt {
    /// The id of the attempt that is made under a lease, sorted by when that began.
    pub fn id_of(delivery: DeliveryId, token: LeaseToken) -> AttemptId {
        AttemptId::derived(token.moment(), &["attempt", &delivery.to_string(), &token.to_string()])
    }
}

/// A delivery as it is shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Delivery")]
pub struct DeliveryView {
    /// The id.
    pub id: DeliveryId,
    /// The project.
    pub project_id: ProjectId,
    /// Where to.
    pub endpoint_id: EndpointId,
    /// What.
    pub event_id: EventId,
    /// The event's type.
    pub event_type: String,
    /// The event's room.
    pub room: Option<RoomName>,
    /// What caused it: `first`, the id of a replay, or `resend:`, who asked for it, and the `Idempotency-Key` or id of the request.
    pub origin: String,
    /// Where it stands.
    pub status: Status,
    /// Attempts that count.
    pub attempts_made: u32,
    /// When the next attempt may begin, while it is pending.
    pub due_at: Option<Timestamp>,
    /// What the last attempt came to: an HTTP status or a fixed word.
    pub last_result: Option<String>,
    /// When it was recorded.
    pub created_at: Timestamp,
    /// When nothing more could come of it.
    pub finished_at: Option<Timestamp>,
}

impl Delivery {
    /// What a caller sees.
    pub fn view(&self) -> DeliveryView {
        let own = self.clone();
        DeliveryView {
            id: own.id,
            project_id: own.project_id,
            endpoint_id: own.endpoint_id,
            event_id: own.event_id,
            event_type: own.event_type,
            room: own.room,
            origin: own.origin,
            status: own.state.status,
            attempts_made: own.state.attempts_made,
            due_at: own.due_at,
            last_result: own.last_result,
            created_at: own.created_at,
            finished_at: own.finished_at,
        }
    }
}

/// One header of an answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "ResponseHeader")]
pub struct HeaderView {
    /// The name, in lower case.
    pub name: String,
    /// The value; `<redacted>` where it could be a secret.
    pub value: String,
}

/// An attempt as it is shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Attempt")]
pub struct AttemptView {
    /// The id.
    pub id: AttemptId,
    /// The delivery.
    pub delivery_id: DeliveryId,
    /// Which attempt of the delivery, from 1.
    pub number: u32,
    /// Why it was made.
    pub trigger: Trigger,
    /// How it ended.
    pub result: AttemptResult,
    /// Whether the lease was over before it ended, so that it changed nothing.
    pub late: bool,
    /// When it began.
    pub started_at: Timestamp,
    /// How long it took, in milliseconds.
    pub duration_ms: u64,
    /// The receiver's address.
    pub remote_ip: Option<String>,
    /// The HTTP status.
    pub status_code: Option<u16>,
    /// What went wrong, as a fixed word.
    pub error: Option<String>,
    /// What went wrong, as a sentence.
    pub error_detail: Option<String>,
    /// Headers of the answer.
    pub response_headers: Vec<HeaderView>,
    /// The beginning of the answer's body, up to 16 KiB.
    pub response_body: Option<String>,
}

impl Attempt {
    /// What a caller sees.
    pub fn view(&self) -> AttemptView {
        let own = self.clone();
        let headers = own.response_headers.into_iter();
        AttemptView {
            id: own.id,
            delivery_id: own.delivery_id,
            number: own.number,
            trigger: own.trigger,
            result: own.result,
            late: own.late,
            started_at: own.started_at,
            duration_ms: own.duration_millis,
            remote_ip: own.remote_ip,
            status_code: own.status_code,
            error: own.error,
            error_detail: own.error_detail,
            response_headers: headers.map(|(name, value)| HeaderView { name, value }).collect(),
            response_body: own.response_body,
        }
    }
}
