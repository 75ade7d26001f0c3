//! Answers of requests that carried an idempotency key.

use serde::{Deserialize, Serialize};

use super::Document;
use crate::{
    access::seal::Sealed,
    error::Result,
    store::{Collection, SharedStore, schema},
    time::Timestamp,
};

/// A stored answer: in the clear, or sealed when it shows a secret.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct IdempotencyRecord {
    /// Digest of caller, operation and key.
    pub id: String,
    /// The operation.
    pub operation: String,
    /// Digest of the request.
    pub fingerprint: String,
    /// The answer, when it shows no secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<String>,
    /// The answer, when it shows a secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sealed_answer: Option<Sealed>,
    /// When it is forgotten.
    pub expires_at: Timestamp,
    /// Grows by one with each change.
    #[serde(skip)]
    pub version: u64,
}

impl Document for IdempotencyRecord {
    const COLLECTION: &'static Collection = &schema::IDEMPOTENCY;
    const KIND: &'static str = "idempotency record";
    super::document_basics!();
}

/// Reads stored answers.
#[derive(Clone, Debug)]
pub struct Idempotency(pub SharedStore);

impl Idempotency {
    /// The record of that id, expired ones included.
    pub async fn get(&self, id: &str) -> Result<Option<IdempotencyRecord>> {
        super::get(&self.0, id).await
    }
}
