//! How endpoints are doing: kept in memory, written once a second where something has changed, and their end when they
//! have failed for days.

use std::{collections::HashMap, time::Duration};

use parking_lot::Mutex;

use super::{Dispatcher, attempt::Ended, notices::DISABLED};
use crate::{
    deliver::breaker::BreakerState,
    error::Result,
    id::EndpointId,
    model::endpoint::{Endpoint, EndpointHealth, EndpointState, hour_of},
    repo::Document,
    store::{Batch, CommitMode, Outcome, Position},
};

/// An endpoint is switched off that has failed for so long...
const FAILING_FOR: Duration = Duration::from_secs(5 * 86_400);
/// ...in so many attempts without a success in between...
const FAILING_ATTEMPTS: u64 = 20;
/// How many documents one commit writes.
const STEP: usize = 100;
/// How many endpoints' health is kept in memory.
const KEPT: usize = 10_000;
/// How many endpoints' health is looked at at once for something that was not told.
const SEARCHED: usize = 500;

/// Health that was read or changed lately; `true`: it is to be written.
#[derive(Debug, Default)]
pub(super) struct Ward(pub(super) Mutex<HashMap<EndpointId, (EndpointHealth, bool)>>);

/// How far the search for what was given up and not told has come.
#[derive(Debug)]
pub(super) enum Search {
    /// All were looked at in this hour since 1970.
    Done { hour: i64 },
    /// Those up to here were; all are still to be when it is `None`.
    Under { after: Option<Position> },
}

impl Default for Search {
    fn default() -> Self {
        Self::Under { after: None }
    }
}

/// Lets go of what is in the store as it is here, once there are `kept`; not of endpoints of which something is to be told.
fn make_room(ward: &mut HashMap<EndpointId, (EndpointHealth, bool)>, kept: usize) {
    if ward.len() >= kept {
        ward.retain(|_, (health, dirty)| *dirty || health.exhausted_untold > 0);
    }
}

impl Dispatcher {
    /// Notes how an attempt ended; `breaker` is its new state when that has changed.
    pub(super) async fn note_health(
        &self,
        endpoint: &Endpoint,
        ended: &Ended,
        breaker: Option<BreakerState>,
        exhausted: bool,
    ) {
        if let Err(error) = self.admit_to_ward(endpoint).await {
            tracing::debug!(endpoint = %endpoint.id, error = %error, "the health of an endpoint could not be read");
            return;
        }
        let now = self.parts().clock.now();
        let failed = (!ended.outcome.is_success()).then(|| ended.word());
        let failing = {
            let mut ward = self.ward.0.lock();
            let Some((health, dirty)) = ward.get_mut(&endpoint.id) else { return };
            health.note(now, failed.as_deref());
            health.breaker = breaker.unwrap_or(health.breaker);
            health.exhausted_untold += u64::from(exhausted);
            *dirty = true;
            // Whoever changed or enabled it since may have mended it: it gets its days anew.
            health.first_failure_at.is_some_and(|since| now.since(since.max(endpoint.updated_at)) >= FAILING_FOR)
                && health.consecutive_failures >= FAILING_ATTEMPTS
        };
        if failing {
            self.disable(endpoint, "it failed for five days", true).await;
        }
    }

    /// Reads an endpoint's health unless it is here.
    async fn admit_to_ward(&self, endpoint: &Endpoint) -> Result<()> {
        if self.ward.0.lock().contains_key(&endpoint.id) {
            return Ok(());
        }
        let stored = self.parts().endpoints.health(endpoint.id).await?;
        let health = stored.unwrap_or_else(|| EndpointHealth::new(endpoint.id, endpoint.project_id));
        let mut ward = self.ward.0.lock();
        make_room(&mut ward, KEPT);
        ward.entry(endpoint.id).or_insert((health, false));
        Ok(())
    }

    /// Takes endpoints in of which something was given up and not told: by a process before this one, or by another that
    /// is gone. A part of them at a time, all of them at the start and once an hour.
    pub(super) async fn look_for_untold(&self) -> Result<()> {
        let hour = hour_of(self.parts().clock.now());
        let after = {
            let mut search = self.search.lock();
            match &mut *search {
                Search::Done { hour: done } if *done == hour => return Ok(()),
                Search::Done { .. } => None,
                Search::Under { after } => after.take(),
            }
        };
        let (found, next) = self.parts().endpoints.health_page(after, SEARCHED).await?;
        let steady = self.parts().clock.monotonic();
        let mut ward = self.ward.0.lock();
        let own = |health: &EndpointHealth| self.ownership.has(health.endpoint_id, steady);
        for health in found.into_iter().filter(|health| health.exhausted_untold > 0 && own(health)) {
            ward.entry(health.endpoint_id).or_insert((health, false));
        }
        drop(ward);
        *self.search.lock() = match next {
            Some(after) => Search::Under { after: Some(after) },
            None => Search::Done { hour },
        };
        Ok(())
    }

    /// Forgets the health of endpoints that are another daemon's now, once it is written: what that daemon sees is not seen
    /// here, and an old failure must not end an endpoint that has long been well when it comes back.
    pub(super) fn leave_others_to_themselves(&self) {
        let now = self.parts().clock.monotonic();
        self.ward.0.lock().retain(|endpoint, (_, dirty)| *dirty || self.ownership.has(*endpoint, now));
    }

