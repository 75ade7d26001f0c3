//! Events: lists with their filters, one event, and events that somebody makes up.

use std::time::Duration;

use pulse_core::{error::Code, ops::events::catalogue::TYPES};
use pulse_tests::plane::{Customer, START, TestPlane, operator};
use serde_json::{Value, json};

use super::{bad_fields, refused};
use crate::pipeline::room::Room;

async fn list(t: &TestPlane, c: &Customer, query: &str) -> Vec<Value> {
    let page = t.send(&c.caller, "events.list", &[], query, "").await.expect("lists");
    page["data"].as_array().expect("rows").clone()
}

fn types(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| event["type"].as_str().expect("a type")).collect()
}

/// What LiveKit tells of two rooms of the customer's, one second after the other.
async fn two_rooms(t: &TestPlane, c: &Customer) {
    for (name, sid) in [("daily", "RM_1"), ("weekly", "RM_2")] {
        let room = Room::new(c, name, sid, t.plane.parts().clock.now());
        for event in [room.started(), room.joined("PA_1", "ada", START), room.finished(START)] {
            t.livekit_says(&event).await.expect("taken in");
            t.advance(Duration::from_secs(1)).await;
        }
    }
}

#[tokio::test]
async fn events_are_found_by_every_filter() {
    let t = TestPlane::new().await;
    let c = t.customer("a").await;
    two_rooms(&t, &c).await;
    let all = list(&t, &c, "").await;
    let newest_first =
        ["room_ended", "participant_joined", "room_started", "room_ended", "participant_joined", "room_started"];
    assert_eq!(types(&all), newest_first);
    assert_eq!(list(&t, &c, "room=daily").await, all[3..]);
    assert_eq!(types(&list(&t, &c, "type=room_*").await), ["room_ended", "room_started", "room_ended", "room_started"]);
    let both = list(&t, &c, "type=room_ended&type=participant_*&room=weekly").await;
    assert_eq!(types(&both), ["room_ended", "participant_joined"]);
    assert_eq!(list(&t, &c, "type=room").await, [] as [Value; 0], "a name is no beginning");
    let third = START.plus(Duration::from_secs(3));
    assert_eq!(list(&t, &c, &format!("from={third}")).await, all[..3]);
    assert_eq!(list(&t, &c, &format!("to={third}")).await, all[3..]);
    let page = t.send(&c.caller, "events.list", &[], "limit=2&type=room_*", "").await.expect("lists");
    let cursor = page["next_cursor"].as_str().expect("more");
    let rest = list(&t, &c, &format!("limit=2&type=room_*&cursor={cursor}")).await;
    assert_eq!(rest, [all[3].clone(), all[5].clone()]);
}

#[tokio::test]
async fn the_events_of_a_session_come_by_number_so_that_holes_can_be_filled() {
    let t = TestPlane::new().await;
    let c = t.customer("a").await;
    two_rooms(&t, &c).await;
    let all = list(&t, &c, "room=daily").await;
    let session = all[0]["session_id"].as_str().expect("a session");
    let in_order: Vec<Value> = all.iter().rev().cloned().collect();
    assert_eq!(list(&t, &c, &format!("session_id={session}")).await, in_order);
    assert_eq!(
        in_order.iter().map(|event| event["sequence"].as_u64()).collect::<Vec<_>>(),
        [Some(1), Some(2), Some(3)]
    );
    assert_eq!(list(&t, &c, &format!("session_id={session}&after_sequence=1")).await, in_order[1..]);
    let last = format!("session_id={session}&after_sequence={}", i64::MAX);
    assert_eq!(list(&t, &c, &last).await, [] as [Value; 0]);
    assert_eq!(bad_fields(send(&t, &c, "after_sequence=1").await), ["after_sequence"]);
}

async fn send(t: &TestPlane, c: &Customer, query: &str) -> pulse_core::Result<Value> {
    t.send(&c.caller, "events.list", &[], query, "").await
}

#[tokio::test]
async fn what_has_no_meaning_beside_a_session_is_refused() {
    let t = TestPlane::new().await;
    let c = t.customer("a").await;
    let session = "ses_01K2Y7HZZA1B2C3D4E5F6G7H8J";
    let both = format!("session_id={session}&from={START}&to={START}");
    assert_eq!(bad_fields(send(&t, &c, &both).await), ["from", "to"]);
    assert_eq!(bad_fields(send(&t, &c, "type=Room").await), ["type[0]"]);
}

#[tokio::test]
async fn an_event_is_what_its_webhook_says_and_nobody_elses() {
    let t = TestPlane::new().await;
    let (c, other) = (t.customer("a").await, t.customer("b").await);
    two_rooms(&t, &c).await;
    let newest = list(&t, &c, "limit=1").await.remove(0);
    let id = newest["id"].as_str().expect("an id");
    let got = t.send(&c.caller, "events.get", &[("id", id)], "", "").await.expect("gets");
    assert_eq!(got, newest);
    let project = c.id();
    let stored = t.plane.parts().events.get(project, id.parse().expect("an id")).await.expect("reads").expect("there");
    assert_eq!(serde_json::from_str::<Value>(&stored.envelope()).expect("JSON"), got);
    assert_eq!(refused(t.send(&other.caller, "events.get", &[("id", id)], "", "").await), Code::NotFound);
    assert_eq!(list(&t, &other, "").await, [] as [Value; 0]);
    let session = got["session_id"].as_str().expect("a session");
    assert_eq!(list(&t, &other, &format!("session_id={session}")).await, [] as [Value; 0]);
}

async fn trigger(t: &TestPlane, c: &Customer, body: Value) -> pulse_core::Result<Value> {
    t.send(&c.caller, "events.trigger", &[], "", &body.to_string()).await
}

