//! Writing down what came of an attempt: the delivery's new state and the attempt's row in one commit. Only the holder of
//! the lease changes the delivery; who comes late leaves a row that says so.

use std::time::Duration;

use super::{Dispatcher, Work, attempt::Ended, notices::is_operational, random};
use crate::{
    deliver::{
        breaker::Observed,
        state::{DeliveryState, Effect, Input, Record, Status, Step, Transition, step},
    },
    error::{Error, Result},
    fault,
    model::{
        delivery::{Attempt, AttemptResult, Delivery, FIRST, Priority, Trigger},
        endpoint::Endpoint,
    },
    outbound::Answer,
    repo::{Document, get},
    store::{Batch, CommitMode, Outcome},
};

/// How much of an answer's body is kept, in bytes.
const KEPT_BODY: usize = 16 * 1024;
/// How many headers of an answer are kept, and how long their values may be.
const KEPT_HEADERS: usize = 40;
const KEPT_VALUE: usize = 512;
/// Headers of answers whose values may be secrets.
const SECRET_HEADERS: [&str; 5] = ["set-cookie", "authorization", "proxy-authorization", "www-authenticate", "cookie"];
/// How often a commit is tried when somebody else has changed the delivery.
const TRIES: usize = 5;
/// How long to wait before a commit is tried again that the store could not take.
const STORE_PAUSE: Duration = Duration::from_millis(250);

impl Dispatcher {
    /// Writes down what came of an attempt, and what it means for its endpoint.
    pub(super) async fn finish(&self, work: Work, ended: Ended) {
        let Work { delivery, endpoint, .. } = work;
        let Some(token) = delivery.state.lease_token else { return };
        let schedule = endpoint.schedule.as_ref().unwrap_or(&self.parts().settings.pipeline.schedule);
        let input = Input::Finish { token, outcome: ended.outcome };
        match step(&delivery.state, input, schedule, random(self.parts())) {
            Step::Moved(moved) => {
                let attempt = self.row(&delivery, &ended, moved.record);
                if !self.write_down(&delivery, moved.to, moved.due_in, attempt).await {
                    return;
                }
                self.count(&moved, &ended);
                self.tell_endpoint(&endpoint, &delivery.event_type, &ended, &moved).await;
                if let Some(wait) = moved.due_in {
                    self.awaken(endpoint.id, wait);
                }
            }
            Step::Late | Step::Unmoved => {}
        }
    }

    /// Commits a delivery's new state with the attempt's row. While the store cannot take it, it is tried again for as long
    /// as the lease lasts; after that the lease is taken back by itself. Gives whether the delivery was still ours: who comes
    /// late has nothing to say about its endpoint either.
    pub(super) async fn write_down(
        &self,
        delivery: &Delivery,
        to: DeliveryState,
        due_in: Option<Duration>,
        attempt: Option<Attempt>,
    ) -> bool {
        let clock = &self.parts().clock;
        let end = clock.monotonic().saturating_add(self.parts().settings.pipeline.lease);
        loop {
            match self.try_write_down(delivery, to, due_in, attempt.as_ref()).await {
                Ok(held) => return held,
                Err(error) if clock.monotonic() < end && !self.cut.is_cancelled() => {
                    tracing::warn!(delivery = %delivery.id, error = %error, "the end of an attempt waits for the store");
                    tokio::time::sleep(STORE_PAUSE).await;
                }
                Err(error) => {
                    tracing::error!(delivery = %delivery.id, error = %error, "the end of an attempt was not recorded");
                    return false;
                }
            }
        }
    }

    async fn try_write_down(
        &self,
        ours: &Delivery,
        to: DeliveryState,
        due_in: Option<Duration>,
        attempt: Option<&Attempt>,
    ) -> Result<bool> {
        let parts = self.parts();
        let mut current = Some(ours.clone());
        for _ in 0..TRIES {
            let mut batch = Batch::new();
            let held = current
                .take()
                .filter(|delivery| ours.state.lease_token.is_some_and(|token| delivery.state.is_leased_under(token)));
            let late = held.is_none();
            if let Some(delivery) = held {
                moved(delivery, to, due_in, attempt, parts.clock.now()).replace_in(&mut batch)?;
            }
            if let Some(attempt) = attempt {
                Attempt { late, ..attempt.clone() }.insert_into(&mut batch)?;
            }
            if batch.is_empty() {
                return Ok(false);
            }
            fault::point("finish.before_commit").await?;
            match parts.store.commit(batch, CommitMode::Apply).await? {
                Outcome::Committed { .. } => {
                    fault::point("finish.after_commit").await?;
                    return Ok(!late);
                }
                // The row is there: an earlier try came through although it did not say so.
                Outcome::Conflict { .. } => return Ok(!late),
                Outcome::Stale { .. } | Outcome::OutOfBounds { .. } => {
                    current = get::<Delivery>(&parts.store, &ours.id.to_string()).await?;
                }
            }
        }
        Err(Error::internal("others kept changing a delivery under its lease"))
    }