    /// Writes what has changed until now; what changes meanwhile is for the next time, so that this ends under any load.
    pub(super) async fn write_health(&self) -> Result<()> {
        let changed: Vec<EndpointHealth> = {
            let mut ward = self.ward.0.lock();
            let dirty = ward.values_mut().filter(|(_, dirty)| *dirty);
            dirty
                .map(|(health, dirty)| {
                    *dirty = false;
                    health.clone()
                })
                .collect()
        };
        let mut first = Ok(());
        for some in changed.chunks(STEP) {
            first = first.and(self.write_some(some).await);
        }
        first
    }

    /// Writes these in one commit. When one of them cannot be, each in one of its own: a deleted endpoint costs the others
    /// nothing.
    async fn write_some(&self, changed: &[EndpointHealth]) -> Result<()> {
        if changed.len() == 1 || !self.write_together(changed).await? {
            let mut first = Ok(());
            for one in changed {
                first = first.and(self.write_one(one).await);
            }
            return first;
        }
        Ok(())
    }

    /// Somebody else wrote, or the endpoint went: what is in the store is read again at the next attempt.
    async fn write_one(&self, health: &EndpointHealth) -> Result<()> {
        if !self.write_together(std::slice::from_ref(health)).await? {
            self.ward.0.lock().remove(&health.endpoint_id);
        }
        Ok(())
    }

    /// Whether all of these are written now. What could not be tried is to be written still.
    async fn write_together(&self, changed: &[EndpointHealth]) -> Result<bool> {
        let written = self.try_to_write(changed).await;
        let mut ward = self.ward.0.lock();
        for health in changed {
            let Some((kept, dirty)) = ward.get_mut(&health.endpoint_id) else { continue };
            match written {
                Ok(true) => kept.version = health.version + 1,
                Ok(false) => {}
                Err(_) => *dirty = true,
            }
        }
        written
    }

    /// New health holds only while its endpoint is there: one that was deleted has taken its health along.
    async fn try_to_write(&self, changed: &[EndpointHealth]) -> Result<bool> {
        let mut batch = Batch::new();
        for health in changed {
            if health.version > 0 {
                health.replace_in(&mut batch)?;
                continue;
            }
            let Some(endpoint) = self.parts().endpoints.find(health.endpoint_id).await? else { return Ok(false) };
            endpoint.require_in(&mut batch);
            health.insert_into(&mut batch)?;
        }
        let outcome = self.parts().store.commit(batch, CommitMode::Apply).await?;
        Ok(matches!(outcome, Outcome::Committed { .. }))
    }

    /// Switches an endpoint off, in the same commit with the event that tells the project's other endpoints.
    pub(super) async fn disable(&self, endpoint: &Endpoint, why: &str, tells: bool) {
        if let Err(error) = self.try_disable(endpoint, why, tells).await {
            tracing::warn!(endpoint = %endpoint.id, error = %error, "an endpoint could not be switched off");
        }
    }

    async fn try_disable(&self, endpoint: &Endpoint, why: &str, mut tells: bool) -> Result<()> {
        let parts = self.parts();
        // Once more when somebody changes it at the same time.
        for _ in 0..3 {
            let Some(current) = parts.endpoints.find(endpoint.id).await? else { return Ok(()) };
            // Whoever gave it another URL has answered what the old one said.
            if current.state == EndpointState::Disabled || current.url != endpoint.url {
                return Ok(());
            }
            let now = parts.clock.now();
            let disabled = Endpoint {
                state: EndpointState::Disabled,
                state_reason: Some(why.to_owned()),
                updated_at: now,
                ..current
            };
            let mut batch = Batch::new();
            disabled.replace_in(&mut batch)?;
            batch.bump_generation();
            if tells {
                self.notice(&disabled, DISABLED, Some(why), 1, now, &mut batch).await?;
            }
            match parts.commit(batch, CommitMode::Apply).await? {
                Outcome::Committed { .. } => {
                    tracing::info!(endpoint = %endpoint.id, why, "an endpoint was switched off");
                    return Ok(());
                }
                // The project's other endpoints have been told within the hour: this one is switched off without.
                Outcome::Conflict { .. } => tells = false,
                Outcome::Stale { .. } | Outcome::OutOfBounds { .. } => {}
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::ProjectId;

    #[test]
    fn an_endpoint_of_which_something_is_to_be_told_is_not_let_go() {
        let mut ward = HashMap::new();
        for (number, untold, dirty) in [(1, 0, false), (2, 3, false), (3, 0, true)] {
            let id = EndpointId::from_bits(number);
            let health = EndpointHealth::new(id, ProjectId::from_bits(1));
            ward.insert(id, (EndpointHealth { exhausted_untold: untold, ..health }, dirty));
        }
        make_room(&mut ward, 4);
        assert_eq!(ward.len(), 3, "there is room");
        make_room(&mut ward, 3);
        let mut left: Vec<EndpointId> = ward.into_keys().collect();
        left.sort();
        assert_eq!(left, [EndpointId::from_bits(2), EndpointId::from_bits(3)]);
    }
}
