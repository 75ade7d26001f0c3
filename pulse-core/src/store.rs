//! The store: a dozen primitives over JSON documents, the same in every engine.
//!
//! What the primitives guarantee, and the conformance suite checks in each engine:
//!
//! - A [`Batch`] is all or nothing, durable when [`Store::commit`] answers, and isolated from other batches.
//! - Uniqueness is the engine's: a clash comes back as [`Outcome::Conflict`], never as two documents.
//! - Versions begin at 1 and grow by one at each change, increments included; a write that names a version that is no
//!   longer current changes nothing and comes back as [`Outcome::Stale`].
//! - Lists are keyset scans over a declared index; a row that is added or removed elsewhere moves no other row to
//!   another page.
//! - A log's sequence is dense from 1, in commit order, and allotted inside the commit. A log that is named after a document
//!   ends with it: nothing is left of its number.
//!
//! Collections, indexes, validated fields and expiry are declared once, in [`schema`], and every engine builds its own
//! from there.

pub mod chain;
pub mod changes;
mod check;
pub mod document;
pub mod memory;
pub mod mongo;
pub mod schema;
pub mod soundness;
pub mod sqlite;
#[cfg(feature = "testing")]
pub mod testing;
mod timing;

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use serde_json::Value;

pub use changes::{Inserted, Insertions};
pub use schema::Collection;
pub use timing::CommitObserver;

use crate::{error::Result, time::Timestamp};

/// The most rows that a filtered scan looks at for one page. A page may be short, or empty, while there is a next one.
pub const SCAN_BUDGET: usize = 10_000;

/// The most writes that a batch can have.
pub const BATCH_LIMIT: usize = 1_000;

/// A document with its version.
#[derive(Clone, Debug, PartialEq)]
pub struct Stored {
    /// The id, unique in the collection.
    pub id: String,
    /// 1 when inserted, one more at each change.
    pub version: u64,
    /// The document: a JSON object. Whether it repeats the id is the repository's business.
    pub doc: Value,
}

/// A position in a scan: the index fields after the prefix, and the id.
#[derive(Clone, Debug, PartialEq)]
pub struct Position {
    /// Values of the index fields that the prefix did not fix, in index order.
    pub key: Vec<Value>,
    /// The id, which breaks ties.
    pub id: String,
}

/// Which way a scan goes over its index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Smallest key first.
    Ascending,
    /// Greatest key first: for ids, newest first.
    Descending,
}

