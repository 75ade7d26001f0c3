//! Taking out who is in a room and may not be there any more. The jobs stand in the batch of the change that calls for
//! them: once it is committed, they are done, whatever happens to the daemon.
//!
//! A join that was judged before the change and is recorded after it is in neither's sight. So there is a second look, by a
//! job, when every such join is on record.

use std::{collections::BTreeMap, time::Duration};

use crate::{
    error::{Error, Result},
    id::{JobId, ProjectId},
    ingest,
    media::token::Jti,
    model::{
        ban::Ban,
        interval::{Interval, Subject},
        job::{Job, JobDetail, JobKind, Removal},
        revocation::Revocation,
    },
    parts::Parts,
    repo::{
        Document,
        revocations::{self, Issued},
    },
    store::{Batch, CommitMode, Outcome},
    time::Timestamp,
};

/// The most connections that one call takes out itself. The reconciler judges whoever is left when it looks at their room.
const MAX_REMOVALS: usize = 500;
/// When the second look is due. An event of LiveKit is on record by then, though it may have been judged by another daemon that
/// learned of the change a moment later. A commit that comes through later still, at a store that hangs, is left to the
/// reconciler.
const SECOND_LOOK: Duration = ingest::PATIENCE.saturating_add(Duration::from_secs(2));

/// What somebody may not be in a room for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Cause<'a> {
    /// They are banned.
    Ban(&'a Ban),
    /// The token with which they joined was revoked.
    Revocation(&'a Revocation),
}

impl Cause<'_> {
    fn project(self) -> ProjectId {
        match self {
            Self::Ban(ban) => ban.project_id,
            Self::Revocation(revocation) => revocation.project_id,
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Ban(_) => "banned",
            Self::Revocation(_) => "revoked",
        }
    }

    /// By what the second look finds it.
    fn detail(self) -> JobDetail {
        match self {
            Self::Ban(ban) => JobDetail::Ban { id: ban.id },
            Self::Revocation(revocation) => {
                JobDetail::Revocation { kind: revocation.kind, value: revocation.value.clone() }
            }
        }
    }

    /// The connections that it ends.
    async fn connections(self, parts: &Parts) -> Result<Vec<Interval>> {
        match self {
            Self::Ban(ban) => {
                let identity = ban.identity.as_str();
                let mut there = parts.intervals.open_of_identity(ban.project_id, identity, MAX_REMOVALS).await?;
                let is_from = |room: &Option<_>| ban.room_name.is_none() || *room == ban.room_name;
                there.retain(|connection| is_guest(connection) && is_from(&connection.room));
                Ok(there)
            }
            Self::Revocation(revocation) => {
                let is_hit = |connection: &Interval| is_hit(connection, revocation);
                parts.intervals.open_that(revocation.project_id, is_hit, MAX_REMOVALS).await
            }
        }
    }
}

/// Adds to the batch that makes the cause what puts everybody out whom it hits; tells how many connections there are.
/// `now` and the request's id are those of the change.
pub(super) async fn remove(
    parts: &Parts,
    cause: Cause<'_>,
    (now, request_id): (Timestamp, &str),
    batch: &mut Batch,
) -> Result<u64> {
    let removed = remove_those_there(parts, cause, (now, request_id), batch).await?;
    let times = (now, now.plus(SECOND_LOOK));
    Job::new(JobKind::LookAgain, cause.project(), times, request_id, parts.entropy.as_ref())
        .with(cause.detail())
        .insert_into(batch)?;
    Ok(removed)
}

/// Adds a job for everybody whom the cause hits, unless it waits already; tells how many connections there are.
async fn remove_those_there(
    parts: &Parts,
    cause: Cause<'_>,
    (now, request_id): (Timestamp, &str),
    batch: &mut Batch,
) -> Result<u64> {
    // Of two connections of one identity to one room, the later one is what is left.
    let mut jobs: BTreeMap<JobId, (Option<Timestamp>, Job)> = BTreeMap::new();
    let mut count = 0;
    for connection in cause.connections(parts).await? {
        let (Subject::Participant { identity, .. }, Some(room)) = (&connection.subject, &connection.room) else {
            continue;
        };
        let removal = Removal {
            cluster: connection.cluster.clone(),
            room: room.clone(),
            identity: identity.clone(),
            sid: connection.key.clone(),
            reason: cause.word().to_owned(),
        };
        let job = Job::removal(connection.project_id, removal, now, request_id);
        let began = connection.evidence.start();
        let latest = jobs.entry(job.id).or_insert_with(|| (began, job.clone()));
        if latest.0 < began {
            *latest = (began, job);
        }
        count += 1;
    }
    for (_, job) in jobs.into_values() {
        parts.jobs.call_for(job, batch).await?;
    }
    Ok(count)
}

/// Does the second look, as long as what called for it holds.
pub(crate) async fn look_again(parts: &Parts, job: &Job) -> Result<()> {
    let project = job.target_id.parse().map_err(Error::internal)?;
    let now = parts.clock.now();
    let mut batch = Batch::new();
    match &job.detail {
        JobDetail::Ban { id } => {
            let Some(ban) = parts.bans.get(project, *id).await?.filter(|ban| ban.holds(now)) else { return Ok(()) };
            remove_those_there(parts, Cause::Ban(&ban), (now, &job.request_id), &mut batch).await?;
        }
        JobDetail::Revocation { kind, value } => {
            let Some(stored) = parts.revocations.get(project, *kind, value).await? else { return Ok(()) };
            let cause = Cause::Revocation(&stored.revocation);
            remove_those_there(parts, cause, (now, &job.request_id), &mut batch).await?;
        }
        JobDetail::None | JobDetail::Removal(_) | JobDetail::Adoption { .. } => {
            return Err(Error::internal("a second look that does not say for what"));
        }
    }
    if batch.is_empty() {
        return Ok(());
    }
    match parts.commit(batch, CommitMode::Apply).await? {
        Outcome::Committed { .. } => Ok(()),
        other => Err(Error::internal(format!("the store changed under a second look: {other:?}"))),
    }
}

/// Whether the connection is that of somebody who may be put out: LiveKit's own machines have no token of Pulse.
fn is_guest(connection: &Interval) -> bool {
    match &connection.subject {
        Subject::Participant { participant_kind, .. } => !participant_kind.is_machine(),
        Subject::Egress { .. } | Subject::Ingress { .. } => false,
    }
}

/// Whether the connection was made with a token that the revocation hits. One that shows no token of Pulse counts as
/// admitted when it joined.
fn is_hit(connection: &Interval, revocation: &Revocation) -> bool {
    let Subject::Participant { identity, jti, .. } = &connection.subject else { return false };
    let (Some(room), Some(joined_at)) = (&connection.room, connection.evidence.start()) else { return false };
    let jti = jti.as_deref().and_then(Jti::parse);
    is_guest(connection) && revocations::hits(revocation, &Issued { jti, identity, room, at: joined_at })
}
