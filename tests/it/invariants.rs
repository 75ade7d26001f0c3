//! `docs/INVARIANTS.md` names tests that there are, for every invariant that it is to have.

use std::{collections::BTreeSet, fs, path::Path};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
/// Where tests are.
const SOURCES: [&str; 2] = ["tests/it", "pulse-core/src"];
/// How many the document has, numbered from 1.
const INVARIANTS: u32 = 27;

/// The names of all tests below a folder: of functions that come right after a line that makes them one.
fn tests(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            tests(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).expect("a file");
            let marked = ["#[test]", "#[tokio::test"].into_iter().flat_map(|mark| text.split(mark).skip(1));
            found.extend(marked.filter_map(name));
        }
    }
}

/// The name of the function at the beginning of a text, after the rest of the line that marks it.
fn name(text: &str) -> Option<String> {
    let (_, declared) = text.split_once("fn ")?;
    Some(declared.split('(').next()?.to_owned())
}

/// The rows of the table: number, and the names between backticks that could be of tests.
fn rows() -> Vec<(u32, Vec<String>)> {
    let text = fs::read_to_string(Path::new(ROOT).join("docs/INVARIANTS.md")).expect("docs/INVARIANTS.md is there");
    let rows = text.lines().filter_map(|line| line.strip_prefix("| I")?.split_once(" | "));
    rows.map(|(number, rest)| {
        let (_, held_by) = rest.rsplit_once(" | ").expect("a column of tests");
        let names = held_by.split('`').skip(1).step_by(2).filter(|name| *name != "tests/bench");
        (number.parse().expect("a number"), names.map(str::to_owned).collect())
    })
    .collect()
}

#[test]
fn every_invariant_is_held_by_tests_that_there_are() {
    let mut known = BTreeSet::new();
    SOURCES.iter().for_each(|folder| tests(&Path::new(ROOT).join(folder), &mut known));
    let rows = rows();
    assert_eq!(rows.iter().map(|(number, _)| *number).collect::<Vec<_>>(), (1..=INVARIANTS).collect::<Vec<_>>());
    for (number, names) in rows {
        assert!(!names.is_empty(), "I{number} is held by nothing");
        let missing: Vec<_> = names.iter().filter(|name| !known.contains(*name)).collect();
        assert!(missing.is_empty(), "I{number} names tests that are not there: {missing:?}");
    }
}
