//! What an event of LiveKit is evidence of.

use crate::{
    media::{
        event::{EgressFacts, EventKind, IngressFacts, LiveKitEvent, ParticipantFacts},
        token::Jti,
    },
    meter::span::END_BIAS,
    model::{
        event_data::{EgressData, ParticipantKind},
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
        EventKind::EgressStarted | EventKind::EgressUpdated | EventKind::EgressEnded => {
            Some(egress(event, facts.egress.as_ref()?))
        }
        EventKind::IngressStarted | EventKind::IngressEnded => Some(ingress(event, facts.ingress.as_ref()?)),
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

fn egress(event: &LiveKitEvent, egress: &EgressFacts) -> Observation {
    let data = event.data.egress.as_ref();
    let has = |empty: fn(&EgressData) -> bool| data.is_some_and(|data| !empty(data));
    let outputs = [
        ("files", has(|data| data.files.is_empty())),
        ("images", has(|data| data.images.is_empty())),
        ("segments", has(|data| data.segments.is_empty())),
        ("streams", has(|data| data.streams.is_empty())),
    ];
    let outputs = outputs.into_iter().filter(|(_, has)| *has).map(|(name, _)| name.to_owned()).collect();
    let sizes = data.map(|data| {
        let files = data.files.iter().filter_map(|file| file.size);
        files.chain(data.segments.iter().filter_map(|segments| segments.size)).sum()
    });
    let ended = event.kind == EventKind::EgressEnded;
    let evidence = run(event.created_at, egress.started_at_ns, ended, egress.ended_at_ns);
    let bytes = sizes.unwrap_or_default();
    let subject = Subject::Egress { egress_kind: egress.kind, outputs, status: egress.status, bytes };
    Observation { key: egress.id.clone(), subject, evidence }
}

fn ingress(event: &LiveKitEvent, ingress: &IngressFacts) -> Observation {
    let ended = event.kind == EventKind::IngressEnded;
    let evidence = run(event.created_at, ingress.started_at_ns, ended, ingress.ended_at_ns);
    let identity = event.data.ingress.as_ref().and_then(|shown| shown.participant_identity.clone());
    let subject = Subject::Ingress {
        ingress_id: ingress.id.clone(),
        identity: identity.unwrap_or_default(),
        status: ingress.status,
    };
    // One ingress is used again and again: each run has an id of its own.
    let run = ingress.resource_id.clone().unwrap_or_else(|| ingress.started_at_ns.unwrap_or_default().to_string());
    Observation { key: format!("{}/{run}", ingress.id), subject, evidence }
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
    if session.lost_at.is_some_and(|lost| event.created_at > lost) && event.kind != EventKind::RoomFinished {
        session.lost_at = None;
    }
    *session != before
}

/// Ends a connection with its room, or lets it go on when the room did not end after all. Tells whether that changes it.
/// An egress or ingress ends by itself: LiveKit tells of it after the room's end.
pub(crate) fn close_by_room(interval: &mut Interval, session: &Session) -> bool {
    if !matches!(interval.subject, Subject::Participant { .. }) || interval.evidence.room_ended_at == session.ended_at()
    {
        return false;
    }
    interval.evidence.room_ended_at = session.ended_at();
    true
}
