//! Answers: documents, problems, and the headers that go with them.

use axum::{body::Body, response::Response};
use http::{
    HeaderName, HeaderValue, StatusCode,
    header::{CONNECTION, CONTENT_TYPE, ETAG, RETRY_AFTER, WWW_AUTHENTICATE},
};
use pulse_core::{
    error::{Code, Error},
    limit::Decision,
    registry::Reply,
};

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const PROBLEM: HeaderValue = HeaderValue::from_static("application/problem+json");
const TRUE: HeaderValue = HeaderValue::from_static("true");
const CHALLENGE: HeaderValue = HeaderValue::from_static("Bearer realm=\"pulse\"");
const CLOSE: HeaderValue = HeaderValue::from_static("close");
const IDEMPOTENT_REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");
const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
/// The period that rates are given for, in seconds.
const WINDOW: u32 = 60;

/// An answer with this content type.
pub(super) fn with_type(status: StatusCode, kind: HeaderValue, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.reserve(12);
    headers.insert(CONTENT_TYPE, kind);
    response
}

/// A JSON answer.
pub(super) fn json(status: StatusCode, body: impl Into<Body>) -> Response {
    with_type(status, JSON, body)
}

/// The answer of an operation.
pub(super) fn reply(reply: Reply) -> Response {
    let mut response = json(status(reply.status), reply.body);
    if let Some(version) = reply.version {
        let tag = HeaderValue::from_str(&format!("\"{version}\""));
        tag.into_iter().for_each(|tag| drop(response.headers_mut().insert(ETAG, tag)));
    }
    if reply.replayed {
        response.headers_mut().insert(IDEMPOTENT_REPLAYED, TRUE);
    }
    response
}

/// The problem document of an error (RFC 9457), without its cause.
pub(super) fn problem(error: &Error, request_id: &str) -> Response {
    let problem = error.problem(request_id);
    let body = serde_json::to_vec(&problem).unwrap_or_default();
    let mut response = with_type(status(problem.status), PROBLEM, body);
    let headers = response.headers_mut();
    if let Some(seconds) = problem.retry_after {
        headers.insert(RETRY_AFTER, seconds.into());
    }
    match error.code() {
        Code::Unauthenticated => drop(headers.insert(WWW_AUTHENTICATE, CHALLENGE)),
        // The rest of the body is not waited for.
        Code::BodyTooLarge | Code::RequestTimeout | Code::HeadersTooLarge => drop(headers.insert(CONNECTION, CLOSE)),
        _ => {}
    }
    response
}

/// Adds what is left of the tightest limit, as draft-ietf-httpapi-ratelimit-headers-10 says.
pub(super) fn rate(response: &mut Response, decision: Option<Decision>) {
    let Some(Decision { limit, remaining, reset_seconds, .. }) = decision else { return };
    let policy = HeaderValue::from_str(&format!("\"default\";q={limit};w={WINDOW}"));
    let left = HeaderValue::from_str(&format!("\"default\";r={remaining};t={reset_seconds}"));
    if let (Ok(policy), Ok(left)) = (policy, left) {
        response.headers_mut().insert(RATE_LIMIT_POLICY, policy);
        response.headers_mut().insert(RATE_LIMIT, left);
    }
}

fn status(status: u16) -> StatusCode {
    StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}
