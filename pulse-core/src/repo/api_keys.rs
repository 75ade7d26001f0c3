//! API keys in the store, and the guard that lets changes to one project's set of keys commit one after the other.
//! The guard counts the project's bans, too.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Document, all, document_basics, get, page};
use crate::{
    error::Result,
    id::{KeyId, ProjectId},
    model::{
        api_key::{ApiKey, KeyState},
        ban::MAX_BANS,
    },
    page::{Cursor, CursorBinding, Page, PageLimit},
    store::{Batch, Collection, Scan, SharedStore, Write, schema},
};

impl Document for ApiKey {
    const COLLECTION: &'static Collection = &schema::API_KEYS;
    const KIND: &'static str = "key";
    document_basics!();

    fn derive(&self, doc: &mut Map<String, Value>) {
        if self.state != KeyState::Revoked {
            doc.insert("live".into(), 1.into());
        }
    }
}

/// One document a project: who changes the project's keys, or adds a webhook endpoint, replaces it, so that two changes at
/// once cannot both commit. Bans are counted in it, and nobody waits for anybody there.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct KeySet {
    project_id: ProjectId,
    /// No fewer than the project's bans, and more by those that ended by themselves; nobody has counted when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    bans: Option<u64>,
    #[serde(skip)]
    version: u64,
}

impl Document for KeySet {
    const COLLECTION: &'static Collection = &schema::KEY_SETS;
    const KIND: &'static str = "key set";

    fn document_id(&self) -> String {
        self.project_id.to_string()
    }
    fn version(&self) -> u64 {
        self.version
    }
    fn set_version(&mut self, version: u64) {
        self.version = version;
    }
}

impl KeySet {
    /// Makes the batch the only one that changes this project's keys, or adds to its endpoints, since the set was read.
    pub fn guard(&self, batch: &mut Batch) -> Result<()> {
        if self.version == 0 { self.insert_into(batch) } else { self.replace_in(batch) }
    }

    /// Whether there is a place for another ban, without a look at the bans.
    pub fn has_place_for_a_ban(&self) -> bool {
        self.bans.is_some_and(|bans| bans < MAX_BANS)
    }

    /// Counts a ban that the batch adds: for a set that [has a place](Self::has_place_for_a_ban). When others take it
    /// meanwhile, the batch is out of bounds.
    pub fn add_ban(&self, batch: &mut Batch) {
        self.count_ban(1, batch);
    }

    /// Counts this many bans beside the one that the batch adds, in place of what was counted before. The batch holds only
    /// while nobody else adds one.
    pub fn recount_bans(self, others: u64, batch: &mut Batch) -> Result<()> {
        Self { bans: Some(others + 1), ..self }.guard(batch)
    }

    /// Counts a ban less, if any are counted.
    pub fn remove_ban(&self, batch: &mut Batch) {
        if self.bans.is_some_and(|bans| bans > 0) {
            self.count_ban(-1, batch);
        }
    }

    fn count_ban(&self, by: i64, batch: &mut Batch) {
        batch.push(Write::Increment {
            collection: Self::COLLECTION,
            id: self.document_id(),
            field: "bans",
            by,
            min: Some(0),
            max: i64::try_from(MAX_BANS).ok(),
        });
    }
}

/// Reads keys.
#[derive(Clone, Debug)]
pub struct ApiKeys(pub SharedStore);

impl ApiKeys {
    /// The project's key of that id.
    pub async fn get(&self, project: ProjectId, id: KeyId) -> Result<Option<ApiKey>> {
        Ok(get::<ApiKey>(&self.0, &id.to_string()).await?.filter(|key| key.project_id == project))
    }

    /// The key whose texts carry this id: the one look-up that has no tenant, because it finds the tenant.
    pub async fn find(&self, public_id: &str) -> Result<Option<ApiKey>> {
        let found = self.0.find(ApiKey::COLLECTION, "public_id", &[public_id.into()]).await?;
        found.map(ApiKey::from_stored).transpose()
    }

    /// The guard of the project's set of keys, and of its numbers of webhook endpoints and of bans.
    pub async fn key_set(&self, project: ProjectId) -> Result<KeySet> {
        let stored = get(&self.0, &project.to_string()).await?;
        Ok(stored.unwrap_or(KeySet { project_id: project, bans: None, version: 0 }))
    }

    /// The project's keys that are not revoked, oldest first: at most [`MAX_LIVE_KEYS`](crate::model::api_key::MAX_LIVE_KEYS)
    /// of them work, and expired ones are revoked when the project makes another.
    pub async fn live(&self, project: ProjectId) -> Result<Vec<ApiKey>> {
        all(&self.0, "project_live", vec![project.to_string().into(), 1.into()], 10_000).await
    }

    /// How many of the project's keys are not revoked.
    pub async fn count_live(&self, project: ProjectId) -> Result<u64> {
        self.0.count(ApiKey::COLLECTION, "project_live", &[project.to_string().into(), 1.into()], 10_000).await
    }

    /// Up to `cap` of the project's keys, in any state.
    pub async fn any(&self, project: ProjectId, cap: usize) -> Result<Vec<ApiKey>> {
        all(&self.0, "project", vec![project.to_string().into()], cap).await
    }

    /// A page of the project's keys, newest first.
    pub async fn list(
        &self,
        project: ProjectId,
        include_revoked: bool,
        limit: Option<PageLimit>,
        cursor: Option<&Cursor>,
    ) -> Result<Page<ApiKey>> {
        let id = Value::from(project.to_string());
        let scan = if include_revoked {
            Scan::new(ApiKey::COLLECTION, "project", vec![id])
        } else {
            Scan::new(ApiKey::COLLECTION, "project_live", vec![id, 1.into()])
        };
        let binding = CursorBinding::new("keys", &(project, include_revoked));
        page::<ApiKey, _>(&self.0, scan, &binding, limit, cursor, Clone::clone).await
    }
}
