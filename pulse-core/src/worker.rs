//! What happens without being asked: caches follow the store, uses of keys are recorded, jobs are done, deliveries are sent,
//! LiveKit is asked who is there, expired documents go. Each task is one function that does its work once; a loop calls them, and tests call [`run_until_idle`].

mod jobs;
mod queue;

use std::{future, sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;

use crate::{
    access::{keyring::Outdated, pepper::Digest},
    boot::forget_replaced_token,
    deliver::dispatch::{Backlog, backlog},
    error::Result,
    model::{api_key::ApiKey, key_use::KeyUse},
    parts::Parts,
    pipeline::Pipeline,
    plane::ControlPlane,
    reconcile::Circle,
    repo::{Document, operator_token::OperatorToken},
    retention,
    store::{Batch, CommitMode, Outcome},
};

/// How often the store's generation is read: what is revoked elsewhere stops here within two seconds.
const FOLLOW_EVERY: Duration = Duration::from_millis(500);
/// How often jobs are looked for.
const JOBS_EVERY: Duration = Duration::from_secs(1);
/// How often uses of keys are recorded.
const USES_EVERY: Duration = Duration::from_secs(60);
/// How often the store is tended.
const TEND_EVERY: Duration = Duration::from_secs(2);
/// How often expired documents are removed.
const SWEEP_EVERY: Duration = Duration::from_secs(60);
/// How often what waits is counted.
const GAUGE_EVERY: Duration = Duration::from_secs(15);
/// Up to how many are counted.
const COUNTED: u64 = 100_000;
/// How many expired documents one batch removes at most.
const SWEEP_ROWS: usize = 500;
/// How many batches one call removes at most.
const BATCHES: usize = 2_000;

/// Reads the store's generation, drops the caches when it has changed, and the file of a token that does not hold any more.
pub async fn follow(plane: &ControlPlane) -> Result<()> {
    let parts = plane.parts();
    parts.keyring.confirm(parts.store.generation().await?);
    forget_replaced_token(plane).await
}

/// Records the uses of keys since the last time, and new digests of what still had one of the previous pepper. What
/// cannot be recorded now is kept for the next time.
pub async fn record_uses(plane: &ControlPlane) -> Result<()> {
    let parts = plane.parts();
    let uses: Vec<KeyUse> = parts.keyring.uses().take().into_iter().map(|(_, last)| last).collect();
    let recorded = parts.key_uses.record(&uses).await;
    if recorded.is_err() {
        parts.keyring.uses().put_back(uses.into_iter().map(|last| (last.key_id, last)));
    }
    for (whose, digest) in parts.keyring.rehashed().take() {
        let replaced = replace_digest(plane, whose, digest.clone()).await;
        if !matches!(replaced, Ok(Outcome::Committed { .. })) {
            parts.keyring.rehashed().put_back([(whose, digest)]);
        }
        replaced?;
    }
    recorded
}

async fn replace_digest(plane: &ControlPlane, whose: Outdated, digest: Digest) -> Result<Outcome> {
    let parts = plane.parts();
    let mut batch = Batch::new();
    match whose {
        Outdated::Key(project, id) => {
            if let Some(key) = parts.keys.get(project, id).await? {
                ApiKey { digest, ..key }.replace_in(&mut batch)?;
            }
        }
        Outdated::Operator => {
            if let Some(token) = OperatorToken::read(&parts.store).await? {
                OperatorToken { digest, ..token }.replace_in(&mut batch)?;
                batch.bump_generation();
            }
        }
    }
    parts.store.commit(batch, CommitMode::Apply).await
}

/// Removes expired documents, a batch at a time, until none is left, `stopping` is cancelled, or a later call has to go on.
pub async fn sweep(plane: &ControlPlane, stopping: &CancellationToken) -> Result<()> {
    let parts = plane.parts();
    for _ in 0..BATCHES {
        let removed = parts.store.sweep(parts.clock.now(), SWEEP_ROWS).await?;
        if removed < SWEEP_ROWS as u64 || stopping.is_cancelled() {
            break;
        }
    }
    Ok(())
}

/// Removes old events and deliveries in the same way.
pub async fn forget(plane: &ControlPlane, stopping: &CancellationToken) -> Result<()> {
    for _ in 0..BATCHES {
        if retention::sweep(plane.parts()).await? == 0 || stopping.is_cancelled() {
            break;
        }
    }
    Ok(())
}

/// Counts what waits and what was put aside, and who watches.
pub async fn gauge(plane: &ControlPlane) -> Result<()> {
    let parts = plane.parts();
    let Backlog { queued, parked } = backlog(parts, COUNTED).await?;
    let quarantined = parts.deliveries.count_quarantined(COUNTED).await?;
    let number = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
    parts.metrics.deliveries_queued.set(number(queued));
    parts.metrics.deliveries_parked.set(number(parked));
    parts.metrics.deliveries_quarantined.set(number(quarantined));
    parts.metrics.event_streams.set(number(parts.hub.readers() as u64));
    Ok(())
}

/// Does due jobs, until none is left or the daemon stops; tells how many turns that took.
pub async fn do_jobs(pipeline: &Pipeline) -> Result<usize> {
    queue::run(pipeline).await
}

/// Does everything that is due until nothing is left. For tests.
pub async fn run_until_idle(pipeline: &Pipeline) -> Result<()> {
    let plane = &pipeline.plane;
    follow(plane).await?;
    while do_jobs(pipeline).await? > 0 {}
    pipeline.dispatcher.run_until_idle().await?;
    record_uses(plane).await?;
    sweep(plane, &pipeline.stopping).await?;
    forget(plane, &pipeline.stopping).await
}

/// Calls every task in its own rhythm until the daemon stops, then records the last uses of keys. The tasks run side by
/// side, so that a long purge does not keep the caches from following the store. One that fails is logged and tried again
/// at its next turn. One that is under way at the end is finished, unless it may take long: jobs, rounds and sweeps are
/// broken off where they are, and the next start goes on with them. What requests need goes on until the last of them has
/// ended. What was left leased from before is taken back before this, by
/// [`Dispatcher::recover`](crate::deliver::dispatch::Dispatcher::recover).
pub async fn run(pipeline: Arc<Pipeline>) {
    let plane = &*pipeline.plane;
    let parts = plane.parts();
    let Pipeline { stopping, drained, .. } = &*pipeline;
    let jobs_called = || parts.wakes.jobs.notified();
    tokio::join!(
        keep_redis(parts, drained),
        stopping.run_until_cancelled(parts.hear_of_events()),
        repeat("follow", FOLLOW_EVERY, future::pending, drained, || follow(plane)),
        repeat("uses", USES_EVERY, || parts.keyring.uses().crowded(), drained, || record_uses(plane)),
        repeat("jobs", JOBS_EVERY, jobs_called, stopping, || async { do_jobs(&pipeline).await.map(drop) }),
        repeat("tend", TEND_EVERY, future::pending, drained, || parts.store.tend()),
        repeat("sweep", SWEEP_EVERY, future::pending, stopping, || sweep(plane, stopping)),
        repeat("retention", SWEEP_EVERY, future::pending, stopping, || forget(plane, stopping)),
        repeat("gauges", GAUGE_EVERY, future::pending, stopping, || gauge(plane)),
        reconcile(&pipeline),
        Arc::clone(&pipeline.dispatcher).run(),
    );
    if let Err(error) = record_uses(plane).await {
        tracing::warn!(error = %error, "the last uses of keys were not recorded");
    }
}

/// Keeps the connection to Redis, where one is set.
async fn keep_redis(parts: &Parts, end: &CancellationToken) {
    if let Some(redis) = &parts.redis {
        redis.keep(end).await;
    }
}

/// Has every circle of clusters looked at in its own rhythm until the daemon stops, then gives the clusters back.
async fn reconcile(pipeline: &Pipeline) {
    let stopping = &pipeline.stopping;
    let every = pipeline.plane.parts().settings.pipeline.reconcile_every;
    let round = |circle| pipeline.reconciler.round_of(circle);
    tokio::join!(
        repeat("reconcile", every, future::pending, stopping, || round(Circle::Own)),
        repeat("reconcile tenants", every, future::pending, stopping, || round(Circle::Tenants)),
        repeat("reconcile failing", every, future::pending, stopping, || round(Circle::Failing)),
    );
    if let Err(error) = pipeline.reconciler.release().await {
        tracing::warn!(error = %error, "clusters stay this daemon's until their leases end");
    }
}

/// Does one task again and again until `end`: every period, and when it is called before its time.
async fn repeat<F: Future<Output = Result<()>>, C: Future<Output = ()>>(
    task: &str,
    period: Duration,
    called: impl Fn() -> C,
    end: &CancellationToken,
    work: impl Fn() -> F,
) {
    let mut ticks = tokio::time::interval(period);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            () = end.cancelled() => return,
            _ = ticks.tick() => {}
            () = called() => {}
        }
        if let Err(error) = work().await {
            tracing::warn!(task, error = %error, cause = ?error.cause().map(ToString::to_string), "a worker's task failed");
        }
    }
}
