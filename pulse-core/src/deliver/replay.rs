//! Replays at work: the deliveries of a replay are made in small batches, oldest event first, each in the commit that writes
//! down how far the replay has come.
//!
//! - Wherever it is broken off, the next turn goes on behind the last batch: no event is left out, none is delivered twice
//!   by the same replay, whose deliveries have ids of their own making.
//! - A batch holds only while the replay, its endpoints and its events are as they were read. What has changed is read anew: a
//!   replay that was stopped ends, an endpoint that is gone or disabled is left out.
//! - It makes way for everything else (`courtesy`): batches are small, the writer is left free after each, a turn is short, and the
//!   deliveries wait behind all others of their endpoint.

mod choice;

use std::time::Duration;

pub use self::choice::{Count, count};

use self::choice::{Choice, Chosen};
use crate::{
    error::{Error, Result},
    fault,
    id::{JobId, ProjectId},
    ingest::delivers,
    model::{
        delivery::{Delivery, Priority},
        endpoint::{Endpoint, EndpointState},
        job::Left,
        project::ProjectState,
        replay::{Replay, ReplayState, ReplayStatus},
    },
    parts::Parts,
    repo::Document,
    store::{Batch, CommitMode, Outcome},
    time::Timestamp,
    watch::LATE,
};

/// Events that are looked at at a time while nothing else goes on.
const PAGE: usize = 100;
/// Deliveries that one commit makes while nothing else goes on, but for those of its last event: a store with one writer has everybody
/// else wait for it, ten milliseconds for so many.
const ROWS: usize = 100;
/// For how long a turn goes on: jobs that wait for a place among those that are done at once get it soon.
const SLICE: Duration = Duration::from_secs(2);
/// The shortest pause of a replay that waits: what it could have made meanwhile is made up for.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How often what has changed is read anew in one turn.
const TRIES: usize = 5;

/// Goes on with a project's replay for a while; tells whether, and from when on, something is left to do.
///
/// # Errors
/// When the store fails.
pub async fn turn(parts: &Parts, project: ProjectId, id: JobId) -> Result<Left> {
    let began = parts.clock.monotonic();
    for _ in 0..TRIES {
        let Some(replay) = parts.replays.get(project, id).await? else { return Ok(Left::Nothing) };
        if let Some(left) = go_on(parts, replay, began).await? {
            return Ok(left);
        }
    }
    Ok(Left::More)
}

/// The same with the replay as it was read; `None` when something has changed since.
async fn go_on(parts: &Parts, replay: Replay, began: Duration) -> Result<Option<Left>> {
    if replay.state != ReplayState::Running {
        return Ok(Some(Left::Nothing));
    }
    if replay.running <= 0 {
        return end(parts, replay, ReplayState::Cancelled, None).await;
    }
    match endpoints(parts, &replay).await? {
        Ok(endpoints) => Run { parts, replay, endpoints, began, unsaved: false }.work().await,
        Err(reason) => end(parts, replay, ReplayState::Failed, Some(reason)).await,
    }
}

/// Ends a replay; `None` when it has changed.
async fn end(parts: &Parts, replay: Replay, state: ReplayState, reason: Option<String>) -> Result<Option<Left>> {
    let mut batch = Batch::new();
    replay.ended(state, reason, parts.clock.now()).replace_in(&mut batch)?;
    let ended = matches!(parts.commit(batch, CommitMode::Apply).await?, Outcome::Committed { .. });
    Ok(ended.then_some(Left::Nothing))
}

/// The replay's endpoints that can get something, or why there is none.
async fn endpoints(parts: &Parts, replay: &Replay) -> Result<Result<Vec<Endpoint>, String>> {
    match parts.keyring.tenant(replay.project_id).await? {
        Some(tenant) if delivers(&tenant) => {}
        Some(tenant) if tenant.project.state == ProjectState::Suspended => {
            return Ok(Err("the project was suspended".to_owned()));
        }
        Some(_) | None => return Ok(Err("the project was deleted".to_owned())),
    }
    let mut there = parts.endpoints.of_project(replay.project_id).await?;
    there.retain(|endpoint| replay.endpoint_ids.contains(&endpoint.id));
    let some_are_there = !there.is_empty();
    there.retain(|endpoint| endpoint.state != EndpointState::Disabled);
    if !there.is_empty() {
        return Ok(Ok(there));
    }
    Ok(Err(match replay.endpoint_ids.as_slice() {
        [only] if some_are_there => format!("endpoint {only} was disabled"),
        [only] => format!("endpoint {only} was deleted"),
        _ => "all of its endpoints were deleted or disabled".to_owned(),
    }))
}

/// A turn with what it was read for.
struct Run<'a> {
    parts: &'a Parts,
    replay: Replay,
    endpoints: Vec<Endpoint>,
    /// When the turn began (monotonic).
    began: Duration,
    /// Whether the replay has come further than the store knows: events that nobody gets are worth no commit.
    unsaved: bool,
}

