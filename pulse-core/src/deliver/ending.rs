//! Deliveries that end without being sent: cancelled with their endpoint, expired, or put aside because their row is none.

use super::state::{Input, Status, Step, step};
use crate::{
    error::{Error, Result},
    id::EndpointId,
    model::delivery::Delivery,
    parts::Parts,
    repo::{Document, deliveries::QUARANTINED},
    store::{Batch, CommitMode, Outcome, Stored},
};

/// How many rows one commit ends.
const STEP: usize = 200;
/// How often it is tried when others change the same rows.
const TRIES: usize = 5;

/// Ends a delivery that waits, in the batch; one that does not wait stays as it is.
pub fn end(parts: &Parts, delivery: Delivery, input: Input, batch: &mut Batch) -> Result<()> {
    let Step::Moved(moved) = step(&delivery.state, input, &parts.settings.pipeline.schedule, 0.0) else {
        return Ok(());
    };
    parts.metrics.deliveries.with_label_values(&[moved.to.status.name()]).inc();
    let finished_at = Some(parts.clock.now());
    Delivery { state: moved.to, due_at: None, finished_at, ..delivery }.replace_in(batch)
}

/// Cancels everything that waits for an endpoint if it is gone, a batch at a time. One that is there keeps what it has.
///
/// # Errors
/// When the store fails, or others keep changing the same rows.
pub async fn cancel_if_gone(parts: &Parts, endpoint: EndpointId) -> Result<()> {
    if parts.endpoints.find(endpoint).await?.is_some() {
        return Ok(());
    }
    let mut tries = 0;
    while tries < TRIES {
        let waiting = parts.deliveries.pending(endpoint, None, STEP).await?;
        if waiting.is_empty() {
            return Ok(());
        }
        let mut batch = Batch::new();
        for row in waiting {
            match Delivery::read(&row) {
                Ok(delivery) => end(parts, delivery, Input::Cancel, &mut batch)?,
                Err(fault) => quarantine(parts, row, &fault.to_string()).await?,
            }
        }
        let ended = matches!(parts.store.commit(batch, CommitMode::Apply).await?, Outcome::Committed { .. });
        tries = if ended { 0 } else { tries + 1 };
    }
    Err(Error::internal("others kept changing the deliveries of an endpoint that is gone"))
}

/// Puts a row aside that is not a delivery: trying again would not make it one.
pub async fn quarantine(parts: &Parts, row: Stored, cause: &str) -> Result<()> {
    tracing::error!(delivery = row.id, cause, "a delivery does not decode and is put aside");
    let mut doc = row.doc;
    doc["status"] = Status::Quarantined.name().into();
    doc["due_at"] = serde_json::Value::Null;
    doc["leased_until"] = serde_json::Value::Null;
    doc[QUARANTINED] = 1.into();
    doc["last_result"] = "does_not_decode".into();
    let mut batch = Batch::new();
    batch.replace(Delivery::COLLECTION, row.id, row.version, doc);
    parts.store.commit(batch, CommitMode::Apply).await?;
    parts.metrics.deliveries.with_label_values(&[Status::Quarantined.name()]).inc();
    Ok(())
}
