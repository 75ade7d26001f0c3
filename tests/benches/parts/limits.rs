//! Decisions of the API's rate limits: in this process alone, and shared through a Redis on this machine.
//!
//! Each decision is timed by itself. Payers are many and their limits those of plans, so that a shared one has the mix that
//! a daemon has: most decisions spend of a chunk, one in a chunk asks Redis. The payers of the plan with the smallest limit,
//! whose chunk is two requests, are measured apart.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use hdrhistogram::Histogram;
use pulse_core::{
    limit::{Limiter, Patience, Rate, Redis, RedisPlace, SharedLimiter},
    metrics::Metrics,
    outbound::Outbound,
    time::{Clock as _, SystemClock},
};
use pulse_tests::{peers, plane::loopback_only};
use tokio_util::sync::CancellationToken;

use super::{Row, histogram, pipeline::Scale, record};

/// The plans' limits, and the largest that a project may have.
const FREE: Rate = Rate { per_minute: 100 };
const PRO: Rate = Rate { per_minute: 1_000 };
/// Who asks at once. Of the plan with the smallest limit every other decision asks Redis: more callers would measure how many
/// questions it answers in a second.
const CALLERS: usize = 16;
const CALLERS_OF_THE_SMALLEST: usize = 4;
const PAYERS: u32 = 1_000;

/// A payer by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Payer(u32);

impl fmt::Display for Payer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "key:{}", self.0)
    }
}

/// A percentile in microseconds.
fn micros(histogram: &Histogram<u64>, percentile: f64) -> f64 {
    histogram.value_at_quantile(percentile) as f64 / 1e3
}

fn note(histogram: &Histogram<u64>, refused: u64) -> String {
    format!(
        "{} decisions, {refused} of them refusals, p50 {:.1} us, longest {:.0} us",
        histogram.len(),
        micros(histogram, 0.5),
        histogram.max() as f64 / 1e3
    )
}

/// Decisions without Redis, then with it.
pub(crate) async fn decisions(scale: &Scale) -> Vec<Row> {
    let count = scale.decisions;
    let alone = alone(count);
    let shared = share(count, PRO, CALLERS).await;
    // A tenth: none of them shall be used up.
    let smallest = share(count / 10, FREE, CALLERS_OF_THE_SMALLEST).await;
    vec![
        Row::less("rate-limit decision alone, p99", "us", micros(&alone.0, 0.99), (20.0, 5.0), note(&alone.0, alone.1)),
        Row::less(
            "rate-limit decision with Redis shared, p99",
            "ms",
            micros(&shared.0, 0.99) / 1e3,
            (2.0, 1.0),
            note(&shared.0, shared.1),
        ),
        Row::less(
            "the same for a plan of 100 a minute, p99",
            "ms",
            micros(&smallest.0, 0.99) / 1e3,
            (2.0, 1.0),
            note(&smallest.0, smallest.1),
        )
        .only_aimed_at(),
    ]
}

fn alone(count: usize) -> (Histogram<u64>, u64) {
    let (limiter, clock) = (Limiter::new(200_000), SystemClock::new());
    let (mut took, mut refused) = (histogram(), 0);
    for payer in (0..PAYERS).cycle().take(count) {
        let began = Instant::now();
        let decision = limiter.spend(&Payer(payer), PRO, 1, clock.monotonic());
        record(&mut took, began.elapsed());
        refused += u64::from(!decision.allowed);
    }
    (took, refused)
}

/// Two daemons on one Redis, of which this measures one.
async fn share(count: usize, rate: Rate, callers: usize) -> (Histogram<u64>, u64) {
    let server = peers::redis::Redis::start().await;
    let end = CancellationToken::new();
    let daemon = |name: &str| {
        let (place, clock) = (RedisPlace::parse(&server.url()).expect("a URL"), Arc::new(SystemClock::new()));
        let metrics = Metrics::new().expect("metrics");
        let redis = Redis::new(place, Outbound::new(loopback_only()), clock.clone(), metrics, name);
        let (keeping, end) = (Arc::clone(&redis), end.clone());
        tokio::spawn(async move { keeping.keep(&end).await });
        (Arc::new(SharedLimiter::new(200_000, Arc::clone(&redis), clock)), redis)
    };
    let ((limiter, redis), (_, other)) = (daemon("measured"), daemon("other"));
    while !redis.is_up() || !other.is_up() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let tasks = (0..callers).map(|caller| {
        let limiter = Arc::clone(&limiter);
        tokio::spawn(async move {
            let (mut took, mut refused) = (histogram(), 0);
            let payers = (0..PAYERS).cycle().skip(caller * PAYERS as usize / callers);
            for payer in payers.take(count / callers) {
                let began = Instant::now();
                let decision = limiter.spend(&Payer(payer), rate, 1, &mut Patience::default()).await;
                record(&mut took, began.elapsed());
                refused += u64::from(!decision.allowed);
                tokio::task::yield_now().await;
            }
            (took, refused)
        })
    });
    let (mut took, mut refused) = (histogram(), 0);
    for task in tasks.collect::<Vec<_>>() {
        let (some, more) = task.await.expect("no panic");
        took.add(some).expect("the same bounds");
        refused += more;
    }
    assert!(redis.is_up(), "Redis went away: {:?}", redis.standing());
    end.cancel();
    (took, refused)
}
