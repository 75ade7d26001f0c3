//! `pulse key`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use clap_complete::engine::ArgValueCompleter;
use ipnet::IpNet;
use pulse_core::{
    access::{Permission, key::Environment},
    media::{grants::Grant, room::RoomPattern},
    model::text::Name,
    time::Timestamp,
};

use super::{
    Change, Of, Paging, Sinks, VersionedChange,
    values::{Span, scope, word},
};
use crate::complete;

/// Keys.
#[derive(Debug, Subcommand)]
pub enum Key {
    /// Create a key; its secret is shown this once
    Create(Box<Create>),
    /// List the project's keys, newest first, without secrets
    List(List),
    /// Get a key, without its secret
    Get(Get),
    /// Replace a key, hand the new secret on, check it, and only then end the old one
    Rotate(Box<Rotate>),
    /// Revoke a key; it stops at once
    Revoke(Revoke),
    /// Show when each key was last used
    Usage(Usage),
    /// Find leaked keys and secrets in files, without a server
    Scan(Scan),
}

/// `pulse key create`.
#[derive(Args, Debug)]
#[command(after_long_help = "Examples:
  pulse key create backend --project standup
  pulse key create sales --project standup --scope tokens:mint --room 'sales-*' --max-ttl 1h --grant subscribe
  pulse key create ci --project standup --expires-in 90d --network 203.0.113.0/24 -o json --jq .pulse_api_secret")]
pub struct Create {
    /// What people call it
    pub name: Name,
    #[command(flatten)]
    pub of: Of,
    /// live or test
    #[arg(long, value_parser = word::<Environment>(&["live", "test"]))]
    pub environment: Option<Environment>,
    /// What it may do; may be given several times. When not said, all that a project's first key may
    #[arg(long = "scope", value_name = "SCOPE", value_delimiter = ',', value_parser = scope)]
    pub scopes: Vec<Permission>,
    /// Rooms that its tokens may be for, with * for any run of characters; may be given several times
    #[arg(long = "room", value_name = "PATTERN")]
    pub rooms: Vec<RoomPattern>,
    /// The longest life of its tokens
    #[arg(long, value_name = "SPAN")]
    pub max_ttl: Option<Span>,
    /// What its tokens may allow; may be given several times
    #[arg(long = "grant", value_name = "GRANT", value_delimiter = ',',
          value_parser = word::<Grant>(&["publish", "subscribe", "publish_data", "hidden"]))]
    pub grants: Vec<Grant>,
    /// From where it may be used, as a network; may be given several times
    #[arg(long = "network", value_name = "CIDR")]
    pub networks: Vec<IpNet>,
    /// When it ends
    #[arg(long, value_name = "TIME", conflicts_with = "expires_in")]
    pub expires_at: Option<Timestamp>,
    /// After which time it ends
    #[arg(long, value_name = "SPAN")]
    pub expires_in: Option<Span>,
    #[command(flatten)]
    pub change: Change,
}

/// What makes a list end with exit code 10.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum FailOn {
    /// Any row
    Any,
}

/// `pulse key list`.
#[derive(Args, Debug)]
#[command(after_long_help = "Examples:
  pulse key list --project standup
  pulse key list --project standup --expiring-within 14d --fail-on any")]
pub struct List {
    #[command(flatten)]
    pub of: Of,
    /// Revoked ones too
    #[arg(long)]
    pub include_revoked: bool,
    /// Only those that work now and end within this time; looks at all of them
    #[arg(long, value_name = "SPAN", conflicts_with_all = ["limit", "cursor"])]
    pub expiring_within: Option<Span>,
    /// Exit with 10 when a row is shown
    #[arg(long, value_enum, value_name = "WHAT")]
    pub fail_on: Option<FailOn>,
    #[command(flatten)]
    pub paging: Paging,
}

/// Which key, by id, name or public text.
#[derive(Args, Clone, Debug, Default)]
pub struct Which {
    /// Its id, name or public text
    #[arg(add = ArgValueCompleter::new(complete::keys))]
    pub key: String,
    #[command(flatten)]
    pub of: Of,
}

/// `pulse key get`.
#[derive(Args, Debug)]
#[command(after_long_help = "Examples:\n  pulse key get default --project standup")]
pub struct Get {
    #[command(flatten)]
    pub which: Which,
}

/// `pulse key revoke`.
#[derive(Args, Debug)]
#[command(after_long_help = "Examples:\n  pulse key revoke old-backend --project standup --yes")]
pub struct Revoke {
    #[command(flatten)]
    pub which: Which,
    /// Also when the project is left without a key
    #[arg(long)]
    pub force: bool,
    /// If there is none, that is fine
    #[arg(long)]
    pub ignore_not_found: bool,
    #[command(flatten)]
    pub change: VersionedChange,
}

/// `pulse key rotate`.
#[derive(Args, Debug)]
#[command(
    after_long_help = "With a sink or a check the rotation has four steps: a successor is made that already works but ends in 15
minutes unless it is kept; every sink gets the new secret on its stdin; the new secret is checked, first
by a call to Pulse, then by your commands; only then does the old key get its end. A failure before that
revokes the successor, leaves the old key as it was and exits 12, or 11 when a sink had stored the
secret. Commands run in a shell, without the variables that are Pulse's or LiveKit's or may hold their
secrets.

Examples:
  pulse key rotate default --project standup --yes
  pulse key rotate default --project standup --overlap 24h \\
      --secret-to-cmd 'gh secret set PULSE_API_SECRET -R acme/app' \\
      --verify 'curl -fsS https://app.example/healthz' --yes -o json
  pulse key rotate default --project standup --secret-to-env-file .env:PULSE_API_SECRET --yes"
)]
pub struct Rotate {
    #[command(flatten)]
    pub which: Which,
    /// For how long the old key still works; a day when not said
    #[arg(long, value_name = "SPAN")]
    pub overlap: Option<Span>,
    #[command(flatten)]
    pub sinks: Sinks,
    /// Run a command that must succeed before the old key is ended; may be given several times
    #[arg(long, value_name = "COMMAND", help_heading = "Sinks")]
    pub verify: Vec<String>,
    /// Show the new secret in the result even though a sink has it
    #[arg(long, help_heading = "Sinks")]
    pub show_secret: bool,
    #[command(flatten, next_help_heading = "Options")]
    pub change: Change,
}

/// `pulse key usage`.
#[derive(Args, Debug)]
#[command(after_long_help = "Warns of keys that were replaced and are still used.

Examples:
  pulse key usage --project standup
  pulse key usage --project standup --unused-for 90d --fail-on any")]
pub struct Usage {
    #[command(flatten)]
    pub of: Of,
    /// Only those not used for this time
    #[arg(long, value_name = "SPAN")]
    pub unused_for: Option<Span>,
    /// Exit with 10 when a row is shown
    #[arg(long, value_enum, value_name = "WHAT")]
    pub fail_on: Option<FailOn>,
}

/// `pulse key scan`.
#[derive(Args, Debug)]
#[command(
    after_long_help = "Finds secrets of keys, operator's tokens and signing secrets of webhooks (whsec_...; those of other services
that sign by Standard Webhooks look the same). Exits 1 when something is found. The secret itself is never
printed. Folders named .git, target and node_modules, symbolic links and files over 8 MiB are passed by.

Examples:
  pulse key scan .
  git diff --cached | pulse key scan -"
)]
pub struct Scan {
    /// Files and folders, or - for stdin
    #[arg(required = true, value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    /// Public keys too, which open nothing alone
    #[arg(long)]
    pub public: bool,
}
