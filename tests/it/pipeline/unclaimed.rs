//! Webhooks that no project could be found for: kept, bounded, and adopted once their egress or ingress is known.

use std::{sync::Arc, time::Duration};

use pulse_core::{
    id::EventId,
    ingest::Accepted,
    model::{
        event::SERVER_CLUSTER,
        unclaimed::{MAX_UNCLAIMED, Unclaimed},
    },
    repo::Document as _,
    store::{
        Batch, CommitMode, Store as _,
        testing::faulty::{CallKind, Fault},
    },
    worker,
};
use pulse_tests::plane::{START, TestPlane};
use serde_json::{Value, json};

use super::{
    room::{Room, facts},
    work,
};

/// The same event, in which LiveKit names no room.
fn without_room(mut event: Value) -> Value {
    for (info, room) in [("egressInfo", "roomId"), ("ingressInfo", "state")] {
        let Some(info) = event[info].as_object_mut() else { continue };
        info.remove("roomName");
        match info.get_mut(room) {
            Some(Value::Object(state)) => drop(state.remove("roomId")),
            _ => drop(info.remove(room)),
        }
    }
    event.as_object_mut().expect("an object").remove("room");
    event
}

/// The nth event of an egress that names no room.
fn update(room: &Room, egress: &str, n: usize) -> Value {
    let mut event = without_room(room.egress("egress_updated", egress, START, None));
    event["id"] = json!(format!("EV_{egress}_{n}"));
    event
}

async fn kept(t: &TestPlane) -> u64 {
    t.plane.parts().unclaimed.count(2 * MAX_UNCLAIMED).await.expect("counts")
}

async fn is_recorded(t: &TestPlane, source: &str, kind: &str) -> bool {
    t.plane.parts().events.of_source(SERVER_CLUSTER, source, kind).await.expect("reads").is_some()
}

#[tokio::test]
async fn events_of_an_egress_and_of_an_ingress_without_a_room_are_adopted_when_the_id_is_known() {
    let t = TestPlane::new().await;
    let customer = t.customer("acme").await;
    let room = Room::new(&customer, "standup", "RM_1", START);
    let end = START.plus(Duration::from_secs(60));
    let ends = [
        room.egress("egress_ended", "EG_1", START, Some(end)),
        room.ingress("ingress_ended", "RT_1", START, Some(end)),
    ];
    for event in ends {
        assert_eq!(t.livekit_says(&without_room(event)).await.expect("taken in"), Accepted::Unclaimed);
    }
    // What names the room comes late: the other run of the same ingress is enough.
    t.livekit_says(&room.egress("egress_started", "EG_1", START, None)).await.expect("taken in");
    t.livekit_says(&room.ingress("ingress_started", "RT_2", END_OF_RUN, None)).await.expect("taken in");
    assert_eq!(kept(&t).await, 2);
    work(&t).await;
    assert_eq!(kept(&t).await, 0, "they wait for a project that is known");
    let mut told: Vec<_> = facts(&t, customer.id()).await.into_iter().map(|fact| fact.metadata.livekit_id).collect();
    told.sort();
    assert_eq!(told, ["EG_1", "IN_1/RT_1"]);
    // From then on they are recorded at once.
    let next = without_room(room.ingress("ingress_started", "RT_3", END_OF_RUN, None));
    assert_eq!(t.livekit_says(&next).await.expect("taken in"), Accepted::Recorded);
}

/// When the first run is over.
const END_OF_RUN: pulse_core::time::Timestamp = pulse_core::time::Timestamp::from_secs(START.as_secs() + 60);

#[tokio::test]
async fn everything_that_waits_is_adopted_and_what_cannot_be_read_is_passed_by() {
    let t = TestPlane::new().await;
    let customer = t.customer("acme").await;
    let room = Room::new(&customer, "standup", "RM_1", START);
    for n in 0..250 {
        t.livekit_says(&update(&room, "EG_1", n)).await.expect("taken in");
    }
    // Two are damaged: one in what LiveKit sent, one altogether.
    let rows = t.plane.parts().unclaimed.of_key(SERVER_CLUSTER, "EG_1", None, 2).await.expect("reads").rows;
    let damaged: Vec<Value> = rows.iter().map(|row| row.doc["source_id"].clone()).collect();
    let mut batch = Batch::new();
    for (row, raw) in rows.into_iter().zip([json!({ "key": "k", "sealed": "AAAA" }), Value::Null]) {
        let mut doc = row.doc;
        doc["raw"] = raw;
        batch.replace(Unclaimed::COLLECTION, row.id, row.version, doc);
    }
    t.store.commit(batch, CommitMode::Apply).await.expect("committed");
    t.livekit_says(&room.egress("egress_started", "EG_1", START, None)).await.expect("taken in");
    work(&t).await;
    for source in (0..250).map(|n| format!("EV_EG_1_{n}")).filter(|source| !damaged.contains(&json!(source))) {
        assert!(is_recorded(&t, &source, "egress_updated").await, "{source} still waits");
    }
    assert_eq!(kept(&t).await, 2, "what cannot be read stays until its time is over");
    let metrics = &t.plane.parts().metrics;
    assert_eq!(metrics.ingested.with_label_values(&["server", "unreadable"]).get(), 2);
    assert_eq!(metrics.jobs.with_label_values(&["adopt_unclaimed", "failed"]).get(), 0, "the job is done for ever");
    assert_eq!(metrics.jobs.with_label_values(&["adopt_unclaimed", "done"]).get(), 1);
}

