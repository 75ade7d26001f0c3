//! Egresses and ingresses: those that ended without a word.

use std::collections::{HashMap, HashSet};

use super::{
    GRACE, LISTED_EVERY, Round, end_between,
    tell::{Edge, nth_end},
    unanswered,
};
use crate::{
    error::Result,
    ingest,
    media::engine::EngineError,
    model::{
        event_data::{EgressStatus, IngressStatus},
        interval::{Evidence, Interval, Subject},
        session::{Absence, Gap},
    },
    repo::Document,
    store::{Batch, CommitMode},
    time::Timestamp,
};

/// What a list says of one egress or one run of an ingress.
struct Listed {
    /// Whether it goes on.
    goes_on: bool,
    /// When it ended, if the list says so.
    ended_at: Option<Timestamp>,
    egress_status: Option<EgressStatus>,
    ingress_status: Option<IngressStatus>,
}

fn moment(nanos: i64) -> Option<Timestamp> {
    (nanos > 0).then(|| Timestamp::from_nanos(nanos))
}

impl Round<'_> {
    /// Ends egresses and ingresses that have ended on LiveKit, and lets those go on that were thought to have ended. A LiveKit
    /// without Redis has neither.
    pub(super) async fn media(&mut self) -> Result<()> {
        let open = self.reconciler.plane.parts().intervals.open_media(self.cluster).await?;
        // Where nothing goes on, something may that was thought to have ended.
        let rested = self.watch.media_listed_at.is_none_or(|at| self.began.since(at) >= LISTED_EVERY);
        if open.is_empty() && !rested {
            return Ok(());
        }
        self.watch.media_listed_at = Some(self.began);
        let (egresses, ingresses) = match (self.egresses().await, self.ingresses().await) {
            (Ok(Some(egresses)), Ok(Some(ingresses))) => (egresses, ingresses),
            (Err(error), _) | (_, Err(error)) if !open.is_empty() => return Err(error),
            _ => return Ok(()),
        };
        let known: HashSet<String> = open.iter().map(|interval| interval.key.clone()).collect();
        for interval in open {
            let listed = match &interval.subject {
                Subject::Egress { .. } => egresses.get(&interval.key),
                Subject::Ingress { .. } => ingresses.get(&interval.key),
                Subject::Participant { .. } => continue,
            };
            self.media_interval(interval, listed).await?;
        }
        for (kind, listed) in [("egress", &egresses), ("ingress", &ingresses)] {
            for (key, listed) in listed.iter().filter(|(key, listed)| listed.goes_on && !known.contains(*key)) {
                self.revive_media(kind, key, listed).await?;
            }
        }
        Ok(())
    }

    /// Takes back the end of what goes on after all, unless LiveKit itself said that it ended: that is newer than the list.
    async fn revive_media(&self, kind: &str, key: &str, listed: &Listed) -> Result<()> {
        let parts = self.reconciler.plane.parts();
        let known = parts.intervals.of_key(self.cluster, kind, key).await?;
        let Some(mut interval) = known.filter(|interval| interval.evidence.end_is_inferred()) else { return Ok(()) };
        let sign = Evidence { active: true, last_sign_at: Some(self.began), ..Evidence::default() };
        interval.evidence.merge(&sign);
        said(&mut interval.subject, listed);
        let mut batch = Batch::new();
        ingest::settle(parts, &mut interval, &mut batch).await?;
        interval.replace_in(&mut batch)?;
        parts.store.commit(batch, CommitMode::Apply).await.map(drop)
    }

    async fn egresses(&self) -> Result<Option<HashMap<String, Listed>>> {
        // The ended ones too: LiveKit knows for a day when they ended.
        let list = match self.engine.client.list_egress(false).await {
            Err(EngineError::NeedsRedis) => return Ok(None),
            list => list.map_err(unanswered)?,
        };
        let listed = list.into_iter().map(|egress| {
            let over = egress.status.is_over();
            let ended_at = moment(egress.ended_ns).filter(|_| over);
            let status = Some(egress.status);
            (egress.id, Listed { goes_on: !over, ended_at, egress_status: status, ingress_status: None })
        });
        Ok(Some(listed.collect()))
    }

    async fn ingresses(&self) -> Result<Option<HashMap<String, Listed>>> {
        let list = match self.engine.client.list_ingress().await {
            Err(EngineError::NeedsRedis) => return Ok(None),
            list => list.map_err(unanswered)?,
        };
        let listed = list.into_iter().filter(|ingress| !ingress.resource_id.is_empty()).map(|ingress| {
            let goes_on = matches!(ingress.status, IngressStatus::Publishing | IngressStatus::Buffering);
            let ended_at = moment(ingress.ended_ns).filter(|_| !goes_on);
            let status = Some(ingress.status);
            let key = format!("{}/{}", ingress.id, ingress.resource_id);
            (key, Listed { goes_on, ended_at, egress_status: None, ingress_status: status })
        });
        Ok(Some(listed.collect()))
    }

    /// One open span against the list: the list's own word ends it at once, absence from it at the second time.
    async fn media_interval(&self, mut interval: Interval, listed: Option<&Listed>) -> Result<()> {
        if interval.evidence.last_sign_at.is_some_and(|at| at.plus(GRACE) >= self.began) {
            return Ok(());
        }
        let end = match (listed, interval.absent) {
            (Some(Listed { goes_on: true, .. }), None) => return Ok(()),
            (Some(Listed { goes_on: true, .. }), Some(_)) => {
                interval.absent = None;
                None
            }
            (Some(Listed { ended_at: Some(end), .. }), _) => Some(*end),
            (Some(Listed { ended_at: None, .. }) | None, Some(absent)) if absent.since < self.began => {
                Some(end_between(absent.last_seen_at, absent.since))
            }
            (Some(Listed { ended_at: None, .. }) | None, Some(_)) => return Ok(()),
            (Some(Listed { ended_at: None, .. }) | None, None) => {
                let signs = [self.watch.good_at, interval.evidence.last_sign_at, interval.evidence.start()];
                let seen = signs.into_iter().flatten().max().unwrap_or(self.began);
                interval.absent = Some(Absence { last_seen_at: seen.min(self.began), since: self.began });
                None
            }
        };
        let Some(end) = end else {
            let mut batch = Batch::new();
            interval.replace_in(&mut batch)?;
            return self.reconciler.plane.parts().store.commit(batch, CommitMode::Apply).await.map(drop);
        };
        self.lose_media(interval, end, listed).await
    }

    /// Ends what has ended, and tells of it where the session is known.
    async fn lose_media(&self, mut interval: Interval, end: Timestamp, listed: Option<&Listed>) -> Result<()> {
        let parts = self.reconciler.plane.parts();
        let from = interval.absent.take().map(|absent| absent.last_seen_at).or(interval.evidence.last_sign_at);
        let mut batch = Batch::new();
        let (kind, nth) = (interval.subject.kind(), nth_end(&interval));
        interval.evidence.merge(&Evidence { lost_at: Some(end), ..Evidence::default() });
        if let Some(listed) = listed {
            said(&mut interval.subject, listed);
        }
        ingest::settle(parts, &mut interval, &mut batch).await?;
        let session = match interval.session_id {
            Some(id) => parts.sessions.get(interval.project_id, id).await?,
            None => None,
        };
        let tenant = match &session {
            Some(session) => self.tenant(session).await?,
            None => None,
        };
        let (Some(session), Some(tenant)) = (session, tenant) else {
            interval.replace_in(&mut batch)?;
            return self.commit(batch, kind).await.map(drop);
        };
        let (event, data) = ended(&interval, &session, end);
        let edge = Edge { kind: event, nth, at: end };
        interval.synthetic_end = Some(self.tell(&tenant, &session, (edge, &interval.key), &data, &mut batch).await?);
        interval.replace_in(&mut batch)?;
        let gap = Gap {
            missing: event.to_owned(),
            subject: interval.key.clone(),
            from: from.unwrap_or(session.started_at),
            to: self.began,
        };
        self.commit_with_gap(session.id, gap, kind, batch).await
    }
}

