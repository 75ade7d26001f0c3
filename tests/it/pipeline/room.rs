//! A room as a LiveKit would tell of it: each function is one webhook's body.

use std::time::Duration;

use pulse_core::{
    id::ProjectId,
    media::{room::WireRoom, token::JTI_ATTRIBUTE},
    model::{event::SERVER_CLUSTER, interval::Interval, session::Session, usage::UsageView},
    repo::usage::UsageFilter,
    time::Timestamp,
};
use pulse_tests::plane::{Customer, TestPlane};
use serde_json::{Value, json};

/// One life of a room.
#[derive(Clone, Debug)]
pub(crate) struct Room {
    pub(crate) wire: String,
    pub(crate) sid: String,
    pub(crate) created_at: Timestamp,
}

impl Room {
    pub(crate) fn new(customer: &Customer, name: &str, sid: &str, created_at: Timestamp) -> Self {
        Self { wire: format!("{}~{name}", customer.id()), sid: sid.to_owned(), created_at }
    }

    /// The name as the engine knows it.
    pub(crate) fn name(&self) -> WireRoom {
        let (project, room) = self.wire.split_once('~').expect("a name on a shared LiveKit");
        WireRoom::shared(project.parse().expect("a project"), &room.parse().expect("a room"))
    }

    fn event(&self, kind: &str, subject: &str, at: Timestamp, extra: Value) -> Value {
        let mut event = json!({
            "event": kind,
            "id": format!("EV_{}_{kind}_{subject}", self.sid),
            // LiveKit tells whole seconds, rounded down.
            "createdAt": at.as_secs().to_string(),
            "room": {
                "sid": self.sid, "name": self.wire,
                "creationTime": self.created_at.as_secs().to_string(),
                "creationTimeMs": self.created_at.as_millis().to_string(),
            },
        });
        event.as_object_mut().expect("an object").extend(extra.as_object().expect("an object").clone());
        event
    }

    pub(crate) fn started(&self) -> Value {
        self.event("room_started", "", self.created_at, json!({}))
    }

    pub(crate) fn finished(&self, at: Timestamp) -> Value {
        self.event("room_finished", "", at, json!({}))
    }

    fn participant(kind: &str, sid: &str, identity: &str, joined_at: Timestamp) -> Value {
        json!({ "participant": {
            "sid": sid, "identity": identity, "kind": kind, "state": "ACTIVE",
            "joinedAt": joined_at.as_secs().to_string(), "joinedAtMs": joined_at.as_millis().to_string(),
        } })
    }

    pub(crate) fn joined(&self, sid: &str, identity: &str, at: Timestamp) -> Value {
        self.event("participant_joined", sid, at, Self::participant("STANDARD", sid, identity, at))
    }

    /// The same with the token that it shows.
    pub(crate) fn joined_with(&self, sid: &str, identity: &str, at: Timestamp, jti: &str) -> Value {
        let mut event = self.joined(sid, identity, at);
        event["participant"]["attributes"] = json!({ JTI_ATTRIBUTE: jti });
        event
    }

    pub(crate) fn joined_as(&self, kind: &str, sid: &str, identity: &str, at: Timestamp) -> Value {
        self.event("participant_joined", sid, at, Self::participant(kind, sid, identity, at))
    }

    pub(crate) fn left(&self, sid: &str, identity: &str, joined_at: Timestamp, at: Timestamp) -> Value {
        let mut extra = Self::participant("STANDARD", sid, identity, joined_at);
        extra["participant"]["state"] = json!("DISCONNECTED");
        extra["participant"]["disconnectReason"] = json!("CLIENT_INITIATED");
        self.event("participant_left", sid, at, extra)
    }

    pub(crate) fn aborted(&self, sid: &str, identity: &str, joined_at: Timestamp, at: Timestamp) -> Value {
        let extra = Self::participant("STANDARD", sid, identity, joined_at);
        self.event("participant_connection_aborted", sid, at, extra)
    }

    /// `egress_started` or `egress_ended`, which carry no room message.
    pub(crate) fn egress(&self, kind: &str, id: &str, start: Timestamp, end: Option<Timestamp>) -> Value {
        let nanos = |at: Timestamp| (at.as_millis() * 1_000_000).to_string();
        json!({
            "event": kind,
            "id": format!("EV_{kind}_{id}"),
            "createdAt": end.unwrap_or(start).as_secs().to_string(),
            "egressInfo": {
                "egressId": id, "roomId": self.sid, "roomName": self.wire,
                "status": if end.is_some() { "EGRESS_COMPLETE" } else { "EGRESS_ACTIVE" },
                "startedAt": nanos(start), "endedAt": end.map_or("0".to_owned(), nanos),
                "roomComposite": { "roomName": self.wire },
            },
        })
    }

    /// `ingress_started` or `ingress_ended` of one run.
    pub(crate) fn ingress(&self, kind: &str, run: &str, start: Timestamp, end: Option<Timestamp>) -> Value {
        let nanos = |at: Timestamp| (at.as_millis() * 1_000_000).to_string();
        json!({
            "event": kind,
            "id": format!("EV_{kind}_{run}"),
            "createdAt": end.unwrap_or(start).as_secs().to_string(),
            "ingressInfo": {
                "ingressId": "IN_1", "name": "cam", "roomName": self.wire, "participantIdentity": "obs", "reusable": true,
                "state": {
                    "status": if end.is_some() { "ENDPOINT_INACTIVE" } else { "ENDPOINT_PUBLISHING" },
                    "roomId": self.sid, "resourceId": run,
                    "startedAt": nanos(start), "endedAt": end.map_or("0".to_owned(), nanos),
                },
            },
        })
    }
}

/// Does what is due now and after the time that late events are given.
pub(crate) async fn settle(t: &TestPlane) {
    pulse_core::worker::run_until_idle(&t.pipeline).await.expect("works");
    t.advance(Duration::from_secs(60)).await;
    pulse_core::worker::run_until_idle(&t.pipeline).await.expect("works");
}

/// The project's facts in their latest revisions.
pub(crate) async fn facts(t: &TestPlane, project: ProjectId) -> Vec<UsageView> {
    let limit = 100_u32.try_into().ok();
    t.plane.parts().usage.list(project, &UsageFilter::default(), limit, None).await.expect("facts").data
}

/// The one session of a LiveKit room.
pub(crate) async fn session(t: &TestPlane, sid: &str) -> Session {
    t.plane.parts().sessions.of_sid(SERVER_CLUSTER, sid).await.expect("reads").expect("a session")
}

/// The connection of a participant's sid.
pub(crate) async fn connection(t: &TestPlane, sid: &str) -> Interval {
    t.plane.parts().intervals.of_key(SERVER_CLUSTER, "participant", sid).await.expect("reads").expect("a connection")
}
