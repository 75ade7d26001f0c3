//! While Redis is away: nobody is refused or kept waiting because of it, and the shares sum up to about the limit.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use pulse_core::limit::BOUND;
use pulse_tests::{
    peers::redis::{Options, Redis},
    process::READY,
};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep, timeout},
};

use super::{CHUNK, Counter, LONG, RATE, come_back, exhaust_all};

/// What a request may take when it waits for the bound, on a machine that is busy with other tests.
const SOON: Duration = BOUND.saturating_mul(10);

fn assert_down(counters: &[Counter]) {
    for counter in counters {
        assert!(!counter.redis.is_up() && counter.series("pulse_redis_up") < 0.5);
        assert_eq!(counter.redis.daemons(), 3, "the last known number is not used");
    }
}

/// Requests at three daemons, one after another at each.
struct Load {
    admitted: Arc<AtomicU32>,
    refused: Arc<AtomicU32>,
    ends: Arc<AtomicBool>,
    tasks: parking_lot::Mutex<JoinSet<Duration>>,
}

impl Load {
    fn start(counters: &Arc<[Counter; 3]>, key: &'static str) -> Self {
        let load = Self {
            admitted: Arc::default(),
            refused: Arc::default(),
            ends: Arc::default(),
            tasks: parking_lot::Mutex::default(),
        };
        for one in 0..3 {
            let counters = Arc::clone(counters);
            let (admitted, refused, ends) =
                (Arc::clone(&load.admitted), Arc::clone(&load.refused), Arc::clone(&load.ends));
            load.tasks.lock().spawn(async move {
                let mut longest = Duration::ZERO;
                while !ends.load(Ordering::SeqCst) {
                    let began = Instant::now();
                    let decision = counters[one].spend(key, 1).await;
                    longest = longest.max(began.elapsed());
                    let count = if decision.allowed { &admitted } else { &refused };
                    count.fetch_add(1, Ordering::SeqCst);
                    // The pace of the load: some hundreds a second.
                    sleep(Duration::from_millis(2)).await;
                }
                longest
            });
        }
        load
    }

    async fn until(&self, holds: impl Fn(&Self) -> bool) {
        let waiting = async {
            while !holds(self) {
                sleep(Duration::from_millis(1)).await;
            }
        };
        timeout(READY, waiting).await.expect("the load goes on");
    }

