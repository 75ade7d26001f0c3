//! The recorded webhooks of one room's life.

use super::*;
use crate::media::recorded::{self, WIRE_ROOM};

const SECRETS: [&str; 7] = [
    "eYs88B4Lff4srbnYpi25EYoKajSEASuweqIxsMba2huD",
    "WA6LhFe5cGcB",
    "{access_key}",
    "{secret}",
    "rtmp://127.0.0.1:1935/x",
    "no-such-bucket",
    "us-east-1",
];

fn story() -> impl Iterator<Item = (String, LiveKitEvent)> {
    recorded::recorded().into_iter().map(|webhook| {
        let event =
            LiveKitEvent::parse(webhook.body.as_bytes()).unwrap_or_else(|error| panic!("{}: {error}", webhook.name));
        (webhook.name, event)
    })
}

fn nth(number: usize) -> LiveKitEvent {
    story().nth(number - 1).unwrap().1
}

#[test]
fn every_recorded_webhook_is_understood() {
    let mut ids = std::collections::BTreeSet::new();
    for (name, event) in story() {
        assert_eq!(event.kind.livekit_name(), name.split_once('-').unwrap().1);
        assert!(event.kind.is_known());
        assert!(event.source_id.starts_with("EV_") && ids.insert(event.source_id.clone()), "{name}");
        assert_eq!(event.facts.room.wire_name.as_deref(), Some(WIRE_ROOM), "{name}");
        assert_eq!(event.facts.room.sid.as_deref(), Some("RM_zfXtJiQwnRua"), "{name}");
        assert_eq!(event.created_at.as_millis() % 1_000, 0);
        let part = name.split(['-', '_']).nth(1).unwrap();
        assert!(data(&event).get(part).is_some(), "{name} has no {part}");
    }
    assert_eq!(ids.len(), 51);
}

#[test]
fn what_customers_read_fits_its_schema_and_reads_back() {
    let schema = serde_json::to_value(schemars::schema_for!(EventData)).unwrap();
    let schema = jsonschema::validator_for(&schema).unwrap();
    for (name, mut event) in story() {
        event.data.recording = event.recordings().pop();
        let data = data(&event);
        let faults: Vec<_> = schema.iter_errors(&data).map(|fault| fault.to_string()).collect();
        assert!(faults.is_empty(), "{name}: {faults:?}");
        assert_eq!(serde_json::from_value::<EventData>(data).unwrap(), event.data, "{name}");
    }
}

#[test]
fn secrets_of_livekit_are_in_nothing_that_is_kept() {
    for (name, event) in story() {
        let kept = format!("{event:?} {}", data(&event));
        for secret in SECRETS {
            assert!(!kept.contains(secret), "{name} keeps {secret}");
        }
        let words = kept.to_lowercase();
        for word in ["password", "streamkey", "stream_key", "accesskey", "filepath", "\"file\"", "\"stream\""] {
            assert!(!words.contains(word), "{name} keeps {word}");
        }
    }
}

#[test]
fn customers_read_their_own_name_of_the_room_and_nothing_else_is_renamed() {
    let mut locations = 0;
    for (name, mut event) in story() {
        let (before, facts) = (data(&event).to_string(), event.facts.clone());
        assert!(before.contains(WIRE_ROOM), "{name} names no room");
        event.rename_rooms("standup");
        let after = data(&event).to_string();
        assert!(!after.contains("prj_0000") && !after.contains('~'), "{name} shows LiveKit's name: {after}");
        assert_eq!(before.replace(WIRE_ROOM, "standup"), after, "{name} was changed elsewhere");
        assert_eq!(event.facts, facts);
        locations += after.matches("https://127.0.0.1:9000/rec/").count();
    }
    assert_eq!(locations, 9);
}

#[test]
fn objects_in_a_storage_keep_their_names_when_they_are_called_as_the_room_is() {
    let file = format!("rec/{WIRE_ROOM}.mp4");
    let location = format!("https://s3.example.com/rec/{file}");
    let mut event = parse(&event(
        "egress_ended",
        json!({ "egressInfo": {
            "egressId": "EG_1", "roomName": WIRE_ROOM, "error": format!("{WIRE_ROOM} is gone"),
            "fileResults": [{ "filename": file, "location": location, "size": "5" }],
        } }),
    ));
    event.rename_rooms("standup");
    let egress = event.data.egress.as_ref().unwrap();
    assert_eq!(egress.room_name.as_deref(), Some("standup"));
    assert_eq!(egress.files[0].filename.as_deref(), Some(file.as_str()));
    let recordings = event.recordings();
    assert_eq!(
        (recordings[0].filename.as_deref(), recordings[0].location.as_str()),
        (Some(file.as_str()), location.as_str())
    );
}

