//! Recording an event: its envelope, its place in the session's log, and a delivery for every endpoint that wants it, all
//! in one batch. What an endpoint can take at once is recorded as leased already, and is sent as soon as the batch is
//! committed: the first attempt of most deliveries costs no claim.

use std::{fmt, sync::Arc};

use quick_cache::sync::Cache;
use serde::Serialize;

use super::arrival::delivers;
use crate::{
    deliver::dispatch::{Dispatcher, Slot, Work},
    error::Result,
    fault,
    id::{EndpointId, EventId, ProjectId, SessionId},
    media::room::RoomName,
    model::{
        delivery::{Delivery, FIRST, Priority},
        endpoint::{Endpoint, EndpointState},
        event::{Envelope, Event, SCHEMA_VERSION},
        tenant::Tenant,
    },
    parts::Parts,
    repo::Document,
    store::{Batch, Write},
    time::Timestamp,
};

/// How many projects' endpoints are remembered.
const REMEMBERED: usize = 20_000;

/// The endpoints of projects, as they were read since the keyring's caches were dropped last: every change of an endpoint
/// drops them, here and, within a second, in every other process.
pub struct Routes(Cache<ProjectId, Read>);

/// A project's endpoints, and the epoch of the keyring's caches in which they were read.
type Read = (u64, Arc<[Arc<Endpoint>]>);

impl fmt::Debug for Routes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Routes").field(&self.0.len()).finish()
    }
}

impl Default for Routes {
    fn default() -> Self {
        Self(Cache::new(REMEMBERED))
    }
}

impl Routes {
    /// The project's endpoints.
    pub async fn of(&self, parts: &Parts, project: ProjectId) -> Result<Arc<[Arc<Endpoint>]>> {
        let epoch = parts.keyring.epoch();
        if let Some((read, endpoints)) = self.0.get(&project)
            && read == epoch
        {
            return Ok(endpoints);
        }
        let endpoints = parts.endpoints.of_project(project).await?;
        let endpoints: Arc<[Arc<Endpoint>]> = endpoints.into_iter().map(Arc::new).collect();
        self.0.insert(project, (epoch, Arc::clone(&endpoints)));
        Ok(endpoints)
    }

    /// Remembers nothing: an endpoint was not as it is remembered.
    pub fn forget(&self) {
        self.0.clear();
    }
}

/// Something that happened.
#[derive(Debug)]
pub struct NewEvent<'a, D: Serialize> {
    /// The type, as customers know it.
    pub kind: &'a str,
    /// When it happened.
    pub occurred_at: Timestamp,
    /// Which LiveKit said so, or Pulse.
    pub cluster: &'a str,
    /// The id that the cluster gave it.
    pub source_id: &'a str,
    /// The room.
    pub room: Option<&'a RoomName>,
    /// The session, in which it is numbered.
    pub session_id: Option<SessionId>,
    /// Whether the reconciler found it out.
    pub synthetic: bool,
    /// Whether somebody made it up, to try an endpoint.
    pub test: bool,
    /// The synthetic event that it corrects.
    pub corrects: Option<EventId>,
    /// What happened.
    pub data: &'a D,
}

/// Which endpoints get an event.
#[derive(Clone, Copy, Debug)]
pub enum Audience<'a> {
    /// All of the project that want its type.
    Subscribed,
    /// The same but one: what is said about an endpoint is not said to it.
    AllBut(EndpointId),
    /// One, whatever it wants.
    Only(&'a Arc<Endpoint>),
}

/// Records events of one project.
#[derive(Clone, Copy)]
#[expect(missing_debug_implementations, reason = "made of parts that hold secrets")]
pub struct Recorder<'a> {
    /// Repositories, clock, settings.
    pub parts: &'a Parts,
    /// The endpoints.
    pub routes: &'a Routes,
    /// Who sends at once; without, what is recorded waits until it is claimed.
    pub dispatcher: Option<&'a Arc<Dispatcher>>,
    /// The project and its organization.
    pub tenant: &'a Tenant,
    /// The moment of the record.
    pub now: Timestamp,
}

/// What is sent as soon as its batch is committed.
#[derive(Default)]
#[expect(missing_debug_implementations, reason = "made of places at a dispatcher")]
pub struct Outbox {
    ready: Vec<(Slot, Work, Option<usize>)>,
    /// Endpoints for which something waits that could not be sent at once.
    waiting: Vec<EndpointId>,
}

