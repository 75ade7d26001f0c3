//! Deliveries that wait, written straight into the store while no daemon runs.

use std::{sync::Arc, time::Duration};

use futures_util::{StreamExt as _, stream};
use pulse_core::{
    deliver::state::{DeliveryState, Status},
    entropy::SystemEntropy,
    id::{EndpointId, EventId, ProjectId, SessionId},
    model::{
        delivery::{Delivery, FIRST, Priority},
        event::{Envelope, Event, SCHEMA_VERSION, SERVER_CLUSTER},
    },
    repo::Document as _,
    store::{BATCH_LIMIT, Batch, CommitMode, Outcome, SharedStore},
    time::{Clock as _, SystemClock, Timestamp},
};
use serde_json::json;

use super::scene::Customer;

/// Batches that are made while others are committed.
const AT_ONCE: usize = 4;
/// How often what was given up had been tried: as the schedule says that endpoints have without one of their own.
const TRIED: u32 = 9;
/// For how long the events are kept.
const KEPT: Duration = Duration::from_secs(30 * 86_400);

/// The time from one event of a project to the next: few projects have as many.
const APART: Duration = Duration::from_millis(1);

/// A project, and the endpoints that get each of its events.
#[derive(Clone, Debug)]
pub(super) struct Target {
    pub(super) project: ProjectId,
    pub(super) endpoints: Arc<[EndpointId]>,
}

impl Target {
    /// A project's only endpoint.
    pub(super) fn of(Customer { project, endpoint }: Customer) -> Self {
        Self { project, endpoints: Arc::new([endpoint]) }
    }
}

/// How deliveries stand when they are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// They wait, and are due.
    Due,
    /// They were tried in vain until they were given up.
    GivenUp,
}

/// Records so many events of each target, with a delivery to each of its endpoints that stands so. The events have happened one
/// after the other, the last one now.
pub(super) async fn seed(store: &SharedStore, targets: &[Target], events: usize, standing: Standing) {
    let now = SystemClock::new().now();
    let batches = targets.iter().flat_map(|target| {
        let whole = BATCH_LIMIT / (1 + target.endpoints.len());
        let moment = move |n: usize| now.minus(APART * u32::try_from(events - n).expect("not that many"));
        let parts = (0..events).step_by(whole).map(move |from| from..events.min(from + whole));
        parts.map(move |part| (target.clone(), part.map(moment).collect()))
    });
    let committed = stream::iter(batches).map(|(target, moments): (Target, Vec<Timestamp>)| {
        let store = Arc::clone(store);
        tokio::spawn(async move {
            let outcome = store.commit(batch(&target, &moments, standing), CommitMode::Apply).await.expect("commits");
            assert!(matches!(outcome, Outcome::Committed { .. }), "{outcome:?}");
        })
    });
    let mut committed = committed.buffer_unordered(AT_ONCE);
    while let Some(done) = committed.next().await {
        done.expect("a batch is committed");
    }
}

/// Events of one session that happened then, with their deliveries.
fn batch(target: &Target, moments: &[Timestamp], standing: Standing) -> Batch {
    let entropy = SystemEntropy::default();
    let session_id = Some(SessionId::new(moments[0], &entropy));
    let room = "standup".parse().expect("a room");
    let mut batch = Batch::new();
    for (n, now) in moments.iter().copied().enumerate() {
        let id = EventId::new(now, &entropy);
        let sid = format!("PA_{id}");
        // As large as what ingest makes of a join.
        let data = json!({
            "room": {
                "sid": "RM_seeded", "name": room, "empty_timeout_seconds": 300, "departure_timeout_seconds": 20,
                "created_at": now, "participants": n,
            },
            "participant": {
                "sid": sid, "identity": format!("participant-{n}"), "name": format!("participant-{n}"),
                "kind": "standard", "state": "active", "metadata": "{\"team\":\"blue\"}", "joined_at": now,
                "attributes": { "seat": "7" },
                "permission": { "can_subscribe": true, "can_publish": true, "can_publish_data": true },
            },
        });
        let envelope = Envelope {
            id,
            kind: "participant_joined",
            schema_version: SCHEMA_VERSION,
            created_at: now,
            project_id: target.project,
            room: Some(&room),
            session_id,
            synthetic: false,
            test: false,
            corrects: None,
            data: &data,
        };
        let event = Event {
            id,
            project_id: target.project,
            kind: "participant_joined".to_owned(),
            occurred_at: now,
            cluster: SERVER_CLUSTER.to_owned(),
            source_id: format!("EV_{id}"),
            room: Some(room.clone()),
            body: envelope.stored().expect("encodes"),
            test: false,
            session_id,
            seq: None,
            expires_at: now.plus(KEPT),
            version: 0,
        };
        event.record_in(&mut batch).expect("encodes");
        for endpoint in target.endpoints.iter() {
            let mut delivery = Delivery::new(&event, *endpoint, FIRST.to_owned(), Priority::First, now, now);
            if standing == Standing::GivenUp {
                delivery.state = DeliveryState { status: Status::Exhausted, attempts_made: TRIED, ..delivery.state };
                (delivery.due_at, delivery.finished_at) = (None, Some(now));
                delivery.last_result = Some("500".to_owned());
            }
            delivery.insert_into(&mut batch).expect("encodes");
        }
    }
    batch
}