/// Takes over how it is by the list.
fn said(subject: &mut Subject, listed: &Listed) {
    match subject {
        Subject::Egress { status, .. } => *status = listed.egress_status.unwrap_or(*status),
        Subject::Ingress { status, .. } => *status = listed.ingress_status.unwrap_or(*status),
        Subject::Participant { .. } => {}
    }
}

/// The type and the data of the event of an end.
fn ended(
    interval: &Interval,
    session: &crate::model::session::Session,
    end: Timestamp,
) -> (&'static str, crate::model::event_data::EventData) {
    use crate::model::event_data::{EgressData, EventData, IngressData};
    let mut data = EventData::default();
    let kind = match &interval.subject {
        Subject::Egress { egress_kind, status, .. } => {
            data.egress = Some(EgressData {
                livekit_id: interval.key.clone(),
                kind: *egress_kind,
                status: *status,
                room_name: Some(session.room.to_string()),
                room_sid: Some(session.livekit_sid.clone()),
                started_at: interval.evidence.start(),
                ended_at: Some(end),
                ..EgressData::default()
            });
            "egress_ended"
        }
        Subject::Ingress { ingress_id, identity, status } => {
            data.ingress = Some(IngressData {
                livekit_id: ingress_id.clone(),
                room_name: Some(session.room.to_string()),
                room_sid: Some(session.livekit_sid.clone()),
                participant_identity: Some(identity.clone()).filter(|identity| !identity.is_empty()),
                status: *status,
                started_at: interval.evidence.start(),
                ended_at: Some(end),
                ..IngressData::default()
            });
            "ingress_ended"
        }
        Subject::Participant { .. } => "participant_left",
    };
    (kind, data)
}
