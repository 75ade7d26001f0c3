//! `pulse org`.

use clap::{ArgGroup, Args, Subcommand};
use pulse_core::model::{
    organization::Plan,
    text::{Email, LabelFilter, Name},
};

use super::{
    Change, Paging, VersionedChange,
    values::{Label, label_filter, word},
};

const PLANS: &[&str] = &["Free", "Pro", "Enterprise"];

/// Organizations.
#[derive(Debug, Subcommand)]
pub enum Org {
    /// Create an organization
    Create(Create),
    /// List organizations, newest first
    List(List),
    /// Get an organization
    Get(Get),
    /// Change an organization; what is not named stays
    Update(Update),
    /// Delete an organization with everything in it; it can be restored for 30 days
    Delete(Delete),
    /// Bring back a deleted organization and the projects that were deleted with it
    Restore(Restore),
}

/// `pulse org create`.
#[derive(Args, Debug)]
#[command(after_long_help = "Examples:
  pulse org create acme --email ops@acme.example --plan Pro
  pulse org create acme --email ops@acme.example --if-not-exists -q")]
pub struct Create {
    /// Its name, unique without regard to case
    pub name: Name,
    /// Whom to write to
    #[arg(long, visible_alias = "admin-email", value_name = "ADDRESS")]
    pub email: Email,
    /// What it pays for
    #[arg(long, value_parser = word::<Plan>(PLANS), ignore_case = true)]
    pub plan: Option<Plan>,
    /// A label; may be given several times
    #[arg(long = "label", value_name = "KEY=VALUE")]
    pub labels: Vec<Label>,
    /// If one of this name exists, show it instead of failing
    #[arg(long)]
    pub if_not_exists: bool,
    #[command(flatten)]
    pub change: Change,
}

/// `pulse org list`.
#[derive(Args, Debug)]
#[command(after_long_help = "Examples:
  pulse org list
  pulse org list --plan Pro --all -o csv
  pulse org list --name-prefix ac -q")]
pub struct List {
    /// Names that begin so, without regard to case
    #[arg(long, value_name = "TEXT")]
    pub name_prefix: Option<String>,
    /// Of this plan
    #[arg(long, value_parser = word::<Plan>(PLANS), ignore_case = true)]
    pub plan: Option<Plan>,
    /// With this label; may be given several times
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = label_filter)]
    pub labels: Vec<LabelFilter>,
    /// Deleted ones too
    #[arg(long)]
    pub include_deleted: bool,
    #[command(flatten)]
    pub paging: Paging,
}

/// `pulse org get`.
#[derive(Args, Debug)]
#[command(after_long_help = "Examples:\n  pulse org get acme\n  pulse org get acme -o yaml")]
pub struct Get {
    /// Its name or id
    pub org: String,
}

/// `pulse org update`.
#[derive(Args, Debug)]
#[command(group(ArgGroup::new("something").required(true).multiple(true).args(["name", "email", "plan", "labels", "clear_labels"])), after_long_help = "Examples:
  pulse org update acme --plan Enterprise
  pulse org update acme --label tier=gold --if-match 3")]
pub struct Update {
    /// Its name or id
    pub org: String,
    /// A new name
    #[arg(long)]
    pub name: Option<Name>,
    /// Another address
    #[arg(long, visible_alias = "admin-email", value_name = "ADDRESS")]
    pub email: Option<Email>,
    /// Another plan
    #[arg(long, value_parser = word::<Plan>(PLANS), ignore_case = true)]
    pub plan: Option<Plan>,
    /// All labels anew; may be given several times
    #[arg(long = "label", value_name = "KEY=VALUE", conflicts_with = "clear_labels")]
    pub labels: Vec<Label>,
    /// Remove all labels
    #[arg(long)]
    pub clear_labels: bool,
    #[command(flatten)]
    pub change: VersionedChange,
}

/// `pulse org delete`.
#[derive(Args, Debug)]
#[command(after_long_help = "Examples:
  pulse org delete acme
  pulse org delete acme --confirm acme
  pulse org delete acme --dry-run -o json")]
pub struct Delete {
    /// Its name or id
    pub org: String,
    /// If there is none, that is fine
    #[arg(long)]
    pub ignore_not_found: bool,
    #[command(flatten)]
    pub change: VersionedChange,
}

/// `pulse org restore`.
#[derive(Args, Debug)]
#[command(after_long_help = "Examples:\n  pulse org restore acme\n  pulse org list --include-deleted")]
pub struct Restore {
    /// Its name or id
    pub org: String,
    #[command(flatten)]
    pub change: Change,
}
