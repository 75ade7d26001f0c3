//! Fault points: named places at which a test lets the process die, fail or wait, to see that nothing is lost there.
//!
//! Only debug builds with the feature `fault-points` have them; anywhere else they are nothing, so no release has them. What
//! happens is said by a file that is read at every point, so that a test changes its mind while the process runs: a line
//! for each point, `NAME abort`, `NAME error`, `NAME panic` or `NAME sleep MILLISECONDS`. Without the file, or its line, nothing happens.

use std::{path::PathBuf, sync::OnceLock, time::Duration};

use crate::error::{Error, Result};

/// Whether this build has fault points.
pub const COMPILED: bool = cfg!(all(feature = "fault-points", debug_assertions));

static FILE: OnceLock<PathBuf> = OnceLock::new();

/// What happens at a point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    /// The process is gone, without a last word.
    Abort,
    /// What is done there fails.
    Error,
    /// It panics, as a bug would.
    Panic,
    /// It takes so much longer.
    Sleep(Duration),
}

/// Names the file, once for this process.
pub fn arm(file: PathBuf) {
    // The first one holds.
    let _ = FILE.set(file);
}

/// A point in a task.
///
/// # Errors
/// `store_unavailable` when the file says `error`.
pub async fn point(name: &str) -> Result<()> {
    match planned(name) {
        Some(Action::Sleep(span)) => {
            tokio::time::sleep(span).await;
            Ok(())
        }
        planned => act(planned),
    }
}

/// A point on a thread that may block.
///
/// # Errors
/// `store_unavailable` when the file says `error`.
pub fn blocking_point(name: &str) -> Result<()> {
    act(planned(name))
}

fn act(planned: Option<Action>) -> Result<()> {
    match planned {
        None => Ok(()),
        Some(Action::Abort) => std::process::abort(),
        #[expect(clippy::panic, reason = "what a test asked for")]
        Some(Action::Panic) => panic!("a fault point"),
        Some(Action::Error) => Err(Error::store_unavailable("a fault point")),
        Some(Action::Sleep(span)) => {
            std::thread::sleep(span);
            Ok(())
        }
    }
}

fn planned(name: &str) -> Option<Action> {
    if !COMPILED {
        return None;
    }
    parse(&std::fs::read_to_string(FILE.get()?).ok()?, name)
}

fn parse(text: &str, name: &str) -> Option<Action> {
    let mut words = text
        .lines()
        .map(str::split_ascii_whitespace)
        .find_map(|mut words| (words.next() == Some(name)).then_some(words))?;
    match (words.next()?, words.next()) {
        ("abort", None) => Some(Action::Abort),
        ("error", None) => Some(Action::Error),
        ("panic", None) => Some(Action::Panic),
        ("sleep", Some(millis)) => millis.parse().ok().map(Duration::from_millis).map(Action::Sleep),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_does_what_its_line_says_and_nothing_without_one() {
        let text = "ingest.before_commit abort\nwriter.slow sleep 1500\n\nfinish.before_commit error\nsend.before_connect panic\nreaper.mid nonsense\n";
        assert_eq!(parse(text, "ingest.before_commit"), Some(Action::Abort));
        assert_eq!(parse(text, "writer.slow"), Some(Action::Sleep(Duration::from_millis(1_500))));
        assert_eq!(parse(text, "finish.before_commit"), Some(Action::Error));
        assert_eq!(parse(text, "send.before_connect"), Some(Action::Panic));
        assert_eq!(parse(text, "reaper.mid"), None);
        assert_eq!(parse(text, "ingest"), None);
    }

    #[test]
    fn a_process_without_a_file_passes_every_point() {
        assert!(blocking_point("ingest.before_commit").is_ok());
    }
}
