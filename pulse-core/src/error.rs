//! The one error type of the control plane.
//!
//! The public message and the internal cause are different fields: the message, the hint and the field faults are
//! written for the person who called; the cause goes to the log and nowhere else. HTTP statuses and exit codes are
//! properties of the [`Code`], and only the edges look at them.

mod codes;

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use codes::{CODES, Code, CodeInfo};

/// Shorthand for results of the control plane.
pub type Result<T, E = Error> = std::result::Result<T, E>;

type Cause = Box<dyn std::error::Error + Send + Sync>;

/// What went wrong, said to a person, with what to do next.
#[derive(Debug)]
pub struct Error {
    inner: Box<Inner>,
}

#[derive(Debug)]
struct Inner {
    code: Code,
    message: String,
    hint: Option<String>,
    faults: Vec<Fault>,
    retry_after: Option<u64>,
    cause: Option<Cause>,
}

/// One bad field of a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Fault {
    /// Path of the field in the request, with dots and brackets: `constraints.rooms[0]`.
    pub field: String,
    /// A stable word for the kind of fault, such as `too_long` or `unknown_field`.
    pub code: String,
    /// What is wrong with the value, as a sentence.
    pub detail: String,
}

impl Fault {
    /// A fault of the field at `field`.
    pub fn new(field: impl Into<String>, code: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { field: field.into(), code: code.into(), detail: detail.into() }
    }
}

impl Error {
    /// An error with the code's own hint.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            inner: Box::new(Inner {
                code,
                message: message.into(),
                hint: None,
                faults: Vec::new(),
                retry_after: None,
                cause: None,
            }),
        }
    }

    /// `404`: nothing of that name, as far as this caller may know.
    pub fn not_found(kind: &str, id: impl fmt::Display) -> Self {
        Self::new(Code::NotFound, format!("{kind} {id} not found"))
    }

    /// The refusal to work with something that is deleted and can be restored.
    pub fn deleted(kind: &str, id: impl fmt::Display) -> Self {
        Self::new(Code::WrongState, format!("{kind} {id} is deleted")).hint("Restore it first.")
    }

    /// `422` with every bad field.
    pub fn invalid(faults: Vec<Fault>) -> Self {
        let message = match faults.as_slice() {
            [one] => format!("{}: {}", one.field, one.detail),
            many => format!("{} fields are not valid", many.len()),
        };
        let mut error = Self::new(Code::InvalidFields, message);
        error.inner.faults = faults;
        error
    }

    /// `422` with one bad field.
    pub fn invalid_field(field: &str, code: &str, detail: impl Into<String>) -> Self {
        Self::invalid(vec![Fault::new(field, code, detail)])
    }

    /// `500`: a fault of Pulse itself. The cause is logged and never shown.
    pub fn internal(cause: impl Into<Cause>) -> Self {
        Self::new(Code::Internal, "Pulse could not finish this request because of a fault of its own").because(cause)
    }

    /// `503`: the store cannot be reached or cannot take writes now.
    pub fn store_unavailable(cause: impl Into<Cause>) -> Self {
        Self::new(Code::StoreUnavailable, "the store cannot be used right now").retry_after(5).because(cause)
    }

    /// Replaces the code's hint by one that fits the case better.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.inner.hint = Some(hint.into());
        self
    }

    /// Adds the internal cause, for the log.
    #[must_use]
    pub fn because(mut self, cause: impl Into<Cause>) -> Self {
        self.inner.cause = Some(cause.into());
        self
    }

    /// Says after how many seconds a retry is worth it.
    #[must_use]
    pub fn retry_after(mut self, seconds: u64) -> Self {
        self.inner.retry_after = Some(seconds);
        self
    }

    /// The stable code.
    pub fn code(&self) -> Code {
        self.inner.code
    }

    /// The sentence for the caller.
    pub fn message(&self) -> &str {
        &self.inner.message
    }

    /// What to do next: the case's own hint, else the code's.
    pub fn hint_text(&self) -> &str {
        self.inner.hint.as_deref().unwrap_or(self.inner.code.info().hint)
    }

    /// All bad fields of the request.
    pub fn faults(&self) -> &[Fault] {
        &self.inner.faults
    }

    /// Seconds after which a retry is worth it.
    pub fn retry_after_seconds(&self) -> Option<u64> {
        self.inner.retry_after
    }

    /// The internal cause, for logs only.
    pub fn cause(&self) -> Option<&(dyn std::error::Error + Send + Sync + 'static)> {
        self.inner.cause.as_deref()
    }

    /// The RFC 9457 body that the daemon answers. What is wrong with the installation itself is for whoever runs it, who
    /// has the log: a caller reads the code's own words, and settings that do not work are a failure as any other.
    pub fn problem(&self, request_id: &str) -> Problem {
        let own = self.code().info();
        let info = if own.status == 500 { Code::Internal.info() } else { own };
        let (detail, hint) =
            if own.status < 500 { (self.message(), self.hint_text()) } else { (info.meaning, info.hint) };
        Problem {
            kind: format!("urn:pulse:error:{}", info.name),
            title: info.meaning.to_owned(),
            status: info.status,
            code: info.name.to_owned(),
            detail: detail.to_owned(),
            hint: Some(hint.to_owned()).filter(|hint| !hint.is_empty()),
            request_id: Some(request_id.to_owned()),
            retry_after: self.inner.retry_after,
            errors: self.inner.faults.clone(),
        }
    }

    /// The error that an RFC 9457 body from a daemon stands for. A code that this version does not know becomes
    /// [`Code::Internal`] with the daemon's own words.
    pub fn from_problem(problem: Problem) -> Self {
        let code = Code::by_name(&problem.code).unwrap_or(Code::Internal);
        Self {
            inner: Box::new(Inner {
                code,
                message: problem.detail,
                hint: problem.hint,
                faults: problem.errors,
                retry_after: problem.retry_after,
                cause: None,
            }),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.inner.message)
    }
}

impl std::error::Error for Error {}

/// `application/problem+json` of RFC 9457, with Pulse's additional members.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Problem {
    /// A URN made of the code.
    #[serde(rename = "type")]
    pub kind: String,
    /// What the code means in general.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// The stable code; `docs/ERRORS.md` lists them all.
    pub code: String,
    /// What happened this time.
    pub detail: String,
    /// What to do next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// The id of the request, as in the logs and the audit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// Seconds after which a retry is worth it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<u64>,
    /// Every bad field of the request.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<Fault>,
}
