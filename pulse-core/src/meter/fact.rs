//! Which fact a span comes to, and when a fact that was recorded has to be corrected.

use crate::{
    id::UsageId,
    model::{
        event_data::{EgressStatus, ParticipantKind},
        interval::{Interval, RecordedFact, Subject},
        usage::{Usage, UsageMetadata, UsageType},
    },
    repo::Document as _,
    store::Batch,
    time::Timestamp,
};

/// The word for a value, as it is on the wire.
pub(crate) fn word(value: &impl serde::Serialize) -> String {
    serde_json::to_value(value).ok().and_then(|word| word.as_str().map(str::to_owned)).unwrap_or_default()
}

impl Interval {
    /// What its time counts as; none for a participant that is an egress or ingress itself.
    pub fn usage_type(&self) -> Option<UsageType> {
        match &self.subject {
            Subject::Participant { participant_kind, .. } => match participant_kind {
                ParticipantKind::Egress | ParticipantKind::Ingress => None,
                ParticipantKind::Agent => Some(UsageType::AgentSeconds),
                ParticipantKind::Standard
                | ParticipantKind::Sip
                | ParticipantKind::Connector
                | ParticipantKind::Bridge
                | ParticipantKind::Unknown => Some(UsageType::ParticipantSeconds),
            },
            Subject::Egress { .. } => Some(UsageType::EgressSeconds),
            Subject::Ingress { .. } => Some(UsageType::IngressSeconds),
        }
    }

    /// Whether its time counts: a connection that was never active does not, nor does an egress that failed without a byte.
    pub fn is_billable(&self) -> bool {
        let counts = match &self.subject {
            Subject::Participant { .. } | Subject::Ingress { .. } => self.evidence.active,
            Subject::Egress { status, bytes, .. } => *status != EgressStatus::Failed || *bytes > 0,
        };
        counts && self.usage_type().is_some()
    }

    /// What a fact or a live row of usage says about it.
    pub fn usage_metadata(&self, started_at: Timestamp, ended_at: Option<Timestamp>) -> UsageMetadata {
        let (kind, identity, outputs, status) = match &self.subject {
            Subject::Participant { participant_kind, identity, .. } => {
                (word(participant_kind), Some(identity.clone()), Vec::new(), None)
            }
            Subject::Egress { egress_kind, outputs, status, .. } => {
                (word(egress_kind), None, outputs.iter().cloned().collect(), Some(word(status)))
            }
            Subject::Ingress { identity, status, .. } => {
                ("ingress".to_owned(), Some(identity.clone()), Vec::new(), Some(word(status)))
            }
        };
        UsageMetadata {
            session_id: self.session_id,
            room: self.room.clone(),
            kind,
            livekit_id: self.key.clone(),
            identity,
            outputs,
            status,
            started_at,
            ended_at,
            synthetic: self.is_synthetic(),
            billable: self.is_billable(),
            revision: self.fact.as_ref().map_or(1, |fact| fact.revision),
            reason: None,
        }
    }

    /// What is to be on record: `None` while it goes on, and for what is not metered.
    fn wanted(&self) -> Option<RecordedFact> {
        self.usage_type()?;
        let (started_at, ended_at) = (self.evidence.start()?, self.evidence.end()?);
        let billable = self.is_billable();
        // A connection that was never active leaves no fact, unless one has to be taken back.
        if !billable && self.fact.is_none() && matches!(self.subject, Subject::Participant { .. }) {
            return None;
        }
        Some(RecordedFact { revision: 1, started_at, ended_at, billable, synthetic: self.is_synthetic() })
    }

    fn fact_id(&self, ended_at: Timestamp, revision: u32) -> UsageId {
        UsageId::derived(ended_at, &["fact", &self.id.to_string(), &revision.to_string()])
    }

    /// Brings the facts on record in line with the span: adds to `batch` a first fact, a corrected one, or one that takes
    /// the last one back because the span goes on after all. The fact before must be marked as superseded: its id is
    /// given. Call it once all evidence of the moment is merged.
    pub fn settle(&mut self, batch: &mut Batch) -> crate::error::Result<Option<UsageId>> {
        let Some(event_type) = self.usage_type() else { return Ok(None) };
        let wanted = self.wanted();
        let recorded = self.fact.clone();
        let (mut next, reason) = match (wanted, &recorded) {
            (None, None) => return Ok(None),
            (Some(wanted), None) => (wanted, None),
            (Some(wanted), Some(recorded)) => {
                let same = RecordedFact { revision: wanted.revision, ..recorded.clone() } == wanted;
                if same {
                    return Ok(None);
                }
                (wanted, Some("later evidence"))
            }
            (None, Some(recorded)) => {
                if recorded.started_at == recorded.ended_at && !recorded.billable {
                    return Ok(None);
                }
                let nothing = RecordedFact { ended_at: recorded.started_at, billable: false, ..recorded.clone() };
                (nothing, Some("it goes on after all"))
            }
        };
        next.revision = recorded.as_ref().map_or(1, |fact| fact.revision + 1);
        let superseded = recorded.map(|fact| self.fact_id(fact.ended_at, fact.revision));
        let mut metadata = self.usage_metadata(next.started_at, Some(next.ended_at));
        metadata.billable = next.billable;
        metadata.revision = next.revision;
        metadata.reason = reason.map(str::to_owned);
        let fact = Usage {
            id: self.fact_id(next.ended_at, next.revision),
            project_id: self.project_id,
            event_type,
            value: i64::try_from(next.ended_at.since(next.started_at).as_millis()).unwrap_or(i64::MAX),
            timestamp: next.ended_at,
            session_id: self.session_id,
            metadata,
            superseded: false,
            expires_at: None,
            version: 0,
        };
        fact.insert_into(batch)?;
        self.fact = Some(next);
        Ok(superseded)
    }
}
