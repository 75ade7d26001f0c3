//! One attempt: the request as Standard Webhooks has it, the exchange, and what came of it.

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::FutureExt;
use http::{
    HeaderName, HeaderValue, Method,
    header::{CONTENT_TYPE, RETRY_AFTER},
};

use super::{Dispatcher, Slot, Work, endpoint::Prepared};
use crate::{
    deliver::{
        schedule::parse_retry_after,
        sign::{ID_HEADER, Message, SIGNATURE_HEADER, TIMESTAMP_HEADER, sign},
        state::AttemptOutcome,
    },
    error::{Error, Result},
    model::event::opening,
    outbound::{Answer, FailureKind, Limits, Request, SendFailure, Trust},
    time::Timestamp,
};

const EVENT_TYPE_HEADER: HeaderName = HeaderName::from_static("pulse-event-type");
const DELIVERY_ID_HEADER: HeaderName = HeaderName::from_static("pulse-delivery-id");
const ATTEMPT_HEADER: HeaderName = HeaderName::from_static("pulse-attempt");
const REPLAY_HEADER: HeaderName = HeaderName::from_static("pulse-replay");
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// An attempt that has ended.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) outcome: AttemptOutcome,
    pub(super) started_at: Timestamp,
    pub(super) took: Duration,
    pub(super) came: Came,
}

/// What came back.
#[derive(Debug)]
pub(super) enum Came {
    /// An answer.
    Answer(Answer),
    /// A failure.
    Failure(SendFailure),
    /// Nothing that anybody knows of: a word for why.
    Nothing(&'static str),
}

impl Ended {
    /// One that ended as it began.
    pub(super) fn without_answer(outcome: AttemptOutcome, why: &'static str, started_at: Timestamp) -> Self {
        Self { outcome, started_at, took: Duration::ZERO, came: Came::Nothing(why) }
    }

    pub(super) fn answer(&self) -> Option<&Answer> {
        match &self.came {
            Came::Answer(answer) => Some(answer),
            Came::Failure(_) | Came::Nothing(_) => None,
        }
    }

    pub(super) fn failure(&self) -> Option<&SendFailure> {
        match &self.came {
            Came::Failure(failure) => Some(failure),
            Came::Answer(_) | Came::Nothing(_) => None,
        }
    }

    /// What it came to: an HTTP status or a fixed word.
    pub(super) fn word(&self) -> String {
        match &self.came {
            Came::Answer(answer) => answer.status.as_u16().to_string(),
            Came::Failure(failure) => failure.kind.word().to_owned(),
            Came::Nothing(why) => (*why).to_owned(),
        }
    }
}

/// The word for an attempt that was broken off.
pub(super) const INTERRUPTED: &str = "interrupted";

impl Dispatcher {
    /// Sends what is leased, and writes down what came of it. The place is given back at the end, whatever happens.
    pub(super) async fn attempt(self: Arc<Self>, mut slot: Slot, work: Work) {
        if work.delivery.is_asked_for() {
            // One after the other; when it is time to stop, all that were taken.
            self.stopping.run_until_cancelled(self.parts().courtesy.gap()).await;
        }
        let started_at = self.parts().clock.now();
        let ended = match AssertUnwindSafe(self.exchange(&work, started_at)).catch_unwind().await {
            Ok(ended) => ended,
            Err(_) => {
                tracing::error!(delivery = %work.delivery.id, "an attempt panicked");
                Ended::without_answer(AttemptOutcome::Fault { sent: true }, "panicked", started_at)
            }
        };
        if ended.outcome.is_success() {
            slot.answered();
        }
        self.finish(&work.delivery, &work.endpoint, &ended).await;
        drop(slot);
    }

