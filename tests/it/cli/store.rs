//! Work on the store itself, and who may open it.

use super::{customer, script};

#[test]
fn a_backup_brings_back_what_was_there() {
    let cli = customer();
    cli.ok(&["store", "backup", "backup.db", "-q"]);
    cli.ok(&["project", "create", "later", "--org", "acme", "-q"]);
    insta::assert_snapshot!(script(
        &cli,
        &[
            &["store", "check", "-o", "json", "--jq", "{ok, logs, problems, schema_version}"],
            &["store", "backup", "backup.db"],
            &["store", "restore", "backup.db"],
            &["store", "restore", "nosuch.db", "--yes"],
            &["store", "restore", "backup.db", "--yes", "-q"],
            &["project", "list", "-o", "name"],
            &["store", "migrate", "--yes"],
            &["store", "check", "--server", "http://127.0.0.1:1"],
        ]
    ));
}

#[test]
fn another_pepper_is_refused_and_nothing_is_written() {
    let cli = customer();
    let before = std::fs::read(cli.path("store/pulse.db")).expect("the store");
    let cli = cli.env("API_KEY_PEPPER", "another pepper of more than 32 characters");
    insta::assert_snapshot!(cli.run(&["project", "list"]).shown());
    assert_eq!(std::fs::read(cli.path("store/pulse.db")).expect("the store"), before);
}

#[test]
fn local_changes_are_in_the_audit_as_the_local_user() {
    let cli = customer();
    let actors = cli.ok(&["audit", "list", "--jq", "map(.actor.id | startswith(\"local:\")) | all"]);
    assert_eq!(actors, "true");
    assert_eq!(cli.ok(&["audit", "list", "--action", "projects.*", "-o", "json", "--jq", ".[].context.origin"]), "cli");
}

#[test]
fn a_dry_run_makes_no_store() {
    let cli = pulse_tests::cli::Cli::with_store();
    let run = cli.run(&["org", "create", "acme", "--email", "ops@acme.example", "--dry-run", "-o", "json"]);
    assert_eq!((run.code, run.json()["dry_run"].as_bool()), (0, Some(true)), "{}", run.shown());
    assert!(!cli.path("store").exists(), "the dry run made a folder for the store");
}

#[test]
fn a_dry_run_of_a_restore_or_a_migration_finds_what_would_stop_it() {
    let cli = customer();
    let store = cli.path("store/pulse.db");
    cli.ok(&["store", "backup", "backup.db", "-q"]);
    std::fs::write(cli.path("text.db"), "no store").expect("a file");
    let before = std::fs::read(&store).expect("the store");
    let restore = |file: &str| cli.run(&["store", "restore", file, "--dry-run", "-o", "json"]);
    assert_eq!(restore("nope.db").code, 5, "a backup that is missing");
    assert_eq!(restore("text.db").code, 2, "a file that is no backup");
    let foretold = restore("backup.db");
    assert!(foretold.code == 0 && foretold.json()["result"]["bytes"].as_u64() > Some(0), "{}", foretold.shown());
    let migrate = || cli.run(&["store", "migrate", "--dry-run", "-o", "json"]);
    assert_eq!((migrate().code, migrate().json()["result"]["from"].as_u64()), (0, Some(1)), "{}", migrate().shown());
    assert_eq!(std::fs::read(&store).expect("the store"), before, "a dry run changed the store");

    let _held = pulse_core::store::sqlite::locks::StoreLock::shared(&store).expect("the lock");
    assert_eq!((restore("backup.db").code, migrate().code), (6, 6), "another process has the store open");
}
