//! The same evidence in any order, and any number of times, comes to the same facts.

use std::{collections::BTreeMap, time::Duration};

use proptest::prelude::*;
use pulse_core::{model::usage::UsageType, time::Timestamp};
use pulse_tests::plane::{START, TestPlane};
use serde_json::Value;

use super::room::{Room, facts, settle};

/// How a connection ends.
#[derive(Clone, Copy, Debug)]
enum End {
    Left,
    Aborted,
    /// Nobody says; the room's end may.
    Silent,
}

#[derive(Clone, Debug)]
struct Guest {
    kind: &'static str,
    joins: u64,
    stays: u64,
    join_told: bool,
    end: End,
}

/// One life of the room.
#[derive(Clone, Debug)]
struct Life {
    guests: Vec<Guest>,
    /// Starts and lengths of egresses, and of runs of an ingress.
    egresses: Vec<(u64, u64)>,
    runs: Vec<(u64, u64)>,
    start_told: bool,
    finish_told: bool,
}

fn guest() -> impl Strategy<Value = Guest> {
    let kind = prop::sample::select(vec!["STANDARD", "AGENT", "EGRESS", "INGRESS", "SIP"]);
    let end = prop::sample::select(vec![End::Left, End::Aborted, End::Silent]);
    (kind, 0..200_000_u64, 1..100_000_u64, prop::bool::weighted(0.8), end)
        .prop_map(|(kind, joins, stays, join_told, end)| Guest { kind, joins, stays, join_told, end })
}

fn life() -> impl Strategy<Value = Life> {
    let spans = || prop::collection::vec((0..200_000_u64, 1..100_000_u64), 0..3);
    (prop::collection::vec(guest(), 0..5), spans(), spans(), any::<bool>(), any::<bool>()).prop_map(
        |(guests, egresses, runs, start_told, finish_told)| Life { guests, egresses, runs, start_told, finish_told },
    )
}

/// What LiveKit tells of the nth life, which begins at `created_at`.
fn told(life: &Life, nth: usize, room: &Room) -> Vec<Value> {
    let at = |millis: u64| room.created_at.plus(Duration::from_millis(millis));
    let mut events = Vec::new();
    events.extend(life.start_told.then(|| room.started()));
    for (place, guest) in life.guests.iter().enumerate() {
        let sid = format!("PA_{nth}_{place}");
        let (joined, left) = (at(guest.joins), at(guest.joins + guest.stays));
        events.extend(guest.join_told.then(|| room.joined_as(guest.kind, &sid, &sid, joined)));
        let mut end = match guest.end {
            End::Left => room.left(&sid, &sid, joined, left),
            End::Aborted => room.aborted(&sid, &sid, joined, left),
            End::Silent => continue,
        };
        end["participant"]["kind"] = guest.kind.into();
        events.push(end);
    }
    for (place, (start, length)) in life.egresses.iter().enumerate() {
        let id = format!("EG_{nth}_{place}");
        events.push(room.egress("egress_started", &id, at(*start), None));
        events.push(room.egress("egress_ended", &id, at(*start), Some(at(start + length))));
    }
    for (place, (start, length)) in life.runs.iter().enumerate() {
        let id = format!("RT_{nth}_{place}");
        events.push(room.ingress("ingress_started", &id, at(*start), None));
        events.push(room.ingress("ingress_ended", &id, at(*start), Some(at(start + length))));
    }
    events.extend(life.finish_told.then(|| room.finished(at(400_000))));
    events
}

/// What is on record about one thing: all but ids, the revision and why it was corrected.
type Fact = (UsageType, u64, Timestamp, Option<Timestamp>, String, bool);

/// The facts that the events come to, told in this order.
async fn come_to(lives: &[Life], order: impl FnOnce(Vec<Value>) -> Vec<Value>) -> BTreeMap<String, Fact> {
    let t = TestPlane::new().await;
    let customer = t.customer("acme").await;
    t.clock.set(START.plus(Duration::from_secs(10_000)));
    let told = lives.iter().enumerate().flat_map(|(nth, life)| {
        // The next life of a room begins after the one before has ended.
        let created_at = START.plus(Duration::from_millis(500_123 * nth as u64));
        told(life, nth, &Room::new(&customer, "standup", &format!("RM_{nth}"), created_at))
    });
    for event in order(told.collect()) {
        t.livekit_says(&event).await.expect("taken in");
    }
    settle(&t).await;
    let facts = facts(&t, customer.id()).await.into_iter().map(|fact| {
        let metadata = fact.metadata;
        let millis = (fact.value * 1_000.0).round() as u64;
        let known = (fact.event_type, millis, metadata.started_at, metadata.ended_at, metadata.kind, metadata.billable);
        (metadata.livekit_id, known)
    });
    facts.collect()
}

/// The events in an order that `seeds` tell, some of them several times.
fn disordered(events: Vec<Value>, seeds: &[u64]) -> Vec<Value> {
    let seed = |place: usize| seeds[place % seeds.len()].wrapping_mul(place as u64 + 1);
    let mut placed: Vec<(u64, Value)> = Vec::new();
    for (place, event) in events.into_iter().enumerate() {
        let times = 1 + seed(place) % 3;
        placed.extend(
            (0..times).map(|time| (seed(place + 7).rotate_left(u32::try_from(time * 13).unwrap_or(0)), event.clone())),
        );
    }
    placed.sort_by_key(|(key, _)| *key);
    placed.into_iter().map(|(_, event)| event).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: super::cases(64), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_same_evidence_in_any_order_and_number_comes_to_equal_facts(
        lives in prop::collection::vec(life(), 1..3),
        seeds in prop::collection::vec(any::<u64>(), 32),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let straight = runtime.block_on(come_to(&lives, |events| events));
        let disordered = runtime.block_on(come_to(&lives, |events| disordered(events, &seeds)));
        prop_assert_eq!(straight, disordered);
    }
}
