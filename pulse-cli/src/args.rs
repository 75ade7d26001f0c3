//! The command line's definition: types only. Doc comments are the help that users read.

pub mod ban;
pub mod context;
pub mod events;
pub mod key;
pub mod org;
pub mod project;
pub mod session;
pub mod store;
pub mod system;
pub mod token;
pub mod usage;
pub mod values;
pub mod webhook;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::engine::ArgValueCompleter;

use crate::{complete, ui::jq::Program};

/// Control LiveKit tenants: organizations, projects, keys, media tokens, audit.
#[derive(Debug, Parser)]
#[command(
    name = "pulse",
    version,
    disable_help_subcommand = true,
    propagate_version = false,
    max_term_width = 100,
    after_help = "Exit codes: pulse help exit-codes. Targets: pulse help targets.",
    after_long_help = "Examples:
  pulse --local org create acme --email ops@acme.example
  pulse --local project create standup --org acme
  pulse --local token create --project standup --room daily --identity ada
  pulse context set prod --server https://pulse.example.com --token-file -
  pulse project list -o json --jq '.[].name'

Exit codes: pulse help exit-codes. Targets: pulse help targets."
)]
pub struct Cli {
    /// Options that every command takes.
    #[command(flatten)]
    pub global: Global,
    /// The command.
    #[command(subcommand)]
    pub command: Command,
}

/// The form of results.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// A table for people; piped, the same columns without borders and colour
    #[default]
    Table,
    /// A table with more columns
    Wide,
    /// JSON with the API's keys; a list is an array
    Json,
    /// One JSON document a line
    Jsonl,
    /// YAML
    Yaml,
    /// CSV with a header
    Csv,
    /// Names only, one a line
    Name,
}

/// When to colour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// On a terminal, unless NO_COLOR is set
    #[default]
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

/// Options that every command takes, before or after its name.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Output")]
pub struct Global {
    /// The form of the result
    #[arg(short, long, global = true, value_enum, default_value = "table", value_name = "FORMAT")]
    pub output: Output,
    /// Filter the JSON result with a jq expression; texts are printed without quotes
    #[arg(long, global = true, value_name = "EXPR")]
    pub jq: Option<Program>,
    /// Columns to show, by field name: id,name,created_at
    #[arg(long, global = true, value_name = "LIST", value_delimiter = ',')]
    pub columns: Vec<String>,
    /// Leave the header of tables and CSV out
    #[arg(long, global = true)]
    pub no_headers: bool,
    /// Print only the id (for a token, the token), and no notes
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// Show each HTTP request and answer on stderr, with secrets hidden
    #[arg(short, long, global = true)]
    pub verbose: bool,
    /// Print the request as a curl command instead of sending it
    #[arg(long, global = true)]
    pub curl: bool,
    /// When to colour
    #[arg(long, global = true, value_enum, default_value = "auto", value_name = "WHEN")]
    pub color: Color,
    /// Use the Pulse server at this address
    #[arg(long, global = true, value_name = "URL", conflicts_with_all = ["local", "context", "store"], help_heading = "Target")]
    pub server: Option<String>,
    /// Open the store itself instead of asking a server
    #[arg(long, global = true, conflicts_with = "context", help_heading = "Target")]
    pub local: bool,
    /// The store for --local: sqlite:PATH, mongodb://...
    #[arg(long, global = true, value_name = "STORE", requires = "local", help_heading = "Target")]
    pub store: Option<String>,
    /// Use this context
    #[arg(long, global = true, value_name = "NAME", help_heading = "Target")]
    pub context: Option<String>,
    /// Read the server's token from a file, or from stdin with -
    #[arg(long, global = true, value_name = "FILE", conflicts_with = "local", help_heading = "Target")]
    pub token_file: Option<PathBuf>,
    /// A file with variables for --local, as pulsed reads it
    #[arg(long, global = true, value_name = "FILE", help_heading = "Target")]
    pub env_file: Option<PathBuf>,
    /// A settings file for --local, as pulsed reads it
    #[arg(long, global = true, value_name = "FILE", help_heading = "Target")]
    pub config: Option<PathBuf>,
    /// Answer y/N questions with yes
    #[arg(short, long, global = true, help_heading = "Questions")]
    pub yes: bool,
    /// Confirm a deletion by the name of what is deleted
    #[arg(long, global = true, value_name = "NAME", help_heading = "Questions")]
    pub confirm: Option<String>,
    /// Never ask; fail where an answer is needed
    #[arg(long, global = true, help_heading = "Questions")]
    pub no_input: bool,
}

