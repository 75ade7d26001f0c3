//! LiveKit's enums as customers read them. A value that a newer LiveKit protocol adds does not compile here until it has a
//! word; one that the wire has before that becomes `unknown`.

use livekit_protocol::{
    DisconnectReason as WireDisconnectReason, EgressStatus as WireEgressStatus, IngressInput,
    RoomEndReason as WireRoomEndReason, TrackSource as WireTrackSource, TrackType as WireTrackType,
    encryption::Type as WireEncryption, ingress_state::Status as WireIngressStatus,
    participant_info::Kind as WireParticipantKind, participant_info::State as WireParticipantState,
    stream_info::Status as WireStreamStatus,
};

use super::scalar::Word;
use crate::model::event_data::{
    DisconnectReason, EgressStatus, IngressKind, IngressStatus, ParticipantKind, ParticipantState, RoomEndReason,
    StreamStatus, TrackEncryption, TrackKind, TrackSource,
};

/// Makes a [`Word`] of each of LiveKit's enums.
macro_rules! words {
    ($($wire:ident => $public:ident { $($from:ident => $to:ident,)+ })+) => {$(
        impl From<$wire> for $public {
            fn from(wire: $wire) -> Self {
                match wire {
                    $($wire::$from => Self::$to,)+
                }
            }
        }

        impl Word for $public {
            const UNKNOWN: Self = Self::Unknown;

            fn named(name: &str) -> Option<Self> {
                $wire::from_str_name(name).map(Self::from)
            }

            fn numbered(number: i32) -> Option<Self> {
                $wire::try_from(number).ok().map(Self::from)
            }
        }
    )+};
}

words! {
    WireRoomEndReason => RoomEndReason {
        RoomEndUnknown => Unknown,
        RoomEndApiDelete => ApiDelete,
        RoomEndIdleTimeout => IdleTimeout,
        RoomEndServerShutdown => ServerShutdown,
        RoomEndSuperseded => Superseded,
        RoomEndOpenFailed => OpenFailed,
    }
    WireParticipantKind => ParticipantKind {
        Standard => Standard,
        Ingress => Ingress,
        Egress => Egress,
        Sip => Sip,
        Agent => Agent,
        Connector => Connector,
        Bridge => Bridge,
    }
    WireParticipantState => ParticipantState {
        Joining => Joining,
        Joined => Joined,
        Active => Active,
        Disconnected => Disconnected,
    }
    WireDisconnectReason => DisconnectReason {
        UnknownReason => Unknown,
        ClientInitiated => ClientInitiated,
        DuplicateIdentity => DuplicateIdentity,
        ServerShutdown => ServerShutdown,
        ParticipantRemoved => ParticipantRemoved,
        RoomDeleted => RoomDeleted,
        StateMismatch => StateMismatch,
        JoinFailure => JoinFailure,
        Migration => Migration,
        SignalClose => SignalClose,
        RoomClosed => RoomClosed,
        UserUnavailable => UserUnavailable,
        UserRejected => UserRejected,
        SipTrunkFailure => SipTrunkFailure,
        ConnectionTimeout => ConnectionTimeout,
        MediaFailure => MediaFailure,
        AgentError => AgentError,
    }
    WireTrackType => TrackKind {
        Audio => Audio,
        Video => Video,
        Data => Data,
    }
    WireTrackSource => TrackSource {
        Unknown => Unknown,
        Camera => Camera,
        Microphone => Microphone,
        ScreenShare => ScreenShare,
        ScreenShareAudio => ScreenShareAudio,
    }
    WireEncryption => TrackEncryption {
        None => None,
        Gcm => Gcm,
        Custom => Custom,
    }
    WireEgressStatus => EgressStatus {
        EgressStarting => Starting,
        EgressActive => Active,
        EgressEnding => Ending,
        EgressComplete => Complete,
        EgressFailed => Failed,
        EgressAborted => Aborted,
        EgressLimitReached => LimitReached,
    }
    WireStreamStatus => StreamStatus {
        Active => Active,
        Finished => Finished,
        Failed => Failed,
    }
    IngressInput => IngressKind {
        RtmpInput => Rtmp,
        WhipInput => Whip,
        UrlInput => Url,
    }
    WireIngressStatus => IngressStatus {
        EndpointInactive => Inactive,
        EndpointBuffering => Buffering,
        EndpointPublishing => Publishing,
        EndpointError => Error,
        EndpointComplete => Complete,
    }
}
