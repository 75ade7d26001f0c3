//! `pulse session`.

use clap::{Args, Subcommand};
use pulse_core::media::room::RoomName;

use super::{Of, Paging, values::Moment};

/// Sessions.
#[derive(Debug, Subcommand)]
pub enum Session {
    /// List sessions of the project's rooms, latest start first
    List(List),
    /// Show a session and draw who was there when
    Show(Show),
}

/// `pulse session list`.
#[derive(Args, Debug)]
#[command(after_long_help = "Examples:
  pulse session list --project standup --live
  pulse session list --project standup --room daily --since 7d --all -o csv")]
pub struct List {
    #[command(flatten)]
    pub of: Of,
    /// Of this room
    #[arg(short, long)]
    pub room: Option<RoomName>,
    /// Only those that go on
    #[arg(long, conflicts_with = "ended")]
    pub live: bool,
    /// Only those that are over
    #[arg(long)]
    pub ended: bool,
    /// Started not before this: a time, or a span before now
    #[arg(long, value_name = "TIME")]
    pub since: Option<Moment>,
    /// Started before this: a time, or a span before now
    #[arg(long, value_name = "TIME")]
    pub until: Option<Moment>,
    #[command(flatten)]
    pub paging: Paging,
}

/// `pulse session show`.
#[derive(Args, Debug)]
#[command(
    after_long_help = "Each connection, egress and ingress has a line with a bar from its start to its end. An edge is | when
LiveKit told of it, ~ when Pulse inferred it, and > when it still goes on; what is not billed is drawn with -.

Examples:
  pulse session show daily --project standup
  pulse session show ses_01J... -o json --jq '.participants[].identity'"
)]
pub struct Show {
    /// Its id, or a room's name for the room's latest session
    #[arg(value_name = "SESSION")]
    pub session: String,
    #[command(flatten)]
    pub of: Of,
}
