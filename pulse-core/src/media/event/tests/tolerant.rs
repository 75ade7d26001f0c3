//! All ways in which protobuf's JSON may say the same.

use livekit_protocol as wire;

use super::*;
use crate::{
    media::{
        event::scalar::{Named, Word},
        recorded,
    },
    model::event_data::{
        DisconnectReason, EgressStatus, IngressKind, IngressStatus, ParticipantKind, ParticipantState, RoomEndReason,
        StreamStatus, TrackEncryption, TrackKind, TrackSource,
    },
};

/// Rewrites every object but attributes, whose names are the customers'.
fn rewrite(value: &Value, field: &dyn Fn(&str, &Value) -> (String, Value)) -> Value {
    match value {
        Value::Object(fields) => {
            let fields = fields.iter().map(|(name, value)| match name.as_str() {
                "attributes" => (name.clone(), value.clone()),
                _ => {
                    let (name, value) = field(name, value);
                    (name, rewrite(&value, field))
                }
            });
            Value::Object(fields.collect())
        }
        Value::Array(elements) => elements.iter().map(|element| rewrite(element, field)).collect(),
        scalar => scalar.clone(),
    }
}

fn same_when_rewritten(field: &dyn Fn(&str, &Value) -> (String, Value)) {
    let mut changed = 0;
    for webhook in recorded::recorded() {
        let before: Value = serde_json::from_str(&webhook.body).unwrap();
        let after = rewrite(&before, field);
        changed += usize::from(before != after);
        assert_eq!(parse(&before), parse(&after), "{}", webhook.name);
    }
    assert!(changed > 25, "only {changed} of the recorded webhooks were changed");
}

fn snake(name: &str) -> String {
    name.chars().flat_map(|c| if c.is_uppercase() { vec!['_', c.to_ascii_lowercase()] } else { vec![c] }).collect()
}

#[test]
fn names_of_fields_may_be_as_in_the_protocols_definition() {
    same_when_rewritten(&|name, value| (snake(name), value.clone()));
}

#[test]
fn numbers_may_be_numbers() {
    let number =
        |value: &Value| value.as_str().and_then(|text| text.parse::<i64>().ok()).map_or(value.clone(), Value::from);
    same_when_rewritten(&|name, value| {
        let text = matches!(name, "mid" | "rid" | "name" | "metadata");
        (name.to_owned(), if text { value.clone() } else { number(value) })
    });
}

#[test]
fn numbers_may_be_texts() {
    same_when_rewritten(&|name, value| {
        let text = value.as_i64().filter(|_| value.is_number()).map(|number| Value::from(number.to_string()));
        (name.to_owned(), text.unwrap_or_else(|| value.clone()))
    });
}

