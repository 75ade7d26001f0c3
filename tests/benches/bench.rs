//! The benchmarks: one program, one run, one report. `tests/bench` starts it.
//!
//! Where a row has a baseline, baseline and subject are measured in turns, and the figure is the ratio of their medians:
//! machines are noisy, and a ratio within one run is not. Figures without a baseline are distributions.

#![expect(clippy::expect_used, clippy::panic, reason = "a benchmark that cannot go on says why")]
#![expect(clippy::print_stdout, reason = "the report is what a benchmark is for")]
#![expect(clippy::disallowed_methods, reason = "a benchmark measures the machine's time")]

mod parts;

use parts::{
    Row, http, limits,
    pipeline::{self, Scale},
    process, store,
};

/// The flag that makes the parts about events and limits small: for a look at whether they work, in a debug build too.
const SMALL: &str = "--small";

/// One group of rows.
type Measure = fn(&tokio::runtime::Runtime, &Scale) -> Vec<Row>;

fn main() {
    let mut arguments = std::env::args().skip(1).filter(|argument| !argument.starts_with("--"));
    let first = arguments.next();
    if first.as_deref() == Some(http::BARE_SERVER) {
        return http::serve_bare(&arguments.next().expect("a file with the answer"));
    }
    let wanted = first.unwrap_or_default();
    let small = std::env::args().any(|argument| argument == SMALL);
    let scale = if small { Scale::SMALL } else { Scale::FULL };
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    let mut rows: Vec<Row> = Vec::new();
    let parts: [(&str, Measure); 16] = [
        ("token", |runtime, _| runtime.block_on(http::tokens())),
        ("key", |runtime, _| runtime.block_on(store::verification())),
        ("sqlite", |runtime, _| runtime.block_on(store::commits())),
        ("project", |runtime, _| runtime.block_on(http::projects())),
        ("start", |runtime, _| runtime.block_on(process::start_and_memory())),
        ("pulse", |_, _| process::command_line()),
        ("limits", |runtime, scale| runtime.block_on(limits::decisions(scale))),
        ("events load", |runtime, scale| runtime.block_on(pipeline::load(scale))),
        ("events ceiling", |runtime, scale| runtime.block_on(pipeline::ceiling(scale))),
        ("events drain", |runtime, scale| runtime.block_on(pipeline::drain(scale))),
        ("events neighbour", |runtime, scale| runtime.block_on(pipeline::neighbour(scale))),
        ("events memory", |runtime, scale| runtime.block_on(pipeline::memory(scale))),
        ("events stop", |runtime, scale| runtime.block_on(pipeline::stop_and_start(scale))),
        ("events streams", |runtime, scale| runtime.block_on(pipeline::streams(scale))),
        ("events replay", |runtime, scale| runtime.block_on(pipeline::replay(scale))),
        ("daemons", |runtime, scale| runtime.block_on(pipeline::daemons(scale))),
    ];
    for (name, measure) in parts {
        if name.contains(&wanted) {
            println!("measuring: {name}");
            let began = std::time::Instant::now();
            let measured = measure(&runtime, &scale);
            measured.iter().for_each(|row| println!("{row}"));
            println!("measured in {:.1} s", began.elapsed().as_secs_f64());
            rows.extend(measured);
        }
    }
    let report = parts::report(&rows);
    println!("\n{report}");
    if small {
        return;
    }
    std::fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/../target/bench-report.md"), &report)
        .expect("the report is written");
    if rows.iter().any(|row| !row.holds()) {
        panic!("a figure is below what it must be at least");
    }
}
