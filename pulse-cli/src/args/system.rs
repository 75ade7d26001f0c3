//! `pulse audit`, `admin`, `api`, `completions`, `man`, `help`, `generate`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use pulse_core::model::audit::AuditOutcome;

use super::{
    Change, Paging,
    values::{Moment, word},
};

/// The audit log.
#[derive(Debug, Subcommand)]
pub enum Audit {
    /// List audit entries, newest first
    List(AuditList),
}

/// `pulse audit list`.
#[derive(Args, Debug)]
#[command(after_long_help = "Examples:
  pulse audit list --org acme --since 24h
  pulse audit list --action 'keys.*' -o jsonl --all
  pulse audit list --target prj_01J... -o wide")]
pub struct AuditList {
    /// Of this organization, by name or id
    #[arg(long)]
    pub org: Option<String>,
    /// By this actor's id
    #[arg(long, value_name = "ID")]
    pub actor: Option<String>,
    /// Of this action, or of all that begin so with a * at the end
    #[arg(long)]
    pub action: Option<String>,
    /// About the thing with this id
    #[arg(long, value_name = "ID")]
    pub target: Option<String>,
    /// With this outcome
    #[arg(long, value_parser = word::<AuditOutcome>(&["success", "denied", "error", "unknown"]))]
    pub outcome: Option<AuditOutcome>,
    /// Not before this: a time, or a span before now
    #[arg(long, value_name = "TIME")]
    pub since: Option<Moment>,
    /// Before this: a time, or a span before now
    #[arg(long, value_name = "TIME")]
    pub until: Option<Moment>,
    #[command(flatten)]
    pub paging: Paging,
}

/// The operator's token.
#[derive(Debug, Subcommand)]
pub enum Admin {
    /// Replace the operator's token; the old one stops at once
    Rotate(AdminRotate),
}

/// `pulse admin rotate`.
#[derive(Args, Debug)]
#[command(after_long_help = "Examples:
  pulse admin rotate --yes -q > admin-token.txt
  pulse admin rotate --token-to-file admin-token.txt --yes")]
pub struct AdminRotate {
    /// Write the new token to a new file that only you can read, and do not show it
    #[arg(long, value_name = "FILE")]
    pub token_to_file: Option<PathBuf>,
    #[command(flatten)]
    pub change: Change,
}

/// `pulse api`.
#[derive(Args, Debug)]
#[command(after_long_help = "Examples:
  pulse api GET /v1/projects
  pulse api POST /v1/organizations --data '{\"name\":\"acme\",\"admin_email\":\"ops@acme.example\"}'
  pulse api PUT /v1/projects/prj_01J... --data @change.json -H 'If-Match: \"3\"'")]
pub struct Api {
    /// The HTTP method
    #[arg(value_parser = ["GET", "POST", "PUT", "DELETE"], ignore_case = true)]
    pub method: String,
    /// The path, with its query
    pub path: String,
    /// The JSON body: text, @FILE, or - for stdin
    #[arg(long, short, value_name = "JSON", allow_hyphen_values = true)]
    pub data: Option<String>,
    /// A header; may be given several times
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE")]
    pub headers: Vec<String>,
}

/// A shell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Shell {
    /// Bash
    Bash,
    /// Zsh
    Zsh,
    /// Fish
    Fish,
    /// PowerShell
    Powershell,
}

/// `pulse completions`.
#[derive(Args, Debug)]
#[command(after_long_help = "Names of projects and keys are completed by asking the target.

Examples:
  pulse completions bash > ~/.local/share/bash-completion/completions/pulse
  pulse completions zsh > ~/.zfunc/_pulse
  pulse completions fish > ~/.config/fish/completions/pulse.fish")]
pub struct Completions {
    /// The shell
    #[arg(value_enum)]
    pub shell: Shell,
}

/// `pulse man`.
#[derive(Args, Debug)]
#[command(
    after_long_help = "Examples:\n  pulse man | man -l -\n  pulse man key rotate | man -l -\n  pulse man --folder ~/.local/share/man/man1"
)]
pub struct Man {
    /// The command; pulse itself when not said
    pub command: Vec<String>,
    /// Write the pages of all commands to this folder
    #[arg(long, value_name = "FOLDER", conflicts_with = "command")]
    pub folder: Option<PathBuf>,
}

/// `pulse help`.
#[derive(Args, Debug)]
pub struct Help {
    /// A command, or one of the topics exit-codes and targets
    pub topic: Vec<String>,
}

/// `pulse generate`.
#[derive(Args, Debug)]
pub struct Generate {
    /// The repository
    #[arg(long, default_value = ".", value_name = "FOLDER")]
    pub root: PathBuf,
    /// Write nothing; exit with 1 when a file is not as it would be written
    #[arg(long)]
    pub check: bool,
}
