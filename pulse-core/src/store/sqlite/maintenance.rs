//! Work on a whole store, each in one call that blocks: backup, restore, migration, and (in [`check`]) a check.
//!
//! A backup runs beside a daemon and is one consistent state. A restore and a migration need the store to be closed
//! everywhere.

mod check;

use std::{
    fs::{self, File},
    io::ErrorKind,
    path::{Path, PathBuf},
};

use rusqlite::{Connection, ErrorCode, backup::StepResult};
use schemars::JsonSchema;
use serde::Serialize;

pub use self::check::check;
use super::{
    connection::{self, Role},
    locks::{StoreLock, beside, open_private},
    migrations::{self, MIGRATIONS},
};
use crate::{
    error::{Code, Error, Result},
    store::{CommitMode, schema::SCHEMA_VERSION},
    time::Timestamp,
};

/// Pages copied between two calls of the progress function: 1 MiB with pages of 2 KiB.
const STEP: i32 = 512;

/// What a backup wrote.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct BackupReport {
    /// The backup.
    pub path: PathBuf,
    /// Its size in bytes.
    pub bytes: u64,
    /// The version of its schema.
    pub schema_version: u32,
    /// When it was taken.
    pub taken_at: Timestamp,
}

/// What a restore did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct RestoreReport {
    /// The store.
    pub path: PathBuf,
    /// Its size in bytes.
    pub bytes: u64,
    /// The version of its schema; an older one is migrated when the store is opened.
    pub schema_version: u32,
    /// Where the store that was there before is now.
    pub previous: Option<PathBuf>,
}

/// What a migration did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct MigrateReport {
    /// The store.
    pub path: PathBuf,
    /// The version that it had, 0 for an empty one.
    pub from: u32,
    /// The version that it has.
    pub to: u32,
}

