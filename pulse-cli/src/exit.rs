//! How an invocation ends: an exit code, and when it failed, what is said about it.
//!
//! The codes of errors come from the one table in `pulse_core::error`; the ones that only a command line has are here.

use pulse_core::error::{Error, Fault};
use serde_json::{Map, Value, json};

use crate::advice;

/// Usage or invalid input.
pub const USAGE: u8 = 2;
/// What was awaited did not come in time.
pub const WAITED_TOO_LONG: u8 = 8;
/// An opt-in finding.
pub const FINDING: u8 = 10;
/// Part of a batch failed.
pub const PARTLY: u8 = 11;
/// What was awaited failed.
pub const AWAITED_FAILED: u8 = 12;
/// Stopped by the user.
pub const INTERRUPTED: u8 = 130;

/// Exit codes with their meaning, as `pulse help exit-codes` shows them.
pub const MEANINGS: &[(u8, &str)] = &[
    (0, "it worked, or there was nothing to do"),
    (1, "something unexpected, or a finding of a check such as `key scan` and `token verify`"),
    (USAGE, "usage or invalid input: nothing was sent or changed"),
    (3, "the server or the store cannot be reached"),
    (4, "not authenticated"),
    (5, "not found"),
    (6, "a conflict, or a precondition that does not hold"),
    (7, "forbidden, or not in the plan"),
    (WAITED_TOO_LONG, "waited too long"),
    (9, "rate limited, after retries"),
    (FINDING, "a finding that was asked for with --fail-on"),
    (PARTLY, "part of a batch failed"),
    (AWAITED_FAILED, "what was awaited failed (a rotation is rolled back)"),
    (INTERRUPTED, "interrupted"),
];

/// How an invocation that did not fail ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// It worked.
    Done,
    /// A check found something: 1.
    Found,
    /// An opt-in finding: 10.
    Finding,
}

impl Exit {
    /// The process's exit code.
    pub fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Found => 1,
            Self::Finding => FINDING,
        }
    }
}

/// What a command comes to.
pub type Outcome = Result<Exit, Failure>;

/// What went wrong, as the user is told.
#[derive(Debug)]
pub struct Failure(Box<Inner>);

#[derive(Debug)]
struct Inner {
    exit: u8,
    code: String,
    message: String,
    hint: Option<String>,
    request_id: Option<String>,
    faults: Vec<Fault>,
    details: Map<String, Value>,
    silent: bool,
}

impl Failure {
    /// A failure with an exit code and a stable word.
    pub fn new(exit: u8, code: &str, message: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            exit,
            code: code.to_owned(),
            message: message.into(),
            hint: None,
            request_id: None,
            faults: Vec::new(),
            details: Map::new(),
            silent: false,
        }))
    }

    /// Wrong usage or input: exit 2.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(USAGE, "usage", message)
    }

    /// Something that should work on this machine did not: exit 1.
    pub fn unexpected(message: impl Into<String>) -> Self {
        Self::new(1, "unexpected", message)
    }

    /// The user stopped it: exit 130.
    pub fn interrupted() -> Self {
        Self::new(INTERRUPTED, "interrupted", "interrupted")
    }

    /// Nothing more is to be done and nothing is wrong: a pipe was closed, or `--curl` has printed its line.
    pub fn stop() -> Self {
        let mut stop = Self::new(0, "stop", "");
        stop.0.silent = true;
        stop
    }

    /// Adds what to do next.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hint = Some(hint.into()).filter(|hint| !hint.is_empty());
        self
    }

    /// Adds the id under which the request stands in logs.
    #[must_use]
    pub fn request_id(mut self, id: Option<&str>) -> Self {
        self.0.request_id = id.map(str::to_owned);
        self
    }

    /// Replaces the exit code.
    #[must_use]
    pub fn exit(mut self, exit: u8) -> Self {
        self.0.exit = exit;
        self
    }

    /// Adds a member to the error's JSON form.
    #[must_use]
    pub fn detail(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.0.details.insert(name.to_owned(), value.into());
        self
    }

    /// The exit code.
    pub fn exit_code(&self) -> u8 {
        self.0.exit
    }

    /// The stable word.
    pub fn code(&self) -> &str {
        &self.0.code
    }

    /// The fault of this field and of this kind, if it is one of those that were found.
    pub fn fault(&self, field: &str, code: &str) -> Option<&Fault> {
        self.0.faults.iter().find(|fault| fault.field == field && fault.code == code)
    }

    /// The sentence.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// What to do next.
    pub fn hint_text(&self) -> Option<&str> {
        self.0.hint.as_deref()
    }

    /// Whether nothing is to be said.
    pub fn is_silent(&self) -> bool {
        self.0.silent
    }

    /// The lines for a person.
    pub fn lines(&self) -> Vec<(&'static str, String)> {
        let own = &self.0;
        let mut lines = vec![("error: ", own.message.clone())];
        if own.faults.len() > 1 {
            lines.extend(own.faults.iter().map(|fault| ("  ", format!("{}: {}", fault.field, fault.detail))));
        }
        lines.extend(own.hint.iter().map(|hint| ("  hint: ", hint.clone())));
        lines.extend(own.request_id.iter().map(|id| ("  request id: ", id.clone())));
        lines
    }

    /// The one JSON object for a program.
    pub fn json(&self) -> Value {
        let own = &self.0;
        let mut error = Map::new();
        error.insert("code".into(), json!(own.code));
        error.insert("message".into(), json!(own.message));
        error.insert("exit".into(), json!(own.exit));
        let options = [("hint", &own.hint), ("request_id", &own.request_id)];
        for (name, value) in options {
            if let Some(value) = value {
                error.insert(name.into(), json!(value));
            }
        }
        if !own.faults.is_empty() {
            error.insert("errors".into(), json!(own.faults));
        }
        error.extend(own.details.clone());
        json!({ "error": error })
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let info = error.code().info();
        let mut failure = Self::new(info.exit, info.name, error.message()).hint(advice::on(&error));
        failure.0.faults = error.faults().to_vec();
        if let Some(seconds) = error.retry_after_seconds() {
            failure = failure.detail("retry_after", seconds);
        }
        failure
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pulse_core::error::{CODES, Code};

    #[test]
    fn every_code_of_the_core_has_a_documented_exit_code() {
        for info in CODES {
            assert!(MEANINGS.iter().any(|(exit, _)| *exit == info.exit), "{} exits {}", info.name, info.exit);
        }
    }

    #[test]
    fn a_failure_says_error_hint_and_request_id() {
        let failure = Failure::from(Error::new(Code::NotFound, "project x not found")).request_id(Some("req_1"));
        let text: Vec<String> = failure.lines().into_iter().map(|(label, text)| format!("{label}{text}")).collect();
        assert_eq!(text[0], "error: project x not found");
        assert_eq!(text[2], "  request id: req_1");
        assert_eq!(failure.exit_code(), 5);
        assert_eq!(failure.json()["error"]["code"], "not_found");
    }
}
