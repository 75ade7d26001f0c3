//! The log: lines on stderr, as text for a terminal and as JSON elsewhere.
//!
//! Lines go through a buffer that one thread writes out, so a request never waits for a slow reader of the log; when a
//! mebibyte waits, it does. Nothing is lost at an orderly end.

use std::{
    io::{self, Write},
    sync::Arc,
};

use parking_lot::{Condvar, Mutex};
use pulse_core::config::Settings;
use tracing_subscriber::{
    Layer, Registry,
    filter::{LevelFilter, Targets},
    fmt::{self, MakeWriter},
    layer::SubscriberExt,
    reload,
    util::SubscriberInitExt,
};

use crate::terminal;

/// Bytes that may wait to be written.
const MOST_WAITING: usize = 1 << 20;

/// The running log.
#[derive(Clone, Debug)]
pub struct Log {
    lines: Lines,
    filter: reload::Handle<Targets, Registry>,
}

/// Starts the log of this process.
pub fn start(settings: &Settings) -> Log {
    let lines = Lines::start();
    let (filter, handle) = reload::Layer::new(targets(&settings.log));
    let text = settings.log_format.as_deref().map_or_else(terminal::is_interactive, |format| format == "text");
    let lines_of = fmt::layer().with_writer(lines.clone());
    let layer = if text {
        lines_of.with_ansi(terminal::is_interactive()).boxed()
    } else {
        lines_of.json().flatten_event(true).with_current_span(false).boxed()
    };
    // The filter stands below the layer, so that what it hides costs nothing.
    let _ = tracing_subscriber::registry().with(filter).with(layer).try_init();
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(place, "a task panicked: {}", panic.payload_as_str().unwrap_or("without a message"));
    }));
    Log { lines, filter: handle }
}

fn targets(filter: &str) -> Targets {
    filter.parse().unwrap_or_else(|_| Targets::new().with_default(LevelFilter::INFO))
}

impl Log {
    /// Takes another filter.
    pub fn set_filter(&self, filter: &str) {
        let _ = self.filter.reload(targets(filter));
    }

    /// Waits until everything is written.
    pub fn flush(&self) {
        let (state, changed) = &*self.lines.0;
        let mut state = state.lock();
        while !state.waiting.is_empty() || state.writing {
            changed.wait(&mut state);
        }
    }
}

#[derive(Debug, Default)]
struct State {
    waiting: Vec<u8>,
    writing: bool,
}

/// The buffer before stderr.
#[derive(Clone, Debug)]
struct Lines(Arc<(Mutex<State>, Condvar)>);

impl Lines {
    fn start() -> Self {
        let lines = Self(Arc::default());
        let shared = Arc::clone(&lines.0);
        let writer = move || {
            let (state, changed) = &*shared;
            let mut batch = Vec::new();
            loop {
                let mut state = state.lock();
                state.writing = false;
                changed.notify_all();
                while state.waiting.is_empty() {
                    changed.wait(&mut state);
                }
                std::mem::swap(&mut batch, &mut state.waiting);
                state.writing = true;
                drop(state);
                let _ = io::stderr().write_all(&batch);
                batch.clear();
            }
        };
        // Without the thread the buffer would fill and block: then lines are written where they arise.
        let _ = std::thread::Builder::new().name("log".to_owned()).stack_size(64 << 10).spawn(writer);
        lines
    }
}

impl Write for &Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let (state, changed) = &*self.0;
        let mut state = state.lock();
        while state.waiting.len() >= MOST_WAITING {
            changed.wait(&mut state);
        }
        let wake = state.waiting.is_empty();
        state.waiting.extend_from_slice(line);
        drop(state);
        if wake {
            changed.notify_all();
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = &'a Self;

    fn make_writer(&'a self) -> Self::Writer {
        self
    }
}
