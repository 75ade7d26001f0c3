//! `pulse api`: any request to the API, and the answer as it came.

use std::path::Path;

use pulse_core::{op::Method, registry, wire::Request};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;

use super::DONE;
use crate::{
    args::system::Api,
    client::{CallOptions, Client},
    exit::{Failure, Outcome},
    input,
    session::Session,
    ui::View,
};

const VIEW: View = View::new(&[], &[]);

pub(super) async fn run(session: &Session, args: Api) -> Outcome {
    if !args.path.starts_with('/') {
        return Err(Failure::usage(format!("{:?} is not a path of the API", args.path))
            .hint("Paths begin with a slash: /v1/projects."));
    }
    let plain = args.path.split_once('?').map_or(args.path.as_str(), |(path, _)| path);
    if route(&args.method, plain).is_some_and(|(route, _)| route.meta.streams) {
        return Err(Failure::usage("this path answers a stream, which has no end").hint("Use pulse events tail."));
    }
    let body = match args.data.as_deref() {
        None => None,
        Some("-") => Some(input::text(Path::new("-"))?),
        Some(text) => Some(match text.strip_prefix('@') {
            Some(path) => input::text(Path::new(path))?,
            None => text.to_owned(),
        }),
    };
    let mut headers = HeaderMap::new();
    for line in &args.headers {
        let (name, value) = header(line).ok_or_else(|| Failure::usage("a header is written 'Name: value'"))?;
        headers.insert(name, value);
    }
    match session.client().await? {
        Client::Remote(remote) => {
            let method = args.method.to_ascii_uppercase();
            // A change of unknown shape is sent with a key of its own, so that a retry does not repeat it.
            let answer = remote.send_raw(&method, &args.path, headers, body).await?;
            let value = answer.value();
            answer.success()?;
            show(session, &value)
        }
        Client::Local(local) => {
            let (path, query) = args.path.split_once('?').unwrap_or((&args.path, ""));
            let answer = local.raw(&args.method, path, query, &headers, body.as_deref().unwrap_or_default()).await?;
            show(session, &answer)
        }
        Client::Curl(curl) => {
            let body = body.map(|text| serde_json::from_str::<Value>(&text)).transpose();
            let body = body.map_err(|_| Failure::usage("the body is not JSON"))?;
            let method = method(&args.method)?;
            curl.print(&Request { method, path: args.path, body }, CallOptions::default(), &args.headers)
        }
    }
}

fn show(session: &Session, value: &Value) -> Outcome {
    if session.printer.is_prose() {
        // There is no table for what may be anything.
        session.printer.text(&crate::ui::form::json(value))?;
    } else {
        session.printer.value(&VIEW, value)?;
    }
    DONE
}

fn header(line: &str) -> Option<(HeaderName, HeaderValue)> {
    let (name, value) = line.split_once(':')?;
    Some((name.trim().parse().ok()?, value.trim().parse().ok()?))
}

fn method(text: &str) -> Result<Method, Failure> {
    let all = [Method::Get, Method::Post, Method::Put, Method::Delete];
    let found = all.into_iter().find(|method| method.name().eq_ignore_ascii_case(text));
    found.ok_or_else(|| Failure::usage(format!("{text:?} is not a method of the API")))
}

/// The operation of a method and a path, with its path fields.
pub(crate) fn route(method: &str, path: &str) -> Option<(&'static registry::Route, Vec<(String, String)>)> {
    let fits = |route: &registry::Route| {
        let pattern: Vec<&str> = route.meta.path.split('/').collect();
        let parts: Vec<&str> = path.split('/').collect();
        let same = pattern
            .iter()
            .zip(&parts)
            .all(|(pattern, part)| pattern == part || (pattern.starts_with('{') && !part.is_empty()));
        same && pattern.len() == parts.len() && route.meta.method.name().eq_ignore_ascii_case(method)
    };
    // A fixed path wins over one with fields.
    let found =
        registry::OPERATIONS.iter().filter(|route| fits(route)).min_by_key(|route| route.meta.path_fields().count())?;
    Some((found, crate::client::path_fields(found.meta.path, path)))
}
