//! Progress on stderr: only on a terminal, and not in the first 300 ms.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use pulse_core::time::Clock;

use super::Printer;

const PATIENCE: Duration = Duration::from_millis(300);

/// A bar that shows itself when the work takes long.
#[derive(Debug)]
pub struct Progress<'a> {
    bar: Option<ProgressBar>,
    clock: &'a dyn Clock,
    began: Duration,
    what: &'static str,
    allowed: bool,
}

impl<'a> Progress<'a> {
    /// Begins.
    pub fn new(printer: &Printer, clock: &'a dyn Clock, what: &'static str, ci: bool) -> Self {
        Self { bar: None, clock, began: clock.monotonic(), what, allowed: printer.may_show_progress() && !ci }
    }

    /// So much of so much is done.
    pub fn at(&mut self, done: u64, of: u64) {
        if self.bar.is_none() && self.allowed && self.clock.monotonic().saturating_sub(self.began) > PATIENCE {
            let bar = ProgressBar::with_draw_target(Some(of), ProgressDrawTarget::stderr());
            if let Ok(style) = ProgressStyle::with_template("{msg} {wide_bar} {percent}% {eta}") {
                bar.set_style(style);
            }
            bar.set_message(self.what);
            self.bar = Some(bar);
        }
        if let Some(bar) = &self.bar {
            bar.set_length(of);
            bar.set_position(done);
        }
    }

    /// Takes the bar away.
    pub fn finish(self) {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use pulse_core::time::{ManualClock, Timestamp};

    use super::*;

    #[test]
    fn work_that_is_soon_done_and_work_that_nobody_watches_show_no_bar() {
        for allowed in [true, false] {
            let clock = ManualClock::new(Timestamp::from_secs(1));
            let mut progress = Progress { bar: None, clock: &clock, began: clock.monotonic(), what: "backup", allowed };
            clock.advance(PATIENCE);
            progress.at(1, 10);
            assert!(progress.bar.is_none(), "a bar within the first {PATIENCE:?}");
            clock.advance(Duration::from_millis(1));
            progress.at(2, 10);
            assert_eq!(
                progress.bar.as_ref().map(|bar| (bar.position(), bar.length())),
                allowed.then_some((2, Some(10)))
            );
            progress.finish();
        }
    }
}
