//! The daemon of Pulse: settings, HTTP, signals and workers around [`pulse_core::plane::ControlPlane`]. No rule of the
//! control plane is here; routes, permissions and documents are read off the registry.
//!
//! - [`args`], [`config`]: flags and the other sources of settings.
//! - [`boot`], [`dev`]: from settings to a plane, and what `--dev` makes.
//! - [`server`], [`http`]: connections, and what happens with a request.
//! - [`lifecycle`]: start, signals, drain, end.
//! - [`logging`], [`generate`]: the log, and the documents that are made from tables.

pub mod args;
pub mod boot;
pub mod config;
pub mod dev;
pub mod generate;
pub mod http;
pub mod lifecycle;
pub mod logging;
pub mod server;
mod terminal;

use std::process::ExitCode;

use pulse_core::error::Result;

use crate::args::Command;

/// Does what the command line says. Errors are told on stderr with a hint, and their code's exit code is returned.
pub fn main() -> ExitCode {
    let invocation = match args::parse() {
        Ok(invocation) => invocation,
        Err(answer) => return answer,
    };
    match run(&invocation) {
        Ok(code) => code,
        Err(error) => {
            terminal::show_error(&error);
            ExitCode::from(error.code().info().exit)
        }
    }
}

fn run(invocation: &args::Invocation) -> Result<ExitCode> {
    match &invocation.command {
        Command::Generate { root, check } => return generate::docs(root, *check),
        Command::Check => return Ok(config::check(invocation)),
        Command::Serve => {}
    }
    let start = config::start(invocation)?;
    let log = logging::start(&start.settings);
    let result = lifecycle::serve(invocation, start, &log);
    log.flush();
    result.map(|()| ExitCode::SUCCESS)
}
