//! Work that is recorded together with the change that calls for it, and done later by a worker.

use serde::{Deserialize, Serialize};

use crate::{entropy::Entropy, id::JobId, time::Timestamp};

/// What a worker is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobKind {
    /// Mark the projects of a deleted organization as deleted by it.
    DeleteChildren,
    /// Bring back the projects that an organization's deletion took along.
    RestoreChildren,
    /// Remove a deleted organization for good, children first.
    PurgeOrganization,
    /// Remove a deleted project for good, children first.
    PurgeProject,
}

/// A row of the queue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// The id.
    pub id: JobId,
    /// What to do.
    pub kind: JobKind,
    /// To what.
    pub target_id: String,
    /// When, at the earliest. A claim moves it to the end of the lease.
    pub due_at: Timestamp,
    /// When it was recorded.
    pub created_at: Timestamp,
    /// How often it was begun and failed.
    pub attempts: i64,
    /// Who caused it, for the audit.
    pub request_id: String,
    /// Grows by one with each change.
    #[serde(skip)]
    pub version: u64,
}

impl Job {
    /// A job that is recorded `now`, is due at `due_at`, and comes from the request of that id.
    pub fn new(
        kind: JobKind,
        target: impl ToString,
        (now, due_at): (Timestamp, Timestamp),
        request_id: &str,
        entropy: &dyn Entropy,
    ) -> Self {
        Self {
            id: JobId::new(now, entropy),
            kind,
            target_id: target.to_string(),
            due_at,
            created_at: now,
            attempts: 0,
            request_id: request_id.to_owned(),
            version: 0,
        }
    }
}
