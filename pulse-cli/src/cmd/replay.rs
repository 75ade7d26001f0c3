//! `pulse webhook replay`.

use std::time::Duration;

use pulse_core::{
    id::{JobId, ProjectId},
    model::replay::{ReplayState, ReplayStatus, ReplayView},
    ops::replays::{CancelReplay, GetReplay, ListReplays, StartReplay},
    plane::Answer,
};

use super::{DONE, events::filter, listing};
use crate::{
    args::{
        Of,
        webhook::replay::{Cancel, Command, Get, List, Replay, Start},
    },
    client::{CallOptions, Client},
    exit::{AWAITED_FAILED, Failure, Outcome, WAITED_TOO_LONG},
    names,
    session::Session,
    ui::{View, printer::counted, progress::Progress},
};

/// When a replay is looked at for the first time that is waited for; from then on after twice as long each time, up to the
/// longest: whoever waits spends its project's own requests.
const FIRST_LOOK: Duration = Duration::from_millis(250);
const LONGEST_LOOK: Duration = Duration::from_secs(4);

pub(super) const VIEW: View = View::new(
    &["id", "state", "status", "percent", "deliveries", "events", "created_at"],
    &["since", "until", "types", "rooms", "endpoint_ids", "rate_per_second", "reason", "finished_at"],
)
.detail(&[
    "id",
    "project_id",
    "state",
    "reason",
    "status",
    "since",
    "until",
    "types",
    "rooms",
    "endpoint_ids",
    "rate_per_second",
    "percent",
    "events",
    "deliveries",
    "created_at",
    "finished_at",
    "counted_until",
])
.when_empty(&[("types", "all"), ("rooms", "all")]);

pub(super) async fn run(session: &Session, args: Replay) -> Outcome {
    match args.command {
        None => start(session, args.start).await,
        Some(Command::List(args)) => list(session, args).await,
        Some(Command::Get(args)) => get(session, args).await,
        Some(Command::Cancel(args)) => cancel(session, args).await,
    }
}

async fn project(session: &Session, client: &Client, of: &Of) -> Result<ProjectId, Failure> {
    names::project_or_own(session, client, of.project.as_deref(), of.org.as_deref()).await
}

/// What the arguments ask for.
async fn asked(session: &Session, client: &Client, args: &Start) -> Result<(ProjectId, StartReplay), Failure> {
    let project = project(session, client, &args.of).await?;
    let endpoint_id = match &args.endpoint {
        Some(text) => Some(names::endpoint(client, project, text).await?),
        None => None,
    };
    let status = match (args.missing, args.all) {
        (true, _) => ReplayStatus::Missing,
        (_, true) => ReplayStatus::All,
        _ => ReplayStatus::Failed,
    };
    let now = session.now();
    let op = StartReplay {
        project_id: Some(project),
        since: args.since.map(|moment| moment.from(now)),
        until: args.until.map(|moment| moment.from(now)),
        types: filter(args.types.clone())?,
        rooms: args.rooms.clone(),
        status: Some(status),
        endpoint_id,
        rate_per_second: args.rate,
    };
    Ok((project, op))
}

async fn start(session: &Session, args: Start) -> Outcome {
    let client = session.client().await?;
    let (project, op) = asked(session, client, &args).await?;
    if !args.change.dry_run {
        confirm(session, client, &op).await?;
    }
    match client.call(&op, CallOptions::from(&args.change)).await? {
        // On a store of this machine nobody but a daemon goes on with it.
        Answer::Done { output, .. } if args.wait || (is_watched(session) && matches!(client, Client::Remote(_))) => {
            let ended = wait(session, client, output, args.timeout.0).await?;
            session.printer.document(&VIEW, &ended)?;
        }
        Answer::Done { output, replayed } => {
            let id = output.id;
            session.printer.answer(&VIEW, Answer::Done { output, replayed })?;
            session.printer.advice(&how_far(id, project));
        }
        answer @ Answer::DryRun(_) => session.printer.answer(&VIEW, answer)?,
    }
    DONE
}

