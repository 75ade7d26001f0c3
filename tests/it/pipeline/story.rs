//! The recorded life of one room, as real LiveKit, egress and ingress servers told of it, through the whole pipeline.

use std::{collections::BTreeMap, time::Duration};

use pulse_core::{
    ingest::Accepted,
    meter::sums,
    model::{event::Event, session::Session, usage::UsageType},
    repo::{Document as _, usage::UsageFilter},
    store::{Order, Scan},
    time::Timestamp,
};
use pulse_tests::{
    livekit_sender::{Recorded, Retelling},
    plane::{Customer, TestPlane},
};

/// The body with the room of another project, and nothing else changed.
fn retold(recorded: &Recorded, customer: &Customer) -> bytes::Bytes {
    let retelling = Retelling { wire_room: format!("{}~standup", customer.id()), later: 0, suffix: String::new() };
    recorded.retold(&retelling).body
}

/// Lets the recorded webhooks come in one after the other, at the times at which they came then.
async fn tell(t: &TestPlane, customer: &Customer, webhooks: &[Recorded]) -> Vec<Accepted> {
    let mut accepted = Vec::new();
    for recorded in webhooks {
        t.clock.set(recorded.received_at);
        let body = retold(recorded, customer);
        accepted.push(t.livekit_sends(&body).await.expect("a recorded webhook is taken in"));
    }
    accepted
}

/// What the people of the project used, in thousandths of a second.
async fn people(t: &TestPlane, customer: &Customer) -> i64 {
    let filter = UsageFilter { event_type: Some(UsageType::ParticipantSeconds), ..UsageFilter::default() };
    let facts = t.plane.parts().usage.list(customer.id(), &filter, None, None).await.expect("facts");
    facts.data.iter().map(|fact| (fact.value * 1_000.0).round() as i64).sum()
}

async fn session(t: &TestPlane, customer: &Customer) -> Session {
    let mut sessions =
        t.plane.parts().sessions.list(customer.id(), &Default::default(), None, None).await.expect("sessions").data;
    assert_eq!(sessions.len(), 1, "{sessions:?}");
    sessions.remove(0)
}

#[tokio::test]
async fn the_recorded_story_comes_to_its_sessions_facts_and_events() {
    let t = TestPlane::new().await;
    let customer = t.customer("acme").await;
    let webhooks = Recorded::all();
    assert_eq!(webhooks.len(), 51);
    let accepted = tell(&t, &customer, &webhooks).await;
    assert!(accepted.iter().all(|accepted| *accepted == Accepted::Recorded), "{accepted:?}");

    assert_eq!(people(&t, &customer).await, 98_524, "alice, bob twice, and carol, whose process was killed");
    let session = session(&t, &customer).await;
    assert_eq!(session.started_at, Timestamp::from_millis(1_795_459_246_603));
    assert_eq!(session.ended_at(), Some(Timestamp::from_millis(1_795_459_331_500)));
    let intervals = t.plane.parts().intervals.of_session(session.id).await.expect("intervals");
    let now = t.plane.parts().clock.now();
    assert_eq!(sums::media(&intervals, "egress", now).len(), 5);
    let ingresses = sums::media(&intervals, "ingress", now);
    assert_eq!(ingresses.len(), 1, "{ingresses:?}");
    assert_eq!((ingresses[0].seconds, ingresses[0].billable), (13.171, true));
    let summary = sums::summary(&intervals, now);
    assert_eq!((summary.participants, summary.peak, summary.participant_millis), (4, 3, 98_524));

    let egress = UsageFilter { event_type: Some(UsageType::EgressSeconds), ..UsageFilter::default() };
    let egress = t.plane.parts().usage.list(customer.id(), &egress, None, None).await.expect("facts").data;
    let told: BTreeMap<&str, (f64, bool)> =
        egress.iter().map(|fact| (fact.metadata.livekit_id.as_str(), (fact.value, fact.metadata.billable))).collect();
    // `endedAt` less `startedAt` of `egress_ended`: what an egress took to come up is not billed.
    let expected = [
        ("EG_NoQZRqdoacFL", (11.205, true)),
        ("EG_q5dXPkncBQSV", (9.23, true)),
        ("EG_FuDFaimCZoQY", (7.187, false)),
        ("EG_6rHQSJxs4x3Z", (0.824, false)),
        ("EG_wtatipXr2FVq", (7.064, true)),
    ];
    assert_eq!(told, BTreeMap::from(expected));

    let events = events(&t, &session).await;
    let numbers: Vec<u64> = events.iter().filter_map(|event| event.seq).collect();
    assert_eq!(numbers, (1..=54).collect::<Vec<_>>(), "each webhook, and each recording");
    let mut kinds: BTreeMap<&str, usize> = BTreeMap::new();
    events.iter().for_each(|event| *kinds.entry(event.kind.as_str()).or_default() += 1);
    let mut expected = BTreeMap::from([("recording_available", 3)]);
    for webhook in &webhooks {
        let (_, kind) = webhook.name.split_once('-').expect("a number and a kind");
        let kind = if kind == "room_finished" { "room_ended" } else { kind };
        *expected.entry(kind).or_default() += 1;
    }
    assert_eq!(kinds, expected);
}

/// The session's events in the order of their numbers.
async fn events(t: &TestPlane, session: &Session) -> Vec<Event> {
    let scan = Scan {
        order: Order::Ascending,
        ..Scan::new(Event::COLLECTION, "log_seq", vec![session.id.to_string().into()])
    };
    let rows = t.plane.parts().store.scan(scan).await.expect("events").rows;
    rows.into_iter().map(|row| Event::from_stored(row).expect("decodes")).collect()
}

#[tokio::test]
async fn every_webhook_twice_and_in_any_order_comes_to_the_same_facts() {
    let webhooks = Recorded::all();
    let mut reversed = webhooks.clone();
    reversed.reverse();
    let doubled: Vec<Recorded> = webhooks.iter().flat_map(|one| [one.clone(), one.clone()]).collect();
    for told in [reversed, doubled] {
        let t = TestPlane::new().await;
        let customer = t.customer("acme").await;
        tell(&t, &customer, &told).await;
        pulse_core::worker::run_until_idle(&t.pipeline).await.expect("works");
        // Told backwards, the clock stands at the beginning.
        t.advance(Duration::from_secs(600)).await;
        pulse_core::worker::run_until_idle(&t.pipeline).await.expect("works");
        assert_eq!(people(&t, &customer).await, 98_524);
        let session = session(&t, &customer).await;
        let summary = session.summary.expect("an ended session is added up");
        assert_eq!((summary.participants, summary.peak, summary.participant_millis), (4, 3, 98_524));
    }
}

#[tokio::test]
async fn the_same_webhook_a_hundred_times_at_once_is_one_event() {
    let t = TestPlane::new().await;
    let customer = t.customer("acme").await;
    let joined = Recorded::all().remove(1);
    t.clock.set(joined.received_at);
    let body = retold(&joined, &customer);
    let sent = (0..100).map(|_| t.livekit_sends(&body));
    let accepted = futures_util::future::try_join_all(sent).await.expect("all are answered");
    assert_eq!(accepted.iter().filter(|accepted| **accepted == Accepted::Recorded).count(), 1);
    assert_eq!(accepted.iter().filter(|accepted| **accepted == Accepted::Duplicate).count(), 99);
    let session = session(&t, &customer).await;
    assert_eq!(t.plane.parts().intervals.of_session(session.id).await.expect("intervals").len(), 1);
}
