//! What the dispatcher does once a second, come what may, beside the sending: it looks for work of which nobody has told,
//! takes back leases that are over, writes down the health of endpoints and tells of what was given up.

use std::{sync::Arc, time::Duration};

use super::{Dispatcher, claim::sends_to};
use crate::{error::Result, id::EndpointId, repo::deliveries::Waiting, time::Timestamp};

/// How often the store is looked at for deliveries of which nobody has told.
pub(super) const EVERY: Duration = Duration::from_secs(1);
/// How many endpoints are looked at before the time is.
const PAGE: usize = 200;
/// For how long one look goes on; the next one begins where it ended.
const LOOKS_FOR: Duration = Duration::from_millis(250);

/// How far a pass through the endpoints with work has come.
#[derive(Debug, Default)]
pub(super) struct Pass {
    after: Option<EndpointId>,
    /// For how long the longest waiting delivery has been due, of endpoints that are sent to.
    longest: Duration,
}

impl Dispatcher {
    /// Goes round every second until it is time to stop; a round that is under way is finished.
    pub(super) async fn go_rounds(self: &Arc<Self>) {
        let mut ticks = tokio::time::interval(EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut pass = Pass::default();
        loop {
            tokio::select! {
                biased;
                () = self.stopping.cancelled() => return,
                _ = ticks.tick() => {}
                () = self.look.notified() => {}
            }
            self.look(&mut pass).await;
            self.wake.notify_one();
            let done = async {
                self.reap(false).await?;
                self.write_health().await?;
                self.leave_others_to_themselves();
                self.look_for_untold().await?;
                self.give_notices().await
            };
            if let Err(error) = done.await {
                tracing::warn!(error = %error, "leases that are over, or the health of endpoints, wait for the store");
            }
            self.gauge();
        }
    }

    /// Looks in the store for endpoints with work, from where the last look ended.
    pub(super) async fn look(&self, pass: &mut Pass) {
        if let Err(error) = self.try_look(pass).await {
            tracing::warn!(error = %error, "deliveries that wait could not be looked for");
        }
    }

    async fn try_look(&self, pass: &mut Pass) -> Result<()> {
        let parts = self.parts();
        let began = parts.clock.monotonic();
        loop {
            let (steady, epoch) = (parts.steady(), parts.keyring.epoch());
            let own = |endpoint| self.ownership.has(endpoint, began);
            let (found, next) = parts.deliveries.endpoints_with_work(pass.after, steady, PAGE, own).await?;
            self.note(&found, steady, epoch);
            for waiting in &found {
                self.find_longest(waiting, (steady, epoch), pass).await?;
            }
            pass.after = next;
            if next.is_none() {
                let longest = i64::try_from(std::mem::take(pass).longest.as_secs()).unwrap_or(i64::MAX);
                parts.metrics.deliveries_oldest.set(longest);
                return Ok(());
            }
            if parts.clock.monotonic().saturating_sub(began) >= LOOKS_FOR {
                return Ok(());
            }
        }
    }

    fn note(&self, found: &[Waiting], steady: Timestamp, epoch: u64) {
        let now = self.parts().clock.monotonic();
        let mut book = self.book.lock();
        for waiting in found {
            let due = now.saturating_add(waiting.due_at.since(steady));
            book.saw_work(waiting.endpoint, due, waiting.first, epoch);
        }
    }

    async fn find_longest(&self, waiting: &Waiting, at: (Timestamp, u64), pass: &mut Pass) -> Result<()> {
        let (now, epoch) = at;
        let since = now.since(waiting.due_at);
        if since > pass.longest
            && !self.book.lock().is_parked(waiting.endpoint, epoch)
            && let Some(endpoint) = self.parts().endpoints.find(waiting.endpoint).await?
            && sends_to(self.parts(), &endpoint).await?
        {
            pass.longest = since;
        }
        Ok(())
    }

    fn gauge(&self) {
        let (in_flight, open) = self.book.lock().counts();
        let shards = self.ownership.count(self.parts().clock.monotonic());
        self.parts().metrics.shards_held.set(i64::try_from(shards).unwrap_or(i64::MAX));
        self.parts().metrics.deliveries_in_flight.set(in_flight);
        self.parts().metrics.breakers_open.set(open);
    }
}
