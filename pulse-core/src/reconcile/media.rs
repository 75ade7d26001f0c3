//! Egresses and ingresses: those of whose beginning or end LiveKit did not tell.

use std::collections::HashMap;

use super::{
    GRACE, LISTED_EVERY, Look, Missing, Round,
    tell::{Edge, Scene, first_source_id, nth_end},
    unanswered,
};
use crate::{
    error::Result,
    ingest,
    media::{
        engine::{Egress, EngineError, Ingress},
        event::{RECORDING_AVAILABLE, recordings_of},
        room::WireRoom,
    },
    model::{
        event_data::{EgressData, EventData, IngressData, IngressStatus},
        interval::{Evidence, Interval, Subject},
        session::Gap,
    },
    repo::Document,
    store::{Batch, CommitMode},
    time::Timestamp,
};

/// What a list says of one egress or one run of an ingress.
pub(super) struct Listed {
    /// The key of its span.
    key: String,
    /// What it is.
    subject: Subject,
    /// What customers read of it; the room's name is LiveKit's.
    data: EventData,
    wire_room: Option<WireRoom>,
    room_sid: Option<String>,
    /// When it began, if the list says so.
    began_at: Option<Timestamp>,
    /// Whether it goes on.
    goes_on: bool,
    /// When it ended, if the list says so.
    ended_at: Option<Timestamp>,
}

/// What was listed, by kind and key.
type Media = HashMap<(&'static str, String), Listed>;

impl From<Egress> for Listed {
    fn from(Egress { facts, data }: Egress) -> Self {
        let over = facts.status.is_over();
        Self {
            subject: ingest::subject_of_egress(&facts, &data),
            began_at: facts.started_at_ns.map(Timestamp::from_nanos),
            ended_at: facts.ended_at_ns.map(Timestamp::from_nanos).filter(|_| over),
            goes_on: !over,
            key: facts.id,
            wire_room: facts.wire_room.map(WireRoom::heard),
            room_sid: facts.room_sid,
            data: EventData { egress: Some(data), ..EventData::default() },
        }
    }
}

impl From<Ingress> for Listed {
    fn from(Ingress { facts, data }: Ingress) -> Self {
        let goes_on = matches!(facts.status, IngressStatus::Publishing | IngressStatus::Buffering);
        Self {
            key: ingest::key_of_run(&facts),
            subject: ingest::subject_of_ingress(&facts, &data),
            began_at: facts.started_at_ns.map(Timestamp::from_nanos),
            ended_at: facts.ended_at_ns.map(Timestamp::from_nanos).filter(|_| !goes_on),
            goes_on,
            wire_room: facts.wire_room.map(WireRoom::heard),
            room_sid: facts.room_sid,
            data: EventData { ingress: Some(data), ..EventData::default() },
        }
    }
}

impl Round<'_> {
    /// Records egresses and ingresses of which LiveKit did not tell, ends those that have ended, and lets those go on that
    /// were thought to have ended. A LiveKit without Redis has neither.
    pub(super) async fn media(&mut self) -> Result<()> {
        let open = self.look.parts().intervals.open_media(self.look.cluster).await?;
        // Where nothing goes on, something may that is not on record or was thought to have ended.
        let rested = self.watch.media_asked_at.is_none_or(|at| self.look.began.since(at) >= LISTED_EVERY);
        if open.is_empty() && !rested {
            return Ok(());
        }
        self.watch.media_asked_at = Some(self.look.began);
        let (mut listed, whole) = match self.listed_media(&open, rested).await {
            Ok(listed) => listed,
            Err(error) if !open.is_empty() => return Err(error),
            Err(_) => return Ok(()),
        };
        for interval in open {
            let listed = listed.remove(&(interval.subject.kind(), interval.key.clone()));
            self.media_interval(interval, listed).await?;
        }
        let looked_at = self.watch.good.media_at.or(self.watch.good.at);
        for listed in listed.into_values() {
            self.look.listed_media(listed, looked_at).await?;
        }
        if whole {
            self.watch.good.media_at = Some(self.look.began);
        }
        Ok(())
    }

    /// What there is, and whether what has ended is among it. LiveKit knows of an egress for a day when it ended, which can be
    /// very many: they are listed when one is missed, and from time to time.
    async fn listed_media(&self, open: &[Interval], rested: bool) -> Result<(Media, bool)> {
        let client = &self.engine.client;
        let mut egresses = without_redis(client.list_egress(true).await)?;
        let known = |interval: &Interval| egresses.iter().any(|egress| egress.facts.id == interval.key);
        let misses = open.iter().any(|interval| interval.subject.kind() == "egress" && !known(interval));
        let mut whole = false;
        if rested || misses {
            match client.list_egress(false).await {
                // Those under way have come: whose end cannot be read ends by its absence.
                Err(EngineError::TooLarge) => {}
                list => (egresses, whole) = (without_redis(list)?, true),
            }
        }
        let egresses = egresses.into_iter().map(Listed::from);
        let used = |ingress: &Ingress| ingress.facts.resource_id.is_some();
        let ingresses = without_redis(client.list_ingress().await)?.into_iter().filter(used).map(Listed::from);
        let listed = egresses.chain(ingresses).map(|listed| ((listed.subject.kind(), listed.key.clone()), listed));
        Ok((listed.collect(), whole))
    }

    /// One open span against the list: the list's own word ends it, or its absence.
    async fn media_interval(&self, mut interval: Interval, listed: Option<Listed>) -> Result<()> {
        let sign = interval.evidence.latest_sign();
        let end = match &listed {
            Some(Listed { goes_on: true, .. }) if interval.absent.is_none() => return Ok(()),
            Some(Listed { goes_on: true, .. }) => {
                interval.absent = None;
                None
            }
            Some(Listed { ended_at: Some(end), .. }) if self.look.may_yet_tell(*end) => return Ok(()),
            Some(Listed { ended_at: Some(end), .. }) => Some(*end),
            Some(Listed { ended_at: None, .. }) | None => {
                match self.look.missing(interval.absent, sign, self.watch.good.at) {
                    Missing::NotYet => return Ok(()),
                    Missing::Noted(absence) => {
                        interval.absent = Some(absence);
                        None
                    }
                    Missing::Gone { end, .. } => Some(end),
                }
            }
        };
        match end {
            Some(end) => self.look.lose_media(interval, end, listed).await,
            None => self.look.rewrite(interval).await,
        }
    }
}

