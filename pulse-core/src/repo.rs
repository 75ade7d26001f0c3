//! Typed access to the store, one file an aggregate (mirrors [`crate::model`]).
//!
//! A repository turns documents into models and back, adds the fields that only indexes need, and has the tenant in
//! every signature: a query without one has no name here.

pub mod api_keys;
pub mod audit;
pub mod bans;
pub mod deliveries;
pub mod endpoints;
pub mod events;
pub mod idempotency;
pub mod jobs;
pub mod key_uses;
pub mod operator_token;
pub mod organizations;
pub mod projects;
pub mod replays;
pub mod revocations;
pub mod sessions;
pub mod shards;
pub mod unclaimed;
pub mod usage;

use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};

use crate::{
    error::{Error, Result},
    id::{OrgId, ProjectId},
    model::text::{LabelFilter, Labels, Name},
    page::{Cursor, CursorBinding, Page, PageLimit},
    store::{Batch, Collection, Condition, Order, Scan, SharedStore, Stored},
};

/// Which tenants' things a caller may see: every list of a repository takes one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Visible {
    /// None.
    Nothing,
    /// All.
    Everything,
    /// One project's.
    Project {
        /// The project.
        project: ProjectId,
        /// Its organization.
        org: OrgId,
    },
}

/// A model that is a document of a collection.
pub trait Document: Serialize + DeserializeOwned + Send {
    /// Where it is stored.
    const COLLECTION: &'static Collection;
    /// What a person calls it: `project`.
    const KIND: &'static str;

    /// The document's id.
    fn document_id(&self) -> String;
    /// The version that was read; 0 for a new one.
    fn version(&self) -> u64;
    /// Takes the version that was read.
    fn set_version(&mut self, version: u64);
    /// Adds the fields that only indexes need.
    fn derive(&self, _doc: &mut Map<String, Value>) {}

    /// The document to store.
    fn to_doc(&self) -> Result<Value> {
        let mut doc = serde_json::to_value(self).map_err(Error::internal)?;
        if let Some(fields) = doc.as_object_mut() {
            self.derive(fields);
        }
        Ok(doc)
    }

    /// The model of a stored document.
    fn from_stored(stored: Stored) -> Result<Self> {
        Self::decoded(serde_json::from_value(stored.doc), &stored.id, stored.version)
    }

    /// The same, where the stored document is still needed.
    fn read(stored: &Stored) -> Result<Self> {
        Self::decoded(Self::deserialize(&stored.doc), &stored.id, stored.version)
    }

    /// What came of decoding the document of this id and version.
    fn decoded(model: serde_json::Result<Self>, id: &str, version: u64) -> Result<Self> {
        let mut model =
            model.map_err(|cause| Error::internal(format!("{} {id} does not decode: {cause}", Self::KIND)))?;
        model.set_version(version);
        Ok(model)
    }

    /// Adds this as a new document.
    fn insert_into(&self, batch: &mut Batch) -> Result<()> {
        batch.insert(Self::COLLECTION, self.document_id(), self.to_doc()?);
        Ok(())
    }

    /// Adds this as the new content of the version that was read.
    fn replace_in(&self, batch: &mut Batch) -> Result<()> {
        batch.replace(Self::COLLECTION, self.document_id(), self.version(), self.to_doc()?);
        Ok(())
    }

    /// The same, and this as it is once the batch is committed.
    fn replaced_in(mut self, batch: &mut Batch) -> Result<Self> {
        self.replace_in(batch)?;
        self.set_version(self.version() + 1);
        Ok(self)
    }

    /// Makes the batch hold only while this is as it was read.
    fn require_in(&self, batch: &mut Batch) {
        batch.require(Self::COLLECTION, self.document_id(), Some(self.version()));
    }
}

/// Implements the parts of [`Document`] that are the same for all models with an `id` and a `version`.
macro_rules! document_basics {
    () => {
        fn document_id(&self) -> String {
            self.id.to_string()
        }
        fn version(&self) -> u64 {
            self.version
        }
        fn set_version(&mut self, version: u64) {
            self.version = version;
        }
    };
}
pub(crate) use document_basics;

/// Adds what the lists of organizations and of projects search by, and, while the thing lives, the name that nobody else
/// may have.
fn add_searched(doc: &mut Map<String, Value>, name: &Name, labels: &Labels, lives: bool) {
    doc.insert("label_pairs".into(), labels.pairs().into());
    doc.insert("name_key".into(), name.folded().into());
    if lives {
        doc.insert("living_name".into(), name.folded().into());
    }
}

/// The conditions of a list over what [`add_searched`] has added.
fn searched<'a>(
    name_prefix: Option<&'a String>,
    labels: &'a [LabelFilter],
    include_deleted: bool,
) -> impl Iterator<Item = Condition> + 'a {
    let name = name_prefix.map(|text| Condition::Prefix("name_key", text.to_lowercase()));
    let labels = labels.iter().map(|label| Condition::Contains("label_pairs", label.pair().into()));
    let lives = (!include_deleted).then_some(Condition::Eq("deleted_at", Value::Null));
    name.into_iter().chain(labels).chain(lives)
}

/// Reads one document.
pub(crate) async fn get<T: Document>(store: &SharedStore, id: &str) -> Result<Option<T>> {
    store.get(T::COLLECTION, id).await?.map(T::from_stored).transpose()
}

/// Reads a page, in the order of the scan, and shows each row.
pub(crate) async fn page<T: Document, V>(
    store: &SharedStore,
    mut scan: Scan,
    binding: &CursorBinding,
    limit: Option<PageLimit>,
    cursor: Option<&Cursor>,
    show: impl Fn(&T) -> V,
) -> Result<Page<V>> {
    scan.limit = PageLimit::rows(limit);
    scan.after = cursor.map(|cursor| binding.decode(cursor)).transpose()?;
    let rows = store.scan(scan).await?;
    let data = rows.rows.into_iter().map(|row| T::from_stored(row).map(|model| show(&model))).collect::<Result<_>>()?;
    Ok(Page { data, next_cursor: rows.next.map(|position| binding.encode(position)) })
}

/// Reads the page of a list in which the caller sees one document at most: it, when it meets the scan's conditions.
pub(crate) async fn page_of_one<T: Document, V>(
    store: &SharedStore,
    id: &str,
    scan: Scan,
    show: impl Fn(&T) -> V,
) -> Result<Page<V>> {
    let found = store.get(T::COLLECTION, id).await?;
    let found = found.filter(|row| scan.filter.iter().all(|condition| condition.matches(&row.doc)));
    let data = found.map(T::from_stored).transpose()?.iter().map(show).collect();
    Ok(Page { data, next_cursor: None })
}

/// Reads every row of a list that is known to be short, `cap` at most.
pub(crate) async fn all<T: Document>(
    store: &SharedStore,
    index: &'static str,
    prefix: Vec<Value>,
    cap: usize,
) -> Result<Vec<T>> {
    let scan = Scan { limit: cap, order: Order::Ascending, ..Scan::new(T::COLLECTION, index, prefix) };
    store.scan(scan).await?.rows.into_iter().map(T::from_stored).collect()
}
