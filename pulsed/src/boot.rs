//! From settings to a plane: opens the store as its daemon, and hands the operator's token over once.

use std::sync::Arc;

use pulse_core::{
    access::caller::OperatorVia,
    boot::open::{self, Opened, Role},
    config::Settings,
    entropy::SystemEntropy,
    error::{Error, Result},
    metrics::Metrics,
    plane::ControlPlane,
    secret::Secret,
    store::sqlite::locks::DaemonLock,
    time::SystemClock,
};

use crate::terminal;

/// A plane that this process may serve.
#[derive(Debug)]
pub struct Booted {
    /// The plane.
    pub plane: Arc<ControlPlane>,
    /// Keeps other daemons away from the store.
    pub lock: Option<DaemonLock>,
}

/// Who the daemon is to itself, for what it makes with `--dev`.
pub fn itself() -> OperatorVia {
    OperatorVia::Local { os_user: "pulsed".to_owned() }
}

/// Opens the store and puts the plane together.
pub async fn boot(settings: &Settings) -> Result<Booted> {
    let (clock, entropy) = (Arc::new(SystemClock::new()), Arc::new(SystemEntropy::default()));
    let Opened { assembled, daemon_lock } = open::open(settings, clock, entropy, Metrics::new()?, Role::Daemon).await?;
    if let Some(token) = &assembled.fresh_admin_token {
        hand_over(token, settings)?;
    }
    warn_of(settings);
    Ok(Booted { plane: Arc::new(assembled.plane), lock: daemon_lock })
}

/// Hands the operator's token over: to the person at the terminal; where there is none, and with `--dev`, whose tour reads
/// it, in a file that only this user can read. A log never has it.
fn hand_over(token: &Secret, settings: &Settings) -> Result<()> {
    let somebody_reads = terminal::is_interactive();
    if somebody_reads {
        terminal::tell(&format!(
            "The operator's token, shown this once:\n\n    {}\n\nKeep it; `pulse admin rotate` makes another.\n\n",
            token.expose()
        ));
    }
    if settings.dev || !somebody_reads {
        let file = settings.operator_token_file();
        file.write(token).map_err(Error::store_unavailable)?;
        tracing::info!(file = %file.path().display(), "the operator's token was written");
    }
    Ok(())
}

/// Settings that work but that an operator should know of.
fn warn_of(settings: &Settings) {
    if settings.livekit.api_key.is_empty() {
        tracing::warn!(
            "LIVEKIT_API_KEY and LIVEKIT_API_SECRET are not set: projects without their own LiveKit cannot make tokens"
        );
    }
    for row in settings.shown.iter().filter(|row| row.note.as_deref() == Some("not used yet")) {
        tracing::warn!(setting = row.name, "is set, but nothing uses it yet");
    }
    // With --dev both are meant.
    if !settings.webhook_networks.is_empty() && !settings.dev {
        tracing::warn!(
            networks = ?settings.webhook_networks,
            "PULSE_WEBHOOK_ALLOW_NETWORKS: customers can make Pulse connect to these networks"
        );
    }
    if settings.webhook_plain_text && !settings.dev {
        tracing::warn!("PULSE_WEBHOOK_ALLOW_HTTP: customers can have webhooks sent without TLS");
    }
    if let Some(networks) = &settings.outbound_only {
        tracing::info!(?networks, "PULSE_OUTBOUND_ONLY: nothing outside these networks is connected to");
    }
}
