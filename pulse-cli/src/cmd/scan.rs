//! `pulse key scan`: finds credentials of Pulse in files, offline, for hooks and pipelines. It never prints a secret.

use std::{
    fs::File,
    io::Read as _,
    path::{Path, PathBuf},
};

use pulse_core::access::key;
use serde::Serialize;

use crate::{
    args::key::Scan,
    exit::{Exit, Failure, Outcome},
    session::Session,
    ui::View,
};

pub(super) const VIEW: View = View::new(&["place", "kind", "public_id"], &["file", "line", "column"]).id("place");
/// Files above this are passed by, in bytes.
const MAX_FILE: u64 = 8 << 20;
/// How much of stdin is read, in bytes.
const MAX_STDIN: u64 = 256 << 20;
const SKIPPED: [&str; 3] = [".git", "target", "node_modules"];

/// A finding.
#[derive(Debug, Serialize)]
struct Finding {
    place: String,
    file: String,
    line: usize,
    column: usize,
    kind: &'static str,
    public_id: Option<String>,
}

pub(super) fn run(session: &Session, args: &Scan) -> Outcome {
    let mut list = session.printer.list(&VIEW)?;
    let mut passed_by = 0;
    for path in &args.paths {
        if path.as_os_str() == "-" {
            let mut bytes = Vec::new();
            std::io::stdin()
                .lock()
                .take(MAX_STDIN)
                .read_to_end(&mut bytes)
                .map_err(|cause| unreadable(path, &cause))?;
            findings("-", &bytes, args.public).iter().try_for_each(|finding| list.row(finding))?;
            continue;
        }
        walk(path, true, &mut |file| {
            let Some(bytes) = read(file)? else {
                passed_by += 1;
                return Ok(());
            };
            findings(&file.display().to_string(), &bytes, args.public).iter().try_for_each(|finding| list.row(finding))
        })?;
    }
    let found = list.len();
    list.finish()?;
    if passed_by > 0 {
        session.printer.advice(&format!("{passed_by} files over 8 MiB, or not readable, were passed by"));
    }
    if found > 0 {
        session.printer.advice(&format!(
            "{found} found: revoke keys with pulse key revoke; pulse admin rotate and \
             pulse webhook endpoint rotate-secret replace the others"
        ));
        return Ok(Exit::Found);
    }
    Ok(Exit::Done)
}

fn unreadable(path: &Path, cause: &std::io::Error) -> Failure {
    Failure::usage(format!("{} cannot be read: {cause}", path.display()))
}

/// Every file under `path`, in the order of names. Links are not followed.
fn walk(path: &Path, named: bool, each: &mut impl FnMut(&Path) -> Result<(), Failure>) -> Result<(), Failure> {
    let found =
        if named { path.metadata() } else { path.symlink_metadata() }.map_err(|cause| unreadable(path, &cause))?;
    if found.is_file() {
        return each(path);
    }
    if !found.is_dir() {
        return Ok(());
    }
    let entries = std::fs::read_dir(path).map_err(|cause| unreadable(path, &cause))?;
    let mut children: Vec<PathBuf> = entries.filter_map(|entry| entry.ok().map(|entry| entry.path())).collect();
    children.sort();
    for child in children {
        if !child.file_name().is_some_and(|name| SKIPPED.iter().any(|skipped| name == *skipped)) {
            walk(&child, false, each)?;
        }
    }
    Ok(())
}

/// The bytes of a file; `None` when it is too large or cannot be read.
fn read(path: &Path) -> Result<Option<Vec<u8>>, Failure> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(MAX_FILE + 1).read_to_end(&mut bytes));
    Ok((read.is_ok() && bytes.len() as u64 <= MAX_FILE).then_some(bytes))
}

fn findings(file: &str, bytes: &[u8], public: bool) -> Vec<Finding> {
    let found = key::scan(bytes).into_iter().filter(|found| public || found.kind != "public key");
    let finding = |found: key::Found| {
        let before = &bytes[..found.offset];
        let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        let column = before.iter().rev().take_while(|byte| **byte != b'\n').count() + 1;
        Finding {
            place: format!("{file}:{line}"),
            file: file.to_owned(),
            line,
            column,
            kind: found.kind,
            public_id: found.public_id,
        }
    };
    found.map(finding).collect()
}
