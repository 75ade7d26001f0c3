//! The official libraries for Standard Webhooks as judges of what Pulse signs. Their clock is the machine's.

use std::{
    collections::BTreeMap,
    io::{Seek as _, Write as _},
    path::Path,
    process::Command,
};

use serde::Serialize;

use super::{installed, python};

/// Which library.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Library {
    /// The one for Python.
    Python,
    /// The one for JavaScript.
    JavaScript,
}

/// A webhook as its receiver has it.
#[derive(Debug, Clone, Serialize)]
pub struct Message {
    /// The secret that the receiver knows, `whsec_...`.
    pub secret: String,
    /// The headers, at least the three of the standard.
    pub headers: BTreeMap<String, String>,
    /// The body.
    pub body: String,
}

/// What the library says about each message, in their order: nothing when it is good, else why it is refused.
///
/// # Panics
/// When the library cannot be run, or fails in another way than by refusing.
pub fn judge(library: Library, messages: &[Message]) -> Vec<Option<String>> {
    let mut task = tempfile::tempfile().expect("a file can be made");
    for message in messages {
        let line = serde_json::to_string(message).expect("a message is JSON");
        writeln!(task, "{line}").expect("a file can be written");
    }
    task.rewind().expect("a file can be read again");
    let output = command(library).stdin(task).output().expect("the judge starts");
    let said = String::from_utf8(output.stdout).expect("the judge writes UTF-8");
    let failed = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "the {library:?} library failed: {failed}");
    let verdicts: Vec<_> = said.lines().map(|line| (line != "good").then(|| line.to_owned())).collect();
    assert_eq!(verdicts.len(), messages.len(), "the {library:?} library left messages out: {failed}");
    verdicts
}

fn command(library: Library) -> Command {
    let script = |name: &str| Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    match library {
        Library::Python => {
            let mut command = python::command();
            command.arg(script("py/standard_webhooks.py"));
            command
        }
        Library::JavaScript => {
            let mut command = Command::new("node");
            command.arg(script("js/standard_webhooks.cjs")).env("NODE_PATH", installed("node/node_modules"));
            command
        }
    }
}
