//! Random programs. Their values come from small pools, so that keys clash, versions are outdated and ranges have rows.

use proptest::{collection::vec, option, prelude::*};
use serde_json::{Map, Value, json};

use crate::store::{
    Collection,
    schema::{
        API_KEYS, AUDIT, Field, FieldType, IDEMPOTENCY, JOBS, META, ORGANIZATIONS, PROJECTS, REVOCATIONS, USAGE_METRICS,
    },
    testing::sample::{far, past},
};

/// Collections whose documents a program writes.
pub(super) static WRITTEN: [&Collection; 8] =
    [&ORGANIZATIONS, &PROJECTS, &API_KEYS, &REVOCATIONS, &IDEMPOTENCY, &JOBS, &USAGE_METRICS, &META];

/// Indexes that a program lists. The due times of claimed jobs differ from engine to engine, so `due` is not among them.
pub(super) static LISTED: [(&Collection, &str); 15] = [
    (&META, "primary"),
    (&ORGANIZATIONS, "living_name"),
    (&ORGANIZATIONS, "label"),
    (&PROJECTS, "living_name"),
    (&PROJECTS, "org"),
    (&PROJECTS, "org_label"),
    (&API_KEYS, "public_id"),
    (&API_KEYS, "project_live"),
    (&REVOCATIONS, "subject"),
    (&JOBS, "target"),
    (&USAGE_METRICS, "project_type_time"),
    (&AUDIT, "log_seq"),
    (&AUDIT, "log_time"),
    (&AUDIT, "target"),
    (&AUDIT, "actor"),
];

/// Fields that are not unique have one of the first three, so that lists have several rows.
const TEXTS: [&str; 10] = ["a.b", "B", "é", "a", "$x", "", "🦀", "it's \"%_\\", "b", "A"];
const INTEGERS: [i64; 6] = [-1, 0, 1, 2, 10, i64::MAX];

/// One step.
#[derive(Clone, Debug)]
pub(super) enum Step {
    Commit { writes: Vec<Change>, check: bool, bump: bool },
    List(Listing),
    Find { picks: [u8; 4] },
    Claim { limit: usize },
    Sweep { seconds: i64 },
}

/// One write, before the version that it names is known.
#[derive(Clone, Debug)]
pub(super) enum Change {
    Insert { target: Target, content: Content },
    Replace { target: Target, content: Content, outdated: bool },
    Delete { target: Target, outdated: bool },
    Increment { target: Target, by: i64, min: Option<i64>, max: Option<i64> },
    Require { target: Target, expect: Expect },
    Append { log: u8, id: u8, content: Content },
}

/// What a requirement names.
#[derive(Clone, Copy, Debug)]
pub(super) enum Expect {
    AsItIs,
    Absent,
    Outdated,
}

/// Which document: the place to begin at, and whether it is meant exactly or the next one where the write would hold.
#[derive(Clone, Copy, Debug)]
pub(super) struct Target {
    pub(super) place: u8,
    pub(super) exact: bool,
}

/// What a document says: a choice for each declared field, and anything beside them.
#[derive(Clone, Debug)]
pub(super) struct Content {
    picks: Vec<u8>,
    extra: Value,
}

impl Content {
    /// The document for a collection, without what the engine adds to a record of a log.
    pub(super) fn document(&self, collection: &Collection) -> Value {
        let mut fields = Map::new();
        fields.insert("extra".to_owned(), self.extra.clone());
        for (field, pick) in collection.fields.iter().zip(self.picks.iter().cycle()) {
            if collection.log.is_some() && ["log", "seq", "prev", "hash"].contains(&field.name) {
                continue;
            }
            match pick % 5 {
                3 if !field.required => _ = fields.insert(field.name.to_owned(), Value::Null),
                4 if !field.required => {}
                _ => _ = fields.insert(field.name.to_owned(), self.value(field, *pick)),
            }
        }
        Value::Object(fields)
    }

    fn value(&self, field: &Field, pick: u8) -> Value {
        match field.kind {
            FieldType::TextList => (0..pick % 4).map(|step| pooled(field, pick / 4 + step)).collect(),
            FieldType::Object => json!({ "a.b": self.extra }),
            _ => pooled(field, pick),
        }
    }
}

/// A value that a field, or an element of its list, may have.
pub(super) fn pooled(field: &Field, pick: u8) -> Value {
    let number = i64::from(pick / 5 % 6);
    match field.kind {
        FieldType::Int if field.name == "seq" => number.into(),
        FieldType::Int => INTEGERS[usize::from(pick) % INTEGERS.len()].into(),
        FieldType::Bool => pick.is_multiple_of(2).into(),
        FieldType::Time if field.name == "expires_at" => far(number).into(),
        FieldType::Time if field.name == "due_at" && pick.is_multiple_of(2) => far(number).into(),
        FieldType::Time => past(number).into(),
        FieldType::Text | FieldType::TextList | FieldType::Object => {
            let unique = ["name", "living_name", "public_id", "subject"].contains(&field.name);
            let texts = if unique { &TEXTS[..] } else { &TEXTS[..3] };
            texts[usize::from(pick) % texts.len()].into()
        }
    }
}

