//! What verification leaves for the worker to record: last uses of keys, and digests that are to be made anew.

use std::{collections::HashMap, hash::Hash};

use parking_lot::Mutex;
use tokio::sync::Notify;

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

/// How many entries wait until the worker is called before its time: about a megabyte of them.
const CROWD: usize = 10_000;

/// One entry each, the newest; what could not be recorded is put back.
#[derive(Debug)]
pub struct Noted<K, V> {
    entries: Mutex<HashMap<K, V>>,
    crowded: Notify,
}

/// Uses of keys that have not been recorded yet.
pub type Uses = Noted<KeyId, KeyUse>;
/// Digests under the current pepper for what was used with the previous one.
pub type Rehashed = Noted<Outdated, Digest>;

impl<K, V> Default for Noted<K, V> {
    fn default() -> Self {
        Self { entries: Mutex::default(), crowded: Notify::new() }
    }
}

impl<K: Eq + Hash, V: Clone> Noted<K, V> {
    /// Notes the newest of `key`.
    pub fn note(&self, key: K, value: V) {
        let mut entries = self.entries.lock();
        entries.insert(key, value);
        if entries.len() >= CROWD {
            self.crowded.notify_one();
        }
    }

    /// Waits until so many entries are there that they should be recorded now.
    pub async fn crowded(&self) {
        self.crowded.notified().await;
    }

    /// What is noted of `key`.
    pub fn get(&self, key: &K) -> Option<V> {
        self.entries.lock().get(key).cloned()
    }

    /// Takes everything out.
    pub fn take(&self) -> Vec<(K, V)> {
        std::mem::take(&mut *self.entries.lock()).into_iter().collect()
    }

    /// Brings back what could not be recorded, unless something newer has been noted since.
    pub fn put_back(&self, rest: impl IntoIterator<Item = (K, V)>) {
        let mut noted = self.entries.lock();
        for (key, value) in rest {
            noted.entry(key).or_insert(value);
        }
    }
}
