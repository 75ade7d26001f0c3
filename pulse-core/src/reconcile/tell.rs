//! Telling what was found out: synthetic events, gaps of sessions, and the jobs that follow.

use serde::Serialize;

use super::Round;
use crate::{
    error::Result,
    id::{EventId, SessionId},
    ingest::{Audience, NewEvent, Outbox, Recorder},
    model::{
        event_data::{EventData, ParticipantData, RoomData},
        interval::{Interval, Subject},
        job::{Job, JobKind},
        session::{Absence, Gap, Session},
        tenant::Tenant,
    },
    parts::{Parts, Wakes},
    repo::{Document, get},
    store::{Batch, CommitMode, Outcome},
    time::Timestamp,
};

/// Who asked for the jobs that follow.
pub(super) const CAUSE: &str = "reconciler";

/// A beginning or an end that was found out.
#[derive(Clone, Copy, Debug)]
pub(super) struct Edge<'a> {
    /// The type of the event that tells of it.
    pub(super) kind: &'a str,
    /// Tells it from earlier ones of the same thing, which were taken back; none for the first.
    pub(super) nth: Option<u32>,
    /// When it was.
    pub(super) at: Timestamp,
}

impl Edge<'_> {
    /// The source id of its event: made from what it is about, so that it is told once, whoever finds it out.
    fn source_id(&self, subject: &str) -> String {
        let Self { kind, .. } = self;
        self.nth.map_or_else(|| format!("syn:{subject}:{kind}"), |nth| format!("syn:{subject}:{kind}:{nth}"))
    }
}

/// Tells the next end of a span from those that were told and taken back; none for the first. Each correction numbers the
/// fact anew, and what has no fact has a version.
pub(super) fn nth_end(interval: &Interval) -> Option<u32> {
    interval.synthetic_end?;
    let version = u32::try_from(interval.version).unwrap_or(u32::MAX);
    Some(interval.fact.as_ref().map_or(version, |fact| fact.revision))
}

