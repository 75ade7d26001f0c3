//! Events that are unusual, oversized, or no events at all.

use super::*;
use crate::{
    id::ProjectId,
    model::event_data::{EgressKind, ParticipantKind},
};

fn reason(body: &[u8]) -> &'static str {
    LiveKitEvent::parse(body).expect_err("no event").reason
}

#[test]
fn only_a_body_without_its_envelope_is_no_event() {
    for garbage in [&b""[..], b"garbage", b"{", b"\xff\xfe", b"{}{}", b"{\"event\":\"room_started\""] {
        assert_eq!(reason(garbage), "is not JSON", "{}", garbage.escape_ascii());
    }
    for other in ["null", "[]", "1", "\"room_started\"", "[{\"event\":\"room_started\"}]"] {
        assert_eq!(reason(other.as_bytes()), "is not a JSON object", "{other}");
    }
    let without = |change: &dyn Fn(&mut Value)| {
        let mut body = event("room_started", json!({}));
        change(&mut body);
        reason(body.to_string().as_bytes())
    };
    for bad in [json!(null), json!(""), json!(7), json!("Room Started"), json!("room.started"), json!("a".repeat(65))] {
        let said = without(&|body| body["event"] = bad.clone());
        assert_eq!(said, "has no event of 1 to 64 characters of a-z, 0-9 and _", "{bad}");
    }
    for bad in [json!(null), json!(""), json!(7), json!("EV\n1"), json!("x".repeat(129)), json!(["EV_1"])] {
        assert_eq!(without(&|body| body["id"] = bad.clone()), "has no id of 1 to 128 bytes", "{bad}");
    }
    for bad in [json!(null), json!(0), json!("0"), json!("yesterday"), json!({})] {
        assert_eq!(without(&|body| body["createdAt"] = bad.clone()), "has no createdAt in seconds", "{bad}");
    }
    assert_eq!(parse(&event("room_started", json!({}))).data, EventData::default());
}

#[test]
fn a_value_of_the_wrong_type_costs_only_itself() {
    let odd = parse(&event(
        "participant_joined",
        json!({
            "room": { "sid": 7, "name": "a", "emptyTimeout": "soon", "maxParticipants": -3, "creationTimeMs": [1], "creationTime": "5" },
            "participant": {
                "sid": "PA_1", "identity": { "is": "ada" }, "kind": ["AGENT"], "joinedAtMs": true, "name": 3.5,
                "attributes": { "good": "yes", "bad": 1, "empty": "" }, "permission": "all", "state": "ACTIVE",
            },
            "track": "TR_1", "egressInfo": [{ "egressId": "EG_1" }], "ingressInfo": 1e99, "job": false,
        }),
    ));
    assert_eq!(
        data(&odd),
        json!({
            "room": {
                "name": "a", "empty_timeout_seconds": 0, "departure_timeout_seconds": 0, "max_participants": 0,
                "created_at": "1970-01-01T00:00:05.000Z", "num_participants": 0, "num_publishers": 0,
                "active_recording": false,
            },
            "participant": {
                "sid": "PA_1", "kind": "standard", "state": "active", "attributes": { "good": "yes", "empty": "" },
                "hidden": false, "is_publisher": false,
                "permission": {
                    "can_publish": false, "can_subscribe": false, "can_publish_data": false,
                    "can_update_own_metadata": false,
                },
            },
        })
    );
    let lists = parse(&event(
        "egress_ended",
        json!({ "egressInfo": { "egressId": "EG_1", "fileResults": [1, null, { "filename": "a" }, []], "segmentResults": {} } }),
    ));
    assert_eq!(data(&lists)["egress"]["files"], json!([{ "filename": "a" }]));
}

