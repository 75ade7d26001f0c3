//! What verification leaves for the worker to record: last uses of keys, and digests that are to be made anew.

use std::{collections::HashMap, hash::Hash};

use parking_lot::Mutex;

use crate::{
    access::pepper::Digest,
    id::{KeyId, ProjectId},
    model::key_use::KeyUse,
};

/// Whose digest was made under the previous pepper.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outdated {
    /// The operator's token's.
    Operator,
    /// A key's.
    Key(ProjectId, KeyId),
}

/// One entry each, the newest; what could not be recorded is put back.
#[derive(Debug)]
pub struct Noted<K, V>(Mutex<HashMap<K, V>>);

/// Uses of keys that have not been recorded yet.
pub type Uses = Noted<KeyId, KeyUse>;
/// Digests under the current pepper for what was used with the previous one.
pub type Rehashed = Noted<Outdated, Digest>;

impl<K, V> Default for Noted<K, V> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Eq + Hash, V: Clone> Noted<K, V> {
    /// Notes the newest of `key`.
    pub fn note(&self, key: K, value: V) {
        self.0.lock().insert(key, value);
    }

    /// What is noted of `key`.
    pub fn get(&self, key: &K) -> Option<V> {
        self.0.lock().get(key).cloned()
    }

    /// Takes everything out.
    pub fn take(&self) -> Vec<(K, V)> {
        std::mem::take(&mut *self.0.lock()).into_iter().collect()
    }

    /// Brings back what could not be recorded, unless something newer has been noted since.
    pub fn put_back(&self, rest: impl IntoIterator<Item = (K, V)>) {
        let mut noted = self.0.lock();
        for (key, value) in rest {
            noted.entry(key).or_insert(value);
        }
    }
}
