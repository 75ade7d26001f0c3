//! The `pulse` command: everything is in the library beside it.

use std::process::ExitCode;

fn main() -> ExitCode {
    pulse_cli::main()
}
