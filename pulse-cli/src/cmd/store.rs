//! `pulse store`: work on a whole store, with nothing in between. A server is never asked.

use std::{collections::BTreeMap, path::Path};

use pulse_core::{
    boot::open::open_store,
    config::{Settings, StoreLocation},
    error::Code,
    metrics::Metrics,
    plane::{Answer, DryRun},
    store::{CommitMode, schema::SCHEMA_VERSION, sqlite::maintenance},
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

/// What a check or a migration of a store without files shows.
#[derive(Serialize)]
struct Remote {
    path: String,
    ok: bool,
    schema_version: u32,
}

/// What a migration of a store without files would do.
#[derive(Serialize)]
struct FutureStore {
    path: String,
    to: u32,
}

pub(super) async fn run(session: &Session, command: Store) -> Outcome {
    let settings = settings(session)?;
    match (command, &settings.store) {
        (Store::Check, StoreLocation::Sqlite(path)) => {
            let report = maintenance::check(path)?;
            session.printer.document(&CHECK, &report)?;
            Ok(if report.ok { Exit::Done } else { Exit::Found })
        }
        (Store::Migrate(args), StoreLocation::Sqlite(path)) => {
            if args.dry_run {
                return foretell(session, &MIGRATE, maintenance::migrate(path, CommitMode::Check)?);
            }
            session.prompts().confirm(
                &format!("Migrate {}?", path.display()),
                &["Older versions of Pulse cannot open it then.".to_owned()],
            )?;
            session.printer.document(&MIGRATE, &maintenance::migrate(path, CommitMode::Apply)?)?;
            DONE
        }
        (Store::Backup(args), StoreLocation::Sqlite(path)) => backup(session, path, &args),
        (Store::Restore(args), StoreLocation::Sqlite(path)) => restore(session, path, &args),
        (Store::Check, StoreLocation::Mongo { .. }) => mongo(session, &settings, None).await,
        (Store::Migrate(args), StoreLocation::Mongo { .. }) => mongo(session, &settings, Some(&args)).await,
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
    session.printer.document(&RESTORE, &report?)?;
    DONE
}

/// Checks that a MongoDB store can be used, or brings it to this version's schema.
async fn mongo(session: &Session, settings: &Settings, migrate: Option<&Migrate>) -> Outcome {
    pulse_core::boot::open::install_cryptography();
    let opened = open_store(settings, session.clock.clone(), &Metrics::new()?).await?;
    let path = opened.store.info().location;
    match migrate {
        Some(Migrate { dry_run: true }) => {
            return foretell(session, &MIGRATE, FutureStore { path, to: SCHEMA_VERSION });
        }
        Some(_) => {
            session
                .prompts()
                .confirm(&format!("Migrate {path}?"), &["Older versions of Pulse cannot open it then.".to_owned()])?;
            opened.store.prepare().await?;
        }
        None => {}
    }
    opened.store.ping().await?;
    opened.store.generation().await?;
    let schema_version = opened.store.info().schema_version;
    session.printer.document(&CHECK, &Remote { path, ok: true, schema_version })?;
    DONE
}
