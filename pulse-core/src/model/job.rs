//! Work that is recorded together with the change that calls for it, and done later by a worker.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{
    entropy::Entropy,
    id::{BanId, JobId, ProjectId},
    media::room::RoomName,
    model::revocation::SubjectKind,
    time::Timestamp,
};

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
    /// Close the spans that a room's end left open, and add the session up.
    SettleSession,
    /// Take a participant who may not be there out of a room.
    RemoveParticipant,
    /// Look once more whom a ban or a revocation puts out.
    LookAgain,
    /// Take up webhooks without a project, now that the egress or ingress that they name is known.
    AdoptUnclaimed,
    /// End the deliveries of an endpoint that was deleted.
    CancelDeliveries,
    /// Make the deliveries of the replay that has the job's id, and whose project is the target.
    Replay,
}

/// Whom to take out of which room.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Removal {
    /// Which LiveKit.
    pub cluster: String,
    /// The room.
    pub room: RoomName,
    /// Who.
    pub identity: String,
    /// The connection.
    pub sid: String,
    /// Why: `banned` or `revoked`.
    pub reason: String,
}

/// What else is to be known for a job.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "for")]
pub enum JobDetail {
    /// Nothing.
    #[default]
    None,
    /// For [`JobKind::RemoveParticipant`], whose target is the project.
    Removal(Removal),
    /// For [`JobKind::LookAgain`], whose target is the project.
    Ban {
        /// The ban.
        id: BanId,
    },
    /// For [`JobKind::LookAgain`], whose target is the project.
    Revocation {
        /// What was revoked.
        kind: SubjectKind,
        /// Which.
        value: String,
    },
    /// For [`JobKind::AdoptUnclaimed`], whose target is the egress or ingress.
    Adoption {
        /// Which LiveKit.
        cluster: String,
    },
}

impl JobDetail {
    /// Whether there is nothing.
    pub fn is_none(&self) -> bool {
        *self == Self::None
    }
}

/// What a job's turn has left to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    /// Nothing: the job is done.
    Nothing,
    /// It goes on as soon as it has a place again.
    More,
    /// It goes on in so long.
    Later(Duration),
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
    /// What else is to be known for it.
    #[serde(default, skip_serializing_if = "JobDetail::is_none")]
    pub detail: JobDetail,
    /// Grows by one with each change.
    #[serde(skip)]
    pub version: u64,
}

impl Job {
    /// The same with what else is to be known.
    #[must_use]
    pub fn with(self, detail: JobDetail) -> Self {
        Self { detail, ..self }
    }

    /// The job that takes somebody out of a project's room, called for by the request of that id. It has the same id for the
    /// same identity in the same room: one waits at a time.
    pub fn removal(project: ProjectId, removal: Removal, now: Timestamp, request_id: &str) -> Self {
        let Removal { cluster, room, identity, .. } = &removal;
        let parts = ["removal", &project.to_string(), cluster, room.as_str(), identity];
        Self {
            id: JobId::derived(Timestamp::from_millis(0), &parts),
            kind: JobKind::RemoveParticipant,
            target_id: project.to_string(),
            due_at: now,
            created_at: now,
            attempts: 0,
            request_id: request_id.to_owned(),
            detail: JobDetail::Removal(removal),
            version: 0,
        }
    }

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
            detail: JobDetail::None,
            version: 0,
        }
    }
}
