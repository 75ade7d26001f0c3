//! What the driver's errors mean: a clash of a unique index, a store that is away for now, settings that are wrong, or
//! a fault of Pulse.
//!
//! The cause that is kept for the log has the server's code and message and never the documents of the request.

use mongodb::error::{
    Error as DriverError, ErrorKind, RETRYABLE_WRITE_ERROR, TRANSIENT_TRANSACTION_ERROR,
    UNKNOWN_TRANSACTION_COMMIT_RESULT, WriteFailure,
};

use crate::{
    error::{Code, Error},
    store::schema::{Collection, PRIMARY},
};

const DUPLICATE_KEY: i32 = 11_000;
const AUTHENTICATION_FAILED: i32 = 18;
const UNAUTHORIZED: i32 = 13;

/// Codes of a server that cannot serve now and may later: it is unreachable, shutting down, not primary, out of time,
/// without a majority, or the transaction lost against others until its time was over.
const UNAVAILABLE: &[i32] = &[
    6, 7, 50, 64, 89, 91, 112, 133, 134, 189, 202, 246, 251, 262, 290, 9_001, 10_058, 10_107, 11_600, 11_602, 13_388,
    13_435, 13_436, 14_031,
];

/// The server's code, when the server answered.
pub(super) fn code(error: &DriverError) -> Option<i32> {
    match error.kind.as_ref() {
        ErrorKind::Command(command) => Some(command.code),
        ErrorKind::Write(WriteFailure::WriteError(write)) => Some(write.code),
        ErrorKind::Write(WriteFailure::WriteConcernError(concern)) => Some(concern.code),
        ErrorKind::InsertMany(many) => {
            let write = many.write_errors.as_deref().and_then(|errors| errors.first()).map(|write| write.code);
            write.or_else(|| many.write_concern_error.as_ref().map(|concern| concern.code))
        }
        _ => None,
    }
}

/// The declared index that a duplicate key error is about.
pub(super) fn conflict(collection: &'static Collection, error: &DriverError) -> Option<&'static str> {
    let message = match error.kind.as_ref() {
        ErrorKind::Command(command) if command.code == DUPLICATE_KEY => &command.message,
        ErrorKind::Write(WriteFailure::WriteError(write)) if write.code == DUPLICATE_KEY => &write.message,
        ErrorKind::InsertMany(many) => match many.write_errors.as_deref() {
            Some([first, ..]) if first.code == DUPLICATE_KEY => &first.message,
            _ => return None,
        },
        _ => return None,
    };
    let (_, rest) = message.split_once(" index: ")?;
    match rest.split(' ').next()? {
        "_id_" => Some(PRIMARY),
        name => collection.index(name).map(|index| index.name),
    }
}

/// Whether a transaction that failed so changed nothing and may begin again.
pub(super) fn is_transient(error: &DriverError) -> bool {
    error.contains_label(TRANSIENT_TRANSACTION_ERROR)
}

/// Whether a commit that failed so may be asked for again, and must be before anything is said about its outcome.
pub(super) fn is_unknown(error: &DriverError) -> bool {
    error.contains_label(UNKNOWN_TRANSACTION_COMMIT_RESULT)
}

impl From<DriverError> for Error {
    fn from(error: DriverError) -> Self {
        let cause = cause(&error);
        let refused = match error.kind.as_ref() {
            ErrorKind::Authentication { .. } => {
                ("MongoDB refuses the credentials", "Check user, password and authSource.")
            }
            ErrorKind::InvalidTlsConfig { .. } => {
                ("the TLS settings of MongoDB cannot be used", "Check the tls options.")
            }
            _ if matches!(code(&error), Some(AUTHENTICATION_FAILED | UNAUTHORIZED)) => (
                "MongoDB does not let this user do what Pulse needs",
                "The user needs the roles readWrite and dbAdmin.",
            ),
            _ if is_unavailable(&error) => return Self::store_unavailable(cause),
            _ => return Self::internal(cause),
        };
        misconfigured(refused.0, refused.1).because(cause)
    }
}

/// An error of the settings.
pub(super) fn misconfigured(message: &str, hint: &str) -> Error {
    Error::new(Code::Misconfigured, message).hint(hint)
}

fn is_unavailable(error: &DriverError) -> bool {
    let labels = [RETRYABLE_WRITE_ERROR, TRANSIENT_TRANSACTION_ERROR, UNKNOWN_TRANSACTION_COMMIT_RESULT];
    let by_kind = match error.kind.as_ref() {
        ErrorKind::Io(_)
        | ErrorKind::DnsResolve { .. }
        | ErrorKind::ConnectionPoolCleared { .. }
        | ErrorKind::ServerSelection { .. }
        | ErrorKind::ProxyConnect { .. }
        | ErrorKind::Shutdown
        | ErrorKind::Write(WriteFailure::WriteConcernError(_)) => true,
        ErrorKind::InsertMany(many) if many.write_errors.as_ref().is_none_or(Vec::is_empty) => true,
        _ => code(error).is_some_and(|code| UNAVAILABLE.contains(&code)),
    };
    by_kind || labels.iter().any(|label| error.contains_label(label))
}

fn cause(error: &DriverError) -> String {
    match error.kind.as_ref() {
        ErrorKind::Command(command) => {
            format!("MongoDB error {} {}: {}", command.code, command.code_name, command.message)
        }
        ErrorKind::Write(WriteFailure::WriteError(write)) => {
            format!("MongoDB write error {}: {}", write.code, write.message)
        }
        ErrorKind::Write(WriteFailure::WriteConcernError(concern)) => {
            format!("MongoDB write concern error {} {}: {}", concern.code, concern.code_name, concern.message)
        }
        ErrorKind::InsertMany(_) => format!("MongoDB write error {}", code(error).unwrap_or_default()),
        kind => format!("MongoDB driver: {kind}"),
    }
}
