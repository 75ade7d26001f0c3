//! docs/OPERATIONS.md and the unit beside it say what is true.

use std::{collections::BTreeSet, path::PathBuf};

use pulse_tests::{
    daemon::run,
    peers::livekit::{WEBHOOKS_KEPT, WEBHOOKS_QUEUED},
    temporary_folder,
};

fn repository() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..")
}

pub(crate) fn read(path: &str) -> String {
    std::fs::read_to_string(repository().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The first block of the document in this language.
pub(crate) fn block(document: &str, language: &str) -> String {
    let (_, rest) = document.split_once(&format!("```{language}\n")).unwrap_or_else(|| panic!("no block {language}"));
    rest.split_once("```").expect("the block ends").0.to_owned()
}

/// The value of a line `NAME=value`.
pub(crate) fn line<'a>(unit: &'a str, name: &str) -> &'a str {
    let found = unit.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    found.unwrap_or_else(|| panic!("{name} is not in the unit"))
}

#[test]
fn the_unit_starts_the_daemon_with_the_documented_files() {
    let (document, unit) = (read("docs/OPERATIONS.md"), read("docs/pulsed.service"));
    let folder = temporary_folder("unit");
    std::fs::write(folder.path().join("pulse.toml"), block(&document, "toml")).expect("a file");
    std::fs::write(folder.path().join("secrets.env"), block(&document, "env")).expect("a file");
    let command = line(&unit, "ExecStart").replace("/etc/pulse/", "");
    let mut words = command.split_whitespace();
    assert_eq!(words.next(), Some("/usr/local/bin/pulsed"));
    let flags: Vec<&str> = words.chain(["--check"]).collect();

    let checked = run(folder.path(), &flags, &[]);

    let shown = String::from_utf8_lossy(&checked.stdout).into_owned();
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
    let row = |name: &str| {
        let line = shown.lines().find(|line| line.split_whitespace().next() == Some(name)).unwrap_or_default();
        line.split_whitespace().skip(1).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(row("PULSE_DATA"), "/var/lib/pulse config file");
    assert_eq!(row("PULSE_STORE"), "sqlite:/var/lib/pulse/pulse.db default");
    assert_eq!(row("LIVEKIT_API_SECRET"), "<set> env file");
    assert_eq!(line(&unit, "StateDirectory"), "pulse", "/var/lib/pulse is the folder of the settings");
    let drain: u64 = row("PULSE_DRAIN_TIMEOUT").split(' ').next().and_then(|text| text.parse().ok()).expect("seconds");
    let patience: u64 = line(&unit, "TimeoutStopSec").parse().expect("seconds");
    assert!(patience > drain + 5, "systemd kills what is still draining: {patience} s against {drain} s");
}

#[test]
fn livekit_is_set_up_by_the_documents_as_in_the_tests() {
    for document in ["docs/OPERATIONS.md", "docs/WEBHOOKS.md"] {
        let config = block(&read(document), "yaml");
        let (_, webhook) = config.split_once("webhook:\n").expect("the webhooks' part");
        let queue =
            format!("  resource_url_notifier:\n    max_age: {WEBHOOKS_KEPT}\n    max_depth: {WEBHOOKS_QUEUED}\n");
        assert!(webhook.starts_with("  api_key: ") && webhook.ends_with(&queue), "{document}: {webhook}");
        let address = webhook.lines().find_map(|line| line.trim().strip_prefix("- https://")).expect("an address");
        let (_, path) = address.split_once('/').expect("a path");
        assert!(path.starts_with("v1/webhooks/livekit"), "{document}: {path}");
    }
}

#[test]
fn the_documented_series_are_those_that_there_are() {
    let names = |text: &str, mark: char| -> BTreeSet<String> {
        let parts = text.split(mark).filter(|part| part.starts_with("pulse_"));
        parts.filter(|part| part.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')).map(str::to_owned).collect()
    };
    let document = read("docs/OPERATIONS.md");
    let (_, table) = document.split_once("| series |").expect("the table of series");
    let documented = names(table.split_once("\n\n").expect("the table ends").0, '`');
    assert_eq!(documented, names(&read("pulse-core/src/metrics.rs"), '"'));
}
