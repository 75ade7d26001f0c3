//! Every type of event that customers get, with an example of each: for the documents, and for events that somebody makes
//! up. The examples are read through the types that events are made of, so that one that says what no event would say is a
//! failing test.

use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use crate::{
    deliver::dispatch::{DISABLED, EXHAUSTED, NoticeData},
    media::event::RECORDING_AVAILABLE,
    model::{
        event::{SCHEMA_VERSION, TEST_EVENT},
        event_data::EventData,
    },
    ops::endpoints::TestData,
    time::Timestamp,
};

/// A type of event.
#[derive(Debug)]
pub struct EventType {
    /// Its name.
    pub name: &'static str,
    /// When it comes.
    pub meaning: &'static str,
    /// An example of its `data`.
    data: &'static str,
}

/// All of them, in the order of a session.
pub static TYPES: [EventType; 16] = [
    EventType {
        name: "room_started",
        meaning: "A room was opened: a session begins.",
        data: r#"{"room": {"sid": "RM_Hv3Vq8nWxGzK", "name": "standup", "empty_timeout_seconds": 300,
            "departure_timeout_seconds": 20, "max_participants": 0, "created_at": "2026-01-31T12:00:00.000Z",
            "num_participants": 0, "num_publishers": 0, "active_recording": false}}"#,
    },
    EventType {
        name: "participant_joined",
        meaning: "A participant is in a room, its media connected. Egresses, ingresses and agents are participants too: \
                  `kind` tells.",
        data: r#"{"room": {"sid": "RM_Hv3Vq8nWxGzK", "name": "standup"}, "participant": {"sid": "PA_6dVq2fJxkq9N",
            "identity": "ada", "name": "Ada", "kind": "standard", "state": "active", "attributes": {"seat": "4"},
            "joined_at": "2026-01-31T12:00:01.250Z", "hidden": false, "is_publisher": false, "permission":
            {"can_publish": true, "can_subscribe": true, "can_publish_data": true, "can_update_own_metadata": false}}}"#,
    },
    EventType {
        name: "participant_left",
        meaning: "A participant that had joined left. The same identity that joins again has another `sid`.",
        data: r#"{"room": {"sid": "RM_Hv3Vq8nWxGzK", "name": "standup"}, "participant": {"sid": "PA_6dVq2fJxkq9N",
            "identity": "ada", "name": "Ada", "kind": "standard", "state": "disconnected",
            "joined_at": "2026-01-31T12:00:01.250Z", "disconnect_reason": "client_initiated"}}"#,
    },
    EventType {
        name: "participant_connection_aborted",
        meaning: "A participant went away before its media were connected. It had not joined, and no time is counted.",
        data: r#"{"room": {"sid": "RM_Hv3Vq8nWxGzK", "name": "standup"}, "participant": {"sid": "PA_xW3vQh7TbnLe",
            "identity": "bob", "kind": "standard", "state": "disconnected", "disconnect_reason": "join_failure"}}"#,
    },
    EventType {
        name: "track_published",
        meaning: "A participant publishes a track.",
        data: r#"{"room": {"sid": "RM_Hv3Vq8nWxGzK", "name": "standup"}, "participant": {"sid": "PA_6dVq2fJxkq9N",
            "identity": "ada"}, "track": {"sid": "TR_VCq7KdWmZx3fHt", "type": "video", "source": "camera",
            "mime_type": "video/vp8", "width": 1280, "height": 720, "muted": false, "simulcast": true,
            "encryption": "none"}}"#,
    },
    EventType {
        name: "track_unpublished",
        meaning: "A participant publishes a track no more.",
        data: r#"{"room": {"sid": "RM_Hv3Vq8nWxGzK", "name": "standup"}, "participant": {"sid": "PA_6dVq2fJxkq9N",
            "identity": "ada"}, "track": {"sid": "TR_VCq7KdWmZx3fHt", "type": "video", "source": "camera",
            "muted": false, "simulcast": true, "encryption": "none"}}"#,
    },
    EventType {
        name: "egress_started",
        meaning: "An egress was started. It may not record yet: its `status` tells.",
        data: r#"{"egress": {"livekit_id": "EG_NoQZRqdoacFL", "kind": "room_composite", "status": "starting",
            "room_sid": "RM_Hv3Vq8nWxGzK", "room_name": "standup"}}"#,
    },
    EventType {
        name: "egress_updated",
        meaning: "An egress changed: it records now, or a stream of it failed.",
        data: r#"{"egress": {"livekit_id": "EG_NoQZRqdoacFL", "kind": "room_composite", "status": "active",
            "room_sid": "RM_Hv3Vq8nWxGzK", "room_name": "standup", "started_at": "2026-01-31T12:00:05.100Z",
            "updated_at": "2026-01-31T12:00:06.200Z"}}"#,
    },
    EventType {
        name: "egress_ended",
        meaning: "An egress ended, well or not: `status` and `error` tell.",
        data: r#"{"egress": {"livekit_id": "EG_NoQZRqdoacFL", "kind": "room_composite", "status": "complete",
            "room_sid": "RM_Hv3Vq8nWxGzK", "room_name": "standup", "started_at": "2026-01-31T12:00:05.100Z",
            "ended_at": "2026-01-31T12:10:05.600Z", "updated_at": "2026-01-31T12:10:05.600Z", "files": [{
            "filename": "standup.mp4", "location": "https://media.example.com/rec/standup.mp4", "size": 73400320,
            "duration_seconds": 600.5, "started_at": "2026-01-31T12:00:05.100Z",
            "ended_at": "2026-01-31T12:10:05.600Z"}]}}"#,
    },
    EventType {
        name: RECORDING_AVAILABLE,
        meaning: "A recording is there: one event for each file and each playlist of an egress that ended.",
        data: r#"{"recording": {"livekit_egress_id": "EG_NoQZRqdoacFL", "kind": "file", "filename": "standup.mp4",
            "location": "https://media.example.com/rec/standup.mp4", "size": 73400320, "duration_seconds": 600.5,
            "started_at": "2026-01-31T12:00:05.100Z", "ended_at": "2026-01-31T12:10:05.600Z"}}"#,
    },
    EventType {
        name: "ingress_started",
        meaning: "An ingress publishes.",
        data: r#"{"ingress": {"livekit_id": "IN_g6RkDqWbXj2s", "name": "studio", "kind": "rtmp", "room_name": "standup",
            "participant_identity": "studio", "status": "publishing", "resource_id": "RS_mT8vQzP4hLwn",
            "started_at": "2026-01-31T12:02:00.000Z", "reusable": true, "video": {"mime_type": "video/h264",
            "width": 1920, "height": 1080, "framerate": 30.0}, "audio": {"mime_type": "audio/aac", "channels": 2,
            "sample_rate": 48000}}}"#,
    },
    EventType {
        name: "ingress_ended",
        meaning: "An ingress publishes no more.",
        data: r#"{"ingress": {"livekit_id": "IN_g6RkDqWbXj2s", "name": "studio", "kind": "rtmp", "room_name": "standup",
            "participant_identity": "studio", "status": "complete", "resource_id": "RS_mT8vQzP4hLwn",
            "started_at": "2026-01-31T12:02:00.000Z", "ended_at": "2026-01-31T12:09:30.000Z", "reusable": true}}"#,
    },
    EventType {
        name: "room_ended",
        meaning: "A room ended, and with it the session. LiveKit calls it `room_finished`.",
        data: r#"{"room": {"sid": "RM_Hv3Vq8nWxGzK", "name": "standup", "empty_timeout_seconds": 300,
            "departure_timeout_seconds": 20, "max_participants": 0, "created_at": "2026-01-31T12:00:00.000Z",
            "end_reason": "idle_timeout"}}"#,
    },
    EventType {
        name: DISABLED,
        meaning: "Pulse switched off an endpoint. The project's other endpoints are told; `reason` says why.",
        data: r#"{"endpoint": {"id": "ep_01K2Y7H5B1C2D3E4F5G6H7J8K9", "url": "https://app.example.com/hooks"},
            "reason": "it answered 410 Gone", "count": 1}"#,
    },
    EventType {
        name: EXHAUSTED,
        meaning: "Deliveries to an endpoint were given up. The project's other endpoints are told, at most once an hour: \
                  `count` says how many since.",
        data: r#"{"endpoint": {"id": "ep_01K2Y7H5B1C2D3E4F5G6H7J8K9", "url": "https://app.example.com/hooks"},
            "count": 12}"#,
    },
    EventType {
        name: TEST_EVENT,
        meaning: "Somebody tries an endpoint. Only that endpoint gets it, whatever its filter; `test` is true.",
        data: r#"{"endpoint": {"id": "ep_01K2Y7H5B1C2D3E4F5G6H7J8K9", "url": "https://app.example.com/hooks"}}"#,
    },
];

