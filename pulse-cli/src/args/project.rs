//! `pulse project`.

use std::path::PathBuf;

use clap::{ArgGroup, Args, Subcommand, ValueEnum};
use clap_complete::engine::ArgValueCompleter;
use pulse_core::model::{
    organization::Plan,
    text::{LabelFilter, LiveKitUrl, Name, Note, RegionName, WebhookUrl},
};

use super::{
    Change, Paging, VersionedChange,
    values::{Label, Span, label_filter, word},
};
use crate::complete;

/// Projects.
#[derive(Debug, Subcommand)]
pub enum Project {
    /// Create a project with its first key; the secret is shown this once
    Create(Box<Create>),
    /// List projects, newest first
    List(List),
    /// Get a project
    Get(One),
    /// Change a project; what is not named stays
    Update(Box<Update>),
    /// Delete a project; its keys stop at once, and it can be restored for 30 days
    Delete(Delete),
    /// Bring back a deleted project; its keys work again
    Restore(Changed),
    /// Stop a project: its keys are refused at once and its tokens are bad
    Suspend(Suspend),
    /// Let a suspended project go on
    Resume(Changed),
    /// Make a new primary key and end the old primary; other keys stay
    RegenerateKeys(Regenerate),
}

/// Which project, by name or id.
#[derive(Args, Clone, Debug, Default)]
pub struct Which {
    /// Its name or id
    #[arg(add = ArgValueCompleter::new(complete::projects))]
    pub project: String,
    /// The organization, where a name alone is ambiguous
    #[arg(long)]
    pub org: Option<String>,
}

/// LiveKit and storage of a project.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Media")]
pub struct Media {
    /// Where its webhooks go
    #[arg(long, value_name = "URL")]
    pub webhook_url: Option<WebhookUrl>,
    /// Its own LiveKit, which posts its webhooks to /v1/webhooks/livekit/ID; the server's when not said
    #[arg(long, value_name = "URL", requires_all = ["livekit_api_key", "livekit_api_secret_file"])]
    pub livekit_url: Option<LiveKitUrl>,
    /// The key of its own LiveKit
    #[arg(long, value_name = "KEY")]
    pub livekit_api_key: Option<String>,
    /// A file with the secret of its own LiveKit, or - for stdin
    #[arg(long, value_name = "FILE")]
    pub livekit_api_secret_file: Option<PathBuf>,
    /// A JSON file with the storage target, credentials included, or - for stdin
    #[arg(long, value_name = "FILE")]
    pub storage_file: Option<PathBuf>,
    /// A JSON file with token presets by name, or - for stdin
    #[arg(long, value_name = "FILE")]
    pub presets_file: Option<PathBuf>,
    /// Requests a minute over all its keys; only the operator may say
    #[arg(long, value_name = "N")]
    pub requests_per_minute: Option<u32>,
    /// The longest life of its media tokens; only the operator may say
    #[arg(long, value_name = "SPAN")]
    pub max_token_ttl: Option<Span>,
}

/// `pulse project create`.
#[derive(Args, Debug)]
#[command(after_long_help = "Examples:
  pulse project create standup --org acme
  pulse project create standup --org acme --region eu-west --label team=web -o json
  pulse project create own --org acme --livekit-url wss://lk.acme.example \\
      --livekit-api-key APIabc --livekit-api-secret-file -")]
pub struct Create {
    /// Its name, unique in the organization without regard to case
    pub name: Name,
    /// The organization, by name or id
    #[arg(long)]
    pub org: Option<String>,
    /// Where it runs; us-east when not said
    #[arg(long)]
    pub region: Option<RegionName>,
    /// A label; may be given several times
    #[arg(long = "label", value_name = "KEY=VALUE")]
    pub labels: Vec<Label>,
    #[command(flatten)]
    pub media: Media,
    /// If one of this name exists, show it instead of failing
    #[arg(long, help_heading = "Options")]
    pub if_not_exists: bool,
    #[command(flatten, next_help_heading = "Options")]
    pub change: Change,
}

/// `pulse project list`.
#[derive(Args, Debug)]
#[command(after_long_help = "Examples:
  pulse project list
  pulse project list --org acme --label team=web -o wide
  pulse project list --all -o jsonl --jq .id")]
