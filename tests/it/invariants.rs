//! `docs/INVARIANTS.md` names tests that there are and that are run, for every invariant that it is to have.

use std::{collections::BTreeSet, fs, path::Path};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
/// Where tests are.
const SOURCES: [&str; 2] = ["tests/it", "pulse-core/src"];
/// What makes a function a test.
const MARKS: [&str; 2] = ["#[test]", "#[tokio::test"];
/// How many the document has, numbered from 1.
const INVARIANTS: u32 = 27;

/// The names of all tests below a folder.
fn tests(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            tests(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).expect("a file");
            found.extend(names(&text));
        }
    }
}

/// The names of the tests in a text: of functions that come right after a mark. One that is ignored holds nothing, and is left
/// out, on whichever side of the mark that is said.
fn names(text: &str) -> impl Iterator<Item = String> {
    let marked = MARKS.into_iter().flat_map(move |mark| text.match_indices(mark));
    marked.filter_map(move |(at, _)| {
        let (before, after) = text.split_at(at);
        let (attributes, declared) = after.split_once("fn ")?;
        let above = before.trim_end().lines().rev().take_while(|line| line.trim_start().starts_with(['#', '/']));
        let is_ignored =
            above.chain(attributes.lines()).any(|line| line.trim_start().starts_with("#[") && line.contains("ignore"));
        let name = declared.split('(').next()?;
        (!is_ignored).then(|| name.to_owned())
    })
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
        assert!(missing.is_empty(), "I{number} names tests that are not there, or are ignored: {missing:?}");
    }
}

#[test]
fn a_test_that_is_ignored_holds_nothing() {
    let run = "#[test]\nfn plain() {}\n\n#[tokio::test(flavor = \"multi_thread\")]\nasync fn awaited() {}\n\n";
    let ignored = "#[test]\n#[ignore]\nfn below() {}\n\n    #[ignore = \"slow\"]\n    #[test]\n    fn above() {}\n";
    assert_eq!(names(&format!("{run}{ignored}")).collect::<Vec<_>>(), ["plain", "awaited"]);
    assert_eq!(names(&format!("{ignored}{run}")).collect::<Vec<_>>(), ["plain", "awaited"]);
}
