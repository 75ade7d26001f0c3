//! `pulse ban`.

use clap::{Args, Subcommand};
use pulse_core::{
    media::room::{Identity, RoomName},
    model::text::Note,
    time::Timestamp,
};

use super::{Change, Of, Paging, values::Span};

/// Bans.
#[derive(Debug, Subcommand)]
pub enum Ban {
    /// Ban an identity from a room or from all of the project; who is there now is put out
    Create(Create),
    /// List bans, newest first
    List(List),
    /// Lift a ban
    Delete(Delete),
}

/// `pulse ban create`.
#[derive(Args, Debug)]
#[command(after_long_help = "Banning again replaces the reason and the end.

Examples:
  pulse ban create mallory --project standup
  pulse ban create mallory --project standup --room daily --reason spam --expires-in 7d")]
pub struct Create {
    /// Who
    pub identity: Identity,
    #[command(flatten)]
    pub of: Of,
    /// From which room; from all when not said
    #[arg(short, long)]
    pub room: Option<RoomName>,
    /// Why
    #[arg(long)]
    pub reason: Option<Note>,
    /// When it ends by itself
    #[arg(long, value_name = "TIME", conflicts_with = "expires_in")]
    pub expires_at: Option<Timestamp>,
    /// After which time it ends by itself
    #[arg(long, value_name = "SPAN")]
    pub expires_in: Option<Span>,
    #[command(flatten)]
    pub change: Change,
}

/// `pulse ban list`.
#[derive(Args, Debug)]
#[command(after_long_help = "Examples:\n  pulse ban list --project standup --all")]
pub struct List {
    #[command(flatten)]
    pub of: Of,
    /// Of this identity
    #[arg(long)]
    pub identity: Option<Identity>,
    #[command(flatten)]
    pub paging: Paging,
}

/// `pulse ban delete`.
#[derive(Args, Debug)]
#[command(after_long_help = "Examples:
  pulse ban delete mallory --project standup
  pulse ban delete mallory --project standup --room daily")]
pub struct Delete {
    /// Its id, or the banned identity
    pub ban: String,
    #[command(flatten)]
    pub of: Of,
    /// The room that the identity is banned from, where there are several bans of it
    #[arg(short, long)]
    pub room: Option<RoomName>,
    /// If there is none, that is fine
    #[arg(long)]
    pub ignore_not_found: bool,
    #[command(flatten)]
    pub change: Change,
}
