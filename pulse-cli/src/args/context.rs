//! `pulse context` and `pulse config`.

use std::path::PathBuf;

use clap::{ArgGroup, Args, Subcommand};

/// Contexts.
#[derive(Debug, Subcommand)]
pub enum Context {
    /// List contexts
    #[command(after_long_help = "Examples:\n  pulse context list -o json")]
    List,
    /// Make a context the default one
    Use(Use),
    /// Make or change a context
    Set(Set),
    /// Delete a context with its credential
    Delete(Delete),
}

/// `pulse context use`.
#[derive(Args, Debug)]
#[command(after_long_help = "Examples:\n  pulse context use prod")]
pub struct Use {
    /// Its name
    pub name: String,
}

/// `pulse context set`.
#[derive(Args, Debug)]
#[command(
    group(ArgGroup::new("place").args(["url", "path"])),
    after_long_help = "The first context becomes the default one. Credentials are kept apart from contexts, in a file that only you can read.

Examples:
  pulse context set prod --url https://pulse.example.com --credential-file - < token.txt
  pulse context set here --path sqlite:/var/lib/pulse/pulse.db
  pulse context set prod --default-project standup"
)]
pub struct Set {
    /// Its name
    pub name: String,
    /// The server's address; --server means the same here
    #[arg(long, value_name = "URL")]
    pub url: Option<String>,
    /// The store to open, instead of a server; --local --store means the same here
    #[arg(long, value_name = "STORE")]
    pub path: Option<String>,
    /// A file with the token for the server, or - for stdin; --token-file means the same here
    #[arg(long, value_name = "FILE")]
    pub credential_file: Option<PathBuf>,
    /// The organization of commands that name none
    #[arg(long, value_name = "ORG")]
    pub default_org: Option<String>,
    /// The project of commands that name none
    #[arg(long, value_name = "PROJECT")]
    pub default_project: Option<String>,
    /// Make it the default context
    #[arg(long)]
    pub make_default: bool,
}

/// `pulse context delete`.
#[derive(Args, Debug)]
#[command(after_long_help = "Examples:\n  pulse context delete old --yes")]
pub struct Delete {
    /// Its name
    pub name: String,
    /// If there is none, that is fine
    #[arg(long)]
    pub ignore_not_found: bool,
}

/// Settings of this command line.
#[derive(Debug, Subcommand)]
pub enum Config {
    /// Say which target a command would use, which rule decided, and which came after it
    #[command(
        after_long_help = "Examples:\n  pulse config explain\n  PULSE_SERVER=http://127.0.0.1:8080 pulse config explain -o json"
    )]
    Explain,
}