/// One condition on a field of the document, by its top-level name.
#[derive(Clone, Debug, PartialEq)]
pub enum Condition {
    /// The field equals the value. `Null` matches a field that is absent.
    Eq(&'static str, Value),
    /// The field is a text that begins so, compared byte by byte.
    Prefix(&'static str, String),
    /// The field equals one of the values.
    In(&'static str, Vec<Value>),
    /// The field is a list that contains the value.
    Contains(&'static str, Value),
    /// At least one of these is met.
    Any(Vec<Condition>),
}

impl Condition {
    /// Whether the document meets the condition.
    pub fn matches(&self, doc: &Value) -> bool {
        let field = |name: &str| doc.get(name).unwrap_or(&Value::Null);
        match self {
            Self::Eq(name, value) => field(name) == value,
            Self::Prefix(name, prefix) => field(name).as_str().is_some_and(|text| text.starts_with(prefix.as_str())),
            Self::In(name, values) => values.contains(field(name)),
            Self::Contains(name, value) => field(name).as_array().is_some_and(|list| list.contains(value)),
            Self::Any(conditions) => conditions.iter().any(|condition| condition.matches(doc)),
        }
    }
}

/// A list over one index.
#[derive(Clone, Debug)]
pub struct Scan {
    /// The collection.
    pub collection: &'static Collection,
    /// The index, by name; [`schema::PRIMARY`] is the ids alone.
    pub index: &'static str,
    /// Values of the index's first fields, its list among them when it has one.
    pub prefix: Vec<Value>,
    /// The least value, inclusive, of the first field that the prefix does not fix (the id when it fixes all).
    pub from: Option<Value>,
    /// The bound, exclusive, of the same field.
    pub to: Option<Value>,
    /// Conditions that every row meets.
    pub filter: Vec<Condition>,
    /// The direction.
    pub order: Order,
    /// Rows on the page.
    pub limit: usize,
    /// The row after which the page begins.
    pub after: Option<Position>,
    /// Whether ids alone are asked for: rows then have version 0 and no document, and no document is read. Only without a
    /// filter, where the prefix fixes every field of the index.
    pub ids: bool,
}

impl Scan {
    /// All rows of `index` under `prefix`, newest (greatest) first, a hundred at most.
    pub fn new(collection: &'static Collection, index: &'static str, prefix: Vec<Value>) -> Self {
        Self {
            collection,
            index,
            prefix,
            from: None,
            to: None,
            filter: Vec::new(),
            order: Order::Descending,
            limit: 100,
            after: None,
            ids: false,
        }
    }
}

/// A page of a scan.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rows {
    /// The rows.
    pub rows: Vec<Stored>,
    /// Where the next page begins, when there may be one. Without a filter, the last page has none.
    pub next: Option<Position>,
}

/// One write of a batch.
#[derive(Clone, Debug, PartialEq)]
pub enum Write {
    /// A new document; an id that exists is a conflict with [`schema::PRIMARY`].
    Insert {
        /// Where.
        collection: &'static Collection,
        /// The new id.
        id: String,
        /// The document.
        doc: Value,
    },
    /// A new content for a document that still has this version.
    Replace {
        /// Where.
        collection: &'static Collection,
        /// Which.
        id: String,
        /// The version that was read.
        version: u64,
        /// The new document.
        doc: Value,
    },
    /// The end of a document that still has this version.
    Delete {
        /// Where.
        collection: &'static Collection,
        /// Which.
        id: String,
        /// The version that was read.
        version: u64,
    },
    /// A number in a document grows or shrinks, within bounds; outside of them, or of 64 bits, is
    /// [`Outcome::OutOfBounds`].
    Increment {
        /// Where.
        collection: &'static Collection,
        /// Which; a missing document is stale.
        id: String,
        /// A top-level field; absent or null counts as 0.
        field: &'static str,
        /// By how much.
        by: i64,
        /// The least value allowed after the change.
        min: Option<i64>,
        /// The greatest value allowed after the change.
        max: Option<i64>,
    },
    /// The batch holds only while a document stays as it was read: `Some(version)`, or `None` for absent.
    Require {
        /// Where.
        collection: &'static Collection,
        /// Which.
        id: String,
        /// The version that was read, or `None` when there was none.
        version: Option<u64>,
    },
    /// A record at the end of a log. The engine adds `log`, `seq` and, for a chained log, `prev` and `hash`.
    Append {
        /// A collection that declares a log.
        collection: &'static Collection,
        /// Which of its logs.
        log: String,
        /// The id of the record's document.
        id: String,
        /// The record.
        record: Value,
    },
}

impl Write {
    /// Where it writes, or looks.
    pub fn collection(&self) -> &'static Collection {
        match self {
            Self::Insert { collection, .. }
            | Self::Replace { collection, .. }
            | Self::Delete { collection, .. }
            | Self::Increment { collection, .. }
            | Self::Require { collection, .. }
            | Self::Append { collection, .. } => collection,
        }
    }
}

/// Writes that are committed together or not at all.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Batch {
    /// The writes, applied in this order.
    pub writes: Vec<Write>,
    /// Whether caches of keys and projects must be dropped: true for what revokes, suspends, deletes, restores or
    /// changes a key, a project or an organization.
    pub bumps_generation: bool,
    /// Whether it can wait a little for others: true for the few writes that end what has been done already. An engine that
    /// commits in groups lets others go first, for a few groups at most.
    pub is_patient: bool,
}

impl Batch {
    /// A batch that writes nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.writes.is_empty()
    }

    /// Adds a new document.
    pub fn insert(&mut self, collection: &'static Collection, id: impl ToString, doc: Value) -> &mut Self {
        self.push(Write::Insert { collection, id: id.to_string(), doc })
    }

    /// Adds a new content for a document that still has this version.
    pub fn replace(
        &mut self,
        collection: &'static Collection,
        id: impl ToString,
        version: u64,
        doc: Value,
    ) -> &mut Self {
        self.push(Write::Replace { collection, id: id.to_string(), version, doc })
    }

    /// Adds the end of a document that still has this version.
    pub fn delete(&mut self, collection: &'static Collection, id: impl ToString, version: u64) -> &mut Self {
        self.push(Write::Delete { collection, id: id.to_string(), version })
    }

    /// Makes the batch hold only while the document is as it was read.
    pub fn require(&mut self, collection: &'static Collection, id: impl ToString, version: Option<u64>) -> &mut Self {
        self.push(Write::Require { collection, id: id.to_string(), version })
    }

    /// Adds a record to a log.
    pub fn append(
        &mut self,
        collection: &'static Collection,
        log: impl ToString,
        id: impl ToString,
        record: Value,
    ) -> &mut Self {
        self.push(Write::Append { collection, log: log.to_string(), id: id.to_string(), record })
    }

    /// Adds any write.
    pub fn push(&mut self, write: Write) -> &mut Self {
        self.writes.push(write);
        self
    }

    /// Says that caches of keys and projects must be dropped.
    pub fn bump_generation(&mut self) -> &mut Self {
        self.bumps_generation = true;
        self
    }

    /// Says that it can wait a little for others.
    pub fn be_patient(&mut self) -> &mut Self {
        self.is_patient = true;
        self
    }

