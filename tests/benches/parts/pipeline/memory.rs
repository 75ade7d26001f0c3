//! Very many deliveries that wait: what the daemon needs of memory while it sends some of them, and how long taking some
//! out of the queue takes when nobody else is at the store.

use std::{sync::Arc, time::Instant};

use pulse_core::{
    deliver::{
        schedule::Schedule,
        state::{Input, Step, step},
    },
    entropy::SystemEntropy,
    id::{EndpointId, LeaseToken},
    model::delivery::Delivery,
    parts::MIN_LEASE,
    repo::{Document as _, deliveries::Deliveries, endpoints::Endpoints, events::Events},
    store::{Batch, CommitMode, Outcome, SharedStore},
    time::{Clock as _, SystemClock},
};
use pulse_tests::latency::Latencies;
use serde_json::json;

use super::{
    Scale,
    audience::Audience,
    backlog::{Standing, Target, seed},
    grouped,
    scene::Scene,
};
use crate::parts::{
    Row,
    process::{resident, resident_at_most},
};

/// Deliveries of one claim: as many as an endpoint that says nothing gets at once.
const CLAIMED: usize = 8;

/// Rows of the store with very many deliveries that wait.
pub(crate) async fn memory(scale: &Scale) -> Vec<Row> {
    let (projects, endpoints, events) = scale.pending;
    let mut scene = Scene::new().await;
    let audience = Audience::well();
    let mut targets = Vec::new();
    for n in 0..projects {
        let project = scene.project(&format!("pending {n}")).await;
        let mut ids = Vec::new();
        for m in 0..endpoints {
            let url = format!("{}/{n}/{m}", audience.receiver.url());
            ids.push(scene.endpoint(project, &url, json!({})).await.endpoint);
        }
        targets.push(Target { project, endpoints: ids.into() });
    }
    scene.stop().await;
    let began = Instant::now();
    seed(&scene.store().await, &targets, events, Standing::Due).await;
    let seeded = began.elapsed().as_secs_f64();

    scene.start().await;
    let process = scene.daemon().process.id();
    let cores = scene.cores();
    tokio::time::sleep(scale.sending).await;
    let (peak, now, sent) = (resident_at_most(process), resident(process), audience.arrived());
    let cores = cores.note();
    scene.daemon().kill().await;

    let pending = projects * endpoints * events;
    let what = format!("{} deliveries wait for {} endpoints", grouped(pending), grouped(projects * endpoints));
    let ids: Vec<EndpointId> = targets.iter().flat_map(|target| target.endpoints.iter().copied()).collect();
    let Claims { whole, looks } = claims(&scene.store().await, &ids, scale.claims).await;
    vec![
        Row::less(
            format!("{what}: memory, at most"),
            "MiB",
            peak,
            (300.0, 150.0),
            format!(
                "{now:.1} MiB at the end, after {sent} were sent in {} s; {cores}; seeding took {seeded:.0} s",
                scale.sending.as_secs()
            ),
        ),
        Row::less(
            format!("{what}: reads and writes of a claim of {CLAIMED}, one after the other on an idle store, p99"),
            "ms",
            whole.millis(0.99),
            (5.0, 1.0),
            format!(
                "endpoint, look, leases with their synced commit, and events: {whole}; the look alone {looks}. Without the \
                 sends and ends beside which a daemon makes its claims"
            ),
        ),
    ]
}

/// How long claims took: all of it, and the look alone.
struct Claims {
    whole: Latencies,
    looks: Latencies,
}

/// What the dispatcher reads and writes for a claim, in its order, one claim after the other, at endpoints in an order that no
/// cache likes. It has the tenant in a cache.
async fn claims(store: &SharedStore, endpoints: &[EndpointId], count: usize) -> Claims {
    let (reads, deliveries, events) =
        (Endpoints(Arc::clone(store)), Deliveries(Arc::clone(store)), Events(Arc::clone(store)));
    let (clock, entropy, schedule) = (SystemClock::new(), SystemEntropy::default(), Schedule::default());
    let mut claims = Claims { whole: Latencies::default(), looks: Latencies::default() };
    for n in 0..count {
        let id = endpoints[n.wrapping_mul(7_919) % endpoints.len()];
        let (began, now) = (Instant::now(), clock.now());
        let endpoint = reads.find(id).await.expect("reads").expect("an endpoint");
        let looked = Instant::now();
        let due = deliveries.due(id, now, CLAIMED, false).await.expect("reads");
        claims.looks.record(looked.elapsed());
        assert!(!due.rows.is_empty(), "nothing waits for {id}");
        let (mut batch, mut sent) = (Batch::new(), Vec::new());
        for row in due.rows {
            let mut delivery = Delivery::from_stored(row).expect("a delivery");
            let input = Input::Claim { token: LeaseToken::new(now, &entropy) };
            let Step::Moved(moved) = step(&delivery.state, input, &schedule, 0.0) else { panic!("{delivery:?}") };
            delivery.state = moved.to;
            delivery.due_at = None;
            delivery.leased_until = Some(now.plus(MIN_LEASE));
            delivery.replace_in(&mut batch).expect("encodes");
            sent.push((delivery.project_id, delivery.event_id));
        }
        let outcome = store.commit(batch, CommitMode::Apply).await.expect("commits");
        assert!(matches!(outcome, Outcome::Committed { .. }), "{outcome:?}");
        let again = reads.find(id).await.expect("reads").expect("an endpoint");
        assert_eq!(again.version, endpoint.version);
        for (project, event) in sent {
            assert!(events.get(project, event).await.expect("reads").is_some(), "{event} is not there");
        }
        claims.whole.record(began.elapsed());
    }
    claims
}