/// What a list has; nothing where LiveKit has no Redis.
fn without_redis<T>(list: Result<Vec<T>, EngineError>) -> Result<Vec<T>> {
    match list {
        Err(EngineError::NeedsRedis) => Ok(Vec::new()),
        list => list.map_err(unanswered),
    }
}

impl Look<'_> {
    /// Something is listed that is not open on record; `looked_at` is when the last good list was asked for.
    async fn listed_media(&self, listed: Listed, looked_at: Option<Timestamp>) -> Result<()> {
        // What had ended when the last list was made was dealt with then, or was before Pulse's time.
        let is_old = |end: Timestamp| looked_at.is_none_or(|at| end.plus(GRACE * 2) < at);
        if !listed.goes_on && listed.ended_at.is_none_or(is_old) {
            return Ok(());
        }
        match self.parts().intervals.of_key(self.cluster, listed.subject.kind(), &listed.key).await? {
            Some(interval) if listed.goes_on && interval.evidence.end_is_inferred() => {
                self.revive_media(interval, &listed).await
            }
            // LiveKit itself said that it ended, which is newer than the list; or it is as recorded.
            Some(_) => Ok(()),
            None => self.found_media(listed).await,
        }
    }

    /// Takes back the end of what goes on after all.
    async fn revive_media(&self, mut interval: Interval, listed: &Listed) -> Result<()> {
        let sign = Evidence { active: true, last_sign_at: Some(self.began), ..Evidence::default() };
        interval.evidence.merge(&sign);
        said(&mut interval, listed);
        let mut batch = Batch::new();
        ingest::settle(self.parts(), &mut interval, &mut batch).await?;
        interval.replace_in(&mut batch)?;
        self.parts().store.commit(batch, CommitMode::Apply).await.map(drop)
    }

    /// Records an egress or ingress of which LiveKit has told nothing, tells of its beginning, and of its end when it has
    /// one.
    async fn found_media(&self, listed: Listed) -> Result<()> {
        let start = listed.began_at.or(listed.ended_at).unwrap_or(self.began);
        let newest = listed.ended_at.unwrap_or(start);
        if self.may_yet_tell(newest) {
            return Ok(());
        }
        let Some((tenant, room)) = self.whose(listed.wire_room.as_ref()).await? else { return Ok(()) };
        let parts = self.parts();
        let session = match &listed.room_sid {
            Some(sid) => parts.sessions.of_sid(self.cluster, sid).await?,
            None => None,
        };
        let session = session.filter(|session| session.project_id == tenant.project.id);
        let expires_at = self.began.plus(parts.settings.pipeline.keep_sessions);
        let subject = listed.subject.clone();
        let mut interval = Interval::new((tenant.project.id, self.cluster), (&listed.key, subject), expires_at);
        interval.session_id = session.as_ref().map(|session| session.id);
        interval.room = room;
        interval.evidence = Evidence {
            active: true,
            began_at: listed.began_at,
            first_sign_at: Some(start),
            last_sign_at: listed.goes_on.then_some(self.began),
            ..Evidence::default()
        };
        let mut batch = Batch::new();
        let room = interval.room.clone();
        let scene = Scene { tenant: &tenant, session: session.as_ref(), room: room.as_ref() };
        let (began, ended) = edges(&interval.subject);
        let edge = Edge { kind: began, nth: None, at: start };
        let data = at_edge(&interval, (scene, Some(&listed)), None);
        interval.synthetic_start = Some(self.tell(scene, (edge, &interval.key), &data, &mut batch).await?);
        let mut gaps = vec![self.gap(began, &interval, start)];
        if let Some(end) = listed.ended_at {
            gaps.push(self.gap(ended, &interval, start));
            self.end_media(&mut interval, end, (scene, Some(&listed)), &mut batch).await?;
        }
        let id = interval.session_id;
        interval.insert_into(&mut batch)?;
        self.commit_with_gaps(id, gaps, began, batch).await
    }

    /// Ends what has ended, and tells of it.
    pub(super) async fn lose_media(
        &self,
        mut interval: Interval,
        end: Timestamp,
        listed: Option<Listed>,
    ) -> Result<()> {
        let from = interval.absent.take().map(|absent| absent.last_seen_at).or(interval.evidence.last_sign_at);
        if let Some(listed) = &listed {
            said(&mut interval, listed);
        }
        let mut batch = Batch::new();
        let (_, ended) = edges(&interval.subject);
        let Some(tenant) = self.parts().keyring.tenant(interval.project_id).await? else { return Ok(()) };
        let session = match interval.session_id {
            Some(id) => self.parts().sessions.get(interval.project_id, id).await?,
            None => None,
        };
        let room = interval.room.clone();
        let scene = Scene { tenant: &tenant, session: session.as_ref(), room: room.as_ref() };
        self.end_media(&mut interval, end, (scene, listed.as_ref()), &mut batch).await?;
        let gap = self.gap(ended, &interval, from.or(interval.evidence.start()).unwrap_or(end));
        let id = interval.session_id;
        interval.replace_in(&mut batch)?;
        self.commit_with_gaps(id, vec![gap], ended, batch).await
    }

    /// Ends a span in the batch: its evidence, its fact, the event that tells of it, and one for each recording that the list
    /// shows.
    async fn end_media(
        &self,
        interval: &mut Interval,
        end: Timestamp,
        (scene, listed): (Scene<'_>, Option<&Listed>),
        batch: &mut Batch,
    ) -> Result<()> {
        let (nth, (_, ended)) = (nth_end(interval), edges(&interval.subject));
        // Clocks differ: the end that a list tells is not before what was seen.
        let end = interval.evidence.last_sign_at.map_or(end, |sign| end.max(sign));
        interval.evidence.merge(&Evidence { lost_at: Some(end), ..Evidence::default() });
        ingest::settle(self.parts(), interval, batch).await?;
        let data = at_edge(interval, (scene, listed), Some(end));
        let edge = Edge { kind: ended, nth, at: end };
        interval.synthetic_end = Some(self.tell(scene, (edge, &interval.key), &data, batch).await?);
        for (place, recording) in data.egress.iter().flat_map(recordings_of).enumerate() {
            let edge = Edge { kind: RECORDING_AVAILABLE, nth, at: end };
            let data = EventData { recording: Some(recording), ..EventData::default() };
            self.tell(scene, (edge, &recording_of(&interval.key, place)), &data, batch).await?;
        }
        Ok(())
    }

    fn gap(&self, missing: &str, interval: &Interval, from: Timestamp) -> Gap {
        Gap { missing: missing.to_owned(), subject: interval.key.clone(), from, to: self.began }
    }
}

