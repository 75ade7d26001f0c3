//! Revocations of media tokens: everything of a subject that was issued before a moment is bad.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::text::Note;
use crate::{
    id::{ProjectId, RevocationId},
    time::Timestamp,
};

/// What a revocation hits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum SubjectKind {
    /// One token and all that were refreshed from it.
    Jti,
    /// All tokens of an identity.
    Identity,
    /// All tokens for a room.
    Room,
    /// All tokens of the project.
    Project,
}

/// A revocation as it is stored and shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Revocation {
    /// The id.
    pub id: RevocationId,
    /// The project.
    pub project_id: ProjectId,
    /// What it hits.
    pub kind: SubjectKind,
    /// The token family, the identity or the room; empty for the whole project.
    pub value: String,
    /// Tokens issued before this are bad.
    pub before: Timestamp,
    /// Why.
    pub reason: Option<Note>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When no token that it hits can be alive any more, and it is forgotten.
    pub expires_at: Timestamp,
}