/// A list: an index, how many fields the prefix fixes, and which entries of the index name the values.
#[derive(Clone, Debug)]
pub(super) struct Listing {
    pub(super) index: u8,
    pub(super) fixed: usize,
    pub(super) at: u8,
    pub(super) from: Option<u8>,
    pub(super) to: Option<u8>,
    pub(super) filter: Vec<(u8, u8)>,
    /// Whether one condition of the filter is enough.
    pub(super) any: bool,
    /// Whether ids are enough, where they can be had alone.
    pub(super) ids: bool,
    pub(super) descending: bool,
    pub(super) limit: usize,
}

/// Programs: some inserts and appends, one a batch, and up to 30 steps of any kind after them.
pub(super) fn programs() -> impl Strategy<Value = Vec<Step>> {
    let first = vec(additions(), 10..50).prop_map(|additions| {
        let alone = |change| Step::Commit { writes: vec![change], check: false, bump: false };
        additions.into_iter().map(alone).collect::<Vec<Step>>()
    });
    (first, vec(steps(), 5..30)).prop_map(|(first, then)| [first, then].concat())
}

fn steps() -> impl Strategy<Value = Step> {
    let commit = (vec(changes(), 0..6), prop::bool::weighted(0.15), prop::bool::weighted(0.2))
        .prop_map(|(writes, check, bump)| Step::Commit { writes, check, bump });
    prop_oneof![
        8 => commit,
        8 => listings().prop_map(Step::List),
        1 => any::<[u8; 4]>().prop_map(|picks| Step::Find { picks }),
        1 => (0usize..4).prop_map(|limit| Step::Claim { limit }),
        1 => (-1i64..7).prop_map(|seconds| Step::Sweep { seconds }),
    ]
}

fn additions() -> impl Strategy<Value = Change> {
    prop_oneof![
        6 => (targets(), contents()).prop_map(|(target, content)| Change::Insert { target, content }),
        2 => (any::<u8>(), any::<u8>(), contents()).prop_map(|(log, id, content)| Change::Append { log, id, content }),
    ]
}

fn changes() -> impl Strategy<Value = Change> {
    let outdated = || prop::bool::weighted(0.06);
    let expect = prop_oneof![18 => Just(Expect::AsItIs), 1 => Just(Expect::Absent), 1 => Just(Expect::Outdated)];
    let amount = prop_oneof![18 => -3i64..4, 1 => Just(i64::MAX), 1 => Just(i64::MIN)];
    prop_oneof![
        8 => additions(),
        4 => (targets(), contents(), outdated())
            .prop_map(|(target, content, outdated)| Change::Replace { target, content, outdated }),
        1 => (targets(), outdated()).prop_map(|(target, outdated)| Change::Delete { target, outdated }),
        2 => (targets(), amount, option::weighted(0.3, -3i64..1), option::weighted(0.3, 3i64..12))
            .prop_map(|(target, by, min, max)| Change::Increment { target, by, min, max }),
        1 => (targets(), expect).prop_map(|(target, expect)| Change::Require { target, expect }),
    ]
}

fn targets() -> impl Strategy<Value = Target> {
    (any::<u8>(), prop::bool::weighted(0.03)).prop_map(|(place, exact)| Target { place, exact })
}

fn contents() -> impl Strategy<Value = Content> {
    (vec(any::<u8>(), 9), values()).prop_map(|(picks, extra)| Content { picks, extra })
}

fn listings() -> impl Strategy<Value = Listing> {
    let bound = || option::weighted(0.3, any::<u8>());
    let place = (any::<u8>(), 0usize..4, any::<u8>(), bound(), bound());
    (place, vec(any::<(u8, u8)>(), 0..3), any::<[bool; 3]>(), 1usize..5).prop_map(
        |((index, fixed, at, from, to), filter, [any, ids, descending], limit)| Listing {
            index,
            fixed,
            at,
            from,
            to,
            filter,
            any,
            ids,
            descending,
            limit,
        },
    )
}

/// Any JSON but floats, which records of a chain do not have.
fn values() -> impl Strategy<Value = Value> {
    let text = || {
        prop_oneof![
            prop::sample::select(&TEXTS[..]).prop_map(str::to_owned),
            vec(any::<char>(), 0..8).prop_map(String::from_iter),
        ]
    };
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        text().prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 12, 4, move |inner| {
        let name = text().prop_filter("BSON has no such names", |name| !name.contains('\0'));
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            vec((name, inner), 0..4).prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}
