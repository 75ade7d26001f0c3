//! `pulse status`, `pulse whoami`, `pulse admin rotate`.

use pulse_core::{
    files::create_private,
    ops::{
        admin::{AdminToken, RotateAdminToken},
        me::GetMe,
        status::{GetStatus, Status},
    },
    plane::Answer,
};
use serde::Serialize;

use super::DONE;
use crate::{
    args::system,
    client::CallOptions,
    exit::{Failure, Outcome},
    session::Session,
    ui::View,
};

pub(super) const STATUS: View = View::new(&["state"], &[]).id("state").detail(&[
    "target",
    "rule",
    "state",
    "store.state",
    "store.name",
    "store.detail",
    "store.latency_ms",
    "livekit.state",
    "livekit.name",
    "livekit.detail",
    "livekit.latency_ms",
    "redis.state",
    "redis.name",
    "redis.detail",
    "redis.latency_ms",
    "version",
    "schema_version",
    "uptime_seconds",
]);
pub(super) const ME: View =
    View::new(&["kind", "id", "org_id", "project_id", "key_id", "expires_at", "permissions"], &[]);
pub(super) const ADMIN: View = View::new(&["pulse_admin_token", "token_file", "created_at"], &[])
    .id("pulse_admin_token")
    .shown_once(&[("pulse_admin_token", "pulse admin rotate")]);

/// The status with the target that it is of.
#[derive(Serialize)]
struct Shown {
    target: String,
    rule: String,
    #[serde(flatten)]
    status: Status,
}

pub(super) async fn status(session: &Session) -> Outcome {
    if session.global.curl {
        session.client().await?.ask(&GetStatus {}).await?;
    }
    let target = session.target()?;
    let place = |failure: Failure| failure.detail("target", target.describe()).detail("rule", target.rule.describe());
    let status = match session.client().await {
        Ok(client) => client.ask(&GetStatus {}).await,
        Err(failure) => Err(failure),
    };
    let status = status.map_err(|failure| {
        session.printer.advice(&format!("target: {} (by {})", target.describe(), target.rule.describe()));
        place(failure)
    })?;
    // The settings may name the store: then only the open store says where it is.
    let target = Shown {
        target: session.client().await?.store().unwrap_or_else(|| target.describe()),
        rule: target.rule.describe(),
        status,
    };
    session.printer.document(&STATUS, &target)?;
    DONE
}

pub(super) async fn whoami(session: &Session) -> Outcome {
    let me = session.client().await?.ask(&GetMe {}).await?;
    session.printer.document(&ME, &me)?;
    DONE
}

/// What a rotation into a file shows: not the token.
#[derive(Serialize)]
struct Stored {
    token_file: String,
    created_at: pulse_core::time::Timestamp,
}

pub(super) async fn rotate_admin(session: &Session, args: system::AdminRotate) -> Outcome {
    let client = session.client().await?;
    let options = CallOptions::from(&args.change);
    if !args.change.dry_run && !client.is_curl() {
        session.prompts().confirm("Replace the operator's token? The old one stops at once.", &[])?;
        if args.token_to_file.as_ref().is_some_and(|path| path.exists()) {
            return Err(Failure::usage("the file for the new token exists already")
                .hint("Name a new file. Nothing was changed."));
        }
    }
    match (client.call(&RotateAdminToken {}, options).await?, &args.token_to_file) {
        (Answer::Done { output: AdminToken { pulse_admin_token: Some(token), created_at }, .. }, Some(path)) => {
            if let Err(cause) = create_private(path, &format!("{}\n", token.expose())) {
                // The old token is gone: the new one must not be lost as well.
                session.printer.note(&format!(
                    "{} cannot be written ({cause}); the new token is: {}",
                    path.display(),
                    token.expose()
                ));
                return Err(Failure::new(
                    crate::exit::PARTLY,
                    "sink_failed",
                    "the token was replaced, but not written to the file",
                ));
            }
            session.printer.document(&ADMIN, &Stored { token_file: path.display().to_string(), created_at })?;
        }
        (answer, _) => session.printer.answer(&ADMIN, answer)?,
    }
    DONE
}
