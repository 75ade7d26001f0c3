//! Taking up webhooks that had no project, once the egress that they name is known.

use super::{Accepted, Door, Ingest, unclaimed};
use crate::{
    error::{Error, Result},
    media::event::LiveKitEvent,
    model::{
        event::SERVER_CLUSTER,
        job::{Job, JobDetail},
        unclaimed::Unclaimed,
    },
    repo::Document as _,
    store::{Batch, CommitMode},
};

/// How many are taken up at once.
const STEP: usize = 100;

/// Does the job: each is recorded as if it came now, and then forgotten.
pub(crate) async fn adopt(ingest: &Ingest, job: &Job) -> Result<()> {
    let parts = ingest.plane.parts();
    let JobDetail::Adoption { cluster, .. } = &job.detail else {
        return Err(Error::internal("an adoption that does not say from where"));
    };
    let door =
        if cluster == SERVER_CLUSTER { Door::Server } else { Door::Project(cluster.parse().map_err(Error::internal)?) };
    for found in parts.unclaimed.of_key(cluster, &job.target_id, STEP).await? {
        let body = parts.sealer.open(unclaimed::place(&found.source_id), &found.raw)?;
        let event = LiveKitEvent::parse(&body).map_err(Error::internal)?;
        // When the project went in the meantime, it stays for the operator.
        if ingest.accept(door, event, &body).await? != Accepted::Unclaimed {
            let mut batch = Batch::new();
            batch.delete(Unclaimed::COLLECTION, found.id, found.version);
            parts.store.commit(batch, CommitMode::Apply).await?;
        }
    }
    Ok(())
}
