//! The recorded webhooks of one real room's life, as they were sent or told again: of another project, at another time,
//! with other ids, signed with another key.

use std::{path::Path, time::Duration};

use bytes::Bytes;
use pulse_core::time::Timestamp;
use serde::Deserialize;
use serde_json::Value;

use super::webhook::{ApiKey, Webhook};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/livekit/webhooks");
/// The name that LiveKit had for the room.
const WIRE_ROOM: &str = "prj_00000000000000000000000000~standup";
/// Prefixes of the ids that a second telling must not share with the first.
const IDS: [&str; 7] = ["EV_", "PA_", "RM_", "TR_", "EG_", "IN_", "RT_"];
/// Characters that an id has at least after its prefix.
const ID_LENGTH: usize = 12;
/// The fields that are moments, with their units in a second.
const MOMENTS: [(&str, i64); 9] = [
    ("createdAt", 1),
    ("creationTime", 1),
    ("joinedAt", 1),
    ("creationTimeMs", 1_000),
    ("joinedAtMs", 1_000),
    ("unixMicro", 1_000_000),
    ("startedAt", 1_000_000_000),
    ("endedAt", 1_000_000_000),
    ("updatedAt", 1_000_000_000),
];

/// One of them.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// The file's name: the number in order of arrival, and the event.
    pub name: String,
    /// When it arrived.
    pub received_at: Timestamp,
    /// The headers as sent.
    pub headers: Vec<(String, String)>,
    /// The very bytes that were signed.
    pub body: String,
}

/// How the story is told again.
#[derive(Clone, Debug)]
pub struct Retelling {
    /// The room, as LiveKit is to have it: `<project id>~<room>`.
    pub wire_room: String,
    /// Seconds by which all times are moved: whole ones, so that each unit stays exact.
    pub later: i64,
    /// What every id of LiveKit's ends with, so that it is another one.
    pub suffix: String,
}

impl Retelling {
    /// The same story in another room, with other ids, its first event at about `start`.
    pub fn new(wire_room: &str, start: Timestamp, suffix: &str) -> Self {
        let first = Recorded::all().first().map_or(start, |first| first.received_at);
        let later = start.as_secs() - first.as_secs();
        Self { wire_room: wire_room.to_owned(), later, suffix: suffix.to_owned() }
    }
}

#[derive(Deserialize)]
struct File {
    received_at: f64,
    headers: serde_json::Map<String, Value>,
    body: String,
}

impl Recorded {
    /// All of them, in order of arrival.
    ///
    /// # Panics
    /// When the fixtures are not there.
    pub fn all() -> Vec<Self> {
        let entries = std::fs::read_dir(FOLDER).unwrap_or_else(|error| panic!("cannot read {FOLDER}: {error}"));
        let mut paths: Vec<_> = entries.map(|entry| entry.expect("an entry of the folder").path()).collect();
        paths.sort();
        paths.iter().map(|path| Self::read(path)).collect()
    }

    /// The key that signed them.
    pub fn key() -> ApiKey {
        ApiKey::new("APIpulsefixture", "pulse-fixture-secret-pulse-fixture-secret")
    }

    fn read(path: &Path) -> Self {
        let text = std::fs::read(path).unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()));
        let file: File = serde_json::from_slice(&text).expect("a recorded webhook");
        let header = |(name, value): (String, Value)| (name, value.as_str().unwrap_or_default().to_owned());
        Self {
            name: path.file_stem().and_then(|name| name.to_str()).unwrap_or_default().to_owned(),
            received_at: Timestamp::from_millis((file.received_at * 1e3) as i64),
            headers: file.headers.into_iter().map(header).collect(),
            body: file.body,
        }
    }

    /// A header, or an empty text.
    pub fn header(&self, name: &str) -> &str {
        let field = self.headers.iter().find(|(field, _)| field.eq_ignore_ascii_case(name));
        field.map_or("", |(_, value)| value)
    }

    /// When its token says that it was signed.
    ///
    /// # Panics
    /// When the token cannot be read.
    pub fn issued_at(&self) -> Timestamp {
        use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
        let claims = self.header("Authorization").split('.').nth(1).unwrap_or_default();
        let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).expect("base64")).expect("claims");
        Timestamp::from_secs(claims["iat"].as_i64().expect("a time of issue"))
    }

    /// The event as a sender would send it, told again.
    ///
    /// # Panics
    /// When the body is not LiveKit's.
    pub fn retold(&self, retelling: &Retelling) -> Webhook {
        let mut body = self.body.replace(WIRE_ROOM, &retelling.wire_room);
        body = suffix_ids(&body, &retelling.suffix);
        for (field, units) in MOMENTS {
            body = shift(&body, field, retelling.later * units);
        }
        let told: Value = serde_json::from_str(&body).expect("still JSON");
        let text = |pointer: &str| told.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
        let (id, event) = (text("/id").expect("an id"), text("/event").expect("an event"));
        let lane = ["/egressInfo/egressId", "/ingressInfo/ingressId", "/room/name"].into_iter().find_map(text);
        let lane = lane.expect("an event of an egress, an ingress or a room");
        Webhook { correlation: id.clone(), id, event, lane, body: Bytes::from(body) }
    }

    /// The whole story told again: each event, and how long after the first it came.
    pub fn story(retelling: &Retelling) -> Vec<(Duration, Webhook)> {
        let all = Self::all();
        let Some(first) = all.first().map(|first| first.received_at) else { return Vec::new() };
        all.iter().map(|recorded| (recorded.received_at.since(first), recorded.retold(retelling))).collect()
    }
}

