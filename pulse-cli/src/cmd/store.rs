//! `pulse store`: work on a whole store, with nothing in between. A server is never asked.

use std::{collections::BTreeMap, path::Path};

use pulse_core::{
    boot::open::{check_owner, connect_mongo, install_cryptography},
    config::{Settings, StoreLocation},
    error::Code,
    plane::{Answer, DryRun},
    secret::Secret,
    store::{
        CommitMode, Store as _, mongo::MongoStore, schema::SCHEMA_VERSION, soundness::CheckReport, sqlite::maintenance,
    },
};
use serde::Serialize;

use super::DONE;
use crate::{
    args::store::{Backup, Migrate, Restore, Store},
    client,
    exit::{Exit, Failure, Outcome},
    session::Session,
    target::Place,
    ui::{View, progress::Progress},
};

const CHECK: View =
    View::new(&["path", "ok", "schema_version", "logs", "problem_count", "problems", "collections"], &[]).id("ok");
const MIGRATE: View = View::new(&["path", "from", "to"], &[]).id("to");
const BACKUP: View = View::new(&["path", "bytes", "schema_version", "taken_at"], &[]).id("path");
const RESTORE: View = View::new(&["path", "bytes", "schema_version", "previous"], &[]).id("path");

/// What a warning before a migration says.
const OLDER: &str = "Older versions of Pulse cannot open it then.";

/// What a migration of a MongoDB store shows.
#[derive(Serialize)]
struct Migrated {
    path: String,
    from: Option<u32>,
    to: u32,
}

/// How the result of a command is shown.
pub(super) fn view(command: &Store) -> &'static View {
    match command {
        Store::Check => &CHECK,
        Store::Migrate(_) => &MIGRATE,
        Store::Backup(_) => &BACKUP,
        Store::Restore(_) => &RESTORE,
    }
}

pub(super) async fn run(session: &Session, command: Store) -> Outcome {
    let settings = settings(session)?;
    if let StoreLocation::Sqlite(path) = &settings.store {
        check_owner(path)?;
    }
    match (command, &settings.store) {
        (Store::Check, StoreLocation::Sqlite(path)) => checked(session, &maintenance::check(path)?),
        (Store::Migrate(args), StoreLocation::Sqlite(path)) => {
            if args.dry_run {
                return foretell(session, &MIGRATE, maintenance::migrate(path, CommitMode::Check)?);
            }
            session.prompts().confirm(&format!("Migrate {}?", path.display()), &[OLDER.to_owned()])?;
            session.printer.document(&MIGRATE, &maintenance::migrate(path, CommitMode::Apply)?)?;
            DONE
        }
        (Store::Backup(args), StoreLocation::Sqlite(path)) => backup(session, path, &args),
        (Store::Restore(args), StoreLocation::Sqlite(path)) => restore(session, path, &args),
        (Store::Check, StoreLocation::Mongo { uri, database }) => {
            Mongo::open(&settings, uri, database.as_deref()).await?.check(session).await
        }
        (Store::Migrate(args), StoreLocation::Mongo { uri, database }) => {
            Mongo::open(&settings, uri, database.as_deref()).await?.migrate(session, &args).await
        }
        (Store::Backup(_) | Store::Restore(_), StoreLocation::Mongo { .. }) => {
            Err(Failure::usage("a MongoDB store is backed up with MongoDB's own tools")
                .hint("mongodump and mongorestore, with --oplog."))
        }
        (_, StoreLocation::Memory) => Err(Failure::usage("a store in memory has nothing to work on")),
    }
}

fn settings(session: &Session) -> Result<Settings, Failure> {
    match session.target()?.place {
        Place::Store(store) => client::settings(session, store.as_deref()),
        Place::Server(_) => Err(Failure::usage("this works on a store itself, and the target is a server")
            .hint("Run it where the store is, with --local, perhaps with --store sqlite:PATH.")),
    }
}

fn foretell(session: &Session, view: &View, result: impl Serialize) -> Outcome {
    session.printer.answer(view, Answer::DryRun(DryRun { dry_run: true, result, effects: BTreeMap::new() }))?;
    DONE
}

/// Shows what a check found.
fn checked(session: &Session, report: &CheckReport) -> Outcome {
    session.printer.document(&CHECK, report)?;
    Ok(if report.ok { Exit::Done } else { Exit::Found })
}

fn progress<'a>(session: &'a Session, what: &'static str) -> Progress<'a> {
    Progress::new(&session.printer, session.clock.as_ref(), what, session.env.get("CI").is_some())
}

fn backup(session: &Session, path: &Path, args: &Backup) -> Outcome {
    let mut bar = progress(session, "backup");
    let report = maintenance::backup(path, &args.file, args.overwrite, session.now(), &mut |done, of| bar.at(done, of));
    bar.finish();
    let report = report.map_err(|error| match error.code() {
        Code::Conflict => Failure::from(error).hint("Choose another name, or replace the file with --overwrite."),
        _ => error.into(),
    })?;
    session.printer.document(&BACKUP, &report)?;
    session.printer.advice(
        "The secrets of the store are not in it: keep its .keys file, or API_KEY_PEPPER and PULSE_MASTER_KEY, as well.",
    );
    DONE
}

fn restore(session: &Session, path: &Path, args: &Restore) -> Outcome {
    if args.dry_run {
        let report = maintenance::restore(path, &args.file, session.now(), CommitMode::Check, &mut |_, _| ())?;
        return foretell(session, &RESTORE, report);
    }
    let question = format!("Put {} in the place of {}?", args.file.display(), path.display());
    session.prompts().confirm(&question, &["The store that is there now is kept beside it.".to_owned()])?;
    let mut bar = progress(session, "restore");
    let report =
        maintenance::restore(path, &args.file, session.now(), CommitMode::Apply, &mut |done, of| bar.at(done, of));
    bar.finish();
    let report = report.map_err(|error| match error.code() {
        Code::NotFound => Failure::from(error).hint("Name a file that pulse store backup has made."),
        _ => error.into(),
    })?;
    session.printer.document(&RESTORE, &report)?;
    DONE
}

/// A MongoDB store before and after what is done to it.
struct Mongo {
    store: MongoStore,
    path: String,
    /// The version that was found; `None` when there is nothing yet.
    found: Option<u32>,
}

impl Mongo {
    async fn open(settings: &Settings, uri: &Secret, database: Option<&str>) -> Result<Self, Failure> {
        install_cryptography();
        let store = connect_mongo(settings, uri, database).await?;
        let found = store.found_version().await?;
        Ok(Self { path: store.info().location, found, store })
    }

    /// Looks at all of it. Nothing is made by looking.
    async fn check(self, session: &Session) -> Outcome {
        let mut bar = progress(session, "check");
        let report = self.store.check(&mut |done, of| bar.at(done, of)).await;
        bar.finish();
        checked(session, &report?)
    }

    /// Brings it to this version's schema.
    async fn migrate(self, session: &Session, args: &Migrate) -> Outcome {
        if args.dry_run {
            return foretell(session, &MIGRATE, Migrated { path: self.path, from: self.found, to: SCHEMA_VERSION });
        }
        session.prompts().confirm(&format!("Migrate {}?", self.path), &[OLDER.to_owned()])?;
        self.store.prepare().await?;
        let to = self.store.info().schema_version;
        session.printer.document(&MIGRATE, &Migrated { path: self.path, from: self.found, to })?;
        DONE
    }
}
