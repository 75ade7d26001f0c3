//! `pulse help`: a command's help, and topics.

use clap::CommandFactory as _;
use serde_json::json;

use super::DONE;
use crate::{
    args::{Cli, system::Help},
    exit::{Failure, MEANINGS, Outcome},
    session::Session,
    ui::View,
};

const EXIT_CODES: View = View::new(&["code", "meaning"], &[]).id("code");

/// Topics beside the commands.
pub const TOPICS: [&str; 2] = ["exit-codes", "targets"];

const TARGETS: &str = "\
A command is about one target. The first of these that applies decides:

  1  --server URL              a Pulse server
  2  --local [--store STORE]   a store on this machine; without --store, the one of the settings
  3  --context NAME            a context made by pulse context set
  4  PULSE_SERVER              a Pulse server
  5  PULSE_STORE               a store on this machine
  6  .pulse.toml               in this folder or one above it: context or store, and org and project
  7  the default context       pulse context use NAME

The credential for a server is the first of: --token-file FILE, PULSE_TOKEN, PULSE_ADMIN_TOKEN, the
context's. It is the operator's token or a key's secret. A token is never a flag's value. A .pulse.toml
cannot name a server, so that only you decide where your tokens go.

PULSE_ORG and PULSE_PROJECT, then .pulse.toml, then the context, name the organization and the project of
commands that name none. pulse config explain shows every rule and which one decided.
";

pub(super) fn run(session: &Session, args: &Help) -> Outcome {
    match args.topic.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["exit-codes"] => {
            let mut list = session.printer.list(&EXIT_CODES)?;
            for (code, meaning) in MEANINGS {
                list.row(&json!({ "code": code, "meaning": meaning }))?;
            }
            list.finish()?;
        }
        ["targets"] => session.printer.script("help", "targets", TARGETS)?,
        path => {
            let text = help_of(path)?;
            session.printer.script("help", &path.join(" "), &text)?;
        }
    }
    DONE
}

fn help_of(path: &[&str]) -> Result<String, Failure> {
    let mut root = Cli::command();
    root.build();
    let mut command = &mut root;
    for name in path {
        command = command.find_subcommand_mut(name).ok_or_else(|| {
            Failure::usage(format!("there is no command or topic {:?}", path.join(" ")))
                .hint(format!("Topics: {}.", TOPICS.join(", ")))
        })?;
    }
    Ok(command.render_long_help().to_string())
}
