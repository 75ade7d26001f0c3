//! `pulse webhook delivery`.

use pulse_core::ops::deliveries::{GetDelivery, ListAttempts, ListDeliveries, ResendDelivery};

use super::{DONE, listing};
use crate::{
    args::webhook::delivery::{Delivery, List, One, Resend},
    client::CallOptions,
    exit::Outcome,
    names,
    session::Session,
    ui::View,
};

pub(super) const VIEW: View = View::new(
    &["id", "event_type", "status", "attempts_made", "last_result", "created_at"],
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
    "attempts_made",
    "last_result",
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

async fn get(session: &Session, args: One) -> Outcome {
    let client = session.client().await?;
    let of = &args.of;
    let project = names::project_or_own(session, client, of.project.as_deref(), of.org.as_deref()).await?;
    let op = GetDelivery { id: args.delivery, project_id: Some(project) };
    session.printer.document(&VIEW, &client.ask(&op).await?)?;
    DONE
}

async fn attempts(session: &Session, args: One) -> Outcome {
    let client = session.client().await?;
    let of = &args.of;
    let project = names::project_or_own(session, client, of.project.as_deref(), of.org.as_deref()).await?;
    let op = ListAttempts { id: args.delivery, project_id: Some(project) };
    let answer = client.ask(&op).await?;
    let mut shown = session.printer.list(&ATTEMPTS)?;
    answer.data.iter().try_for_each(|attempt| shown.row(attempt))?;
    shown.finish()?;
    DONE
}

async fn resend(session: &Session, args: Resend) -> Outcome {
    let client = session.client().await?;
    let of = &args.of;
    let project = names::project_or_own(session, client, of.project.as_deref(), of.org.as_deref()).await?;
    let op = ResendDelivery { id: args.delivery, project_id: Some(project) };
    session.printer.answer(&VIEW, client.call(&op, CallOptions::dry(args.change.dry_run)).await?)?;
    DONE
}