/// Every id of LiveKit's, wherever it stands: as an identity and in a file's name, too.
fn suffix_ids(text: &str, suffix: &str) -> String {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut told = String::with_capacity(text.len() + 16 * suffix.len());
    let mut rest = text;
    while let Some(start) = rest.find(word) {
        let length = rest[start..].find(|c| !word(c)).unwrap_or(rest.len() - start);
        let (before, after) = rest.split_at(start + length);
        told.push_str(before);
        let name = &before[start..];
        if IDS.iter().any(|prefix| name.strip_prefix(prefix).is_some_and(|id| id.len() >= ID_LENGTH)) {
            told.push_str(suffix);
        }
        rest = after;
    }
    told.push_str(rest);
    told
}

/// Adds to every number, written as a string, that stands under this name.
fn shift(text: &str, field: &str, by: i64) -> String {
    let before = format!("\"{field}\":\"");
    let mut parts = text.split(&before);
    let mut told = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (number, rest) = part.split_once('"').expect("a string has an end");
        let number: i64 = number.parse().expect("a moment is a number");
        told.push_str(&format!("{before}{}\"{rest}", number + by));
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    fn retelling() -> Retelling {
        Retelling::new("prj_11111111111111111111111111~daily", Timestamp::from_secs(1_800_000_000), "2")
    }

    #[test]
    fn told_again_without_change_every_byte_is_the_recorded_one() {
        let same = Retelling { wire_room: WIRE_ROOM.to_owned(), later: 0, suffix: String::new() };
        for recorded in Recorded::all() {
            assert_eq!(recorded.retold(&same).body, recorded.body, "{}", recorded.name);
        }
    }

    #[test]
    fn nothing_of_the_first_telling_is_left_in_the_second() {
        let years = |text: &str| text.match_indices("179545").count();
        let mut ids = 0;
        for recorded in Recorded::all() {
            let told = recorded.retold(&retelling());
            let body = std::str::from_utf8(&told.body).expect("UTF-8");
            assert!(!body.contains("prj_0000"), "{}: {body}", recorded.name);
            assert!(years(&recorded.body) > 0, "{}", recorded.name);
            assert_eq!(years(body), 0, "{}: a time was not moved: {body}", recorded.name);
            let before: Value = serde_json::from_str(&recorded.body).expect("JSON");
            let mut identifiers = Vec::new();
            ids_in(&before, &mut identifiers);
            for id in &identifiers {
                assert_eq!(body.matches(id.as_str()).count(), body.matches(&format!("{id}2")).count(), "{id}");
            }
            ids += identifiers.len();
        }
        assert!(ids > 150, "only {ids} ids were looked at");
    }

    /// Ids that stand alone under names that are ids' names.
    fn ids_in(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(fields) => {
                for (name, value) in fields {
                    let named = ["sid", "id", "egressId", "ingressId", "roomId", "resourceId"].contains(&name.as_str());
                    match value.as_str() {
                        Some(id) if named => found.push(id.to_owned()),
                        _ => ids_in(value, found),
                    }
                }
            }
            Value::Array(items) => items.iter().for_each(|item| ids_in(item, found)),
            _ => {}
        }
    }

    #[test]
    fn times_keep_their_distance_in_every_unit() {
        let by = retelling().later;
        let all = Recorded::all();
        let ended = all.iter().find(|recorded| recorded.name == "015-egress_ended").expect("an egress");
        let (before, after): (Value, Value) = (
            serde_json::from_str(&ended.body).expect("JSON"),
            serde_json::from_slice(&ended.retold(&retelling()).body).expect("JSON"),
        );
        let number = |value: &Value, pointer: &str| {
            value.pointer(pointer).and_then(Value::as_str).and_then(|text| text.parse::<i64>().ok()).expect(pointer)
        };
        for (pointer, units) in [
            ("/createdAt", 1),
            ("/egressInfo/startedAt", 1_000_000_000),
            ("/egressInfo/endedAt", 1_000_000_000),
            ("/egressInfo/segmentResults/0/endedAt", 1_000_000_000),
            ("/egressInfo/segmentResults/0/duration", 0),
        ] {
            assert_eq!(number(&after, pointer), number(&before, pointer) + by * units, "{pointer}");
        }
    }

    #[test]
    fn the_story_keeps_its_order_its_lanes_and_its_pace() {
        let story = Recorded::story(&retelling());
        assert_eq!(story.len(), 51);
        assert!(story.is_sorted_by_key(|(offset, _)| *offset));
        assert_eq!((story[0].0, story[50].0.as_secs()), (Duration::ZERO, 85));
        let lanes: std::collections::HashSet<_> = story.iter().map(|(_, webhook)| webhook.lane.as_str()).collect();
        assert_eq!(lanes.len(), 1 + 5 + 1, "a room, five egresses, an ingress: {lanes:?}");
    }
}
