//! Planning an event: everything that is read, decided and written for it, as one batch.

use super::{
    Arrival, Ingest,
    effects::{self, Observation},
    lanes::Lane,
    record::{Audience, NewEvent, Outbox, Recorder},
    removal,
    settle::{PATIENCE, settle},
};
use crate::{
    error::Result,
    id::{EventId, SessionId},
    media::{
        event::{EventKind, RECORDING_AVAILABLE},
        room::RoomName,
    },
    model::{
        event_data::EventData,
        interval::{Interval, Subject},
        job::{Job, JobDetail, JobKind},
        session::Session,
    },
    reconcile,
    repo::Document,
    store::Batch,
    time::Timestamp,
};

/// Who asked for the jobs that follow from events.
const CAUSE: &str = "livekit";
/// How many connections that a room's end left open are closed in the batch of that event; a job closes the rest.
const CLOSED_AT_ONCE: usize = 100;

/// What an event comes to.
#[derive(Default)]
pub(super) struct Planned {
    /// What is committed.
    pub(super) batch: Batch,
    /// The session as it is then.
    pub(super) session: Option<Session>,
    /// What is sent then.
    pub(super) outbox: Outbox,
}

/// A session on its way through a plan.
struct Current {
    session: Session,
    /// Whether it is in the store; its version there is the session's.
    stored: bool,
    changed: bool,
    /// It was thought to be over, and goes on.
    revived: bool,
}

impl Ingest {
    /// Plans one event against what is in the store and in the lane.
    pub(super) async fn plan(&self, arrival: &Arrival, lane: &mut Lane) -> Result<Planned> {
        let parts = self.plane.parts();
        let now = parts.clock.now();
        let mut planned = Planned::default();
        let mut follow_up = Batch::new();
        let mut current = self.session(arrival, lane, now).await?;
        if let Some(current) = &mut current {
            self.place_among_others(arrival, current, &mut follow_up, now).await?;
        }
        let mut interval = self.interval(arrival, current.as_ref().map(|current| &current.session), now).await?;
        let corrects = corrects(arrival, current.as_ref(), interval.as_ref().map(|(interval, _)| interval));
        let session_id = current.as_ref().map(|current| current.session.id);
        self.record(arrival, session_id, corrects, &mut planned, now).await?;
        if let Some((interval, observation)) = &mut interval {
            let room = (session_id, arrival.room.as_ref());
            self.write_interval(interval, observation, room, &mut follow_up).await?;
        }
        if let Some(current) = &mut current {
            self.follow_the_end(arrival, current, interval.is_some(), &mut follow_up, now).await?;
        }
        self.follow_a_join(arrival, &mut follow_up, now).await?;
        if let Some(current) = current {
            planned.session = Some(current.write(interval.is_some(), &mut planned.batch)?);
        }
        planned.batch.extend(follow_up);
        Ok(planned)
    }

    /// The session of the event's room, as it is once the event has been taken into account.
    async fn session(&self, arrival: &Arrival, lane: &Lane, now: Timestamp) -> Result<Option<Current>> {
        let parts = self.plane.parts();
        let (Some(sid), Some(room)) = (&arrival.event.facts.room.sid, &arrival.room) else { return Ok(None) };
        let known = match lane.session(&arrival.cluster, sid) {
            Some(session) => Some(session),
            None => parts.sessions.of_sid(&arrival.cluster, sid).await?,
        };
        if let Some(mut session) = known {
            let was_over = session.ended_at().is_some();
            let changed = effects::observe_room(&mut session, &arrival.event);
            let revived = was_over && session.ended_at().is_none();
            return Ok(Some(Current { session, stored: true, changed, revived }));
        }
        let mut session = Session::new(
            SessionId::new(now, parts.entropy.as_ref()),
            (arrival.tenant.project.id, &arrival.cluster),
            (sid, room),
            arrival.event.created_at,
            now.plus(parts.settings.pipeline.keep_sessions),
        );
        effects::observe_room(&mut session, &arrival.event);
        Ok(Some(Current { session, stored: false, changed: true, revived: false }))
    }

    /// Two lives of one room cannot be at once: the older one ends where the newer begins. Looked at when it becomes known
    /// when a session began, and whenever LiveKit says so together with something new.
    async fn place_among_others(
        &self,
        arrival: &Arrival,
        current: &mut Current,
        batch: &mut Batch,
        now: Timestamp,
    ) -> Result<()> {
        // Until it is known when a session began, it has no place among the others.
        let opened = arrival.event.facts.room.created_at.is_some() && current.changed;
        if !opened {
            return Ok(());
        }
        let parts = self.plane.parts();
        let Session { project_id, cluster, room, started_at, id, .. } = current.session.clone();
        let (before, after) = parts.sessions.neighbours(project_id, &cluster, &room, started_at).await?;
        if let Some(after) = after.filter(|after| after.id != id) {
            let end = current.session.superseded_at.map_or(after.started_at, |end| end.min(after.started_at));
            current.session.superseded_at = Some(end);
            current.changed = true;
        }
        // The end that LiveKit told itself stands, whatever comes after.
        if let Some(mut before) = before.filter(|before| before.id != id && before.finished_at.is_none())
            && before.ended_at().is_none_or(|end| end > started_at)
        {
            before.superseded_at = Some(started_at);
            before.summary = None;
            before.replace_in(batch)?;
            self.job(JobKind::SettleSession, before.id, JobDetail::None, (now, now)).insert_into(batch)?;
        }
        Ok(())
    }

