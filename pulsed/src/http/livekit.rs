//! The doors for LiveKit's webhooks. No limit counts here and no key of Pulse opens: what comes is believed when LiveKit
//! signed it. Success is an empty 204, and only after what it says is durable.

use std::sync::Arc;

use axum::{
    body::Body,
    extract::{Path, Request, State},
    response::Response,
};
use http::{StatusCode, header::AUTHORIZATION};
use pulse_core::{
    error::{Code, Error, Result},
    ingest::{Door, PATIENCE, RETRY_AFTER_SECONDS},
};

use super::{App, Exchange, Handled, answer, body, refuse};

/// `POST /v1/webhooks/livekit`: the installation's own LiveKit.
pub(super) async fn server(State(app): State<Arc<App>>, request: Request) -> Response {
    answer_to(&app, Ok(Door::Server), request, "livekit.ingest").await
}

/// `POST /v1/webhooks/livekit/{project_id}`: the LiveKit that a project brought along.
pub(super) async fn project(State(app): State<Arc<App>>, Path(project): Path<String>, request: Request) -> Response {
    let door = project.parse().map(Door::Project).map_err(|_| Error::new(Code::NoRoute, "there is no such path"));
    answer_to(&app, door, request, "livekit.ingest_project").await
}

async fn answer_to(app: &App, door: Result<Door>, request: Request, route: &'static str) -> Response {
    let (mut parts, body) = request.into_parts();
    let Some(exchange) = parts.extensions.remove::<Exchange>() else {
        return answer::problem(&Error::internal("a request without its exchange"), "");
    };
    let taken = async {
        let (door, began) = (door?, tokio::time::Instant::now());
        // One time for the body and what comes of it: LiveKit does not wait any longer. A 4xx would be taken for delivered.
        let read = tokio::time::timeout(PATIENCE, body::whole(&parts.headers, body)).await;
        let read = read.unwrap_or_else(|_| {
            Err(Error::new(Code::Overloaded, "the event did not arrive in time").retry_after(RETRY_AFTER_SECONDS))
        });
        let bytes = read.inspect_err(|error| app.pipeline.ingest.note_failed(door, error))?;
        let authorization = parts.headers.get(AUTHORIZATION).map(http::HeaderValue::as_bytes);
        let left = PATIENCE.saturating_sub(began.elapsed());
        app.pipeline.ingest.receive_within(left, door, authorization, &bytes).await
    };
    let mut response = match taken.await {
        Ok(_) => {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::NO_CONTENT;
            response
        }
        Err(error) => refuse(&error, &exchange.id),
    };
    response.extensions_mut().insert(Handled { route, caller: None });
    response
}