impl Outbox {
    /// Hands everything to the dispatcher; `seqs` are the numbers of the batch's appends, in order.
    pub fn send(self, dispatcher: &Arc<Dispatcher>, seqs: &[u64]) {
        for (slot, mut work, append) in self.ready {
            work.seq = append.and_then(|place| seqs.get(place).copied());
            dispatcher.start(slot, work);
        }
        dispatcher.have_one_more(&self.waiting);
    }
}

impl Recorder<'_> {
    /// Adds the event and its deliveries to the batch.
    pub async fn record<D: Serialize>(
        &self,
        new: NewEvent<'_, D>,
        audience: Audience<'_>,
        batch: &mut Batch,
        outbox: &mut Outbox,
    ) -> Result<EventId> {
        let parts = self.parts;
        let id = EventId::new(self.now, parts.entropy.as_ref());
        let project_id = self.tenant.project.id;
        let body = Envelope {
            id,
            kind: new.kind,
            schema_version: SCHEMA_VERSION,
            created_at: new.occurred_at,
            project_id,
            room: new.room,
            session_id: new.session_id,
            synthetic: new.synthetic,
            test: new.test,
            corrects: new.corrects,
            data: new.data,
        }
        .stored()?;
        let event = Event {
            id,
            project_id,
            kind: new.kind.to_owned(),
            occurred_at: new.occurred_at,
            cluster: new.cluster.to_owned(),
            source_id: new.source_id.to_owned(),
            room: new.room.cloned(),
            body,
            test: new.test,
            session_id: new.session_id,
            seq: None,
            expires_at: self.now.plus(parts.settings.pipeline.keep_events),
            version: 0,
        };
        let append = event.session_id.map(|_| appends(batch));
        event.record_in(batch)?;
        if delivers(self.tenant) {
            self.fan_out(&event, audience, append, batch, outbox).await?;
        }
        Ok(id)
    }

    /// Adds a delivery for every endpoint that is to get the event.
    async fn fan_out(
        &self,
        event: &Event,
        audience: Audience<'_>,
        append: Option<usize>,
        batch: &mut Batch,
        outbox: &mut Outbox,
    ) -> Result<()> {
        if let Audience::Only(endpoint) = audience {
            return self.deliver(event, endpoint, append, batch, outbox);
        }
        for endpoint in self.routes.of(self.parts, event.project_id).await?.iter() {
            let left_out = matches!(audience, Audience::AllBut(id) if id == endpoint.id);
            if endpoint.state != EndpointState::Disabled && endpoint.wants(&event.kind) && !left_out {
                self.deliver(event, endpoint, append, batch, outbox)?;
                fault::point("fanout.half").await?;
            }
        }
        Ok(())
    }

    fn deliver(
        &self,
        event: &Event,
        endpoint: &Arc<Endpoint>,
        append: Option<usize>,
        batch: &mut Batch,
        outbox: &mut Outbox,
    ) -> Result<()> {
        let mut delivery =
            Delivery::new(event, endpoint.id, FIRST.to_owned(), Priority::First, self.now, self.parts.steady());
        let slot = self.dispatcher.and_then(|dispatcher| dispatcher.reserve(endpoint));
        let Some(slot) = slot else {
            // A paused one is not looked at for each event: it is when it goes on.
            outbox.waiting.extend((endpoint.state == EndpointState::Active).then_some(endpoint.id));
            return delivery.insert_into(batch);
        };
        slot.lease(&mut delivery, self.parts);
        // Paused, changed or deleted in between: then nothing of this batch is committed, and it is planned again.
        endpoint.require_in(batch);
        delivery.insert_into(batch)?;
        delivery.set_version(1);
        let body = Arc::clone(&event.body);
        outbox.ready.push((slot, Work { delivery, endpoint: Arc::clone(endpoint), seq: None, body }, append));
        Ok(())
    }
}

/// How many records the batch appends to logs so far: the place of the next one among the batch's numbers.
fn appends(batch: &Batch) -> usize {
    batch.writes.iter().filter(|write| matches!(write, Write::Append { .. })).count()
}
