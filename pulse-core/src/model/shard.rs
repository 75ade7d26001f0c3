//! Shards of endpoints: which daemon sends to which of them, where several daemons share a store.

use serde::{Deserialize, Serialize};

use crate::{id::EndpointId, time::Timestamp};

/// How many there are. Fixed: an endpoint's shard must be the same for every daemon.
pub const SHARDS: usize = 64;

/// The shard of an endpoint: the last six bits of its id, which are random.
pub fn shard_of(endpoint: EndpointId) -> usize {
    usize::try_from(endpoint.bits() % SHARDS as u128).unwrap_or_default()
}

/// Who has a shard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shard {
    /// Which, from 0.
    pub number: usize,
    /// The process that took it last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holder: Option<String>,
    /// How often it was taken: one more each time.
    pub generation: i64,
    /// When it is anybody's again, by the store's clock.
    pub due_at: Timestamp,
    /// Grows by one with each change.
    #[serde(skip)]
    pub version: u64,
}

/// A daemon that shares the store with others. It counts, so that the others can see by their own clocks that it lives.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// The process.
    pub process: String,
    /// One more with each beat.
    pub beats: u64,
    /// Grows by one with each change.
    #[serde(skip)]
    pub version: u64,
}
