//! `pulse listen`: the project's events to a server on this machine, signed as webhooks are.

use std::time::Duration;

use pulse_core::{
    deliver::sign::{self, ID_HEADER, Message, SIGNATURE_HEADER, SigningSecret, TIMESTAMP_HEADER},
    entropy::SystemEntropy,
    id::EventId,
    model::event::EventView,
    ops::events::WatchEvents,
    time::Timestamp,
};
use serde::Serialize;

use super::{
    DONE,
    events::{Follower, filter},
    listing::Endless,
    sinks,
};
use crate::{
    args::events::Listen,
    client::{forwarder, reason},
    exit::{Failure, Outcome},
    names,
    session::Session,
    ui::{View, view},
};

pub(super) const VIEW: View =
    View::new(&["event_id", "type", "status", "error", "duration_ms", "forwarded_at"], &[]).id("event_id");

/// How long the server may take, as an endpoint may by default.
const TIMEOUT: Duration = Duration::from_secs(15);
/// The longest answer that is read, in bytes, as of an endpoint.
const MAX_ANSWER: usize = 64 << 10;

/// What became of an event.
#[derive(Debug, Serialize)]
struct Forwarded {
    event_id: EventId,
    #[serde(rename = "type")]
    kind: String,
    /// The status that the server answered; none without an answer.
    status: Option<u16>,
    error: Option<String>,
    duration_ms: u64,
    forwarded_at: Timestamp,
}

pub(super) async fn run(session: &Session, args: Listen) -> Outcome {
    Endless::check(session, args.limit)?;
    let client = session.client().await?;
    let op = WatchEvents {
        project_id: names::project_if_named(session, client, &args.of).await?,
        types: filter(args.types)?,
        room: None,
        session_id: None,
        from: args.since.map(|moment| moment.from(session.now())),
    };
    let local = forwarder(session, &args.forward_to)?;
    let sinks = sinks::plan(session, &args.sinks)?;
    if sinks.is_empty() && !session.printer.is_prose() {
        return Err(Failure::usage("the secret that signs has nowhere to go: only a result for people shows it")
            .hint("Use --secret-to-file FILE, or --secret-to-env-file FILE:NAME."));
    }
    let secret = SigningSecret::generate(&SystemEntropy::default());
    let printer = &session.printer;
    let mut follower = Follower::new(session, client, op, None);
    follower.connect().await?;
    for sink in &sinks {
        sink.store(session, secret.text().expose()).await?;
    }
    let shown = printer.is_prose() && sinks.is_empty();
    if shown {
        printer.text(&format!("forwarding to {}, signed with {}\n", args.forward_to, secret.text().expose()))?;
    } else {
        printer.advice(&format!("forwarding to {}", args.forward_to));
    }
    let mut rows = Endless::new(session, &VIEW, args.limit)?;
    while rows.goes_on() {
        let (id, envelope) = follower.next().await?;
        let kind = serde_json::from_str::<EventView>(&envelope).map(|event| event.kind).unwrap_or_default();
        let now = session.now();
        let timestamp = now.as_secs();
        let signature = {
            let id = id.to_string();
            sign::sign([&secret], &Message { id: &id, timestamp, body: &[envelope.as_bytes()] })
        };
        let began = session.clock.monotonic();
        let request = local
            .post(args.forward_to.clone())
            .timeout(TIMEOUT)
            .header(reqwest::header::CONTENT_TYPE, "application/json")
            .header(ID_HEADER, id.to_string())
            .header(TIMESTAMP_HEADER, timestamp)
            .header(SIGNATURE_HEADER, signature)
            .header("pulse-event-type", &kind)
            .body(envelope);
        let answered = exchange(request).await;
        let forwarded = Forwarded {
            event_id: id,
            kind,
            status: answered.as_ref().ok().copied(),
            error: answered.err(),
            duration_ms: u64::try_from(session.clock.monotonic().saturating_sub(began).as_millis()).unwrap_or(u64::MAX),
            forwarded_at: now,
        };
        rows.row(&forwarded, || line(&forwarded))?;
    }
    rows.finish()?;
    DONE
}

/// The status of the answer, which is read to its end within bounds; or why there is none.
async fn exchange(request: reqwest::RequestBuilder) -> Result<u16, String> {
    let why = |cause: reqwest::Error| {
        if cause.is_timeout() { format!("no answer within {} s", TIMEOUT.as_secs()) } else { reason(&cause) }
    };
    let mut response = request.send().await.map_err(why)?;
    let (status, mut read) = (response.status().as_u16(), 0);
    while let Some(chunk) = response.chunk().await.map_err(why)? {
        read += chunk.len();
        if read > MAX_ANSWER {
            break;
        }
    }
    Ok(status)
}

fn line(forwarded: &Forwarded) -> String {
    let Forwarded { kind, status, error, duration_ms, event_id, forwarded_at, .. } = forwarded;
    let came = match (status, error) {
        (Some(status), _) => status.to_string(),
        (None, error) => error.clone().unwrap_or_default(),
    };
    view::visible(&format!("{forwarded_at}  {kind} -> {came} in {duration_ms} ms  {event_id}")) + "\n"
}