#[test]
fn three_recordings_become_available_in_the_story() {
    let recordings: Vec<_> = story().flat_map(|(_, event)| event.recordings()).collect();
    assert_eq!(
        serde_json::to_value(recordings).unwrap(),
        json!([
            {
                "livekit_egress_id": "EG_NoQZRqdoacFL", "kind": "segments",
                "playlist_name": "hls/index.m3u8", "live_playlist_name": "hls/live.m3u8",
                "location": "https://127.0.0.1:9000/rec/hls/index.m3u8",
                "live_location": "https://127.0.0.1:9000/rec/hls/live.m3u8",
                "size": 154_912, "duration_seconds": 10.799, "segment_count": 6,
                "started_at": "2026-11-23T18:40:54.772Z", "ended_at": "2026-11-23T18:41:05.571Z",
            },
            {
                "livekit_egress_id": "EG_q5dXPkncBQSV", "kind": "file", "filename": "rec/standup.mp4",
                "location": "https://127.0.0.1:9000/rec/rec/standup.mp4", "size": 55_875, "duration_seconds": 8.877,
                "started_at": "2026-11-23T18:41:07.366Z", "ended_at": "2026-11-23T18:41:16.243Z",
            },
            {
                "livekit_egress_id": "EG_wtatipXr2FVq", "kind": "file", "filename": "rec/mic.ogg",
                "location": "https://127.0.0.1:9000/rec/rec/mic.ogg", "size": 111_960, "duration_seconds": 6.843,
                "started_at": "2026-11-23T18:41:28.015Z", "ended_at": "2026-11-23T18:41:34.858Z",
            },
        ])
    );
}

#[test]
fn a_room_opens() {
    assert_eq!(
        data(&nth(1)),
        json!({ "room": {
            "sid": "RM_zfXtJiQwnRua", "name": WIRE_ROOM, "metadata": "weekly", "empty_timeout_seconds": 60,
            "departure_timeout_seconds": 20, "max_participants": 0, "created_at": "2026-11-23T18:40:46.603Z",
            "num_participants": 0, "num_publishers": 0, "active_recording": false,
        } })
    );
    assert_eq!(nth(51).data, nth(1).data, "the end of a room shows the room as its beginning does");
}

#[test]
fn a_participant_is_removed() {
    let event = nth(9);
    assert_eq!(
        data(&event)["participant"],
        json!({
            "sid": "PA_bUSXrxuGdgca", "identity": "bob", "name": "Bob", "kind": "standard", "state": "disconnected",
            "metadata": "{\"team\":\"blue\"}", "attributes": { "seat": "7" }, "joined_at": "2026-11-23T18:40:51.901Z",
            "hidden": false, "is_publisher": false, "disconnect_reason": "participant_removed",
            "permission": {
                "can_publish": true, "can_subscribe": true, "can_publish_data": true, "can_update_own_metadata": false,
            },
        })
    );
    assert_eq!(
        event.facts.participant,
        Some(ParticipantFacts {
            sid: "PA_bUSXrxuGdgca".to_owned(),
            identity: Some("bob".to_owned()),
            kind: Some(crate::model::event_data::ParticipantKind::Standard),
            joined_at: Some(Timestamp::from_millis(1_795_459_251_901)),
            attributes: [("seat".to_owned(), "7".to_owned())].into(),
            disconnect_reason: Some(crate::model::event_data::DisconnectReason::ParticipantRemoved),
        })
    );
}

#[test]
fn an_egress_joins_as_a_hidden_participant_of_its_own_kind() {
    let participant = &data(&nth(11))["participant"];
    assert_eq!((&participant["kind"], &participant["hidden"]), (&json!("egress"), &json!(true)));
    let room = &data(&nth(11))["room"];
    assert_eq!((&room["active_recording"], &room["num_participants"]), (&json!(true), &json!(2)));
}

