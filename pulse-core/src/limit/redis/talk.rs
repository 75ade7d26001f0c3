//! Asking Redis, and what goes wrong with it in words for people: sentences without a subject that hold no secret and
//! nothing of what the other side wrote but the word with which an error begins.

use std::time::Duration;

use redis::{Cmd, ErrorKind, FromRedisValue, RedisError, aio::MultiplexedConnection};
use tokio::time::timeout;

use crate::outbound::{FailureKind, Refusal};

/// The most characters of the word with which an error of Redis begins.
const LONGEST_WORD: usize = 24;

/// A script over one key. Redis keeps it by its digest, so its text costs no second reading.
pub(super) fn script(text: &str, key: &str) -> Cmd {
    let mut command = Cmd::new();
    command.arg("EVAL").arg(text).arg(1).arg(key);
    command
}

/// Asks; what goes wrong is told in words for people.
pub(super) async fn query<T: FromRedisValue>(
    connection: &MultiplexedConnection,
    command: &Cmd,
    patience: Duration,
) -> Result<T, String> {
    let mut connection = connection.clone();
    match timeout(patience, command.query_async::<T>(&mut connection)).await {
        Ok(answer) => answer.map_err(|error| fault(&error)),
        Err(_) => Err(late(patience)),
    }
}

/// Why there is no answer.
pub(super) fn late(patience: Duration) -> String {
    format!("it does not answer within {} ms", patience.as_millis())
}

/// Why there is no connection.
pub(super) fn unconnected(kind: &FailureKind) -> String {
    match kind {
        FailureKind::RefusedAddress(Refusal::OutsideOnly) => "its address is outside PULSE_OUTBOUND_ONLY".to_owned(),
        kind => kind.to_string(),
    }
}

/// An error of Redis by its first word, which has a meaning; the rest is the server's text, which may be anything.
pub(super) fn fault(error: &RedisError) -> String {
    let word: String =
        error.code().unwrap_or_default().chars().filter(char::is_ascii_alphanumeric).take(LONGEST_WORD).collect();
    match (error.kind(), word.as_str()) {
        (ErrorKind::AuthenticationFailed, _) | (_, "NOAUTH" | "WRONGPASS") => {
            "it refuses the user name or the password".to_owned()
        }
        (_, "NOPERM") => "its user may not run scripts (EVAL) on keys that begin with pulse:limit:".to_owned(),
        (ErrorKind::Io, _) => "the connection ended".to_owned(),
        (_, "") => "it does not answer as Redis does".to_owned(),
        (_, word) => format!("it answers with the error {word}"),
    }
}
