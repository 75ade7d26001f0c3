//! From LiveKit's messages to what customers read of them.

use std::collections::BTreeMap;

use super::{
    facts::{is_whole, joined_at, opened_at},
    kind::EventKind,
    lenient::OWN_ATTRIBUTES,
    scalar::Named,
    wire::{
        Body, Egress, File, Images, Ingress, IngressState, InputAudio, InputVideo, Location, Participant, Permission,
        Room, Segments, Source, Stream, Track,
    },
};
use crate::{
    media::room,
    model::event_data::{
        EgressData, EgressKind, EventData, FileResult, ImagesResult, IngressAudio, IngressData, IngressVideo,
        ParticipantData, PermissionData, RoomData, RoomEndReason, SegmentsResult, StreamResult, TrackData,
    },
};

/// What customers read of a body. Of a kind that this version does not know they read the room's name and who the
/// participant is: what its other parts mean, and what is secret in them, nobody has looked at yet.
pub(super) fn of(kind: &EventKind, body: Body) -> EventData {
    let Body { room, participant, track, egress_info, ingress_info, job, room_end_reason, .. } = body;
    if !kind.is_known() {
        let job = job.0.unwrap_or_default();
        return EventData {
            room: room.0.or(job.room.0).and_then(only_name),
            participant: participant.0.or(job.participant.0).and_then(only_who),
            ..EventData::default()
        };
    }
    EventData {
        room: room.0.map(|room| room_data(room, room_end_reason)),
        participant: participant.0.map(participant_data),
        track: track.0.and_then(track_of),
        egress: egress_info.0.and_then(egress),
        ingress: ingress_info.0.and_then(ingress),
        recording: None,
    }
}

/// Takes LiveKit's names of rooms out of its explanations; `wire_room` is the room that all is about.
pub(super) fn without_wire_names(data: &mut EventData, wire_room: Option<&str>) {
    let owner = wire_room.and_then(room::split).map(|(project, _)| project);
    explanations(data).for_each(|text| *text = room::without_wire_names(text, owner));
}

/// What LiveKit says in words of its own, which may name rooms as it knows them.
fn explanations(data: &mut EventData) -> impl Iterator<Item = &mut String> {
    let egress = data.egress.iter_mut().flat_map(|egress| {
        let streams = egress.streams.iter_mut().map(|stream| &mut stream.error);
        [&mut egress.error, &mut egress.details].into_iter().chain(streams)
    });
    let ingress = data.ingress.iter_mut().map(|ingress| &mut ingress.error);
    egress.chain(ingress).flatten()
}

fn only_name(room: Room) -> Option<RoomData> {
    room.name.0.map(|name| RoomData { name: Some(name), ..RoomData::default() })
}

fn only_who(participant: Participant) -> Option<ParticipantData> {
    let Participant { sid, identity, .. } = participant;
    let who = ParticipantData { sid: sid.0, identity: identity.0, ..ParticipantData::default() };
    (who != ParticipantData::default()).then_some(who)
}

/// A room in which LiveKit says no more than id and name has no time of creation; what is absent then is not zero.
fn room_data(room: Room, end_reason: Named<RoomEndReason>) -> RoomData {
    let created_at = opened_at(&room);
    let whole = created_at.is_some();
    RoomData {
        sid: room.sid.0,
        name: room.name.0,
        metadata: room.metadata.0,
        empty_timeout_seconds: whole.then(|| room.empty_timeout.small()),
        departure_timeout_seconds: whole.then(|| room.departure_timeout.small()),
        max_participants: whole.then(|| room.max_participants.small()),
        created_at,
        num_participants: whole.then(|| room.num_participants.small()),
        num_publishers: whole.then(|| room.num_publishers.small()),
        active_recording: whole.then_some(room.active_recording.0),
        end_reason: end_reason.0,
    }
}

fn participant_data(participant: Participant) -> ParticipantData {
    let whole = is_whole(&participant);
    let joined_at = joined_at(&participant);
    let permission = participant.permission.0.unwrap_or_default();
    ParticipantData {
        sid: participant.sid.0,
        identity: participant.identity.0,
        name: participant.name.0,
        kind: if whole { Some(participant.kind.or_zero()) } else { participant.kind.0 },
        state: whole.then(|| participant.state.or_zero()),
        metadata: participant.metadata.0,
        attributes: attributes_of_the_customer(participant.attributes.0),
        joined_at,
        hidden: whole.then_some(permission.hidden.0),
        is_publisher: whole.then_some(participant.is_publisher.0),
        region: participant.region.0,
        permission: whole.then(|| permission_of(permission)),
        disconnect_reason: participant.disconnect_reason.0,
    }
}

/// Attributes without those by which Pulse knows a token and its project again: they are its own business, and receivers
/// would come to rely on them.
fn attributes_of_the_customer(mut attributes: BTreeMap<String, String>) -> BTreeMap<String, String> {
    attributes.retain(|name, _| !name.starts_with(OWN_ATTRIBUTES));
    attributes
}

fn permission_of(permission: Permission) -> PermissionData {
    PermissionData {
        can_publish: permission.can_publish.0,
        can_subscribe: permission.can_subscribe.0,
        can_publish_data: permission.can_publish_data.0,
        can_publish_sources: permission.can_publish_sources.0.into_iter().map(Named::or_zero).collect(),
        can_update_own_metadata: permission.can_update_metadata.0,
    }
}

fn track_of(track: Track) -> Option<TrackData> {
    Some(TrackData {
        sid: track.sid.0?,
        kind: track.kind.or_zero(),
        name: track.name.0,
        source: track.source.or_zero(),
        mime_type: track.mime_type.0,
        width: track.width.small_count(),
        height: track.height.small_count(),
        muted: track.muted.0,
        simulcast: track.simulcast.0,
        encryption: track.encryption.or_zero(),
    })
}

