//! Lanes: events of one room are planned one after the other. A lane remembers the sessions that it planned last, so that
//! an event of a room that goes on reads nothing.

use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
};

use tokio::sync::{Mutex, MutexGuard};

use super::Arrival;
use crate::model::session::Session;

/// How many there are: rooms that share one wait for each other, and for nothing else.
const LANES: usize = 1_024;
/// How many sessions a lane remembers.
const REMEMBERED: usize = 64;

/// All lanes.
pub(super) struct Lanes {
    lanes: Vec<Mutex<Lane>>,
    hasher: RandomState,
}

/// One lane: sessions as they were committed last, by LiveKit's sid.
#[derive(Default)]
pub(super) struct Lane(HashMap<(String, String), Session>);

impl Default for Lanes {
    fn default() -> Self {
        Self { lanes: std::iter::repeat_with(Mutex::default).take(LANES).collect(), hasher: RandomState::new() }
    }
}

impl Lanes {
    /// Waits until it is this event's turn.
    pub(super) async fn enter(&self, arrival: &Arrival) -> MutexGuard<'_, Lane> {
        let hash = self.hasher.hash_one((&arrival.cluster, arrival.lane()));
        let place = usize::try_from(hash % LANES as u64).unwrap_or_default();
        self.lanes[place].lock().await
    }
}

impl Lane {
    /// The session, if it is remembered.
    pub(super) fn session(&self, cluster: &str, sid: &str) -> Option<Session> {
        self.0.get(&(cluster.to_owned(), sid.to_owned())).cloned()
    }

    /// Remembers a session as it is in the store now.
    pub(super) fn keep(&mut self, session: Option<Session>) {
        let Some(session) = session else { return };
        if self.0.len() >= REMEMBERED {
            self.0.clear();
        }
        self.0.insert((session.cluster.clone(), session.livekit_sid.clone()), session);
    }

    /// Remembers nothing: something was not as it is remembered.
    pub(super) fn forget(&mut self) {
        self.0.clear();
    }
}
