//! Telling what was found out: synthetic events, gaps of sessions, and the jobs that follow.

use std::sync::atomic::Ordering;

use serde::Serialize;

use super::{Look, MAX_TOLD};
use crate::{
    error::{Code, Error, Result},
    id::{EventId, SessionId},
    ingest::{Audience, NewEvent, Outbox, Recorder},
    media::room::{self, RoomName, WireRoom},
    model::{
        event_data::{EventData, ParticipantData, RoomData},
        interval::{Interval, Subject},
        job::{Job, JobKind},
        session::{Gap, Session},
        tenant::Tenant,
    },
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
        let first = first_source_id(subject, self.kind);
        self.nth.map_or_else(|| first.clone(), |nth| format!("{first}:{nth}"))
    }
}

/// The source id of the first event of a type about something.
pub(super) fn first_source_id(subject: &str, kind: &str) -> String {
    format!("syn:{subject}:{kind}")
}

/// Where something is told of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scene<'a> {
    /// Whose it is.
    pub(super) tenant: &'a Tenant,
    /// The session, in which the event is numbered.
    pub(super) session: Option<&'a Session>,
    /// The room.
    pub(super) room: Option<&'a RoomName>,
}

impl<'a> Scene<'a> {
    /// In the room of a session.
    pub(super) fn of(tenant: &'a Tenant, session: &'a Session) -> Self {
        Self { tenant, session: Some(session), room: Some(&session.room) }
    }
}

/// Tells the next end of a span from those that were told and taken back; none for the first. Each correction numbers the
/// fact anew, and what has no fact has a version.
pub(super) fn nth_end(interval: &Interval) -> Option<u32> {
    interval.synthetic_end?;
    let version = u32::try_from(interval.version).unwrap_or(u32::MAX);
    Some(interval.fact.as_ref().map_or(version, |fact| fact.revision))
}

impl Look<'_> {
    /// Whose a session is.
    pub(super) async fn tenant(&self, session: &Session) -> Result<Option<Tenant>> {
        self.parts().keyring.tenant(session.project_id).await
    }

    /// Whose a room of this name on the wire is, and how they call it: nobody's when the name is none of Pulse's. Without a
    /// room it is the cluster's owner's.
    pub(super) async fn whose(&self, room: Option<&WireRoom>) -> Result<Option<(Tenant, Option<RoomName>)>> {
        match (&self.owner, room) {
            (Some(owner), Some(room)) => Ok(room.as_str().parse().ok().map(|name| (owner.clone(), Some(name)))),
            (Some(owner), None) => Ok(Some((owner.clone(), None))),
            (None, Some(room)) => {
                let Some((project, name)) = room::split(room.as_str()) else { return Ok(None) };
                Ok(self.parts().keyring.tenant(project).await?.map(|tenant| (tenant, Some(name))))
            }
            (None, None) => Ok(None),
        }
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
        self.tell(Scene::of(tenant, session), (edge, &session.livekit_sid), &data, batch).await
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
        self.tell(Scene::of(tenant, session), (edge, &interval.key), &data, batch).await
    }

    /// Adds a synthetic event; `subject` makes its source id.
    pub(super) async fn tell<D: Serialize + Sync>(
        &self,
        scene: Scene<'_>,
        (edge, subject): (Edge<'_>, &str),
        data: &D,
        batch: &mut Batch,
    ) -> Result<EventId> {
        if self.owner.is_some() && self.told.fetch_add(1, Ordering::Relaxed) >= MAX_TOLD {
            let many = format!("LiveKit shows more than {MAX_TOLD} things that it has not told");
            return Err(Error::new(Code::Overloaded, many));
        }
        let recorder = Recorder {
            parts: self.parts(),
            routes: &self.reconciler.routes,
            dispatcher: None,
            tenant: scene.tenant,
            now: self.began,
        };
        let new = NewEvent {
            kind: edge.kind,
            occurred_at: edge.at,
            cluster: self.cluster,
            source_id: &edge.source_id(subject),
            room: scene.room,
            session_id: scene.session.map(|session| session.id),
            synthetic: true,
            test: false,
            corrects: None,
            data,
        };
        recorder.record(new, Audience::Subscribed, batch, &mut Outbox::default()).await
    }

    /// Ends a session whose room has gone at `end`, after it was seen last at `seen`, and tells of it.
    pub(super) async fn end_session(
        &self,
        tenant: &Tenant,
        mut session: Session,
        (seen, end): (Timestamp, Timestamp),
    ) -> Result<()> {
        let mut batch = Batch::new();
        // Lost before, found again and lost once more: that is another edge.
        let nth = session.synthetic_end.map(|_| u32::try_from(session.version).unwrap_or(u32::MAX));
        let edge = Edge { kind: "room_ended", nth, at: end };
        let event = self.tell_room(tenant, &session, edge, &mut batch).await?;
        session.lost_at = Some(end);
        session.synthetic_end = Some(event);
        session.absent = None;
        session.add_gap(Gap {
            missing: "room_ended".to_owned(),
            subject: session.livekit_sid.clone(),
            from: seen,
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
        Job::new(JobKind::SettleSession, id, (self.began, self.began), CAUSE, self.parts().entropy.as_ref())
    }

    /// Commits with further gaps of the session, if there is one.
    pub(super) async fn commit_with_gaps(
        &self,
        session: Option<SessionId>,
        gaps: Vec<Gap>,
        edge: &str,
        mut batch: Batch,
    ) -> Result<()> {
        // Its gaps may have grown since it was read.
        let session = match session {
            Some(id) => get::<Session>(&self.parts().store, &id.to_string()).await?,
            None => None,
        };
        if let Some(mut session) = session {
            gaps.into_iter().for_each(|gap| session.add_gap(gap));
            if session.ended_at().is_some() {
                // It ended while it was looked at: what was found ends with it, and it is added up again.
                session.summary = None;
                self.settling(session.id).insert_into(&mut batch)?;
            }
            session.replace_in(&mut batch)?;
        }
        self.commit(batch, edge).await.map(drop)
    }

    /// Commits what was found. A conflict means that it has been told before, anything stale that LiveKit has just told of
    /// it: the next round sees what is left.
    pub(super) async fn commit(&self, batch: Batch, edge: &str) -> Result<Outcome> {
        let parts = self.parts();
        let outcome = parts.commit(batch, CommitMode::Apply).await?;
        if let Outcome::Committed { .. } = outcome {
            parts.metrics.corrections.with_label_values(&[edge]).inc();
        }
        Ok(outcome)
    }
}
