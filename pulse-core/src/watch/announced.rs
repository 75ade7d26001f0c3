//! A store that tells whoever watches of the events that are committed through it.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::Value;

use super::Hub;
use crate::{
    error::{Error, Result},
    model::event::Event,
    repo::Document as _,
    store::{
        Batch, Claim, Collection, CommitMode, Outcome, Rows, Scan, SharedStore, Store, StoreInfo, Stored, Write, schema,
    },
    time::Timestamp,
};

/// The store, with its events told.
#[derive(Debug)]
pub(crate) struct Announced {
    store: SharedStore,
    hub: Arc<Hub>,
}

impl Announced {
    /// The same store; what is committed through it is told to the hub.
    pub(crate) fn over(store: SharedStore, hub: Arc<Hub>) -> SharedStore {
        Arc::new(Self { store, hub })
    }
}

/// The batch's new events, each with its place among the numbers that the commit allots.
fn events(batch: &Batch) -> Vec<(Stored, Option<usize>)> {
    let (mut found, mut appends) = (Vec::new(), 0);
    for write in &batch.writes {
        let (collection, id, doc, append) = match write {
            Write::Insert { collection, id, doc } => (collection, id, doc, None),
            Write::Append { collection, id, record, .. } => {
                appends += 1;
                (collection, id, record, Some(appends - 1))
            }
            _ => continue,
        };
        if collection.name == schema::EVENTS.name {
            found.push((Stored { id: id.clone(), version: 1, doc: doc.clone() }, append));
        }
    }
    found
}

#[async_trait]
impl Store for Announced {
    async fn get(&self, collection: &'static Collection, id: &str) -> Result<Option<Stored>> {
        self.store.get(collection, id).await
    }

    async fn find(
        &self,
        collection: &'static Collection,
        index: &'static str,
        key: &[Value],
    ) -> Result<Option<Stored>> {
        self.store.find(collection, index, key).await
    }

    async fn scan(&self, scan: Scan) -> Result<Rows> {
        self.store.scan(scan).await
    }

    async fn count(
        &self,
        collection: &'static Collection,
        index: &'static str,
        prefix: &[Value],
        cap: u64,
    ) -> Result<u64> {
        self.store.count(collection, index, prefix, cap).await
    }

    async fn commit(&self, batch: Batch, mode: CommitMode) -> Result<Outcome> {
        if mode == CommitMode::Check || !self.hub.is_watched() {
            return self.store.commit(batch, mode).await;
        }
        let events = events(&batch);
        if events.is_empty() {
            return self.store.commit(batch, mode).await;
        }
        let (store, hub) = (Arc::clone(&self.store), Arc::clone(&self.hub));
        // In a task of its own: a caller that does not wait to the end must not keep a committed event from being told.
        let committed = tokio::spawn(async move {
            let outcome = store.commit(batch, mode).await?;
            if let Outcome::Committed { seqs } = &outcome {
                for (stored, append) in events {
                    if let Ok(event) = Event::from_stored(stored) {
                        let seq = append.and_then(|place| seqs.get(place).copied());
                        hub.tell(&Event { seq, ..event });
                    }
                }
            }
            Ok(outcome)
        });
        committed.await.map_err(Error::internal)?
    }

    async fn claim(&self, claim: Claim, now: Timestamp) -> Result<Vec<Stored>> {
        self.store.claim(claim, now).await
    }

    async fn sweep(&self, now: Timestamp, limit: usize) -> Result<u64> {
        self.store.sweep(now, limit).await
    }

    async fn generation(&self) -> Result<u64> {
        self.store.generation().await
    }

    async fn prepare(&self) -> Result<()> {
        self.store.prepare().await
    }

    async fn ping(&self) -> Result<()> {
        self.store.ping().await
    }

    fn info(&self) -> StoreInfo {
        self.store.info()
    }
}
