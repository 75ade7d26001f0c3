//! The reconciler: asks LiveKit who is there and repairs what its webhooks failed to tell. LiveKit forgets an event that it
//! could not bring within seconds, and everything at a restart; what it shows when it is asked is the truth.
//!
//! - A list that failed, or did not come in time, closes nothing.
//! - Something is closed after it was missing from two good lists that were begun after its last sign of life. Its end is in
//!   the middle of the time in which it went, and at most fifteen seconds after it was last seen: an outage of LiveKit is
//!   not billed.
//! - What is found is told as an event that says `synthetic: true`, once: its source id is made from what it is about.

mod lease;
mod media;
mod room;
mod tell;

use std::{collections::HashMap, sync::Arc, time::Duration};

use parking_lot::Mutex;

use crate::{
    error::Result,
    ingest::Routes,
    media::{engine::EngineError, engines::Engine},
    model::{event::SERVER_CLUSTER, session::Session, tenant::Tenant},
    plane::ControlPlane,
    time::Timestamp,
};

/// How old something must be before it counts as missing from the record: LiveKit tries for so long to tell of it.
const GRACE: Duration = Duration::from_secs(15);
/// The most that is added to the last sign of life of what has gone.
const MAX_TAIL: Duration = Duration::from_secs(15);
/// How often the participants of every room are listed, also where nothing looks different.
const ALL_ROOMS_EVERY: Duration = Duration::from_secs(300);
/// Live sessions that are read at once.
const PAGE: usize = 500;

/// What is remembered of a cluster between two rounds. What is lost with a daemon makes the next one list more, and know the
/// last sign of what has gone no better than to a round.
#[derive(Debug, Default)]
struct Watch {
    /// When the last round with good lists was begun.
    good_at: Option<Timestamp>,
    /// When the participants of all rooms were listed last.
    all_rooms_at: Option<Timestamp>,
    /// When each room's people were last known to be as recorded, by LiveKit's sid.
    agreed_at: HashMap<String, Timestamp>,
}

/// Repairs what webhooks failed to tell.
#[derive(Debug)]
pub struct Reconciler {
    plane: Arc<ControlPlane>,
    routes: Routes,
    watches: Mutex<HashMap<String, Watch>>,
}

/// One round over one cluster.
struct Round<'a> {
    reconciler: &'a Reconciler,
    engine: Engine,
    cluster: &'a str,
    /// Whose LiveKit it is, when it is a project's own.
    owner: Option<Tenant>,
    /// When the round was begun.
    began: Timestamp,
    watch: Watch,
}

impl Reconciler {
    /// A reconciler that has not begun.
    pub fn new(plane: Arc<ControlPlane>) -> Self {
        Self { plane, routes: Routes::default(), watches: Mutex::default() }
    }

    /// Looks at every cluster once.
    pub async fn round(&self) -> Result<()> {
        let mut clusters = self.plane.parts().sessions.live_clusters().await?;
        if self.plane.parts().engines.has_own() && !clusters.iter().any(|cluster| cluster == SERVER_CLUSTER) {
            clusters.push(SERVER_CLUSTER.to_owned());
        }
        let mut first = Ok(());
        for cluster in clusters {
            let done = self.cluster(&cluster).await;
            let label = if done.is_ok() { "good" } else { "failed" };
            self.plane.parts().metrics.reconciled.with_label_values(&[label]).inc();
            if let Err(error) = done {
                tracing::warn!(cluster, error = %error, cause = ?error.cause().map(ToString::to_string), "LiveKit could not be asked who is there");
                first = first.and(Err(error));
            }
        }
        first
    }