#[test]
fn json_that_no_value_can_hold_costs_all_but_the_envelope() {
    let envelope = r#""event":"room_started","id":"EV_1","createdAt":"1800000000""#;
    for odd in [
        r#""room":{"name":"a","metadata":"\ud800"}"#,
        r#""room":{"name":"a","maxParticipants":1e999}"#,
        r#""room":{"name":"a","name":"b"}"#,
        r#""room":{"name":"a"},"room":{"name":"b"}"#,
        r#""room":{"emptyTimeout":1,"empty_timeout":2}"#,
    ] {
        for body in [format!("{{{envelope},{odd}}}"), format!("{{{odd},{envelope}}}")] {
            let event = LiveKitEvent::parse(body.as_bytes()).unwrap_or_else(|error| panic!("{body}: {error}"));
            assert_eq!((event.source_id.as_str(), &event.kind), ("EV_1", &EventKind::RoomStarted));
            assert_eq!((event.data, event.facts), (EventData::default(), Facts::default()), "{body}");
        }
    }
    let twice = format!("{{{envelope},\"id\":\"EV_2\"}}");
    assert_eq!(reason(twice.as_bytes()), "is not JSON", "an event with two ids was taken for one of them");
    let skipped = format!("{{{envelope},\"room\":{{\"turnPassword\":\"\\ud800\",\"name\":\"a\"}},\"new\":1e999}}");
    assert_eq!(LiveKitEvent::parse(skipped.as_bytes()).unwrap().facts.room.wire_name.as_deref(), Some("a"));
}

#[test]
fn deep_and_large_bodies_are_read_without_harm() {
    let deep = format!(
        r#"{{"event":"room_started","id":"EV_1","createdAt":1,"new":{}1{}}}"#,
        "[".repeat(200_000),
        "]".repeat(200_000)
    );
    assert!(LiveKitEvent::parse(deep.as_bytes()).is_ok());
    let deep = deep.replace("\"new\"", "\"room\"");
    assert!(LiveKitEvent::parse(deep.as_bytes()).is_ok());
    let many: Vec<Value> =
        (0..1_000).map(|n| json!({ "filename": n.to_string(), "size": 1, "location": "l" })).collect();
    let large = parse(&event("egress_ended", json!({ "egressInfo": { "egressId": "EG_1", "fileResults": many } })));
    assert_eq!(large.recordings().len(), 64);
}

#[test]
fn what_is_too_long_is_left_out_where_a_part_would_be_another_and_cut_where_it_is_prose() {
    let participant = |identity: usize, name: usize, metadata: usize| {
        let event = parse(&event(
            "participant_joined",
            json!({ "participant": {
                "sid": "PA_1", "identity": "i".repeat(identity), "name": "é".repeat(name), "metadata": "m".repeat(metadata),
            } }),
        ));
        let participant = event.data.participant.unwrap();
        let length = |text: Option<String>| text.map(|text| text.len());
        (length(participant.identity), length(participant.name), length(participant.metadata))
    };
    assert_eq!(participant(256, 128, 65_536), (Some(256), Some(256), Some(65_536)));
    assert_eq!(participant(257, 129, 65_537), (None, Some(256), None));
    let cut = parse(&event(
        "participant_joined",
        json!({ "participant": { "sid": "PA_1", "name": format!("x{}", "é".repeat(200)) } }),
    ));
    assert_eq!(cut.data.participant.unwrap().name.unwrap().len(), 255, "a character was split");
    let error =
        parse(&event("egress_ended", json!({ "egressInfo": { "egressId": "EG_1", "error": "e".repeat(9_999) } })));
    assert_eq!(error.data.egress.unwrap().error.unwrap().len(), 2_048);
    let room = parse(&event("room_started", json!({ "room": { "sid": "RM_1", "name": "n".repeat(257) } })));
    assert_eq!((room.facts.room.wire_name, room.facts.room.sid.as_deref()), (None, Some("RM_1")));
}

#[test]
fn of_too_many_attributes_pulses_own_are_kept_first() {
    let of = |attributes: Value| {
        parse(&event("participant_joined", json!({ "participant": { "sid": "PA_1", "attributes": attributes } })))
            .facts
            .participant
            .unwrap()
            .attributes
    };
    let mut many: serde_json::Map<String, Value> = (0..200).map(|n| (format!("a{n:03}"), json!("v"))).collect();
    many.insert("pulse.jti".to_owned(), json!("01J.0"));
    let kept = of(Value::Object(many));
    assert_eq!(kept.len(), 64);
    assert_eq!(kept.get("pulse.jti").map(String::as_str), Some("01J.0"));
    assert!(kept.contains_key("a062") && !kept.contains_key("a063"), "{:?}", kept.keys());
    let large = of(json!({ "a": "x".repeat(60_000), "b": "x".repeat(60_000), "c": "small", "pulse.jti": "01J.0" }));
    assert_eq!(large.keys().collect::<Vec<_>>(), ["a", "c", "pulse.jti"], "what does not fit is left out whole");
    assert!(of(json!({ "big": "x".repeat(65_537) })).is_empty());
    assert_eq!(of(json!({ "": "", "b": "" })).len(), 2);
}

