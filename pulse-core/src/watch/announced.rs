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
        Batch, Claim, Collection, CommitMode, Inserted, Insertions, Outcome, Rows, Scan, SharedStore, Store, StoreInfo,
        Stored, Write, schema,
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

/// The batch's new events that somebody watches, each with its place among the numbers that the commit allots.
fn events(batch: &Batch, hub: &Hub) -> Vec<(Stored, Option<usize>)> {
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
        if collection.name == schema::EVENTS.name && hub.watches(doc) {
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
        let events = events(&batch, &self.hub);
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

    async fn now(&self, own: Timestamp) -> Result<Timestamp> {
        self.store.now(own).await
    }

    async fn inserted(&self, wanted: &Inserted) -> Result<Option<Insertions>> {
        self.store.inserted(wanted).await
    }

    async fn sweep(&self, now: Timestamp, limit: usize) -> Result<u64> {
        self.store.sweep(now, limit).await
    }

    async fn tend(&self) -> Result<()> {
        self.store.tend().await
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        deliver::event_filter::EventTypeFilter,
        id::ProjectId,
        repo::events::Events,
        store::{memory::MemoryStore, testing::sample},
        time::{Clock, ManualClock},
        watch::WatchFilter,
    };

    #[tokio::test]
    async fn only_what_somebody_watches_is_copied_and_with_its_own_number() {
        let (hub, events): (_, Events) = (Hub::new(8), Events(Arc::new(MemoryStore::new())));
        let clock: Arc<dyn Clock> = Arc::new(ManualClock::new(Timestamp::from_secs(1_780_000_000)));
        let (watched, other) = (ProjectId::from_bits(1), ProjectId::from_bits(2));
        let mut batch = Batch::new();
        for (n, project) in [other, watched, other, watched].into_iter().enumerate() {
            let mut doc = sample::event(&n.to_string());
            doc["project_id"] = project.to_string().into();
            batch.append(&schema::EVENTS, "log", n, doc);
        }
        batch.insert(&schema::PROJECTS, "prj_1", sample::project("org_1", "one"));
        assert_eq!(self::events(&batch, &hub).len(), 0);
        let filter = WatchFilter {
            project_id: watched,
            types: EventTypeFilter::default(),
            room: None,
            session_id: None,
            from: None,
        };
        let watching = hub.watch(&events, &clock, filter, None, Duration::from_secs(1)).await.expect("watches");
        let told = self::events(&batch, &hub);
        let told: Vec<_> = told.iter().map(|(stored, number)| (stored.id.as_str(), *number)).collect();
        assert_eq!(told, [("1", Some(1)), ("3", Some(3))]);
        drop(watching);
    }
}
