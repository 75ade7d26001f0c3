//! The digest of the operator's token in the store.

use serde::{Deserialize, Serialize};

use super::{Document, get};
use crate::{
    access::pepper::Digest,
    error::Result,
    store::{Collection, SharedStore, schema},
    time::Timestamp,
};

/// The digest of the operator's token, as stored. There is one at most.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct OperatorToken {
    /// The digest.
    pub digest: Digest,
    /// When it was made.
    pub created_at: Timestamp,
    /// Grows by one with each change.
    #[serde(skip)]
    pub version: u64,
}

impl OperatorToken {
    /// Its document's id.
    pub const ID: &'static str = "operator_token";

    /// The one that is stored, if the store has one.
    pub async fn read(store: &SharedStore) -> Result<Option<Self>> {
        get(store, Self::ID).await
    }
}

impl Document for OperatorToken {
    const COLLECTION: &'static Collection = &schema::META;
    const KIND: &'static str = "operator's token";

    fn document_id(&self) -> String {
        Self::ID.to_owned()
    }
    fn version(&self) -> u64 {
        self.version
    }
    fn set_version(&mut self, version: u64) {
        self.version = version;
    }
}
