//! Taking out who is in a room and may not be there any more. The jobs stand in the batch of the change that calls for
//! them: once it is committed, they are done, whatever happens to the daemon.

use std::collections::BTreeMap;

use crate::{
    error::Result,
    id::JobId,
    media::token::Jti,
    model::{
        interval::{Interval, Subject},
        job::{Job, Removal},
        revocation::Revocation,
    },
    op::Cx,
    repo::revocations::{self, Issued},
    store::Batch,
    time::Timestamp,
};

/// The most connections that one call takes out itself. The reconciler judges whoever is left when it looks at their room.
pub(super) const MAX_REMOVALS: usize = 500;

/// Adds a job for everybody who has one of the connections, unless it waits already; tells how many connections there are.
pub(super) async fn remove(cx: &Cx<'_>, connections: &[Interval], reason: &str, batch: &mut Batch) -> Result<u64> {
    // Of two connections of one identity to one room, the later one is what is left.
    let mut jobs: BTreeMap<JobId, (Option<Timestamp>, Job)> = BTreeMap::new();
    let mut count = 0;
    for connection in connections {
        let (Subject::Participant { identity, .. }, Some(room)) = (&connection.subject, &connection.room) else {
            continue;
        };
        let removal = Removal {
            cluster: connection.cluster.clone(),
            room: room.clone(),
            identity: identity.clone(),
            sid: connection.key.clone(),
            reason: reason.to_owned(),
        };
        let job = Job::removal(connection.project_id, removal, cx.now, &cx.call.request_id);
        let began = connection.evidence.start();
        let latest = jobs.entry(job.id).or_insert_with(|| (began, job.clone()));
        if latest.0 < began {
            *latest = (began, job);
        }
        count += 1;
    }
    for (_, job) in jobs.into_values() {
        cx.parts.jobs.call_for(job, batch).await?;
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
