//! Taking back leases whose holder did not come back: the process ended, or the store could not be reached for so long.

use std::time::Duration;

use super::{Dispatcher, random};
use crate::{
    deliver::state::{Input, Record, Step, step},
    error::Result,
    fault,
    model::delivery::{Attempt, AttemptResult, Delivery},
    repo::Document,
    store::{Batch, CommitMode, Outcome},
};

/// Leases that are taken back in one commit.
const STEP: usize = 200;

impl Dispatcher {
    /// Takes back every lease that is over; with `all`, every lease that there is. Each comes with a row about an attempt
    /// that was broken off, because the receiver may have seen it.
    pub(super) async fn reap(&self, all: bool) -> Result<()> {
        let parts = self.parts();
        loop {
            let now = parts.clock.now();
            let rows = parts.deliveries.leased((!all).then_some(now), STEP).await?;
            let (found, mut batch, mut soonest) = (rows.len(), Batch::new(), Vec::new());
            let mut quarantined = false;
            for row in rows {
                let delivery = match Delivery::from_stored(row.clone()) {
                    Ok(delivery) => delivery,
                    Err(fault) => {
                        self.quarantine(row, &fault.to_string()).await?;
                        quarantined = true;
                        continue;
                    }
                };
                let Some(token) = delivery.state.lease_token else { continue };
                let schedule = &parts.settings.pipeline.schedule;
                let input = Input::LeaseOver { token };
                let Step::Moved(moved) = step(&delivery.state, input, schedule, random(parts)) else { continue };
                let due_in = moved.due_in.unwrap_or(Duration::ZERO);
                if let Some(Record::Interrupted { number } | Record::Attempt { number }) = moved.record {
                    self.interrupted(&delivery, number).insert_into(&mut batch)?;
                }
                soonest.push((delivery.endpoint_id, due_in));
                super::finish::moved(delivery, moved.to, Some(due_in), None, now).replace_in(&mut batch)?;
                parts.metrics.attempts.with_label_values(&["interrupted"]).inc();
            }
            if batch.is_empty() {
                if quarantined && found == STEP {
                    continue;
                }
                return Ok(());
            }
            fault::point("reaper.mid").await?;
            // Stale: a holder came back in the meantime. The next look sees what is left.
            let taken = matches!(parts.store.commit(batch, CommitMode::Apply).await?, Outcome::Committed { .. });
            soonest.into_iter().for_each(|(endpoint, due_in)| self.awaken(endpoint, due_in));
            if !taken || found < STEP {
                return Ok(());
            }
        }
    }

    fn interrupted(&self, delivery: &Delivery, number: u32) -> Attempt {
        let parts = self.parts();
        let token = delivery.state.lease_token.unwrap_or_else(|| super::token(parts));
        // When it was begun is not known: the lease began with it.
        let started_at =
            delivery.leased_until.map_or_else(|| parts.clock.now(), |end| end.minus(parts.settings.pipeline.lease));
        Attempt {
            id: Attempt::id_of(delivery.id, token, started_at),
            project_id: delivery.project_id,
            delivery_id: delivery.id,
            endpoint_id: delivery.endpoint_id,
            lease_token: token,
            number,
            trigger: super::finish::trigger(delivery),
            result: AttemptResult::Interrupted,
            late: false,
            started_at,
            duration_millis: 0,
            remote_ip: None,
            status_code: None,
            error: None,
            error_detail: None,
            response_headers: Vec::new(),
            response_body: None,
            expires_at: delivery.expires_at,
            version: 0,
        }
    }
}
