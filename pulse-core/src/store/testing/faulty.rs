//! A store that fails, panics or stands still at the call that a test names, and works like the one inside otherwise.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    future::Future,
    sync::atomic::{AtomicU64, Ordering},
};

use async_trait::async_trait;
use parking_lot::Mutex;
use serde_json::Value;
use tokio::sync::watch;

use crate::{
    error::{Error, Result},
    store::{
        Batch, Claim, Collection, CommitMode, Inserted, Insertions, Outcome, Rows, Scan, SharedStore, Store, StoreInfo,
        Stored,
    },
    time::Timestamp,
};

/// A primitive of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CallKind {
    /// [`Store::get`]
    Get,
    /// [`Store::find`]
    Find,
    /// [`Store::scan`]
    Scan,
    /// [`Store::count`]
    Count,
    /// [`Store::commit`], checks included
    Commit,
    /// [`Store::claim`]
    Claim,
    /// [`Store::sweep`]
    Sweep,
    /// [`Store::generation`]
    Generation,
    /// [`Store::prepare`]
    Prepare,
    /// [`Store::ping`]
    Ping,
}

/// What happens at one call. `nth` counts calls of that kind from the moment of the plan, the next one being 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The call answers `store_unavailable` and does nothing.
    FailBefore {
        /// Of this kind.
        call: CallKind,
        /// Which one.
        nth: u64,
    },
    /// The call does what it should, then answers `store_unavailable`: committed, but reported failed.
    FailAfter {
        /// Of this kind.
        call: CallKind,
        /// Which one.
        nth: u64,
    },
    /// The call panics before it does anything.
    PanicAt {
        /// Of this kind.
        call: CallKind,
        /// Which one.
        nth: u64,
    },
    /// The call waits for [`FaultyStore::release`], then does what it should.
    Stall {
        /// Of this kind.
        call: CallKind,
        /// Which one.
        nth: u64,
    },
}

impl Fault {
    fn place(self) -> (CallKind, u64) {
        match self {
            Self::FailBefore { call, nth }
            | Self::FailAfter { call, nth }
            | Self::PanicAt { call, nth }
            | Self::Stall { call, nth } => (call, nth),
        }
    }
}

/// A store with planned faults.
pub struct FaultyStore {
    inner: SharedStore,
    plans: Mutex<Plans>,
    /// How many documents scans have read.
    documents: AtomicU64,
    /// Where each of the batches that can wait has written.
    patient: Mutex<BTreeSet<BTreeSet<&'static str>>>,
    /// How many calls stand still now.
    stalled: watch::Sender<usize>,
    /// Changes when those calls may go on.
    released: watch::Sender<()>,
}

#[derive(Debug, Default)]
struct Plans {
    calls: BTreeMap<CallKind, u64>,
    /// By the number of the call since the store was made.
    faults: BTreeMap<(CallKind, u64), Fault>,
}

impl FaultyStore {
    /// A store that works like `inner` until a fault is planned.
    pub fn new(inner: SharedStore) -> Self {
        Self {
            inner,
            plans: Mutex::default(),
            documents: AtomicU64::new(0),
            patient: Mutex::default(),
            stalled: watch::Sender::new(0),
            released: watch::Sender::new(()),
        }
    }

    /// Plans a fault, beside those that are planned. A second one for the same call takes the first one's place.
    pub fn plan(&self, fault: Fault) -> &Self {
        let (call, nth) = fault.place();
        let mut plans = self.plans.lock();
        let made = plans.calls.get(&call).copied().unwrap_or(0);
        plans.faults.insert((call, made + nth), fault);
        drop(plans);
        self
    }

    /// Forgets what is planned. Calls that stand still go on standing still.
    pub fn clear(&self) {
        self.plans.lock().faults.clear();
    }

    /// How many calls of that kind were made.
    pub fn calls(&self, call: CallKind) -> u64 {
        self.plans.lock().calls.get(&call).copied().unwrap_or(0)
    }

    /// How many documents scans have read.
    pub fn documents(&self) -> u64 {
        self.documents.load(Ordering::Relaxed)
    }

