//! What the benchmarks share: rows of the report, and small statistics.

pub(crate) mod http;
pub(crate) mod limits;
pub(crate) mod pipeline;
pub(crate) mod process;
pub(crate) mod store;

use std::{fmt, fmt::Write as _, time::Duration};

use hdrhistogram::Histogram;

/// Whether more or less is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Better {
    More,
    Less,
}

/// One line of the report.
#[derive(Debug)]
pub(crate) struct Row {
    what: String,
    unit: &'static str,
    measured: f64,
    /// What it must be at least; none where the figure is only told.
    least: Option<f64>,
    aim: Option<f64>,
    better: Better,
    note: String,
}

impl Row {
    /// A figure of which more is better; `bounds` are what it must be at least, and the aim.
    pub(crate) fn more(
        what: impl Into<String>,
        unit: &'static str,
        measured: f64,
        bounds: (f64, f64),
        note: String,
    ) -> Self {
        let (what, least, aim) = (what.into(), Some(bounds.0), Some(bounds.1));
        Self { what, unit, measured, least, aim, better: Better::More, note }
    }

    /// A figure of which less is better.
    pub(crate) fn less(
        what: impl Into<String>,
        unit: &'static str,
        measured: f64,
        bounds: (f64, f64),
        note: String,
    ) -> Self {
        Self { better: Better::Less, ..Self::more(what, unit, measured, bounds, note) }
    }

    /// A figure that stands beside the others and has no bounds.
    pub(crate) fn told(what: impl Into<String>, unit: &'static str, measured: f64, note: String) -> Self {
        Self::more(what, unit, measured, (0.0, 0.0), note).without_bounds()
    }

    /// The same as a figure that is only told.
    pub(crate) fn without_bounds(self) -> Self {
        Self { least: None, aim: None, ..self }
    }

    /// The same with nothing but an aim: to miss it fails nothing.
    pub(crate) fn only_aimed_at(self) -> Self {
        Self { least: None, ..self }
    }

    fn reaches(&self, bound: f64) -> bool {
        match self.better {
            Better::More => self.measured >= bound,
            Better::Less => self.measured <= bound,
        }
    }

    /// Whether the figure is what it must be at least.
    pub(crate) fn holds(&self) -> bool {
        self.least.is_none_or(|least| self.reaches(least))
    }
}

impl fmt::Display for Row {
    /// A row of the report's table.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = match (self.least, self.aim.is_some_and(|aim| self.reaches(aim)), self.holds()) {
            (_, true, _) => "aim",
            (None, false, _) => "told",
            (Some(_), false, true) => "holds",
            (Some(_), false, false) => "MISSED",
        };
        let bound = |bound: Option<f64>| bound.map_or_else(String::new, |bound| bound.to_string());
        let Self { what, unit, measured, note, .. } = self;
        let (least, aim) = (bound(self.least), bound(self.aim));
        write!(f, "| {what} | {measured:.2} {unit} | {least} | {aim} | {verdict} | {note} |")
    }
}

/// The report as Markdown.
pub(crate) fn report(rows: &[Row]) -> String {
    let mut text = String::from("| what | measured | at least | aim | verdict | note |\n|---|---|---|---|---|---|\n");
    for row in rows {
        let _ = writeln!(text, "{row}");
    }
    text
}

/// The median of an odd number of figures.
pub(crate) fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

/// A histogram of durations in nanoseconds, up to a minute.
pub(crate) fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 60_000_000_000, 3).expect("bounds")
}

pub(crate) fn record(histogram: &mut Histogram<u64>, took: Duration) {
    histogram.saturating_record(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX).max(1));
}

/// A percentile in milliseconds.
pub(crate) fn millis(histogram: &Histogram<u64>, percentile: f64) -> f64 {
    histogram.value_at_quantile(percentile) as f64 / 1e6
}

/// The release binary of that name.
pub(crate) fn binary(name: &str) -> std::path::PathBuf {
    let own = std::env::current_exe().expect("a program knows its path");
    own.parent().and_then(std::path::Path::parent).expect("target/release").join(name)
}
