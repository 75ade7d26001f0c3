//! Last uses of keys in the store: one document a key, in a collection of its own, so that a use does not touch the key.

use super::{Document, get};
use crate::{
    error::Result,
    id::KeyId,
    model::key_use::KeyUse,
    store::{Batch, Collection, CommitMode, Outcome, SharedStore, schema},
};

/// How many uses share a commit.
const TOGETHER: usize = 200;

impl Document for KeyUse {
    const COLLECTION: &'static Collection = &schema::KEY_USES;
    const KIND: &'static str = "key use";

    fn document_id(&self) -> String {
        self.key_id.to_string()
    }
    fn version(&self) -> u64 {
        0
    }
    fn set_version(&mut self, _version: u64) {}
}

/// Reads and writes last uses.
#[derive(Clone, Debug)]
pub struct KeyUses(pub SharedStore);

impl KeyUses {
    /// The key's last use.
    pub async fn get(&self, key: KeyId) -> Result<Option<KeyUse>> {
        get(&self.0, &key.to_string()).await
    }

    /// Records uses, each unless a later one is recorded. When another process records one of the same key at the same
    /// moment, ours is left out: both are true to a minute.
    pub async fn record(&self, uses: &[KeyUse]) -> Result<()> {
        for some in uses.chunks(TOGETHER) {
            if !self.try_record(some).await? {
                for one in some {
                    self.try_record(std::slice::from_ref(one)).await?;
                }
            }
        }
        Ok(())
    }

    /// Records these in one commit; tells whether nothing came in between.
    async fn try_record(&self, uses: &[KeyUse]) -> Result<bool> {
        let mut batch = Batch::new();
        for last in uses {
            match self.0.get(KeyUse::COLLECTION, &last.document_id()).await? {
                None => last.insert_into(&mut batch)?,
                Some(stored) => {
                    let version = stored.version;
                    if KeyUse::from_stored(stored)?.last_used_at < last.last_used_at {
                        batch.replace(KeyUse::COLLECTION, last.document_id(), version, last.to_doc()?);
                    }
                }
            }
        }
        Ok(matches!(self.0.commit(batch, CommitMode::Apply).await?, Outcome::Committed { .. }))
    }
}