    /// The collections, by name, to which each of the batches that can wait has written.
    pub fn patient(&self) -> BTreeSet<BTreeSet<&'static str>> {
        self.patient.lock().clone()
    }

    /// Waits until a call stands still.
    pub async fn until_stalled(&self) {
        // The sender lives in `self`, so waiting cannot fail.
        let _ = self.stalled.subscribe().wait_for(|stalled| *stalled > 0).await;
    }

    /// Lets the calls go on that stand still now.
    pub fn release(&self) {
        self.released.send_replace(());
    }

    async fn around<T>(&self, call: CallKind, work: impl Future<Output = Result<T>>) -> Result<T> {
        match self.next_fault(call) {
            None => work.await,
            Some(Fault::FailBefore { nth, .. }) => Err(planned("before", call, nth)),
            Some(Fault::FailAfter { nth, .. }) => {
                work.await?;
                Err(planned("after", call, nth))
            }
            Some(Fault::PanicAt { nth, .. }) => panic!("the planned panic at {call:?} {nth}"),
            Some(Fault::Stall { .. }) => {
                self.stall().await;
                work.await
            }
        }
    }

    fn next_fault(&self, call: CallKind) -> Option<Fault> {
        let mut plans = self.plans.lock();
        let number = plans.calls.entry(call).or_insert(0);
        *number += 1;
        let number = *number;
        plans.faults.remove(&(call, number))
    }

    async fn stall(&self) {
        let mut released = self.released.subscribe();
        let _standing = Standing::new(&self.stalled);
        let _ = released.changed().await;
    }
}

/// Counts a call that stands still, also when its caller gives it up.
struct Standing<'a>(&'a watch::Sender<usize>);

impl<'a> Standing<'a> {
    fn new(stalled: &'a watch::Sender<usize>) -> Self {
        stalled.send_modify(|stalled| *stalled += 1);
        Self(stalled)
    }
}

impl Drop for Standing<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|stalled| *stalled -= 1);
    }
}

fn planned(when: &str, call: CallKind, nth: u64) -> Error {
    Error::store_unavailable(format!("the planned fault {when} {call:?} {nth}"))
}

impl fmt::Debug for FaultyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FaultyStore").field("inner", &self.inner).field("plans", &self.plans).finish_non_exhaustive()
    }
}

#[async_trait]
impl Store for FaultyStore {
    async fn get(&self, collection: &'static Collection, id: &str) -> Result<Option<Stored>> {
        self.around(CallKind::Get, self.inner.get(collection, id)).await
    }

    async fn find(
        &self,
        collection: &'static Collection,
        index: &'static str,
        key: &[Value],
    ) -> Result<Option<Stored>> {
        self.around(CallKind::Find, self.inner.find(collection, index, key)).await
    }

    async fn scan(&self, scan: Scan) -> Result<Rows> {
        let ids = scan.ids;
        let rows = self.around(CallKind::Scan, self.inner.scan(scan)).await?;
        let read = if ids { 0 } else { rows.rows.len() as u64 };
        self.documents.fetch_add(read, Ordering::Relaxed);
        Ok(rows)
    }

    async fn count(
        &self,
        collection: &'static Collection,
        index: &'static str,
        prefix: &[Value],
        cap: u64,
    ) -> Result<u64> {
        self.around(CallKind::Count, self.inner.count(collection, index, prefix, cap)).await
    }

    async fn commit(&self, batch: Batch, mode: CommitMode) -> Result<Outcome> {
        if batch.is_patient {
            self.patient.lock().insert(batch.writes.iter().map(|write| write.collection().name).collect());
        }
        self.around(CallKind::Commit, self.inner.commit(batch, mode)).await
    }

    async fn claim(&self, claim: Claim, now: Timestamp) -> Result<Vec<Stored>> {
        self.around(CallKind::Claim, self.inner.claim(claim, now)).await
    }

    async fn now(&self, own: Timestamp) -> Result<Timestamp> {
        self.inner.now(own).await
    }

    async fn inserted(&self, wanted: &Inserted) -> Result<Option<Insertions>> {
        self.inner.inserted(wanted).await
    }

    async fn sweep(&self, now: Timestamp, limit: usize) -> Result<u64> {
        self.around(CallKind::Sweep, self.inner.sweep(now, limit)).await
    }

    async fn tend(&self) -> Result<()> {
        self.inner.tend().await
    }

    async fn generation(&self) -> Result<u64> {
        self.around(CallKind::Generation, self.inner.generation()).await
    }

    async fn prepare(&self) -> Result<()> {
        self.around(CallKind::Prepare, self.inner.prepare()).await
    }

    async fn ping(&self) -> Result<()> {
        self.around(CallKind::Ping, self.inner.ping()).await
    }

    fn info(&self) -> StoreInfo {
        self.inner.info()
    }
}
