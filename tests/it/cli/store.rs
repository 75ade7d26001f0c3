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
