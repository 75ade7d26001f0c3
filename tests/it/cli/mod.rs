//! The `pulse` command: the real program, without a terminal, each test in a home of its own.

mod api;
mod basics;
mod contexts;
mod events;
mod history;
mod key;
mod mistakes;
mod offline;
mod output;
mod parity;
mod prompts;
mod replay;
mod retries;
mod rotation;
mod store;
mod tree;
mod webhook;
mod webhook_offline;

use pulse_tests::cli::Cli;

/// A store with the organization acme and the project standup.
fn customer() -> Cli {
    let cli = Cli::with_store();
    cli.ok(&["org", "create", "acme", "--email", "ops@acme.example", "-q"]);
    cli.ok(&["project", "create", "standup", "--org", "acme", "-q"]);
    cli
}

/// Runs commands one after the other and shows all of it.
fn script(cli: &Cli, commands: &[&[&str]]) -> String {
    commands.iter().map(|arguments| cli.run(arguments).shown() + "\n").collect()
}
