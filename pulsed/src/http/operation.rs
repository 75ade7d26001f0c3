//! One operation over HTTP: who calls, options of the call, the body, the plane, the answer.

use std::{borrow::Cow, net::IpAddr, sync::Arc};

use axum::{
    body::Body,
    extract::{FromRequestParts as _, RawPathParams, Request},
    response::Response,
};
use bytes::Bytes;
use http::{HeaderMap, header::USER_AGENT, request::Parts};
use pulse_core::{
    access::{Caller, caller::unauthenticated},
    error::{Code, Error, Result},
    op::{Call, Meta},
    registry::{Reply, Route},
    wire::Incoming,
};

use super::{App, Exchange, Handled, answer, authn, body, headers, log_error, stream};

/// The most bytes of a client's name that the audit keeps.
const MAX_USER_AGENT: usize = 256;

/// Answers one request of a route.
pub(super) async fn handle(app: Arc<App>, route: &'static Route, request: Request) -> Response {
    let (mut parts, body) = request.into_parts();
    let Some(exchange) = parts.extensions.remove::<Exchange>() else {
        return answer::problem(&Error::internal("a request without its exchange"), "");
    };
    let mut call = Call::new(Caller::Anonymous, exchange.id.as_str());
    call.ip = Some(exchange.ip);
    let result = if route.meta.streams {
        stream::open(&app, route, &mut call, &mut parts, body).await
    } else {
        operate(&app, route, &mut call, &mut parts, body).await.map(answer::reply)
    };
    let mut response = match result {
        Ok(response) => response,
        Err(error) => {
            log_error(&error, &exchange.id);
            answer::problem(&error, exchange.id.as_str())
        }
    };
    answer::rate(&mut response, call.rate.tightest());
    if super::serve::is_logged() {
        response.extensions_mut().insert(Handled { route: route.meta.id, caller: Some(call.caller.id()) });
    }
    response
}

async fn operate(app: &App, route: &Route, call: &mut Call, parts: &mut Parts, body: Body) -> Result<Reply> {
    let prepared = prepare(app, &route.meta, call, parts, body).await;
    let (path, query, body) = prepared.inspect_err(|error| app.plane.count_refused(route.meta.id, error))?;
    route.call(&app.plane, call, Incoming { path: &path, query: &query, body: &body }).await
}

/// Says who calls, and reads path fields, query and body.
pub(super) async fn prepare<'a>(
    app: &App,
    meta: &Meta,
    call: &mut Call,
    parts: &'a mut Parts,
    body: Body,
) -> Result<(Vec<(String, String)>, Cow<'a, str>, Bytes)> {
    identify(app, call, &parts.headers).await?;
    app.plane.admit(call, meta.cost).await?;
    if matches!(call.caller, Caller::Anonymous) && !meta.permissions.is_empty() {
        return Err(unauthenticated());
    }
    let path = path_fields(meta, parts).await?;
    let query = options(call, meta, parts)?;
    let bytes =
        if meta.method.has_body() { body::read(&parts.headers, body, app.body_timeout).await? } else { Bytes::new() };
    if !bytes.is_empty() {
        headers::check_json(&parts.headers)?;
    }
    Ok((path, query, bytes))
}

/// Says who calls. An address that keeps failing is told to wait: with credentials that nobody has, and with a key that is
/// refused because its project is suspended or because it may not be used from there.
pub(super) async fn identify(app: &App, call: &mut Call, headers: &HeaderMap) -> Result<()> {
    let ip: IpAddr = call.ip.unwrap_or(IpAddr::from([0, 0, 0, 0]));
    match authn::authenticate(&app.plane.parts().keyring, headers, ip).await {
        Ok(caller) => {
            call.caller = caller;
            Ok(())
        }
        Err(error) if matches!(error.code(), Code::Unauthenticated | Code::Suspended | Code::Forbidden) => {
            app.plane.admit(call, 1).await?;
            Err(error)
        }
        Err(error) => Err(error),
    }
}

/// Reads what belongs to the call and not to the operation; gives the query that is left for the operation.
fn options<'a>(call: &mut Call, meta: &Meta, parts: &'a Parts) -> Result<Cow<'a, str>> {
    call.user_agent = parts.headers.get(USER_AGENT).and_then(|agent| agent.to_str().ok()).map(shortened);
    call.read_options(meta, parts.uri.query().unwrap_or_default(), &parts.headers)
}

fn shortened(text: &str) -> String {
    text.chars().take(MAX_USER_AGENT).collect()
}

/// The fields that travel in the path, decoded.
async fn path_fields(meta: &Meta, parts: &mut Parts) -> Result<Vec<(String, String)>> {
    if meta.path_fields().next().is_none() {
        return Ok(Vec::new());
    }
    let params = RawPathParams::from_request_parts(parts, &())
        .await
        .map_err(|_| Error::new(Code::BadRequest, "the path is not UTF-8"))?;
    Ok(params.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
}
