//! Bodies that nobody wrote: made of nothing, of pieces that mean something, and of recorded ones that were damaged.

use std::sync::LazyLock;

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

/// The recorded bodies, read once.
static RECORDED: LazyLock<Vec<String>> =
    LazyLock::new(|| recorded::recorded().into_iter().map(|recorded| recorded.body).collect());

/// The recorded body of that number, from 1.
fn recorded_body(number: usize) -> &'static str {
    &RECORDED[number - 1]
}

/// Some damage to a body.
#[derive(Clone, Debug)]
enum Damage {
    /// A bit is another one.
    Flip(Index, u8),
    /// So many bytes are gone.
    Cut(Index, usize),
    /// So many bytes of another recorded body stand in between.
    Splice { from: usize, at: Index, length: usize, to: Index },
    /// It ends here.
    End(Index),
}

fn damage() -> impl Strategy<Value = Damage> {
    prop_oneof![
        (any::<Index>(), 0..8_u8).prop_map(|(at, bit)| Damage::Flip(at, bit)),
        (any::<Index>(), 1..40_usize).prop_map(|(at, length)| Damage::Cut(at, length)),
        (1..=51_usize, any::<Index>(), 1..200_usize, any::<Index>())
            .prop_map(|(from, at, length, to)| Damage::Splice { from, at, length, to }),
        any::<Index>().prop_map(Damage::End),
    ]
}

impl Damage {
    fn to(&self, bytes: &mut Vec<u8>) {
        let place = |at: &Index, bytes: &[u8]| at.index(bytes.len() + 1);
        match self {
            Self::Flip(..) | Self::Cut(..) if bytes.is_empty() => {}
            Self::Flip(at, bit) => {
                let at = at.index(bytes.len());
                bytes[at] ^= 1 << bit;
            }
            Self::Cut(at, length) => {
                let at = at.index(bytes.len());
                bytes.drain(at..bytes.len().min(at + length));
            }
            Self::Splice { from, at, length, to } => {
                let other = recorded_body(*from).as_bytes();
                let (at, to) = (place(at, other), place(to, bytes));
                bytes.splice(to..to, other[at..other.len().min(at + length)].iter().copied());
            }
            Self::End(at) => bytes.truncate(place(at, bytes)),
        }
    }
}

/// All values in a value, itself first.
fn values(value: &Value) -> Vec<&Value> {
    let inner: Vec<&Value> = match value {
        Value::Object(fields) => fields.values().collect(),
        Value::Array(elements) => elements.iter().collect(),
        _ => Vec::new(),
    };
    std::iter::once(value).chain(inner.into_iter().flat_map(values)).collect()
}

/// Puts a value in the place of the `nth` of all values in another, which is the first.
fn graft(into: &mut Value, nth: &mut usize, value: &Value) {
    if *nth == 0 {
        *into = value.clone();
    }
    // Wraps where it is done, and is not zero again.
    *nth = nth.wrapping_sub(1);
    match into {
        Value::Object(fields) => fields.values_mut().for_each(|inner| graft(inner, nth, value)),
        Value::Array(elements) => elements.iter_mut().for_each(|inner| graft(inner, nth, value)),
        _ => {}
    }
}

/// Does with a body what is done with it when it is an event; whether it is one.
fn go_through(body: &[u8]) -> bool {
    let Ok(mut event) = LiveKitEvent::parse(body) else { return false };
    let shown = serde_json::to_string(&event.data).unwrap();
    assert_eq!(serde_json::from_str::<EventData>(&shown).unwrap(), event.data);
    event.rename_rooms("standup");
    let _ = event.recordings();
    true
}

proptest! {
    #[test]
    fn a_damaged_recorded_body_is_read_without_panic(
        number in 1..=51_usize,
        damages in prop::collection::vec(damage(), 1..6),
    ) {
        let mut body = recorded_body(number).as_bytes().to_vec();
        damages.iter().for_each(|damage| damage.to(&mut body));
        go_through(&body);
    }

    #[test]
    fn a_recorded_body_with_values_of_others_in_its_places_is_read_without_panic(
        number in 1..=51_usize,
        grafts in prop::collection::vec((1..=51_usize, any::<Index>(), any::<Index>()), 1..6),
    ) {
        let mut body: Value = serde_json::from_str(recorded_body(number)).unwrap();
        let envelope = ["event", "id", "createdAt"].map(|name| (name.to_owned(), body[name].clone()));
        for (from, which, at) in grafts {
            let other = serde_json::from_str(recorded_body(from)).unwrap();
            let (all, places) = (values(&other), values(&body).len());
            let value = all[which.index(all.len())].clone();
            // Not in the place of the whole.
            graft(&mut body, &mut (1 + at.index(places - 1)), &value);
        }
        body.as_object_mut().unwrap().extend(envelope);
        prop_assert!(go_through(body.to_string().as_bytes()), "an event with a readable envelope is kept: {body}");
    }

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
        let body = object(&fields);
        let event = LiveKitEvent::parse(body.as_bytes()).unwrap();
        prop_assert_eq!((event.kind.livekit_name(), event.source_id.as_str()), (kind, "EV_1"));
        go_through(body.as_bytes());
    }

    #[test]
    fn a_recorded_body_with_any_byte_changed_is_read_without_panic(number in 1..=51_usize, at in any::<Index>(), byte in any::<u8>()) {
        let mut body = recorded_body(number).as_bytes().to_vec();
        let at = at.index(body.len());
        body[at] = byte;
        let _ = LiveKitEvent::parse(&body);
    }

    #[test]
    fn the_order_of_names_does_not_matter(number in 1..=51_usize, seeds in prop::collection::vec(any::<Index>(), 1..64)) {
        let body = recorded_body(number);
        let mut seeds = seeds.iter().cycle();
        let mut order = |bound: usize| seeds.next().map_or(0, |seed| seed.index(bound));
        let other = shuffled(&serde_json::from_str(body).unwrap(), &mut order);
        prop_assert_eq!(LiveKitEvent::parse(body.as_bytes()), LiveKitEvent::parse(other.as_bytes()));
    }
}
