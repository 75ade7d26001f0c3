//! `pulse webhook endpoint`.

use std::path::PathBuf;

use clap::{ArgGroup, Args, Subcommand, ValueEnum};
use clap_complete::engine::ArgValueCompleter;
use pulse_core::{
    deliver::{event_filter::EventTypePattern, schedule::Schedule},
    model::text::{Note, WebhookUrl},
};

use crate::{
    args::{
        Change, Of, Paging, Sinks, VersionedChange,
        values::{Header, HeaderParser, Rate, SecretPath, Span},
    },
    complete,
};

/// Endpoints.
#[derive(Debug, Subcommand)]
pub enum Endpoint {
    /// Create an endpoint; its signing secret is shown this once
    Create(Box<Create>),
    /// List the project's endpoints, newest first, with how they are doing
    List(List),
    /// Get an endpoint
    Get(Get),
    /// Change an endpoint; what is not named stays
    Update(Box<Update>),
    /// Delete an endpoint; what waits for it is cancelled
    Delete(Delete),
    /// Keep events for it, and send them when it is resumed
    Pause(WithReason),
    /// Let a paused endpoint go on
    Resume(Moved),
    /// Send nothing to it, and keep no new event for it
    Disable(WithReason),
    /// Let a disabled endpoint go on
    Enable(Moved),
    /// Replace the signing secret; the old one still signs for a while
    RotateSecret(Box<RotateSecret>),
}

/// Which endpoint, by id or URL.
#[derive(Args, Clone, Debug, Default)]
pub struct Which {
    /// Its id or URL
    #[arg(add = ArgValueCompleter::new(complete::endpoints))]
    pub endpoint: String,
    #[command(flatten)]
    pub of: Of,
}

/// How an endpoint is sent to.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Sending")]
pub struct Sending {
    /// What it is for
    #[arg(long, value_name = "TEXT")]
    pub description: Option<Note>,
    /// A type of event, or the beginning of some and a *; may be given several times. When not said, every type
    #[arg(long = "event", value_name = "TYPE", value_delimiter = ',')]
    pub events: Vec<EventTypePattern>,
    /// A header to send along, with its value from a file or, with -, from stdin; may be given several times
    #[arg(long, value_name = "NAME=FILE", value_parser = HeaderParser)]
    pub header_from: Vec<Header>,
    /// A header to send along, with its value from a variable; may be given several times
    #[arg(long, value_name = "NAME=VARIABLE", value_parser = HeaderParser)]
    pub header_env: Vec<Header>,
    /// When failed deliveries are tried again: default, plan, or seconds with commas between
    #[arg(long, value_name = "WAITS")]
    pub schedule: Option<Schedule>,
    /// How many deliveries a second, and after a slash how many at once after a pause: 5 or 5/20
    #[arg(long, value_name = "N[/BURST]")]
    pub rate: Option<Rate>,
    /// For how long it may take to answer, up to 15s
    #[arg(long, value_name = "SPAN")]
    pub timeout: Option<Span>,
    /// How many deliveries at once, up to 256
    #[arg(long, value_name = "N")]
    pub max_in_flight: Option<u32>,
}

/// `pulse webhook endpoint create`.
#[derive(Args, Debug)]
#[command(after_long_help = "Examples:
  pulse webhook endpoint create https://app.example/hooks --project standup
  pulse webhook endpoint create https://app.example/hooks --project standup --event 'room_*' \\
      --header-env Authorization=HOOK_AUTH --secret-to-env-file .env:PULSE_WEBHOOK_SECRET
  pulse webhook endpoint create https://app.example/hooks --project standup --secret-file - < secret.txt")]
pub struct Create {
    /// Where events are sent
    pub url: WebhookUrl,
    #[command(flatten)]
    pub of: Of,
    #[command(flatten)]
    pub sending: Sending,
    #[command(flatten)]
    pub secret: Secret,
    /// If the project has one with this URL, show it, without its secret, instead of making another
    #[arg(long, help_heading = "Options")]
    pub if_not_exists: bool,
    #[command(flatten, next_help_heading = "Options")]
    pub change: Change,
}

/// The signing secret of an endpoint.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Sinks")]
pub struct Secret {
    /// A file with a signing secret to use, or - for stdin; a new one is made when not said
    #[arg(long, value_name = "FILE", value_parser = SecretPath::SIGNING)]
    pub secret_file: Option<PathBuf>,
    #[command(flatten)]
    pub sinks: Sinks,
    /// Show the secret in the result even though a sink has it
    #[arg(long, help_heading = "Sinks")]
    pub show_secret: bool,
}

