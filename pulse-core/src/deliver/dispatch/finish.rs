//! Writing down what came of an attempt: the delivery's new state and the attempt's row in one commit. Only the holder of
//! the lease changes the delivery; who comes late leaves a row that says so.

use std::time::Duration;

use tokio::sync::SemaphorePermit;

use super::{
    Dispatcher,
    attempt::{Came, Ended},
    notices::is_operational,
    random,
};
use crate::{
    deliver::{
        breaker::Observed,
        ending::cancel_if_gone,
        schedule::Schedule,
        state::{AttemptOutcome, Effect, Input, Record, Status, Step, Transition, step},
    },
    error::{Error, Result},
    fault,
    model::{
        delivery::{Attempt, AttemptResult, Delivery, FIRST, Priority, Trigger},
        endpoint::Endpoint,
    },
    outbound::Answer,
    parts::Parts,
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
/// How long the end of what is replayed waits for others at most.
const LONGEST_TURN: Duration = Duration::from_secs(1);
/// How long to wait before a commit is tried again that the store could not take.
const STORE_PAUSE: Duration = Duration::from_millis(250);

impl Dispatcher {
    /// Writes down what came of an attempt, and what it means for its endpoint. Who comes late has nothing to say about that.
    pub(super) async fn finish(&self, delivery: &Delivery, endpoint: &Endpoint, ended: &Ended) {
        let schedule = endpoint.schedule.as_ref().unwrap_or(&self.parts().settings.pipeline.schedule);
        let turn = self.turn(delivery).await;
        let Some(moved) = self.write_down(delivery, ended, schedule).await else { return };
        drop(turn);
        if ended.outcome != (AttemptOutcome::Released { sent: false }) {
            self.count(&moved, ended);
        }
        self.tell_endpoint(endpoint, &delivery.event_type, ended, &moved).await;
        if let Some(wait) = moved.due_in {
            self.await_next(endpoint, wait).await;
        }
    }

    /// What was asked for waits until few others are at it, though not for long: its lease goes on, and so does the time in which a
    /// daemon ends.
    async fn turn(&self, delivery: &Delivery) -> Option<SemaphorePermit<'_>> {
        if !delivery.is_asked_for() {
            return None;
        }
        tokio::select! {
            biased;
            () = self.cut.cancelled() => None,
            turn = self.replays_end.acquire() => turn.ok(),
            () = tokio::time::sleep(LONGEST_TURN) => None,
        }
    }

    /// Has the endpoint looked at when the delivery is due again; one that was deleted meanwhile gets nothing more.
    async fn await_next(&self, endpoint: &Endpoint, wait: Duration) {
        let parts = self.parts();
        if let Err(error) = cancel_if_gone(parts, endpoint.id).await {
            tracing::warn!(endpoint = %endpoint.id, error = %error, "what waits for an endpoint that is gone is cancelled later");
        }
        self.awaken(endpoint.id, wait);
    }

    /// Commits a delivery's new state with the attempt's row. While the store cannot take it, it is tried again for as long
    /// as the lease lasts; after that the lease is taken back by itself. Gives what the delivery came to, if it was still
    /// ours.
    async fn write_down(&self, ours: &Delivery, ended: &Ended, schedule: &Schedule) -> Option<Transition> {
        let clock = &self.parts().clock;
        let end = clock.monotonic().saturating_add(self.parts().settings.pipeline.lease);
        loop {
            match self.try_write_down(ours, ended, schedule).await {
                Ok(moved) => return moved,
                Err(error) if clock.monotonic() < end && !self.cut.is_cancelled() => {
                    tracing::warn!(delivery = %ours.id, error = %error, "the end of an attempt waits for the store");
                    tokio::time::sleep(STORE_PAUSE).await;
                }
                Err(error) => {
                    tracing::error!(delivery = %ours.id, error = %error, "the end of an attempt was not recorded");
                    return None;
                }
            }
        }
    }

    async fn try_write_down(&self, ours: &Delivery, ended: &Ended, schedule: &Schedule) -> Result<Option<Transition>> {
        let parts = self.parts();
        let Some(token) = ours.state.lease_token else { return Ok(None) };
        let input = Input::Finish { token, outcome: ended.outcome };
        let Step::Moved(moved) = step(&ours.state, input, schedule, random(parts)) else { return Ok(None) };
        let row = self.row(ours, ended, moved.record);
        let mut stands = Some(ours.clone());
        for _ in 0..TRIES {
            let held = stands.take().filter(|delivery| delivery.state.is_leased_under(token));
            let is_held = held.is_some();
            let mut batch = Batch::new();
            if let Some(delivery) = held {
                concluded(delivery, &moved, ended, parts).replace_in(&mut batch)?;
                row.as_ref().map_or(Ok(()), |row| row.insert_into(&mut batch))?;
            } else if let Some(row) = &row {
                match get::<Attempt>(&parts.store, &row.id.to_string()).await? {
                    // An earlier try came through although it did not say so.
                    Some(stored)
                        if stored.result == row.result && !stored.late && row.result != AttemptResult::Interrupted =>
                    {
                        return Ok(Some(moved));
                    }
                    // The lease was taken back, and how the attempt ended was not known then.
                    Some(stored) if row.result != AttemptResult::Interrupted => {
                        Attempt { late: true, version: stored.version, ..row.clone() }.replace_in(&mut batch)?;
                    }
                    Some(_) => {}
                    None => Attempt { late: true, ..row.clone() }.insert_into(&mut batch)?,
                }
            }
            if batch.is_empty() {
                return Ok(None);
            }
            batch.be_patient();
            fault::point("finish.before_commit").await?;
            match parts.store.commit(batch, CommitMode::Apply).await? {
                Outcome::Committed { .. } => {
                    fault::point("finish.after_commit").await?;
                    return Ok(is_held.then_some(moved));
                }
                Outcome::Conflict { .. } | Outcome::Stale { .. } | Outcome::OutOfBounds { .. } => {
                    stands = get::<Delivery>(&parts.store, &ours.id.to_string()).await?;
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
        let (answer, failure) = (ended.answer(), ended.failure());
        let peer = answer.map(|answer| answer.peer).or(failure.and_then(|failure| failure.peer));
        Some(Attempt {
            id: Attempt::id_of(delivery.id, token),
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
        let result = match &ended.came {
            _ if ended.outcome.is_success() => "succeeded",
            Came::Answer(answer) => status_class(answer),
            Came::Failure(failure) => failure.kind.word(),
            Came::Nothing(why) => why,
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
            // What happens because of an operational event is not told in another.
            Effect::Disable => self.disable(endpoint, "it answered 410 Gone", !is_operational(event_type)).await,
        }
    }
}

/// The delivery as it is after an attempt.
pub(super) fn concluded(delivery: Delivery, moved: &Transition, ended: &Ended, parts: &Parts) -> Delivery {
    let to = moved.to;
    let asked_for = delivery.is_asked_for();
    let later = to.attempts_made > 0 || to.interruptions > 0 || to.faults > 0;
    Delivery {
        state: to,
        due_at: moved.due_in.map(|wait| parts.steady().plus(wait)),
        leased_until: None,
        finished_at: to.status.is_terminal().then(|| parts.clock.now()),
        last_result: Some(ended.word()),
        prio: if asked_for || !later { delivery.prio } else { Priority::Retry.number() },
        ..delivery
    }
}

fn trigger(delivery: &Delivery) -> Trigger {
    if delivery.state.attempts_made > 0 || delivery.state.interruptions > 0 {
        Trigger::Retry
    } else if delivery.origin == FIRST {
        Trigger::Event
    } else if delivery.replay().is_some() {
        Trigger::Replay
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
