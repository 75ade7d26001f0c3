//! What happens with every request, whatever its route.

use std::{
    convert::Infallible,
    panic::AssertUnwindSafe,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use axum::{body::Body, response::Response};
use futures_util::FutureExt as _;
use http::{
    HeaderMap, HeaderName, HeaderValue, Request,
    header::{
        CACHE_CONTROL, CONTENT_SECURITY_POLICY, REFERRER_POLICY, STRICT_TRANSPORT_SECURITY, X_CONTENT_TYPE_OPTIONS,
        X_FRAME_OPTIONS,
    },
};
use hyper::body::Incoming;
use pulse_core::error::{Code, Error};
use tower::Service as _;

use super::{
    App, Exchange, Handled, answer, client, cors,
    headers::{RequestId, X_REQUEST_ID},
};
use crate::server::Peer;

/// The most bytes of a request's line and headers.
const MAX_HEADERS: usize = 16 << 10;
/// After how many seconds a refused client should come again.
const RETRY: u64 = 5;

const SECURITY: [(HeaderName, HeaderValue); 5] = [
    (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'")),
    (X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
    (CACHE_CONTROL, HeaderValue::from_static("no-store")),
];
const HSTS: HeaderValue = HeaderValue::from_static("max-age=31536000; includeSubDomains");

/// Whether requests are logged at all.
pub(super) fn is_logged() -> bool {
    tracing::enabled!(target: "pulsed::access", tracing::Level::INFO)
}

/// Answers one request. Never fails: everything that goes wrong is an answer.
pub async fn serve(app: Arc<App>, peer: Peer, request: Request<Incoming>) -> Result<Response, Infallible> {
    let parts = app.plane.parts();
    let id = RequestId::of(request.headers(), parts.entropy.as_ref());
    let logged = is_logged().then(|| (parts.clock.monotonic(), request.method().clone()));
    let origins = Arc::clone(&app.origins.read());
    let origin = origins.allowed(request.headers());
    let mut response = if cors::is_preflight(&request) {
        cors::preflight(origin.is_some())
    } else {
        let answered = AssertUnwindSafe(respond(&app, peer, &id, request)).catch_unwind().await;
        answered.unwrap_or_else(|_| {
            // The panic itself was logged by the hook, with its place.
            tracing::error!(request_id = id.as_str(), "a request panicked");
            answer::problem(&Error::internal("a request panicked"), id.as_str())
        })
    };
    let headers = response.headers_mut();
    headers.insert(X_REQUEST_ID, id.header());
    for (name, value) in SECURITY {
        headers.insert(name, value);
    }
    if app.https {
        headers.insert(STRICT_TRANSPORT_SECURITY, HSTS);
    }
    if origins.any() {
        cors::mark(headers, origin);
    }
    if let Some((began, method)) = logged {
        log(&app, began, &method, &id, &mut response);
    }
    Ok(response)
}

async fn respond(app: &Arc<App>, peer: Peer, id: &RequestId, request: Request<Incoming>) -> Response {
    let path = request.uri().path();
    let probe = path == "/health" || path == "/ready";
    let refused = if header_bytes(&request) > MAX_HEADERS {
        Some(Error::new(Code::HeadersTooLarge, "the headers are larger than 16 KiB"))
    } else if app.https && !probe && !client::used_tls(peer, request.headers(), &app.trusted_proxies) {
        Some(
            Error::new(Code::Forbidden, "this server takes requests over HTTPS only")
                .hint("Use https:// in the address."),
        )
    } else {
        None
    };
    if let Some(error) = refused {
        return super::refuse(&error, id);
    }
    let Some(_place) = Place::take(app, probe) else {
        return super::refuse(&Error::new(Code::Overloaded, "too many requests are under way").retry_after(RETRY), id);
    };
    let ip = client::address(peer.ip, request.headers(), &app.trusted_proxies);
    let mut request = request.map(Body::new);
    request.extensions_mut().insert(Exchange { id: id.clone(), ip });
    match app.router.get().cloned() {
        Some(mut router) => router.call(request).await.unwrap_or_else(|never| match never {}),
        None => super::refuse(&Error::internal("there is no router"), id),
    }
}

/// How large the request's line and headers are.
fn header_bytes(request: &Request<Incoming>) -> usize {
    let uri = request.uri().path_and_query().map_or(0, |path| path.as_str().len());
    let fields: usize = sizes(request.headers()).sum();
    uri + fields
}

fn sizes(headers: &HeaderMap) -> impl Iterator<Item = usize> {
    headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4)
}

/// One of the requests at once.
struct Place<'a>(&'a App);

impl<'a> Place<'a> {
    /// A place, if there is one; probes always get one.
    fn take(app: &'a App, probe: bool) -> Option<Self> {
        let taken = app.in_flight.fetch_add(1, Ordering::Relaxed);
        let place = Self(app);
        (probe || taken < app.max_requests).then_some(place)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

/// One line for each request: never its query, which may hold what belongs to the client, and never a header.
fn log(app: &App, began: Duration, method: &http::Method, id: &RequestId, response: &mut Response) {
    let took = app.plane.parts().clock.monotonic().saturating_sub(began);
    let handled = response.extensions_mut().remove::<Handled>();
    tracing::info!(
        target: "pulsed::access",
        request_id = id.as_str(),
        method = method.as_str(),
        operation = handled.as_ref().map_or("-", |handled| handled.route),
        caller = handled.as_ref().and_then(|handled| handled.caller.as_deref()).unwrap_or("-"),
        status = response.status().as_u16(),
        ms = took.as_micros() as f64 / 1_000.0,
        "request"
    );
}
