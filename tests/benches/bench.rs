//! The benchmarks: one program, one run, one report. `tests/bench` starts it.
//!
//! Where a row has a baseline, baseline and subject are measured in turns, and the figure is the ratio of their medians:
//! machines are noisy, and a ratio within one run is not. Figures without a baseline are distributions.

#![expect(clippy::expect_used, clippy::panic, reason = "a benchmark that cannot go on says why")]
#![expect(clippy::print_stdout, reason = "the report is what a benchmark is for")]
#![expect(clippy::disallowed_methods, reason = "a benchmark measures the machine's time")]

mod parts;

use parts::{Row, http, process, store};

/// One group of rows.
type Measure = fn(&tokio::runtime::Runtime) -> Vec<Row>;

fn main() {
    let mut arguments = std::env::args().skip(1).filter(|argument| !argument.starts_with("--"));
    let first = arguments.next();
    if first.as_deref() == Some(http::BARE_SERVER) {
        return http::serve_bare(&arguments.next().expect("a file with the answer"));
    }
    let wanted = first.unwrap_or_default();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    let mut rows: Vec<Row> = Vec::new();
    let parts: [(&str, Measure); 6] = [
        ("token", |runtime| runtime.block_on(http::tokens())),
        ("key", |runtime| runtime.block_on(store::verification())),
        ("sqlite", |runtime| runtime.block_on(store::commits())),
        ("project", |runtime| runtime.block_on(http::projects())),
        ("start", |runtime| runtime.block_on(process::start_and_memory())),
        ("pulse", |_| process::command_line()),
    ];
    for (name, measure) in parts {
        if name.contains(&wanted) {
            println!("measuring: {name}");
            let measured = measure(&runtime);
            measured.iter().for_each(|row| println!("{row}"));
            rows.extend(measured);
        }
    }
    let report = parts::report(&rows);
    println!("\n{report}");
    std::fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/../target/bench-report.md"), &report)
        .expect("the report is written");
    if rows.iter().any(|row| !row.holds()) {
        panic!("a figure is below what it must be at least");
    }
}