#[tokio::test]
async fn every_type_can_be_made_up_and_is_marked_and_never_billed() {
    let t = TestPlane::new().await;
    let c = t.customer("a").await;
    let body = json!({ "url": "http://127.0.0.1:9/in", "event_types": ["room_*", "participant_joined"] }).to_string();
    t.send(&c.caller, "endpoints.create", &[], "", &body).await.expect("creates");
    for kind in TYPES.iter().filter(|kind| kind.name != "endpoint.test") {
        let event = trigger(&t, &c, json!({ "type": kind.name })).await.expect("makes it up");
        assert_eq!(
            (&event["test"], &event["sequence"], &event["session_id"]),
            (&json!(true), &Value::Null, &Value::Null)
        );
        let id = event["id"].as_str().expect("an id");
        let kept = t.send(&c.caller, "events.get", &[("id", id)], "", "").await.expect("gets");
        assert_eq!(kept, event, "{}", kind.name);
        let room = if kind.is_operational() { Value::Null } else { json!("standup") };
        assert_eq!(event["room"], room, "{}", kind.name);
    }
    let deliveries = t.send(&c.caller, "deliveries.list", &[], "limit=100", "").await.expect("lists");
    let mut sent: Vec<&str> =
        deliveries["data"].as_array().expect("rows").iter().filter_map(|row| row["event_type"].as_str()).collect();
    sent.sort_unstable();
    assert_eq!(sent, ["participant_joined", "room_ended", "room_started"], "those who want the type get it");
    let usage = t.send(&c.caller, "usage.list", &[("project_id", &c.id().to_string())], "", "").await.expect("lists");
    assert_eq!((&usage["data"], &usage["live"]), (&json!([]), &json!([])));
    let sessions = t.send(&c.caller, "sessions.list", &[], "", "").await.expect("lists");
    assert_eq!(sessions["data"], json!([]));
}

#[tokio::test]
async fn values_of_an_event_that_is_made_up_can_be_chosen() {
    let t = TestPlane::new().await;
    let c = t.customer("a").await;
    let set = json!({ "participant.identity": "bob", "participant.attributes.seat": "9", "participant.name": null });
    let event = trigger(&t, &c, json!({ "type": "participant_joined", "room": "daily", "set": set }))
        .await
        .expect("makes it up");
    let data = &event["data"];
    assert_eq!((&event["room"], &data["room"]["name"]), (&json!("daily"), &json!("daily")));
    assert_eq!((&data["participant"]["identity"], data["participant"].get("name")), (&json!("bob"), None));
    assert_eq!(data["participant"]["attributes"], json!({ "seat": "9" }));
    let joined: pulse_core::time::Timestamp =
        data["participant"]["joined_at"].as_str().expect("a text").parse().expect("a moment");
    let ago = t.plane.parts().clock.now().since(joined);
    assert!(ago > Duration::ZERO && ago < Duration::from_secs(3600), "it says that it happened {ago:?} ago");
    let set = json!({ "participant.joined_at": "2026-01-31T12:00:00Z", "participant.attributes": {} });
    let event = trigger(&t, &c, json!({ "type": "participant_left", "set": set })).await.expect("in another form");
    assert_eq!(event["data"]["participant"]["joined_at"], "2026-01-31T12:00:00.000Z");
    let set = json!({ "egress.files.0.size": 5, "egress.status": "failed" });
    let event = trigger(&t, &c, json!({ "type": "egress_ended", "set": set })).await.expect("makes it up");
    assert_eq!(
        (&event["data"]["egress"]["files"][0]["size"], &event["data"]["egress"]["status"]),
        (&json!(5), &json!("failed"))
    );
}

#[tokio::test]
async fn what_no_such_event_would_say_is_refused() {
    let t = TestPlane::new().await;
    let c = t.customer("a").await;
    let faults = async |body: Value| bad_fields(trigger(&t, &c, body).await);
    assert_eq!(faults(json!({ "type": "room_exploded" })).await, ["type"]);
    assert_eq!(faults(json!({ "type": "endpoint.test" })).await, ["type"], "it is one endpoint's alone");
    assert_eq!(faults(json!({ "type": "room_started", "set": { "room.name": "a\u{0}b" } })).await, ["set"]);
    let unknown = json!({ "participant.shoe_size": 46, "participant.identity.first": "A", "track.sid.x": 1 });
    let named = ["set.participant.identity.first", "set.participant.shoe_size", "set.track.sid.x"];
    let mut found = faults(json!({ "type": "track_published", "set": unknown })).await;
    found.sort_unstable();
    assert_eq!(found, named);
    assert_eq!(
        faults(json!({ "type": "room_started", "set": { "room.max_participants": "many" } })).await,
        ["set.room.max_participants"]
    );
    assert_eq!(
        faults(json!({ "type": "room_started", "set": { "room.metadata": "x".repeat(70_000) } })).await,
        ["set"]
    );
    let many: serde_json::Map<String, Value> = (0..51).map(|n| (format!("room.x{n}"), json!(1))).collect();
    assert_eq!(faults(json!({ "type": "room_started", "set": many })).await, ["set"]);
    assert_eq!(list(&t, &c, "").await, [] as [Value; 0], "nothing of it is kept");
    let suspend = json!({ "reason": "unpaid" }).to_string();
    t.send(&operator(), "projects.suspend", &[("id", &c.id().to_string())], "", &suspend).await.expect("suspends");
    let to_all = json!({ "type": "room_started", "project_id": c.id() }).to_string();
    assert_eq!(refused(t.send(&operator(), "events.trigger", &[], "", &to_all).await), Code::Suspended);
}
