//! `pulse webhook verify` and `pulse webhook sign`, which need no server.

use std::path::PathBuf;

use clap::Args;

use super::super::values::{Moment, SecretPath, Span};

/// With which secrets.
#[derive(Args, Debug)]
pub struct Secrets {
    /// A file with signing secrets, newest first, or - for stdin; PULSE_WEBHOOK_SECRET when not said
    #[arg(long, value_name = "FILE", allow_hyphen_values = true, value_parser = SecretPath::SIGNING)]
    pub secret_file: Option<PathBuf>,
}

/// `pulse webhook verify`.
#[derive(Args, Debug)]
#[command(
    after_long_help = "Exits 1 when a receiver has to refuse it. Give the body byte for byte as it came: a line end that \
an editor adds, or JSON that was read and written again, is another body.

Examples:
  pulse webhook verify body.json --headers-file headers.txt --secret-file secret.txt
  pulse webhook verify - --id evt_01J... --timestamp 1767225600 --signature 'v1,K5oZ...' < body.json
  pulse webhook verify body.json --headers-file headers.txt --now 2026-01-01T00:00:00Z -o json"
)]
pub struct Verify {
    /// The body as it came: a file, or - for stdin
    #[arg(allow_hyphen_values = true)]
    pub body: PathBuf,
    #[command(flatten)]
    pub secrets: Secrets,
    /// A file with the headers as they came, one a line, or - for stdin
    #[arg(long, value_name = "FILE", allow_hyphen_values = true, conflicts_with_all = ["id", "timestamp", "signature"])]
    pub headers_file: Option<PathBuf>,
    /// The header webhook-id
    #[arg(long)]
    pub id: Option<String>,
    /// The header webhook-timestamp
    #[arg(long, value_name = "SECONDS")]
    pub timestamp: Option<i64>,
    /// The header webhook-signature
    #[arg(long)]
    pub signature: Option<String>,
    /// How far its timestamp may be from now
    #[arg(long, value_name = "SPAN", default_value = "5m")]
    pub tolerance: Span,
    /// Check it as of then: a time, or a span before now
    #[arg(long, value_name = "TIME")]
    pub now: Option<Moment>,
}

/// `pulse webhook sign`.
#[derive(Args, Debug)]
#[command(after_long_help = "Examples:
  pulse webhook sign body.json --secret-file secret.txt
  pulse webhook sign body.json --secret-file secret.txt > headers.txt
  curl http://localhost:3000/hooks -H @headers.txt -H 'Content-Type: application/json' \\
      --data-binary @body.json")]
pub struct Sign {
    /// The body: a file, or - for stdin
    #[arg(allow_hyphen_values = true)]
    pub body: PathBuf,
    #[command(flatten)]
    pub secrets: Secrets,
    /// The header webhook-id; a new one when not said
    #[arg(long)]
    pub id: Option<String>,
    /// The header webhook-timestamp; now when not said
    #[arg(long, value_name = "SECONDS")]
    pub timestamp: Option<i64>,
}
