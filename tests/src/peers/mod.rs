//! The real programs that Pulse works with, started on the loopback address for the tests.
//!
//! `tests/run --peers-only` installs them into a cache; the tests find them through `PULSE_PEERS`, or where that
//! command puts them by default. Each peer has `shared()`, one instance for all tests of a process, and `start()`,
//! an instance that a test may configure, break and stop. No peer sends a packet to another machine.

pub mod livekit;
pub mod mongo;
pub mod python;
pub mod redis;
pub mod standard_webhooks;

use std::path::PathBuf;

/// The file of an installed peer, by its name in the cache.
///
/// # Panics
/// When it is not installed.
#[expect(clippy::disallowed_methods, reason = "the test command tells the tests through the environment")]
pub(crate) fn installed(name: &str) -> PathBuf {
    let cache = match (std::env::var_os("PULSE_PEERS"), std::env::var_os("HOME")) {
        (Some(cache), _) => PathBuf::from(cache),
        (None, Some(home)) => PathBuf::from(home).join(".cache/pulse-peers"),
        (None, None) => panic!("set PULSE_PEERS to the cache that `tests/run --peers-only` fills"),
    };
    let file = cache.join(name);
    assert!(file.exists(), "{} is missing: run `tests/run --peers-only`", file.display());
    file
}
