//! Taking due deliveries of one endpoint out of the queue, under leases, in one commit. What another process has just recorded
//! is taken without looking for it.
//!
//! The endpoint is read again once the leases are committed, and what is not to be sent to it as it is now is given back: so
//! nothing is begun for an endpoint as it was before a change that was answered, and a claim writes nothing but its leases.

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures_util::FutureExt;

use super::{Dispatcher, Pick, Slot, Work, attempt::Ended, book::Found, rounds, token};
use crate::{
    deliver::{
        ending::{cancel_if_gone, quarantine},
        state::{AttemptOutcome, Input, Step, step},
    },
    error::{Code, Result},
    fault,
    ingest::delivers,
    model::{
        delivery::{Delivery, Priority},
        endpoint::{Endpoint, EndpointState},
    },
    parts::Parts,
    repo::Document,
    store::{Batch, CommitMode, Outcome, Stored},
};

/// Results of deliveries that were taken and not sent: the event, or the endpoint, cannot be read, or the endpoint has changed.
const EVENT_UNREADABLE: &str = "event_unreadable";
const ENDPOINT_UNREADABLE: &str = "endpoint_unreadable";
const ENDPOINT_CHANGED: &str = "endpoint_changed";

/// What is sent of an event: its number in its session, and its envelope without it.
type Sent = (Option<u64>, Arc<str>);

