//! A store whose reads stand still while a webhook is taken in: LiveKit is answered in time, and what it tells again is
//! recorded once.

use std::time::Duration;

use pulse_core::{
    error::Code,
    ingest::{Accepted, RETRY_AFTER_SECONDS},
    store::{
        Store as _, schema,
        testing::faulty::{CallKind, Fault},
    },
};
use pulse_tests::plane::TestPlane;
use tokio::time::Instant;

use super::joined;

/// LiveKit waits so long for an answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Tells of an event while the store's `nth` read of that kind stands still; whether there was such a read.
async fn told_while_a_read_stands_still(call: CallKind, nth: u64) -> bool {
    let (store, t) = TestPlane::over_faulty_store().await;
    let customer = t.customer("acme").await;
    let event = joined(&t, &customer, 1);
    // Nothing is known of the project that need not be read.
    t.plane.parts().keyring.forget();
    store.plan(Fault::Stall { call, nth });
    let began = Instant::now();
    let answered = tokio::time::timeout(PATIENCE, t.livekit_says(&event)).await;
    let answered = answered.unwrap_or_else(|_| panic!("{call:?} {nth} stands still, and LiveKit has given up"));
    store.clear();
    let stands = store.calls(call) >= nth && began.elapsed() > Duration::ZERO;
    if let Err(refused) = &answered {
        assert_eq!((refused.code(), refused.retry_after_seconds()), (Code::Overloaded, Some(RETRY_AFTER_SECONDS)));
        store.release();
        assert_eq!(t.livekit_says(&event).await.expect("taken in"), Accepted::Recorded, "{call:?} {nth}");
    }
    assert_eq!(answered.is_err(), stands, "{call:?} {nth}: {answered:?}");
    assert_eq!(store.count(&schema::EVENTS, schema::PRIMARY, &[], 10).await.expect("counted"), 1);
    stands
}

#[tokio::test(start_paused = true)]
async fn livekit_is_told_to_come_again_in_time_whichever_read_stands_still() {
    let mut stood = Vec::new();
    for call in [CallKind::Get, CallKind::Find, CallKind::Scan, CallKind::Count] {
        let mut nth = 1;
        while told_while_a_read_stands_still(call, nth).await {
            nth += 1;
        }
        stood.push((call, nth - 1));
    }
    assert!(stood.iter().map(|(_, reads)| reads).sum::<u64>() > 3, "an event is planned with fewer reads: {stood:?}");
}