/// `pulse webhook endpoint list`.
#[derive(Args, Debug)]
#[command(after_long_help = "Examples:
  pulse webhook endpoint list --project standup
  pulse webhook endpoint list --project standup -o json --jq 'map(select(.state != \"active\"))'")]
pub struct List {
    #[command(flatten)]
    pub of: Of,
    #[command(flatten)]
    pub paging: Paging,
}

/// `pulse webhook endpoint get`.
#[derive(Args, Debug)]
#[command(after_long_help = "Examples:\n  pulse webhook endpoint get https://app.example/hooks --project standup")]
pub struct Get {
    #[command(flatten)]
    pub which: Which,
}

/// What an update can clear.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Clearable {
    /// What it is for
    Description,
    /// The types: every type is sent
    Events,
    /// All headers
    Headers,
    /// Its own schedule
    Schedule,
    /// Its own rate
    Rate,
    /// Its own time to answer
    Timeout,
    /// How many deliveries at once
    MaxInFlight,
}

/// `pulse webhook endpoint update`.
#[derive(Args, Debug)]
#[command(group(ArgGroup::new("something").required(true).multiple(true).args([
    "url", "description", "events", "header_from", "header_env", "schedule", "rate", "timeout", "max_in_flight", "clear",
])), after_long_help = "Types and headers are set all anew. With another scheme, host or port in --url, headers must be given again or
cleared: their values were given for the server before.

Examples:
  pulse webhook endpoint update ep_01J... --project standup --url https://new.example/hooks
  pulse webhook endpoint update ep_01J... --project standup --event 'room_*,participant_*' --clear rate")]
pub struct Update {
    #[command(flatten)]
    pub which: Which,
    /// Where events are sent
    #[arg(long, value_name = "URL")]
    pub url: Option<WebhookUrl>,
    #[command(flatten)]
    pub sending: Sending,
    /// What to clear
    #[arg(long, value_enum, value_delimiter = ',', value_name = "FIELDS", help_heading = "Options")]
    pub clear: Vec<Clearable>,
    #[command(flatten, next_help_heading = "Options")]
    pub change: VersionedChange,
}

/// `pulse webhook endpoint delete`.
#[derive(Args, Debug)]
#[command(after_long_help = "Examples:\n  pulse webhook endpoint delete ep_01J... --project standup --yes")]
pub struct Delete {
    #[command(flatten)]
    pub which: Which,
    /// If there is none, that is fine
    #[arg(long)]
    pub ignore_not_found: bool,
    #[command(flatten)]
    pub change: VersionedChange,
}

/// `pulse webhook endpoint pause` and `disable`.
#[derive(Args, Debug)]
#[command(after_long_help = "Examples:
  pulse webhook endpoint pause ep_01J... --project standup --reason 'the shop moves'
  pulse webhook endpoint disable ep_01J... --project standup --yes")]
pub struct WithReason {
    #[command(flatten)]
    pub which: Which,
    /// Why
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<Note>,
    #[command(flatten)]
    pub change: VersionedChange,
}

/// `pulse webhook endpoint resume` and `enable`.
#[derive(Args, Debug)]
#[command(after_long_help = "Examples:
  pulse webhook endpoint resume ep_01J... --project standup
  pulse webhook endpoint enable ep_01J... --project standup")]
pub struct Moved {
    #[command(flatten)]
    pub which: Which,
    #[command(flatten)]
    pub change: VersionedChange,
}

/// `pulse webhook endpoint rotate-secret`.
#[derive(Args, Debug)]
#[command(
    after_long_help = "While both secrets live, every delivery has a signature with each, so that the receiver can change
over at any moment of the overlap. Commands run in a shell, without the variables that are Pulse's or
LiveKit's or may hold their secrets.

Examples:
  pulse webhook endpoint rotate-secret ep_01J... --project standup --yes
  pulse webhook endpoint rotate-secret ep_01J... --project standup --overlap 7d \\
      --secret-to-cmd 'gh secret set PULSE_WEBHOOK_SECRET -R acme/app' --yes"
)]
pub struct RotateSecret {
    #[command(flatten)]
    pub which: Which,
    /// For how long the old secret still signs, up to 7d; a day when not said
    #[arg(long, value_name = "SPAN")]
    pub overlap: Option<Span>,
    #[command(flatten)]
    pub secret: Secret,
    #[command(flatten, next_help_heading = "Options")]
    pub change: VersionedChange,
}
