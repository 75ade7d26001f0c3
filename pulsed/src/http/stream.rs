//! A stream of server-sent events: what [`pulse_core::watch`] gives, as `text/event-stream` (HTML Living Standard, 9.2).
//!
//! - A task of its own reads the events and hands frames over, so that a reader that takes nothing is found out whatever
//!   carries the stream: after a minute it is let go, with its place.
//! - Who reads is asked again, as at the beginning, whenever the caches of keys and projects were dropped, when its key ends,
//!   and every 15 seconds: a key that is revoked or has expired, or a project that is deleted, ends the stream, wherever it is.

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{body::Body, response::Response};
use bytes::{Bytes, BytesMut};
use futures_util::stream;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header::AUTHORIZATION, request::Parts};
use pulse_core::{
    error::{Code, Error, Problem, Result},
    id::EventId,
    op::Call,
    ops::events::WatchEvents,
    registry::Route,
    watch::{Item, Watching, Why},
    wire::{self, Incoming},
};
use serde::Serialize;
use serde_json::json;
use tokio::{sync::mpsc, time::Instant};

use super::{
    App, answer,
    operation::{identify, prepare},
};
use crate::server::{KeepOpen, UnderWay};

const EVENT_STREAM: HeaderValue = HeaderValue::from_static("text/event-stream; charset=utf-8");
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// What stands in a request that says who calls.
const CREDENTIALS: [HeaderName; 3] =
    [AUTHORIZATION, HeaderName::from_static("x-pulse-key"), HeaderName::from_static("x-pulse-secret")];
