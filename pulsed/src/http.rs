//! HTTP: what happens with a request before and after the control plane. Routes come from the registry; beside them are
//! health, readiness, metrics and the OpenAPI document.
//!
//! [`serve`] does for every request, whatever its route, what no operation should care about: the request id, the bound on
//! requests at once, limits on headers, HTTPS enforcement, CORS, security headers, the access log, and panics.

mod answer;
mod authn;
mod body;
mod client;
mod cors;
mod headers;
mod livekit;
mod operation;
mod plain;
mod serve;
mod stream;

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    net::IpAddr,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicUsize},
    },
    time::Duration,
};

use axum::{
    Router,
    extract::{Request, State},
    response::Response,
    routing::{self, MethodRouter},
};
use bytes::Bytes;
use ipnet::IpNet;
use parking_lot::RwLock;
use pulse_core::{
    config::Settings, error::Error, op::Method, pipeline::Pipeline, plane::ControlPlane, registry::OPERATIONS,
};

pub use serve::serve;

use self::{cors::Origins, headers::RequestId};

/// Everything that answering requests needs.
pub struct App {
    plane: Arc<ControlPlane>,
    pipeline: Arc<Pipeline>,
    router: OnceLock<Router>,
    origins: RwLock<Arc<Origins>>,
    trusted_proxies: Vec<IpNet>,
    https: bool,
    body_timeout: Duration,
    max_requests: usize,
    in_flight: AtomicUsize,
    draining: AtomicBool,
    openapi: OnceLock<Bytes>,
}

impl std::fmt::Debug for App {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("App").field("plane", &self.plane).finish_non_exhaustive()
    }
}

/// What [`serve`] tells the handler about the request.
#[derive(Clone, Debug)]
struct Exchange {
    id: RequestId,
    ip: IpAddr,
}

/// What a handler tells [`serve`] for the access log.
#[derive(Clone, Debug)]
struct Handled {
    route: &'static str,
    caller: Option<String>,
}

impl App {
    /// The application over a pipeline and its plane.
    pub fn new(pipeline: Arc<Pipeline>, settings: &Settings) -> Arc<Self> {
        Self::with_routes(pipeline, settings, router())
    }

    fn with_routes(pipeline: Arc<Pipeline>, settings: &Settings, routes: Router<Arc<Self>>) -> Arc<Self> {
        let app = Arc::new(Self {
            router: OnceLock::new(),
            origins: RwLock::new(Arc::new(Origins::new(&settings.cors_origins))),
            trusted_proxies: settings.trusted_proxies.clone(),
            https: settings.https,
            body_timeout: settings.body_timeout,
            max_requests: settings.max_requests,
            in_flight: AtomicUsize::new(0),
            draining: AtomicBool::new(false),
            openapi: OnceLock::new(),
            plane: Arc::clone(&pipeline.plane),
            pipeline,
        });
        let _ = app.router.set(routes.with_state(Arc::clone(&app)));
        app
    }

    /// Takes other origins for CORS.
    pub fn set_origins(&self, origins: &[String]) {
        *self.origins.write() = Arc::new(Origins::new(origins));
    }

    /// Says that the process is about to end: `/ready` sends traffic elsewhere, and streams of events end with a word.
    pub fn drain(&self) {
        self.draining.store(true, std::sync::atomic::Ordering::Relaxed);
        self.plane.parts().hub.close();
    }
}

/// All routes.
fn router() -> Router<Arc<App>> {
    let mut paths: BTreeMap<&'static str, MethodRouter<Arc<App>>> = BTreeMap::new();
    for route in OPERATIONS.iter() {
        let methods = paths.remove(route.meta.path).unwrap_or_default();
        let handler = move |State(app): State<Arc<App>>, request: Request| operation::handle(app, route, request);
        let methods = match route.meta.method {
            Method::Get => methods.get(handler),
            Method::Post => methods.post(handler),
            Method::Put => methods.put(handler),
            Method::Delete => methods.delete(handler),
        };
        paths.insert(route.meta.path, methods);
    }
    let mut router = Router::new();
    for (path, methods) in paths {
        router = router.route(path, methods);
    }
    router
        .route("/health", routing::get(plain::health))
        .route("/ready", routing::get(plain::ready))
        .route("/metrics", routing::get(plain::metrics))
        .route("/openapi.json", routing::get(plain::openapi))
        .route("/v1/webhooks/livekit", routing::post(livekit::server))
        .route("/v1/webhooks/livekit/{project_id}", routing::post(livekit::project))
        .fallback(plain::no_route)
        .method_not_allowed_fallback(plain::method_not_allowed)
}

/// The problem answer of a handler, logged.
fn refuse(error: &Error, id: &RequestId) -> Response {
    log_error(error, id);
    answer::problem(error, id.as_str())
}

/// Logs an error that is Pulse's own fault, with its cause, its hint and the request id: the caller reads none of them.
fn log_error(error: &Error, id: &RequestId) {
    let status = error.code().info().status;
    if status < 500 && error.cause().is_none() {
        return;
    }
    let mut cause = String::new();
    let mut next = error.cause().map(|cause| cause as &dyn std::error::Error);
    while let Some(one) = next {
        let _ = write!(cause, "{}{one}", if cause.is_empty() { "" } else { ": " });
        next = one.source();
    }
    let (request_id, code, hint) = (id.as_str(), error.code().info().name, error.hint_text());
    if status == 500 {
        tracing::error!(request_id, code, cause, hint, "{}", error.message());
    } else {
        tracing::warn!(request_id, code, cause, hint, "{}", error.message());
    }
}
