//! Who may not be in a room is taken out of it: LiveKit cannot be told to refuse a token that it has not seen, so a banned
//! or revoked identity that joins is removed as soon as LiveKit tells of it, and again each time it comes back.

use crate::{
    error::{Code, Error, Result},
    media::{engine::EngineError, event::ParticipantFacts, room::RoomName, token::Jti},
    model::{
        event_data::ParticipantKind,
        job::{Job, JobDetail, Removal},
        tenant::Tenant,
    },
    parts::Parts,
    plane::ControlPlane,
    repo::revocations::Issued,
    time::Timestamp,
};

/// Somebody in a room, as LiveKit tells of them.
#[derive(Clone, Debug)]
pub(crate) struct Presence<'a> {
    /// Who.
    pub(crate) identity: &'a str,
    /// LiveKit's id of the connection.
    pub(crate) sid: &'a str,
    /// The room.
    pub(crate) room: &'a RoomName,
    /// Whether it is one of Pulse's or LiveKit's own machines: those have no token of Pulse.
    pub(crate) is_machine: bool,
    /// The token with which it joined, if Pulse made it.
    pub(crate) jti: Option<Jti>,
    /// When it joined.
    pub(crate) joined_at: Option<Timestamp>,
}

impl<'a> Presence<'a> {
    /// The participant of an event.
    pub(crate) fn of(participant: &'a ParticipantFacts, room: &'a RoomName) -> Self {
        Self {
            identity: participant.identity.as_deref().unwrap_or_default(),
            sid: &participant.sid,
            room,
            is_machine: participant.kind.is_some_and(ParticipantKind::is_machine),
            jti: Jti::shown_in(&participant.attributes),
            joined_at: participant.joined_at,
        }
    }

    /// What is to be known for the job that removes it.
    pub(crate) fn removal(&self, cluster: &str, reason: &str) -> Removal {
        Removal {
            cluster: cluster.to_owned(),
            room: self.room.clone(),
            identity: self.identity.to_owned(),
            sid: self.sid.to_owned(),
            reason: reason.to_owned(),
        }
    }
}

/// Why somebody may not be where they are, if they may not: `banned` or `revoked`.
pub(crate) async fn unwanted(
    parts: &Parts,
    tenant: &Tenant,
    who: &Presence<'_>,
    now: Timestamp,
) -> Result<Option<&'static str>> {
    if who.is_machine {
        return Ok(None);
    }
    let project = tenant.project.id;
    if tenant.project.has_bans && parts.bans.keeping_out(project, who.identity, who.room, now).await?.is_some() {
        return Ok(Some("banned"));
    }
    // A participant that shows no token of Pulse counts as admitted when it joined.
    let issued = Issued { jti: who.jti, identity: who.identity, room: who.room, at: who.joined_at.unwrap_or(now) };
    let hit = parts.revocations.hitting(project, &issued, now).await?;
    Ok(hit.map(|_| "revoked"))
}

/// Does the job of removing somebody: done, too, when they are gone already.
pub(crate) async fn remove(plane: &ControlPlane, job: &Job) -> Result<()> {
    let parts = plane.parts();
    let JobDetail::Removal(Removal { cluster, room, identity, sid, reason }) = &job.detail else {
        return Err(Error::internal("a removal that does not say whom to remove"));
    };
    let project = job.target_id.parse().map_err(Error::internal)?;
    let Some(tenant) = parts.keyring.tenant(project).await? else { return Ok(()) };
    let connection = parts.intervals.of_key(cluster, "participant", sid).await?;
    if connection.is_some_and(|known| !known.is_open() && !known.evidence.end_is_inferred()) {
        // Gone, as LiveKit itself says. Whoever has the identity now came with a token of their own, and is judged by that.
        return Ok(());
    }
    let engine = parts.engines.of(cluster, Some(&tenant), &parts.sealer)?;
    let wire = engine.signer.wire_room(project, room);
    match engine.client.remove_participant(&wire, identity).await {
        Ok(()) => {
            parts.metrics.removals.with_label_values(&[reason.as_str()]).inc();
            Ok(())
        }
        Err(EngineError::NotFound) => Ok(()),
        Err(fault) => Err(Error::new(Code::Unreachable, "LiveKit did not remove the participant").because(fault)),
    }
}