/// The moment at which the examples are told.
const TOLD_AT: &str = "2026-01-31T12:10:06.000Z";

impl EventType {
    /// An example of its `data`.
    pub fn data(&self) -> Value {
        serde_json::from_str(self.data).unwrap_or_default()
    }

    /// The same, as if it had happened just now.
    pub fn data_at(&self, now: Timestamp) -> Value {
        let told: Timestamp = TOLD_AT.parse().unwrap_or(now);
        let mut data = self.data();
        shift(&mut data, told, now);
        data
    }

    /// Whether Pulse tells of itself, and of no room.
    pub fn is_operational(&self) -> bool {
        [DISABLED, EXHAUSTED, TEST_EVENT].contains(&self.name)
    }

    /// What `data` comes to when it is read as this type's: without what such an event does not have.
    ///
    /// # Errors
    /// The path of what cannot be, and why.
    pub fn read(&self, data: &Value) -> Result<Value, (String, String)> {
        match self.name {
            TEST_EVENT => read_as::<TestData>(data),
            DISABLED | EXHAUSTED => read_as::<NoticeData>(data),
            _ => read_as::<EventData>(data),
        }
    }

    /// A whole event of this type, the `number`th of its session.
    pub fn example(&self, number: usize) -> Value {
        let in_a_room = !self.is_operational();
        let only_there = |value: &str| if in_a_room { json!(value) } else { Value::Null };
        json!({
            "sequence": if in_a_room { json!(number) } else { Value::Null },
            "id": "evt_01K2Y7J3M4N5P6Q7R8S9T0V1W2",
            "type": self.name,
            "schema_version": SCHEMA_VERSION,
            "created_at": TOLD_AT,
            "project_id": "prj_01K2Y7H0A1B2C3D4E5F6G7H8J9",
            "room": only_there("standup"),
            "session_id": only_there("ses_01K2Y7HZZA1B2C3D4E5F6G7H8J"),
            "synthetic": false,
            "test": self.name == TEST_EVENT,
            "data": self.data(),
        })
    }
}

