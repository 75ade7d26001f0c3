//! The daemon's life: start, signals, drain, end.
//!
//! SIGTERM and SIGINT stop accepting and let requests under way end for as long as the settings allow; a second one ends
//! at once. SIGHUP reads the settings again and says what it took over. Workers stop beside the requests, but for what
//! requests need.

mod notify;

use std::{future::Future, path::Path, sync::Arc, time::Duration};

use pulse_core::{
    config::{Settings, faults_error},
    deliver::dispatch::STOPS_WITHIN,
    error::{Code, Error, Result},
    fault,
    files::replace_file,
    pipeline::Pipeline,
    worker,
};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::{
    args::Invocation,
    boot::{self, Booted},
    config::{self, Start},
    dev,
    http::App,
    logging::Log,
    server::{Server, tls::Tls},
};

/// Settings that a SIGHUP takes over; beside them the TLS files are read again.
const RELOADED: [&str; 2] = ["PULSE_LOG", "CORS_ORIGINS"];
/// How long the workers may take to end: the dispatcher gives back what it holds, and a second for the rest. The dispatcher
/// stops when the drain begins, so that the two times pass beside each other.
const WORKERS_TIME: Duration = STOPS_WITHIN.saturating_add(Duration::from_secs(1));

/// Serves until a signal ends it.
pub fn serve(invocation: &Invocation, start: Start, log: &Log) -> Result<()> {
    if fault::COMPILED {
        config::fault_file().into_iter().for_each(fault::arm);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(Error::internal)?;
    let result = runtime.block_on(run(invocation, start, log));
    // What still blocks a thread now (a read of a store that hangs) is not waited for.
    runtime.shutdown_timeout(Duration::from_secs(1));
    result
}

async fn run(invocation: &Invocation, start: Start, log: &Log) -> Result<()> {
    let Start { settings, tls } = start;
    // Before anything else: a signal during the start ends the process in order, too.
    let mut signals = Signals::new()?;
    let Booted { plane, lock } = boot::boot(&settings).await?;
    let pipeline = Pipeline::new(Arc::clone(&plane));
    let app = App::new(Arc::clone(&pipeline), &settings);
    let server = Server::bind(&settings, Arc::clone(&app), tls).await?;
    let url = server.url()?;
    if settings.dev {
        dev::prepare(&plane, &settings, &url).await?;
    }
    // Over a shared store, other daemons may hold leases. Before anything is accepted: what is leased from then on is ours.
    let alone = !plane.parts().store.info().is_shared();
    pipeline.dispatcher.recover(alone).await;
    pipeline.reconciler.recover(alone);
    let workers = tokio::spawn(worker::run(Arc::clone(&pipeline)));
    let reload = Reload { invocation, app: Arc::clone(&app), tls: server.tls(), log };
    let (stop, tasks) = (CancellationToken::new(), server.tasks.clone());
    let accepting = tokio::spawn(server.run(stop.clone()));
    if let Some(path) = &invocation.ready_file {
        write_ready(path, &url)?;
    }
    notify::tell("READY=1");
    tracing::info!(url, version = env!("CARGO_PKG_VERSION"), "ready");

    let mut settings = settings;
    loop {
        match signals.next().await {
            Asked::End => break,
            Asked::Reload => {
                notify::reloading();
                settings = reload.run(settings);
                notify::tell("READY=1");
            }
        }
    }
    notify::tell("STOPPING=1");
    tracing::info!(connections = tasks.len(), "stopping");
    app.drain();
    pipeline.stopping.cancel();
    drop(fault::point("shutdown.mid").await);
    stop.cancel();
    let _ = accepting.await;
    tasks.close();
    if !within(settings.drain_timeout, &mut signals, tasks.wait()).await {
        tracing::warn!(connections = tasks.len(), "requests under way were cut off");
    }
    pipeline.drained.cancel();
    within(WORKERS_TIME, &mut signals, workers).await;
    if let Some(path) = &invocation.ready_file {
        let _ = std::fs::remove_file(path);
    }
    drop(lock);
    tracing::info!("stopped");
    Ok(())
}

/// Waits for the end of something, but not longer than `limit` and not past another signal to end; once there was one,
/// for nothing any more.
async fn within(limit: Duration, signals: &mut Signals, end: impl Future) -> bool {
    if signals.forced {
        return false;
    }
    tokio::pin!(end);
    let late = tokio::time::sleep(limit);
    tokio::pin!(late);
    loop {
        tokio::select! {
            _ = &mut end => return true,
            () = &mut late => return false,
            asked = signals.next() => if asked == Asked::End {
                signals.forced = true;
                return false;
            },
        }
    }
}

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    End,
    Reload,
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
    /// Whether the end was asked for again.
    forced: bool,
    /// Held and never awaited: with a handler in place, a write past the file size limit is an error that the store
    /// answers with 503, instead of the end of the process.
    _file_size: Signal,
}

impl Signals {
    fn new() -> Result<Self> {
        let on = |kind| signal(kind).map_err(Error::internal);
        Ok(Self {
            terminate: on(SignalKind::terminate())?,
            interrupt: on(SignalKind::interrupt())?,
            hangup: on(SignalKind::hangup())?,
            forced: false,
            _file_size: on(SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw()))?,
        })
    }

    async fn next(&mut self) -> Asked {
        tokio::select! {
            _ = self.terminate.recv() => Asked::End,
            _ = self.interrupt.recv() => Asked::End,
            _ = self.hangup.recv() => Asked::Reload,
        }
    }
}

/// What a SIGHUP can change.
struct Reload<'a> {
    invocation: &'a Invocation,
    app: Arc<App>,
    tls: Option<Arc<Tls>>,
    log: &'a Log,
}

impl Reload<'_> {
    /// Takes over what can be taken over and says what cannot; settings with a fault change nothing.
    fn run(&self, mut old: Settings) -> Settings {
        let new = match config::settings(self.invocation) {
            Ok(new) => new,
            Err(error) => {
                tracing::error!("the settings were not reloaded: {}", error.message());
                return old;
            }
        };
        self.log.set_filter(&new.log);
        self.app.set_origins(&new.cors_origins);
        // The files of the start: another path needs a restart.
        if let (Some(tls), Some((chain, key))) = (&self.tls, &old.tls) {
            match tls.reload((chain, key)) {
                Ok(()) => tracing::info!("the TLS certificate was read again"),
                Err(faults) => {
                    tracing::error!("the TLS certificate stays: {}", faults_error(&faults).message());
                }
            }
        }
        let changed =
            old.shown.iter().zip(&new.shown).filter(|(old, new)| old.value != new.value).map(|(old, _)| old.name);
        let (reloaded, restart): (Vec<_>, Vec<_>) = changed.partition(|name| RELOADED.contains(name));
        tracing::info!(?reloaded, needs_restart = ?restart, "the settings were reloaded");
        let taken = |name: &str| RELOADED.contains(&name);
        for (row, fresh) in old.shown.iter_mut().zip(new.shown).filter(|(row, _)| taken(row.name)) {
            *row = fresh;
        }
        old
    }
}

/// Writes where the daemon is.
fn write_ready(path: &Path, url: &str) -> Result<()> {
    let text = format!("{}\n", serde_json::json!({ "url": url }));
    replace_file(path, &text, 0o644).map_err(|cause| {
        Error::new(Code::Misconfigured, format!("{} cannot be written", path.display())).because(cause)
    })
}
