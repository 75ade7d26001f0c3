//! The one thread that writes, with group commit: what came while the last commit was under way is committed together and
//! answered after the one commit, but for what can wait a little for others (`turns`). A lone caller waits for its own commit
//! only; many share the cost of the disk. Nobody is waited for: what a pause of 3 ms saved in pages it cost in time
//! (`docs/DECISIONS.md`). When what one of a group did is not to stay, the group is done once more, each job in a savepoint
//! of its own: a savepoint for every job would have SQLite copy every page that a job changes, which was a tenth of the
//! writer's time.
//!
//! Faults:
//! - A job that fails or panics is rolled back alone.
//! - When the disk is full, or cannot be read or written, the whole group is rolled back and answered
//!   `store_unavailable`. The next group tries again, so writes go on by themselves when there is space.
//! - When the disk fails to *sync*, the group is answered `store_unavailable`, although it may be there after a restart,
//!   and no more writes are taken: what the operating system kept in memory may be lost without another sign. Only a new
//!   process, which reads the files anew, may write again. So it is when the sync fails that folds the log (`checkpoint`).

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI32, Ordering::Relaxed},
    },
    thread::JoinHandle,
    time::Duration,
};

use rusqlite::{Connection, ffi};
use tokio::sync::{mpsc, oneshot};

use super::{
    checkpoint::{Checkpointer, FOLD_AT},
    connection,
    precedence::go_first,
    turns::Turns,
};
use crate::{
    error::{Code, Error, Result},
    fault,
    store::timing::Timing,
};

/// How many jobs share a commit at most.
const GROUP: usize = 256;

/// How many jobs may wait; further callers wait to be let in.
const QUEUE: usize = 1_024;

/// How often the writer looks for another job, giving way each time, before it goes to sleep: a caller that does one
/// write after the other is back before a sleeping thread would have woken (`tests/bench sqlite`).
const LOOKS: usize = 300;

/// After a full group the writer rests, so that another process gets the write lock.
const REST: Duration = Duration::from_millis(1);

/// The writer as its callers see it.
#[derive(Debug)]
pub(super) struct Writer {
    /// Both are taken when the thread is to end.
    queue: Option<mpsc::Sender<Box<dyn Job>>>,
    thread: Option<JoinHandle<()>>,
    health: Arc<Health>,
}

/// What the writer's last commits, and the last folding of the log, say about the disk.
#[derive(Debug, Default)]
pub(super) struct Health {
    /// A sync failed: no more writes.
    stopped: AtomicBool,
    /// The last commit failed; the next may work.
    failing: AtomicBool,
    /// The log could not be folded the last time.
    unfolded: AtomicBool,
    /// The thread beside the writer has folded the log but for what came meanwhile.
    pub(super) nearly_folded: AtomicBool,
    /// How many pages the log had after the last commit.
    pub(super) log_pages: AtomicI32,
}

impl Health {
    /// Whether no more writes are taken.
    pub(super) fn is_stopped(&self) -> bool {
        self.stopped.load(Relaxed)
    }

    /// Notes how the folding of the log went. One that fails is tried again; said is it once.
    pub(super) fn folded(&self, folded: rusqlite::Result<()>) {
        let Err(fault) = folded else { return self.unfolded.store(false, Relaxed) };
        let (busy, unsynced) = (connection::is_busy(&fault), connection::is_sync_failure(&fault));
        if unsynced {
            self.stopped.store(true, Relaxed);
        }
        // Busy: the other one is at it.
        if !busy && !self.unfolded.swap(true, Relaxed) {
            tracing::error!(cause = %fault, stopped = unsynced, "the write-ahead log could not be folded into the database");
        }
    }
}

impl Writer {
    /// Starts the thread on its connection.
    pub(super) fn start(mut conn: Connection, path: PathBuf, timing: Timing) -> Result<Self> {
        let (queue, jobs) = mpsc::channel(QUEUE);
        let health = Arc::new(Health::default());
        let fold_at = connection::pages(&conn, FOLD_AT)?;
        let checkpointer = Checkpointer::start(&mut conn, path, fold_at, health.clone())?;
        let thread = Thread { conn, checkpointer, timing, health: health.clone() };
        let thread = std::thread::Builder::new().name("pulse-writer".to_owned()).spawn(move || {
            go_first();
            thread.run(jobs);
        });
        Ok(Self { queue: Some(queue), thread: Some(thread.map_err(Error::store_unavailable)?), health })
    }

