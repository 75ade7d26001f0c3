//! The queue of jobs: due ones are claimed and done several at once, so that one that waits for somebody else's server keeps
//! none of the others waiting.
//!
//! - A job is at it for less than its lease at a time: nobody else begins it meanwhile.
//! - What did not get to its end in that time, or when the daemon stops, is due again at once. Each job looks at what is
//!   left, so that it goes on from there.
//! - A long one gives its place up by itself, and says when it goes on.

use std::{future::Future, time::Duration};

use futures_util::{FutureExt as _, StreamExt as _, stream::FuturesUnordered};
use tokio_util::sync::CancellationToken;

use super::jobs;
use crate::{
    error::{Code, Error, Result},
    model::job::{Job, JobKind, Left},
    parts::APART,
    pipeline::Pipeline,
    repo::Document,
    store::{Batch, CommitMode},
};

/// Jobs that are done at once.
const AT_ONCE: usize = 16;
/// For how long a claimed job is nobody else's.
const LEASE: Duration = Duration::from_secs(30);
/// For how long a job may be at it at a time. What it came to is written down within the lease, too.
const TIME: Duration = Duration::from_secs(20);
/// How often more jobs are looked for while some are being done.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// The longest pause before a failed job is tried again.
const MAX_PAUSE: Duration = Duration::from_secs(3600);

/// How a job's turn ended.
#[derive(Debug)]
enum Turn {
    Ended(Left),
    Failed(Error),
    /// Its time was over, or the daemon stops.
    CutOff,
}

/// Does due jobs until none is left, or the daemon stops; tells how many turns that took.
pub(super) async fn run(pipeline: &Pipeline) -> Result<usize> {
    let parts = pipeline.plane.parts();
    let mut turns = FuturesUnordered::new();
    let (mut begun, mut first) = (0, Ok(()));
    loop {
        // When the store fails, nothing new is begun. What is under way is brought to its end all the same.
        let free = AT_ONCE.saturating_sub(turns.len());
        if free > 0 && first.is_ok() && !pipeline.stopping.is_cancelled() {
            match parts.jobs.claim(parts.queue_now(), free, LEASE).await {
                Ok(claimed) => {
                    begun += claimed.len();
                    turns.extend(claimed.into_iter().map(|job| turn(pipeline, job)));
                }
                Err(error) => first = Err(error),
            }
        }
        if turns.is_empty() {
            return first.map(|()| begun);
        }
        tokio::select! {
            Some(ended) = turns.next() => {
                first = first.and(ended);
                // Those that ended together make room for one claim.
                while let Some(Some(ended)) = turns.next().now_or_never() {
                    first = first.and(ended);
                }
            }
            () = parts.wakes.jobs.notified() => {}
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
    }
}

/// One job's turn, and what is written down of it.
async fn turn(pipeline: &Pipeline, job: Job) -> Result<()> {
    let parts = pipeline.plane.parts();
    let kind = serde_json::to_value(job.kind).map_err(Error::internal)?;
    let kind = kind.as_str().unwrap_or_default();
    let ended = match (limited(&pipeline.stopping, jobs::one(pipeline, &job)).await, job.kind) {
        (Turn::CutOff, JobKind::RemoveParticipant) if !pipeline.stopping.is_cancelled() => {
            Turn::Failed(Error::new(Code::Unreachable, "LiveKit did not answer in time"))
        }
        (ended, _) => ended,
    };
    let result = match ended {
        Turn::Ended(Left::Nothing) => "done",
        Turn::Ended(Left::More | Left::Later(_)) => "again",
        Turn::Failed(_) => "failed",
        Turn::CutOff => "cut_off",
    };
    parts.metrics.jobs.with_label_values(&[kind, result]).inc();
    let mut batch = Batch::new();
    let now = parts.queue_now();
    let at_once = now.minus(APART);
    match ended {
        Turn::Ended(Left::Nothing) => drop(batch.delete(Job::COLLECTION, job.document_id(), job.version)),
        Turn::Ended(Left::More) => Job { due_at: at_once, attempts: 0, ..job }.replace_in(&mut batch)?,
        Turn::Ended(Left::Later(wait)) => Job { due_at: now.plus(wait), attempts: 0, ..job }.replace_in(&mut batch)?,
        Turn::CutOff => Job { due_at: at_once, ..job }.replace_in(&mut batch)?,
        Turn::Failed(error) => {
            tracing::warn!(job = %job.id, kind, error = %error, cause = ?error.cause().map(ToString::to_string), "a job failed");
            let pause = Duration::from_secs(1 << job.attempts.clamp(0, 12)).min(MAX_PAUSE);
            Job { attempts: job.attempts + 1, due_at: now.plus(pause), ..job }.replace_in(&mut batch)?;
        }
    }
    batch.be_patient();
    // Stale means that the job was called for anew, or that the lease was over and somebody else has it: it is theirs then.
    parts.store.commit(batch, CommitMode::Apply).await.map(drop)
}

/// Lets a job work for as long as it may.
async fn limited(stopping: &CancellationToken, work: impl Future<Output = Result<Left>>) -> Turn {
    tokio::select! {
        biased;
        () = stopping.cancelled() => Turn::CutOff,
        ended = tokio::time::timeout(TIME, work) => match ended {
            Ok(Ok(left)) => Turn::Ended(left),
            Ok(Err(error)) => Turn::Failed(error),
            Err(_) => Turn::CutOff,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_job_is_cut_off_well_before_its_lease_ends() {
        let began = tokio::time::Instant::now();
        let ended = tokio::time::timeout(LEASE, limited(&CancellationToken::new(), std::future::pending())).await;
        assert!(matches!(ended, Ok(Turn::CutOff)), "{ended:?}");
        assert!(began.elapsed() + Duration::from_secs(5) <= LEASE, "nothing is left to write down what it came to");
    }

    #[tokio::test]
    async fn a_job_is_cut_off_at_once_when_the_daemon_stops() {
        let stopping = CancellationToken::new();
        let mut job = std::pin::pin!(limited(&stopping, std::future::pending()));
        assert!(job.as_mut().now_or_never().is_none());
        stopping.cancel();
        assert!(matches!(job.now_or_never(), Some(Turn::CutOff)));
    }
}
