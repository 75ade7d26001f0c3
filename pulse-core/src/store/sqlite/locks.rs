//! Which processes hold one SQLite store. Locks are advisory file locks beside the store, which the operating system
//! releases when their process ends, however it ends. The lock files stay; removing one would split the lock in two.
//!
//! - `<db>.lock`: held shared by every process that has the store open, exclusively by a migration or a restore.
//! - `<db>.daemon.lock`: held exclusively by the one daemon, whose process id stands in it.

use std::{
    fs::{DirBuilder, File, OpenOptions, TryLockError},
    io::{Read as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    time::Duration,
};

use crate::error::{Code, Error, Result};

/// The path of a file that belongs to the store at `db`: its own name with `suffix` after it.
pub fn beside(db: &Path, suffix: &str) -> PathBuf {
    let mut name = db.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// Opens a file for reading and writing that only its owner may read, making it, and its folder, when missing.
pub(super) fn open_private(path: &Path) -> Result<File> {
    let refused = |cause: std::io::Error| {
        Error::new(Code::Misconfigured, format!("the store's file {} cannot be opened for writing", path.display()))
            .hint("Check the path of the store, and that this user owns the folder.")
            .because(cause)
    };
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty() && !folder.exists()) {
        DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(refused)?;
    }
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path).map_err(refused)
}

/// The lock that every process holds on a store that it has open.
#[derive(Debug)]
pub struct StoreLock {
    file: File,
    db: PathBuf,
}

impl StoreLock {
    /// The lock of a process that uses the store. Errors: `store_locked` while a migration or a restore runs.
    pub fn shared(db: &Path) -> Result<Self> {
        let lock = Self { file: open_private(&beside(db, ".lock"))?, db: db.to_owned() };
        lock.downgrade()?;
        Ok(lock)
    }

    /// The lock of a process that must be alone. Errors: `store_locked` while any process has the store open.
    pub fn exclusive(db: &Path) -> Result<Self> {
        let lock = Self { file: open_private(&beside(db, ".lock"))?, db: db.to_owned() };
        lock.upgrade()?;
        Ok(lock)
    }

    /// Makes this lock exclusive, or leaves it shared and fails with `store_locked`.
    pub(super) fn upgrade(&self) -> Result<()> {
        self.file.try_lock().map_err(|error| {
            let refused = self.refused(error, "in use by another process");
            // Changing the kind of a lock gives the old one up first.
            self.downgrade().err().unwrap_or(refused)
        })
    }

    /// Makes this lock shared.
    pub(super) fn downgrade(&self) -> Result<()> {
        self.file.try_lock_shared().map_err(|error| self.refused(error, "being migrated or restored"))
    }

    fn refused(&self, error: TryLockError, what: &str) -> Error {
        match error {
            TryLockError::Error(cause) => Error::store_unavailable(cause),
            TryLockError::WouldBlock => {
                let daemon = DaemonLock::holder(&self.db).map(|pid| format!(" (pulsed runs as process {pid})"));
                let message = format!("the store {} is {what}{}", self.db.display(), daemon.unwrap_or_default());
                Error::new(Code::StoreLocked, message)
            }
        }
    }
}

/// The lock of the one daemon that serves a store.
#[derive(Debug)]
pub struct DaemonLock {
    file: File,
}

impl DaemonLock {
    /// Makes this process the store's daemon. Errors: `store_locked`, with the other daemon's process id.
    pub fn acquire(db: &Path) -> Result<Self> {
        let mut file = open_private(&beside(db, ".daemon.lock"))?;
        for _ in 0..10 {
            match file.try_lock() {
                Ok(()) => {
                    let pid = std::process::id().to_string();
                    let written = file.set_len(0).and_then(|()| file.write_all(pid.as_bytes()));
                    return written.map(|()| Self { file }).map_err(Error::store_unavailable);
                }
                Err(TryLockError::Error(cause)) => return Err(Error::store_unavailable(cause)),
                // `holder` below takes the lock for an instant: a lock that is held a second time is a daemon's.
                Err(TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(2)),
            }
        }
        let pid = read_pid(&mut file).map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"));
        Err(Error::new(Code::StoreLocked, format!("pulsed serves the store {} already, as {pid}", db.display())))
    }

    /// The process id of the daemon that serves the store now.
    pub fn holder(db: &Path) -> Option<u32> {
        let mut file = File::open(beside(db, ".daemon.lock")).ok()?;
        match file.try_lock_shared() {
            Err(TryLockError::WouldBlock) => read_pid(&mut file),
            _ => None,
        }
    }
}

impl Drop for DaemonLock {
    fn drop(&mut self) {
        let _ = self.file.set_len(0);
    }
}

fn read_pid(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}