    /// The row about an attempt; none when there is nothing to record.
    pub(super) fn row(&self, delivery: &Delivery, ended: &Ended, record: Option<Record>) -> Option<Attempt> {
        let token = delivery.state.lease_token?;
        let (number, result) = match record? {
            Record::Attempt { number } if ended.outcome.is_success() => (number, AttemptResult::Succeeded),
            Record::Attempt { number } => (number, AttemptResult::Failed),
            Record::Interrupted { number } => (number, AttemptResult::Interrupted),
        };
        let failure = ended.result.as_ref().and_then(|result| result.as_ref().err());
        let answer = ended.result.as_ref().and_then(|result| result.as_ref().ok());
        let peer = answer.map(|answer| answer.peer).or(failure.and_then(|failure| failure.peer));
        Some(Attempt {
            id: Attempt::id_of(delivery.id, token, ended.started_at),
            project_id: delivery.project_id,
            delivery_id: delivery.id,
            endpoint_id: delivery.endpoint_id,
            lease_token: token,
            number,
            trigger: trigger(delivery),
            result,
            late: false,
            started_at: ended.started_at,
            duration_millis: u64::try_from(ended.took.as_millis()).unwrap_or(u64::MAX),
            remote_ip: peer.map(|peer| peer.ip().to_canonical().to_string()),
            status_code: answer.map(|answer| answer.status.as_u16()),
            error: failure.map(|failure| failure.kind.word().to_owned()),
            error_detail: failure.map(ToString::to_string),
            response_headers: answer.map(kept_headers).unwrap_or_default(),
            response_body: answer.and_then(kept_body),
            expires_at: delivery.expires_at,
            version: 0,
        })
    }

    fn count(&self, moved: &Transition, ended: &Ended) {
        let metrics = &self.parts().metrics;
        metrics.attempt_seconds.observe(ended.took.as_secs_f64());
        let result = match (&ended.result, ended.outcome.is_success()) {
            (_, true) => "succeeded",
            (Some(Ok(answer)), false) => status_class(answer),
            (Some(Err(failure)), false) => failure.kind.word(),
            (None, false) => "interrupted",
        };
        metrics.attempts.with_label_values(&[result]).inc();
        if moved.to.status.is_terminal() {
            metrics.deliveries.with_label_values(&[moved.to.status.name()]).inc();
        }
    }

    /// What an attempt means for its endpoint: breaker, health, a pause that it asked for, or its end.
    async fn tell_endpoint(&self, endpoint: &Endpoint, event_type: &str, ended: &Ended, moved: &Transition) {
        let now = self.parts().clock.monotonic();
        if let Some(observed) = Observed::of(&ended.outcome) {
            let changed = self.book.lock().observe(endpoint.id, observed, now);
            let exhausted = moved.to.status == Status::Exhausted && !is_operational(event_type);
            self.note_health(endpoint, ended, changed, exhausted).await;
        }
        match moved.effect {
            Effect::None => {}
            Effect::Spare(span) => self.book.lock().spare(endpoint.id, span, now),
            Effect::Disable => self.disable(endpoint, "it answered 410 Gone").await,
        }
    }
}

/// The delivery as it is after an attempt.
pub(super) fn moved(
    delivery: Delivery,
    to: DeliveryState,
    due_in: Option<Duration>,
    attempt: Option<&Attempt>,
    now: crate::time::Timestamp,
) -> Delivery {
    let replayed = delivery.prio == Priority::Replay.number();
    let later = to.attempts_made > 0 || to.interruptions > 0 || to.faults > 0;
    let prio = if replayed || !later { delivery.prio } else { Priority::Retry.number() };
    let last_result = attempt.map(|attempt| match (attempt.status_code, &attempt.error) {
        (Some(code), _) => code.to_string(),
        (None, Some(error)) => error.clone(),
        (None, None) => "interrupted".to_owned(),
    });
    Delivery {
        state: to,
        due_at: due_in.map(|wait| now.plus(wait)).filter(|_| to.status == Status::Pending),
        leased_until: None,
        finished_at: to.status.is_terminal().then_some(now),
        last_result: last_result.or(delivery.last_result.clone()),
        prio,
        ..delivery
    }
}

fn trigger(delivery: &Delivery) -> Trigger {
    if delivery.state.attempts_made > 0 || delivery.state.interruptions > 0 {
        Trigger::Retry
    } else if delivery.origin == FIRST {
        Trigger::Event
    } else {
        Trigger::Resend
    }
}

/// The class of an answer that was no success, as a label.
fn status_class(answer: &Answer) -> &'static str {
    match answer.status.as_u16() {
        410 => "gone",
        429 => "too_many_requests",
        300..=399 => "redirect",
        400..=499 => "client_error",
        500..=599 => "server_error",
        _ => "other_status",
    }
}

fn kept_headers(answer: &Answer) -> Vec<(String, String)> {
    let shown = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
        let secret = SECRET_HEADERS.contains(&name.as_str()) || name.as_str().contains("token");
        let text = if secret { "<redacted>".into() } else { String::from_utf8_lossy(value.as_bytes()).into_owned() };
        (name.as_str().to_owned(), text.chars().take(KEPT_VALUE).collect())
    };
    answer.headers.iter().take(KEPT_HEADERS).map(shown).collect()
}

fn kept_body(answer: &Answer) -> Option<String> {
    let kept = &answer.body[..answer.body.len().min(KEPT_BODY)];
    // A zero byte is no text that every store can hold.
    (!kept.is_empty()).then(|| String::from_utf8_lossy(kept).replace('\0', "\u{fffd}"))
}
