//! Bodies that nobody wrote.

use proptest::{prelude::*, sample::Index};

use super::*;
use crate::media::recorded;

/// Names that mean something, so that random values come into every place.
const NAMES: [&str; 30] = [
    "event",
    "id",
    "createdAt",
    "created_at",
    "room",
    "participant",
    "track",
    "egressInfo",
    "ingressInfo",
    "job",
    "sid",
    "name",
    "metadata",
    "identity",
    "kind",
    "state",
    "status",
    "attributes",
    "permission",
    "joinedAtMs",
    "startedAt",
    "fileResults",
    "segmentResults",
    "streamResults",
    "url",
    "size",
    "duration",
    "egress",
    "media",
    "egressId",
];

/// Any JSON of moderate size, written as text, so that numbers and escapes that `serde_json` would not write are in it.
fn json_text() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        any::<bool>().prop_map(|value| value.to_string()),
        any::<i64>().prop_map(|value| value.to_string()),
        any::<u64>().prop_map(|value| format!("\"{value}\"")),
        any::<f64>()
            .prop_filter("JSON has finite numbers", |value| value.is_finite())
            .prop_map(|value| format!("{value:e}")),
        any::<String>().prop_map(|text| serde_json::to_string(&text).unwrap()),
        Just("\"\\ud800\"".to_owned()),
        Just("1e999".to_owned()),
    ];
    leaf.prop_recursive(5, 64, 8, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..8).prop_map(|elements| format!("[{}]", elements.join(","))),
            prop::collection::vec((name(), inner), 0..8).prop_map(|fields| object(&fields)),
        ]
    })
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof![4 => prop::sample::select(&NAMES[..]).prop_map(str::to_owned), 1 => any::<String>()]
}

fn object(fields: &[(String, String)]) -> String {
    let fields: Vec<_> =
        fields.iter().map(|(name, value)| format!("{}:{value}", serde_json::to_string(name).unwrap())).collect();
    format!("{{{}}}", fields.join(","))
}

/// Writes JSON with the names of every object in another order.
fn shuffled(value: &Value, order: &mut impl FnMut(usize) -> usize) -> String {
    match value {
        Value::Object(fields) => {
            let mut fields: Vec<_> =
                fields.iter().map(|(name, value)| (name.clone(), shuffled(value, order))).collect();
            for at in (1..fields.len()).rev() {
                fields.swap(at, order(at + 1));
            }
            object(&fields)
        }
        Value::Array(elements) => {
            let elements: Vec<_> = elements.iter().map(|element| shuffled(element, order)).collect();
            format!("[{}]", elements.join(","))
        }
        scalar => scalar.to_string(),
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_are_read_without_panic(body in prop::collection::vec(any::<u8>(), 0..600)) {
        let _ = LiveKitEvent::parse(&body);
    }

    #[test]
    fn arbitrary_json_is_read_without_panic(body in json_text()) {
        let _ = LiveKitEvent::parse(body.as_bytes());
    }

    #[test]
    fn an_event_with_a_readable_envelope_is_kept_whatever_stands_beside_it(
        parts in prop::collection::vec((name(), json_text()), 0..8),
        kind in prop::sample::select(vec!["room_started", "participant_left", "egress_ended", "ingress_ended", "brand_new"]),
        at in any::<Index>(),
    ) {
        let envelope = ["event", "id", "createdAt", "created_at"];
        let mut fields: Vec<_> = parts.into_iter().filter(|(name, _)| !envelope.contains(&name.as_str())).collect();
        let at = at.index(fields.len() + 1);
        fields.splice(at..at, [("event", format!("\"{kind}\"")), ("id", "\"EV_1\"".to_owned()), ("createdAt", "7".to_owned())]
            .map(|(name, value)| (name.to_owned(), value)));
        let mut event = LiveKitEvent::parse(object(&fields).as_bytes()).unwrap();
        prop_assert_eq!((event.kind.livekit_name(), event.source_id.as_str()), (kind, "EV_1"));
        let shown = serde_json::to_string(&event.data).unwrap();
        prop_assert_eq!(&serde_json::from_str::<EventData>(&shown).unwrap(), &event.data);
        event.rename_rooms("standup");
        let _ = event.recordings();
    }

    #[test]
    fn a_recorded_body_with_any_byte_changed_is_read_without_panic(number in 1..=51_usize, at in any::<Index>(), byte in any::<u8>()) {
        let mut body = recorded::nth(number).body.into_bytes();
        let at = at.index(body.len());
        body[at] = byte;
        let _ = LiveKitEvent::parse(&body);
    }

    #[test]
    fn the_order_of_names_does_not_matter(number in 1..=51_usize, seeds in prop::collection::vec(any::<Index>(), 1..64)) {
        let body = recorded::nth(number).body;
        let mut seeds = seeds.iter().cycle();
        let mut order = |bound: usize| seeds.next().map_or(0, |seed| seed.index(bound));
        let other = shuffled(&serde_json::from_str(&body).unwrap(), &mut order);
        prop_assert_eq!(LiveKitEvent::parse(body.as_bytes()), LiveKitEvent::parse(other.as_bytes()));
    }
}
