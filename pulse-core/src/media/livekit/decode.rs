//! LiveKit's messages into Pulse's words.

use livekit_protocol as wire;

use super::super::{
    engine::{Egress, Ingress, Participant, Room},
    room::WireRoom,
};
use crate::{
    model::event_data::{EgressStatus, IngressStatus, ParticipantKind},
    time::Timestamp,
};

/// A moment of which LiveKit tells the milliseconds since some version, and the seconds since ever.
fn moment(millis: i64, seconds: i64) -> Timestamp {
    if millis == 0 { Timestamp::from_secs(seconds) } else { Timestamp::from_millis(millis) }
}

pub(super) fn room(room: wire::Room) -> Room {
    Room {
        created_at: moment(room.creation_time_ms, room.creation_time),
        sid: room.sid,
        name: WireRoom::heard(room.name),
        participants: room.num_participants,
        publishers: room.num_publishers,
    }
}

pub(super) fn participant(participant: wire::ParticipantInfo) -> Participant {
    use wire::participant_info::{Kind, State};
    Participant {
        active: State::try_from(participant.state) == Ok(State::Active),
        joined_at: moment(participant.joined_at_ms, participant.joined_at),
        hidden: participant.permission.is_some_and(|permission| permission.hidden),
        sid: participant.sid,
        identity: participant.identity,
        name: participant.name,
        kind: Kind::try_from(participant.kind).map_or(ParticipantKind::Unknown, Into::into),
        attributes: participant.attributes.into_iter().collect(),
    }
}

pub(super) fn egress(egress: wire::EgressInfo) -> Egress {
    Egress {
        id: egress.egress_id,
        room: Some(egress.room_name).filter(|name| !name.is_empty()).map(WireRoom::heard),
        room_sid: egress.room_id,
        status: wire::EgressStatus::try_from(egress.status).map_or(EgressStatus::Unknown, Into::into),
        started_ns: egress.started_at,
        ended_ns: egress.ended_at,
    }
}

pub(super) fn ingress(ingress: wire::IngressInfo) -> Ingress {
    use wire::ingress_state::Status;
    let state = ingress.state.unwrap_or_default();
    Ingress {
        id: ingress.ingress_id,
        room: WireRoom::heard(ingress.room_name),
        room_sid: state.room_id,
        resource_id: state.resource_id,
        status: Status::try_from(state.status).map_or(IngressStatus::Unknown, Into::into),
        started_ns: state.started_at,
        ended_ns: state.ended_at,
    }
}
