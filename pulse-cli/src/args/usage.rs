//! `pulse usage`.

use clap::{Args, Subcommand};
use pulse_core::model::usage::UsageType;

use super::{
    Of, Paging,
    values::{Moment, word},
};

const TYPES: &[&str] = &["participant_seconds", "agent_seconds", "egress_seconds", "ingress_seconds"];

/// Usage.
#[derive(Debug, Subcommand)]
pub enum Usage {
    /// Show what the project used, latest end first, and what goes on now
    Show(Show),
}

/// `pulse usage show`.
#[derive(Args, Debug)]
#[command(
    after_long_help = "What goes on now comes first and has no id. The totals of the rows shown, without what is not
billed, stand on stderr.

Examples:
  pulse usage show --project standup --since 24h --all
  pulse usage show --project standup --type egress_seconds -o csv --all"
)]
pub struct Show {
    #[command(flatten)]
    pub of: Of,
    /// Of this type
    #[arg(long = "type", value_name = "TYPE", value_parser = word::<UsageType>(TYPES))]
    pub event_type: Option<UsageType>,
    /// What ended not before this: a time, or a span before now
    #[arg(long, value_name = "TIME")]
    pub since: Option<Moment>,
    /// What ended before this: a time, or a span before now
    #[arg(long, value_name = "TIME")]
    pub until: Option<Moment>,
    #[command(flatten)]
    pub paging: Paging,
}