#[test]
fn whole_numbers_may_be_written_as_reals() {
    let at = |created_at: &str| {
        let body = format!(r#"{{"event":"room_started","id":"EV_1","createdAt":{created_at}}}"#);
        LiveKitEvent::parse(body.as_bytes()).map(|event| event.created_at.as_secs()).ok()
    };
    for same in ["1800000000", "\"1800000000\"", "1.8e9", "1800000000.0", "\"1.8e9\""] {
        assert_eq!(at(same), Some(1_800_000_000), "{same}");
    }
    for none in
        ["0", "-1", "1.5", "\"\"", "\"soon\"", "null", "true", "[]", "{}", "18446744073709551615", "1e30", "\"NaN\""]
    {
        assert_eq!(at(none), None, "{none}");
    }
    assert!(at("9223372036854775807").is_some());
}

#[test]
fn what_is_null_is_absent() {
    let full: Value = serde_json::from_str(&recorded::nth(15).body).unwrap();
    let with_null =
        event("egress_ended", json!({ "egressInfo": null, "room": null, "participant": null, "job": null }));
    assert_eq!(data(&parse(&with_null)), json!({}));
    let nulls = rewrite(&full, &|name, value| {
        (name.to_owned(), if name == "error" || name == "endedAt" { Value::Null } else { value.clone() })
    });
    assert_eq!(parse(&nulls).facts.egress.unwrap().ended_at_ns, None);
}

/// Whether all values of an enum are the same by name and by number, and which word each is.
fn words<T, W>(name_of: impl Fn(W) -> &'static str) -> Vec<(i32, String)>
where
    T: Word + PartialEq + std::fmt::Debug + serde::Serialize,
    W: TryFrom<i32>,
{
    let read = |json: Value| serde_json::from_value::<Named<T>>(json).unwrap().0;
    assert_eq!(read(json!("NEWER_THAN_THIS")), Some(T::UNKNOWN));
    assert_eq!(read(json!(9_999)), Some(T::UNKNOWN));
    assert_eq!(read(json!(-1)), Some(T::UNKNOWN));
    assert_eq!(read(json!(null)), None);
    let known = (0..100).filter_map(|number| {
        let name = name_of(W::try_from(number).ok()?);
        let value = read(json!(number)).unwrap();
        assert_eq!(read(json!(name)), Some(value), "{name}");
        let word = serde_json::to_value(value).unwrap();
        Some((number, word.as_str().unwrap().to_owned()))
    });
    known.collect()
}

#[test]
fn enums_are_the_same_by_name_and_by_number_and_each_value_has_a_word_of_its_own() {
    let all = [
        words::<RoomEndReason, wire::RoomEndReason>(|value| value.as_str_name()),
        words::<ParticipantKind, wire::participant_info::Kind>(|value| value.as_str_name()),
        words::<ParticipantState, wire::participant_info::State>(|value| value.as_str_name()),
        words::<DisconnectReason, wire::DisconnectReason>(|value| value.as_str_name()),
        words::<TrackKind, wire::TrackType>(|value| value.as_str_name()),
        words::<TrackSource, wire::TrackSource>(|value| value.as_str_name()),
        words::<TrackEncryption, wire::encryption::Type>(|value| value.as_str_name()),
        words::<EgressStatus, wire::EgressStatus>(|value| value.as_str_name()),
        words::<StreamStatus, wire::stream_info::Status>(|value| value.as_str_name()),
        words::<IngressKind, wire::IngressInput>(|value| value.as_str_name()),
        words::<IngressStatus, wire::ingress_state::Status>(|value| value.as_str_name()),
    ];
    for known in all {
        let words: std::collections::BTreeSet<_> = known.iter().map(|(_, word)| word).collect();
        assert!(known.len() > 2 && words.len() == known.len(), "{known:?}");
        let unknown = known.iter().filter(|(_, word)| word == "unknown");
        assert!(unknown.clone().all(|(number, _)| *number == 0), "{known:?} gives up a value that LiveKit has");
    }
}

#[test]
fn an_event_with_enums_as_numbers_is_the_same_event() {
    let by = |kind: Value, state: Value, reason: Value, source: Value| {
        parse(&event(
            "participant_left",
            json!({ "participant": {
                "sid": "PA_1", "identity": "ada", "kind": kind, "state": state, "disconnectReason": reason,
                "permission": { "canPublishSources": [source] },
            } }),
        ))
    };
    let names = by(json!("SIP"), json!("DISCONNECTED"), json!("USER_REJECTED"), json!("SCREEN_SHARE"));
    assert_eq!(names, by(json!(3), json!(3), json!(12), json!(3)));
    let participant = &data(&names)["participant"];
    assert_eq!((&participant["kind"], &participant["disconnect_reason"]), (&json!("sip"), &json!("user_rejected")));
    assert_eq!(participant["permission"]["can_publish_sources"], json!(["screen_share"]));
    let newer = by(json!("HOLOGRAM"), json!(77), json!("BORED"), json!(99));
    let participant = &data(&newer)["participant"];
    for field in ["kind", "state", "disconnect_reason"] {
        assert_eq!(participant[field], json!("unknown"), "{field}");
    }
}

#[test]
fn fields_that_are_new_change_nothing() {
    let new = json!({ "anything": [1, { "deep": [[[]]] }], "sid": "not the room's" });
    for webhook in recorded::recorded() {
        let before: Value = serde_json::from_str(&webhook.body).unwrap();
        let mut after = rewrite(&before, &|name, value| {
            let mut value = value.clone();
            if let Some(fields) = value.as_object_mut().filter(|_| name != "brandNew") {
                fields.insert("brandNew".to_owned(), new.clone());
            }
            (name.to_owned(), value)
        });
        after["brandNew"] = new.clone();
        assert_eq!(parse(&before), parse(&after), "{}", webhook.name);
    }
}

#[test]
fn servers_that_know_seconds_only_are_believed_to_the_second() {
    let old = parse(&event(
        "participant_joined",
        json!({
            "room": { "sid": "RM_1", "name": "a", "creationTime": "1700000000" },
            "participant": { "sid": "PA_1", "identity": "ada", "joinedAt": "1700000001" },
        }),
    ));
    assert_eq!(old.facts.room.created_at, Some(Timestamp::from_secs(1_700_000_000)));
    let participant = old.facts.participant.unwrap();
    assert_eq!(participant.joined_at, Some(Timestamp::from_secs(1_700_000_001)));
    assert_eq!(participant.kind, Some(ParticipantKind::Standard));
}
