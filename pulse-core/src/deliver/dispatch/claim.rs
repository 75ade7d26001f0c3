//! Taking due deliveries of one endpoint out of the queue, under leases, in one commit.

use std::sync::Arc;

use super::{Book, Dispatcher, Pick, Slot, Work, random, token};
use crate::{
    deliver::state::{AttemptOutcome, Input, Status, Step, step},
    error::Result,
    fault,
    id::EventId,
    ingest::delivers,
    model::{
        delivery::Delivery,
        endpoint::{Endpoint, EndpointState},
    },
    parts::Parts,
    repo::{
        Document,
        deliveries::{Due, QUARANTINED},
    },
    store::{Batch, CommitMode, Outcome, Stored},
};

/// What is sent of an event: its number in its session, and its envelope without it.
type Sent = (Option<u64>, Arc<str>);

/// Puts a pending delivery under a lease.
pub(super) fn lease(delivery: &mut Delivery, parts: &Parts) {
    let input = Input::Claim { token: token(parts) };
    if let Step::Moved(moved) = step(&delivery.state, input, &parts.settings.pipeline.schedule, 0.0) {
        delivery.state = moved.to;
        delivery.due_at = None;
        delivery.leased_until = Some(parts.clock.now().plus(parts.settings.pipeline.lease));
    }
}

impl Dispatcher {
    /// Makes one claim and begins the attempts. When the store fails, the places are given back and the endpoint is looked
    /// at again a little later.
    pub(super) async fn claim(self: Arc<Self>, pick: Pick) {
        if let Err(error) = self.try_claim(pick).await {
            tracing::warn!(endpoint = %pick.endpoint, error = %error, "a claim failed");
            let now = self.parts().clock.monotonic();
            let again = now.saturating_add(super::DISCOVER_EVERY);
            self.book.lock().looked(pick, None, 0, Some(again), now);
        }
        self.wake.notify_one();
    }

    async fn try_claim(self: &Arc<Self>, pick: Pick) -> Result<()> {
        let parts = self.parts();
        let endpoint = parts.endpoints.find(pick.endpoint).await?.map(Arc::new);
        let now = parts.clock.monotonic();
        let looked = |book: &mut Book, used, next| book.looked(pick, endpoint.as_deref(), used, next, now);
        let receiver = match &endpoint {
            Some(endpoint) if self.sends_to(endpoint).await? => Some(endpoint),
            _ => None,
        };
        let Some(endpoint) = receiver.filter(|_| !self.stopping.is_cancelled()) else {
            // What waits stays as it is; whoever changes the endpoint gives a hint.
            looked(&mut self.book.lock(), 0, None);
            return Ok(());
        };
        let Due { rows, next } = parts.deliveries.due(pick.endpoint, parts.clock.now(), pick.places).await?;
        let next = next.map(|at| now.saturating_add(at.since(parts.clock.now())));
        let claimed = self.take(rows, endpoint).await?;
        fault::point("claim.after_mark").await?;
        looked(&mut self.book.lock(), claimed.len(), next);
        for (delivery, event) in claimed {
            let slot = Slot { dispatcher: Arc::clone(self), endpoint: pick.endpoint, fresh: false };
            let Some((seq, body)) = event else {
                self.fault(slot, delivery, "its event cannot be read").await;
                continue;
            };
            self.start(slot, Work { delivery, endpoint: Arc::clone(endpoint), seq, body });
        }
        Ok(())
    }

    /// Whether anything is sent to the endpoint now.
    async fn sends_to(&self, endpoint: &Endpoint) -> Result<bool> {
        if endpoint.state != EndpointState::Active {
            return Ok(false);
        }
        Ok(self.parts().keyring.tenant(endpoint.project_id).await?.is_some_and(|tenant| delivers(&tenant)))
    }

    /// Puts these rows under leases, in one commit; when some of them have changed in the meantime, one by one. Gives
    /// those that are ours now, with their events: none where it cannot be read, so that the others go on.
    async fn take(&self, rows: Vec<Stored>, endpoint: &Endpoint) -> Result<Vec<(Delivery, Option<Sent>)>> {
        let parts = self.parts();
        let mut leased = Vec::with_capacity(rows.len());
        for row in rows {
            if let Some(mut delivery) = self.decode(row).await? {
                lease(&mut delivery, parts);
                leased.push(delivery);
            }
        }
        let ours = match self.commit_leases(&leased, endpoint).await? {
            true => leased,
            false => {
                let mut ours = Vec::new();
                for delivery in leased {
                    if self.commit_leases(std::slice::from_ref(&delivery), endpoint).await? {
                        ours.push(delivery);
                    }
                }
                ours
            }
        };
        let mut claimed = Vec::with_capacity(ours.len());
        let mut last: Option<(EventId, Option<Sent>)> = None;
        for mut delivery in ours {
            delivery.set_version(delivery.version() + 1);
            let event = match &last {
                Some((id, event)) if *id == delivery.event_id => event.clone(),
                _ => self.event(&delivery).await,
            };
            last = Some((delivery.event_id, event.clone()));
            claimed.push((delivery, event));
        }
        Ok(claimed)
    }

    /// What is sent of the delivery's event; none when it cannot be read.
    async fn event(&self, delivery: &Delivery) -> Option<Sent> {
        match self.parts().events.get(delivery.project_id, delivery.event_id).await {
            Ok(event) => event.map(|event| (event.seq, event.body)),
            Err(error) => {
                tracing::warn!(event = %delivery.event_id, error = %error, "an event cannot be read");
                None
            }
        }
    }

    /// The leases hold only for the endpoint as it was read: one that was paused, changed or deleted since is looked at
    /// again first.
    async fn commit_leases(&self, leased: &[Delivery], endpoint: &Endpoint) -> Result<bool> {
        let mut batch = Batch::new();
        endpoint.require_in(&mut batch);
        leased.iter().try_for_each(|delivery| delivery.replace_in(&mut batch))?;
        Ok(matches!(self.parts().store.commit(batch, CommitMode::Apply).await?, Outcome::Committed { .. }))
    }

    /// The delivery of a row; none when the row is not one and has been put aside.
    pub(super) async fn decode(&self, row: Stored) -> Result<Option<Delivery>> {
        match Delivery::read(&row) {
            Ok(delivery) => Ok(Some(delivery)),
            Err(fault) => self.quarantine(row, &fault.to_string()).await.map(|()| None),
        }
    }

    /// Puts a row aside that is not a delivery: trying again would not make it one.
    async fn quarantine(&self, row: Stored, cause: &str) -> Result<()> {
        let parts = self.parts();
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
        parts.metrics.deliveries.with_label_values(&["quarantined"]).inc();
        Ok(())
    }

    /// The wait of a delivery after a fault of Pulse, without sending it.
    async fn fault(&self, slot: Slot, mut delivery: Delivery, what: &str) {
        tracing::error!(delivery = %delivery.id, what, "a delivery could not be sent");
        let Some(token) = delivery.state.lease_token else { return };
        let outcome = AttemptOutcome::Fault { sent: false };
        let input = Input::Finish { token, outcome };
        let schedule = &self.parts().settings.pipeline.schedule;
        if let Step::Moved(moved) = step(&delivery.state, input, schedule, random(self.parts())) {
            delivery.last_result = Some(what.to_owned());
            self.write_down(&delivery, moved.to, moved.due_in, None).await;
        }
        drop(slot);
    }
}
