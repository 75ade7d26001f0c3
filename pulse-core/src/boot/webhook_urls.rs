//! Endpoints for projects that were given a `webhook_url` before there were webhook endpoints. Done once a store, by the
//! first daemon that starts on it; several at once do no harm, because a project can have one such endpoint only. Nobody
//! has seen the secrets that are made here: whoever needs one rotates it.

use serde::{Deserialize, Serialize};

use crate::{
    error::Result,
    model::project::Project,
    ops::endpoints::Draft,
    parts::Parts,
    repo::{self, Document},
    store::{Batch, Collection, CommitMode, Order, Outcome, Scan, schema},
    time::Timestamp,
};

/// The document that says that it is done.
const DONE_ID: &str = "webhook_urls";
/// Projects that are looked at for one batch.
const STEP: usize = 200;
/// How often a batch is tried that something came between.
const TRIES: usize = 5;

#[derive(Debug, Serialize, Deserialize)]
struct Done {
    done_at: Timestamp,
    #[serde(skip)]
    version: u64,
}

impl Document for Done {
    const COLLECTION: &'static Collection = &schema::META;
    const KIND: &'static str = "record of endpoints for webhook addresses";

    fn document_id(&self) -> String {
        DONE_ID.to_owned()
    }
    fn version(&self) -> u64 {
        self.version
    }
    fn set_version(&mut self, version: u64) {
        self.version = version;
    }
}

/// Makes the endpoints, unless that was done before; tells how many.
///
/// # Errors
/// Those of the store. What was made by then stays, and the next start goes on.
pub(super) async fn give_endpoints(parts: &Parts) -> Result<usize> {
    if repo::get::<Done>(&parts.store, DONE_ID).await?.is_some() {
        return Ok(0);
    }
    let mut made = 0;
    let mut after = None;
    loop {
        let scan = Scan {
            limit: STEP,
            order: Order::Ascending,
            after,
            ..Scan::new(Project::COLLECTION, schema::PRIMARY, Vec::new())
        };
        let page = parts.store.scan(scan).await?;
        let projects = page.rows.into_iter().map(Project::from_stored).collect::<Result<Vec<_>>>()?;
        made += give(parts, &projects).await?;
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    let mut batch = Batch::new();
    Done { done_at: parts.clock.now(), version: 0 }.insert_into(&mut batch)?;
    // When another daemon was first, it is done all the same.
    parts.store.commit(batch, CommitMode::Apply).await?;
    Ok(made)
}

/// Makes the endpoints of these projects that have none.
async fn give(parts: &Parts, projects: &[Project]) -> Result<usize> {
    for _ in 0..TRIES {
        let mut batch = Batch::new();
        let mut made = 0;
        for project in projects {
            let Some(url) = &project.webhook_url else { continue };
            // As it is now: somebody may change or delete it meanwhile.
            let current = parts.projects.get(project.id).await?;
            let Some(current) = current.filter(|current| current.webhook_url.as_ref() == Some(url)) else { continue };
            if parts.endpoints.of_webhook_url(project.id).await?.is_some() {
                continue;
            }
            let (endpoint, _) = Draft::of_webhook_url(parts, project.id, url.clone()).make(parts, parts.clock.now())?;
            current.require_in(&mut batch);
            endpoint.insert_into(&mut batch)?;
            batch.bump_generation();
            made += 1;
        }
        if made == 0 {
            return Ok(0);
        }
        if let Outcome::Committed { .. } = parts.store.commit(batch, CommitMode::Apply).await? {
            return Ok(made);
        }
    }
    Err(crate::Error::store_unavailable("projects changed while their webhook endpoints were made"))
}