    /// Sends the request once; once more when nothing of it had gone out.
    async fn exchange(&self, work: &Work, started_at: Timestamp) -> Ended {
        if self.cut.is_cancelled() {
            return Ended::without_answer(AttemptOutcome::Released { sent: false }, INTERRUPTED, started_at);
        }
        let clock = &self.parts().clock;
        let began = clock.monotonic();
        let request = match self.request(work, started_at) {
            Ok(request) => request,
            Err(fault) => {
                tracing::error!(delivery = %work.delivery.id, cause = ?fault.cause().map(ToString::to_string), "a webhook could not be made");
                let outcome = AttemptOutcome::Fault { sent: false };
                return Ended::without_answer(outcome, "request_not_made", started_at);
            }
        };
        let exchange = async {
            match self.parts().outbound.exchange(&request).await {
                // Nothing was sent, and nobody was asked in vain: it is the same attempt.
                Err(SendFailure { bytes_written: false, kind: FailureKind::Connect | FailureKind::Reset, .. }) => {
                    self.parts().outbound.exchange(&request).await
                }
                result => result,
            }
        };
        let (outcome, came) = tokio::select! {
            biased;
            result = exchange => {
                (outcome(&result, clock.now()), result.map_or_else(Came::Failure, Came::Answer))
            }
            // What is broken off may have reached the receiver.
            () = self.cut.cancelled() => (AttemptOutcome::Released { sent: true }, Came::Nothing(INTERRUPTED)),
        };
        Ended { outcome, started_at, took: clock.monotonic().saturating_sub(began), came }
    }

    fn request(&self, work: &Work, now: Timestamp) -> Result<Request> {
        let prepared = self.prepared.of(self.parts(), &work.endpoint)?;
        let body = Bytes::from([opening(work.seq).as_bytes(), work.body.as_bytes()].concat());
        let limits = Limits {
            total: Duration::from_secs(work.endpoint.timeout_seconds.into()).min(Limits::WEBHOOK.total),
            ..Limits::WEBHOOK
        };
        Ok(Request {
            method: Method::POST,
            url: prepared.url.clone(),
            headers: headers(work, &prepared, &body, now)?,
            body,
            trust: Trust::Tenant,
            limits,
        })
    }
}

fn headers(work: &Work, prepared: &Prepared, body: &[u8], now: Timestamp) -> Result<http::HeaderMap> {
    let id = work.delivery.event_id.to_string();
    let message = Message { id: &id, timestamp: now.as_secs(), body: &[body] };
    let signature = sign(prepared.live(now), &message);
    let number = work.delivery.state.attempts_made.saturating_add(1);
    let text = |value: String| HeaderValue::try_from(value).map_err(Error::internal);
    let mut headers = prepared.headers.clone();
    headers.insert(CONTENT_TYPE, JSON);
    headers.insert(TIMESTAMP_HEADER, now.as_secs().into());
    headers.insert(SIGNATURE_HEADER, text(signature)?);
    headers.insert(ID_HEADER, text(id)?);
    headers.insert(EVENT_TYPE_HEADER, text(work.delivery.event_type.clone())?);
    headers.insert(DELIVERY_ID_HEADER, text(work.delivery.id.to_string())?);
    headers.insert(ATTEMPT_HEADER, number.into());
    if let Some(replay) = work.delivery.replay() {
        headers.insert(REPLAY_HEADER, text(replay.to_string())?);
    }
    Ok(headers)
}

fn outcome(result: &Result<Answer, SendFailure>, now: Timestamp) -> AttemptOutcome {
    match result {
        Ok(answer) => {
            let asked = answer.headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok());
            let retry_after = asked.and_then(|text| parse_retry_after(text, now));
            AttemptOutcome::Answered { status: answer.status.as_u16(), retry_after }
        }
        // This machine could not try: that is no attempt of the receiver's.
        Err(SendFailure { kind: FailureKind::Local, bytes_written, .. }) => {
            AttemptOutcome::Hindered { sent: *bytes_written }
        }
        Err(failure) => AttemptOutcome::NoAnswer { timed_out: matches!(failure.kind, FailureKind::Timeout(_)) },
    }
}
