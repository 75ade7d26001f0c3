//! The places of documents while a batch is made: what stands where if all writes so far hold.

use super::program::{Change, Expect, Target, WRITTEN, pooled};
use crate::store::{
    Collection, Store, Write,
    memory::MemoryStore,
    schema::{API_KEYS, AUDIT, JOBS, USAGE_METRICS},
};

/// Ids in each collection.
pub(super) const IDS: usize = 6;

/// Every place that a program writes to, neighbours in different collections.
#[derive(Debug)]
pub(super) struct Places(Vec<Place>);

#[derive(Debug)]
struct Place {
    collection: &'static Collection,
    id: String,
    version: Option<u64>,
}

pub(super) fn id(number: usize) -> String {
    format!("id_{number}")
}

impl Places {
    /// The places as they are stored.
    pub(super) async fn of(model: &MemoryStore) -> Self {
        let mut places = Vec::new();
        for number in 0..IDS {
            for collection in WRITTEN {
                let id = id(number);
                let stored = model.get(collection, &id).await.unwrap_or_default();
                places.push(Place { collection, id, version: stored.map(|stored| stored.version) });
            }
        }
        Self(places)
    }

    /// The write that a change means here.
    pub(super) fn write(&mut self, change: &Change) -> Write {
        match change {
            Change::Insert { target, content } => {
                let place = self.place(*target, |place| place.version.is_none());
                place.version = Some(1);
                let (collection, id) = (place.collection, place.id.clone());
                Write::Insert { collection, id, doc: content.document(collection) }
            }
            Change::Replace { target, content, outdated } => {
                let place = self.taken(*target);
                let version = place.version.unwrap_or(1) + u64::from(*outdated);
                place.version = place.version.map(|version| version + 1);
                let (collection, id) = (place.collection, place.id.clone());
                Write::Replace { collection, id, version, doc: content.document(collection) }
            }
            Change::Delete { target, outdated } => {
                let place = self.taken(*target);
                let version = place.version.take().unwrap_or(1) + u64::from(*outdated);
                Write::Delete { collection: place.collection, id: place.id.clone(), version }
            }
            Change::Increment { target, by, min, max } => {
                let place = self.taken(*target);
                place.version = place.version.map(|version| version + 1);
                let (collection, id, field) = (place.collection, place.id.clone(), number_of(place.collection));
                Write::Increment { collection, id, field, by: *by, min: *min, max: *max }
            }
            Change::Require { target, expect } => {
                let place = self.place(*target, |_| true);
                let version = match expect {
                    Expect::AsItIs => place.version,
                    Expect::Absent => None,
                    Expect::Outdated => Some(place.version.unwrap_or(0) + 1),
                };
                Write::Require { collection: place.collection, id: place.id.clone(), version }
            }
            Change::Append { log, id: number, content } => {
                let log = AUDIT.field("log").map(|field| pooled(field, *log)).unwrap_or_default();
                let log = log.as_str().unwrap_or_default().to_owned();
                Write::Append {
                    collection: &AUDIT,
                    log,
                    id: id(usize::from(*number)),
                    record: content.document(&AUDIT),
                }
            }
        }
    }

    fn taken(&mut self, target: Target) -> &mut Place {
        self.place(target, |place| place.version.is_some())
    }

    /// The target itself, or the first place from there on that is as wanted.
    fn place(&mut self, target: Target, wanted: impl Fn(&Place) -> bool) -> &mut Place {
        let count = self.0.len();
        let start = usize::from(target.place) % count;
        let mut from_there = (start..start + count).map(|position| position % count);
        let found = from_there.find(|position| target.exact || wanted(&self.0[*position]));
        &mut self.0[found.unwrap_or(start)]
    }
}

/// A number of the collection's documents: a declared one where there is one.
fn number_of(collection: &Collection) -> &'static str {
    let declared = [(&API_KEYS, "live"), (&JOBS, "attempts"), (&USAGE_METRICS, "value")];
    declared.iter().find(|(of, _)| of.name == collection.name).map_or("n", |(_, field)| field)
}
