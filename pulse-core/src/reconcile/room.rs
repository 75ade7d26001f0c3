//! One room: whether it is still there, and who is in it.

use std::collections::HashMap;

use super::{
    GRACE, Round, Seen, end_between,
    tell::{CAUSE, Edge, nth_end},
    unanswered,
};
use crate::{
    error::Result,
    id::SessionId,
    ingest::{self, Presence},
    media::{
        engine::{Participant, Room},
        room::{self, RoomName},
        token::Jti,
    },
    model::{
        event_data::ParticipantKind,
        interval::{Evidence, Interval, Subject},
        job::Job,
        session::{Absence, Gap, Session},
        tenant::Tenant,
    },
    repo::Document,
    store::{Batch, CommitMode, Outcome},
    time::Timestamp,
};

impl Round<'_> {
    /// Looks at a session that is live on record.
    pub(super) async fn session(&self, session: Session, room: Option<Room>) -> Result<Seen> {
        let Some(room) = room else { return self.missing_room(session).await.map(|()| Seen::default()) };
        let parts = self.reconciler.plane.parts();
        let mut session = session;
        if session.absent.take().is_some() {
            let mut batch = Batch::new();
            session.replace_in(&mut batch)?;
            parts.store.commit(batch, CommitMode::Apply).await?;
            return Ok(Seen::default());
        }
        let open = parts.intervals.open_in(session.id).await?;
        let people = |interval: &&Interval| {
            matches!(&interval.subject, Subject::Participant { participant_kind, .. }
                if *participant_kind != ParticipantKind::Egress)
        };
        let counted = open.iter().filter(people).count();
        let waits = open.iter().any(|interval| interval.absent.is_some());
        if !waits && counted == room.participants as usize && !self.is_unlisted(&room.sid) {
            return Ok(Seen { agrees: true, listed: false });
        }
        let agrees = self.participants(&mut session, &room, open).await?;
        Ok(Seen { agrees, listed: true })
    }

    /// The session's room was not in the list: once is noted, twice ends it.
    async fn missing_room(&self, mut session: Session) -> Result<()> {
        let parts = self.reconciler.plane.parts();
        let Some(tenant) = self.tenant(&session).await? else { return Ok(()) };
        let Some(absent) = session.absent else {
            // A room whose start was told while the list was under way is not missing.
            if self.began.since(session.started_at) < GRACE {
                return Ok(());
            }
            let seen = self.last_seen(&session).await?;
            session.absent = Some(Absence { last_seen_at: seen.min(self.began), since: self.began });
            let mut batch = Batch::new();
            session.replace_in(&mut batch)?;
            parts.store.commit(batch, CommitMode::Apply).await?;
            return Ok(());
        };
        if absent.since >= self.began {
            return Ok(());
        }
        let end = end_between(absent.last_seen_at, absent.since);
        for interval in parts.intervals.open_in(session.id).await? {
            if matches!(interval.subject, Subject::Participant { .. }) {
                self.lose(&tenant, &session, interval, end, absent).await?;
            }
        }
        self.end_session(&tenant, session, end, absent).await
    }

    /// The latest moment at which a session was known to go on.
    async fn last_seen(&self, session: &Session) -> Result<Timestamp> {
        let parts = self.reconciler.plane.parts();
        let open = parts.intervals.open_in(session.id).await?;
        let signs = open.iter().flat_map(|interval| [interval.evidence.last_sign_at, interval.evidence.start()]);
        let known = [self.last_agreed(session), Some(session.started_at)];
        Ok(signs.chain(known).flatten().max().unwrap_or(session.started_at))
    }

    /// Compares who is in the room with who is on record.
    async fn participants(&self, session: &mut Session, room: &Room, open: Vec<Interval>) -> Result<bool> {
        let Some(tenant) = self.tenant(session).await? else { return Ok(false) };
        let listed = self.engine.client.list_participants(&room.name).await.map_err(unanswered)?;
        let mut agrees = true;
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
                    self.commit_interval(interval).await?;
                }
                continue;
            }
            agrees = false;
            self.missing_participant(&tenant, session, interval).await?;
        }
        for participant in there.into_values().filter(|participant| participant.active) {
            agrees &= self.present(&tenant, session, participant).await?;
        }
        Ok(agrees)
    }

    /// Somebody on record was not in the list: once is noted, twice ends the connection.
    async fn missing_participant(&self, tenant: &Tenant, session: &Session, mut interval: Interval) -> Result<()> {
        if interval.evidence.last_sign_at.is_some_and(|at| at.plus(GRACE) >= self.began) {
            return Ok(());
        }
        match interval.absent {
            Some(absent) if absent.since < self.began => {
                let end = end_between(absent.last_seen_at, absent.since);
                self.lose(tenant, session, interval, end, absent).await
            }
            Some(_) => Ok(()),
            None => {
                let signs = [interval.evidence.last_sign_at, interval.evidence.start(), self.last_agreed(session)];
                let seen = signs.into_iter().flatten().max().unwrap_or(self.began);
                interval.absent = Some(Absence { last_seen_at: seen.min(self.began), since: self.began });
                self.commit_interval(interval).await
            }
        }
    }

    /// Ends a connection that has gone, and tells of it. What came in between is seen in the next round.
    async fn lose(
        &self,
        tenant: &Tenant,
        session: &Session,
        mut interval: Interval,
        end: Timestamp,
        absent: Absence,
    ) -> Result<()> {
        let parts = self.reconciler.plane.parts();
        let lost = Evidence { lost_at: Some(end), ..Evidence::default() };
        interval.evidence.merge(&lost);
        interval.absent = None;
        let mut batch = Batch::new();
        // Lost before, found again and lost once more: that is another edge.
        let edge = Edge { kind: "participant_left", nth: nth_end(&interval), at: end };
        let event = self.tell_participant(tenant, session, &interval, edge, &mut batch).await?;
        interval.synthetic_end = Some(event);
        ingest::settle(parts, &mut interval, &mut batch).await?;
        interval.replace_in(&mut batch)?;
        let gap = Gap {
            missing: "participant_left".to_owned(),
            subject: interval.key.clone(),
            from: absent.last_seen_at,
            to: self.began,
        };
        self.commit_with_gap(session.id, gap, "participant_left", batch).await
    }

    /// Somebody is in the room: recorded if they are not, kept if they were thought to be gone, taken out if they may not
    /// be there. Tells whether the record was right.
    async fn present(&self, tenant: &Tenant, session: &Session, participant: &Participant) -> Result<bool> {
        let parts = self.reconciler.plane.parts();
        self.check_presence(tenant, session, participant).await?;
        let known = parts.intervals.of_key(self.cluster, "participant", &participant.sid).await?;
        match known {
            Some(interval) if interval.is_open() => Ok(true),
            Some(mut interval) => {
                // LiveKit's own word that it ended is newer than the list.
                if !interval.evidence.end_is_inferred() {
                    return Ok(true);
                }
                let sign = Evidence { active: true, last_sign_at: Some(self.began), ..Evidence::default() };
                interval.evidence.merge(&sign);
                interval.evidence.room_ended_at = session.ended_at();
                let mut batch = Batch::new();
                ingest::settle(parts, &mut interval, &mut batch).await?;
                interval.replace_in(&mut batch)?;
                parts.store.commit(batch, CommitMode::Apply).await?;
                Ok(false)
            }
            None if self.began.since(participant.joined_at) < GRACE => Ok(true),
            None => self.joined(tenant, session, participant).await.map(|()| false),
        }
    }

    /// Records somebody of whom LiveKit has not told, and tells of it.
    async fn joined(&self, tenant: &Tenant, session: &Session, participant: &Participant) -> Result<()> {
        let parts = self.reconciler.plane.parts();
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
            last_sign_at: Some(self.began),
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
        self.commit_with_gap(session.id, gap, "participant_joined", batch).await
    }

    /// Takes somebody out who is banned or revoked, in case the webhook of the join was lost or the removal failed.
    async fn check_presence(&self, tenant: &Tenant, session: &Session, participant: &Participant) -> Result<()> {
        let parts = self.reconciler.plane.parts();
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

    /// A room is open of which LiveKit has not told.
    pub(super) async fn unknown_room(&self, room: Room) -> Result<()> {
        let parts = self.reconciler.plane.parts();
        if self.began.since(room.created_at) < GRACE {
            return Ok(());
        }
        let (tenant, name): (Tenant, RoomName) = match &self.owner {
            Some(owner) => match room.name.as_str().parse() {
                Ok(name) => (owner.clone(), name),
                Err(_) => return Ok(()),
            },
            None => {
                let Some((project, name)) = room::split(room.name.as_str()) else { return Ok(()) };
                let Some(tenant) = parts.keyring.tenant(project).await? else { return Ok(()) };
                (tenant, name)
            }
        };
        // On record as ended: LiveKit's own word that it ended is newer than the list; what was only thought is taken back.
        if let Some(mut session) = parts.sessions.of_sid(self.cluster, &room.sid).await? {
            if session.finished_at.is_none() && session.superseded_at.is_none() && session.lost_at.take().is_some() {
                self.revive(session).await?;
            }
            return Ok(());
        }
        let mut session = Session::new(
            SessionId::new(self.began, parts.entropy.as_ref()),
            (tenant.project.id, self.cluster),
            (&room.sid, &name),
            room.created_at,
            self.began.plus(parts.settings.pipeline.keep_sessions),
        );
        session.start_known = true;
        session.add_gap(Gap {
            missing: "room_started".to_owned(),
            subject: room.sid.clone(),
            from: room.created_at,
            to: self.began,
        });
        let mut batch = Batch::new();
        let edge = Edge { kind: "room_started", nth: None, at: room.created_at };
        let event = self.tell_room(&tenant, &session, edge, &mut batch).await?;
        session.synthetic_start = Some(event);
        session.insert_into(&mut batch)?;
        if let Outcome::Committed { .. } = self.commit(batch, "room_started").await? {
            session.set_version(1);
            self.participants(&mut session, &room, Vec::new()).await?;
        }
        Ok(())
    }

    async fn commit_interval(&self, interval: Interval) -> Result<()> {
        let mut batch = Batch::new();
        interval.replace_in(&mut batch)?;
        self.reconciler.plane.parts().store.commit(batch, CommitMode::Apply).await.map(drop)
    }
}