pub struct List {
    /// Of this organization, by name or id
    #[arg(long)]
    pub org: Option<String>,
    /// Names that begin so, without regard to case
    #[arg(long, value_name = "TEXT")]
    pub name_prefix: Option<String>,
    /// Whose organization has this plan
    #[arg(long, value_parser = word::<Plan>(&["Free", "Pro", "Enterprise"]), ignore_case = true)]
    pub plan: Option<Plan>,
    /// In this region
    #[arg(long)]
    pub region: Option<RegionName>,
    /// With this label; may be given several times
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = label_filter)]
    pub labels: Vec<LabelFilter>,
    /// Deleted ones too
    #[arg(long)]
    pub include_deleted: bool,
    #[command(flatten)]
    pub paging: Paging,
}

/// `pulse project get`.
#[derive(Args, Debug)]
#[command(
    after_long_help = "Examples:\n  pulse project get standup\n  pulse project get standup --columns id --no-headers"
)]
pub struct One {
    #[command(flatten)]
    pub which: Which,
}

/// What an update can clear.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Clearable {
    /// All labels
    Labels,
    /// The webhook address
    WebhookUrl,
    /// The storage target
    Storage,
    /// Its own LiveKit, back to the server's
    Livekit,
    /// Bounds of its own
    Limits,
    /// Token presets of its own
    Presets,
}

/// `pulse project update`.
#[derive(Args, Debug)]
#[command(group(ArgGroup::new("something").required(true).multiple(true).args([
    "name", "region", "labels", "clear", "webhook_url", "livekit_url", "livekit_api_key", "livekit_api_secret_file",
    "storage_file", "presets_file", "requests_per_minute", "max_token_ttl",
])), after_long_help = "Examples:
  pulse project update standup --name daily
  pulse project update standup --clear webhook-url,labels
  pulse project update standup --max-token-ttl 2h --if-match 4")]
pub struct Update {
    #[command(flatten)]
    pub which: Which,
    /// A new name
    #[arg(long)]
    pub name: Option<Name>,
    /// Another region
    #[arg(long)]
    pub region: Option<RegionName>,
    /// All labels anew; may be given several times
    #[arg(long = "label", value_name = "KEY=VALUE")]
    pub labels: Vec<Label>,
    #[command(flatten)]
    pub media: Media,
    /// What to clear
    #[arg(long, value_enum, value_delimiter = ',', value_name = "FIELDS", help_heading = "Options")]
    pub clear: Vec<Clearable>,
    #[command(flatten, next_help_heading = "Options")]
    pub change: VersionedChange,
}

/// `pulse project delete`.
#[derive(Args, Debug)]
#[command(
    after_long_help = "Examples:\n  pulse project delete standup\n  pulse project delete standup --confirm standup"
)]
pub struct Delete {
    #[command(flatten)]
    pub which: Which,
    /// If there is none, that is fine
    #[arg(long)]
    pub ignore_not_found: bool,
    #[command(flatten)]
    pub change: VersionedChange,
}

/// `pulse project restore` and `resume`.
#[derive(Args, Debug)]
#[command(after_long_help = "Examples:\n  pulse project restore standup\n  pulse project resume standup --dry-run")]
pub struct Changed {
    #[command(flatten)]
    pub which: Which,
    #[command(flatten)]
    pub change: Change,
}

/// `pulse project suspend`.
#[derive(Args, Debug)]
#[command(after_long_help = "Examples:\n  pulse project suspend standup --reason 'invoice 42 is overdue' --yes")]
pub struct Suspend {
    #[command(flatten)]
    pub which: Which,
    /// Why; the project's people see it
    #[arg(long)]
    pub reason: Note,
    #[command(flatten)]
    pub change: Change,
}

/// `pulse project regenerate-keys`.
#[derive(Args, Debug)]
#[command(after_long_help = "Examples:\n  pulse project regenerate-keys standup --overlap 1h --yes -o json")]
pub struct Regenerate {
    #[command(flatten)]
    pub which: Which,
    /// For how long the old primary key still works; not at all when not said
    #[arg(long, value_name = "SPAN")]
    pub overlap: Option<Span>,
    #[command(flatten)]
    pub change: Change,
}
