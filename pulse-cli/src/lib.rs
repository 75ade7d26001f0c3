//! The `pulse` command line, as a library: [`main`] is the whole program.
//!
//! - [`args`] is the command line's definition and its help, nothing else.
//! - [`cmd`] turns arguments into operations of `pulse_core`, calls them and shows the answers.
//! - [`client`] does an operation on a local store or over HTTP; no command asks which.
//! - [`target`] decides which of the two, [`profile`] keeps contexts and credentials.
//! - [`ui`] owns stdout and stderr; [`exit`] says how an invocation ends.

pub mod advice;
pub mod args;
pub mod client;
pub mod cmd;
pub mod complete;
pub mod env;
pub mod exit;
pub mod generate;
pub mod input;
pub mod names;
pub mod pages;
pub mod profile;
pub mod session;
pub mod target;
pub mod ui;

use std::process::ExitCode;

use clap::{CommandFactory as _, FromArgMatches as _};

use crate::{args::Cli, env::Env, exit::Failure, session::Session, ui::Printer};

/// Runs one invocation and gives its exit code.
pub fn main() -> ExitCode {
    let env = Env::of_process();
    if env.get("COMPLETE").is_some() {
        return complete::answer();
    }
    let parsed = Cli::command().try_get_matches().and_then(|matches| Cli::from_arg_matches(&matches));
    let cli = match parsed {
        Ok(cli) => cli,
        Err(error) => return refuse(&error, &env),
    };
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else {
        return ExitCode::FAILURE;
    };
    let session = Session::new(cli.global, env);
    let outcome = runtime.block_on(cmd::run(&session, cli.command));
    // A blocked read of stdin must not keep the process.
    runtime.shutdown_background();
    ExitCode::from(session.finish(outcome))
}

/// What clap has to say: help and version on stdout, faults on stderr in the form that was asked for.
fn refuse(error: &clap::Error, env: &Env) -> ExitCode {
    let arguments: Vec<String> = std::env::args_os().skip(1).map(|text| text.to_string_lossy().into_owned()).collect();
    let printer = Printer::before_parsing(&arguments, env);
    if !error.use_stderr() {
        return ExitCode::from(printer.help(&error.render()));
    }
    let failure = if printer.is_machine() {
        Failure::usage(first_sentence(&error.to_string()))
    } else {
        Failure::stop().exit(exit::USAGE)
    };
    if failure.is_silent() {
        printer.usage(&error.render());
    } else {
        printer.failure(&failure);
    }
    ExitCode::from(exit::USAGE)
}

/// The message of a clap error without its label, usage and advice.
fn first_sentence(text: &str) -> String {
    let paragraph = text.split("\n\n").next().unwrap_or(text);
    let lines: Vec<&str> = paragraph.lines().map(str::trim).collect();
    lines.join(" ").trim_start_matches("error: ").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_of_the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_leaf_has_examples() {
        fn walk(command: &clap::Command, path: &str) {
            for child in command.get_subcommands().filter(|child| !child.is_hide_set()) {
                let path = format!("{path} {}", child.get_name());
                let examples = child.get_after_long_help().is_some_and(|text| text.to_string().contains("Examples:"));
                assert!(child.has_subcommands() || examples || path == "pulse help", "{path} has no examples");
                walk(child, &path);
            }
        }
        walk(&Cli::command(), "pulse");
    }
}
