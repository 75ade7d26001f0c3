//! `pulse store`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// The store.
#[derive(Debug, Subcommand)]
pub enum Store {
    /// Check every document, index and log of the store; may run beside pulsed
    #[command(
        after_long_help = "Exits 1 when a problem is found.\n\nExamples:\n  pulse --local store check\n  pulse --local --store sqlite:/var/lib/pulse/pulse.db store check -o json"
    )]
    Check,
    /// Bring the store to the schema of this version
    Migrate(Migrate),
    /// Copy the store, as it is at one moment, to a new file; may run beside pulsed
    Backup(Backup),
    /// Put a backup in the store's place; the store that was there is kept beside it
    Restore(Restore),
}

/// `pulse store migrate`.
#[derive(Args, Debug)]
#[command(after_long_help = "Examples:\n  pulse --local store migrate --yes")]
pub struct Migrate {
    /// Say what would happen, but change nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// `pulse store backup`.
#[derive(Args, Debug)]
#[command(
    after_long_help = "The store's secrets are not in it: keep the .keys file beside the store, or API_KEY_PEPPER and
PULSE_MASTER_KEY, as well.

Examples:\n  pulse --local store backup pulse-backup.db"
)]
pub struct Backup {
    /// The new file
    pub file: PathBuf,
    /// Replace the file when it exists
    #[arg(long)]
    pub overwrite: bool,
}

/// `pulse store restore`.
#[derive(Args, Debug)]
#[command(
    after_long_help = "Refused while any process has the store open.\n\nExamples:\n  pulse --local store restore pulse-backup.db --yes"
)]
pub struct Restore {
    /// The backup
    pub file: PathBuf,
    /// Say what would happen, but change nothing
    #[arg(long)]
    pub dry_run: bool,
}
