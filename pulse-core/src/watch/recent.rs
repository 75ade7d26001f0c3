//! Which events were told lately: what is looked at twice is told once.

use std::{collections::BTreeSet, time::Duration};

use crate::{id::EventId, time::Timestamp};

/// Ids of events, those of long ago forgotten.
#[derive(Clone, Debug, Default)]
pub struct Recent(BTreeSet<EventId>);

impl Recent {
    /// Takes an id; whether it is new.
    pub fn insert(&mut self, id: EventId) -> bool {
        self.0.insert(id)
    }

    /// Takes ids.
    pub fn extend(&mut self, ids: impl IntoIterator<Item = EventId>) {
        self.0.extend(ids);
    }

    /// Whether the id is among them.
    pub fn has(&self, id: EventId) -> bool {
        self.0.contains(&id)
    }

    /// Forgets those that were recorded more than `span` before `moment`.
    pub fn forget(&mut self, moment: Timestamp, span: Duration) {
        let least = EventId::lowest(moment.minus(span));
        if self.0.first().is_some_and(|first| *first < least) {
            self.0 = self.0.split_off(&least);
        }
    }

    /// Forgets the first ones when there are more than so many.
    pub fn bound(&mut self, most: usize) {
        while self.0.len() > most {
            self.0.pop_first();
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