/// Proxies such as nginx must not hold events back.
const BUFFERING: (HeaderName, HeaderValue) =
    (HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
/// How many bytes of frames are put together at most.
const AT_ONCE: usize = 16 << 10;
/// Frames that wait for the connection.
const WAITING: usize = 1;
/// How long the other side may take nothing.
const STALL: Duration = Duration::from_secs(60);
/// How often it is asked again who reads, when nothing calls for it.
const CHECK_EVERY: Duration = Duration::from_secs(15);
/// A comment, so that a connection that is dead is found out.
const BEAT: Bytes = Bytes::from_static(b":\n\n");

/// Begins a stream.
pub(super) async fn open(
    app: &Arc<App>,
    route: &Route,
    call: &mut Call,
    parts: &mut Parts,
    body: Body,
) -> Result<Response> {
    let pulse = app.plane.parts();
    // Before anything is looked at: what is revoked from then on is found out.
    let epoch = pulse.keyring.epoch();
    let prepared = prepare(app, &route.meta, call, parts, body).await;
    let refused = |error: &Error| app.plane.count_refused(route.meta.id, error);
    let (path, query, body) = prepared.inspect_err(refused)?;
    let incoming = Incoming { path: &path, query: &query, body: &body };
    let op: WatchEvents = wire::decode(route.schema(), incoming).inspect_err(refused)?;
    let last = last_event_id(&parts.headers).inspect_err(refused)?;
    let began = pulse.clock.monotonic();
    let watching = begin(app, call, &op, last).await;
    app.plane.count(&route.meta, began, watching.as_ref().err());
    let watching = watching?;
    let mut credentials = HeaderMap::new();
    for name in CREDENTIALS {
        credentials.extend(parts.headers.get(&name).map(|value| {
            let mut value = value.clone();
            value.set_sensitive(true);
            (name, value)
        }));
    }
    let (sender, frames) = mpsc::channel(WAITING);
    let asked = Asked { call: call.clone(), op, credentials, epoch, at: Instant::now() };
    let under_way = parts.extensions.remove::<KeepOpen>().map(|connection| connection.request());
    tokio::spawn(Reader { app: Arc::clone(app), asked, watching, sender, _under_way: under_way }.run());
    let frames = stream::unfold(frames, |mut frames| async move {
        let frame = frames.recv().await?;
        Some((Ok::<_, Infallible>(frame), frames))
    });
    let mut response = answer::with_type(StatusCode::OK, EVENT_STREAM, Body::from_stream(frames));
    response.headers_mut().insert(BUFFERING.0, BUFFERING.1);
    Ok(response)
}

/// Looks whether the caller may watch, and whether there is a place.
async fn begin(app: &App, call: &Call, op: &WatchEvents, last: Option<EventId>) -> Result<Watching> {
    let filter = app.plane.check(call, op).await?;
    app.plane.parts().watch(filter, last).await
}

/// The event after which the stream goes on.
fn last_event_id(headers: &HeaderMap) -> Result<Option<EventId>> {
    let Some(value) = headers.get(&LAST_EVENT_ID).filter(|value| !value.is_empty()) else { return Ok(None) };
    let id = value.to_str().ok().and_then(|text| text.parse().ok());
    id.map(Some).ok_or_else(|| {
        Error::invalid_field("Last-Event-ID", "invalid", "must be the id of an event, evt_..., as the stream gave it")
    })
}

/// Who reads, and what.
struct Asked {
    call: Call,
    op: WatchEvents,
    credentials: HeaderMap,
    /// The caches' epoch in which it was last asked, and when.
    epoch: u64,
    at: Instant,
}

impl Asked {
    /// Asks again, where it is time to.
    async fn check(&mut self, app: &App) -> Result<()> {
        let parts = app.plane.parts();
        let epoch = parts.keyring.epoch();
        let has_expired = || {
            let ends = self.call.caller.key().and_then(|key| key.expires_at);
            ends.is_some_and(|ends| ends <= parts.clock.now())
        };
        if epoch == self.epoch && self.at.elapsed() < CHECK_EVERY && !has_expired() {
            return Ok(());
        }
        (self.epoch, self.at) = (epoch, Instant::now());
        // It was paid for when it began.
        identify(app, &mut self.call, &self.credentials).await?;
        app.plane.check(&self.call, &self.op).await.map(drop)
    }
}

/// Somebody who reads a stream.
struct Reader {
    app: Arc<App>,
    asked: Asked,
    watching: Watching,
    sender: mpsc::Sender<Bytes>,
    /// A connection with a stream is not idle, however quiet it is; one whose stream takes nothing is, once this has ended.
    _under_way: Option<UnderWay>,
}

impl Reader {
    /// Hands frames over until the stream ends, on either side.
    async fn run(mut self) {
        let mut frame = opening(self.watching.position());
        while self.hand_over(frame).await {
            let next = tokio::select! {
                biased;
                () = self.sender.closed() => return,
                next = next(&self.app, &mut self.asked, &mut self.watching) => next,
            };
            match next {
                Ok(next) => frame = next,
                Err(end) => {
                    self.hand_over(end.frame()).await;
                    return;
                }
            }
        }
    }

    /// Waits for the connection to take a frame; whether it did.
    async fn hand_over(&self, frame: Bytes) -> bool {
        let hub = &self.app.plane.parts().hub;
        let taken = tokio::time::timeout(STALL, self.sender.send(frame));
        tokio::select! {
            biased;
            taken = taken => matches!(taken, Ok(Ok(()))),
            // Whoever takes nothing must not hold the end of the process up; the last words may still fit.
            () = hub.closed() => {
                drop(self.sender.try_send(End::from(Why::Stopping).frame()));
                false
            }
        }
    }
}

/// The next bytes, or why there are none.
async fn next(app: &App, asked: &mut Asked, watching: &mut Watching) -> Result<Bytes, End> {
    loop {
        let item = watching.next().await;
        if let Item::End(why) = item {
            return Err(why.into());
        }
        asked.check(app).await.map_err(|error| End::from(error.problem(&asked.call.request_id)))?;
        match item {
            Item::Event(told) => return Ok(frames(watching, told.frame.clone())),
            Item::Gap { from, to } => return Ok(named("gap", &json!({ "from": from, "to": to }))),
            Item::Tick { beat: true } => return Ok(BEAT),
            Item::Tick { beat: false } | Item::End(_) => {}
        }
    }
}

/// This frame, and those of the events that have come meanwhile: the more a reader is behind, the more it gets at once.
fn frames(watching: &mut Watching, first: Bytes) -> Bytes {
    // What is put together is this reader's own; what is large goes alone and is shared.
    let Some(second) = watching.next_at_once(AT_ONCE.saturating_sub(first.len())) else { return first };
    let mut frames = BytesMut::with_capacity(AT_ONCE);
    frames.extend_from_slice(&first);
    let mut next = Some(second);
    while let Some(told) = next {
        frames.extend_from_slice(&told.frame);
        next = watching.next_at_once(AT_ONCE - frames.len());
    }
    frames.freeze()
}

/// Why a stream ends. What is told of an error is what its answer would tell.
#[derive(Serialize)]
struct End {
    code: String,
    detail: String,
    hint: Option<String>,
}

impl End {
    /// The last frame.
    fn frame(&self) -> Bytes {
        named("end", &serde_json::to_value(self).unwrap_or_default())
    }
}

impl From<Problem> for End {
    fn from(problem: Problem) -> Self {
        Self { code: problem.code, detail: problem.detail, hint: problem.hint }
    }
}

impl From<Why> for End {
    fn from(why: Why) -> Self {
        let (code, detail) = match why {
            Why::TooSlow => ("too_slow", "this reader is too slow for what happens in the project"),
            Why::Stopping => ("stopping", "this process is shutting down"),
            Why::StoreUnavailable => (Code::StoreUnavailable.info().name, "events cannot be read from the store now"),
        };
        let hint = "Connect again with Last-Event-ID: what was missed comes first.".to_owned();
        Self { code: code.to_owned(), detail: detail.to_owned(), hint: Some(hint) }
    }
}

/// What comes at once: after how many milliseconds a browser connects again when the stream ends, and where it then goes on,
/// should no event have come.
fn opening(position: Option<EventId>) -> Bytes {
    let position = position.map(|id| format!("id: {id}\n")).unwrap_or_default();
    Bytes::from(format!("retry: 1000\n{position}\n"))
}

/// An event with a name, and without an id, so that a browser goes on after the last event of the project.
fn named(name: &str, data: &serde_json::Value) -> Bytes {
    Bytes::from(format!("event: {name}\ndata: {data}\n\n"))
}
