//! What happens with every request, whatever its route.

use std::{
    convert::Infallible,
    panic::AssertUnwindSafe,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use axum::{
    BoxError,
    body::{Body, Bytes, HttpBody},
    response::Response,
};
use futures_util::FutureExt as _;
use http::{
    HeaderMap, HeaderName, HeaderValue, Request,
    header::{
        CACHE_CONTROL, CONTENT_SECURITY_POLICY, REFERRER_POLICY, STRICT_TRANSPORT_SECURITY, X_CONTENT_TYPE_OPTIONS,
        X_FRAME_OPTIONS,
    },
};
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
pub async fn serve<B>(app: Arc<App>, peer: Peer, request: Request<B>) -> Result<Response, Infallible>
where
    B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
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

async fn respond<B>(app: &Arc<App>, peer: Peer, id: &RequestId, request: Request<B>) -> Response
where
    B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
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
fn header_bytes<B>(request: &Request<B>) -> usize {
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

#[cfg(test)]
mod tests {
    use std::{
        collections::BTreeMap,
        net::{IpAddr, Ipv4Addr},
    };

    use axum::routing;
    use http_body_util::BodyExt as _;
    use pulse_core::config::{Settings, SourceKind, Sources};

    use super::*;

    const SECRET: &str = "what-only-the-panic-knows";

    /// An application over an empty store in memory, with one more route, that panics.
    async fn app() -> Arc<App> {
        pulse_core::boot::open::install_cryptography();
        let given = [("PULSE_STORE", "memory:"), ("PULSE_ADMIN_TOKEN", "an-operators-token-of-enough-characters")];
        let values: BTreeMap<String, String> = given.map(|(name, value)| (name.into(), value.into())).into();
        let settings = Settings::resolve(&Sources::new().with(SourceKind::Environment, values)).ok().unwrap();
        let panics = routing::get(async || -> Response { panic!("{SECRET}") });
        let plane = crate::boot::boot(&settings).await.unwrap().plane;
        App::with_routes(
            pulse_core::pipeline::Pipeline::new(plane),
            &settings,
            super::super::router().route("/panic", panics),
        )
    }

    async fn get(app: &Arc<App>, path: &str) -> (Response<()>, String) {
        let peer = Peer { ip: IpAddr::V4(Ipv4Addr::LOCALHOST), tls: false };
        let request = Request::get(path).body(Body::empty()).unwrap();
        let (parts, body) = serve(Arc::clone(app), peer, request).await.unwrap().into_parts();
        let text = body.collect().await.unwrap().to_bytes();
        (Response::from_parts(parts, ()), String::from_utf8(text.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn a_panic_is_a_500_that_tells_nothing_and_the_next_request_is_answered() {
        let app = app().await;
        for _ in 0..3 {
            let (head, text) = get(&app, "/panic").await;
            assert_eq!(head.status(), 500);
            assert_eq!(head.headers()["content-type"], "application/problem+json");
            assert_eq!(head.headers()["x-content-type-options"], "nosniff");
            assert!(!text.contains(SECRET), "{text}");
            let problem: serde_json::Value = serde_json::from_str(&text).unwrap();
            assert_eq!(problem["code"], "internal");
            assert_eq!(problem["request_id"], head.headers()[X_REQUEST_ID].to_str().unwrap());
        }
        assert_eq!(app.in_flight.load(Ordering::Relaxed), 0, "requests that panicked hold their places");
        assert_eq!(get(&app, "/ready").await.0.status(), 200);
    }
}
