//! What Pulse asks of a media server, in its own words. LiveKit answers in `livekit`; tests put a script in its place.
//!
//! Answers hold only what Pulse uses. What LiveKit's messages hold beside it, `turn_password` and `stream_key` among it, is
//! left behind where they are read.

use std::{collections::BTreeMap, fmt, time::Duration};

use async_trait::async_trait;

use super::room::WireRoom;
use crate::{
    model::event_data::{EgressStatus, IngressStatus, ParticipantKind},
    outbound::SendFailure,
    time::Timestamp,
};

/// A room that is open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Room {
    /// LiveKit's id of this opening of the room.
    pub sid: String,
    /// Its name on the wire.
    pub name: WireRoom,
    /// When it was opened.
    pub created_at: Timestamp,
    /// How many are in it, hidden ones not counted. LiveKit counts now and then, so it may be some seconds old.
    pub participants: u32,
    /// How many of them publish.
    pub publishers: u32,
}

/// Who is in a room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Participant {
    /// LiveKit's id of this stay in the room.
    pub sid: String,
    /// Who it is: unique in the room.
    pub identity: String,
    /// What it is called.
    pub name: String,
    /// What it is.
    pub kind: ParticipantKind,
    /// Whether it is connected. Others are about to be, or were until just now.
    pub active: bool,
    /// When it came.
    pub joined_at: Timestamp,
    /// Its attributes. A client that may change its own metadata may have changed these.
    pub attributes: BTreeMap<String, String>,
    /// Whether others do not see it.
    pub hidden: bool,
}

/// A recording or a stream out of a room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Egress {
    /// LiveKit's id.
    pub id: String,
    /// The room's name on the wire; a web egress has none.
    pub room: Option<WireRoom>,
    /// LiveKit's id of the room's opening; empty for a web egress.
    pub room_sid: String,
    /// How it is.
    pub status: EgressStatus,
    /// When it began, in nanoseconds since 1970; 0 before.
    pub started_ns: i64,
    /// When it ended, in nanoseconds since 1970; 0 before.
    pub ended_ns: i64,
}

/// A way into a room for streams. It may be used again and again, each time with another resource id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ingress {
    /// LiveKit's id.
    pub id: String,
    /// The name on the wire of the room that it leads to.
    pub room: WireRoom,
    /// LiveKit's id of the room's opening that it is or was in.
    pub room_sid: String,
    /// LiveKit's id of this use; empty before the first.
    pub resource_id: String,
    /// How it is.
    pub status: IngressStatus,
    /// When this use began, in nanoseconds since 1970; 0 before.
    pub started_ns: i64,
    /// When this use ended, in nanoseconds since 1970; 0 before.
    pub ended_ns: i64,
}

/// Why a media server did not do what was asked. Whoever draws conclusions from what is *not* in a list must not draw them
/// from any of these.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// There is no such room, participant or egress.
    #[error("LiveKit knows no such thing")]
    NotFound,
    /// LiveKit runs but cannot do it now, as when no egress worker is free.
    #[error("LiveKit cannot do it now: {0}")]
    Unavailable(String),
    /// It needs Redis beside LiveKit, and there is none: no fault, but nothing to be listed either.
    #[error("this LiveKit has no Redis, which egress and ingress need")]
    NeedsRedis,
    /// LiveKit does not accept the key, or not for this.
    #[error("LiveKit does not accept the key")]
    PermissionDenied,
    /// No answer came in time.
    #[error("LiveKit did not answer in time")]
    Timeout,
    /// LiveKit cannot be reached.
    #[error("LiveKit cannot be reached: {0}")]
    Unreachable(SendFailure),
    /// LiveKit failed so often that it is not asked for so long.
    #[error("LiveKit failed too often and is left alone for {} s", .0.as_secs())]
    Resting(Duration),
    /// The answer is not whole, too large, or none of LiveKit's.
    #[error("the answer is not one of LiveKit's: {0}")]
    Unreadable(&'static str),
    /// Another refusal: LiveKit's code and its words.
    #[error("LiveKit refuses: {code}: {message}")]
    Other {
        /// The code of Twirp, such as `invalid_argument`.
        code: String,
        /// What LiveKit says about it.
        message: String,
    },
}

impl EngineError {
    /// Whether it says that the server itself is in trouble, so that asking it less may help.
    pub fn is_trouble(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::Timeout | Self::Unreachable(_) | Self::Unreadable(_))
    }
}

/// A media server: one LiveKit, or a cluster behind one address.
#[async_trait]
pub trait MediaEngine: Send + Sync + fmt::Debug {
    /// The open rooms: all, or those of these names. Names of no open room are left out.
    ///
    /// # Errors
    /// Each method fails with an [`EngineError`]; a list that was given is whole.
    async fn list_rooms(&self, names: Option<&[WireRoom]>) -> Result<Vec<Room>, EngineError>;

    /// Who is in a room. A room that is not open has nobody in it, which LiveKit does not tell apart.
    async fn list_participants(&self, room: &WireRoom) -> Result<Vec<Participant>, EngineError>;

    /// Puts somebody out of a room. `not_found` when nobody of that identity is in it. A token that is still valid lets them
    /// in again.
    async fn remove_participant(&self, room: &WireRoom, identity: &str) -> Result<(), EngineError>;

    /// Recordings and streams: those under way, or all that LiveKit still knows, which forgets them a day after their end.
    async fn list_egress(&self, active_only: bool) -> Result<Vec<Egress>, EngineError>;

    /// All ways into rooms.
    async fn list_ingress(&self) -> Result<Vec<Ingress>, EngineError>;
}
