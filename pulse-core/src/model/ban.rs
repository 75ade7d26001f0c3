//! Bans: an identity that may not be in a project's rooms, or in one of them, for a while or until the ban is lifted.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::text::Note;
use crate::{
    id::{BanId, ProjectId},
    media::room::{Identity, RoomName},
    time::Timestamp,
};

/// The most bans that a project can have at a time.
pub const MAX_BANS: u64 = 10_000;

/// A ban as it is stored and shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Ban {
    /// The id.
    pub id: BanId,
    /// The project.
    pub project_id: ProjectId,
    /// Who.
    pub identity: Identity,
    /// From which room; from all of the project when `null`.
    pub room_name: Option<RoomName>,
    /// Why.
    pub reason: Option<Note>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it ends by itself.
    pub expires_at: Option<Timestamp>,
    /// Grows by one with each change.
    #[serde(skip)]
    pub version: u64,
}

impl Ban {
    /// Whether it holds at `now`.
    pub fn holds(&self, now: Timestamp) -> bool {
        self.expires_at.is_none_or(|end| end > now)
    }
}
