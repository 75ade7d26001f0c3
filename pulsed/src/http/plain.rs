//! Routes beside the registry: health, readiness, metrics, the OpenAPI document, and what has no route. None of them
//! counts against a limit.

use std::sync::{Arc, atomic::Ordering};

use axum::{
    extract::{Extension, State},
    response::Response,
};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode};
use pulse_core::{
    access::{Caller, caller::unauthenticated},
    error::{Code, Error, Result},
    health::Health,
    op::Call,
    openapi,
};
use serde_json::json;

use super::{App, Exchange, answer, operation::identify, refuse};

const PROMETHEUS: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");

/// `GET /health`: the process is alive. Looks at nothing else, so that a store that is down does not get it restarted.
pub(super) async fn health() -> Response {
    answer::json(StatusCode::OK, r#"{"status":"ok"}"#)
}

/// `GET /ready`: requests can be answered now, or why not; and what they are answered without. The store is asked once a
/// second at most, and Redis is not asked for this.
pub(super) async fn ready(State(app): State<Arc<App>>) -> Response {
    let parts = app.plane.parts();
    let mut reasons = Vec::new();
    if app.draining.load(Ordering::Relaxed) {
        reasons.push("this process is shutting down".to_owned());
    }
    // Anybody may ask: what exactly is wrong stands in the log, and in the operator's status.
    if parts.store_health().await.state != Health::Ok {
        reasons.push("store: it cannot be used; the log and `pulse status` say why".to_owned());
    }
    if !parts.keyring.is_fresh() {
        reasons
            .push("store: what was revoked elsewhere is not known here, because it has not been readable".to_owned());
    }
    let status = if reasons.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let mut body = json!({ "status": if reasons.is_empty() { "ready" } else { "not_ready" }, "reasons": reasons });
    if parts.redis_health().is_some_and(|redis| redis.state != Health::Ok) {
        body["degraded"] = json!(["redis: it cannot be used; each daemon admits its share of every limit by itself"]);
    }
    let mut response = answer::json(status, body.to_string());
    if status != StatusCode::OK {
        response.headers_mut().insert(http::header::RETRY_AFTER, 5.into());
    }
    response
}

/// `GET /metrics`: all series, for the operator.
pub(super) async fn metrics(
    State(app): State<Arc<App>>,
    Extension(exchange): Extension<Exchange>,
    headers: HeaderMap,
) -> Response {
    match render(&app, &exchange, &headers).await {
        Ok(text) => answer::with_type(StatusCode::OK, PROMETHEUS, text),
        Err(error) => refuse(&error, &exchange.id),
    }
}

async fn render(app: &App, exchange: &Exchange, headers: &HeaderMap) -> Result<String> {
    let mut call = Call::new(Caller::Anonymous, exchange.id.as_str());
    call.ip = Some(exchange.ip);
    identify(app, &mut call, headers).await?;
    match call.caller {
        Caller::Operator(_) => app.plane.parts().metrics.render(),
        Caller::Anonymous => Err(unauthenticated()),
        Caller::Key(_) => {
            Err(Error::new(Code::Forbidden, "metrics are the operator's").hint("Send the operator's token."))
        }
    }
}

/// `GET /openapi.json`: made once, when it is first asked for.
pub(super) async fn openapi(State(app): State<Arc<App>>) -> Response {
    let document = app.openapi.get_or_init(|| Bytes::from(openapi::document().to_string()));
    answer::json(StatusCode::OK, document.clone())
}

/// No such path.
pub(super) async fn no_route(Extension(exchange): Extension<Exchange>) -> Response {
    refuse(&Error::new(Code::NoRoute, "there is no such path"), &exchange.id)
}

/// The path exists, but not with this method; the router adds `Allow`.
pub(super) async fn method_not_allowed(Extension(exchange): Extension<Exchange>) -> Response {
    refuse(&Error::new(Code::MethodNotAllowed, "this path has no such method"), &exchange.id)
}
