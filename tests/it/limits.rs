//! Rate limits that daemons share through a real Redis: over limiters as daemons have them, and over daemons.

mod away;
mod daemons;
mod outbound;
mod together;

use std::{sync::Arc, time::Duration};

use pulse_core::{
    limit::{Decision, Patience, Rate, Redis, RedisPlace, SharedLimiter, Standing},
    metrics::Metrics,
    outbound::Outbound,
    time::{Clock, SystemClock},
};
use pulse_tests::{daemon::series, peers, plane::loopback_only, process::READY};
use tokio::time::Instant;
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

/// 600 requests a minute: one comes back every 100 ms, and a chunk is 12.
const RATE: Rate = Rate { per_minute: 600 };
const CHUNK: u32 = 12;
/// A bound for tests that count: how busy the machine is must not change the sum.
const LONG: Duration = Duration::from_secs(20);

/// The limiter of one daemon, and its connection to Redis.
struct Counter {
    limiter: SharedLimiter<&'static str>,
    redis: Arc<Redis>,
    metrics: Metrics,
    end: CancellationToken,
    keeping: AbortOnDropHandle<()>,
}

impl Counter {
    fn new(url: &str, outbound: Outbound, name: &str, bound: Duration) -> Self {
        Self::at(url, outbound, name, bound, Arc::new(SystemClock::new()))
    }

    fn at(url: &str, outbound: Outbound, name: &str, bound: Duration, clock: Arc<dyn Clock>) -> Self {
        let (place, metrics) = (RedisPlace::parse(url).expect("a URL of Redis"), Metrics::new().expect("metrics"));
        let redis = Redis::within(place, outbound, Arc::clone(&clock), metrics.clone(), name, bound);
        let end = CancellationToken::new();
        let keeping = {
            let (redis, end) = (Arc::clone(&redis), end.clone());
            AbortOnDropHandle::new(tokio::spawn(async move { redis.keep(&end).await }))
        };
        let limiter = SharedLimiter::new(1_000, Arc::clone(&redis), clock);
        Self { limiter, redis, metrics, end, keeping }
    }

    /// One that may connect to this machine only.
    fn over(redis: &peers::redis::Redis, name: &str, bound: Duration) -> Self {
        Self::new(&redis.url(), Outbound::new(loopback_only()), name, bound)
    }

    /// Three that know of each other.
    async fn three(redis: &peers::redis::Redis, bound: Duration) -> Arc<[Self; 3]> {
        let three = Arc::new(["one", "two", "three"].map(|name| Self::over(redis, name, bound)));
        for counter in three.iter() {
            counter.until("three daemons are seen", || counter.redis.daemons() == 3).await;
        }
        three
    }

    async fn spend(&self, key: &'static str, cost: u32) -> Decision {
        self.limiter.spend(&key, RATE, cost, &mut Patience::default()).await
    }

    /// Spends until so many in a row were refused; tells how many were not, and the longest time that one took.
    async fn exhaust(&self, key: &'static str, refusals: u32) -> (u32, Duration) {
        let (mut admitted, mut refused, mut longest) = (0, 0, Duration::ZERO);
        while refused < refusals {
            let began = Instant::now();
            let decision = self.spend(key, 1).await;
            longest = longest.max(began.elapsed());
            if decision.allowed {
                (admitted, refused) = (admitted + 1, 0);
            } else {
                refused += 1;
            }
            tokio::task::yield_now().await;
        }
        (admitted, longest)
    }

    async fn until(&self, what: &str, holds: impl Fn() -> bool) {
        let waiting = async {
            while !holds() {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        let standing = || self.redis.standing();
        tokio::time::timeout(READY, waiting)
            .await
            .unwrap_or_else(|_| panic!("{what}: not yet; Redis: {:?}", standing()));
    }

    async fn until_up(&self) {
        self.until("Redis is up", || self.redis.is_up()).await;
    }

    /// Waits until Redis is away, and tells why.
    async fn until_away(&self, because: &str) {
        let why = || match self.redis.standing() {
            Standing::Away { why } => why,
            Standing::Up { .. } => String::new(),
        };
        self.until(because, || !self.redis.is_up() && why().contains(because)).await;
    }

    /// The value of a series of the metrics; 0 when it is not there.
    fn series(&self, name: &str) -> f64 {
        series(&self.metrics.render().expect("metrics"), name)
    }

    /// Leaves in order.
    async fn leave(self) {
        self.end.cancel();
        tokio::time::timeout(READY, self.keeping).await.expect("the connection ends").expect("no panic");
    }
}

/// How many requests have come back since then, and one for the moment in between.
fn come_back(since: Instant) -> u32 {
    u32::try_from(since.elapsed().as_millis() / 100).expect("a test is short") + 1
}

/// Lets all spend at once until each was refused so often in a row; gives the sum of what was admitted and the longest time
/// that a request took.
async fn exhaust_all(counters: &Arc<[Counter; 3]>, key: &'static str, refusals: u32) -> (u32, Duration) {
    let tasks: Vec<_> = (0..3)
        .map(|one| {
            let counters = Arc::clone(counters);
            tokio::spawn(async move { counters[one].exhaust(key, refusals).await })
        })
        .collect();
    let (mut admitted, mut longest) = (0, Duration::ZERO);
    for task in tasks {
        let (some, took) = task.await.expect("no panic");
        (admitted, longest) = (admitted + some, longest.max(took));
    }
    (admitted, longest)
}
