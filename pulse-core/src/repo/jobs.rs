//! The queue of work for later.

use super::{Document, document_basics};
use crate::{
    error::Result,
    model::job::Job,
    store::{Claim, Collection, SharedStore, schema},
    time::Timestamp,
};

impl Document for Job {
    const COLLECTION: &'static Collection = &schema::JOBS;
    const KIND: &'static str = "job";
    document_basics!();
}

/// Claims jobs.
#[derive(Clone, Debug)]
pub struct Jobs(pub SharedStore);

impl Jobs {
    /// Takes up to `limit` due jobs out of the queue for `lease_millis`.
    pub async fn claim(&self, now: Timestamp, limit: usize, lease_millis: u64) -> Result<Vec<Job>> {
        let claim = Claim { collection: Job::COLLECTION, limit, lease_millis };
        self.0.claim(claim, now).await?.into_iter().map(Job::from_stored).collect()
    }
}
