//! What happened: the kinds of events that LiveKit sends, and the types under which customers get them.

use std::borrow::Cow;

/// What happened. A kind that this version does not know is kept by its name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum EventKind {
    /// A room was opened.
    RoomStarted,
    /// A room ended.
    RoomFinished,
    /// A participant is in a room, its media connected.
    ParticipantJoined,
    /// A participant that had joined left.
    ParticipantLeft,
    /// A participant went away before its media were connected.
    ParticipantConnectionAborted,
    /// A participant publishes a track.
    TrackPublished,
    /// A participant publishes a track no more.
    TrackUnpublished,
    /// An egress was started.
    EgressStarted,
    /// An egress changed.
    EgressUpdated,
    /// An egress ended, well or not.
    EgressEnded,
    /// An ingress publishes.
    IngressStarted,
    /// An ingress publishes no more.
    IngressEnded,
    /// Something else: 1 to 64 characters of `a-z`, `0-9` and `_`, and none of the names above.
    Unknown(UnknownKind),
}

/// The name of a kind that this version does not know. Only [`EventKind::parse`] makes one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct UnknownKind(Box<str>);

/// The kinds that this version knows, by LiveKit's names for them.
static KNOWN: [(&str, EventKind); 12] = [
    ("room_started", EventKind::RoomStarted),
    ("room_finished", EventKind::RoomFinished),
    ("participant_joined", EventKind::ParticipantJoined),
    ("participant_left", EventKind::ParticipantLeft),
    ("participant_connection_aborted", EventKind::ParticipantConnectionAborted),
    ("track_published", EventKind::TrackPublished),
    ("track_unpublished", EventKind::TrackUnpublished),
    ("egress_started", EventKind::EgressStarted),
    ("egress_updated", EventKind::EgressUpdated),
    ("egress_ended", EventKind::EgressEnded),
    ("ingress_started", EventKind::IngressStarted),
    ("ingress_ended", EventKind::IngressEnded),
];
/// The longest name of a kind, in bytes.
const MAX_NAME_BYTES: usize = 64;
/// The type under which customers get [`EventKind::RoomFinished`].
const ROOM_ENDED: &str = "room_ended";
/// The type of the event that tells of a recording, which Pulse makes of an egress that ended.
pub const RECORDING_AVAILABLE: &str = "recording_available";
/// Types that Pulse gives out itself, in LiveKit's way of writing. A kind of LiveKit's that comes to be called so must
/// not be taken for Pulse's.
const OWN_NAMES: [&str; 2] = [ROOM_ENDED, RECORDING_AVAILABLE];

impl EventKind {
    /// The kind with LiveKit's name. `None`: not a name that LiveKit would give.
    pub fn parse(name: &str) -> Option<Self> {
        if let Some((_, kind)) = KNOWN.iter().find(|(known, _)| *known == name) {
            return Some(kind.clone());
        }
        let well_formed = (1..=MAX_NAME_BYTES).contains(&name.len())
            && name.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_'));
        well_formed.then(|| Self::Unknown(UnknownKind(name.into())))
    }

    /// The kinds that this version knows.
    pub fn known() -> impl Iterator<Item = Self> {
        KNOWN.iter().map(|(_, kind)| kind.clone())
    }

    /// LiveKit's name.
    pub fn livekit_name(&self) -> &str {
        if let Self::Unknown(UnknownKind(name)) = self {
            return name;
        }
        KNOWN.iter().find(|(_, kind)| kind == self).map_or("", |(name, _)| *name)
    }

    /// The type under which customers get it: `room_ended` for `room_finished`, else LiveKit's name. A new kind of
    /// LiveKit's with a name that Pulse uses for something else gets `livekit_` before it.
    pub fn public_name(&self) -> Cow<'_, str> {
        match self.livekit_name() {
            _ if *self == Self::RoomFinished => Cow::Borrowed(ROOM_ENDED),
            taken if OWN_NAMES.contains(&taken) => Cow::Owned(format!("livekit_{taken}")),
            name => Cow::Borrowed(name),
        }
    }

    /// Whether this version knows it, and with it what its parts mean.
    pub fn is_known(&self) -> bool {
        !matches!(self, Self::Unknown(_))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_known_kind_has_its_own_name_and_reads_back() {
        for kind in EventKind::known() {
            assert_eq!(EventKind::parse(kind.livekit_name()), Some(kind.clone()));
            assert!(kind.is_known() && !kind.livekit_name().is_empty());
        }
        let names: std::collections::BTreeSet<_> =
            EventKind::known().map(|kind| kind.public_name().into_owned()).collect();
        assert_eq!(names.len(), EventKind::known().count());
    }

    #[test]
    fn customers_get_the_end_of_a_room_as_room_ended_and_all_else_under_livekits_name() {
        for kind in EventKind::known() {
            let expected = if kind == EventKind::RoomFinished { "room_ended" } else { kind.livekit_name() };
            assert_eq!(kind.public_name(), expected);
        }
    }

    #[test]
    fn new_kinds_are_kept_by_name_and_never_taken_for_pulses_own() {
        let new = EventKind::parse("agent_job_started").unwrap();
        assert!(!new.is_known());
        assert_eq!((new.livekit_name(), &*new.public_name()), ("agent_job_started", "agent_job_started"));
        for taken in OWN_NAMES {
            assert_eq!(EventKind::parse(taken).unwrap().public_name(), format!("livekit_{taken}"));
        }
    }

    #[test]
    fn names_that_livekit_would_not_give_are_refused() {
        for bad in ["", "Room_started", "room-started", "endpoint.disabled", "räum", " room", &"a".repeat(65)] {
            assert_eq!(EventKind::parse(bad), None, "{bad:?} was taken for a kind of event");
        }
        assert!(EventKind::parse(&"a".repeat(64)).is_some());
    }
}
