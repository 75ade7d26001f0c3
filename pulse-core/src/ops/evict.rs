//! Taking out who is in a room and may not be there any more. The jobs stand in the batch of the change that calls for
//! them: once it is committed, they are done, whatever happens to the daemon.

use crate::{
    error::Result,
    media::token::Jti,
    model::{
        interval::{Interval, Subject},
        job::{Job, JobDetail, JobKind},
        revocation::Revocation,
    },
    op::Cx,
    repo::{
        Document as _,
        revocations::{self, Issued},
    },
    store::Batch,
};

/// The most connections that one call takes out itself. The reconciler judges whoever is left when it looks at their room.
pub(super) const MAX_REMOVALS: usize = 500;

/// Adds a job for each of the connections, and tells how many there are.
pub(super) fn remove(cx: &Cx<'_>, connections: &[Interval], reason: &str, batch: &mut Batch) -> Result<u64> {
    let mut count = 0;
    for connection in connections {
        let (Subject::Participant { identity, .. }, Some(room)) = (&connection.subject, &connection.room) else {
            continue;
        };
        let detail = JobDetail::Removal {
            cluster: connection.cluster.clone(),
            room: room.clone(),
            identity: identity.clone(),
            sid: connection.key.clone(),
            reason: reason.to_owned(),
        };
        let entropy = cx.parts.entropy.as_ref();
        let project = connection.project_id;
        let job = Job::new(JobKind::RemoveParticipant, project, (cx.now, cx.now), &cx.call.request_id, entropy);
        job.with(detail).insert_into(batch)?;
        count += 1;
    }
    Ok(count)
}

/// Whether the connection is that of somebody who may be put out: LiveKit's own machines have no token of Pulse.
pub(super) fn is_guest(connection: &Interval) -> bool {
    match &connection.subject {
        Subject::Participant { participant_kind, .. } => !participant_kind.is_machine(),
        Subject::Egress { .. } | Subject::Ingress { .. } => false,
    }
}

/// Whether the connection was made with a token that the revocation hits. One that shows no token of Pulse counts as
/// admitted when it joined.
pub(super) fn is_hit(connection: &Interval, revocation: &Revocation) -> bool {
    let Subject::Participant { identity, jti, .. } = &connection.subject else { return false };
    let (Some(room), Some(joined_at)) = (&connection.room, connection.evidence.start()) else { return false };
    let jti = jti.as_deref().and_then(Jti::parse);
    is_guest(connection) && revocations::hits(revocation, &Issued { jti, identity, room, at: joined_at })
}
