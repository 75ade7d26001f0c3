//! While Redis is there: what daemons admit together.

use std::{sync::Arc, time::Duration};

use futures_util::future::join_all;
use pulse_core::{
    limit::{LIFE, Patience},
    outbound::Outbound,
    time::{ManualClock, Timestamp},
};
use pulse_tests::{
    peers::redis::{Options, Redis},
    plane::loopback_only,
};
use tokio::time::Instant;

use super::{CHUNK, Counter, LONG, RATE, come_back, exhaust_all};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_limiters_admit_the_limit_and_not_three_times_it() {
    let redis = Redis::start().await;
    let counters = Counter::three(&redis, LONG).await;
    let began = Instant::now();

    let (admitted, _) = exhaust_all(&counters, "everybody", 20).await;

    let most = RATE.per_minute + come_back(began);
    // What one has taken and the others might have spent.
    assert!((RATE.per_minute - 3 * CHUNK..=most).contains(&admitted), "{admitted} of at most {most} were admitted");
    let asked: f64 = counters.iter().map(|one| one.series("pulse_redis_chunks_total{result=\"granted\"}")).sum();
    // A chunk for each, and single ones as they come back.
    let most = f64::from(admitted / CHUNK + 3 + come_back(began));
    assert!(asked <= most, "{asked} chunks were asked for, not {most} at most");
    let other = counters[0].spend("another", 1).await;
    assert!(other.allowed, "another payer pays for it: {other:?}");
}

// On one thread: no answer comes in the midst of those who come.
#[tokio::test]
async fn those_who_come_at_once_are_asked_for_together() {
    let redis = Redis::start().await;
    let counter = Counter::over(&redis, "one", LONG);
    counter.until_up().await;
    let began = Instant::now();

    let all = join_all((0..500).map(|_| counter.spend("crowd", 1))).await;
    let admitted = all.iter().filter(|decision| decision.allowed).count();

    assert_eq!(admitted, 500);
    let asked = counter.series("pulse_redis_chunks_total{result=\"granted\"}");
    assert!(asked <= 5.0, "{asked} questions for a crowd");
    // What others know of it is what is left; what was asked for last may have been more than was waited for.
    let other = Counter::over(&redis, "two", LONG);
    other.until_up().await;
    let seen = other.spend("crowd", 1).await;
    let left = 99 - CHUNK..=99 + come_back(began);
    assert!(seen.allowed && left.contains(&seen.remaining), "{seen:?}, not {left:?}");
    let refused = other.spend("crowd", 300).await;
    assert!(!refused.allowed && (10..=23).contains(&refused.reset_seconds), "{refused:?}");
}

#[tokio::test]
async fn who_can_wait_no_longer_is_admitted_and_charged_when_the_answer_comes() {
    let redis = Redis::start().await;
    let bound = Duration::from_millis(500);
    let counter = Counter::over(&redis, "one", bound);
    counter.until_up().await;
    // Whoever waited for one limit has no time left for the next.
    let mut patience = Patience::default();
    assert!(counter.limiter.spend(&"first", RATE, 1, &mut patience).await.allowed);
    tokio::time::sleep(bound).await;

    assert!(counter.limiter.spend(&"second", RATE, CHUNK - 1, &mut patience).await.allowed);

    let granted = || counter.series("pulse_redis_chunks_total{result=\"granted\"}");
    counter.until("the answer has come", || granted() >= 2.0).await;
    assert!(counter.redis.is_up(), "it was late for one request, and not at all for others");
    // One is left of the chunk.
    assert!(counter.spend("second", 1).await.allowed);
    assert_eq!(granted(), 2.0);
    assert!(counter.spend("second", 1).await.allowed);
    assert_eq!(granted(), 3.0, "what was admitted before the answer came was not charged to it");
}

