//! `pulse events`, `pulse listen`, `pulse trigger`.

use clap::{Args, Subcommand, builder::PossibleValuesParser};
use pulse_core::{
    deliver::event_filter::EventTypePattern,
    id::{EventId, SessionId},
    media::room::RoomName,
    model::event::TEST_EVENT,
    ops::events::catalogue::TYPES,
};
use serde_json::Value;
use url::Url;

use super::{Change, Of, Paging, Sinks, values::Moment};

/// Events.
#[derive(Debug, Subcommand)]
pub enum Events {
    /// List the project's events, newest first; those of one session by their number
    List(List),
    /// Get an event
    Get(Get),
    /// Show events as they happen
    Tail(Tail),
}

/// Which events.
#[derive(Args, Clone, Debug, Default)]
pub struct Which {
    #[command(flatten)]
    pub of: Of,
    /// Of this type, or of types that begin so: 'participant_*'; may be given several times
    #[arg(long = "type", value_name = "TYPE")]
    pub types: Vec<EventTypePattern>,
    /// In this room
    #[arg(long)]
    pub room: Option<RoomName>,
    /// Of this session
    #[arg(long, value_name = "ID")]
    pub session: Option<SessionId>,
}

/// `pulse events list`.
#[derive(Args, Debug)]
#[command(after_long_help = "Examples:
  pulse events list --project standup --type 'participant_*' --since 1h
  pulse events list --project standup --session ses_01J... --after-sequence 12 --all -o jsonl")]
pub struct List {
    #[command(flatten)]
    pub which: Which,
    /// With a greater number in the session
    #[arg(long, value_name = "NUMBER", requires = "session")]
    pub after_sequence: Option<u64>,
    /// Recorded not before this: a time, or a span before now
    #[arg(long, value_name = "TIME", conflicts_with = "session")]
    pub since: Option<Moment>,
    /// Recorded before this: a time, or a span before now
    #[arg(long, value_name = "TIME", conflicts_with = "session")]
    pub until: Option<Moment>,
    #[command(flatten)]
    pub paging: Paging,
}

/// `pulse events get`.
#[derive(Args, Debug)]
#[command(after_long_help = "Examples:
  pulse events get evt_01J... --project standup
  pulse events get evt_01J... --project standup -o json --jq .data")]
pub struct Get {
    /// Its id
    pub event: EventId,
    #[command(flatten)]
    pub of: Of,
}

/// `pulse events tail`.
#[derive(Args, Debug)]
#[command(
    after_long_help = "The command goes on until it is interrupted. When the connection breaks, or the server is restarted, it
connects again and shows what happened meanwhile, nothing twice; it says so when something is lost. What has no end is
no JSON array: -o json needs --limit, -o jsonl does not.

Examples:
  pulse events tail --project standup
  pulse events tail --project standup --since 10m -o jsonl | jq .data.participant.identity
  pulse events tail --project standup --type room_ended --limit 1"
)]
pub struct Tail {
    #[command(flatten)]
    pub which: Which,
    /// What was recorded since then first: a time, or a span before now
    #[arg(long, value_name = "TIME", conflicts_with = "after")]
    pub since: Option<Moment>,
    /// Go on after this event
    #[arg(long, value_name = "ID")]
    pub after: Option<EventId>,
    /// End after so many events
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub limit: Option<u64>,
}

/// `pulse listen`.
#[derive(Args, Debug)]
#[command(
    after_long_help = "Each event is sent to a server on your machine, signed as webhooks are, with a secret that is made for this
run: it is the first thing that the command prints, or goes where the options of a sink say. Nothing is sent twice: what your server does not take is shown, and the next
event comes. The project needs no endpoint for it, and the endpoints that it has get their events all the
same. When the connection breaks, or the Pulse server is restarted, the command goes on where it was. What has no
end is no JSON array: -o json needs --limit, -o jsonl does not.

Examples:
  pulse listen --project standup --forward-to http://localhost:3000/hooks
  pulse listen --project standup --forward-to http://localhost:3000/hooks --events 'participant_*' --events room_ended
  pulse listen --project standup --forward-to http://localhost:3000/hooks --secret-to-env-file .env:WEBHOOK_SECRET"
)]
pub struct Listen {
    #[command(flatten)]
    pub of: Of,
    /// Where to
    #[arg(long, value_name = "URL")]
    pub forward_to: Url,
    /// Only of this type, or of types that begin so: 'participant_*'; may be given several times
    #[arg(long = "events", value_name = "TYPE")]
    pub types: Vec<EventTypePattern>,
    /// What was recorded since then first: a time, or a span before now
    #[arg(long, value_name = "TIME")]
    pub since: Option<Moment>,
    /// End after so many events
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub limit: Option<u64>,
    #[command(flatten)]
    pub sinks: Sinks,
}

/// `pulse trigger`.
#[derive(Args, Debug)]
#[command(
    after_long_help = "The event looks like a real one, is marked test, belongs to no session and is never billed. The project's
endpoints that want its type get it, and so does whoever tails or listens.

Examples:
  pulse trigger participant_joined --project standup
  pulse trigger participant_joined --project standup --room daily --set participant.identity=bob
  pulse trigger egress_ended --project standup --set egress.status=failed --set egress.error='no space left'"
)]
pub struct Trigger {
    /// The type of event
    #[arg(value_name = "TYPE", value_parser = PossibleValuesParser::new(TYPES.iter().map(|kind| kind.name).filter(|name| *name != TEST_EVENT)), hide_possible_values = true)]
    pub event_type: String,
    #[command(flatten)]
    pub of: Of,
    /// The room, everywhere where the event names it
    #[arg(long)]
    pub room: Option<RoomName>,
    /// Another value in the event's data: PATH=VALUE, the value as JSON or as a text ('"12"' is a text, 12 a number); may be
    /// given several times
    #[arg(long, value_name = "PATH=VALUE", value_parser = set)]
    pub set: Vec<(String, Value)>,
    #[command(flatten)]
    pub change: Change,
}

/// A path and a value: JSON where it is some, else a text.
fn set(text: &str) -> Result<(String, Value), String> {
    let (path, value) = text.split_once('=').ok_or("must be a path and a value: participant.identity=bob")?;
    Ok((path.to_owned(), serde_json::from_str(value).unwrap_or_else(|_| value.into())))
}
