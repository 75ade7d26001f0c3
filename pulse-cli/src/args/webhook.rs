//! `pulse webhook`.

pub mod delivery;
pub mod endpoint;
pub mod offline;
pub mod replay;

use clap::{Args, Subcommand};

use super::{Change, values::Span};

/// Webhooks.
#[derive(Debug, Subcommand)]
pub enum Webhook {
    /// Endpoints: where a project's events are sent
    #[command(subcommand)]
    Endpoint(endpoint::Endpoint),
    /// Deliveries: events on their way to an endpoint, and what became of them
    #[command(subcommand)]
    Delivery(delivery::Delivery),
    /// Send what happened in a span of time once more, or for the first time
    Replay(Box<replay::Replay>),
    /// Send a test event to an endpoint
    Test(Test),
    /// Check a webhook as its receiver does, without a server
    Verify(offline::Verify),
    /// Sign a body as Pulse does, to try a receiver, without a server
    Sign(offline::Sign),
}

/// `pulse webhook test`.
#[derive(Args, Debug)]
#[command(
    after_long_help = "The event is of the type endpoint.test and marked test, whatever types the endpoint wants. With --wait the
command ends when the endpoint has answered: with 12 when it did not take the event, and with 8 when
nothing came of it in time. A failed test is tried again like any other delivery.

Examples:
  pulse webhook test https://app.example/hooks --project standup --wait
  pulse webhook test ep_01J... --project standup -q"
)]
pub struct Test {
    #[command(flatten)]
    pub which: endpoint::Which,
    /// Wait until the endpoint has answered
    #[arg(long)]
    pub wait: bool,
    /// For how long to wait
    #[arg(long, value_name = "SPAN", default_value = "30s", requires = "wait")]
    pub timeout: Span,
    #[command(flatten)]
    pub change: Change,
}
