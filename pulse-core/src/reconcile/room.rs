//! One room: whether it is still there, and who is in it.

use std::collections::HashMap;

use super::{
    Look, Missing, Newcomers, Round, Seen, last_sign,
    tell::{CAUSE, Edge, nth_end},
    unanswered,
};
use crate::{
    error::Result,
    id::SessionId,
    ingest::{self, Presence},
    media::{
        engine::{Participant, Room},
        token::{JTI_ATTRIBUTE, Jti},
    },
    model::{
        event_data::ParticipantKind,
        interval::{Evidence, Interval, Subject},
        job::Job,
        session::{Gap, Session},
        tenant::Tenant,
    },
    repo::{Document, get},
    store::{Batch, CommitMode, Outcome},
    time::Timestamp,
};

/// What is to be remembered of somebody.
fn kept(participant: &Participant) -> Participant {
    let mut kept = participant.clone();
    kept.attributes.retain(|name, _| name == JTI_ATTRIBUTE);
    kept
}

/// How somebody who is listed stands on record.
enum Standing {
    AsRecorded,
    /// Not at all, but they have just come.
    JustCome,
    /// Now as it should be.
    Repaired,
}

impl Round<'_> {
    /// Looks at a session that is live on record. `newcomers` had just come when it was looked at before.
    pub(super) async fn session(
        &self,
        mut session: Session,
        room: Option<Room>,
        newcomers: Option<Newcomers>,
    ) -> Result<Seen> {
        let waited = newcomers.is_some();
        let parts = self.look.parts();
        if let Some(newcomers) = newcomers {
            self.look.record_newcomers(&session, newcomers).await?;
            // Its gaps have grown.
            let now = get::<Session>(&parts.store, &session.id.to_string()).await?;
            let Some(now) = now.filter(|session| session.ended_at().is_none()) else { return Ok(Seen::default()) };
            session = now;
        }
        let Some(room) = room else { return self.missing_room(session).await.map(|()| Seen::default()) };
        if session.absent.take().is_some() {
            self.look.rewrite(session.clone()).await?;
        }
        let open = parts.intervals.open_in(session.id).await?;
        let people = |interval: &&Interval| {
            matches!(&interval.subject, Subject::Participant { participant_kind, .. }
                if *participant_kind != ParticipantKind::Egress)
        };
        let counted = open.iter().filter(people).count();
        let waits = waited || open.iter().any(|interval| interval.absent.is_some());
        if !waits && counted == room.participants as usize && !self.is_unlisted(&room.sid) {
            return Ok(Seen { agrees: true, ..Seen::default() });
        }
        self.participants(&session, &room, open).await
    }

    /// The session's room was not in the list: the first time is noted, and a later one ends it.
    async fn missing_room(&self, mut session: Session) -> Result<()> {
        let parts = self.look.parts();
        let Some(tenant) = self.look.tenant(&session).await? else { return Ok(()) };
        let open = parts.intervals.open_in(session.id).await?;
        // Pulse heard of it while the list was under way, whatever LiveKit's clock says.
        if session.id.moment() >= self.look.began {
            return Ok(());
        }
        let sign = Some(last_sign(&session, &open));
        match self.look.missing(session.absent, sign, self.watch.last_agreed(&session)) {
            Missing::NotYet => Ok(()),
            Missing::Noted(absence) => {
                session.absent = Some(absence);
                self.look.rewrite(session).await
            }
            Missing::Gone { seen, end } => self.look.end_with_people(&tenant, session, open, (seen, end)).await,
        }
    }

    /// Compares who is in the room with who is on record.
    async fn participants(&self, session: &Session, room: &Room, open: Vec<Interval>) -> Result<Seen> {
        let Some(tenant) = self.look.tenant(session).await? else { return Ok(Seen::default()) };
        let listed = self.engine.client.list_participants(&room.name).await.map_err(unanswered)?;
        let mut seen = Seen { agrees: true, listed: true, newcomers: Vec::new() };
        let mut there: HashMap<&str, &Participant> = HashMap::new();
        for participant in &listed {
            // Of an earlier life of the room: this list is of two rooms.
            if participant.joined_at >= session.started_at || !session.start_known {
                there.insert(&participant.sid, participant);
            }
        }
        for mut interval in open {
            if !matches!(interval.subject, Subject::Participant { .. }) {
                continue;
            }
            if there.contains_key(interval.key.as_str()) {
                if interval.absent.take().is_some() {
                    self.look.rewrite(interval).await?;
                }
                continue;
            }
            seen.agrees = false;
            self.missing_participant(&tenant, session, interval).await?;
        }
        for participant in there.into_values().filter(|participant| participant.active) {
            match self.look.present(&tenant, session, participant).await? {
                Standing::AsRecorded => {}
                Standing::JustCome => seen.newcomers.push(kept(participant)),
                Standing::Repaired => seen.agrees = false,
            }
        }
        Ok(seen)
    }

    /// Somebody on record was not in the list: the first time is noted, and a later one ends the connection.
    async fn missing_participant(&self, tenant: &Tenant, session: &Session, mut interval: Interval) -> Result<()> {
        let (sign, agreed) = (interval.evidence.latest_sign(), self.watch.last_agreed(session));
        match self.look.missing(interval.absent, sign, agreed) {
            Missing::NotYet => Ok(()),
            Missing::Noted(absence) => {
                interval.absent = Some(absence);
                self.look.rewrite(interval).await
            }
            Missing::Gone { seen, end } => self.look.lose(tenant, session, interval, (seen, end)).await,
        }
    }

    /// A room is open of which LiveKit has not told.
    pub(super) async fn unknown_room(&self, room: Room) -> Result<()> {
        let parts = self.look.parts();
        if self.look.may_yet_tell(room.created_at) {
            return Ok(());
        }
        let Some((tenant, Some(name))) = self.look.whose(Some(&room.name)).await? else { return Ok(()) };
        // On record as ended: LiveKit's own word that it ended is newer than the list; what was only thought is taken back.
        if let Some(mut session) = parts.sessions.of_sid(self.look.cluster, &room.sid).await? {
            if session.finished_at.is_none() && session.superseded_at.is_none() && session.lost_at.take().is_some() {
                self.look.revive(session).await?;
            }
            return Ok(());
        }
        let mut session = Session::new(
            SessionId::new(self.look.began, parts.entropy.as_ref()),
            (tenant.project.id, self.look.cluster),
            (&room.sid, &name),
            room.created_at,
            self.look.began.plus(parts.settings.pipeline.keep_sessions),
        );
        session.start_known = true;
        session.add_gap(Gap {
            missing: "room_started".to_owned(),
            subject: room.sid.clone(),
            from: room.created_at,
            to: self.look.began,
        });
        let mut batch = Batch::new();
        let edge = Edge { kind: "room_started", nth: None, at: room.created_at };
        let event = self.look.tell_room(&tenant, &session, edge, &mut batch).await?;
        session.synthetic_start = Some(event);
        session.insert_into(&mut batch)?;
        if let Outcome::Committed { .. } = self.look.commit(batch, "room_started").await? {
            self.participants(&session, &room, Vec::new()).await?;
        }
        Ok(())
    }
}

