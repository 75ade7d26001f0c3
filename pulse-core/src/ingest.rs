//! From a webhook of LiveKit to durable facts: verified, understood, put to its tenant, and committed at once together with
//! everything that follows from it: the session's change, the usage, the deliveries. Then, and only then, it is answered.
//!
//! - What is acknowledged is durable. What cannot be committed is answered 503 with `Retry-After: 5`, within five seconds.
//! - The same event twice, or a hundred times at once, is one event: its source id is unique in the store.
//! - Events of one room are planned one after the other in this process (`lanes`), so that they do not come between each
//!   other; what another process commits in between makes the plan be made again.

mod adopt;
mod arrival;
mod doors;
mod effects;
mod lanes;
mod plan;
mod record;
mod removal;
mod settle;
mod unclaimed;

use std::{sync::Arc, time::Duration};

use tokio::sync::MutexGuard;

pub(crate) use self::{
    adopt::adopt,
    arrival::delivers,
    effects::{key_of_run, subject_of_egress, subject_of_ingress},
    removal::{Presence, remove, unwanted},
    settle::{settle, settle_session},
};
pub use self::{
    arrival::Arrival,
    record::{Audience, NewEvent, Outbox, Recorder, Routes},
};
use self::{arrival::Owner, lanes::Lane, plan::Planned};
use crate::{
    deliver::dispatch::Dispatcher,
    error::{Code, Error, Result},
    fault,
    id::ProjectId,
    media::{
        cluster::signer_of,
        event::LiveKitEvent,
        webhook::{Presented, Refusal, Verified, WebhookKeys},
    },
    model::event::SERVER_CLUSTER,
    parts::Wakes,
    plane::ControlPlane,
    store::{CommitMode, Outcome, schema},
};

/// How often an event is planned before it is left to LiveKit to send it again.
const MAX_PLANS: usize = 5;
/// How long an event may take, from its first byte to its answer: LiveKit waits five seconds for that.
pub const PATIENCE: Duration = Duration::from_millis(4_500);
/// After how many seconds LiveKit shall come again. With 5 its client tries at 0, 5, 10, 15 and 20 s; with 1 it gives up
/// after four (measured with livekit-server 1.13).
pub const RETRY_AFTER_SECONDS: u64 = 5;

/// Where an event came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// Of the installation's own LiveKit, whose rooms name their projects.
    Server,
    /// Of a LiveKit that a project brought along: all that it says is about that project.
    Project(ProjectId),
}

impl Door {
    /// The cluster in the store.
    pub fn cluster(self) -> String {
        match self {
            Self::Server => SERVER_CLUSTER.to_owned(),
            Self::Project(id) => id.to_string(),
        }
    }

    fn label(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::Project(_) => "project",
        }
    }
}

/// What became of an event that was accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accepted {
    /// It is recorded.
    Recorded,
    /// It was recorded before.
    Duplicate,
    /// It belongs to no project that is known, and is kept for the operator.
    Unclaimed,
}

impl Accepted {
    fn label(self) -> &'static str {
        match self {
            Self::Recorded => "recorded",
            Self::Duplicate => "duplicate",
            Self::Unclaimed => "unclaimed",
        }
    }
}

/// Takes LiveKit's webhooks in.
pub struct Ingest {
    plane: Arc<ControlPlane>,
    dispatcher: Arc<Dispatcher>,
    keys: WebhookKeys,
    doors: doors::Doors,
    lanes: lanes::Lanes,
    routes: Routes,
    vacancies: unclaimed::Vacancies,
}

impl std::fmt::Debug for Ingest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ingest").field("plane", &self.plane).finish_non_exhaustive()
    }
}

impl Ingest {
    /// Over a plane; what is to be delivered at once goes to the dispatcher.
    pub fn new(plane: Arc<ControlPlane>, dispatcher: Arc<Dispatcher>) -> Self {
        let settings = &plane.parts().settings;
        let own = (settings.livekit.api_key.clone(), settings.livekit.api_secret.clone());
        let pairs = std::iter::once(own).chain(settings.pipeline.webhook_keys.iter().cloned());
        let keys = WebhookKeys::new(pairs.collect());
        let (doors, lanes, routes, vacancies) = Default::default();
        Self { plane, dispatcher, keys, doors, lanes, routes, vacancies }
    }

    /// Takes one webhook in: the value of `Authorization` as it came, and the exact bytes of the body. It may take
    /// [`PATIENCE`].
    ///
    /// Errors: as of [`Self::receive_within`].
    pub async fn receive(&self, door: Door, authorization: Option<&[u8]>, body: &[u8]) -> Result<Accepted> {
        self.receive_within(PATIENCE, door, authorization, body).await
    }

    /// The same in what is left of [`PATIENCE`], which began when the request came.
    ///
    /// Errors: `unauthenticated` for what LiveKit did not sign, `bad_request` for what is not an event of LiveKit,
    /// `not_found` for the door of an unknown project; `overloaded` and `store_unavailable`, always with a time to come
    /// again, for what could not be made durable in time.
    pub async fn receive_within(
        &self,
        left: Duration,
        door: Door,
        authorization: Option<&[u8]>,
        body: &[u8],
    ) -> Result<Accepted> {
        let metrics = &self.plane.parts().metrics;
        let result = tokio::time::timeout(left, self.take_in(door, authorization, body))
            .await
            .unwrap_or_else(|_| Err(Error::new(Code::Overloaded, "the event could not be recorded in time")));
        let result = result.map_err(|error| match error.code() {
            Code::StoreUnavailable | Code::Overloaded => error.retry_after(RETRY_AFTER_SECONDS),
            _ => error,
        });
        match &result {
            Ok(accepted) => metrics.ingested.with_label_values(&[door.label(), accepted.label()]).inc(),
            Err(error) => self.note_failed(door, error),
        }
        result
    }

