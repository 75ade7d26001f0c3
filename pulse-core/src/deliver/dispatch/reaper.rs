//! Taking back leases whose holder did not come back: the process ended, or the store could not be reached for so long.

use super::{
    Dispatcher,
    attempt::{Ended, INTERRUPTED},
    finish::concluded,
    random,
};
use crate::{
    deliver::state::{AttemptOutcome, Input, Step, step},
    error::Result,
    fault,
    repo::{Document, deliveries::endpoint_of},
    store::{Batch, CommitMode, Outcome, Stored},
};

/// Leases that are taken back in one commit.
const STEP: usize = 200;

impl Dispatcher {
    /// Takes back every lease that is over; with `all`, every lease that there is. Each comes with a row about an attempt
    /// that was broken off, because the receiver may have seen it.
    pub(super) async fn reap(&self, all: bool) -> Result<()> {
        let parts = self.parts();
        let mut after = None;
        loop {
            let now = parts.steady();
            let page = parts.deliveries.leased((!all).then_some(now), after.take(), STEP).await?;
            let (next, mut batch, mut soonest) = (page.next, Batch::new(), Vec::new());
            for row in page.rows {
                // Those of other daemons are theirs to take back, and must not hide those behind them.
                if !all && !self.is_own(&row) {
                    continue;
                }
                let Some(delivery) = self.decode(row).await? else { continue };
                let Some(token) = delivery.state.lease_token else { continue };
                let schedule = &parts.settings.pipeline.schedule;
                let input = Input::LeaseOver { token };
                let Step::Moved(moved) = step(&delivery.state, input, schedule, random(parts)) else { continue };
                // When it was begun is not known: the lease began with it.
                let lease = parts.settings.pipeline.lease;
                let began = delivery.leased_until.map_or(now, |end| end.minus(lease));
                let ended = Ended::without_answer(AttemptOutcome::Released { sent: true }, INTERRUPTED, began);
                if let Some(attempt) = self.row(&delivery, &ended, moved.record) {
                    attempt.insert_into(&mut batch)?;
                }
                soonest.push((delivery.endpoint_id, moved.due_in.unwrap_or_default()));
                concluded(delivery, &moved, &ended, parts).replace_in(&mut batch)?;
                parts.metrics.attempts.with_label_values(&[INTERRUPTED]).inc();
            }
            if batch.is_empty() {
                match next {
                    None => return Ok(()),
                    next => after = next,
                }
                continue;
            }
            fault::point("reaper.mid").await?;
            // Stale: a holder came back in the meantime. The next look sees what is left.
            let taken = matches!(parts.store.commit(batch, CommitMode::Apply).await?, Outcome::Committed { .. });
            soonest.into_iter().for_each(|(endpoint, due_in)| self.awaken(endpoint, due_in));
            if !taken || next.is_none() {
                return Ok(());
            }
            after = next;
        }
    }

    /// Whether a delivery's endpoint is this daemon's; one that does not say which it is, is anybody's.
    fn is_own(&self, row: &Stored) -> bool {
        endpoint_of(&row.doc).is_none_or(|endpoint| self.ownership.has(endpoint, self.parts().clock.monotonic()))
    }
}