/// The same, or what it comes to that it is not sent, and the word for that.
type Read = Result<Sent, (AttemptOutcome, &'static str)>;

/// Puts a pending delivery under a lease.
pub(super) fn lease(delivery: &mut Delivery, parts: &Parts) {
    let input = Input::Claim { token: token(parts) };
    if let Step::Moved(moved) = step(&delivery.state, input, &parts.settings.pipeline.schedule, 0.0) {
        delivery.state = moved.to;
        delivery.due_at = None;
        delivery.leased_until = Some(parts.steady().plus(parts.settings.pipeline.lease));
    }
}

/// What a claim came to.
#[derive(Default)]
struct Claimed {
    endpoint: Option<Arc<Endpoint>>,
    /// What is leased now, each with its event.
    leased: Vec<(Delivery, Read)>,
    /// When the next delivery is due (monotonic), and whether it may be a first attempt.
    next: Option<(Duration, bool)>,
    /// The epoch of the caches in which nothing is sent to the endpoint.
    parked: Option<u64>,
}

impl Dispatcher {
    /// Makes one claim and begins the attempts. When it fails, the places are given back and the endpoint is looked at again a
    /// little later.
    pub(super) async fn claim(self: Arc<Self>, pick: Pick) {
        let Claimed { endpoint, leased, next, parked } =
            match AssertUnwindSafe(self.try_claim(pick)).catch_unwind().await {
                Ok(Ok(claimed)) => claimed,
                failed => {
                    let error = failed.ok().and_then(Result::err);
                    tracing::warn!(endpoint = %pick.endpoint, ?error, "a claim failed");
                    let again = self.parts().clock.monotonic().saturating_add(rounds::EVERY);
                    Claimed { next: Some((again, true)), ..Claimed::default() }
                }
            };
        let firsts = leased.iter().filter(|(delivery, _)| is_first(delivery)).count();
        let found = Found { endpoint: endpoint.as_deref(), firsts, others: leased.len() - firsts, next, parked };
        self.book.lock().looked(pick, &found, self.parts().clock.monotonic());
        for (delivery, event) in leased {
            let first = pick.firsts_only || is_first(&delivery);
            let slot = Slot::new(&self, pick.endpoint, first);
            let Some(endpoint) = &endpoint else { continue };
            self.begin(slot, delivery, event, endpoint).await;
        }
        self.wake.notify_one();
    }

    /// Takes a delivery that another process has just recorded, for the place that was kept for it. When that fails, the
    /// endpoint is looked at a little later.
    pub(super) async fn claim_heard(self: Arc<Self>, slot: Slot, row: Stored, endpoint: Arc<Endpoint>) {
        let take = async {
            if self.stopping.is_cancelled() || !sends_to(self.parts(), &endpoint).await? {
                // It is parked as anything else that waits.
                self.awaken(endpoint.id, Duration::ZERO);
                return Ok(Vec::new());
            }
            self.take(vec![row], &endpoint).await
        };
        match AssertUnwindSafe(take).catch_unwind().await {
            Ok(Ok(taken)) => {
                // None when somebody else was faster.
                if let Some((delivery, event)) = taken.into_iter().next() {
                    self.begin(slot, delivery, event, &endpoint).await;
                }
            }
            failed => {
                let error = failed.ok().and_then(Result::err);
                tracing::warn!(endpoint = %endpoint.id, ?error, "a claim failed");
                self.awaken(endpoint.id, rounds::EVERY);
            }
        }
    }

    /// Begins the attempt of what was taken, or gives it back.
    async fn begin(self: &Arc<Self>, slot: Slot, delivery: Delivery, event: Read, endpoint: &Arc<Endpoint>) {
        match event {
            Ok((seq, body)) => self.start(slot, Work { delivery, endpoint: Arc::clone(endpoint), seq, body }),
            Err((outcome, why)) => {
                let ended = Ended::without_answer(outcome, why, self.parts().clock.now());
                self.finish(&delivery, endpoint, &ended).await;
            }
        }
    }

    async fn try_claim(&self, pick: Pick) -> Result<Claimed> {
        let parts = self.parts();
        // Before anything is read: what is changed after the look belongs to a later epoch.
        let epoch = parts.keyring.epoch();
        let Some(endpoint) = parts.endpoints.find(pick.endpoint).await?.map(Arc::new) else {
            // It was deleted while one of its deliveries was under way, or was being recorded.
            cancel_if_gone(parts, pick.endpoint).await?;
            return Ok(Claimed::default());
        };
        if self.stopping.is_cancelled() || !self.ownership.has(pick.endpoint, parts.clock.monotonic()) {
            return Ok(Claimed { endpoint: Some(endpoint), ..Claimed::default() });
        }
        if !sends_to(parts, &endpoint).await? {
            return Ok(Claimed { endpoint: Some(endpoint), parked: Some(epoch), ..Claimed::default() });
        }
        let (steady, now) = (parts.steady(), parts.clock.monotonic());
        let due = parts.deliveries.due(pick.endpoint, steady, pick.places, pick.firsts_only).await?;
        let next = due.next.map(|at| (now.saturating_add(at.since(steady)), due.next_is_first));
        let leased = self.take(due.rows, &endpoint).await?;
        fault::point("claim.after_mark").await?;
        Ok(Claimed { endpoint: Some(endpoint), leased, next, parked: None })
    }

    /// Puts these rows under leases, in one commit; when some of them have changed in the meantime, one by one. Gives
    /// those that are ours now, with their events, or with what it comes to where one cannot be sent: the others go on.
    async fn take(&self, rows: Vec<Stored>, endpoint: &Endpoint) -> Result<Vec<(Delivery, Read)>> {
        let parts = self.parts();
        let mut leased = Vec::with_capacity(rows.len());
        for row in rows {
            if let Some(mut delivery) = self.decode(row).await? {
                lease(&mut delivery, parts);
                leased.push(delivery);
            }
        }
        let ours = match self.commit_leases(&leased).await? {
            true => leased,
            false if leased.len() == 1 => Vec::new(),
            false => {
                let mut ours = Vec::new();
                for delivery in leased {
                    if self.commit_leases(std::slice::from_ref(&delivery)).await? {
                        ours.push(delivery);
                    }
                }
                ours
            }
        };
        if ours.is_empty() {
            return Ok(Vec::new());
        }
        let (is_as_read, events) = tokio::join!(self.is_as_read(endpoint), self.events(&ours));
        let claimed = ours.into_iter().zip(events).map(|(mut delivery, event)| {
            delivery.set_version(delivery.version() + 1);
            (delivery, is_as_read.and(event))
        });
        Ok(claimed.collect())
    }

    /// Whether the endpoint is as it was read before the leases were committed; otherwise, what they come to.
    async fn is_as_read(&self, read: &Endpoint) -> Result<(), (AttemptOutcome, &'static str)> {
        match self.parts().endpoints.find(read.id).await {
            Ok(Some(now)) if now.version == read.version => Ok(()),
            Ok(_) => {
                // What is heard for it is not taken for what it was.
                self.prepared.forget(read.id);
                Err((AttemptOutcome::Released { sent: false }, ENDPOINT_CHANGED))
            }
            Err(error) => {
                tracing::warn!(endpoint = %read.id, error = %error, "an endpoint cannot be read");
                Err((AttemptOutcome::Hindered { sent: false }, ENDPOINT_UNREADABLE))
            }
        }
    }

    /// What is sent of the events of these deliveries.
    async fn events(&self, deliveries: &[Delivery]) -> Vec<Read> {
        let mut events: Vec<Read> = Vec::with_capacity(deliveries.len());
        for (n, delivery) in deliveries.iter().enumerate() {
            let event = match events.last() {
                Some(event) if deliveries[n - 1].event_id == delivery.event_id => event.clone(),
                _ => self.event(delivery).await,
            };
            events.push(event);
        }
        events
    }

    /// What is sent of the delivery's event. One that a store does not give out now is there later.
    async fn event(&self, delivery: &Delivery) -> Read {
        let error = match self.parts().events.get(delivery.project_id, delivery.event_id).await {
            Ok(Some(event)) => return Ok((event.seq, event.body)),
            Ok(None) => None,
            Err(error) => Some(error),
        };
        let is_away = error.as_ref().is_some_and(|error| error.code() == Code::StoreUnavailable);
        let error = error.map(|error| error.to_string());
        tracing::error!(delivery = %delivery.id, event = %delivery.event_id, error, "a delivery could not be sent: its event cannot be read");
        let outcome =
            if is_away { AttemptOutcome::Hindered { sent: false } } else { AttemptOutcome::Fault { sent: false } };
        Err((outcome, EVENT_UNREADABLE))
    }

    async fn commit_leases(&self, leased: &[Delivery]) -> Result<bool> {
        let mut batch = Batch::new();
        leased.iter().try_for_each(|delivery| delivery.replace_in(&mut batch))?;
        Ok(matches!(self.parts().store.commit(batch, CommitMode::Apply).await?, Outcome::Committed { .. }))
    }

    /// The delivery of a row; none when the row is not one and has been put aside.
    pub(super) async fn decode(&self, row: Stored) -> Result<Option<Delivery>> {
        match Delivery::read(&row) {
            Ok(delivery) => Ok(Some(delivery)),
            Err(fault) => quarantine(self.parts(), row, &fault.to_string()).await.map(|()| None),
        }
    }
}

/// Whether anything is sent to the endpoint now; what waits for one that is not sent to is parked.
pub(super) async fn sends_to(parts: &Parts, endpoint: &Endpoint) -> Result<bool> {
    if endpoint.state != EndpointState::Active {
        return Ok(false);
    }
    Ok(parts.keyring.tenant(endpoint.project_id).await?.is_some_and(|tenant| delivers(&tenant)))
}

/// Whether the next attempt of a delivery is its first.
fn is_first(delivery: &Delivery) -> bool {
    delivery.prio == Priority::First.number()
}