    /// Ends it, and tells the longest time that a request took.
    async fn end(&self) -> Duration {
        self.ends.store(true, Ordering::SeqCst);
        let tasks = std::mem::take(&mut *self.tasks.lock());
        tasks.join_all().await.into_iter().max().unwrap_or_default()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_in_mid_load_leaves_shares_that_sum_up_to_the_limit_and_heals() {
    let mut redis = Redis::start().await;
    // Nothing is late here, whatever the machine does: a connection that ends is told at once.
    let counters = Counter::three(&redis, LONG).await;
    let began = Instant::now();
    let load = Load::start(&counters, "load");
    load.until(|load| load.admitted.load(Ordering::SeqCst) >= 90).await;
    redis.kill().await;
    load.until(|load| load.refused.load(Ordering::SeqCst) >= 300).await;
    let longest = load.end().await;

    // All admitted about as much before; a little less than equal is what the tolerance is for.
    let (admitted, most) = (load.admitted.load(Ordering::SeqCst), RATE.per_minute + come_back(began) + 2 * CHUNK);
    assert!((RATE.per_minute - 3 * CHUNK..=most).contains(&admitted), "{admitted} of at most {most} were admitted");
    assert!(longest < SOON, "a request took {longest:?}");
    assert_down(&counters[..]);

    redis.restart().await;
    for counter in counters.iter() {
        counter.until_up().await;
        counter.until("all are seen again", || counter.redis.daemons() == 3).await;
    }
    let began = Instant::now();
    let (admitted, _) = exhaust_all(&counters, "healed", 20).await;
    let most = RATE.per_minute + come_back(began);
    assert!((RATE.per_minute - 3 * CHUNK..=most).contains(&admitted), "{admitted} of at most {most} after healing");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shares_decide_while_redis_is_away_and_what_was_admitted_before_counts() {
    let mut redis = Redis::start().await;
    let counters = Counter::three(&redis, LONG).await;
    let before = Instant::now();
    // One has had its share of 200 through Redis, one half of it, one nothing.
    for (counter, count) in counters.iter().zip([200, 100, 0]) {
        for _ in 0..count {
            assert!(counter.spend("payer", 1).await.allowed);
        }
    }
    redis.kill().await;
    for counter in counters.iter() {
        counter.until("Redis is away", || !counter.redis.is_up()).await;
    }
    for (counter, left) in counters.iter().zip([0, 100, 200]) {
        let (admitted, _) = counter.exhaust("payer", 10).await;
        // A chunk that was taken may be spent, and one comes back every 300 ms.
        let most = left + CHUNK + come_back(before);
        assert!((left..=most).contains(&admitted), "{admitted} were admitted, of {left} to {most}");
        let (fresh, _) = counter.exhaust("somebody else", 10).await;
        assert!((200..=200 + come_back(before)).contains(&fresh), "a share of 200 was {fresh}");
        let told = counter.spend("a third", 1).await;
        assert_eq!((told.allowed, told.limit, told.remaining), (true, 600, 199));
    }
    assert_down(&counters[..]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_never_answers_is_waited_for_once_and_not_for_long() {
    let redis = Redis::start().await;
    let counter = Counter::over(&redis, "one", BOUND);
    counter.until_up().await;

    redis.hang();
    let began = Instant::now();
    let first = counter.spend("one", 1).await;
    let waited = began.elapsed();
    assert!(first.allowed, "refused because of Redis");
    assert!(waited >= BOUND.saturating_sub(Duration::from_millis(2)) && waited < SOON, "it waited {waited:?}");
    counter.until_away("does not answer within 50 ms").await;
    assert!(began.elapsed() < SOON, "it was found out only after {:?}", began.elapsed());
    let began = Instant::now();
    for number in 0..200 {
        assert!(counter.spend("two", 1).await.allowed, "request {number}");
    }
    assert!(began.elapsed() < SOON, "200 requests took {:?}", began.elapsed());

    // One that begins while it hangs waits for nothing either.
    let late = Counter::over(&redis, "two", BOUND);
    let began = Instant::now();
    assert!(late.spend("one", 1).await.allowed && began.elapsed() < SOON);
    late.until_away("does not answer").await;

    redis.go_on();
    counter.until_up().await;
    late.until_up().await;
}

#[tokio::test]
async fn a_redis_that_refuses_is_told_of_in_words_and_without_the_password() {
    let redis = Redis::start_with(Options { password: Some("the-right-password".to_owned()), tls: None }).await;
    let outbound = || pulse_core::outbound::Outbound::new(pulse_tests::plane::loopback_only());
    for (url, because) in [
        (format!("redis://:the-wrong-password@{}", redis.address()), "refuses the user name or the password"),
        (format!("redis://ada:the-wrong-password@{}", redis.address()), "refuses the user name or the password"),
        (format!("redis://{}", redis.address()), "refuses the user name or the password"),
        (format!("{}/99", redis.url()), "answers with the error ERR"),
        (format!("redis://127.0.0.1:{}", pulse_tests::ports::free()), "the connection was not accepted"),
    ] {
        let counter = Counter::new(&url, outbound(), "one", LONG);
        counter.until_away(because).await;
        assert!(counter.spend("anybody", 1).await.allowed);
        let shown = format!("{:?} {:?}", counter.redis, counter.redis.standing());
        assert!(!shown.contains("password@") && !shown.contains("-password"), "{shown}");
    }
}

/// Redis answers, but cannot be written to: out of memory, as it is configured.
#[tokio::test]
async fn an_error_in_place_of_a_chunk_takes_redis_away_until_it_has_passed() {
    let redis = Redis::start().await;
    let counter = Counter::over(&redis, "one", LONG);
    counter.until_up().await;
    redis.ask::<String>(&["CONFIG", "SET", "maxmemory", "1"]).await;

    let began = Instant::now();
    let (admitted, _) = counter.exhaust("payer", 5).await;

    assert!((RATE.per_minute..=RATE.per_minute + come_back(began)).contains(&admitted), "{admitted} were admitted");
    counter.until_away("answers with the error OOM").await;
    redis.ask::<String>(&["CONFIG", "SET", "maxmemory", "0"]).await;
    counter.until_up().await;
}
