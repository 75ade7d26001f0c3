//! Bringing facts and sums in line with the evidence.

use std::time::Duration;

use super::effects::close_by_room;
use crate::{
    error::{Error, Result},
    id::SessionId,
    meter::sums::Sums,
    model::{interval::Interval, session::Session},
    parts::Parts,
    plane::ControlPlane,
    repo::{Document, get},
    store::{Batch, CommitMode, Outcome},
};

/// How long after a room's end it is added up: what LiveKit tells late has come by then.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);
/// Spans that one batch touches at most.
const STEP: usize = 100;

/// Adds to the batch what brings the facts on record in line with the span.
pub(crate) async fn settle(parts: &Parts, interval: &mut Interval, batch: &mut Batch) -> Result<()> {
    let Some(superseded) = interval.settle(batch)? else { return Ok(()) };
    if let Some(mut fact) = parts.usage.get(superseded).await? {
        fact.superseded = true;
        fact.replace_in(batch)?;
    }
    Ok(())
}

/// Ends the connections that a session's end left open, and adds the session up once nobody is left. Does nothing for a
/// session that goes on after all.
pub(crate) async fn settle_session(plane: &ControlPlane, id: SessionId) -> Result<()> {
    let parts = plane.parts();
    let Some(session) = get::<Session>(&parts.store, &id.to_string()).await? else { return Ok(()) };
    let (now, mut sums, mut after) = (parts.clock.now(), Sums::default(), None);
    loop {
        let (mut page, next) = parts.intervals.page_of_session(id, after).await?;
        for some in page.chunks_mut(STEP) {
            close(plane, &session, some).await?;
        }
        page.iter().for_each(|interval| sums.add(interval, now));
        match next {
            Some(next) => after = Some(next),
            None => break,
        }
    }
    if session.ended_at().is_none() {
        return Ok(());
    }
    let summary = sums.summary();
    if session.summary == Some(summary) {
        return Ok(());
    }
    let mut batch = Batch::new();
    Session { summary: Some(summary), ..session }.replace_in(&mut batch)?;
    batch.be_patient();
    commit(plane, batch).await
}

/// Ends those of the spans that end with the session.
async fn close(plane: &ControlPlane, session: &Session, spans: &mut [Interval]) -> Result<()> {
    let mut batch = Batch::new();
    session.require_in(&mut batch);
    let mut changed = false;
    for interval in spans {
        if close_by_room(interval, session) {
            settle(plane.parts(), interval, &mut batch).await?;
            *interval = interval.clone().replaced_in(&mut batch)?;
            changed = true;
        }
    }
    if changed { commit(plane, batch).await } else { Ok(()) }
}

/// Commits a step; what changed in the meantime makes the job fail, and it is done again.
async fn commit(plane: &ControlPlane, batch: Batch) -> Result<()> {
    match plane.parts().store.commit(batch, CommitMode::Apply).await? {
        Outcome::Committed { .. } => Ok(()),
        other => Err(Error::internal(format!("the store changed under a job: {other:?}"))),
    }
}