    /// Runs `work` in the next group. It says whether what it wrote is to stay. It runs even when the caller goes away, and
    /// a second time when what it did the first time was undone with others of its group.
    pub(super) async fn run<T, F>(&self, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnMut(&Connection) -> Result<(T, bool)> + Send + 'static,
    {
        self.run_in_turn(false, work).await
    }

    /// The same; what is patient can wait a little for others (`turns`).
    pub(super) async fn run_in_turn<T, F>(&self, is_patient: bool, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnMut(&Connection) -> Result<(T, bool)> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let task = Task { work, is_patient, result: None, reply };
        let gone = || Error::store_unavailable("the writer has ended");
        self.queue.as_ref().ok_or_else(gone)?.send(Box::new(task)).await.map_err(|_| gone())?;
        let (result, _work) = answer.await.map_err(|_| gone())?;
        result
    }

    /// Whether writes work, as far as is known without writing; tries one when the last one failed.
    pub(super) async fn ping(&self) -> Result<()> {
        if self.thread.as_ref().is_none_or(JoinHandle::is_finished) {
            return Err(Error::store_unavailable("the writer has ended"));
        }
        if !self.health.failing.load(Relaxed) && !self.health.is_stopped() {
            return Ok(());
        }
        self.run(|conn| Ok(((), conn.execute("UPDATE pulse_state SET probes = probes + 1", [])? == 1))).await
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.queue = None;
        if let Some(thread) = self.thread.take() {
            // Waiting means that the files are closed, and their lock free, when the store is gone.
            let _ = thread.join();
        }
    }
}

/// Something to do in a group's transaction.
trait Job: Send {
    /// Whether others may go before it.
    fn is_patient(&self) -> bool;

    /// Does it and keeps the result. Says whether what it wrote is to stay. An error is one of the whole group.
    fn run(&mut self, conn: &Connection) -> Result<bool>;

    /// Answers the caller: with the result, or with what kept the group from being committed.
    fn answer(self: Box<Self>, failed: Option<Error>);
}

struct Task<T, F> {
    work: F,
    is_patient: bool,
    result: Option<Result<T>>,
    /// The work goes back with its result, to be dropped by the caller: a batch is hundreds of small pieces, and everybody
    /// waits for the writer's thread.
    reply: oneshot::Sender<(Result<T>, F)>,
}

impl<T: Send, F: FnMut(&Connection) -> Result<(T, bool)> + Send> Job for Task<T, F> {
    fn is_patient(&self) -> bool {
        self.is_patient
    }

    fn run(&mut self, conn: &Connection) -> Result<bool> {
        let done = catch_unwind(AssertUnwindSafe(|| (self.work)(conn)));
        let (result, keep) = match done.unwrap_or_else(|_| Err(Error::internal("a panic in a write"))) {
            Ok((value, keep)) => (Ok(value), keep),
            Err(error) if error.code() == Code::StoreUnavailable => return Err(error),
            Err(error) => (Err(error), false),
        };
        self.result = Some(result);
        Ok(keep)
    }

    fn answer(self: Box<Self>, failed: Option<Error>) {
        let result = failed.map(Err).or(self.result);
        let result = result.unwrap_or_else(|| Err(Error::internal("a write did not run")));
        let _ = self.reply.send((result, self.work));
    }
}

/// The next job; none when there will be no more.
fn next(jobs: &mut mpsc::Receiver<Box<dyn Job>>) -> Option<Box<dyn Job>> {
    for _ in 0..LOOKS {
        if let Ok(job) = jobs.try_recv() {
            return Some(job);
        }
        std::thread::yield_now();
    }
    jobs.blocking_recv()
}

struct Thread {
    conn: Connection,
    checkpointer: Checkpointer,
    timing: Timing,
    health: Arc<Health>,
}

impl Thread {
    fn run(mut self, mut jobs: mpsc::Receiver<Box<dyn Job>>) {
        let mut turns = Turns::default();
        loop {
            let first = if turns.is_empty() { next(&mut jobs) } else { None };
            let come = first.into_iter().chain(std::iter::from_fn(|| jobs.try_recv().ok()));
            let come: Vec<_> = come.take(GROUP).collect();
            let full = come.len() == GROUP;
            let group = turns.next(come, |job| job.is_patient());
            if group.is_empty() {
                break;
            }
            self.commit(group);
            if full {
                std::thread::sleep(REST);
            }
        }
        self.checkpointer.end(&mut self.conn);
    }

