//! `pulse token`.

use std::path::PathBuf;

use clap::{ArgGroup, Args, Subcommand, ValueEnum};
use pulse_core::{
    media::{
        grants::TrackSource,
        room::{DisplayName, Identity, RoomName},
    },
    model::text::{Note, PresetName, RegionName},
};

use super::{
    Change, Of,
    values::{Moment, SecretPath, Span, pair, word},
};
const SOURCES: &[&str] = &["camera", "microphone", "screen_share", "screen_share_audio"];

/// Media tokens.
#[derive(Debug, Subcommand)]
pub enum Token {
    /// Make a token with which a client joins a room
    Create(Box<Create>),
    /// Say whether a token of the project is good, and if not, why
    Validate(Validate),
    /// Replace a token by one that ends later
    Refresh(Refresh),
    /// Revoke tokens by token, identity, room, or all of the project
    Revoke(Revoke),
    /// Explain a LiveKit token in words, without a server
    Inspect(Inspect),
    /// List the traps in a LiveKit token, without a server
    Lint(Lint),
    /// Check a LiveKit token's signature with a key pair, without a server
    Verify(Verify),
}

/// `pulse token create`.
#[derive(Args, Debug)]
#[command(after_long_help = "Examples:
  pulse token create --project standup --room daily --identity ada
  pulse token create --project standup --room daily --identity tv --preset viewer --ttl 8h -q
  pulse token create --project standup --room daily --identity bot --can-publish=false --hidden=true")]
pub struct Create {
    #[command(flatten)]
    pub of: Of,
    /// The room
    #[arg(short, long)]
    pub room: RoomName,
    /// Who joins: unique in the room
    #[arg(short, long)]
    pub identity: Identity,
    /// What the participant is called
    #[arg(long)]
    pub name: Option<DisplayName>,
    /// A named set of grants: host, speaker, viewer, or the project's own
    #[arg(long)]
    pub preset: Option<PresetName>,
    /// How long it is good; 4 hours when not said
    #[arg(long, value_name = "SPAN")]
    pub ttl: Option<Span>,
    /// Send audio and video
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", help_heading = "Grants")]
    pub can_publish: Option<bool>,
    /// Receive audio and video
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", help_heading = "Grants")]
    pub can_subscribe: Option<bool>,
    /// Send data messages; as --can-publish when not said
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", help_heading = "Grants")]
    pub can_publish_data: Option<bool>,
    /// Which tracks may be sent; all when not said
    #[arg(long = "source", value_name = "SOURCE", value_delimiter = ',', value_parser = word::<TrackSource>(SOURCES), help_heading = "Grants")]
    pub sources: Vec<TrackSource>,
    /// Be in the room without being shown
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", help_heading = "Grants")]
    pub hidden: Option<bool>,
    /// A text that other participants see
    #[arg(long, help_heading = "Participant")]
    pub metadata: Option<String>,
    /// An attribute that other participants see; may be given several times
    #[arg(long = "attribute", value_name = "NAME=VALUE", value_parser = pair, help_heading = "Participant")]
    pub attributes: Vec<(String, String)>,
    /// The region in which the client wants to connect
    #[arg(long, help_heading = "Participant")]
    pub region: Option<RegionName>,
    /// A JSON file with LiveKit's room configuration, or - for stdin
    #[arg(long, value_name = "FILE", help_heading = "Participant")]
    pub room_config_file: Option<PathBuf>,
}

/// `pulse token validate`.
#[derive(Args, Debug)]
#[command(after_long_help = "Exits 1 when the token is bad.

Examples:
  pulse token validate - --project standup < token.txt")]
pub struct Validate {
    /// The token, or - for stdin
    #[arg(allow_hyphen_values = true)]
    pub token: String,
    #[command(flatten)]
    pub of: Of,
}

/// `pulse token refresh`.
#[derive(Args, Debug)]
#[command(after_long_help = "Examples:\n  pulse token refresh - --project standup --ttl 1h -q < token.txt")]
pub struct Refresh {
    /// The token, or - for stdin
    #[arg(allow_hyphen_values = true)]
    pub token: String,
    #[command(flatten)]
    pub of: Of,
    /// How long the new one is good; as long as the old one was when not said
    #[arg(long, value_name = "SPAN")]
    pub ttl: Option<Span>,
}

/// `pulse token revoke`.
#[derive(Args, Debug)]
#[command(
    group(ArgGroup::new("subject").required(true).args(["token", "jti", "identity", "room", "every"])),
    after_long_help = "A client that is connected with a revoked token is put out of its room.

Examples:
  pulse token revoke --project standup --identity ada
  pulse token revoke --project standup --token - < token.txt
  pulse token revoke --project standup --every --before 1h --reason 'laptop stolen' --yes"
)]
pub struct Revoke {
    #[command(flatten)]
    pub of: Of,
    /// The token in this file and all that were refreshed from it; - for stdin
    #[arg(long, value_name = "FILE", allow_hyphen_values = true, value_parser = SecretPath::TOKEN)]
    pub token: Option<PathBuf>,
    /// The token with this id and all that were refreshed from it
    #[arg(long)]
    pub jti: Option<String>,
    /// All tokens of an identity
    #[arg(long)]
    pub identity: Option<Identity>,
    /// All tokens for a room
    #[arg(long)]
    pub room: Option<RoomName>,
    /// All tokens of the project
    #[arg(long)]
    pub every: bool,
    /// Only those made before this: a time, or a span before now
    #[arg(long, value_name = "TIME")]
    pub before: Option<Moment>,
    /// Why
    #[arg(long)]
    pub reason: Option<Note>,
    #[command(flatten)]
    pub change: Change,
}

/// `pulse token inspect`.
#[derive(Args, Debug)]
#[command(after_long_help = "The signature is not checked: see pulse token verify.

Examples:
  pulse token inspect - < token.txt
  pulse token inspect eyJhbGciOi... -o json")]
pub struct Inspect {
    /// The token, or - for stdin
    #[arg(allow_hyphen_values = true)]
    pub token: String,
}

/// From which severity on a finding counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum FailOn {
    /// Warnings and errors
    Warning,
    /// Errors only
    Error,
}

/// `pulse token lint`.
#[derive(Args, Debug)]
#[command(after_long_help = "Examples:\n  pulse token lint - --fail-on warning < token.txt")]
pub struct Lint {
    /// The token, or - for stdin
    #[arg(allow_hyphen_values = true)]
    pub token: String,
    /// Exit with 10 when there is a finding of this severity or worse
    #[arg(long, value_enum, value_name = "SEVERITY")]
    pub fail_on: Option<FailOn>,
}

/// `pulse token verify`.
#[derive(Args, Debug)]
#[command(after_long_help = "Exits 1 when the token would be refused.

Examples:
  pulse token verify eyJhbGciOi... --key devkey --secret-file livekit-secret.txt")]
pub struct Verify {
    /// The token, or - for stdin
    #[arg(allow_hyphen_values = true)]
    pub token: String,
    /// The LiveKit key that must have made it
    #[arg(long, env = "LIVEKIT_API_KEY", hide_env_values = true)]
    pub key: String,
    /// A file with the LiveKit secret, or - for stdin; LIVEKIT_API_SECRET when not said
    #[arg(long, value_name = "FILE")]
    pub secret_file: Option<PathBuf>,
}
