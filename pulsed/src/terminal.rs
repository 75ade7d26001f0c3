//! What `pulsed` says to a person: the only place that prints. Results go to stdout, everything else to stderr; a closed
//! pipe is not an error.

use std::io::{IsTerminal as _, Write as _};

use pulse_core::Error;

/// Whether a person reads stderr.
pub(crate) fn is_interactive() -> bool {
    std::io::stderr().is_terminal()
}

/// Writes to stdout.
pub(crate) fn show(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
}

/// Writes to stderr.
pub(crate) fn tell(text: &str) {
    let _ = std::io::stderr().write_all(text.as_bytes());
}

/// Tells an error with its hint. The cause is told too: whoever starts the daemon is its operator.
pub(crate) fn show_error(error: &Error) {
    let mut text = format!("error: {}\n", error.message());
    if let Some(cause) = error.cause() {
        text.push_str(&format!("  cause: {cause}\n"));
    }
    if !error.hint_text().is_empty() {
        text.push_str(&format!("  hint: {}\n", error.hint_text()));
    }
    tell(&text);
}
