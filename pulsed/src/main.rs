//! The daemon of Pulse. Everything is in the library.

use std::process::ExitCode;

/// Keeps many small things in a tenth less memory than the system's allocator, and gives them out faster.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    pulsed::main()
}