/// What the event of an egress's recording is about.
fn recording_of(egress: &str, place: usize) -> String {
    format!("{egress}:{place}")
}

/// The source id of the event that tells of a recording when the end of its egress is found out first.
pub(crate) fn source_of_recording(egress: &str, place: usize) -> String {
    first_source_id(&recording_of(egress, place), RECORDING_AVAILABLE)
}

/// Takes over how it is by the list.
fn said(interval: &mut Interval, listed: &Listed) {
    interval.evidence.merge(&Evidence { began_at: listed.began_at, ..Evidence::default() });
    interval.subject.merge(listed.subject.clone());
    match (&mut interval.subject, &listed.subject) {
        (Subject::Egress { status, .. }, Subject::Egress { status: said, .. }) => *status = *said,
        (Subject::Ingress { status, .. }, Subject::Ingress { status: said, .. }) => *status = *said,
        _ => {}
    }
}

/// The types of the events of its beginning and its end.
fn edges(subject: &Subject) -> (&'static str, &'static str) {
    match subject {
        Subject::Egress { .. } => ("egress_started", "egress_ended"),
        Subject::Ingress { .. } => ("ingress_started", "ingress_ended"),
        Subject::Participant { .. } => ("participant_joined", "participant_left"),
    }
}

/// What customers read at its beginning, or at its end at `ended_at`: what the list says, else what is on record.
fn at_edge(
    interval: &Interval,
    (scene, listed): (Scene<'_>, Option<&Listed>),
    ended_at: Option<Timestamp>,
) -> EventData {
    let mut data = listed.map_or_else(|| recorded(interval), |listed| listed.data.clone());
    let (name, start) = (interval.room.as_ref().map(ToString::to_string), interval.evidence.start());
    let sid = scene.session.map(|session| session.livekit_sid.clone());
    if let Some(egress) = &mut data.egress {
        (egress.room_name, egress.started_at, egress.ended_at) = (name.clone(), start, ended_at);
        egress.room_sid = egress.room_sid.take().or(sid.clone());
    }
    if let Some(ingress) = &mut data.ingress {
        (ingress.room_name, ingress.started_at, ingress.ended_at) = (name, start, ended_at);
        ingress.room_sid = ingress.room_sid.take().or(sid);
    }
    data
}

/// What is on record of what it is.
fn recorded(interval: &Interval) -> EventData {
    let mut data = EventData::default();
    match &interval.subject {
        Subject::Egress { egress_kind, status, .. } => {
            data.egress = Some(EgressData {
                livekit_id: interval.key.clone(),
                kind: *egress_kind,
                status: *status,
                ..EgressData::default()
            });
        }
        Subject::Ingress { ingress_id, identity, status } => {
            data.ingress = Some(IngressData {
                livekit_id: ingress_id.clone(),
                participant_identity: Some(identity.clone()).filter(|identity| !identity.is_empty()),
                status: *status,
                ..IngressData::default()
            });
        }
        Subject::Participant { .. } => {}
    }
    data
}
