//! Events: what happened, each recorded once. The envelope that customers get is made once and stored as its bytes, so
//! that every attempt and every replay sends the same; only the number in the session, which the store allots, is written
//! before the rest when it is sent.

use std::{sync::Arc, time::Duration};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    error::{Error, Result},
    id::{EventId, ProjectId, SessionId},
    media::room::RoomName,
    time::Timestamp,
};

/// The version of the envelope and its data.
pub const SCHEMA_VERSION: u32 = 1;
/// The type of an event that tries one endpoint, and is sent to no other.
pub const TEST_EVENT: &str = "endpoint.test";
/// The cluster of events that Pulse itself makes.
pub const PULSE_CLUSTER: &str = "pulse";
/// The cluster of the installation's own LiveKit. A project's own LiveKit is a cluster named by the project's id.
pub const SERVER_CLUSTER: &str = "default";

/// For how long an event must still be kept to be sent once more. A sweep takes what is too old and finds no delivery of it
/// while a new one is on its way to the store: by then it is not too old yet.
const STILL_KEPT: Duration = Duration::from_secs(60);

/// An event as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// The id: `webhook-id` of every delivery.
    pub id: EventId,
    /// The project.
    pub project_id: ProjectId,
    /// The type, as customers know it.
    #[serde(rename = "type")]
    pub kind: String,
    /// When it happened.
    pub occurred_at: Timestamp,
    /// Which LiveKit said so: [`SERVER_CLUSTER`], a project's id, or [`PULSE_CLUSTER`].
    pub cluster: String,
    /// The id that the cluster gave it; with cluster and type it is unique.
    pub source_id: String,
    /// The room.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub room: Option<RoomName>,
    /// The envelope without its first field, `sequence`: `"id":...}`.
    pub body: Arc<str>,
    /// Whether somebody made it up, to try an endpoint.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub test: bool,
    /// The session, which is the log in which the store numbers the event.
    #[serde(default, rename = "log", skip_serializing_if = "Option::is_none")]
    pub session_id: Option<SessionId>,
    /// The number in the session, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seq: Option<u64>,
    /// When it may be forgotten.
    pub expires_at: Timestamp,
    /// Grows by one with each change.
    #[serde(skip)]
    pub version: u64,
}

impl Event {
    /// When it goes, under a retention that keeps `kept`: one that was shortened since it was recorded holds for it, too.
    pub fn ends_at(&self, kept: Duration) -> Timestamp {
        self.expires_at.min(self.id.moment().plus(kept))
    }

    /// Whether it is kept for long enough after `now` to be sent once more.
    pub fn can_be_sent(&self, kept: Duration, now: Timestamp) -> bool {
        self.ends_at(kept) > now.plus(STILL_KEPT)
    }
}

/// The envelope that customers get, but for `sequence`.
#[derive(Clone, Debug, Serialize)]
pub struct Envelope<'a, D: Serialize> {
    /// The event.
    pub id: EventId,
    /// The type.
    #[serde(rename = "type")]
    pub kind: &'a str,
    /// [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// When it happened.
    pub created_at: Timestamp,
    /// The project.
    pub project_id: ProjectId,
    /// The room.
    pub room: Option<&'a RoomName>,
    /// The session.
    pub session_id: Option<SessionId>,
    /// Whether the reconciler wrote it.
    pub synthetic: bool,
    /// Whether somebody made it up, to try an endpoint.
    pub test: bool,
    /// The synthetic event that this one, from LiveKit itself, corrects.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub corrects: Option<EventId>,
    /// What happened.
    pub data: &'a D,
}

impl<D: Serialize> Envelope<'_, D> {
    /// The bytes that are stored: the JSON object without its opening brace.
    pub fn stored(&self) -> Result<Arc<str>> {
        let text = serde_json::to_string(self).map_err(Error::internal)?;
        Ok(text.get(1..).unwrap_or_default().into())
    }
}

/// An event as customers read it: the envelope.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct EventView {
    /// Its number in the session, from 1; `null` for what belongs to no session.
    pub sequence: Option<u64>,
    /// The event: `webhook-id` of every delivery.
    pub id: EventId,
    /// The type: docs/EVENTS.md has them all.
    #[serde(rename = "type")]
    pub kind: String,
    /// The version of the envelope and its data.
    pub schema_version: u32,
    /// When it happened.
    pub created_at: Timestamp,
    /// The project.
    pub project_id: ProjectId,
    /// The room; `null` for what happened in none.
    pub room: Option<RoomName>,
    /// The session; `null` for what belongs to none.
    pub session_id: Option<SessionId>,
    /// Whether LiveKit failed to tell it, and Pulse found it out.
    pub synthetic: bool,
    /// Whether somebody made it up, to try something.
    pub test: bool,
    /// The synthetic event that this one, from LiveKit itself, corrects.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub corrects: Option<EventId>,
    /// What happened.
    pub data: Value,
}

/// What stands before the stored bytes of an event with this number.
pub fn opening(seq: Option<u64>) -> String {
    seq.map_or_else(|| "{\"sequence\":null,".to_owned(), |seq| format!("{{\"sequence\":{seq},"))
}

impl Event {
    /// The whole envelope.
    pub fn envelope(&self) -> String {
        opening(self.seq) + &self.body
    }

    /// The envelope, read.
    ///
    /// # Errors
    /// `internal`, when the stored bytes are none.
    pub fn view(&self) -> Result<EventView> {
        serde_json::from_str(&self.envelope())
            .map_err(|cause| Error::internal(format!("event {} does not read: {cause}", self.id)))
    }
}
