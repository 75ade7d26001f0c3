//! Folding the write-ahead log into the database beside the writer.
//!
//! SQLite folds on the connection that commits: every thousand pages a commit waits until they all are written and synced
//! once more. Here a thread of its own does that with passive checkpoints, which stand in nobody's way, while commits go
//! on; it does it again as long as much has come meanwhile; the next commit folds the little that is left itself, and
//! SQLite begins the log anew.
//!
//! A passive checkpoint during which somebody commits writes pages and leaves their sync to the one that folds the rest:
//! the commit that did so waited 20 ms for thousands of pages. So the thread syncs the database after each of its own.
//!
//! - Nothing is lost when folding fails: the log stays, and is folded later. When the disk fails to sync, no more writes are
//!   taken, as after a commit that fails so.
//! - While somebody reads an old state of the store, the log grows; so it does when the thread does not keep up, until
//!   commits fold it themselves.

#[cfg(test)]
mod tests;

use std::{
    fs::File,
    mem::ManuallyDrop,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicI32, Ordering::Relaxed},
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

/// From how many bytes on the log is folded: the more, the fewer pages are written twice, and the longer a start after a
/// crash reads (`tests/bench "events load"`, `"events stop"`).
pub(super) const FOLD_AT: u32 = 64 * 1024 * 1024;
/// From how many times as many on commits fold it themselves: it has 256 MiB then.
const TOO_LONG: i32 = 4;
/// How many bytes of pages may be left for a commit to fold itself: not many more than the largest commits have.
const NEARLY: u32 = 2 * 1024 * 1024;
/// How often the log is folded until so few are left.
const PASSES: usize = 6;

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
            health.log_pages.store(pages, Relaxed);
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
        let mut folder = None;
        while called.recv().is_ok() {
            let folder = match &folder {
                Some(folder) => folder,
                None => match Folder::open(&self.path) {
                    Ok(opened) => folder.insert(opened),
                    // Commits fold the log themselves when it gets too long.
                    Err(error) => {
                        tracing::error!(cause = ?error.cause().map(ToString::to_string), "the write-ahead log cannot be folded");
                        continue;
                    }
                },
            };
            let folded = folder.fold_nearly_all(&self.health.log_pages);
            // Who has called meanwhile is answered by this.
            let _ = called.try_recv();
            self.health.nearly_folded.store(matches!(folded, Ok(Some(_))), Relaxed);
            self.health.folded(folded.map(drop));
        }
    }
}

/// What folding takes.
struct Folder {
    conn: Connection,
    /// The database, for its sync. Never closed: that would drop SQLite's locks on it in this process.
    database: ManuallyDrop<File>,
    /// [`NEARLY`] in pages.
    nearly: i32,
}

impl Folder {
    fn open(path: &Path) -> Result<Self> {
        let conn = connection::open(path, Role::Reader)?;
        let database = File::open(path).map_err(Error::store_unavailable)?;
        let nearly = connection::pages(&conn, NEARLY)?;
        Ok(Self { conn, database: ManuallyDrop::new(database), nearly })
    }

    /// Folds the log until few of its pages, of which commits tell how many there are, are left; says how often that took,
    /// or `None` when many are left all the same.
    fn fold_nearly_all(&self, log_pages: &AtomicI32) -> rusqlite::Result<Option<usize>> {
        for pass in 1..=PASSES {
            disk()?;
            let (_, folded) = self.conn.wal_checkpoint_v2(None::<&str>, CheckpointMode::PASSIVE)?;
            self.database.sync_data().map_err(|_| connection::failure(ffi::SQLITE_IOERR_FSYNC))?;
            if log_pages.load(Relaxed).saturating_sub(folded) <= self.nearly {
                return Ok(Some(pass));
            }
        }
        Ok(None)
    }
}

/// The point at which a disk can lose what is folded.
fn disk() -> rusqlite::Result<()> {
    fault::blocking_point("checkpoint.fsync_error").map_err(|_| connection::failure(ffi::SQLITE_IOERR_FSYNC))
}
