//! A store in memory that keeps every batch that was committed: what ingest writes for a story, to be written again into a
//! store that does nothing else.

use std::{collections::HashMap, sync::Arc, time::Duration};

use async_trait::async_trait;
use parking_lot::Mutex;
use pulse_core::{
    error::Result,
    store::{Batch, Claim, Collection, CommitMode, Outcome, Rows, Scan, Store, StoreInfo, Stored, memory::MemoryStore},
    time::Timestamp,
};
use pulse_tests::{
    livekit_sender::Story,
    plane::{START, TestPlane, operator},
};
use serde_json::{Value, json};

use super::Scale;

#[derive(Debug, Default)]
struct Recording {
    inner: MemoryStore,
    committed: Mutex<Vec<Batch>>,
}

#[async_trait]
impl Store for Recording {
    async fn get(&self, collection: &'static Collection, id: &str) -> Result<Option<Stored>> {
        self.inner.get(collection, id).await
    }
    async fn find(
        &self,
        collection: &'static Collection,
        index: &'static str,
        key: &[Value],
    ) -> Result<Option<Stored>> {
        self.inner.find(collection, index, key).await
    }
    async fn scan(&self, scan: Scan) -> Result<Rows> {
        self.inner.scan(scan).await
    }
    async fn count(
        &self,
        collection: &'static Collection,
        index: &'static str,
        prefix: &[Value],
        cap: u64,
    ) -> Result<u64> {
        self.inner.count(collection, index, prefix, cap).await
    }
    async fn commit(&self, batch: Batch, mode: CommitMode) -> Result<Outcome> {
        let outcome = self.inner.commit(batch.clone(), mode).await?;
        if mode == CommitMode::Apply && matches!(outcome, Outcome::Committed { .. }) {
            self.committed.lock().push(batch);
        }
        Ok(outcome)
    }
    async fn claim(&self, claim: Claim, now: Timestamp) -> Result<Vec<Stored>> {
        self.inner.claim(claim, now).await
    }
    async fn sweep(&self, now: Timestamp, limit: usize) -> Result<u64> {
        self.inner.sweep(now, limit).await
    }
    async fn generation(&self) -> Result<u64> {
        self.inner.generation().await
    }
    async fn prepare(&self) -> Result<()> {
        self.inner.prepare().await
    }
    async fn ping(&self) -> Result<()> {
        self.inner.ping().await
    }
    fn info(&self) -> StoreInfo {
        self.inner.info()
    }
}

/// What ingest commits for a story, in an order in which it can be committed again.
pub(super) struct Recorded {
    /// What was there before the first event.
    pub(super) before: Vec<Batch>,
    /// For each of the writers, its share: all of a room with one of them.
    pub(super) by_writer: Vec<Vec<Batch>>,
}

/// Lets the real ingest take in so many events of a crowd like the one that the daemon serves, whose endpoints are paused,
/// and keeps what it commits.
pub(super) async fn record(scale: &Scale, events: usize) -> Recorded {
    let store = Arc::new(Recording::default());
    let plane = TestPlane::over(Arc::clone(&store) as Arc<_>, 1).await.expect("a plane over an empty store");
    let mut rooms = Vec::new();
    for n in 0..scale.projects {
        let customer = plane.customer(&format!("crowd {n}")).await;
        let body = json!({ "project_id": customer.id(), "url": "http://127.0.0.1:9/" }).to_string();
        let made = plane.send(&operator(), "endpoints.create", &[], "", &body).await.expect("an endpoint");
        let id = made["id"].as_str().expect("an id").to_owned();
        let body = json!({ "project_id": customer.id() }).to_string();
        plane.send(&operator(), "endpoints.pause", &[("id", &id)], "", &body).await.expect("paused");
        rooms.extend((0..scale.rooms).map(|room| format!("{}~room {room}", customer.id())));
    }
    let before = std::mem::take(&mut *store.committed.lock());
    let place: HashMap<String, usize> = rooms.iter().cloned().zip(0..).collect();
    let mut by_writer = vec![Vec::new(); scale.senders];
    for webhook in Story::new(1, rooms, scale.participants, START, Duration::from_micros(100)).take(events) {
        plane.livekit_sends(&webhook.body).await.expect("taken in");
        let committed = std::mem::take(&mut *store.committed.lock());
        by_writer[place[&webhook.lane] % scale.senders].extend(committed);
    }
    Recorded { before, by_writer }
}