    /// Counts a webhook that was not taken in. For the caller, too, when no whole body came: LiveKit takes the answer to one that is
    /// too large for delivered, so the count is all that is left of it.
    pub fn note_failed(&self, door: Door, error: &Error) {
        self.plane.parts().metrics.ingested.with_label_values(&[door.label(), error.code().info().name]).inc();
    }

    async fn take_in(&self, door: Door, authorization: Option<&[u8]>, body: &[u8]) -> Result<Accepted> {
        self.verify(door, authorization, body).await?;
        fault::point("ingest.after_verify").await?;
        let event = LiveKitEvent::parse(body)
            .map_err(|fault| Error::new(Code::BadRequest, format!("the body {}", fault.reason)))?;
        self.accept(door, event, body).await
    }

    async fn verify(&self, door: Door, authorization: Option<&[u8]>, body: &[u8]) -> Result<()> {
        let parts = self.plane.parts();
        let now = parts.clock.now();
        let verified = match Presented::read(authorization) {
            Ok(presented) => match self.keys_of(door).await? {
                Some(keys) => presented.judge(&keys, body, now),
                // What a door without keys is told must not say whether the project exists.
                None => Err(Refusal::UnknownKey),
            },
            Err(refusal) => Err(refusal),
        };
        // Also when the clocks are so far apart that nothing is let in: this is when the gauge is needed most. The clocks of
        // customers' LiveKits are their own business, and no alarm of the operator's.
        let skew = verified.map_or_else(Refusal::skew, |Verified { skew }| Some(skew));
        if let Some(skew) = skew.filter(|_| door == Door::Server) {
            parts.metrics.clock_skew.set(skew);
        }
        match verified {
            Ok(_) => Ok(()),
            Err(refusal) => {
                parts.metrics.ingest_refused.with_label_values(&[refusal.name()]).inc();
                Err(Error::new(Code::Unauthenticated, "this webhook is not signed by a LiveKit that is known here")
                    .because(std::io::Error::other(refusal.name())))
            }
        }
    }

    /// The keys that open a door: ours, or the pair of a project's own LiveKit; none when it has none.
    async fn keys_of(&self, door: Door) -> Result<Option<WebhookKeys>> {
        let parts = self.plane.parts();
        let Door::Project(id) = door else { return Ok(Some(self.keys.clone())) };
        let Some(tenant) = self.doors.tenant(&parts.keyring, id, parts.clock.monotonic()).await? else {
            return Ok(None);
        };
        if tenant.project.livekit_credentials.is_none() {
            return Ok(None);
        }
        let signer = signer_of(&tenant.project, &parts.settings.livekit, &parts.sealer)?;
        Ok(Some(WebhookKeys::new(vec![(signer.api_key, signer.api_secret)])))
    }

    /// Records an event that is known to come from LiveKit.
    pub(crate) async fn accept(&self, door: Door, event: LiveKitEvent, body: &[u8]) -> Result<Accepted> {
        let arrival = match Arrival::of(self.plane.parts(), door, event).await? {
            Owner::Project(arrival) => arrival,
            Owner::Nobody(event) => return self.keep(door, &event, body).await,
        };
        let mut lane = self.lanes.enter(&arrival).await;
        for _ in 0..MAX_PLANS {
            let planned = self.plan(&arrival, &mut lane).await?;
            if let Some(accepted) = self.commit(planned, &mut lane).await? {
                return Ok(accepted);
            }
            self.plane.parts().metrics.replans.inc();
        }
        Err(Error::new(Code::Overloaded, "others kept changing the same session"))
    }

    /// Commits what was planned; none when it has to be planned again.
    async fn commit(&self, planned: Planned, lane: &mut MutexGuard<'_, Lane>) -> Result<Option<Accepted>> {
        let Planned { batch, session, outbox } = planned;
        fault::point("ingest.before_commit").await?;
        let (plane, dispatcher) = (Arc::clone(&self.plane), Arc::clone(&self.dispatcher));
        // A task of its own: when LiveKit does not wait any longer, what is committed after all is sent all the same.
        let committed = tokio::spawn(async move {
            let (parts, called) = (plane.parts(), Wakes::jobs_called_by(&batch));
            let outcome = parts.store.commit(batch, CommitMode::Apply).await?;
            if let Outcome::Committed { seqs } = &outcome {
                parts.courtesy.note_event();
                parts.wakes.wake(called);
                outbox.send(&dispatcher, seqs);
            }
            Ok(outcome)
        });
        match committed.await.map_err(Error::internal).and_then(|outcome| outcome) {
            Ok(Outcome::Committed { .. }) => {
                fault::point("ingest.after_commit_before_reply").await?;
                lane.keep(session);
                Ok(Some(Accepted::Recorded))
            }
            Ok(Outcome::Conflict { collection, index: "source" }) if collection == schema::EVENTS.name => {
                Ok(Some(Accepted::Duplicate))
            }
            Ok(_) => {
                lane.forget();
                self.routes.forget();
                Ok(None)
            }
            Err(error) => {
                lane.forget();
                Err(error)
            }
        }
    }
}
