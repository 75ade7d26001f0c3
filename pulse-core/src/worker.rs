//! What happens without being asked: caches follow the store, uses of keys are recorded, jobs are done, deliveries are sent,
//! LiveKit is asked who is there, expired documents go. Each task is one function that does its work once; a loop calls them, and tests call [`run_until_idle`].

mod jobs;

use std::{future, sync::Arc, time::Duration};

use tokio::sync::watch;

use crate::{
    access::{keyring::Outdated, pepper::Digest},
    boot::forget_replaced_token,
    error::Result,
    model::{
        api_key::ApiKey,
        endpoint::{Endpoint, EndpointState},
        key_use::KeyUse,
    },
    pipeline::Pipeline,
    plane::ControlPlane,
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
/// How often expired documents are removed.
const SWEEP_EVERY: Duration = Duration::from_secs(60);
/// How often what waits is counted.
const GAUGE_EVERY: Duration = Duration::from_secs(15);
/// Up to how many are counted.
const COUNTED: u64 = 100_000;
/// How many endpoints are asked for what waits longest.
const SAMPLED: usize = 200;
/// How many expired documents one sweep removes at most.
const SWEEP_ROWS: usize = 500;

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

/// Removes expired documents; tells how many.
pub async fn sweep(plane: &ControlPlane) -> Result<u64> {
    plane.parts().store.sweep(plane.parts().clock.now(), SWEEP_ROWS).await
}

/// Removes old events and deliveries, a batch at a time, until nothing old is left.
pub async fn forget(plane: &ControlPlane) -> Result<()> {
    while retention::sweep(plane.parts()).await? > 0 {}
    Ok(())
}

/// Counts what waits and what was put aside.
pub async fn gauge(plane: &ControlPlane) -> Result<()> {
    let parts = plane.parts();
    let (queued, quarantined) = parts.deliveries.count(COUNTED).await?;
    let number = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
    parts.metrics.deliveries_queued.set(number(queued));
    parts.metrics.deliveries_quarantined.set(number(quarantined));
    let now = parts.clock.now();
    let mut oldest = Duration::ZERO;
    for id in parts.deliveries.endpoints_with_work(None, SAMPLED).await? {
        let active = |endpoint: &Endpoint| endpoint.state == EndpointState::Active;
        if parts.endpoints.find(id).await?.is_some_and(|endpoint| active(&endpoint))
            && let Some(due_at) = parts.deliveries.first_due(id).await?
        {
            oldest = oldest.max(now.since(due_at));
        }
    }
    parts.metrics.deliveries_oldest.set(number(oldest.as_secs()));
    Ok(())
}

/// Does due jobs; tells how many.
pub async fn do_jobs(pipeline: &Pipeline) -> Result<usize> {
    jobs::run(pipeline).await
}

/// Does everything that is due until nothing is left. For tests.
pub async fn run_until_idle(pipeline: &Pipeline) -> Result<()> {
    let plane = &pipeline.plane;
    follow(plane).await?;
    while do_jobs(pipeline).await? > 0 {}
    pipeline.dispatcher.run_until_idle().await?;
    record_uses(plane).await?;
    while sweep(plane).await? == SWEEP_ROWS as u64 {}
    forget(plane).await
}

/// Calls every task in its own rhythm until `stop` becomes true, then records the last uses of keys. The tasks run side
/// by side, so that a long purge does not keep the caches from following the store. One that fails is logged and tried
/// again at its next turn; one that is under way when `stop` comes is finished. What was left leased from before is
/// taken back before this, by [`Dispatcher::recover`](crate::deliver::dispatch::Dispatcher::recover).
pub async fn run(pipeline: Arc<Pipeline>, stop: watch::Receiver<bool>) {
    let plane = &*pipeline.plane;
    let parts = plane.parts();
    let dispatcher = Arc::clone(&pipeline.dispatcher);
    let jobs_called = || parts.wakes.jobs.notified();
    let reconcile_every = parts.settings.pipeline.reconcile_every;
    tokio::join!(
        repeat("follow", FOLLOW_EVERY, future::pending, stop.clone(), || follow(plane)),
        repeat("jobs", JOBS_EVERY, jobs_called, stop.clone(), || async { do_jobs(&pipeline).await.map(drop) }),
        repeat("uses", USES_EVERY, || parts.keyring.uses().crowded(), stop.clone(), || record_uses(plane)),
        repeat("sweep", SWEEP_EVERY, future::pending, stop.clone(), || async { sweep(plane).await.map(drop) }),
        repeat("retention", SWEEP_EVERY, future::pending, stop.clone(), || forget(plane)),
        repeat("gauges", GAUGE_EVERY, future::pending, stop.clone(), || gauge(plane)),
        repeat("reconcile", reconcile_every, future::pending, stop.clone(), || pipeline.reconciler.round()),
        dispatcher.run(stop),
    );
    if let Err(error) = record_uses(plane).await {
        tracing::warn!(error = %error, "the last uses of keys were not recorded");
    }
}

/// Does one task again and again: every period, and when it is called before its time.
async fn repeat<F: Future<Output = Result<()>>, C: Future<Output = ()>>(
    task: &str,
    period: Duration,
    called: impl Fn() -> C,
    mut stop: watch::Receiver<bool>,
    work: impl Fn() -> F,
) {
    let mut ticks = tokio::time::interval(period);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        let stopped = async { drop(stop.wait_for(|stop| *stop).await) };
        tokio::select! {
            () = stopped => return,
            _ = ticks.tick() => {}
            () = called() => {}
        }
        if let Err(error) = work().await {
            tracing::warn!(task, error = %error, cause = ?error.cause().map(ToString::to_string), "a worker's task failed");
        }
    }
}
