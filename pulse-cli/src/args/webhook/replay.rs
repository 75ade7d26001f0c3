//! `pulse webhook replay`.

use clap::{Args, Subcommand};
use clap_complete::engine::ArgValueCompleter;
use pulse_core::{deliver::event_filter::EventTypePattern, id::JobId, media::room::RoomName, model::replay::MAX_RATE};

use crate::{
    args::{
        Change, Of, Paging,
        values::{Moment, Span},
    },
    complete,
};

/// `pulse webhook replay`: starts one, or looks at one.
#[derive(Args, Debug)]
#[command(
    args_conflicts_with_subcommands = true,
    after_long_help = "What happened in a span of time is sent to the project's endpoints once more, or for the first time, oldest
first, behind everything else that waits for them. Events are the same to the byte, with the same webhook-id
and the header pulse-replay. Without --failed, --missing or --all, --failed is meant. See what would be sent
with --dry-run first: it counts up to 10,000 events, for two seconds.

The server goes on with a replay when the command has ended. On a terminal the command stays and shows how far
it is; anywhere else, with --wait. It then ends with 12 when the replay was cancelled or failed, and with 8 when
it has not ended in time.

Examples:
  pulse webhook replay --project standup --failed --since 2h --dry-run
  pulse webhook replay --project standup --failed --since 2h --endpoint https://app.example/hooks --yes --wait
  pulse webhook replay --project standup --missing --endpoint ep_01J... --rate 50 --yes
  pulse webhook replay --project standup --all --type 'participant_*' --room daily --since 2026-01-31T12:00:00Z --yes
  pulse webhook replay cancel job_01J... --project standup"
)]
pub struct Replay {
    #[command(subcommand)]
    pub command: Option<Command>,
    #[command(flatten)]
    pub start: Start,
}

/// What is done with replays that there are.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// List the project's replays, newest first
    List(List),
    /// Get a replay, with how far it is
    Get(Get),
    /// Stop a running replay: what it has made is sent, and no more is made
    Cancel(Cancel),
}

/// What is sent to whom.
#[derive(Args, Debug)]
pub struct Start {
    #[command(flatten)]
    pub of: Of,
    /// Events whose latest delivery to the endpoint was given up
    #[arg(long, conflicts_with_all = ["missing", "all"])]
    pub failed: bool,
    /// Events of which there never was a delivery to the endpoint
    #[arg(long, conflicts_with = "all")]
    pub missing: bool,
    /// All events that the endpoint wants, also those that it has taken
    #[arg(long)]
    pub all: bool,
    /// Recorded not before this: a time, or a span before now
    #[arg(long, value_name = "TIME")]
    pub since: Option<Moment>,
    /// Recorded before this: a time, or a span before now
    #[arg(long, value_name = "TIME")]
    pub until: Option<Moment>,
    /// Only of this type, or of types that begin so: 'participant_*'; may be given several times
    #[arg(long = "type", value_name = "TYPE")]
    pub types: Vec<EventTypePattern>,
    /// Only in this room; may be given several times
    #[arg(long = "room", value_name = "ROOM")]
    pub rooms: Vec<RoomName>,
    /// To this endpoint alone, by id or URL
    #[arg(long, value_name = "ENDPOINT", add = ArgValueCompleter::new(complete::endpoints))]
    pub endpoint: Option<String>,
    /// At most so many deliveries a second
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_RATE)))]
    pub rate: Option<u32>,
    /// Wait until the replay has ended
    #[arg(long)]
    pub wait: bool,
    /// For how long to wait
    #[arg(long, value_name = "SPAN", default_value = "1h", requires = "wait")]
    pub timeout: Span,
    #[command(flatten)]
    pub change: Change,
}

/// `pulse webhook replay list`.
#[derive(Args, Debug)]
#[command(after_long_help = "Examples:\n  pulse webhook replay list --project standup")]
pub struct List {
    #[command(flatten)]
    pub of: Of,
    #[command(flatten)]
    pub paging: Paging,
}

/// `pulse webhook replay get`.
#[derive(Args, Debug)]
#[command(after_long_help = "Examples:
  pulse webhook replay get job_01J... --project standup
  pulse webhook replay get job_01J... --project standup -o json --jq .percent")]
pub struct Get {
    /// Its id
    pub replay: JobId,
    #[command(flatten)]
    pub of: Of,
}

/// `pulse webhook replay cancel`.
#[derive(Args, Debug)]
#[command(after_long_help = "Examples:\n  pulse webhook replay cancel job_01J... --project standup -o name")]
pub struct Cancel {
    /// Its id
    pub replay: JobId,
    #[command(flatten)]
    pub of: Of,
    #[command(flatten)]
    pub change: Change,
}
