//! Last uses of keys in the store: one document a key, in a collection of its own, so that a use does not touch the key.

use super::{Document, get};
use crate::{
    error::Result,
    id::KeyId,
    model::key_use::KeyUse,
    store::{Batch, Collection, CommitMode, SharedStore, schema},
};

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

    /// Records the use unless a later one is recorded. When another process records one at the same moment, this one is
    /// left out: both are true to a minute.
    pub async fn record(&self, last: &KeyUse) -> Result<()> {
        let mut batch = Batch::new();
        match self.0.get(KeyUse::COLLECTION, &last.document_id()).await? {
            None => last.insert_into(&mut batch)?,
            Some(stored) => {
                let version = stored.version;
                if KeyUse::from_stored(stored)?.last_used_at >= last.last_used_at {
                    return Ok(());
                }
                batch.replace(KeyUse::COLLECTION, last.document_id(), version, last.to_doc()?);
            }
        }
        self.0.commit(batch, CommitMode::Apply).await?;
        Ok(())
    }
}