    /// The connection, egress or ingress that the event is evidence of, as it was, and what the event says.
    async fn interval(
        &self,
        arrival: &Arrival,
        session: Option<&Session>,
        now: Timestamp,
    ) -> Result<Option<(Interval, Observation)>> {
        let parts = self.plane.parts();
        let Some(observation) = effects::observe(&arrival.event) else { return Ok(None) };
        let kind = observation.subject.kind();
        if let Some(known) = parts.intervals.of_key(&arrival.cluster, kind, &observation.key).await? {
            return Ok(Some((known, observation)));
        }
        let unplaced = session.is_none() && matches!(observation.subject, Subject::Participant { .. });
        if unplaced && observation.evidence.end().is_none() {
            // In a room without a session nobody would see it end: it is on record once LiveKit says that it did.
            return Ok(None);
        }
        let mut fresh = Interval::new(
            (arrival.tenant.project.id, &arrival.cluster),
            (&observation.key, observation.subject.clone()),
            now.plus(parts.settings.pipeline.keep_sessions),
        );
        fresh.session_id = session.map(|session| session.id);
        fresh.room.clone_from(&arrival.room);
        if let Some(session) = session {
            effects::close_by_room(&mut fresh, session);
        }
        Ok(Some((fresh, observation)))
    }

    /// Merges what the event says, brings the facts in line, and writes what has changed.
    async fn write_interval(
        &self,
        interval: &mut Interval,
        observation: &Observation,
        (session, room): (Option<SessionId>, Option<&RoomName>),
        batch: &mut Batch,
    ) -> Result<()> {
        let before = interval.clone();
        // An event that named no room may have come first.
        interval.session_id = interval.session_id.or(session);
        interval.room = interval.room.take().or_else(|| room.cloned());
        interval.subject.merge(observation.subject.clone());
        interval.evidence.merge(&observation.evidence);
        let sign = observation.evidence.latest_sign();
        interval.absent = interval.absent.filter(|absent| absent.stands_beside(sign));
        settle(self.plane.parts(), interval, batch).await?;
        if interval.version == 0 {
            interval.insert_into(batch)?;
            self.call_for_adoption(interval, batch).await?;
        } else if *interval != before {
            interval.replace_in(batch)?;
        }
        Ok(())
    }

    /// Webhooks without a project that name this egress or ingress have a project now.
    async fn call_for_adoption(&self, interval: &Interval, batch: &mut Batch) -> Result<()> {
        let key = match &interval.subject {
            Subject::Egress { .. } => &interval.key,
            Subject::Ingress { ingress_id, .. } => ingress_id,
            Subject::Participant { .. } => return Ok(()),
        };
        if self.plane.parts().unclaimed.names(&interval.cluster, key).await? {
            self.adoption(&interval.cluster, key).insert_into(batch)?;
        }
        Ok(())
    }

    /// The job that takes up webhooks that name an egress or ingress, whose project has turned out.
    pub(super) fn adoption(&self, cluster: &str, key: &str) -> Job {
        let detail = JobDetail::Adoption { cluster: cluster.to_owned() };
        let now = self.plane.parts().clock.now();
        self.job(JobKind::AdoptUnclaimed, key, detail, (now, now))
    }

    /// What follows from a room's end: connections that it left open end with it, and the session is added up. When
    /// something of an ended session changes later, it is added up again.
    async fn follow_the_end(
        &self,
        arrival: &Arrival,
        current: &mut Current,
        touched: bool,
        batch: &mut Batch,
        now: Timestamp,
    ) -> Result<()> {
        if current.session.ended_at().is_none() {
            if current.revived {
                current.session.summary = None;
                self.job(JobKind::SettleSession, current.session.id, JobDetail::None, (now, now)).insert_into(batch)?;
            }
            return Ok(());
        }
        let finished = arrival.event.kind == EventKind::RoomFinished && current.changed;
        if finished && current.stored {
            let parts = self.plane.parts();
            for mut interval in parts.intervals.some_open_in(current.session.id, CLOSED_AT_ONCE).await? {
                if effects::close_by_room(&mut interval, &current.session) {
                    settle(parts, &mut interval, batch).await?;
                    interval.replace_in(batch)?;
                }
            }
        }
        let summed = touched && current.session.summary.is_some();
        if current.changed || summed {
            current.session.summary = None;
            let id = current.session.id;
            self.job(JobKind::SettleSession, id, JobDetail::None, (now, now.plus(PATIENCE))).insert_into(batch)?;
        }
        // A job that has read its spans already must not write sums without this one.
        current.changed |= touched || summed;
        Ok(())
    }