impl Run<'_> {
    async fn work(mut self) -> Result<Option<Left>> {
        loop {
            let (parts, horizon) = (self.parts, self.horizon());
            let choice = Choice { parts, replay: &self.replay, endpoints: &self.endpoints };
            let page = choice.page(self.replay.cursor, horizon, parts.courtesy.portion(PAGE)).await?;
            let mut chosen = page.chosen.as_slice();
            while !chosen.is_empty() {
                let now = parts.clock.now();
                let most = self.replay.allowance(now, parts.courtesy.portion(ROWS));
                if most == 0 {
                    let wait = self.replay.next_at(now).since(now);
                    return self.leave(Left::Later(wait.max(LOOK_EVERY))).await;
                }
                let (batch, rest) = chosen.split_at(fitting(chosen, most));
                chosen = rest;
                if !self.commit(batch).await? {
                    return Ok(None);
                }
                if self.is_over() {
                    return self.leave(Left::More).await;
                }
            }
            match page.next {
                Some(next) => (self.replay.cursor, self.unsaved) = (Some(next), true),
                None if horizon < self.replay.until => {
                    let wait = self.replay.until.plus(LATE).since(parts.clock.now());
                    return self.leave(Left::Later(wait.max(LOOK_EVERY))).await;
                }
                None => return end(parts, self.replay, ReplayState::Completed, None).await,
            }
            if self.is_over() {
                return self.leave(Left::More).await;
            }
        }
    }

    /// Before which moment all that there will be is there now. What an endpoint has in any case, because it was there already, need
    /// not be waited for.
    fn horizon(&self) -> Timestamp {
        match self.replay.status {
            ReplayStatus::Missing => self.replay.until.min(self.parts.clock.now().minus(LATE)),
            ReplayStatus::All | ReplayStatus::Failed => self.replay.until,
        }
    }

    fn is_over(&self) -> bool {
        self.parts.clock.monotonic().saturating_sub(self.began) >= SLICE
    }

    /// Ends the turn; `None` when the replay has changed.
    async fn leave(self, left: Left) -> Result<Option<Left>> {
        if self.unsaved {
            let mut batch = Batch::new();
            self.replay.replace_in(&mut batch)?;
            if !matches!(self.parts.commit(batch, CommitMode::Apply).await?, Outcome::Committed { .. }) {
                return Ok(None);
            }
        }
        Ok(Some(left))
    }

    /// Makes the deliveries of these events, and comes as far as the last of them; tells whether all was as it was read.
    async fn commit(&mut self, chosen: &[Chosen]) -> Result<bool> {
        let parts = self.parts;
        let (batch, after) = self.batch(chosen)?;
        fault::point("replay.before_commit").await?;
        let began = parts.clock.monotonic();
        let outcome = parts.commit(batch, CommitMode::Apply).await?;
        let took = parts.clock.monotonic().saturating_sub(began);
        fault::point("replay.after_commit").await?;
        match outcome {
            Outcome::Committed { .. } => (self.replay, self.unsaved) = (after, false),
            Outcome::Stale { .. } => return Ok(false),
            Outcome::Conflict { .. } | Outcome::OutOfBounds { .. } => {
                return Err(Error::internal(format!("replay {} has made a delivery already: {outcome:?}", after.id)));
            }
        }
        parts.courtesy.rest(took).await;
        Ok(true)
    }

    /// The batch, and the replay as it is once the batch is committed.
    fn batch(&self, chosen: &[Chosen]) -> Result<(Batch, Replay)> {
        let (now, due_at) = (self.parts.clock.now(), self.parts.steady());
        let mut batch = Batch::new();
        let rows: usize = chosen.iter().map(|one| one.endpoints.len()).sum();
        let after = Replay {
            cursor: chosen.last().map(|one| one.event.id).or(self.replay.cursor),
            events: self.replay.events + chosen.len() as u64,
            deliveries: self.replay.deliveries + rows as u64,
            paced_at: self.replay.paced_after(rows, now),
            ..self.replay.clone()
        };
        // First: whoever has not kept up with the replay is stale before it clashes with what was made meanwhile.
        let after = after.replaced_in(&mut batch)?;
        let is_used = |place: usize| chosen.iter().any(|one| one.endpoints.contains(&place));
        let used = self.endpoints.iter().enumerate().filter(|(place, _)| is_used(*place));
        used.for_each(|(_, endpoint)| endpoint.require_in(&mut batch));
        // The sweep must not take them from under their deliveries. All before the first delivery: side by side they are one
        // request for a store that is asked over a network.
        chosen.iter().for_each(|one| one.event.require_in(&mut batch));
        for Chosen { event, endpoints } in chosen {
            for endpoint in endpoints.iter().filter_map(|place| self.endpoints.get(*place)) {
                let origin = self.replay.id.to_string();
                Delivery::new(event, endpoint.id, origin, Priority::Replay, now, due_at).insert_into(&mut batch)?;
            }
        }
        Ok((batch, after))
    }
}

/// How many of these events go into one commit of at most that many deliveries: one at least.
fn fitting(chosen: &[Chosen], most: usize) -> usize {
    let mut rows = 0;
    let fit = chosen.iter().take_while(|one| {
        rows += one.endpoints.len();
        rows <= most
    });
    fit.count().max(1)
}