/// Copies the store at `db`, as it is at one moment, to a new file that only its owner may read. `progress` is told
/// pages copied and pages in all. The file has its name only when it is whole and synced.
///
/// Errors: `not_found` when there is no store, `conflict` when `dest` exists and `overwrite` is false, `store_locked`
/// during a restore or migration, `store_unavailable`, `misconfigured`.
pub fn backup(
    db: &Path,
    dest: &Path,
    overwrite: bool,
    now: Timestamp,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<BackupReport> {
    exists(db)?;
    if dest.exists() && (!overwrite || fs::canonicalize(dest).ok() == fs::canonicalize(db).ok()) {
        return Err(taken(dest));
    }
    let _lock = StoreLock::shared(db)?;
    let source = open_whole(db)?;
    let schema_version = migrations::version(&source)?;
    let partial = Partial(beside(dest, ".partial"));
    copy(&source, &partial.0, progress)?;
    let bytes = fs::metadata(&partial.0).map_err(Error::store_unavailable)?.len();
    // Unlike a rename, a link never replaces a file that came up in the meantime. Some file systems have no links.
    match fs::hard_link(&partial.0, dest) {
        Err(fault) if fault.kind() == ErrorKind::AlreadyExists && !overwrite => return Err(taken(dest)),
        Err(_) => fs::rename(&partial.0, dest).map_err(Error::store_unavailable)?,
        Ok(()) => {}
    }
    sync_folder(dest)?;
    Ok(BackupReport { path: dest.to_owned(), bytes, schema_version, taken_at: now })
}

/// Puts the store that `backup` holds in the place of the one at `db`, which stays beside it under the name
/// `<db>.before-restore-<time>`. The copy is checked before anything is replaced. With [`CommitMode::Check`] the backup
/// itself is checked, and nothing is replaced or made.
///
/// Errors: `not_found` when there is no backup, `misconfigured` when it is not a whole Pulse store, `store_newer`,
/// `store_locked` when any process has the store open, `store_unavailable`.
pub fn restore(
    db: &Path,
    backup: &Path,
    now: Timestamp,
    mode: CommitMode,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<RestoreReport> {
    exists(backup)?;
    // Making the lock of a store that is not there would be a change.
    let locked = mode == CommitMode::Apply || db.exists();
    let _lock = locked.then(|| StoreLock::exclusive(db)).transpose()?;
    let previous = db.exists().then(|| beside(db, &format!(".before-restore-{}", now.to_string().replace(':', "-"))));
    let bytes = |path| fs::metadata(path).map(|found| found.len()).map_err(Error::store_unavailable);
    if mode == CommitMode::Check {
        let schema_version = whole(backup).map_err(|error| damaged(error, backup))?;
        return Ok(RestoreReport { path: db.to_owned(), bytes: bytes(backup)?, schema_version, previous });
    }
    let partial = Partial(beside(db, ".restore-partial"));
    let schema_version = copy_whole(backup, &partial.0, progress)?;
    if let Some(previous) = &previous {
        set_aside(db, previous)?;
    }
    fs::rename(&partial.0, db).map_err(Error::store_unavailable)?;
    sync_folder(db)?;
    let bytes = bytes(db)?;
    Ok(RestoreReport { path: db.to_owned(), bytes, schema_version, previous })
}

/// Brings the store to this version's schema, or with [`CommitMode::Check`] tries that and takes it back. Errors: `not_found`, `store_locked` when any process has the store open,
/// `store_newer`, `store_unavailable`, `misconfigured`.
pub fn migrate(db: &Path, mode: CommitMode) -> Result<MigrateReport> {
    exists(db)?;
    let lock = StoreLock::exclusive(db)?;
    let conn = connection::open(db, Role::Writer)?;
    let tx = conn.unchecked_transaction()?;
    let from = migrations::migrate(&tx, &lock, MIGRATIONS)?;
    match mode {
        CommitMode::Apply => tx.commit()?,
        CommitMode::Check => tx.rollback()?,
    }
    Ok(MigrateReport { path: db.to_owned(), from, to: SCHEMA_VERSION })
}

fn exists(path: &Path) -> Result<()> {
    if path.exists() { Ok(()) } else { Err(Error::not_found("file", path.display())) }
}

fn taken(dest: &Path) -> Error {
    Error::new(Code::Conflict, format!("{} exists already", dest.display()))
        .hint("Choose another name, or ask to overwrite it; the store itself is never overwritten.")
}

/// A file that is removed unless it was renamed.
struct Partial(PathBuf);

impl Drop for Partial {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// Opens a Pulse store for reading and holds one state of it.
fn open_whole(path: &Path) -> Result<Connection> {
    let conn = connection::open(path, Role::Reader)?;
    match connection::is_marked(&conn) {
        Ok(true) => {}
        Err(fault) if fault.sqlite_error_code() != Some(ErrorCode::NotADatabase) => return Err(fault.into()),
        _ => return Err(connection::foreign(path)),
    }
    migrations::version(&conn)?;
    // The copy of a state that is held does not begin again at each commit elsewhere.
    conn.execute_batch("BEGIN; SELECT count(*) FROM sqlite_schema")?;
    Ok(conn)
}

/// Checks that a file is an undamaged Pulse store, and gives the version of its schema.
fn whole(path: &Path) -> Result<u32> {
    let conn = open_whole(path)?;
    let verdict: String = conn.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))?;
    if verdict == "ok" { migrations::version(&conn) } else { Err(Error::internal(verdict)) }
}

/// Copies a backup, checks the copy, and gives the version of its schema.
fn copy_whole(backup: &Path, dest: &Path, progress: &mut dyn FnMut(u64, u64)) -> Result<u32> {
    let copied = open_whole(backup).and_then(|source| copy(&source, dest, progress)).and_then(|()| whole(dest));
    copied.map_err(|error| damaged(error, backup))
}

/// What SQLite finds wrong with a backup, as an error about the backup.
fn damaged(error: Error, backup: &Path) -> Error {
    match error.code() {
        Code::Internal => {
            let cause = error.cause().map_or_else(String::new, ToString::to_string);
            Error::new(Code::Misconfigured, format!("the backup {} is damaged", backup.display())).because(cause)
        }
        _ => error,
    }
}

/// Copies a database page by page to a single synced file.
fn copy(source: &Connection, dest: &Path, progress: &mut dyn FnMut(u64, u64)) -> Result<()> {
    let _ = fs::remove_file(dest);
    let file = open_private(dest)?;
    let mut target = Connection::open(dest)?;
    let pages = |count: i32| u64::try_from(count).unwrap_or(0);
    {
        let copy = rusqlite::backup::Backup::new(source, &mut target)?;
        while copy.step(STEP)? != StepResult::Done {
            let state = copy.progress();
            progress(pages(state.pagecount - state.remaining), pages(state.pagecount));
        }
        progress(pages(copy.progress().pagecount), pages(copy.progress().pagecount));
    }
    // The copy has its source's journal mode; a single file must do without a write-ahead log.
    target.pragma_update_and_check(None, "journal_mode", "DELETE", |_| Ok(()))?;
    target.close().map_err(|(_, fault)| fault)?;
    file.sync_all().map_err(Error::store_unavailable)
}

/// Gives the store that is to be replaced its second name. Its log is folded in first, so that the one rename of the new
/// store is the whole change; a log that cannot be (the store may be damaged) goes with it.
fn set_aside(db: &Path, aside: &Path) -> Result<()> {
    if let Ok(conn) = connection::open(db, Role::Reader) {
        let _ = conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
    }
    let log = beside(db, "-wal");
    if log.exists() {
        fs::rename(&log, beside(aside, "-wal")).map_err(Error::store_unavailable)?;
    }
    let _ = fs::remove_file(beside(db, "-shm"));
    fs::hard_link(db, aside).or_else(|_| fs::copy(db, aside).map(drop)).map_err(Error::store_unavailable)
}

/// Makes a rename in the file's folder last.
fn sync_folder(path: &Path) -> Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(Error::store_unavailable)
}