    /// Adds the writes of another batch after these.
    pub fn extend(&mut self, other: Self) -> &mut Self {
        self.writes.extend(other.writes);
        self.bumps_generation |= other.bumps_generation;
        self.is_patient &= other.is_patient;
        self
    }
}

/// Whether a batch is to stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommitMode {
    /// Apply and keep.
    Apply,
    /// Apply, then roll back: tells what would happen.
    Check,
}

/// What became of a batch. Everything but `Committed` left the store as it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Applied; `seqs` are the sequence numbers of the batch's appends, in order.
    Committed {
        /// One number for each append.
        seqs: Vec<u64>,
    },
    /// A unique index, or [`schema::PRIMARY`], has the key already.
    Conflict {
        /// The collection's name.
        collection: &'static str,
        /// The index's name.
        index: &'static str,
    },
    /// A document is not as the batch expects it.
    Stale {
        /// The collection's name.
        collection: &'static str,
        /// The document.
        id: String,
    },
    /// An increment would leave its bounds.
    OutOfBounds {
        /// The collection's name.
        collection: &'static str,
        /// The document.
        id: String,
        /// The field.
        field: &'static str,
    },
}

/// Takes due documents out of a queue for a while.
#[derive(Clone, Debug)]
pub struct Claim {
    /// A collection with a `due` index over one time field.
    pub collection: &'static Collection,
    /// How many at most.
    pub limit: usize,
    /// How long they are out, in milliseconds. A document that is not replaced or deleted by then is due again.
    pub lease_millis: u64,
}

/// What an engine can be asked about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreInfo {
    /// `memory`, `sqlite` or `mongodb`.
    pub engine: &'static str,
    /// Where it is, without credentials.
    pub location: String,
    /// The version of the schema that the store has.
    pub schema_version: u32,
}

impl StoreInfo {
    /// Whether several daemons may have it at once.
    pub fn is_shared(&self) -> bool {
        self.engine == "mongodb"
    }
}

/// One engine. Errors are of the codes `store_unavailable`, `store_newer`, `store_locked`, `misconfigured` and
/// `internal`, and `bad_cursor` for a [`Scan::after`] that does not fit the index; everything else that a caller can
/// cause is an [`Outcome`].
#[async_trait]
pub trait Store: Send + Sync + fmt::Debug {
    /// The document of that id.
    async fn get(&self, collection: &'static Collection, id: &str) -> Result<Option<Stored>>;

    /// The document that a unique index has under `key`, one value for each field of the index.
    async fn find(&self, collection: &'static Collection, index: &'static str, key: &[Value])
    -> Result<Option<Stored>>;

    /// A page of a list.
    async fn scan(&self, scan: Scan) -> Result<Rows>;

    /// How many rows an index has under `prefix`, counted up to `cap`.
    async fn count(
        &self,
        collection: &'static Collection,
        index: &'static str,
        prefix: &[Value],
        cap: u64,
    ) -> Result<u64>;

    /// Applies a batch. When it answers `Committed`, the batch survives a crash of the process and of the machine.
    async fn commit(&self, batch: Batch, mode: CommitMode) -> Result<Outcome>;

    /// Moves the due field of due documents to the end of the lease and gives them out with their new version. Two
    /// claims never give out the same document within one lease. An engine that several machines share takes the time
    /// from the store's own clock and ignores `now`.
    async fn claim(&self, claim: Claim, now: Timestamp) -> Result<Vec<Stored>>;

    /// The time by the store's own clock, for an engine that several machines share; `own` where it has none.
    async fn now(&self, own: Timestamp) -> Result<Timestamp> {
        Ok(own)
    }

    /// Documents as they are inserted from now on, by whichever process; `None` from an engine that cannot tell. A hint, and
    /// no log: the stream ends with an error when the store is away, and what is inserted until it is opened again is not
    /// in it.
    async fn inserted(&self, _wanted: &Inserted) -> Result<Option<Insertions>> {
        Ok(None)
    }

    /// Removes up to `limit` documents whose expiry is not after `now`, over all collections that declare one.
    async fn sweep(&self, now: Timestamp, limit: usize) -> Result<u64>;

    /// What the engine wants done every few seconds for as long as somebody writes: the others must not wait for a process
    /// that died in the middle of a batch.
    async fn tend(&self) -> Result<()> {
        Ok(())
    }

    /// A number that grows with every batch that bumps it, in this process or another.
    async fn generation(&self) -> Result<u64>;

    /// Builds what [`schema`] declares and migrates an older store. A store of a newer version is `store_newer`.
    async fn prepare(&self) -> Result<()>;

    /// Whether reads and writes work now.
    async fn ping(&self) -> Result<()>;

    /// About this store.
    fn info(&self) -> StoreInfo;
}

/// A store as everything above the engines holds it.
pub type SharedStore = Arc<dyn Store>;
