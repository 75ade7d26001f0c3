//! Taking up webhooks that had no project, once the egress or ingress that they name is known.

use zeroize::Zeroizing;

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
    store::{Batch, CommitMode, Stored},
};

/// How many are read at once.
const STEP: usize = 100;

/// Does the job: each is recorded as if it came now, and then forgotten. One that cannot be recorded now keeps none of the
/// others back, and makes the job be done again; one that cannot be read stays for the operator until its time is over.
pub(crate) async fn adopt(ingest: &Ingest, job: &Job) -> Result<()> {
    let parts = ingest.plane.parts();
    let JobDetail::Adoption { cluster } = &job.detail else {
        return Err(Error::internal("an adoption that does not say from where"));
    };
    let door =
        if cluster == SERVER_CLUSTER { Door::Server } else { Door::Project(cluster.parse().map_err(Error::internal)?) };
    let (mut after, mut first) = (None, Ok(()));
    loop {
        let page = parts.unclaimed.of_key(cluster, &job.target_id, after, STEP).await?;
        for row in page.rows {
            let adopted = match read(ingest, &row) {
                Ok((event, body)) => record(ingest, door, (event, &body), &row).await,
                Err(error) => {
                    parts.metrics.ingested.with_label_values(&[door.label(), "unreadable"]).inc();
                    tracing::error!(row = row.id, error = %error, cause = ?error.cause().map(ToString::to_string), "a webhook without a project cannot be read, and is not adopted");
                    Ok(())
                }
            };
            first = first.and(adopted);
        }
        match page.next {
            Some(next) => after = Some(next),
            None => return first,
        }
    }
}

/// What LiveKit sent.
fn read(ingest: &Ingest, row: &Stored) -> Result<(LiveKitEvent, Zeroizing<Vec<u8>>)> {
    let found = Unclaimed::read(row)?;
    let body = ingest.plane.parts().sealer.open(unclaimed::place(&found.source_id), &found.raw)?;
    Ok((LiveKitEvent::parse(&body).map_err(Error::internal)?, body))
}

/// Records the event and forgets the row.
async fn record(ingest: &Ingest, door: Door, (event, body): (LiveKitEvent, &[u8]), row: &Stored) -> Result<()> {
    // When the project went in the meantime, it stays for the operator.
    if ingest.accept(door, event, body).await? == Accepted::Unclaimed {
        return Ok(());
    }
    let mut batch = Batch::new();
    batch.delete(Unclaimed::COLLECTION, &row.id, row.version);
    ingest.plane.parts().store.commit(batch, CommitMode::Apply).await.map(drop)
}
