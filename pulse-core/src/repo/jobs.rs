//! The queue of work for later.

use std::time::Duration;

use super::{Document, document_basics, get};
use crate::{
    error::Result,
    model::job::Job,
    store::{Batch, Claim, Collection, SharedStore, Stored, schema},
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
    /// Adds a job with an id of its own making to a batch, unless it waits there already: as it is, that is, and not after a
    /// failure. What waits for something else, or has failed, begins anew. Tells whether there is anything to commit.
    pub async fn call_for(&self, job: Job, batch: &mut Batch) -> Result<bool> {
        match get::<Job>(&self.0, &job.document_id()).await? {
            None => job.insert_into(batch)?,
            Some(waiting) if waiting.detail == job.detail && waiting.attempts == 0 => return Ok(false),
            Some(waiting) => Job { version: waiting.version, ..job }.replace_in(batch)?,
        }
        Ok(true)
    }

    /// Takes up to `limit` due jobs out of the queue for as long as `lease`. One that does not read, because a newer daemon
    /// recorded it for instance, is left to whoever can and keeps none of the others waiting.
    pub async fn claim(&self, now: Timestamp, limit: usize, lease: Duration) -> Result<Vec<Job>> {
        let lease_millis = u64::try_from(lease.as_millis()).unwrap_or(u64::MAX);
        let claim = Claim { collection: Job::COLLECTION, limit, lease_millis };
        let read = |row: Stored| {
            let id = row.id.clone();
            let job = Job::from_stored(row);
            job.inspect_err(|error| tracing::error!(job = id, error = %error, "a job is left to another daemon")).ok()
        };
        Ok(self.0.claim(claim, now).await?.into_iter().filter_map(read).collect())
    }
}