/// Every command.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Organizations: who pays, and whose projects these are
    #[command(subcommand, visible_alias = "organization")]
    Org(org::Org),
    /// Projects: the tenants of the media servers
    #[command(subcommand)]
    Project(project::Project),
    /// Keys of a project
    #[command(subcommand)]
    Key(key::Key),
    /// Media tokens: make and judge them, look into them
    #[command(subcommand)]
    Token(token::Token),
    /// Webhooks: endpoints, deliveries, tests
    #[command(subcommand)]
    Webhook(webhook::Webhook),
    /// Events: what happened in the project, and what happens now
    #[command(subcommand)]
    Events(events::Events),
    /// Send the project's events to a server on this machine, as they happen
    Listen(events::Listen),
    /// Make an event up, to try what gets it
    Trigger(Box<events::Trigger>),
    /// Sessions: what happened in the project's rooms, and who was there
    #[command(subcommand)]
    Session(session::Session),
    /// Bans: who may not be in the project's rooms
    #[command(subcommand)]
    Ban(ban::Ban),
    /// What projects use
    #[command(subcommand)]
    Usage(usage::Usage),
    /// The audit log
    #[command(subcommand)]
    Audit(system::Audit),
    /// Say which target is used and how it is
    #[command(after_long_help = "Examples:\n  pulse status\n  pulse status --server http://127.0.0.1:8080 -o json")]
    Status,
    /// Say who the target takes you for, and what you may do
    #[command(after_long_help = "Examples:\n  pulse whoami\n  pulse whoami -o json --jq .permissions")]
    Whoami,
    /// Targets with names
    #[command(subcommand)]
    Context(context::Context),
    /// Settings of this command line
    #[command(subcommand)]
    Config(context::Config),
    /// The operator's token
    #[command(subcommand)]
    Admin(system::Admin),
    /// The store itself: check, migrate, back up, restore
    #[command(subcommand)]
    Store(store::Store),
    /// Send any request to the API and print the answer
    Api(system::Api),
    /// Print a completion script for a shell
    Completions(system::Completions),
    /// Print a manual page, or write all of them to a folder
    Man(system::Man),
    /// Help on a command or a topic: exit-codes, targets
    Help(system::Help),
    /// Write completions, manual pages and the reference of this command line
    #[command(hide = true)]
    Generate(system::Generate),
}

/// What every change takes.
#[derive(Args, Clone, Debug, Default)]
pub struct Change {
    /// Check everything and say what would happen, but change nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// What a change to a versioned thing takes.
#[derive(Args, Clone, Debug, Default)]
pub struct VersionedChange {
    /// Check everything and say what would happen, but change nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Change it only while it has this version
    #[arg(long, value_name = "VERSION")]
    pub if_match: Option<u64>,
}

/// Of which project the keys or tokens are.
#[derive(Args, Clone, Debug, Default)]
pub struct Of {
    /// The project, by name or id; a project's key implies it
    #[arg(short, long, add = ArgValueCompleter::new(complete::projects))]
    pub project: Option<String>,
    /// The organization, where a project's name alone is ambiguous
    #[arg(long)]
    pub org: Option<String>,
}

/// Where a secret goes that was just made.
#[derive(Args, Clone, Debug, Default)]
pub struct Sinks {
    /// Run a command with the new secret on its stdin; may be given several times
    #[arg(long, value_name = "COMMAND", help_heading = "Sinks")]
    pub secret_to_cmd: Vec<String>,
    /// Write the new secret to a new file that only you can read
    #[arg(long, value_name = "FILE", help_heading = "Sinks")]
    pub secret_to_file: Vec<PathBuf>,
    /// Set a variable in an env file: FILE:NAME
    #[arg(long, value_name = "FILE:NAME", help_heading = "Sinks")]
    pub secret_to_env_file: Vec<String>,
    /// Set an output of a GitHub Actions step, masked in its log
    #[arg(long, value_name = "NAME", help_heading = "Sinks")]
    pub secret_to_github_output: Vec<String>,
}

/// What every list takes.
#[derive(Args, Clone, Debug, Default)]
pub struct Paging {
    /// Rows in all; 20 when not said
    #[arg(long, value_name = "N", conflicts_with = "all")]
    pub limit: Option<u32>,
    /// Where the page begins: the cursor that the page before named
    #[arg(long, value_name = "CURSOR")]
    pub cursor: Option<String>,
    /// All rows, page by page
    #[arg(long)]
    pub all: bool,
}