    /// Looks at one cluster, unless another daemon does.
    async fn cluster(&self, cluster: &str) -> Result<()> {
        let parts = self.plane.parts();
        let good_at = self.watches.lock().get(cluster).and_then(|watch| watch.good_at);
        let Some(taken) = lease::take(parts, cluster, good_at).await? else { return Ok(()) };
        let owner = match cluster.parse() {
            Ok(project) => parts.keyring.tenant(project).await?,
            Err(_) => None,
        };
        if cluster != SERVER_CLUSTER && owner.as_ref().is_none_or(|owner| owner.project.livekit_credentials.is_none()) {
            // The project has gone, or gave its LiveKit back: nobody can be asked about it any more.
            return self.abandon(cluster).await;
        }
        let engine = parts.engines.of(cluster, owner.as_ref(), &parts.sealer)?;
        let mut watch = self.watches.lock().remove(cluster).unwrap_or_default();
        watch.good_at = taken.good_at;
        let mut round = Round { reconciler: self, engine, cluster, owner, began: parts.clock.now(), watch };
        let done = round.run().await;
        self.watches.lock().insert(cluster.to_owned(), round.watch);
        done
    }

    /// Ends what is live on a LiveKit that is no longer known, as of the last sign of it.
    async fn abandon(&self, cluster: &str) -> Result<()> {
        let parts = self.plane.parts();
        for session in parts.sessions.live(cluster, None, PAGE).await? {
            tell::end_abandoned(parts, session).await?;
        }
        Ok(())
    }
}

impl Round<'_> {
    async fn run(&mut self) -> Result<()> {
        let listed = self.engine.client.list_rooms(None).await.map_err(unanswered)?;
        let all = self.watch.all_rooms_at.is_none_or(|at| self.began.since(at) >= ALL_ROOMS_EVERY);
        let mut listed: HashMap<String, _> = listed.into_iter().map(|room| (room.sid.clone(), room)).collect();
        let mut after = None;
        let mut agreed = HashMap::new();
        let mut first = Ok(());
        loop {
            let sessions = self.reconciler.plane.parts().sessions.live(self.cluster, after, PAGE).await?;
            let Some(last) = sessions.last().map(|session| session.id) else { break };
            after = Some(last);
            for session in sessions {
                let sid = session.livekit_sid.clone();
                let room = listed.remove(&sid);
                match self.session(session, room, all).await {
                    Ok(true) => drop(agreed.insert(sid, self.began)),
                    Ok(false) => {}
                    // One room that cannot be listed does not keep the others from being looked at.
                    Err(error) => first = first.and(Err(error)),
                }
            }
        }
        for room in listed.into_values() {
            first = first.and(self.unknown_room(room).await);
        }
        first = first.and(self.media().await);
        if first.is_ok() {
            self.watch.good_at = Some(self.began);
            self.watch.all_rooms_at = if all { Some(self.began) } else { self.watch.all_rooms_at };
        }
        // Rooms that did not agree keep the moment at which they last did.
        let before = std::mem::take(&mut self.watch.agreed_at);
        for (sid, at) in before {
            agreed.entry(sid).or_insert(at);
        }
        agreed.retain(|_, at| self.began.since(*at) < Duration::from_secs(3_600));
        self.watch.agreed_at = agreed;
        first
    }

    /// When what was in a room was last known to be there: what a good round did not find missing was there. What had not
    /// begun by then is known by its own signs.
    fn last_agreed(&self, session: &Session) -> Option<Timestamp> {
        self.watch.agreed_at.get(&session.livekit_sid).copied().max(self.watch.good_at)
    }
}

/// LiveKit did not answer: nothing follows from that.
fn unanswered(fault: EngineError) -> crate::Error {
    crate::Error::new(crate::error::Code::Unreachable, "LiveKit does not answer as it should").because(fault)
}

/// The end of what was last seen at `seen` and missing at `missing`: the middle, but not long after it was seen.
fn end_between(seen: Timestamp, missing: Timestamp) -> Timestamp {
    seen.plus((missing.since(seen) / 2).min(MAX_TAIL))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_in_the_middle_and_not_long_after_the_last_sign() {
        let at = Timestamp::from_secs;
        assert_eq!(end_between(at(100), at(110)), at(105));
        assert_eq!(end_between(at(100), at(130)), at(115));
        assert_eq!(end_between(at(100), at(100_000)), at(115), "an outage of LiveKit is billed");
        assert_eq!(end_between(at(100), at(90)), at(100));
    }
}
