//! What an event of LiveKit is evidence of.

use crate::{
    media::{
        event::{EgressFacts, EventKind, IngressFacts, LiveKitEvent, ParticipantFacts},
        token::Jti,
    },
    meter::span::END_BIAS,
    model::{
        event_data::{EgressData, IngressData, ParticipantKind},
        interval::{Evidence, Interval, Subject},
        session::Session,
    },
    time::Timestamp,
};

/// Evidence about one span of time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Observation {
    /// LiveKit's id of what it is about.
    pub(super) key: String,
    /// What it is about.
    pub(super) subject: Subject,
    /// What it says.
    pub(super) evidence: Evidence,
}

/// What the event says about a connection, an egress or an ingress; nothing for most.
pub(super) fn observe(event: &LiveKitEvent) -> Option<Observation> {
    let facts = &event.facts;
    match event.kind {
        EventKind::ParticipantJoined | EventKind::ParticipantLeft | EventKind::ParticipantConnectionAborted => {
            facts.participant.as_ref().map(|participant| connection(event, participant))
        }
        EventKind::EgressStarted | EventKind::EgressUpdated | EventKind::EgressEnded => egress(event),
        EventKind::IngressStarted | EventKind::IngressEnded => ingress(event),
        EventKind::RoomStarted
        | EventKind::RoomFinished
        | EventKind::TrackPublished
        | EventKind::TrackUnpublished
        | EventKind::Unknown(_) => None,
    }
}

fn connection(event: &LiveKitEvent, participant: &ParticipantFacts) -> Observation {
    let name = event.data.participant.as_ref().and_then(|shown| shown.name.clone());
    let subject = Subject::Participant {
        identity: participant.identity.clone().unwrap_or_default(),
        name: name.unwrap_or_default(),
        participant_kind: participant.kind.unwrap_or(ParticipantKind::Unknown),
        disconnect_reason: participant.disconnect_reason,
        jti: Jti::shown_in(&participant.attributes).map(|jti| jti.to_string()),
    };
    let at = event.created_at;
    let sign = Evidence { began_at: participant.joined_at, first_sign_at: Some(at), ..Evidence::default() };
    let evidence = match event.kind {
        EventKind::ParticipantJoined => Evidence { active: true, last_sign_at: Some(at), ..sign },
        EventKind::ParticipantLeft => Evidence { active: true, ended_at: Some(at.plus(END_BIAS)), ..sign },
        _ => Evidence { aborted_at: Some(at.plus(END_BIAS)), ..sign },
    };
    Observation { key: participant.sid.clone(), subject, evidence }
}

/// What an event at `at` says about the run of an egress or ingress. Its end is the event's own moment unless it says
/// another.
fn run(at: Timestamp, began_ns: Option<i64>, ended: bool, ended_ns: Option<i64>) -> Evidence {
    let said_end = ended_ns.map(Timestamp::from_nanos).unwrap_or(at.plus(END_BIAS));
    Evidence {
        active: true,
        began_at: began_ns.map(Timestamp::from_nanos),
        first_sign_at: Some(at),
        ended_at: ended.then_some(said_end),
        last_sign_at: (!ended).then_some(at),
        ..Evidence::default()
    }
}

/// What an egress is.
pub(crate) fn subject_of_egress(facts: &EgressFacts, data: &EgressData) -> Subject {
    let outputs = [
        ("files", !data.files.is_empty()),
        ("images", !data.images.is_empty()),
        ("segments", !data.segments.is_empty()),
        ("streams", !data.streams.is_empty()),
    ];
    let outputs = outputs.into_iter().filter(|(_, has)| *has).map(|(name, _)| name.to_owned()).collect();
    let files = data.files.iter().filter_map(|file| file.size);
    let bytes = files.chain(data.segments.iter().filter_map(|segments| segments.size)).fold(0, u64::saturating_add);
    Subject::Egress { egress_kind: facts.kind, outputs, status: facts.status, bytes }
}

/// What a run of an ingress is.
pub(crate) fn subject_of_ingress(facts: &IngressFacts, data: &IngressData) -> Subject {
    Subject::Ingress {
        ingress_id: facts.id.clone(),
        identity: data.participant_identity.clone().unwrap_or_default(),
        status: facts.status,
    }
}

/// The key of an ingress's run: one ingress is used again and again, and each run has an id of its own.
pub(crate) fn key_of_run(ingress: &IngressFacts) -> String {
    let run = ingress.resource_id.clone().unwrap_or_else(|| ingress.started_at_ns.unwrap_or_default().to_string());
    format!("{}/{run}", ingress.id)
}

fn egress(event: &LiveKitEvent) -> Option<Observation> {
    let (facts, data) = (event.facts.egress.as_ref()?, event.data.egress.as_ref()?);
    let ended = event.kind == EventKind::EgressEnded;
    let evidence = run(event.created_at, facts.started_at_ns, ended, facts.ended_at_ns);
    Some(Observation { key: facts.id.clone(), subject: subject_of_egress(facts, data), evidence })
}

fn ingress(event: &LiveKitEvent) -> Option<Observation> {
    let (facts, data) = (event.facts.ingress.as_ref()?, event.data.ingress.as_ref()?);
    let ended = event.kind == EventKind::IngressEnded;
    let evidence = run(event.created_at, facts.started_at_ns, ended, facts.ended_at_ns);
    Some(Observation { key: key_of_run(facts), subject: subject_of_ingress(facts, data), evidence })
}

/// Takes over what the event says about the room itself; tells whether that is something new.
pub(super) fn observe_room(session: &mut Session, event: &LiveKitEvent) -> bool {
    let before = session.clone();
    if let Some(created) = event.facts.room.created_at {
        session.started_at = created;
        session.start_known = true;
    } else if !session.start_known {
        session.started_at = session.started_at.min(event.created_at);
    }
    if event.kind == EventKind::RoomFinished {
        let end = event.created_at.plus(END_BIAS);
        session.finished_at = Some(session.finished_at.map_or(end, |known| known.min(end)));
    }
    if event.kind != EventKind::RoomFinished {
        session.lost_at = session.lost_at.filter(|lost| event.created_at <= *lost);
        session.absent = session.absent.filter(|absent| absent.stands_beside(Some(event.created_at)));
    }
    *session != before
}

/// Ends a connection with its room, or before that if it was missing before, or lets it go on when the room did not end after
/// all. Tells whether that changes it.
/// An egress or ingress ends by itself: LiveKit tells of it after the room's end.
pub(crate) fn close_by_room(interval: &mut Interval, session: &Session) -> bool {
    if !matches!(interval.subject, Subject::Participant { .. }) || interval.evidence.room_ended_at == session.ended_at()
    {
        return false;
    }
    interval.evidence.room_ended_at = session.ended_at();
    if let (Some(_), Some(absent)) = (session.ended_at(), interval.absent) {
        let lost_at = Some(absent.end(interval.evidence.latest_sign()));
        interval.evidence.merge(&Evidence { lost_at, ..Evidence::default() });
    }
    true
}
