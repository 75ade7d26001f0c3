//! From LiveKit's webhooks to sessions, usage and deliveries, in the test's own process.

mod bans;
mod changes;
mod clusters;
mod crowds;
mod daemons;
mod deliver;
mod doors;
mod history;
mod jobs;
mod jumps;
mod media;
mod metering;
mod notices;
mod parked;
mod patience;
mod races;
mod receivers;
mod reconciler;
mod replays;
mod retention;
pub(crate) mod room;
mod stalls;
mod stopping;
mod story;
mod sweeps;
mod twice;
mod unclaimed;
mod under_way;
mod unprompted;
mod watch;
mod watch_costs;

use pulse_core::{
    deliver::{dispatch::secret_place, event_filter::EventTypeFilter, sign::SigningSecret, state::Status},
    model::{
        delivery::{AttemptView, DeliveryView},
        endpoint::{DEFAULT_MAX_IN_FLIGHT, Endpoint, EndpointState, StoredSecret},
    },
    page::{MAX_LIMIT, PageLimit},
    repo::{Document as _, deliveries::DeliveryFilter},
    store::{Batch, CommitMode},
};
use pulse_tests::plane::{Customer, TestPlane};
use serde_json::{Value, json};

/// An endpoint of the customer at `url`, as `tweak` leaves it, and its secret.
async fn endpoint(
    t: &TestPlane,
    customer: &Customer,
    url: &str,
    tweak: impl FnOnce(&mut Endpoint),
) -> (Endpoint, SigningSecret) {
    let parts = t.plane.parts();
    let (now, entropy) = (parts.clock.now(), parts.entropy.as_ref());
    let id = pulse_core::id::EndpointId::new(now, entropy);
    let secret = SigningSecret::generate(entropy);
    let (id_text, project) = (id.to_string(), customer.id().to_string());
    let place = secret_place(&id_text, &project);
    let sealed = parts.sealer.seal(place, secret.text().expose().as_bytes(), entropy).expect("sealed");
    let mut endpoint = Endpoint {
        id,
        project_id: customer.id(),
        url: url.parse().expect("a url"),
        description: None,
        event_types: EventTypeFilter::default(),
        headers: None,
        secrets: vec![StoredSecret { sealed, created_at: now, expires_at: None }],
        timeout_seconds: 1,
        schedule: None,
        rate: None,
        max_in_flight: DEFAULT_MAX_IN_FLIGHT,
        state: EndpointState::Active,
        state_reason: None,
        of_project: None,
        created_at: now,
        updated_at: now,
        version: 1,
    };
    tweak(&mut endpoint);
    let mut batch = Batch::new();
    endpoint.insert_into(&mut batch).expect("a document");
    batch.bump_generation();
    parts.store.commit(batch, CommitMode::Apply).await.expect("committed");
    parts.keyring.forget();
    (endpoint, secret)
}

/// A webhook of LiveKit about somebody who joins: the `n`th, in a room of the customer.
fn joined(t: &TestPlane, customer: &Customer, n: usize) -> Value {
    let now = t.plane.parts().clock.now();
    json!({
        "event": "participant_joined", "id": format!("EV_{n:012}"), "createdAt": now.as_secs().to_string(),
        "room": { "sid": "RM_0", "name": format!("{}~standup", customer.id()), "creationTimeMs": now.as_millis().to_string() },
        "participant": { "sid": format!("PA_{n}"), "identity": format!("user-{n}"), "state": "ACTIVE", "joinedAtMs": now.as_millis().to_string() },
    })
}

/// Does everything that is due.
async fn work(t: &TestPlane) {
    pulse_core::worker::run_until_idle(&t.pipeline).await.expect("works");
}

/// The customer's deliveries, newest first.
async fn deliveries(t: &TestPlane, customer: &Customer) -> Vec<DeliveryView> {
    let filter = DeliveryFilter::default();
    t.plane.parts().deliveries.list(customer.id(), &filter, None, None).await.expect("deliveries").data
}

/// The only delivery of the customer.
async fn delivery(t: &TestPlane, customer: &Customer) -> DeliveryView {
    let mut all = deliveries(t, customer).await;
    assert_eq!(all.len(), 1, "{all:#?}");
    all.remove(0)
}

/// The attempts of a delivery.
async fn attempts(t: &TestPlane, customer: &Customer, delivery: &DeliveryView) -> Vec<AttemptView> {
    let limit = PageLimit::try_from(MAX_LIMIT).ok();
    let page = t.plane.parts().deliveries.attempts(customer.id(), delivery.id, limit, None).await.expect("attempts");
    assert_eq!(page.next_cursor, None, "there are more attempts than a page has");
    page.data
}

/// How many of the customer's deliveries stand so.
async fn count(t: &TestPlane, customer: &Customer, status: Status) -> usize {
    deliveries(t, customer).await.iter().filter(|delivery| delivery.status == status).count()
}

/// How many cases a property test has of which each is long: as told for a soak, else so many.
#[expect(clippy::disallowed_methods, reason = "tests/soak tells the tests through the environment")]
fn cases(usual: u32) -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(usual)
}
