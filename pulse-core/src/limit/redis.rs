//! The connection to Redis, which daemons share their limits through: one connection that carries all questions, kept by
//! [`Redis::keep`], and what is known of the other daemons.
//!
//! - Every connection, those after the first included, is dialed by [`Outbound`] under its policy. The library that speaks
//!   the protocol gets a connection and neither resolves nor connects.
//! - Nothing here is kept in Redis that must not be lost: buckets that come back full, and who was seen lately.
//! - A question that is not answered in time, or with an error, ends the connection at once, so that the next ones do not
//!   wait; another is made in the background. Log and status say so once for each change, never with a password.

mod census;
mod place;
mod talk;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use redis::{AsyncConnectionConfig, Cmd, aio::MultiplexedConnection};
use tokio::time::{sleep, timeout};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

pub use self::place::RedisPlace;
use self::{
    census::Census,
    talk::{fault, late, query, script, unconnected},
};
use super::{
    Rate,
    account::{Ask, Grant},
    shared::BOUND,
};
use crate::{metrics::Metrics, outbound::Outbound, time::Clock};

const TAKE: &str = include_str!("redis/take.lua");
const BEAT: &str = include_str!("redis/beat.lua");
/// What all names in Redis begin with.
const PREFIX: &str = "pulse:limit:";
/// Daemons by when they were last heard of.
const DAEMONS: &str = "pulse:limit:daemons";
/// How often a daemon is heard of, and for how long it counts as one.
const BEAT_EVERY: Duration = Duration::from_secs(2);
const SEEN_LATELY: Duration = Duration::from_secs(10);
/// How long a connection may take, login included; and an answer that nobody waits for.
const CONNECT: Duration = Duration::from_secs(2);
const BEAT_PATIENCE: Duration = Duration::from_secs(1);
/// Pauses between connections. A connection that lasted for [`STEADY`] ends the growth.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
const STEADY: Duration = Duration::from_secs(10);
/// Of series that there is one of.
const NO_LABELS: &[&str] = &[];

/// How Redis is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It answers; it took so long the last time.
    Up {
        /// The time between a question and its answer.
        latency: Duration,
    },
    /// It cannot be used.
    Away {
        /// Why, without a subject: "it does not answer within ...".
        why: String,
    },
}

/// A connection that works, until it is cancelled.
#[derive(Clone)]
struct Live {
    connection: MultiplexedConnection,
    broken: CancellationToken,
}

/// A connection that has just been made.
struct Session {
    live: Live,
    driver: AbortOnDropHandle<()>,
    latency: Duration,
}

struct State {
    live: Option<Live>,
    standing: Standing,
    /// Whether anything was logged yet.
    told: bool,
}

/// Redis, as this daemon uses it.
pub struct Redis {
    place: RedisPlace,
    outbound: Outbound,
    clock: Arc<dyn Clock>,
    metrics: Metrics,
    /// Names this daemon to the others.
    name: String,
    /// How long a call may wait for an answer.
    bound: Duration,
    up: AtomicBool,
    daemons: AtomicU32,
    census: Mutex<Census>,
    state: Mutex<State>,
}

impl std::fmt::Debug for Redis {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Redis").field("place", &self.place).field("standing", &self.standing()).finish_non_exhaustive()
    }
}

impl Redis {
    /// Nothing is connected until [`Redis::keep`] runs. `name` is this daemon's among the others.
    pub fn new(
        place: RedisPlace,
        outbound: Outbound,
        clock: Arc<dyn Clock>,
        metrics: Metrics,
        name: impl Into<String>,
    ) -> Arc<Self> {
        Self::within(place, outbound, clock, metrics, name, BOUND)
    }

    /// The same with another bound than [`BOUND`], for a test that must not depend on how busy its machine is.
    pub fn within(
        place: RedisPlace,
        outbound: Outbound,
        clock: Arc<dyn Clock>,
        metrics: Metrics,
        name: impl Into<String>,
        bound: Duration,
    ) -> Arc<Self> {
        metrics.redis_up.with_label_values(NO_LABELS).set(0);
        let standing = Standing::Away { why: "it has not been connected to yet".to_owned() };
        Arc::new(Self {
            place,
            outbound,
            clock,
            metrics,
            name: name.into(),
            bound,
            up: AtomicBool::new(false),
            daemons: AtomicU32::new(1),
            census: Mutex::default(),
            state: Mutex::new(State { live: None, standing, told: false }),
        })
    }

    /// Where it is.
    pub fn place(&self) -> &RedisPlace {
        &self.place
    }

    /// How long a call may wait for it.
    pub(super) fn bound(&self) -> Duration {
        self.bound
    }

    /// Whether it can be asked.
    pub fn is_up(&self) -> bool {
        self.up.load(Ordering::Relaxed)
    }

    /// How it is.
    pub fn standing(&self) -> Standing {
        self.state.lock().standing.clone()
    }

    /// How many daemons were seen lately, this one included; while Redis is away, as of the last time.
    pub fn daemons(&self) -> u32 {
        self.daemons.load(Ordering::Relaxed)
    }

    /// This daemon's part of a limit; never nothing.
    pub(super) fn share(&self, rate: Rate) -> Rate {
        Rate { per_minute: (rate.per_minute / self.daemons().max(1)).max(1) }
    }