/// Asks y/N before events are sent once more, with how many that are.
async fn confirm(session: &Session, client: &Client, op: &StartReplay) -> Result<(), Failure> {
    if client.is_curl() {
        return Ok(());
    }
    let prompts = session.prompts();
    let mut stakes = Vec::new();
    if prompts.would_ask(false)
        && let Answer::DryRun(dry) = client.call(op, CallOptions::dry(true)).await?
    {
        let least = if dry.result.counted_until.is_some() { "at least " } else { "" };
        stakes.extend(dry.effects.iter().map(|(what, count)| format!("{least}{}", counted(*count, what))));
    }
    prompts.confirm("Send these events to the project's endpoints?", &stakes)
}

/// Whether somebody looks at this command's progress.
fn is_watched(session: &Session) -> bool {
    session.printer.may_show_progress() && session.env.get("CI").is_none()
}

/// Waits until the replay has ended, and shows how far it is.
async fn wait(
    session: &Session,
    client: &Client,
    started: ReplayView,
    patience: Duration,
) -> Result<ReplayView, Failure> {
    let (id, project) = (started.id, started.project_id);
    session.printer.advice(&format!("replay {id} has begun, and goes on when this command is interrupted"));
    let ci = session.env.get("CI").is_some();
    let mut progress = Progress::new(&session.printer, session.clock.as_ref(), "replay", ci);
    let look = async {
        let mut pause = FIRST_LOOK;
        loop {
            let replay = client.ask(&GetReplay { id, project_id: Some(project) }).await?;
            if replay.state != ReplayState::Running {
                return Ok::<_, Failure>(replay);
            }
            progress.at(replay.percent.into(), 100);
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_LOOK);
        }
    };
    let found = tokio::time::timeout(patience, look).await;
    progress.finish();
    let replay = found.map_err(|_| too_long(id, project, patience))??;
    if replay.state == ReplayState::Completed { Ok(replay) } else { Err(not_completed(&replay)) }
}

fn too_long(id: JobId, project: ProjectId, patience: Duration) -> Failure {
    let message = format!("the replay has not ended within {} s, and goes on", patience.as_secs());
    Failure::new(WAITED_TOO_LONG, "wait_timed_out", message)
        .hint(how_far(id, project))
        .detail("replay_id", id.to_string())
}

fn not_completed(replay: &ReplayView) -> Failure {
    let made = counted(replay.deliveries, "deliveries");
    let (code, how) = match (&replay.state, &replay.reason) {
        (ReplayState::Cancelled, _) => ("replay_cancelled", "was cancelled".to_owned()),
        (_, Some(reason)) => ("replay_failed", format!("failed: {reason}")),
        (_, None) => ("replay_failed", "failed".to_owned()),
    };
    Failure::new(AWAITED_FAILED, code, format!("the replay {how}; it had made {made}"))
        .detail("replay_id", replay.id.to_string())
        .detail("deliveries", replay.deliveries)
}

/// The command that tells how far a replay is.
fn how_far(id: JobId, project: ProjectId) -> String {
    format!("pulse webhook replay get {id} --project {project} tells how far it is.")
}

async fn list(session: &Session, args: List) -> Outcome {
    let client = session.client().await?;
    let project_id = Some(project(session, client, &args.of).await?);
    let op = ListReplays { project_id, ..ListReplays::default() };
    listing::show(session, client, &VIEW, op, &args.paging).await?;
    DONE
}

async fn get(session: &Session, args: Get) -> Outcome {
    let client = session.client().await?;
    let project_id = Some(project(session, client, &args.of).await?);
    let replay = client.ask(&GetReplay { id: args.replay, project_id }).await?;
    session.printer.document(&VIEW, &replay)?;
    DONE
}

async fn cancel(session: &Session, args: Cancel) -> Outcome {
    let client = session.client().await?;
    let project_id = Some(project(session, client, &args.of).await?);
    let op = CancelReplay { id: args.replay, project_id };
    session.printer.answer(&VIEW, client.call(&op, CallOptions::from(&args.change)).await?)?;
    DONE
}
