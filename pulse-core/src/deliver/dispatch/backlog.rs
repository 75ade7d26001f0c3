//! How much waits, for whoever watches: what is on its way apart from what is parked, so that a backlog can be told from
//! endpoints that customers have left switched off.

use super::claim::sends_to;
use crate::{error::Result, parts::Parts};

/// How many endpoints are read at once.
const PAGE: usize = 1_000;

/// Deliveries that are pending.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backlog {
    /// For endpoints that are sent to: due, or waiting for their next attempt.
    pub queued: u64,
    /// For endpoints that are paused or disabled, or whose project is suspended.
    pub parked: u64,
}

/// Counts what is pending, each of the two up to `cap`. What waits for an endpoint that was deleted is neither: it is about
/// to be cancelled.
pub async fn backlog(parts: &Parts, cap: u64) -> Result<Backlog> {
    let (mut backlog, mut after) = (Backlog::default(), None);
    loop {
        let (found, next) = parts.deliveries.endpoints_with_work(after, parts.steady(), PAGE, |_| true).await?;
        for waiting in &found {
            let Some(endpoint) = parts.endpoints.find(waiting.endpoint).await? else { continue };
            let counted = match sends_to(parts, &endpoint).await? {
                true => &mut backlog.queued,
                false => &mut backlog.parked,
            };
            if *counted < cap {
                *counted += parts.deliveries.count_pending(endpoint.id, cap - *counted).await?;
            }
        }
        after = next;
        if after.is_none() || (backlog.queued >= cap && backlog.parked >= cap) {
            return Ok(backlog);
        }
    }
}