impl Look<'_> {
    /// Ends the people among a session's open spans, and the session, at `end`, after they were seen last at `seen`.
    pub(super) async fn end_with_people(
        &self,
        tenant: &Tenant,
        session: Session,
        open: Vec<Interval>,
        (seen, end): (Timestamp, Timestamp),
    ) -> Result<()> {
        for interval in open {
            if matches!(interval.subject, Subject::Participant { .. }) {
                self.lose(tenant, &session, interval, (seen, end)).await?;
            }
        }
        // Its gaps have grown while its people were ended, and something may have been told of it.
        match get::<Session>(&self.parts().store, &session.id.to_string()).await? {
            Some(now) if now.absent == session.absent && now.ended_at().is_none() => {
                self.end_session(tenant, now, (seen, end)).await
            }
            _ => Ok(()),
        }
    }

    /// Ends a connection that has gone at `end`, after it was seen last at `seen`, and tells of it: before that, if it was
    /// missing before. What came in between is seen in the next round.
    pub(super) async fn lose(
        &self,
        tenant: &Tenant,
        session: &Session,
        mut interval: Interval,
        (seen, end): (Timestamp, Timestamp),
    ) -> Result<()> {
        let sign = interval.evidence.latest_sign();
        let (seen, end) = interval.absent.map_or((seen, end), |absent| (absent.seen(sign), absent.end(sign)));
        interval.evidence.merge(&Evidence { lost_at: Some(end), ..Evidence::default() });
        if interval.is_open() {
            // It gave a sign after that.
            return Ok(());
        }
        interval.absent = None;
        let mut batch = Batch::new();
        // Lost before, found again and lost once more: that is another edge.
        let edge = Edge { kind: "participant_left", nth: nth_end(&interval), at: end };
        let event = self.tell_participant(tenant, session, &interval, edge, &mut batch).await?;
        interval.synthetic_end = Some(event);
        ingest::settle(self.parts(), &mut interval, &mut batch).await?;
        let gap =
            Gap { missing: "participant_left".to_owned(), subject: interval.key.clone(), from: seen, to: self.began };
        interval.replace_in(&mut batch)?;
        self.commit_with_gaps(Some(session.id), vec![gap], "participant_left", batch).await
    }

    /// Somebody is in the room: recorded if they are not, kept if they were thought to be gone, taken out if they may not
    /// be there.
    async fn present(&self, tenant: &Tenant, session: &Session, participant: &Participant) -> Result<Standing> {
        let parts = self.parts();
        self.check_presence(tenant, session, participant).await?;
        let known = parts.intervals.of_key(self.cluster, "participant", &participant.sid).await?;
        match known {
            Some(interval) if interval.is_open() => Ok(Standing::AsRecorded),
            Some(mut interval) => {
                // LiveKit's own word that it ended is newer than the list.
                if !interval.evidence.end_is_inferred() {
                    return Ok(Standing::AsRecorded);
                }
                let sign = Evidence { active: true, last_sign_at: Some(self.began), ..Evidence::default() };
                interval.evidence.merge(&sign);
                interval.evidence.room_ended_at = session.ended_at();
                let mut batch = Batch::new();
                ingest::settle(parts, &mut interval, &mut batch).await?;
                interval.replace_in(&mut batch)?;
                parts.store.commit(batch, CommitMode::Apply).await?;
                Ok(Standing::Repaired)
            }
            None if self.may_yet_tell(participant.joined_at) => Ok(Standing::JustCome),
            None => {
                self.joined(tenant, session, participant, self.began).await?;
                Ok(Standing::Repaired)
            }
        }
    }

    /// Records those of whose join LiveKit has not told since they were listed. Whether they are still there is seen then.
    async fn record_newcomers(&self, session: &Session, newcomers: Newcomers) -> Result<()> {
        let Some(tenant) = self.tenant(session).await? else { return Ok(()) };
        for participant in &newcomers.people {
            let known = self.parts().intervals.of_key(self.cluster, "participant", &participant.sid).await?;
            if known.is_none() {
                self.joined(&tenant, session, participant, newcomers.seen_at).await?;
            }
        }
        Ok(())
    }

    /// Records somebody of whom LiveKit has not told and who was listed at `seen_at`, and tells of it.
    async fn joined(
        &self,
        tenant: &Tenant,
        session: &Session,
        participant: &Participant,
        seen_at: Timestamp,
    ) -> Result<()> {
        let parts = self.parts();
        let subject = Subject::Participant {
            identity: participant.identity.clone(),
            name: participant.name.clone(),
            participant_kind: participant.kind,
            disconnect_reason: None,
            jti: Jti::shown_in(&participant.attributes).map(|jti| jti.to_string()),
        };
        let expires_at = self.began.plus(parts.settings.pipeline.keep_sessions);
        let mut interval = Interval::new((session.project_id, self.cluster), (&participant.sid, subject), expires_at);
        interval.session_id = Some(session.id);
        interval.room = Some(session.room.clone());
        interval.evidence = Evidence {
            active: true,
            first_sign_at: Some(participant.joined_at),
            last_sign_at: Some(seen_at),
            ..Evidence::default()
        };
        let mut batch = Batch::new();
        let edge = Edge { kind: "participant_joined", nth: None, at: participant.joined_at };
        let event = self.tell_participant(tenant, session, &interval, edge, &mut batch).await?;
        interval.synthetic_start = Some(event);
        interval.insert_into(&mut batch)?;
        let gap = Gap {
            missing: "participant_joined".to_owned(),
            subject: interval.key.clone(),
            from: participant.joined_at,
            to: self.began,
        };
        self.commit_with_gaps(Some(session.id), vec![gap], "participant_joined", batch).await
    }

    /// Takes somebody out who is banned or revoked, in case the webhook of the join was lost or the removal failed.
    async fn check_presence(&self, tenant: &Tenant, session: &Session, participant: &Participant) -> Result<()> {
        let parts = self.parts();
        let who = Presence {
            identity: &participant.identity,
            sid: &participant.sid,
            room: &session.room,
            is_machine: participant.kind.is_machine(),
            jti: Jti::shown_in(&participant.attributes),
            joined_at: Some(participant.joined_at),
        };
        let Some(reason) = ingest::unwanted(parts, tenant, &who, self.began).await? else { return Ok(()) };
        let mut batch = Batch::new();
        let job = Job::removal(session.project_id, who.removal(self.cluster, reason), self.began, CAUSE);
        if parts.jobs.call_for(job, &mut batch).await? {
            // A conflict means that somebody else has just called for it.
            parts.store.commit(batch, CommitMode::Apply).await?;
            parts.wakes.jobs.notify_one();
        }
        Ok(())
    }

    /// Writes a document as it has become. When it has changed meanwhile, the next round sees what is left.
    pub(super) async fn rewrite<T: Document>(&self, document: T) -> Result<()> {
        let mut batch = Batch::new();
        document.replace_in(&mut batch)?;
        self.parts().store.commit(batch, CommitMode::Apply).await.map(drop)
    }
}
