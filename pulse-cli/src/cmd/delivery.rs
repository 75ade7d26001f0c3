//! `pulse webhook delivery`.

use pulse_core::{
    id::{DeliveryId, ProjectId},
    ops::deliveries::{GetDelivery, ListAttempts, ListDeliveries, ResendDelivery},
    plane::Answer,
};

use super::{DONE, listing};
use crate::{
    args::webhook::delivery::{Attempts, Delivery, Get, List, Resend},
    client::CallOptions,
    exit::{Failure, Outcome},
    names,
    session::Session,
    ui::{View, view},
};

pub(super) const VIEW: View = View::new(
    &["id", "event_type", "status", "last_result", "attempts_made", "created_at"],
    &["endpoint_id", "event_id", "room", "origin", "due_at", "finished_at"],
)
.detail(&[
    "id",
    "project_id",
    "endpoint_id",
    "event_id",
    "event_type",
    "room",
    "origin",
    "status",
    "last_result",
    "attempts_made",
    "due_at",
    "created_at",
    "finished_at",
    "event",
]);

pub(super) const ATTEMPTS: View = View::new(
    &["number", "trigger", "result", "status_code", "error", "duration_ms", "started_at"],
    &["id", "delivery_id", "late", "remote_ip", "error_detail", "response_headers", "response_body"],
);

pub(super) async fn run(session: &Session, command: Delivery) -> Outcome {
    match command {
        Delivery::List(args) => list(session, *args).await,
        Delivery::Get(args) => get(session, args).await,
        Delivery::Attempts(args) => attempts(session, args).await,
        Delivery::Resend(args) => resend(session, args).await,
    }
}

async fn list(session: &Session, args: List) -> Outcome {
    let client = session.client().await?;
    let of = &args.of;
    let project = names::project_or_own(session, client, of.project.as_deref(), of.org.as_deref()).await?;
    let endpoint_id = match &args.endpoint {
        Some(text) => Some(names::endpoint(client, project, text).await?),
        None => None,
    };
    let now = session.now();
    let op = ListDeliveries {
        project_id: Some(project),
        endpoint_id,
        event_id: args.event,
        event_type: args.event_type,
        room: args.room,
        status: args.status,
        from: args.from.map(|moment| moment.from(now)),
        to: args.to.map(|moment| moment.from(now)),
        limit: None,
        cursor: None,
    };
    listing::show(session, client, &VIEW, op, &args.paging).await?;
    DONE
}

async fn get(session: &Session, args: Get) -> Outcome {
    let client = session.client().await?;
    let of = &args.of;
    let project = names::project_or_own(session, client, of.project.as_deref(), of.org.as_deref()).await?;
    let op = GetDelivery { id: args.delivery, project_id: Some(project) };
    let detail = client.ask(&op).await?;
    match &detail.event {
        Some(event) if session.printer.is_prose() => {
            session.printer.document(&VIEW, &detail.delivery)?;
            let event = serde_json::to_string_pretty(event).map_err(|error| Failure::unexpected(error.to_string()))?;
            let lines = event.lines().map(view::visible).collect::<Vec<_>>().join("\n");
            session.printer.text(&format!("\n{lines}\n"))?;
        }
        _ => session.printer.document(&VIEW, &detail)?,
    }
    DONE
}

async fn attempts(session: &Session, args: Attempts) -> Outcome {
    let client = session.client().await?;
    let of = &args.of;
    let project = names::project_or_own(session, client, of.project.as_deref(), of.org.as_deref()).await?;
    let op = ListAttempts { id: args.delivery, project_id: Some(project), limit: None, cursor: None };
    listing::show(session, client, &ATTEMPTS, op, &args.paging).await?;
    DONE
}

/// The command that tells what becomes of a delivery.
pub(super) fn what_becomes_of(id: DeliveryId, project: ProjectId) -> String {
    format!("pulse webhook delivery get {id} --project {project} tells what becomes of it.")
}

async fn resend(session: &Session, args: Resend) -> Outcome {
    let client = session.client().await?;
    let of = &args.of;
    let project = names::project_or_own(session, client, of.project.as_deref(), of.org.as_deref()).await?;
    let op = ResendDelivery { id: args.delivery, project_id: Some(project) };
    let answer = client.call(&op, CallOptions::dry(args.change.dry_run)).await?;
    let made = match &answer {
        Answer::Done { output, .. } => Some(output.id),
        Answer::DryRun(_) => None,
    };
    session.printer.answer(&VIEW, answer)?;
    made.into_iter().for_each(|id| session.printer.advice(&what_becomes_of(id, project)));
    DONE
}
