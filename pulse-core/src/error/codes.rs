//! The one table of error codes. HTTP status, exit code, meaning and hint of every code stand here and nowhere else;
//! `docs/ERRORS.md` is generated from it.

/// What a code stands for at each edge.
#[derive(Clone, Copy, Debug)]
pub struct CodeInfo {
    /// The code itself.
    pub code: Code,
    /// Its stable name, as in problem documents.
    pub name: &'static str,
    /// The HTTP status that the daemon answers.
    pub status: u16,
    /// The exit code of the command line.
    pub exit: u8,
    /// Whether the same request may succeed later without a change.
    pub retryable: bool,
    /// What it means, in general.
    pub meaning: &'static str,
    /// What to do about it, in general.
    pub hint: &'static str,
}

macro_rules! codes {
    ($($variant:ident $name:literal $status:literal exit $exit:literal $retry:literal $meaning:literal => $hint:literal;)+) => {
        /// A stable error code.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Code {
            $(#[doc = $meaning] $variant,)+
        }

        /// Every code there is, in the order of the generated reference.
        pub const CODES: &[CodeInfo] = &[
            $(CodeInfo { code: Code::$variant, name: $name, status: $status, exit: $exit, retryable: $retry,
                meaning: $meaning, hint: $hint },)+
        ];
    };
}

codes! {
    BadRequest "bad_request" 400 exit 2 false
        "The request cannot be read" => "Send well-formed UTF-8 JSON with the content type application/json.";
    BadCursor "bad_cursor" 400 exit 2 false
        "The page cursor is not one of this list" => "Start again without a cursor, and keep the filters the same from page to page.";
    Unauthenticated "unauthenticated" 401 exit 4 false
        "The credentials are missing or not valid" => "Send X-Pulse-Key with X-Pulse-Secret, or Authorization: Bearer with a secret that is still live.";
    Forbidden "forbidden" 403 exit 7 false
        "The caller may not do this" => "Use a key with the scope that the message names.";
    PlanForbids "plan_forbids" 403 exit 7 false
        "The organization's plan does not include this" => "Ask the operator for another plan.";
    Suspended "project_suspended" 403 exit 7 false
        "The project is suspended" => "Ask the operator to resume the project.";
    Banned "banned" 403 exit 7 false
        "The identity is banned" => "Lift the ban with DELETE /v1/bans/{id}, or wait until it ends.";
    NotFound "not_found" 404 exit 5 false
        "There is no such thing, or the caller may not know of it" => "Check the id; lists show what this caller can see.";
    NoRoute "no_route" 404 exit 5 false
        "There is no such path" => "GET /openapi.json lists every path.";
    MethodNotAllowed "method_not_allowed" 405 exit 2 false
        "The path exists, but not with this method" => "The Allow header lists the methods.";
    RequestTimeout "request_timeout" 408 exit 3 true
        "The request did not arrive in time" => "Send headers and body within ten seconds.";
    Conflict "conflict" 409 exit 6 false
        "The request is at odds with what is stored" => "Read the current state and try again.";
    NameTaken "name_taken" 409 exit 6 false
        "The name is taken" => "Choose another name, or use the one that exists.";
    IdempotencyMismatch "idempotency_mismatch" 409 exit 6 false
        "The idempotency key was used for another request" => "Use a new Idempotency-Key for a new request.";
    LastKey "last_key" 409 exit 6 false
        "The project would be left without a key" => "Create another key first, or repeat with force.";
    RotationPending "rotation_pending" 409 exit 6 false
        "Another rotation of this key is under way" => "Commit or cancel the pending rotation first.";
    WrongState "wrong_state" 409 exit 6 false
        "The thing is in a state that does not allow this" => "Look at its state first.";
    Gone "gone" 410 exit 5 false
        "It existed, but its time is over" => "It cannot be brought back.";
    VersionMismatch "version_mismatch" 412 exit 6 false
        "Somebody changed it in the meantime" => "Read it again and repeat the change with its current version.";
    BodyTooLarge "body_too_large" 413 exit 2 false
        "The body is larger than 1 MiB" => "Send less.";
    UnsupportedMediaType "unsupported_media_type" 415 exit 2 false
        "The content type is not application/json" => "Send Content-Type: application/json.";
    InvalidFields "invalid_fields" 422 exit 2 false
        "Fields of the request are not valid" => "Correct the fields that the answer lists.";
    RateLimited "rate_limited" 429 exit 9 true
        "Too many requests" => "Wait as long as Retry-After says.";
    HeadersTooLarge "headers_too_large" 431 exit 2 false
        "The headers are larger than 16 KiB" => "Send fewer or smaller headers.";
    Internal "internal" 500 exit 1 false
        "Pulse failed" => "Look up the request id in the daemon's log.";
    StoreUnavailable "store_unavailable" 503 exit 3 true
        "The store cannot be used right now" => "Try again after the seconds in Retry-After; GET /ready says what is wrong.";
    Overloaded "overloaded" 503 exit 3 true
        "Pulse has more work than it can take" => "Try again after the seconds in Retry-After.";
    Unreachable "unreachable" 503 exit 3 true
        "The server cannot be reached" => "Check the address, and that pulsed is running there.";
    StoreLocked "store_locked" 409 exit 6 false
        "Another process holds the store" => "Stop the process that is named, or use it through --server.";
    StoreNewer "store_newer" 409 exit 6 false
        "The store was made by a newer version" => "Use the newer version of Pulse; going back means restoring a backup.";
    Misconfigured "misconfigured" 500 exit 2 false
        "The settings are not valid" => "Correct the settings that the message names.";
}

impl Code {
    /// The row of the table.
    pub fn info(self) -> &'static CodeInfo {
        &CODES[self as usize]
    }

    /// The code of that name.
    pub fn by_name(name: &str) -> Option<Self> {
        CODES.iter().find(|info| info.name == name).map(|info| info.code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_finds_its_own_row_and_no_name_stands_twice() {
        for (position, info) in CODES.iter().enumerate() {
            assert_eq!(info.code as usize, position, "{} stands in another code's place", info.name);
            assert_eq!(Code::by_name(info.name), Some(info.code), "the name {} stands twice", info.name);
        }
    }
}