#[tokio::test]
async fn an_event_whose_egress_becomes_known_while_it_is_kept_is_adopted() {
    let (store, t) = TestPlane::over_faulty_store().await;
    let customer = t.customer("acme").await;
    let room = Room::new(&customer, "standup", "RM_1", START);
    store.plan(Fault::Stall { call: CallKind::Commit, nth: 1 });
    let late = async {
        assert_eq!(t.livekit_says(&update(&room, "EG_1", 0)).await.expect("taken in"), Accepted::Unclaimed);
    };
    let meanwhile = async {
        store.until_stalled().await;
        t.livekit_says(&room.egress("egress_started", "EG_1", START, None)).await.expect("taken in");
        store.release();
    };
    tokio::join!(late, meanwhile);
    work(&t).await;
    assert!(is_recorded(&t, "EV_EG_1_0", "egress_updated").await, "nobody looks for it any more");
}

#[tokio::test]
async fn what_nobody_has_claimed_for_a_week_is_forgotten() {
    let t = TestPlane::new().await;
    let room = Room::new(&t.customer("acme").await, "standup", "RM_1", START);
    assert_eq!(t.livekit_says(&update(&room, "EG_1", 1)).await.expect("taken in"), Accepted::Unclaimed);
    for (hours, left) in [(7 * 24 - 1, 1), (2, 0)] {
        t.clock.advance(Duration::from_secs(hours * 3_600));
        worker::sweep(&t.plane, &t.pipeline.stopping).await.expect("works");
        assert_eq!(kept(&t).await, left, "{hours} hours later");
    }
}

#[tokio::test]
async fn no_more_than_ten_thousand_are_kept_and_they_are_not_counted_for_every_one() {
    let (store, t) = TestPlane::over_faulty_store().await;
    let room = Room::new(&t.customer("acme").await, "standup", "RM_1", START);
    t.livekit_says(&update(&room, "EG_0", 0)).await.expect("taken in");
    let model = t.plane.parts().unclaimed.oldest(1).await.expect("reads").remove(0).doc;
    // As it is a while later: full but for ten.
    for thousand in 0..10_u64 {
        let mut batch = Batch::new();
        for n in (thousand * 1_000 + 1)..(thousand * 1_000 + 1_000).min(MAX_UNCLAIMED - 9) {
            let id = EventId::new(START.plus(Duration::from_millis(n)), t.plane.parts().entropy.as_ref());
            let mut doc = model.clone();
            doc["id"] = json!(id);
            doc["source_id"] = json!(format!("EV_old_{n}"));
            batch.insert(Unclaimed::COLLECTION, id, doc);
        }
        store.commit(batch, CommitMode::Apply).await.expect("committed");
    }
    t.clock.advance(Duration::from_secs(60));
    let t = TestPlane { pipeline: pulse_core::pipeline::Pipeline::new(Arc::clone(&t.plane)), ..t };
    let (full, counts) = (kept(&t).await, store.calls(CallKind::Count));
    assert!((MAX_UNCLAIMED - 20..MAX_UNCLAIMED).contains(&full), "{full} to begin with");
    for n in 1..=300 {
        t.livekit_says(&update(&room, "EG_0", n)).await.expect("taken in");
    }
    let counts = store.calls(CallKind::Count) - counts;
    assert!(counts <= 5, "counted {counts} times for 300 webhooks");
    for n in 301..=420 {
        t.livekit_says(&update(&room, "EG_0", n)).await.expect("taken in");
        assert!(kept(&t).await <= MAX_UNCLAIMED, "too many after the {n}th");
    }
    let page = t.plane.parts().unclaimed.of_key(SERVER_CLUSTER, "EG_0", None, 20_000).await.expect("reads").rows;
    let sources: Vec<_> = page.iter().filter_map(|row| row.doc["source_id"].as_str()).collect();
    assert!(!sources.contains(&"EV_EG_0_0") && sources.contains(&"EV_EG_0_420"), "not the oldest went");
    assert!((1..=420).all(|n| sources.contains(&format!("EV_EG_0_{n}").as_str())), "a new one went");
}