    /// Commits a group and answers its callers.
    fn commit(&self, mut group: Vec<Box<dyn Job>>) {
        let begun = self.timing.begin();
        let fault = match self.transact(&mut group) {
            Ok(written) => {
                self.health.failing.store(false, Relaxed);
                self.timing.committed(begun, written);
                return group.into_iter().for_each(|job| job.answer(None));
            }
            Err(fault) => fault,
        };
        self.health.failing.store(true, Relaxed);
        let stuck = !self.conn.is_autocommit() && self.conn.execute_batch("ROLLBACK").is_err();
        if stuck || cause_of(&fault).is_some_and(connection::is_sync_failure) {
            self.health.stopped.store(true, Relaxed);
        }
        let cause = fault.cause().map_or_else(String::new, ToString::to_string);
        tracing::error!(cause, jobs = group.len(), stopped = self.health.is_stopped(), "a commit failed");
        group.into_iter().for_each(|job| job.answer(Some(copy(&fault, &cause))));
    }

    /// Runs a group in one transaction; how many of its jobs wrote something that stays.
    fn transact(&self, group: &mut [Box<dyn Job>]) -> Result<usize> {
        if self.health.is_stopped() {
            return Err(Error::store_unavailable("an earlier sync failed").hint(
                "The store's disk failed to sync. Check it and start Pulse again; it takes no writes until then.",
            ));
        }
        self.sql("BEGIN IMMEDIATE")?;
        let written = match self.together(group)? {
            Some(written) => written,
            None if group.len() == 1 => {
                self.sql("ROLLBACK")?;
                return Ok(0);
            }
            None => {
                self.sql("ROLLBACK")?;
                self.sql("BEGIN IMMEDIATE")?;
                self.apart(group)?
            }
        };
        disk(written > 0)?;
        self.sql("COMMIT")?;
        Ok(written)
    }

    /// Runs a statement of the transaction's own.
    fn sql(&self, text: &str) -> rusqlite::Result<usize> {
        self.conn.prepare_cached(text)?.execute([])
    }

    /// Runs the jobs of a group; how many of them wrote something, or none when one of them is to be undone.
    fn together(&self, group: &mut [Box<dyn Job>]) -> Result<Option<usize>> {
        let mut written = 0;
        for job in group {
            let before = self.conn.total_changes();
            // What it wrote cannot be told by counting: changes of the schema do not count.
            if !job.run(&self.conn)? {
                return Ok(None);
            }
            written += usize::from(self.conn.total_changes() > before);
        }
        Ok(Some(written))
    }

    /// The same with what is not to stay undone.
    fn apart(&self, group: &mut [Box<dyn Job>]) -> Result<usize> {
        let mut written = 0;
        for job in group {
            let before = self.conn.total_changes();
            self.sql("SAVEPOINT job")?;
            if !job.run(&self.conn)? {
                self.sql("ROLLBACK TO job")?;
            } else if self.conn.total_changes() > before {
                written += 1;
            }
            self.sql("RELEASE job")?;
        }
        Ok(written)
    }
}

/// The points at which a disk can be slow, full or lose what it took.
fn disk(writes: bool) -> Result<()> {
    if !fault::COMPILED || !writes {
        return Ok(());
    }
    let fails = |code| move |_: Error| connection::failure(code);
    fault::blocking_point("writer.slow")?;
    fault::blocking_point("writer.enospc").map_err(fails(ffi::SQLITE_FULL))?;
    fault::blocking_point("writer.fsync_error").map_err(fails(ffi::SQLITE_IOERR_FSYNC))?;
    Ok(())
}

/// What SQLite said.
fn cause_of(error: &Error) -> Option<&rusqlite::Error> {
    error.cause().and_then(|cause| cause.downcast_ref())
}

/// A group's error for one of its callers.
fn copy(error: &Error, cause: &str) -> Error {
    Error::new(error.code(), error.message()).hint(error.hint_text()).retry_after(5).because(cause)
}
