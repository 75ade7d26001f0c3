//! Forgetting what is old: deliveries with their attempts, then the events that nothing is left of. A delivery that is too
//! old ends first, as `expired`, and its event's body stays for as long as any delivery of it could be sent.

use std::time::Duration;

use crate::{
    deliver::{
        ending::end,
        state::{Input, Status},
    },
    error::Result,
    id::{DeliveryId, EventId},
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

/// Whether a row is to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Age {
    /// Its time is over.
    Over,
    /// It is not, nor is that of those behind it.
    Young,
    /// It does not say. It stays, and keeps none of those behind it from going.
    Unknown,
}

impl Age {
    /// The age of a row that says when its time is over, under a retention that keeps `kept`: one that was shortened since
    /// the row was written holds for the row, too. Otherwise it would stand before younger ones that are to go.
    fn of(row: &Stored, kept: Duration, now: Timestamp) -> Self {
        let Some(end) = row.doc["expires_at"].as_str().and_then(|end| end.parse::<Timestamp>().ok()) else {
            return Self::Unknown;
        };
        let end = moment_of(&row.id).map_or(end, |began| end.min(began.plus(kept)));
        if end <= now { Self::Over } else { Self::Young }
    }
}

/// The moment with which an id begins, behind its prefix.
fn moment_of(id: &str) -> Option<Timestamp> {
    let of_event = id.parse::<EventId>().map(EventId::moment).ok();
    of_event.or_else(|| id.parse::<DeliveryId>().map(DeliveryId::moment).ok())
}

/// Rows of a collection whose ids begin with their time, oldest first, page by page.
struct Oldest {
    collection: &'static Collection,
    after: Option<Position>,
    /// Rows that do not say when their time is over.
    unknown: usize,
}

impl Oldest {
    fn of(collection: &'static Collection) -> Self {
        Self { collection, after: None, unknown: 0 }
    }

    /// The next page of those whose time is over, and whether there is another behind it. A damaged row is passed by.
    async fn page(&mut self, parts: &Parts, now: Timestamp) -> Result<(Vec<Stored>, bool)> {
        let (after, order) = (self.after.take(), Order::Ascending);
        let scan = Scan { limit: PAGE, order, after, ..Scan::new(self.collection, PRIMARY, Vec::new()) };
        let rows = parts.store.scan(scan).await?;
        self.after = rows.next;
        let mut over = Vec::new();
        for row in rows.rows {
            match Age::of(&row, parts.settings.pipeline.keep_events, now) {
                Age::Over => over.push(row),
                Age::Young => return Ok((over, false)),
                Age::Unknown => self.unknown += 1,
            }
        }
        Ok((over, self.after.is_some()))
    }

    /// Commits what was found, and says which rows stay for ever once nothing else is left to do.
    async fn commit(self, parts: &Parts, batch: Batch) -> Result<usize> {
        if batch.is_empty() && self.unknown > 0 {
            let Self { collection, unknown, .. } = self;
            tracing::error!(collection = collection.name, unknown, "rows do not say when their time is over, and stay");
        }
        commit(parts, batch).await
    }
}

async fn sweep_deliveries(parts: &Parts, now: Timestamp) -> Result<usize> {
    let (mut batch, mut oldest) = (Batch::new(), Oldest::of(Delivery::COLLECTION));
    loop {
        let (rows, more) = oldest.page(parts, now).await?;
        for row in rows {
            if batch.writes.len() >= STEP - ATTEMPTS {
                return oldest.commit(parts, batch).await;
            }
            sweep_delivery(parts, row, &mut batch).await?;
        }
        // Those that are leased, or damaged, must not hide those behind them.
        if !more || !batch.is_empty() {
            return oldest.commit(parts, batch).await;
        }
    }
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
    let (mut batch, mut oldest) = (Batch::new(), Oldest::of(Event::COLLECTION));
    loop {
        let (rows, more) = oldest.page(parts, now).await?;
        for row in rows {
            if batch.writes.len() >= STEP {
                return oldest.commit(parts, batch).await;
            }
            if !is_needed(parts, &row.id).await? {
                batch.delete(Event::COLLECTION, row.id, row.version);
            }
        }
        // Old events that are still needed, or damaged, must not hide those behind them.
        if !more || !batch.is_empty() {
            return oldest.commit(parts, batch).await;
        }
    }
}

/// Whether a delivery of the event is there. One that begins in the meantime fails at its commit: resends and replays
/// hold on to their events.
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