impl Round<'_> {
    /// Whose a session is.
    pub(super) async fn tenant(&self, session: &Session) -> Result<Option<Tenant>> {
        self.reconciler.plane.parts().keyring.tenant(session.project_id).await
    }

    /// Adds a synthetic event about a room.
    pub(super) async fn tell_room(
        &self,
        tenant: &Tenant,
        session: &Session,
        edge: Edge<'_>,
        batch: &mut Batch,
    ) -> Result<EventId> {
        let room = RoomData {
            sid: Some(session.livekit_sid.clone()),
            name: Some(session.room.to_string()),
            created_at: Some(session.started_at),
            ..RoomData::default()
        };
        let data = EventData { room: Some(room), ..EventData::default() };
        self.tell(tenant, session, (edge, &session.livekit_sid), &data, batch).await
    }

    /// Adds a synthetic event about a participant.
    pub(super) async fn tell_participant(
        &self,
        tenant: &Tenant,
        session: &Session,
        interval: &Interval,
        edge: Edge<'_>,
        batch: &mut Batch,
    ) -> Result<EventId> {
        let room = RoomData {
            sid: Some(session.livekit_sid.clone()),
            name: Some(session.room.to_string()),
            ..RoomData::default()
        };
        let mut participant = ParticipantData {
            sid: Some(interval.key.clone()),
            joined_at: interval.evidence.start(),
            ..ParticipantData::default()
        };
        if let Subject::Participant { identity, name, participant_kind, .. } = &interval.subject {
            participant.identity = Some(identity.clone());
            participant.name = Some(name.clone()).filter(|name| !name.is_empty());
            participant.kind = Some(*participant_kind);
        }
        let data = EventData { room: Some(room), participant: Some(participant), ..EventData::default() };
        self.tell(tenant, session, (edge, &interval.key), &data, batch).await
    }

    /// Adds a synthetic event; `subject` makes its source id.
    pub(super) async fn tell<D: Serialize + Sync>(
        &self,
        tenant: &Tenant,
        session: &Session,
        (edge, subject): (Edge<'_>, &str),
        data: &D,
        batch: &mut Batch,
    ) -> Result<EventId> {
        let reconciler = self.reconciler;
        let recorder = Recorder {
            parts: reconciler.plane.parts(),
            routes: &reconciler.routes,
            dispatcher: None,
            tenant,
            now: self.began,
        };
        let new = NewEvent {
            kind: edge.kind,
            occurred_at: edge.at,
            cluster: self.cluster,
            source_id: &edge.source_id(subject),
            room: Some(&session.room),
            session_id: Some(session.id),
            synthetic: true,
            test: false,
            corrects: None,
            raw: None,
            data,
        };
        recorder.record(new, Audience::Subscribed, batch, &mut Outbox::default()).await
    }

    /// Ends a session whose room has gone, and tells of it.
    pub(super) async fn end_session(
        &self,
        tenant: &Tenant,
        session: Session,
        end: Timestamp,
        absent: Absence,
    ) -> Result<()> {
        // Its gaps have grown while its people were ended.
        let Some(mut session) = get::<Session>(&self.reconciler.plane.parts().store, &session.id.to_string()).await?
        else {
            return Ok(());
        };
        if session.ended_at().is_some() {
            return Ok(());
        }
        let mut batch = Batch::new();
        let before = session.gaps.iter().filter(|gap| gap.missing == "room_ended").count();
        let nth = u32::try_from(before).ok().filter(|_| session.synthetic_end.is_some());
        let edge = Edge { kind: "room_ended", nth, at: end };
        let event = self.tell_room(tenant, &session, edge, &mut batch).await?;
        session.lost_at = Some(end);
        session.synthetic_end = Some(event);
        session.absent = None;
        session.add_gap(Gap {
            missing: "room_ended".to_owned(),
            subject: session.livekit_sid.clone(),
            from: absent.last_seen_at,
            to: self.began,
        });
        self.settling(session.id).insert_into(&mut batch)?;
        session.replace_in(&mut batch)?;
        self.commit(batch, "room_ended").await.map(drop)
    }

    /// Takes back the end of a session that goes on after all.
    pub(super) async fn revive(&self, session: Session) -> Result<()> {
        let mut batch = Batch::new();
        self.settling(session.id).insert_into(&mut batch)?;
        Session { summary: None, absent: None, ..session }.replace_in(&mut batch)?;
        self.commit(batch, "room_revived").await.map(drop)
    }

    fn settling(&self, id: SessionId) -> Job {
        settling(self.reconciler.plane.parts(), id, self.began)
    }

    /// Commits with another gap of the session.
    pub(super) async fn commit_with_gap(
        &self,
        session: SessionId,
        gap: Gap,
        edge: &str,
        mut batch: Batch,
    ) -> Result<()> {
        let store = &self.reconciler.plane.parts().store;
        if let Some(mut session) = get::<Session>(store, &session.to_string()).await? {
            session.add_gap(gap);
            session.replace_in(&mut batch)?;
        }
        self.commit(batch, edge).await.map(drop)
    }

    /// Commits what was found. A conflict means that it has been told before, anything stale that LiveKit has just told of
    /// it: the next round sees what is left.
    pub(super) async fn commit(&self, batch: Batch, edge: &str) -> Result<Outcome> {
        let parts = self.reconciler.plane.parts();
        let called = Wakes::called_by(&batch);
        let outcome = parts.store.commit(batch, CommitMode::Apply).await?;
        if let Outcome::Committed { .. } = outcome {
            parts.wakes.wake(called);
            parts.metrics.corrections.with_label_values(&[edge]).inc();
        }
        Ok(outcome)
    }
}

/// The job that adds up a session.
fn settling(parts: &Parts, id: SessionId, now: Timestamp) -> Job {
    Job::new(JobKind::SettleSession, id, (now, now), CAUSE, parts.entropy.as_ref())
}

/// Ends a session on a LiveKit that cannot be asked any more, as of when its last sign was.
pub(super) async fn end_abandoned(parts: &Parts, session: Session) -> Result<()> {
    let open = parts.intervals.open_in(session.id).await?;
    let signs = open.iter().filter_map(|interval| interval.evidence.last_sign_at.or(interval.evidence.start()));
    let end = signs.max().unwrap_or(session.started_at);
    let mut batch = Batch::new();
    let now = parts.clock.now();
    settling(parts, session.id, now).insert_into(&mut batch)?;
    Session { lost_at: Some(end), ..session }.replace_in(&mut batch)?;
    let called = Wakes::called_by(&batch);
    parts.store.commit(batch, CommitMode::Apply).await?;
    parts.wakes.wake(called);
    Ok(())
}
