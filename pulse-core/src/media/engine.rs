//! What Pulse asks of a media server, in its own words. LiveKit answers in `livekit`; tests put a script in its place.
//!
//! Answers hold only what Pulse uses, in the words of the webhooks.

use std::{fmt, time::Duration};

use async_trait::async_trait;

pub use super::event::{Egress, Ingress, Participant, Room};
use super::room::WireRoom;
use crate::outbound::SendFailure;

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
    /// The answer is longer than answers may be.
    #[error("the answer is too large")]
    TooLarge,
    /// The answer is not whole, or none of LiveKit's.
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
        matches!(
            self,
            Self::Unavailable(_) | Self::Timeout | Self::Unreachable(_) | Self::TooLarge | Self::Unreadable(_)
        )
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
