//! How long commits take and how many changes share one, told by every engine in the same way.

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::Duration,
};

use super::{Batch, CommitMode, Outcome};
use crate::time::Clock;

/// Is told of every commit that wrote something, in the middle of the engine's work: it must not wait.
pub trait CommitObserver: Send + Sync + fmt::Debug {
    /// A group in which `jobs` batches wrote something was committed in `seconds`, from its start until it was durable. An
    /// engine that does not share commits tells of groups of one.
    fn committed(&self, jobs: usize, seconds: f64);
}

/// Times commits for an observer; without one it does nothing.
#[derive(Clone, Debug, Default)]
pub(super) struct Timing(Option<(Arc<dyn Clock>, Arc<dyn CommitObserver>)>);

impl Timing {
    pub(super) fn new(clock: Arc<dyn Clock>, observer: Option<Arc<dyn CommitObserver>>) -> Self {
        Self(observer.map(|observer| (clock, observer)))
    }

    /// When a commit begins.
    pub(super) fn begin(&self) -> Duration {
        self.0.as_ref().map_or(Duration::ZERO, |(clock, _)| clock.monotonic())
    }

    /// Tells of a commit that began then. One in which nothing was written has cost nothing and is not told.
    pub(super) fn committed(&self, begun: Duration, jobs: usize) {
        let Some((clock, observer)) = self.0.as_ref().filter(|_| jobs > 0) else { return };
        let seconds = clock.monotonic().saturating_sub(begun).as_secs_f64();
        // What is counted wrongly is no reason to lose a commit's answer.
        let _ = catch_unwind(AssertUnwindSafe(|| observer.committed(jobs, seconds)));
    }

    /// When the commit of a batch by itself begins; `None` for one that is empty or only tried.
    pub(super) fn begin_alone(&self, batch: &Batch, mode: CommitMode) -> Option<Duration> {
        let writes = mode == CommitMode::Apply && (!batch.is_empty() || batch.bumps_generation);
        writes.then(|| self.begin())
    }

    /// Tells of a commit of one batch that began then, unless it was refused.
    pub(super) fn committed_alone(&self, begun: Option<Duration>, outcome: &Outcome) {
        if let (Some(begun), Outcome::Committed { .. }) = (begun, outcome) {
            self.committed(begun, 1);
        }
    }
}
