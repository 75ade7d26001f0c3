use rusqlite::ffi;

use super::*;

/// From how many pages on these logs are folded.
const PAGES: i32 = 50;
/// A page with its head in the log.
const FRAME: u64 = 2_048 + 24;
/// Commits of a test, each of at least one page: so many logs' worth that none needs to be quick.
const COMMITS: u32 = 5_000;

/// A database with one table, and the writer's connection to it with its thread.
struct Scene {
    conn: Connection,
    checkpointer: Option<Checkpointer>,
    health: Arc<Health>,
    folder: PathBuf,
}

impl Drop for Scene {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

impl Scene {
    fn new(name: &str) -> Self {
        Self::folding_at(PAGES, name)
    }

    fn folding_at(pages: i32, name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("pulse-checkpoint-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("pulse.db");
        let mut conn = connection::open(&path, Role::Writer).unwrap();
        conn.execute_batch("CREATE TABLE rows (number INTEGER PRIMARY KEY, text TEXT NOT NULL)").unwrap();
        let health = Arc::new(Health::default());
        let checkpointer = Checkpointer::start(&mut conn, path, pages, Arc::clone(&health)).unwrap();
        Self { conn, checkpointer: Some(checkpointer), health, folder }
    }

    /// Commits a row of about a page.
    fn write(&self) {
        let sql = "INSERT INTO rows (text) VALUES (hex(zeroblob(750)))";
        self.conn.prepare_cached(sql).unwrap().execute([]).unwrap();
    }

    fn log_bytes(&self) -> u64 {
        std::fs::metadata(self.folder.join("pulse.db-wal")).unwrap().len()
    }

    fn rows(&self) -> i64 {
        self.conn.query_row("SELECT count(*) FROM rows", [], |row| row.get(0)).unwrap()
    }
}

#[test]
fn the_log_stays_short_however_much_is_written() {
    let mut scene = Scene::new("short");
    for _ in 0..COMMITS {
        scene.write();
    }
    // A commit that finds the thread at it leaves the log as long as it is; how often that is depends on the machine.
    let most = u64::from(COMMITS) / 4 * FRAME;
    assert!(scene.log_bytes() <= most, "{} bytes of log, for at most {most}", scene.log_bytes());
    assert_eq!(scene.rows(), i64::from(COMMITS));
    scene.checkpointer.take().unwrap().end(&mut scene.conn);
    assert!(!scene.health.is_stopped());
}

#[test]
fn a_log_that_somebody_reads_grows_and_is_begun_anew_afterwards() {
    let scene = Scene::new("read");
    let reader = connection::open(&scene.folder.join("pulse.db"), Role::Reader).unwrap();
    reader.execute_batch("BEGIN").unwrap();
    let seen = |conn: &Connection| conn.query_row("SELECT count(*) FROM rows", [], |row| row.get::<_, i64>(0)).unwrap();
    assert_eq!(seen(&reader), 0);
    for _ in 0..1_000 {
        scene.write();
    }
    let grown = scene.log_bytes();
    assert!(grown > 1_000 * FRAME, "the reader's state was folded away: {grown} bytes");
    assert_eq!(seen(&reader), 0, "the reader sees one state");
    reader.execute_batch("COMMIT").unwrap();
    for _ in 0..COMMITS {
        scene.write();
    }
    assert!(scene.log_bytes() < grown + u64::from(COMMITS) / 4 * FRAME, "the log was not begun anew");
    assert_eq!(seen(&reader), i64::from(COMMITS) + 1_000);
}

#[test]
fn a_log_that_was_begun_anew_is_not_taken_for_one_that_is_nearly_folded() {
    let scene = Scene::new("anew");
    scene.health.nearly_folded.store(true, Relaxed);
    scene.write();
    assert!(!scene.health.nearly_folded.load(Relaxed), "a later commit would fold a whole log");
}

#[test]
fn the_log_is_folded_again_while_much_is_left_but_not_for_ever() {
    let scene = Scene::folding_at(i32::MAX, "again");
    (0..100).for_each(|_| scene.write());
    let folder = Folder::open(&scene.folder.join("pulse.db")).unwrap();
    let passes = |left: i32| folder.fold_nearly_all(&AtomicI32::new(scene.health.log_pages.load(Relaxed) + left));
    assert_eq!(passes(folder.nearly).unwrap(), Some(1));
    assert_eq!(passes(folder.nearly + 1).unwrap(), None, "somebody goes on committing");
    let rest: (i64, i64, i64) =
        scene.conn.query_row("PRAGMA wal_checkpoint", [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).unwrap();
    assert_eq!((rest.0, rest.1), (0, rest.2), "nothing is left");
}

#[test]
fn only_a_sync_that_fails_stops_the_writes() {
    let fails = |code| Err(rusqlite::Error::SqliteFailure(ffi::Error::new(code), None));
    let health = Health::default();
    for code in [ffi::SQLITE_BUSY, ffi::SQLITE_FULL, ffi::SQLITE_IOERR_WRITE] {
        health.folded(fails(code));
    }
    assert!(!health.is_stopped());
    health.folded(fails(ffi::SQLITE_IOERR_FSYNC));
    assert!(health.is_stopped());
}
