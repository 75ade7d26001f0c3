//! The daemon of Pulse. Everything is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    pulsed::main()
}