    /// Takes from a payer's budget within the bound; `None` when Redis did not answer, which then is away.
    pub(super) async fn take(&self, bucket: &str, ask: Ask) -> Option<Grant> {
        let live = self.state.lock().live.clone()?;
        let mut command = script(TAKE, &format!("{PREFIX}{bucket}"));
        command.arg(ask.limit).arg(ask.need).arg(ask.want).arg(ask.back);
        match query::<(u32, u64)>(&live.connection, &command, self.bound).await {
            Ok((granted, micros)) => {
                self.count(if granted > 0 { "granted" } else { "refused" });
                Some(Grant { granted, debt: micros.saturating_mul(1_000) })
            }
            Err(why) => {
                self.count("failed");
                self.lose(&live, why);
                None
            }
        }
    }

    /// Keeps a connection for as long as the daemon needs limits, and tells the others that it is there; at the end, that it
    /// is not any more.
    pub async fn keep(&self, end: &CancellationToken) {
        let mut pause = FIRST_PAUSE;
        loop {
            let began = self.clock.monotonic();
            let opened = tokio::select! {
                () = end.cancelled() => return,
                opened = self.open() => opened,
            };
            let ended = match opened {
                Ok(session) => self.serve(session, end).await,
                Err(why) => Err(why),
            };
            if end.is_cancelled() {
                return;
            }
            if let Err(why) = ended {
                self.away(&mut self.state.lock(), why);
            }
            if self.clock.monotonic().saturating_sub(began) >= STEADY {
                pause = FIRST_PAUSE;
            }
            tokio::select! {
                () = end.cancelled() => return,
                () = sleep(pause) => pause = (pause * 2).min(LONGEST_PAUSE),
            }
        }
    }

    /// A connection over which Redis answered in time: who answers too late for a request is of no use, however well it is
    /// connected.
    async fn open(&self) -> Result<Session, String> {
        let RedisPlace { tls, host, port, login } = &self.place;
        let stream = self.outbound.open(host, *port, *tls, CONNECT).await.map_err(|kind| unconnected(&kind))?;
        let config = AsyncConnectionConfig::new().set_response_timeout(None).set_connection_timeout(None);
        let opening = timeout(CONNECT, MultiplexedConnection::new_with_config(login, stream, config)).await;
        let (connection, driver) = opening.map_err(|_| late(CONNECT))?.map_err(|error| fault(&error))?;
        let driver = AbortOnDropHandle::new(tokio::spawn(driver));
        let live = Live { connection, broken: CancellationToken::new() };
        let latency = self.beat(&live, self.bound).await?;
        Ok(Session { live, driver, latency })
    }

    /// Uses a connection to its end, and tells why it ended unless that is known.
    async fn serve(&self, session: Session, end: &CancellationToken) -> Result<(), String> {
        let Session { live, mut driver, latency } = session;
        // Whoever still asks it when this has ended says nothing about the next one.
        let _broken = live.broken.clone().drop_guard();
        self.publish(&live, latency);
        loop {
            tokio::select! {
                () = end.cancelled() => return self.leave(&live).await,
                () = live.broken.cancelled() => return Ok(()),
                _ = &mut driver => return Err("the connection ended".to_owned()),
                () = sleep(BEAT_EVERY) => {}
            }
            let latency = self.beat(&live, BEAT_PATIENCE).await?;
            let mut state = self.state.lock();
            // A question may have failed meanwhile.
            if state.live.is_some() {
                state.standing = Standing::Up { latency };
            }
        }
    }

    /// Tells the others that this daemon is not there any more.
    async fn leave(&self, live: &Live) -> Result<(), String> {
        self.up.store(false, Ordering::Relaxed);
        self.state.lock().live = None;
        let mut command = Cmd::new();
        command.arg("ZREM").arg(DAEMONS).arg(&self.name);
        query::<u32>(&live.connection, &command, self.bound).await.map(drop)
    }

    /// Tells the others that this daemon is there, and counts them; gives the time that the answer took.
    async fn beat(&self, live: &Live, patience: Duration) -> Result<Duration, String> {
        let began = self.clock.monotonic();
        let mut command = script(BEAT, DAEMONS);
        command.arg(&self.name).arg(u64::try_from(SEEN_LATELY.as_millis()).unwrap_or(u64::MAX));
        let seen: u32 = query(&live.connection, &command, patience).await?;
        let now = self.clock.monotonic();
        let daemons = self.census.lock().hears(seen, now, SEEN_LATELY);
        self.daemons.store(daemons, Ordering::Relaxed);
        self.metrics.redis_daemons.with_label_values(NO_LABELS).set(daemons.into());
        Ok(now.saturating_sub(began))
    }

    fn publish(&self, live: &Live, latency: Duration) {
        let mut state = self.state.lock();
        *state = State { live: Some(live.clone()), standing: Standing::Up { latency }, told: true };
        self.up.store(true, Ordering::Relaxed);
        self.metrics.redis_up.with_label_values(NO_LABELS).set(1);
        tracing::info!(redis = %self.place, daemons = self.daemons(), "limits hold over all daemons together, by Redis");
    }

    /// Ends a connection that failed a question, once: another one may be in its place already.
    fn lose(&self, live: &Live, why: String) {
        let mut state = self.state.lock();
        if !live.broken.is_cancelled() {
            live.broken.cancel();
            self.away(&mut state, why);
        }
    }

    /// Notes why Redis cannot be used, and tells of it when that is new.
    fn away(&self, state: &mut State, why: String) {
        let was_up = self.up.swap(false, Ordering::Relaxed);
        self.metrics.redis_up.with_label_values(NO_LABELS).set(0);
        if was_up || !state.told {
            tracing::warn!(
                redis = %self.place,
                why,
                daemons = self.daemons(),
                "Redis cannot be used: this daemon admits its share of every limit by itself"
            );
        }
        *state = State { live: None, standing: Standing::Away { why }, told: true };
    }

    fn count(&self, result: &str) {
        self.metrics.redis_chunks.with_label_values(&[result]).inc();
    }
}
