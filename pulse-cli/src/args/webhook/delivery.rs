//! `pulse webhook delivery`.

use clap::{Args, Subcommand};
use clap_complete::engine::ArgValueCompleter;
use pulse_core::{
    deliver::state::Status,
    id::{DeliveryId, EventId},
    media::room::RoomName,
};

use crate::{
    args::{
        Change, Of, Paging,
        values::{Moment, word},
    },
    complete,
};

/// Deliveries.
#[derive(Debug, Subcommand)]
pub enum Delivery {
    /// List the project's deliveries, those of the newest events first
    List(Box<List>),
    /// Get a delivery with its event
    Get(Get),
    /// Show the attempts of a delivery, oldest first
    Attempts(Attempts),
    /// Send a delivery's event to its endpoint once more
    Resend(Resend),
}

/// `pulse webhook delivery list`.
#[derive(Args, Debug)]
#[command(after_long_help = "Examples:
  pulse webhook delivery list --project standup --status exhausted --from 24h
  pulse webhook delivery list --project standup --endpoint https://app.example/hooks --all -o jsonl
  pulse webhook delivery list --project standup --event evt_01J...")]
pub struct List {
    #[command(flatten)]
    pub of: Of,
    /// To this endpoint, by id or URL
    #[arg(long, value_name = "ENDPOINT", add = ArgValueCompleter::new(complete::endpoints))]
    pub endpoint: Option<String>,
    /// Of this event
    #[arg(long, value_name = "ID")]
    pub event: Option<EventId>,
    /// Of events of this type
    #[arg(long = "type", value_name = "TYPE")]
    pub event_type: Option<String>,
    /// Of events in this room
    #[arg(long)]
    pub room: Option<RoomName>,
    /// That stand so
    #[arg(long, value_parser = word::<Status>(&[
        "pending", "leased", "succeeded", "exhausted", "quarantined", "cancelled", "expired",
    ]))]
    pub status: Option<Status>,
    /// Of events since then: a time, or a span before now
    #[arg(long, value_name = "TIME")]
    pub from: Option<Moment>,
    /// Of events before then: a time, or a span before now
    #[arg(long, value_name = "TIME")]
    pub to: Option<Moment>,
    #[command(flatten)]
    pub paging: Paging,
}

/// `pulse webhook delivery get`.
#[derive(Args, Debug)]
#[command(after_long_help = "Examples:
  pulse webhook delivery get dlv_01J... --project standup
  pulse webhook delivery get dlv_01J... --project standup -o json --jq .event")]
pub struct Get {
    /// Its id
    pub delivery: DeliveryId,
    #[command(flatten)]
    pub of: Of,
}

/// `pulse webhook delivery attempts`.
#[derive(Args, Debug)]
#[command(after_long_help = "Examples:
  pulse webhook delivery attempts dlv_01J... --project standup
  pulse webhook delivery attempts dlv_01J... --project standup -o json --jq '.[-1].response_body'")]
pub struct Attempts {
    /// The delivery's id
    pub delivery: DeliveryId,
    #[command(flatten)]
    pub of: Of,
    #[command(flatten)]
    pub paging: Paging,
}

/// `pulse webhook delivery resend`.
#[derive(Args, Debug)]
#[command(after_long_help = "Examples:\n  pulse webhook delivery resend dlv_01J... --project standup -q")]
pub struct Resend {
    /// Its id
    pub delivery: DeliveryId,
    #[command(flatten)]
    pub of: Of,
    #[command(flatten)]
    pub change: Change,
}