fn read_as<T: DeserializeOwned + Serialize>(data: &Value) -> Result<Value, (String, String)> {
    let read: Result<T, _> = serde_path_to_error::deserialize(data);
    let read = read.map_err(|fault| (fault.path().to_string(), fault.inner().to_string()))?;
    serde_json::to_value(read).map_err(|fault| (String::new(), fault.to_string()))
}

/// Moves every moment in `data` as far as `told` is from `now`.
fn shift(data: &mut Value, told: Timestamp, now: Timestamp) {
    match data {
        Value::String(text) => {
            if let Ok(moment) = text.parse::<Timestamp>() {
                *text = now.minus(told.since(moment)).to_string();
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| shift(item, told, now)),
        Value::Object(fields) => fields.values_mut().for_each(|field| shift(field, told, now)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::{
        entropy::SeededEntropy,
        id::{EventId, ProjectId},
        media::event::EventKind,
        model::event::{Envelope, opening},
    };

    #[test]
    fn every_type_that_is_given_out_is_listed_once() {
        let listed: BTreeSet<String> = TYPES.iter().map(|kind| kind.name.to_owned()).collect();
        assert_eq!(listed.len(), TYPES.len());
        let own = [RECORDING_AVAILABLE, DISABLED, EXHAUSTED, TEST_EVENT].map(str::to_owned);
        let given: BTreeSet<String> =
            EventKind::known().map(|kind| kind.public_name().into_owned()).chain(own).collect();
        assert_eq!(listed, given);
    }

    #[test]
    fn every_example_has_the_fields_of_an_envelope() {
        let (now, entropy) = (Timestamp::from_millis(1_000), SeededEntropy::new(1));
        let envelope = Envelope {
            id: EventId::new(now, &entropy),
            kind: "room_started",
            schema_version: SCHEMA_VERSION,
            created_at: now,
            project_id: ProjectId::new(now, &entropy),
            room: None,
            session_id: None,
            synthetic: false,
            test: false,
            corrects: None,
            data: &(),
        };
        let sent = opening(None) + &envelope.stored().expect("JSON");
        let sent: Value = serde_json::from_str(&sent).expect("JSON");
        for kind in &TYPES {
            assert_eq!(
                kind.example(1).as_object().map(|event| event.keys().collect::<Vec<_>>()),
                sent.as_object().map(|sent| sent.keys().collect()),
                "{}",
                kind.name
            );
        }
    }

    #[test]
    fn every_example_is_what_an_event_of_the_type_says() {
        for kind in &TYPES {
            let read = kind.read(&kind.data()).unwrap_or_else(|fault| panic!("{}: {fault:?}", kind.name));
            assert_eq!(read, kind.data(), "{} shows what is not in such an event", kind.name);
        }
    }

    #[test]
    fn an_example_of_now_lies_as_long_ago_as_the_example_says() {
        let now: Timestamp = "2030-05-06T07:08:09.000Z".parse().expect("a moment");
        let joined = TYPES[1].data_at(now);
        assert_eq!(joined["participant"]["joined_at"], "2030-05-06T06:58:04.250Z");
        assert_eq!(joined["participant"]["identity"], "ada");
    }
}
