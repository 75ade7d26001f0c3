//! What to do about an error, in the words of this command line.
//!
//! The hints of `pulse_core::error::CODES` speak to those who call the API: of headers, parameters and paths. Where such a
//! hint is the general one of its code, this table has what a user of `pulse` can do instead. A hint that was made for one
//! case stays as it is: those name what happened, not how a request is written.

use pulse_core::error::{Code, Error};

/// What to do about this error.
pub fn on(error: &Error) -> String {
    let own = Some(error.hint_text()).filter(|own| *own != error.code().info().hint);
    // A fault of this very process: there is no log in which its cause would stand.
    let internal = matches!(error.code(), Code::Internal | Code::StoreUnavailable);
    if let Some(cause) = error.cause().filter(|_| internal) {
        return own.map_or_else(|| format!("Cause: {cause}"), |own| format!("{own} Cause: {cause}"));
    }
    let general = || general(error.code(), error.retry_after_seconds());
    own.map(str::to_owned).or_else(general).unwrap_or_else(|| error.hint_text().to_owned())
}

/// What to do about this code; `None` when the API's own hint serves as well.
fn general(code: Code, retry_after: Option<u64>) -> Option<String> {
    let later = |more: &str| match retry_after {
        Some(1) => format!("Try again in a second{more}."),
        Some(seconds) => format!("Try again in {seconds} seconds{more}."),
        None => format!("Try again later{more}."),
    };
    let hint = match code {
        Code::BadRequest => "Look at the request that -v shows; the body must be JSON in UTF-8.",
        Code::BadCursor => "Start again without --cursor, and keep the filters the same from page to page.",
        Code::Unauthenticated => {
            "Give a token that is still good: --token-file FILE, PULSE_TOKEN, or a context; pulse help targets."
        }
        Code::Banned => "Lift the ban with pulse ban delete, or wait until it ends.",
        Code::NotFound => "Check how it is named; the list commands show what you can see.",
        Code::NoRoute => "A server lists its paths: pulse api GET /openapi.json --jq '.paths | keys'.",
        Code::MethodNotAllowed => "A server lists its methods: pulse api GET /openapi.json --jq '.paths'.",
        Code::RequestTimeout => "Try again; if it happens every time, the way to the server is very slow.",
        Code::Conflict => "Look at what is there now, and try again.",
        Code::IdempotencyMismatch => "Leave the idempotency key to pulse: it takes a new one for every command.",
        Code::LastKey => "Create another key first, or revoke this one all the same with --force.",
        Code::RotationPending => {
            "Wait until it is done, 15 minutes at most, or give it up: pulse key revoke with the successor's id."
        }
        Code::VersionMismatch => "Look at it again, and repeat with --if-match and the version that it has now.",
        Code::UnsupportedMediaType => "pulse sends JSON: leave the content type to it.",
        Code::InvalidFields => "Correct what is named.",
        Code::RateLimited => return Some(later("")),
        Code::StoreUnavailable => return Some(later("; pulse status says what is wrong")),
        Code::Overloaded => return Some(later("")),
        _ => return None,
    };
    Some(hint.to_owned())
}

#[cfg(test)]
mod tests {
    use pulse_core::error::{CODES, Code, Error};

    use crate::exit::Failure;

    /// Words that only callers of the API can do something with.
    const API_WORDS: &[&str] = &[
        "Idempotency-Key",
        "If-Match",
        "Retry-After",
        "X-Pulse",
        "Authorization",
        "Content-Type",
        "Allow",
        " header ",
        "GET /ready",
        "content type application",
        "with force",
        "DELETE /",
        "POST /",
        "PUT /",
        "without a cursor",
        "the answer lists",
    ];

    #[test]
    fn no_hint_speaks_of_how_a_request_is_written() {
        for info in CODES {
            let failure = Failure::from(Error::new(info.code, "x"));
            let hint = failure.hint_text().unwrap_or_default();
            assert!(!hint.is_empty(), "{} has no hint", info.name);
            let word = API_WORDS.iter().find(|word| hint.contains(*word));
            assert_eq!(word, None, "{}: {hint}", info.name);
        }
    }

    #[test]
    fn a_hint_made_for_the_case_stays() {
        let error = Error::new(Code::RateLimited, "x").hint("Buy a larger plan.");
        assert_eq!(Failure::from(error).hint_text(), Some("Buy a larger plan."));
        let error = Error::store_unavailable("no space").hint("Make space.");
        assert_eq!(Failure::from(error).hint_text(), Some("Make space. Cause: no space"));
    }
}