#[tokio::test]
async fn what_lapses_is_given_back() {
    let redis = Redis::start().await;
    let clock = Arc::new(ManualClock::new(Timestamp::from_secs(1_000)));
    let outbound = Outbound::new(loopback_only());
    let counter = Counter::at(&redis.url(), outbound, "one", LONG, Arc::clone(&clock) as Arc<_>);
    counter.until_up().await;

    assert!(counter.spend("quiet", 300).await.allowed);
    assert!(counter.spend("quiet", 1).await.allowed, "of a chunk of its own");
    clock.advance(LIFE);
    let decision = counter.spend("quiet", 1).await;

    // 302 were spent; the chunk of the second and what it had left are not counted twice.
    assert!(decision.allowed && decision.remaining >= 298, "{decision:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flush_costs_fresh_buckets_and_nothing_else() {
    let redis = Redis::start().await;
    let counters = Counter::three(&redis, LONG).await;
    exhaust_all(&counters, "flushed", 20).await;

    redis.flush().await;
    let began = Instant::now();
    // What was refused is believed until the next request comes back.
    while !counters[0].spend("flushed", 1).await.allowed {
        tokio::task::yield_now().await;
    }
    let (rest, _) = exhaust_all(&counters, "flushed", 20).await;

    let (admitted, most) = (1 + rest, RATE.per_minute + come_back(began) + 3 * CHUNK);
    assert!((RATE.per_minute - 3 * CHUNK..=most).contains(&admitted), "{admitted} of at most {most} were admitted");
    for counter in counters.iter() {
        assert!(counter.redis.is_up(), "a flush took Redis away: {:?}", counter.redis.standing());
        assert_eq!(counter.redis.daemons(), 3, "daemons were forgotten with the flush");
        assert!(counter.series("pulse_redis_chunks_total{result=\"failed\"}") < 0.5);
    }
}

#[tokio::test]
async fn who_leaves_is_not_counted_any_more_and_nothing_stays_for_long() {
    let redis = Redis::start_with(Options { password: Some("the-password-of-redis".to_owned()), tls: None }).await;
    let url = format!("{}/3", redis.url());
    let one = Counter::new(&url, Outbound::new(loopback_only()), "one", LONG);
    let two = Counter::new(&url, Outbound::new(loopback_only()), "two", LONG);
    for counter in [&one, &two] {
        counter.until("both are seen", || counter.redis.daemons() == 2).await;
    }
    assert!(one.spend("a", 1).await.allowed);
    assert!((one.series("pulse_redis_up") - 1.0).abs() < 0.1 && (one.series("pulse_redis_daemons") - 2.0).abs() < 0.1);

    // The names in database 3, and that each has its time.
    let script = "redis.call('SELECT', 3) local found = {} for _, key in ipairs(redis.call('KEYS', '*')) do \
                  table.insert(found, key) table.insert(found, tostring(redis.call('PTTL', key))) end return found";
    let mut found: Vec<String> = redis.ask(&["EVAL", script, "0"]).await;
    let mut names = Vec::new();
    while let (Some(life), Some(name)) = (found.pop(), found.pop()) {
        let life: i64 = life.parse().expect("a number");
        assert!((1..=60_000).contains(&life), "{name} stays for {life} ms");
        names.push(name);
    }
    names.sort();
    assert_eq!(names, ["pulse:limit:a", "pulse:limit:daemons"]);

    two.leave().await;
    let left = "redis.call('SELECT', 3) return redis.call('ZCARD', 'pulse:limit:daemons')";
    assert_eq!(redis.ask::<u32>(&["EVAL", left, "0"]).await, 1, "who left is still counted");
    assert!(!format!("{:?} {}", one.redis, one.redis.place()).contains("the-password-of-redis"));
}

/// What a daemon that was killed leaves behind lasts ten seconds, by Redis' clock.
#[tokio::test]
async fn who_was_not_heard_of_lately_does_not_count() {
    let redis = Redis::start().await;
    let time: Vec<i64> = redis.ask(&["TIME"]).await;
    let at = |seconds: i64| ((time[0] + seconds) * 1_000).to_string();
    // One that was killed, one from before a clock was set back, one that lives.
    let (dead, future, living) = (at(-11), at(3_600), at(-5));
    let known = ["ZADD", "pulse:limit:daemons", &dead, "dead", &future, "future", &living, "living"];
    assert_eq!(redis.ask::<u32>(&known).await, 3);

    let counter = Counter::over(&redis, "one", Duration::from_secs(20));
    counter.until_up().await;

    assert_eq!(counter.redis.daemons(), 2);
}
