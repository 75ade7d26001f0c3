//! What Pulse itself decides by: whose event it is, and which session, connection, egress or ingress it is evidence of.
//! Names here are LiveKit's own, times as precise as LiveKit gives them.

use std::collections::BTreeMap;

use super::{
    data::egress_kind,
    wire::{Body, Egress, Ingress, Participant, Room},
};
use crate::{
    model::event_data::{DisconnectReason, EgressKind, EgressStatus, IngressStatus, ParticipantKind},
    time::Timestamp,
};

/// What Pulse decides by.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// The room, wherever in the event it is named.
    pub room: RoomFacts,
    /// The participant, when its connection has an id.
    pub participant: Option<ParticipantFacts>,
    /// The egress, when it has an id.
    pub egress: Option<EgressFacts>,
    /// The ingress, when it has an id.
    pub ingress: Option<IngressFacts>,
}

/// The room that an event is about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RoomFacts {
    /// Its name on LiveKit: the first of the room's own, an egress's, an agent job's, an ingress's. The egress of a web
    /// page has none.
    pub wire_name: Option<String>,
    /// LiveKit's id of this life of the room, from the first of these that has one.
    pub sid: Option<String>,
    /// When it was opened, to the millisecond from servers that say so, else to the second.
    pub created_at: Option<Timestamp>,
}

/// A participant's connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParticipantFacts {
    /// LiveKit's id of the connection.
    pub sid: String,
    /// Who it is.
    pub identity: Option<String>,
    /// What kind it is. `None` where LiveKit says only who it is, as in events of tracks.
    pub kind: Option<ParticipantKind>,
    /// When it joined, to the millisecond from servers that say so, else to the second.
    pub joined_at: Option<Timestamp>,
    /// Its attributes, those of Pulse's own among them.
    pub attributes: BTreeMap<String, String>,
    /// Why it left.
    pub disconnect_reason: Option<DisconnectReason>,
}

/// An egress.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EgressFacts {
    /// LiveKit's id.
    pub id: String,
    /// The room's name on LiveKit; the egress of a web page has none.
    pub wire_room: Option<String>,
    /// LiveKit's id of the room's life.
    pub room_sid: Option<String>,
    /// What it takes.
    pub kind: EgressKind,
    /// How far it is.
    pub status: EgressStatus,
    /// When it began, in nanoseconds since 1970.
    pub started_at_ns: Option<i64>,
    /// When it ended, in nanoseconds since 1970.
    pub ended_at_ns: Option<i64>,
}

/// An ingress. One that is reusable publishes many times under one id: the resource's id tells these apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IngressFacts {
    /// LiveKit's id of the ingress.
    pub id: String,
    /// LiveKit's id of this one time that it publishes.
    pub resource_id: Option<String>,
    /// The room's name on LiveKit.
    pub wire_room: Option<String>,
    /// LiveKit's id of the room's life.
    pub room_sid: Option<String>,
    /// How far it is.
    pub status: IngressStatus,
    /// When it began to publish, in nanoseconds since 1970.
    pub started_at_ns: Option<i64>,
    /// When it stopped, in nanoseconds since 1970.
    pub ended_at_ns: Option<i64>,
}

/// Reads the facts off a body.
pub(super) fn of(body: &Body) -> Facts {
    let participant = body.participant.0.as_ref().or_else(|| body.job.0.as_ref()?.participant.0.as_ref());
    Facts {
        room: room(body),
        participant: participant.and_then(connection),
        egress: body.egress_info.0.as_ref().and_then(egress),
        ingress: body.ingress_info.0.as_ref().and_then(ingress),
    }
}

/// When a room was opened.
pub(super) fn opened_at(room: &Room) -> Option<Timestamp> {
    room.creation_time_ms.millis().or_else(|| room.creation_time.seconds())
}

/// When a participant joined.
pub(super) fn joined_at(participant: &Participant) -> Option<Timestamp> {
    participant.joined_at_ms.millis().or_else(|| participant.joined_at.seconds())
}

/// Whether LiveKit says all of a participant. In events of tracks it says no more than who it is, and what it leaves out
/// there must not be taken for zero.
pub(super) fn is_whole(participant: &Participant) -> bool {
    joined_at(participant).is_some() || participant.state.0.is_some() || participant.permission.0.is_some()
}

fn room(body: &Body) -> RoomFacts {
    let own = body.room.0.as_ref();
    let egress = body.egress_info.0.as_ref();
    let job = body.job.0.as_ref().and_then(|job| job.room.0.as_ref());
    let ingress = body.ingress_info.0.as_ref();
    let names = [
        own.map(|room| &room.name),
        egress.map(|egress| &egress.room_name),
        job.map(|room| &room.name),
        ingress.map(|ingress| &ingress.room_name),
    ];
    let sids = [
        own.map(|room| &room.sid),
        egress.map(|egress| &egress.room_id),
        job.map(|room| &room.sid),
        ingress.and_then(|ingress| ingress.state.0.as_ref()).map(|state| &state.room_id),
    ];
    RoomFacts {
        wire_name: names.into_iter().flatten().find_map(|name| name.0.clone()),
        sid: sids.into_iter().flatten().find_map(|sid| sid.0.clone()),
        created_at: own.or(job).and_then(opened_at),
    }
}

fn connection(participant: &Participant) -> Option<ParticipantFacts> {
    Some(ParticipantFacts {
        sid: participant.sid.0.clone()?,
        identity: participant.identity.0.clone(),
        kind: if is_whole(participant) { Some(participant.kind.or_zero()) } else { participant.kind.0 },
        joined_at: joined_at(participant),
        attributes: participant.attributes.0.clone(),
        disconnect_reason: participant.disconnect_reason.0,
    })
}

pub(super) fn egress(egress: &Egress) -> Option<EgressFacts> {
    Some(EgressFacts {
        id: egress.egress_id.0.clone()?,
        wire_room: egress.room_name.0.clone(),
        room_sid: egress.room_id.0.clone(),
        kind: egress_kind(egress),
        status: egress.status.or_zero(),
        started_at_ns: egress.started_at.positive(),
        ended_at_ns: egress.ended_at.positive(),
    })
}

pub(super) fn ingress(ingress: &Ingress) -> Option<IngressFacts> {
    let state = ingress.state.0.as_ref();
    Some(IngressFacts {
        id: ingress.ingress_id.0.clone()?,
        resource_id: state.and_then(|state| state.resource_id.0.clone()),
        wire_room: ingress.room_name.0.clone(),
        room_sid: state.and_then(|state| state.room_id.0.clone()),
        status: state.map(|state| state.status).unwrap_or_default().or_zero(),
        started_at_ns: state.and_then(|state| state.started_at.positive()),
        ended_at_ns: state.and_then(|state| state.ended_at.positive()),
    })
}