#[test]
fn pulses_own_attributes_are_for_pulse_alone() {
    let attributes = json!({ "seat": "7", "pulse.project_id": "prj_1", "pulse.jti": "01J.0", "pulsed": "mine" });
    let joined =
        parse(&event("participant_joined", json!({ "participant": { "sid": "PA_1", "attributes": attributes } })));
    let told = joined.data.participant.unwrap().attributes;
    assert_eq!(told.keys().collect::<Vec<_>>(), ["pulsed", "seat"]);
    assert_eq!(joined.facts.participant.unwrap().attributes.len(), 4, "by them a join is judged");
}

#[test]
fn of_new_kinds_customers_get_the_room_and_who_and_no_more() {
    let everything = json!({
        "room": { "sid": "RM_1", "name": "wire", "metadata": "m", "turnPassword": "tp", "creationTime": "5" },
        "participant": { "sid": "PA_1", "identity": "ada", "metadata": "m", "state": "ACTIVE" },
        "track": { "sid": "TR_1" }, "egressInfo": { "egressId": "EG_1", "roomName": "wire" },
        "ingressInfo": { "ingressId": "IN_1" }, "call": { "number": "+1" },
    });
    let new = parse(&event("sip_call_started", everything));
    assert_eq!(data(&new), json!({ "room": { "name": "wire" }, "participant": { "sid": "PA_1", "identity": "ada" } }));
    assert_eq!(new.kind.public_name(), "sip_call_started");
    assert_eq!(new.facts.egress.unwrap().id, "EG_1", "whose event it is may have to be told from the egress");
    let bare = parse(&event("sip_call_started", json!({ "room": { "sid": "RM_1" }, "participant": {} })));
    assert_eq!(data(&bare), json!({}));
}

#[test]
fn an_agents_job_has_its_room_inside() {
    let mut job = parse(&event(
        "agent_job_started",
        json!({ "job": {
            "id": "AJ_1", "room": { "sid": "RM_1", "name": "wire", "turnPassword": "tp", "creationTimeMs": "1700000000123" },
            "participant": { "sid": "PA_1", "identity": "ada", "kind": "AGENT" },
        } }),
    ));
    assert_eq!(
        job.facts.room,
        RoomFacts {
            wire_name: Some("wire".to_owned()),
            sid: Some("RM_1".to_owned()),
            created_at: Some(Timestamp::from_millis(1_700_000_000_123)),
        }
    );
    assert_eq!(job.facts.participant.as_ref().unwrap().kind, Some(ParticipantKind::Agent));
    job.rename_rooms("standup");
    assert_eq!(
        data(&job),
        json!({ "room": { "name": "standup" }, "participant": { "sid": "PA_1", "identity": "ada" } })
    );
}

#[test]
fn an_egress_is_of_the_kind_that_its_request_says() {
    let of = |request: Value| {
        let mut info = json!({ "egressId": "EG_1" });
        info.as_object_mut().unwrap().extend(request.as_object().unwrap().clone());
        parse(&event("egress_started", json!({ "egressInfo": info }))).facts.egress.unwrap().kind
    };
    let cases = [
        (json!({ "roomComposite": { "layout": "grid" } }), EgressKind::RoomComposite),
        (json!({ "room_composite": {} }), EgressKind::RoomComposite),
        (json!({ "web": { "url": "https://example.com" } }), EgressKind::Web),
        (json!({ "participant": { "identity": "ada" } }), EgressKind::Participant),
        (json!({ "trackComposite": {} }), EgressKind::TrackComposite),
        (json!({ "track": {} }), EgressKind::Track),
        (json!({ "egress": { "template": {} } }), EgressKind::RoomComposite),
        (json!({ "egress": { "web": {} } }), EgressKind::Web),
        (json!({ "egress": { "media": { "participantVideo": { "identity": "ada" } } } }), EgressKind::Participant),
        (json!({ "egress": { "media": { "videoTrackId": "TR_1" } } }), EgressKind::TrackComposite),
        (json!({ "replay": { "replayId": "r", "template": {} } }), EgressKind::RoomComposite),
        (json!({ "egress": {} }), EgressKind::Unknown),
        (json!({ "web": null, "track": "TR_1" }), EgressKind::Unknown),
        (json!({}), EgressKind::Unknown),
    ];
    for (request, kind) in cases {
        assert_eq!(of(request.clone()), kind, "{request}");
    }
    let mut web = parse(&event("egress_started", json!({ "egressInfo": { "egressId": "EG_1", "web": {} } })));
    web.rename_rooms("standup");
    assert_eq!((web.facts.room.wire_name, web.data.egress.unwrap().room_name), (None, None));
}

