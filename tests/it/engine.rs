//! LiveKit's server API, as Pulse calls it, at a real server with real clients.

use std::{sync::Arc, time::Duration};

use pulse_core::{
    media::{
        breaker::Breakers,
        cluster::Signer,
        engine::{EngineError, MediaEngine as _},
        livekit::LiveKit,
        room::WireRoom,
    },
    model::event_data::ParticipantKind,
    outbound::{AddressPolicy, Outbound},
    secret::Secret,
    time::{Clock, SystemClock},
};
use pulse_tests::{
    peers::{livekit, python::Join},
    plane::loopback_only,
};
use serde_json::json;

fn signer(server: &livekit::LiveKit, secret: &str) -> Signer {
    Signer { url: server.ws_url(), api_key: server.key().to_owned(), api_secret: Secret::new(secret), shared: true }
}

fn clock() -> Arc<dyn Clock> {
    pulse_core::boot::open::install_cryptography();
    Arc::new(SystemClock::new())
}

fn engine(server: &livekit::LiveKit) -> LiveKit {
    LiveKit::own(Outbound::new(loopback_only()), signer(server, server.secret()), clock())
}

fn room(name: &str) -> WireRoom {
    WireRoom::heard(name.to_owned())
}

#[tokio::test]
async fn who_is_in_a_room_is_listed_and_can_be_put_out_of_it() {
    let server = livekit::LiveKit::shared().await;
    let engine = engine(server);
    let before = SystemClock::new().now();
    let (here, elsewhere) = (room("engine~here"), room("engine~elsewhere"));
    let token = server.sign(&json!({
        "iss": server.key(), "sub": "ann", "name": "Ann", "exp": 4_102_444_800_u64,
        "attributes": { "pulse.jti": "01.0" },
        "video": { "roomJoin": true, "room": here.as_str() },
    }));
    let ann = Join::new(server.ws_url(), token).stay().await;
    assert_eq!(ann.report.error, None);

    let rooms = engine.list_rooms(Some(&[here.clone(), elsewhere.clone()])).await.expect("lists");
    assert_eq!(rooms.iter().map(|room| &room.name).collect::<Vec<_>>(), [&here], "only what is open");
    assert_eq!(Some(&rooms[0].sid), ann.report.room_sid.as_ref());
    assert!(rooms[0].created_at.since(before) < Duration::from_secs(60), "{:?}", rooms[0]);
    assert!(engine.list_rooms(None).await.expect("lists").iter().any(|room| room.name == here));

    let listed = engine.list_participants(&here).await.expect("lists");
    let [participant] = listed.as_slice() else { panic!("not one participant: {listed:?}") };
    assert_eq!((participant.identity.as_str(), participant.name.as_str()), ("ann", "Ann"));
    assert_eq!(Some(&participant.sid), ann.report.participant_sid.as_ref());
    assert_eq!((participant.kind, participant.active), (ParticipantKind::Standard, true));
    assert_eq!(participant.attributes.get("pulse.jti").map(String::as_str), Some("01.0"));
    assert!(participant.joined_at.since(before) < Duration::from_secs(60), "{participant:?}");

    engine.remove_participant(&here, "ann").await.expect("removes");
    let report = ann.until_ended(Duration::from_secs(20)).await;
    assert_eq!(report.disconnect_reason.as_deref(), Some("PARTICIPANT_REMOVED"));
}

#[tokio::test]
async fn what_livekit_does_not_know_or_do_or_allow_is_told_apart() {
    let server = livekit::LiveKit::shared().await;
    let engine = engine(server);
    let nowhere = room("engine~nowhere");
    assert_eq!(engine.remove_participant(&nowhere, "nobody").await, Err(EngineError::NotFound));
    assert_eq!(engine.list_participants(&nowhere).await, Ok(Vec::new()), "LiveKit has nobody in a room that is not");
    assert_eq!(engine.list_egress(true).await, Err(EngineError::NeedsRedis));
    assert_eq!(engine.list_ingress().await, Err(EngineError::NeedsRedis));

    let stranger = signer(server, "another-secret-than-the-one-that-livekit-knows");
    let stranger = LiveKit::own(Outbound::new(loopback_only()), stranger, clock());
    assert_eq!(stranger.list_rooms(None).await, Err(EngineError::PermissionDenied));

    let closed = Signer { url: format!("ws://{}", pulse_tests::ports::free_address()), ..signer(server, "x") };
    let closed = LiveKit::own(Outbound::new(loopback_only()), closed, clock());
    assert!(matches!(closed.list_rooms(None).await, Err(EngineError::Unreachable(_))));
}

#[tokio::test]
async fn a_customers_livekit_on_a_private_address_is_called_only_when_the_operator_allows_it() {
    let server = livekit::LiveKit::shared().await;
    let of_tenant = |policy: AddressPolicy| {
        let breakers = Arc::new(Breakers::new(clock()));
        LiveKit::of_tenant(Outbound::new(policy), signer(server, server.secret()), clock(), breakers)
    };
    of_tenant(loopback_only()).list_rooms(None).await.expect("allowed by its network and without TLS");
    let closed = AddressPolicy { tenant_networks: Arc::default(), ..loopback_only() };
    let Err(EngineError::Unreachable(failure)) = of_tenant(closed).list_rooms(None).await else {
        panic!("a private address was called for a customer");
    };
    assert_eq!(failure.kind.word(), "refused_address");
}
