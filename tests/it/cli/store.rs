//! Work on the store itself, and who may open it.

use mongodb::bson::{Document, doc};
use pulse_core::store::schema::SCHEMA_VERSION;
use pulse_tests::{cli::Cli, peers::mongo::Mongo};

use super::{customer, script};

const MASTER_KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

/// With a MongoDB store as target, and the secrets that must be given then.
fn on(uri: &str) -> Cli {
    Cli::new().env("PULSE_STORE", uri).env("API_KEY_PEPPER", &"p".repeat(40)).env("PULSE_MASTER_KEY", MASTER_KEY)
}

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
fn a_store_of_another_user_is_refused_before_anything_is_made_beside_it() {
    let cli = Cli::new();
    let mine = cli.path("pulse.db");
    std::fs::write(&mine, "").expect("a file");
    // Root can give a file away; others find one that is root's.
    let given = std::os::unix::fs::chown(&mine, Some(65_534), None).is_ok();
    let theirs = if given { mine } else { std::path::PathBuf::from("/etc/passwd") };
    let store = format!("sqlite:{}", theirs.display());
    let commands: [&[&str]; 5] = [
        &["org", "list"],
        &["store", "check"],
        &["store", "migrate", "--yes"],
        &["store", "backup", "backup.db"],
        &["store", "restore", "backup.db", "--yes"],
    ];
    for command in commands {
        let run = cli.run(&[&["--local", "--store", &store][..], command].concat());
        assert_eq!(run.code, 7, "{}", run.shown());
        assert!(run.stderr.contains("belongs to another user"), "{}", run.shown());
    }
    let names =
        std::fs::read_dir(cli.folder()).expect("a folder").filter_map(Result::ok).map(|entry| entry.file_name());
    let made: Vec<_> = names.filter(|name| name != "pulse.db").collect();
    assert!(made.is_empty(), "{made:?} was made");
}

#[test]
fn a_dry_run_makes_no_store() {
    let cli = Cli::with_store();
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
    assert_eq!(
        (migrate().code, migrate().json()["result"]["from"].as_u64()),
        (0, Some(SCHEMA_VERSION.into())),
        "{}",
        migrate().shown()
    );
    assert_eq!(std::fs::read(&store).expect("the store"), before, "a dry run changed the store");

    let _held = pulse_core::store::sqlite::locks::StoreLock::shared(&store).expect("the lock");
    assert_eq!((restore("backup.db").code, migrate().code), (6, 6), "another process has the store open");
}

#[tokio::test]
async fn a_mongodb_store_is_migrated_and_checked_from_the_command_line() {
    let mongo = Mongo::shared().await;
    let uri = mongo.uri(&mongo.unique_database());
    let cli = on(&uri);
    let unprepared = cli.run(&["store", "check", "-o", "json"]);
    assert_eq!((unprepared.code, unprepared.json()["ok"].as_bool()), (1, Some(false)), "{}", unprepared.shown());
    let unasked = cli.run(&["store", "migrate"]);
    assert_eq!(unasked.code, 2, "without a person and without --yes nothing is migrated: {}", unasked.shown());
    cli.ok(&["store", "migrate", "--dry-run"]);
    assert_eq!(cli.run(&["store", "check"]).code, 1, "a dry run has made something");
    let migrated = cli.ok(&["store", "migrate", "--yes", "--jq", "[.from, .to]"]);
    assert_eq!(migrated, format!("[null,{SCHEMA_VERSION}]"));
    let checked = cli.ok(&["store", "check", "--jq", "[.ok, .schema_version, .problems]"]);
    assert_eq!(checked, format!("[true,{SCHEMA_VERSION},[]]"));
    cli.ok(&["org", "create", "acme", "--email", "ops@acme.example", "-q"]);
    assert_eq!(cli.ok(&["org", "list", "-o", "name"]), "acme");
    assert_eq!(cli.ok(&["store", "check", "--jq", "[.ok, .logs > 0]"]), "[true,true]");
    assert_eq!(cli.run(&["store", "backup", "b.db"]).code, 2);

    let client = mongo.client().await;
    let database = client.database(uri.rsplit('/').next().and_then(|rest| rest.split('?').next()).expect("a name"));
    for damage in [
        doc! { "dropIndexes": "projects", "index": "org" },
        doc! { "collMod": "api_keys", "validator": {} },
        doc! { "update": "audit_logs", "updates": [{ "q": {}, "u": { "$set": { "action": "other" } }, "multi": true }] },
    ] {
        database.run_command(damage).await.expect("the command works");
    }
    let damaged = cli.run(&["store", "check", "-o", "json"]);
    assert_eq!((damaged.code, damaged.json()["ok"].as_bool()), (1, Some(false)), "{}", damaged.shown());
    let report = damaged.json();
    let problems = report["problems"].as_array().expect("a list");
    for (place, detail) in [
        ("projects", "the index org is missing"),
        ("api_keys", "the validator is not the declared one"),
        ("audit_logs", "record 1 was changed"),
    ] {
        assert!(problems.iter().any(|one| one["place"] == place && one["detail"] == detail), "{}", damaged.shown());
    }
    let state = database.collection::<Document>("pulse_schema");
    let newer = state.update_one(doc! { "_id": "schema" }, doc! { "$set": { "version": 1_000_000_i64 } }).await;
    assert_eq!(newer.expect("the schema's version is stored there").matched_count, 1);
    let newer = cli.run(&["store", "check", "-o", "json"]);
    assert_eq!((newer.code, newer.error()["code"].as_str()), (6, Some("store_newer")), "{}", newer.shown());
    database.drop().await.expect("it can be dropped");
}

#[tokio::test]
async fn a_mongodb_that_cannot_be_used_is_refused_with_the_reason() {
    let standalone = Mongo::standalone().await;
    let cli = on(&standalone.uri("pulse"));
    for command in [&["store", "check"][..], &["store", "migrate", "--yes"]] {
        let run = cli.run(command);
        assert!(run.code == 2 && run.stderr.contains("rs.initiate()"), "{}", run.shown());
    }
}