#[test]
fn explanations_name_rooms_as_the_customer_does() {
    let (own, other) = (ProjectId::from_bits(7 << 80), ProjectId::from_bits(8 << 80));
    let why = format!("room {own}~stand-up is gone, {other}~secret too");
    let said = json!({ "error": why, "details": why, "streamResults": [{ "error": why }] });
    let mut egress = json!({ "egressId": "EG_1", "roomName": format!("{own}~stand-up") });
    egress.as_object_mut().unwrap().extend(said.as_object().unwrap().clone());
    let state = json!({ "error": why });
    let ingress = json!({ "ingressId": "IN_1", "roomName": format!("{own}~stand-up"), "state": state });
    let mut event = parse(&event("egress_ended", json!({ "egressInfo": egress, "ingressInfo": ingress })));
    event.rename_rooms("stand-up");
    let shown = data(&event);
    let expected = json!("room stand-up is gone, <room> too");
    for place in ["/egress/error", "/egress/details", "/egress/streams/0/error", "/ingress/error"] {
        assert_eq!(shown.pointer(place), Some(&expected), "{place}");
    }
    assert!(!shown.to_string().contains("prj_"), "{shown}");
}

#[test]
fn urls_of_streams_show_no_passphrase() {
    let shown = |url: &str| {
        let info = json!({ "egressId": "EG_1", "streamResults": [{ "url": url }] });
        data(&parse(&event("egress_started", json!({ "egressInfo": info }))))["egress"]["streams"][0]["url"].clone()
    };
    for (url, expected) in [
        ("srt://srt.example.com:9000?streamid=a&passphrase=very-secret", "srt://srt.example.com:9000"),
        ("wss://user:pass@ws.example.com/in?token=very-secret#x", "wss://ws.example.com/in"),
        ("rtmp://a.example.com/live/{sec...123}", "rtmp://a.example.com/live/{sec...123}"),
        ("rtmp://a.example.com/live/u@home", "rtmp://a.example.com/live/u@home"),
        ("mux://{abc...xyz}", "mux://{abc...xyz}"),
    ] {
        assert_eq!(shown(url), json!(expected), "{url}");
    }
}

#[test]
fn nothing_is_available_of_an_egress_without_bytes_or_place_or_end() {
    let count = |kind: &str, result: Value| {
        let info = json!({ "egressId": "EG_1", "status": "EGRESS_FAILED", "fileResults": [result] });
        parse(&event(kind, json!({ "egressInfo": info }))).recordings().len()
    };
    assert_eq!(
        count("egress_ended", json!({ "filename": "a", "size": "1", "location": "l" })),
        1,
        "a failed one counts"
    );
    assert_eq!(count("egress_ended", json!({ "filename": "a", "location": "l" })), 0);
    assert_eq!(count("egress_ended", json!({ "filename": "a", "size": "1" })), 0);
    assert_eq!(count("egress_ended", json!({ "filename": "a", "size": "-1", "location": "l" })), 0);
    assert_eq!(
        count("egress_updated", json!({ "filename": "a", "size": "1", "location": "l" })),
        0,
        "it still records"
    );
}

#[test]
fn why_a_room_ended_is_told() {
    let ended = |reason: Value| {
        let body = event("room_finished", json!({ "room": { "sid": "RM_1", "name": "a" }, "roomEndReason": reason }));
        data(&parse(&body))["room"]["end_reason"].clone()
    };
    assert_eq!(ended(json!("ROOM_END_IDLE_TIMEOUT")), json!("idle_timeout"));
    assert_eq!(ended(json!(1)), json!("api_delete"));
    assert_eq!(ended(json!(null)), json!(null));
}