    /// Who joins and may not be there is taken out again.
    async fn follow_a_join(&self, arrival: &Arrival, batch: &mut Batch, now: Timestamp) -> Result<()> {
        let (EventKind::ParticipantJoined, Some(room)) = (&arrival.event.kind, &arrival.room) else { return Ok(()) };
        let Some(participant) = &arrival.event.facts.participant else { return Ok(()) };
        let presence = removal::Presence::of(participant, room);
        let Some(reason) = removal::unwanted(self.plane.parts(), &arrival.tenant, &presence, now).await? else {
            return Ok(());
        };
        let removal = presence.removal(&arrival.cluster, reason);
        let job = Job::removal(arrival.tenant.project.id, removal, now, CAUSE);
        self.plane.parts().jobs.call_for(job, batch).await.map(drop)
    }

    /// Adds the event, and a `recording_available` for each recording that it tells of, to the batch.
    async fn record(
        &self,
        arrival: &Arrival,
        session_id: Option<SessionId>,
        corrects: Option<EventId>,
        planned: &mut Planned,
        now: Timestamp,
    ) -> Result<()> {
        let (parts, event) = (self.plane.parts(), &arrival.event);
        let recorder =
            Recorder { parts, routes: &self.routes, dispatcher: Some(&self.dispatcher), tenant: &arrival.tenant, now };
        let kind = event.kind.public_name();
        let new = NewEvent {
            kind: &kind,
            occurred_at: event.created_at,
            cluster: &arrival.cluster,
            source_id: &event.source_id,
            room: arrival.room.as_ref(),
            session_id,
            synthetic: false,
            test: false,
            corrects,
            data: &event.data,
        };
        recorder.record(new, Audience::Subscribed, &mut planned.batch, &mut planned.outbox).await?;
        for (place, recording) in event.recordings().into_iter().enumerate() {
            let source_id = format!("{}:{place}", event.source_id);
            let corrects = match (corrects, &event.facts.egress) {
                (Some(_), Some(egress)) => self.told_recording(&arrival.cluster, &egress.id, place).await?,
                _ => None,
            };
            let data = EventData { recording: Some(recording), ..EventData::default() };
            let new = NewEvent {
                kind: RECORDING_AVAILABLE,
                occurred_at: event.created_at,
                cluster: &arrival.cluster,
                source_id: &source_id,
                room: arrival.room.as_ref(),
                session_id,
                synthetic: false,
                test: false,
                corrects,
                data: &data,
            };
            recorder.record(new, Audience::Subscribed, &mut planned.batch, &mut planned.outbox).await?;
        }
        Ok(())
    }

    /// The event by which the reconciler told of a recording, when it found the egress's end before LiveKit told it.
    async fn told_recording(&self, cluster: &str, egress: &str, place: usize) -> Result<Option<EventId>> {
        let source_id = reconcile::source_of_recording(egress, place);
        let told = self.plane.parts().events.of_source(cluster, &source_id, RECORDING_AVAILABLE).await?;
        Ok(told.map(|event| event.id))
    }

    /// A job that follows from an event.
    fn job(
        &self,
        kind: JobKind,
        target: impl ToString,
        detail: JobDetail,
        (now, due_at): (Timestamp, Timestamp),
    ) -> Job {
        let entropy = self.plane.parts().entropy.as_ref();
        Job::new(kind, target, (now, due_at), CAUSE, entropy).with(detail)
    }
}

impl Current {
    /// Writes the session, or makes the batch hold only while it is as it was read when something relies on it. Gives it
    /// as it is then.
    fn write(mut self, relied_on: bool, batch: &mut Batch) -> Result<Session> {
        if !self.stored {
            self.session.insert_into(batch)?;
            self.session.set_version(1);
            return Ok(self.session);
        }
        if self.changed {
            return self.session.replaced_in(batch);
        }
        if relied_on {
            self.session.require_in(batch);
        }
        Ok(self.session)
    }
}

/// The event that the reconciler wrote for the same edge, which LiveKit's own word now corrects.
fn corrects(arrival: &Arrival, current: Option<&Current>, interval: Option<&Interval>) -> Option<EventId> {
    match arrival.event.kind {
        EventKind::RoomStarted => current?.session.synthetic_start,
        EventKind::RoomFinished => current?.session.synthetic_end,
        EventKind::ParticipantJoined | EventKind::EgressStarted | EventKind::IngressStarted => {
            interval?.synthetic_start
        }
        EventKind::ParticipantLeft
        | EventKind::ParticipantConnectionAborted
        | EventKind::EgressEnded
        | EventKind::IngressEnded => interval?.synthetic_end,
        EventKind::TrackPublished | EventKind::TrackUnpublished | EventKind::EgressUpdated | EventKind::Unknown(_) => {
            None
        }
    }
}
