//! Folding the write-ahead log into the database beside the writer.
//!
//! SQLite folds on the connection that commits: every thousand pages a commit waits until they all are written and synced
//! once more. Here a thread of its own does that with passive checkpoints, which stand in nobody's way, while commits go
//! on. It does it twice, so that only what has come during the second time is left; the next commit folds that little
//! itself, and SQLite begins the log anew.
//!
//! - Nothing is lost when folding fails: the log stays, and is folded later. When the disk fails to sync, no more writes are
//!   taken, as after a commit that fails so.
//! - While somebody reads an old state of the store, the log grows; so it does when the thread does not keep up, until
//!   commits fold it themselves.

#[cfg(test)]
mod tests;

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::Ordering::Relaxed,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread::JoinHandle,
};

use rusqlite::{Connection, ffi, hooks::Wal, wal::CheckpointMode};

use super::{
    connection::{self, Role},
    writer::Health,
};
use crate::{
    error::{Error, Result},
    fault,
};

/// From how many pages on the log is folded: the more, the fewer pages are written twice, and the longer a start after a
/// crash reads (8,000 pages are 32 MiB; `tests/bench "events load"`).
pub(super) const FOLD_AT: i32 = 8_000;
/// From how many times as many on commits fold it themselves.
const TOO_LONG: i32 = 4;

/// The thread that folds.
#[derive(Debug)]
pub(super) struct Checkpointer {
    thread: JoinHandle<()>,
}

impl Checkpointer {
    /// Starts the thread for the writer's connection, which calls it whenever its commits have made the log `fold_at` pages
    /// long.
    pub(super) fn start(conn: &mut Connection, path: PathBuf, fold_at: i32, health: Arc<Health>) -> Result<Self> {
        let (bell, called) = sync_channel(1);
        let thread = Thread { path, health };
        conn.wal_hook(Some(thread.hook(bell, fold_at)))?;
        let thread = std::thread::Builder::new().name("pulse-checkpoint".to_owned()).spawn(move || thread.run(&called));
        Ok(Self { thread: thread.map_err(Error::store_unavailable)? })
    }

    /// Ends the thread. Closing the connection folds what is left.
    pub(super) fn end(self, conn: &mut Connection) {
        // The hook holds the bell.
        let _ = conn.wal_hook(None::<fn(&mut Wal, i32) -> rusqlite::Result<()>>);
        let _ = self.thread.join();
    }
}

struct Thread {
    path: PathBuf,
    health: Arc<Health>,
}

impl Thread {
    /// What the writer does after a commit that left so many pages in the log.
    fn hook(&self, bell: SyncSender<()>, fold_at: i32) -> impl FnMut(&mut Wal, i32) -> rusqlite::Result<()> + use<> {
        let health = Arc::clone(&self.health);
        move |log, pages| {
            let nearly = health.nearly_folded.swap(false, Relaxed);
            if pages < fold_at {
                // Begun anew meanwhile: nothing was left.
                return Ok(());
            }
            if nearly || pages >= fold_at.saturating_mul(TOO_LONG) {
                health.folded(disk().and_then(|()| log.checkpoint_v2(CheckpointMode::PASSIVE)).map(drop));
            } else {
                // Full means that it is about to begin.
                let _ = bell.try_send(());
            }
            // An error here would be one of the commit, which has succeeded.
            Ok(())
        }
    }

    fn run(self, called: &Receiver<()>) {
        // Opened once it is needed: most processes on a store never write that much.
        let mut conn = None;
        while called.recv().is_ok() {
            let conn = match &conn {
                Some(conn) => conn,
                None => match connection::open(&self.path, Role::Reader) {
                    Ok(opened) => conn.insert(opened),
                    // Commits fold the log themselves when it gets too long.
                    Err(error) => {
                        tracing::error!(cause = ?error.cause().map(ToString::to_string), "the write-ahead log cannot be folded");
                        continue;
                    }
                },
            };
            let fold = || disk().and_then(|()| conn.wal_checkpoint_v2(None::<&str>, CheckpointMode::PASSIVE));
            let folded = fold().and_then(|_| fold()).map(drop);
            // Who has called meanwhile is answered by this.
            let _ = called.try_recv();
            self.health.nearly_folded.store(folded.is_ok(), Relaxed);
            self.health.folded(folded);
        }
    }
}

/// The point at which a disk can lose what is folded.
fn disk() -> rusqlite::Result<()> {
    fault::blocking_point("checkpoint.fsync_error").map_err(|_| connection::failure(ffi::SQLITE_IOERR_FSYNC))
}
