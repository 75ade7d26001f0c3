//! Forgetting what is old: deliveries with their attempts, then the events that nothing is left of. A delivery that is too
//! old ends first, as `expired`, and its event's body stays for as long as any delivery of it could be sent.

use crate::{
    deliver::{
        ending::end,
        state::{Input, Status},
    },
    error::Result,
    model::{
        delivery::{Attempt, Delivery},
        event::Event,
    },
    parts::Parts,
    repo::Document,
    store::{Batch, Collection, CommitMode, Order, Outcome, Position, Scan, Stored, schema::PRIMARY},
    time::Timestamp,
};

/// Rows that one batch touches at most.
const STEP: usize = 500;
/// Rows that are looked at for one batch.
const PAGE: usize = 200;
/// Attempts of one delivery that are removed in the batch that removes it; more go with the next ones.
const ATTEMPTS: usize = 50;

/// Removes one batch of old deliveries, and one of old events; tells how many rows were removed or ended.
pub async fn sweep(parts: &Parts) -> Result<usize> {
    let now = parts.clock.now();
    Ok(sweep_deliveries(parts, now).await? + sweep_events(parts, now).await?)
}

/// Whether a row's time is over.
fn is_over(row: &Stored, now: Timestamp) -> bool {
    row.doc["expires_at"].as_str().and_then(|end| end.parse::<Timestamp>().ok()).is_some_and(|end| end <= now)
}

/// The oldest rows of a collection whose ids begin with their time, after `after`.
async fn oldest(parts: &Parts, collection: &'static Collection, after: Option<Position>) -> Result<Vec<Stored>> {
    let scan = Scan { limit: PAGE, order: Order::Ascending, after, ..Scan::new(collection, PRIMARY, Vec::new()) };
    Ok(parts.store.scan(scan).await?.rows)
}

async fn sweep_deliveries(parts: &Parts, now: Timestamp) -> Result<usize> {
    let mut batch = Batch::new();
    for row in oldest(parts, Delivery::COLLECTION, None).await? {
        if batch.writes.len() >= STEP - ATTEMPTS || !is_over(&row, now) {
            break;
        }
        sweep_delivery(parts, row, &mut batch).await?;
    }
    commit(parts, batch).await
}

async fn sweep_delivery(parts: &Parts, row: Stored, batch: &mut Batch) -> Result<()> {
    let (id, version) = (row.id.clone(), row.version);
    // One that does not decode has been put aside long ago, and goes like any other.
    if let Ok(delivery) = Delivery::from_stored(row) {
        match delivery.state.status {
            // It ends; the next sweep removes it.
            Status::Pending => return end(parts, delivery, Input::Expire, batch),
            // Somebody is at it right now.
            Status::Leased => return Ok(()),
            Status::Succeeded | Status::Exhausted | Status::Quarantined | Status::Cancelled | Status::Expired => {}
        }
    }
    let prefix = vec![id.clone().into()];
    let scan = Scan { limit: ATTEMPTS, ..Scan::new(Attempt::COLLECTION, "delivery", prefix) };
    let attempts = parts.store.scan(scan).await?.rows;
    let all = attempts.len() < ATTEMPTS;
    for attempt in attempts {
        batch.delete(Attempt::COLLECTION, attempt.id, attempt.version);
    }
    if all {
        batch.delete(Delivery::COLLECTION, id, version);
    }
    Ok(())
}

async fn sweep_events(parts: &Parts, now: Timestamp) -> Result<usize> {
    let mut batch = Batch::new();
    let mut after = None;
    loop {
        let rows = oldest(parts, Event::COLLECTION, after.take()).await?;
        let (full, mut kept_only) = (rows.len() == PAGE, true);
        after = rows.last().map(|row| Position { key: Vec::new(), id: row.id.clone() });
        for row in rows {
            if !is_over(&row, now) || batch.writes.len() >= STEP {
                return commit(parts, batch).await;
            }
            if is_needed(parts, &row.id).await? {
                continue;
            }
            kept_only = false;
            batch.delete(Event::COLLECTION, row.id, row.version);
        }
        // Old events that are still needed must not hide those behind them.
        if !full || !kept_only {
            return commit(parts, batch).await;
        }
    }
}

/// Whether a delivery of the event is there. One that begins in the meantime fails at its commit: a resend holds on to
/// its event.
async fn is_needed(parts: &Parts, event: &str) -> Result<bool> {
    Ok(parts.store.count(Delivery::COLLECTION, "event", &[event.into()], 1).await? > 0)
}

/// Commits a batch; what somebody else changed in the meantime is looked at the next time.
async fn commit(parts: &Parts, batch: Batch) -> Result<usize> {
    let rows = batch.writes.len();
    if rows == 0 {
        return Ok(0);
    }
    match parts.store.commit(batch, CommitMode::Apply).await? {
        Outcome::Committed { .. } => Ok(rows),
        Outcome::Conflict { .. } | Outcome::Stale { .. } | Outcome::OutOfBounds { .. } => Ok(0),
    }
}