#[test]
fn a_track_says_who_publishes_and_no_more_of_them() {
    let event = nth(43);
    assert_eq!(
        data(&event),
        json!({
            "room": { "sid": "RM_zfXtJiQwnRua", "name": WIRE_ROOM },
            "participant": { "sid": "PA_xmAyFJpVgXh6", "identity": "obs" },
            "track": {
                "sid": "TR_VCbzx3rhECzdGh", "type": "video", "source": "camera", "mime_type": "video/H264", "width": 320,
                "height": 240, "muted": false, "simulcast": true, "encryption": "none",
            },
        })
    );
    let participant = event.facts.participant.unwrap();
    assert_eq!(
        participant.kind, None,
        "an ingress was taken for a person, because LiveKit does not say here what it is"
    );
    assert_eq!(data(&nth(5))["track"]["type"], json!("audio"));
}

#[test]
fn an_egress_starts_and_ends() {
    assert_eq!(
        data(&nth(10)),
        json!({ "egress": {
            "livekit_id": "EG_NoQZRqdoacFL", "kind": "track_composite", "status": "starting",
            "room_sid": "RM_zfXtJiQwnRua", "room_name": WIRE_ROOM,
            "started_at": "2026-11-23T18:40:54.514Z", "updated_at": "2026-11-23T18:40:54.514Z",
            "segments": [{ "playlist_name": "hls/index.m3u8", "live_playlist_name": "hls/live.m3u8" }],
        } })
    );
    let event = nth(15);
    assert_eq!(
        data(&event),
        json!({ "egress": {
            "livekit_id": "EG_NoQZRqdoacFL", "kind": "track_composite", "status": "complete",
            "room_sid": "RM_zfXtJiQwnRua", "room_name": WIRE_ROOM, "started_at": "2026-11-23T18:40:54.546Z",
            "ended_at": "2026-11-23T18:41:05.751Z", "updated_at": "2026-11-23T18:41:05.751Z",
            "details": "End reason: StopEgress API",
            "manifest_location": "https://127.0.0.1:9000/rec/hls/EG_NoQZRqdoacFL.json",
            "segments": [{
                "playlist_name": "hls/index.m3u8", "live_playlist_name": "hls/live.m3u8",
                "playlist_location": "https://127.0.0.1:9000/rec/hls/index.m3u8",
                "live_playlist_location": "https://127.0.0.1:9000/rec/hls/live.m3u8",
                "segment_count": 6, "size": 154_912, "duration_seconds": 10.799,
                "started_at": "2026-11-23T18:40:54.772Z", "ended_at": "2026-11-23T18:41:05.571Z",
            }],
        } })
    );
    let egress = event.facts.egress.unwrap();
    assert_eq!(egress.started_at_ns, Some(1_795_459_254_546_504_940));
    assert_eq!(egress.ended_at_ns, Some(1_795_459_265_751_481_495));
    assert_eq!(egress.wire_room.as_deref(), Some(WIRE_ROOM));
    assert_eq!(nth(34).facts.egress.unwrap().kind, crate::model::event_data::EgressKind::Track);
}

#[test]
fn a_stream_that_fails_shows_why_and_hides_its_key() {
    let egress = &data(&nth(33))["egress"];
    assert_eq!((&egress["status"], &egress["error_code"]), (&json!("failed"), &json!(503)));
    assert_eq!(
        egress["streams"],
        json!([{
            "url": "rtmp://127.0.0.1:19999/live/{sec...123}", "status": "failed",
            "started_at": "2026-11-23T18:41:27.101Z", "ended_at": "2026-11-23T18:41:27.101Z",
            "error": "Connection refused: Could not connect to 127.0.0.1: Connection refused",
        }])
    );
}

#[test]
fn an_ingress_ends() {
    let event = nth(47);
    assert_eq!(
        data(&event),
        json!({ "ingress": {
            "livekit_id": "IN_zuAvYj7uNb8y", "name": "cam", "kind": "rtmp", "room_name": WIRE_ROOM,
            "room_sid": "RM_zfXtJiQwnRua", "participant_identity": "obs", "participant_name": "OBS",
            "status": "inactive", "resource_id": "RT_2CoiTY3cCcsd", "reusable": true,
            "started_at": "2026-11-23T18:41:36.120Z", "ended_at": "2026-11-23T18:41:49.291Z",
            "updated_at": "2026-11-23T18:41:49.291Z",
            "video": { "mime_type": "video/H264", "width": 320, "height": 240, "framerate": 15.0 },
            "audio": { "mime_type": "audio/aac", "channels": 1, "sample_rate": 44_100 },
        } })
    );
    let ingress = event.facts.ingress.unwrap();
    assert_eq!(ingress.started_at_ns, Some(1_795_459_296_120_421_614));
    assert_eq!(ingress.resource_id.as_deref(), Some("RT_2CoiTY3cCcsd"));
}