pub(super) fn egress(egress: Egress) -> Option<EgressData> {
    let kind = egress_kind(&egress);
    Some(EgressData {
        livekit_id: egress.egress_id.0?,
        kind,
        status: egress.status.or_zero(),
        room_sid: egress.room_id.0,
        room_name: egress.room_name.0,
        started_at: egress.started_at.nanos(),
        ended_at: egress.ended_at.nanos(),
        updated_at: egress.updated_at.nanos(),
        error: egress.error.0,
        error_code: egress.error_code.code(),
        details: egress.details.0,
        manifest_location: egress.manifest_location.0,
        files: egress.file_results.messages().map(file).collect(),
        segments: egress.segment_results.messages().map(segments).collect(),
        streams: egress.stream_results.messages().map(stream).collect(),
        images: egress.image_results.messages().map(images).collect(),
    })
}

/// What an egress takes, by the request that it quotes.
pub(super) fn egress_kind(egress: &Egress) -> EgressKind {
    let quoted = [
        (egress.room_composite.0, EgressKind::RoomComposite),
        (egress.web.0, EgressKind::Web),
        (egress.participant.0, EgressKind::Participant),
        (egress.track_composite.0, EgressKind::TrackComposite),
        (egress.track.0, EgressKind::Track),
    ];
    let unified = || egress.unified.0.as_ref().or(egress.replay.0.as_ref()).map(source_kind);
    quoted.into_iter().find_map(|(there, kind)| there.then_some(kind)).or_else(unified).unwrap_or(EgressKind::Unknown)
}

/// The kind of LiveKit's unified requests. Their `media` stands for a participant or for single tracks.
fn source_kind(source: &Source) -> EgressKind {
    match &source.media.0 {
        _ if source.template.0 => EgressKind::RoomComposite,
        _ if source.web.0 => EgressKind::Web,
        Some(media) if media.participant_video.0 => EgressKind::Participant,
        Some(_) => EgressKind::TrackComposite,
        None => EgressKind::Unknown,
    }
}

fn file(file: File) -> FileResult {
    FileResult {
        filename: file.filename.0,
        location: file.location.0,
        size: file.size.count(),
        duration_seconds: file.duration.nanos_in_seconds(),
        started_at: file.started_at.nanos(),
        ended_at: file.ended_at.nanos(),
    }
}

fn segments(segments: Segments) -> SegmentsResult {
    SegmentsResult {
        playlist_name: segments.playlist_name.0,
        live_playlist_name: segments.live_playlist_name.0,
        playlist_location: segments.playlist_location.0,
        live_playlist_location: segments.live_playlist_location.0,
        segment_count: segments.segment_count.count(),
        size: segments.size.count(),
        duration_seconds: segments.duration.nanos_in_seconds(),
        started_at: segments.started_at.nanos(),
        ended_at: segments.ended_at.nanos(),
    }
}

fn stream(stream: Stream) -> StreamResult {
    StreamResult {
        url: public_url(stream.url),
        status: stream.status.or_zero(),
        duration_seconds: stream.duration.nanos_in_seconds(),
        started_at: stream.started_at.nanos(),
        ended_at: stream.ended_at.nanos(),
        retries: stream.retries.small_count(),
        error: stream.error.0,
    }
}

/// A stream's URL without what may be secret in it. LiveKit masks the key in the path of RTMP URLs and shows those of SRT
/// and websockets as they are, whose passphrases and tokens stand in the query or before the host.
fn public_url(url: Location) -> Option<String> {
    let url = url.0?;
    let shown = url.split(['?', '#']).next().unwrap_or_default();
    let (scheme, rest) =
        shown.split_once("://").map_or(("", shown), |(scheme, rest)| (&shown[..scheme.len() + 3], rest));
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    Some(format!("{scheme}{host}{path}"))
}

fn images(images: Images) -> ImagesResult {
    ImagesResult {
        filename_prefix: images.filename_prefix.0,
        image_count: images.image_count.count(),
        started_at: images.started_at.nanos(),
        ended_at: images.ended_at.nanos(),
    }
}

pub(super) fn ingress(ingress: Ingress) -> Option<IngressData> {
    let state: IngressState = ingress.state.0.unwrap_or_default();
    Some(IngressData {
        livekit_id: ingress.ingress_id.0?,
        name: ingress.name.0,
        kind: ingress.input_type.or_zero(),
        room_name: ingress.room_name.0,
        room_sid: state.room_id.0,
        participant_identity: ingress.participant_identity.0,
        participant_name: ingress.participant_name.0,
        status: state.status.or_zero(),
        error: state.error.0,
        resource_id: state.resource_id.0,
        started_at: state.started_at.nanos(),
        ended_at: state.ended_at.nanos(),
        updated_at: state.updated_at.nanos(),
        reusable: ingress.reusable.0,
        video: state.video.0.map(video),
        audio: state.audio.0.map(audio),
    })
}

fn video(video: InputVideo) -> IngressVideo {
    IngressVideo {
        mime_type: video.mime_type.0,
        average_bitrate: video.average_bitrate.small_count(),
        width: video.width.small_count(),
        height: video.height.small_count(),
        framerate: video.framerate.positive(),
    }
}

fn audio(audio: InputAudio) -> IngressAudio {
    IngressAudio {
        mime_type: audio.mime_type.0,
        average_bitrate: audio.average_bitrate.small_count(),
        channels: audio.channels.small_count(),
        sample_rate: audio.sample_rate.small_count(),
    }
}
