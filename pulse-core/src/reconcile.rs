//! The reconciler: asks LiveKit who is there and repairs what its webhooks failed to tell. LiveKit forgets an event that it
//! could not bring within seconds, and everything at a restart; what it shows when it is asked is the truth.
//!
//! - A list that failed, or did not come in time, closes nothing.
//! - Something is closed after it was missing from two good lists that were begun after its last sign of life, fifteen
//!   seconds apart or more: LiveKit may yet tell of it. Its end is in the middle of the time in which it went, and at most
//!   fifteen seconds after it was last seen: an outage of LiveKit is not billed.
//! - Clusters do not wait for each other: the installation's own has a round of its own, customers' are looked at several at
//!   once, those that failed last apart from the others, and no look lasts longer than its lease.
//! - What goes on on a LiveKit that was taken away ends when it was seen last.
//! - What is found is told as an event that says `synthetic: true`, once: its source id is made from what it is about.

mod lease;
mod media;
mod room;
mod tell;

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures_util::{StreamExt as _, stream};
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use self::lease::Good;
pub(crate) use self::{
    lease::{lease_of, watch},
    media::source_of_recording,
};
use crate::{
    error::{Code, Error, Result},
    ingest::Routes,
    media::{
        engine::{EngineError, Participant},
        engines::Engine,
    },
    model::{
        absence::{Absence, may_have_come_since},
        event::SERVER_CLUSTER,
        interval::{Interval, Subject},
        project::Project,
        session::Session,
        tenant::Tenant,
    },
    parts::Parts,
    plane::ControlPlane,
    repo::get,
    time::Timestamp,
};

/// For how long LiveKit is left to tell of something by itself: what began since is not missing from the record, and what is
/// missing since is not gone. Its first four tries are made in that time.
const GRACE: Duration = Duration::from_secs(15);
/// How often the participants of a room are listed, also where nothing looks different.
const LISTED_EVERY: Duration = Duration::from_secs(300);
/// Live sessions that are read at once.
const PAGE: usize = 500;
/// Clusters of one circle that are looked at at once.
const AT_ONCE: usize = 8;
/// Newcomers of one cluster that are remembered. Further ones are found by the next list, if they stay for it.
const MAX_NEWCOMERS: usize = 1_000;
/// What a look at a customer's LiveKit records and tells at most: its lists may say anything, and nobody pays for a row. The
/// next one goes on.
const MAX_TOLD: usize = 1_000;
/// How long a look may take without being counted among those that keep others waiting.
const SLOW: Duration = Duration::from_secs(10);
/// For how long something is remembered of a room that is not seen any more.
const REMEMBERED: Duration = Duration::from_secs(3_600);

/// What is remembered of a cluster between two rounds. What is lost with a daemon makes the next one list more, and know the
/// last sign of what has gone no better than to a round.
#[derive(Debug, Default)]
struct Watch {
    /// When the last rounds with good lists were begun.
    good: Good,
    /// When each room's participants were listed last, by LiveKit's sid.
    listed_at: HashMap<String, Timestamp>,
    /// When it was asked for egresses and ingresses last.
    media_asked_at: Option<Timestamp>,
    /// When each room's people were last known to be as recorded, by LiveKit's sid.
    agreed_at: HashMap<String, Timestamp>,
    /// Who had just come and was not on record, by the room's sid.
    newcomers: HashMap<String, Newcomers>,
}

/// People of whose join LiveKit may yet tell. If it has not by the next round they are recorded, also when they have left
/// the room by then.
#[derive(Debug)]
struct Newcomers {
    /// Without attributes but for Pulse's own: they are kept for a while.
    people: Vec<Participant>,
    /// When they were listed.
    seen_at: Timestamp,
}

/// Clusters that share a round. The rounds of different circles go on beside each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Circle {
    /// The installation's own LiveKit, which waits for nobody's.
    Own,
    /// Those that customers brought along.
    Tenants,
    /// Those of customers that could not be asked the last time, or only slowly: whoever hangs keeps only its like waiting.
    Failing,
}

/// Repairs what webhooks failed to tell.
#[derive(Debug)]
pub struct Reconciler {
    plane: Arc<ControlPlane>,
    routes: Routes,
    watches: Mutex<HashMap<String, Watch>>,
    /// Clusters whose last look failed, or took long.
    failing: Mutex<HashSet<String>>,
    /// No other process can hold a lease.
    alone: AtomicBool,
    /// The daemon stops: looks are broken off.
    stopping: CancellationToken,
}

/// One look at a cluster: whose it is, and since when it is looked at. What is found is told through it.
struct Look<'a> {
    reconciler: &'a Reconciler,
    cluster: &'a str,
    /// Whose LiveKit it is, when it is a project's own.
    owner: Option<Tenant>,
    /// When the look was begun.
    began: Timestamp,
    /// How much it has told.
    told: AtomicUsize,
}

/// A look at a cluster that can be asked.
struct Round<'a> {
    look: Look<'a>,
    engine: Engine,
    watch: Watch,
}

impl Reconciler {
    /// A reconciler that has not begun; `stopping` breaks its looks off.
    pub fn new(plane: Arc<ControlPlane>, stopping: CancellationToken) -> Self {
        let (routes, watches, failing, alone) = Default::default();
        Self { plane, routes, watches, failing, alone, stopping }
    }

    /// Takes over what is left from before; to be done before the first round. `alone` says that no other process can hold a
    /// lease: then the one of a daemon that crashed keeps nobody waiting until it ends.
    pub fn recover(&self, alone: bool) {
        self.alone.store(alone, Ordering::Relaxed);
    }

    /// Gives back what is held, once no round goes on: another daemon need not wait for the end of a lease.
    pub async fn release(&self) -> Result<()> {
        let held: Vec<_> = self.watches.lock().iter().map(|(cluster, watch)| (cluster.clone(), watch.good)).collect();
        lease::release(self.plane.parts(), &held).await
    }

    /// Looks at every cluster once. For tests; the daemon's circles each go round by themselves.
    pub async fn round(&self) -> Result<()> {
        let (failing, others): (Vec<_>, Vec<_>) =
            self.clusters().await?.into_iter().partition(|name| self.circle(name) == Circle::Failing);
        let (own, tenants) = others.into_iter().partition(|name| self.circle(name) == Circle::Own);
        let done = tokio::join!(self.look_at(own), self.look_at(tenants), self.look_at(failing));
        done.0.and(done.1).and(done.2)
    }

    /// Looks at every cluster of a circle once.
    pub async fn round_of(&self, circle: Circle) -> Result<()> {
        let mut clusters = self.clusters().await?;
        clusters.retain(|name| self.circle(name) == circle);
        self.look_at(clusters).await
    }

    /// Every cluster that there is something to ask of: the installation's own, those that have been taken or brought along,
    /// and those with a live session.
    async fn clusters(&self) -> Result<Vec<String>> {
        let parts = self.plane.parts();
        let mut clusters: BTreeSet<String> = parts.sessions.live_clusters().await?.into_iter().collect();
        clusters.extend(lease::clusters(parts).await?);
        clusters.remove(SERVER_CLUSTER);
        let own = parts.engines.has_own().then(|| SERVER_CLUSTER.to_owned());
        Ok(own.into_iter().chain(clusters).collect())
    }

    fn circle(&self, cluster: &str) -> Circle {
        match cluster {
            SERVER_CLUSTER => Circle::Own,
            _ if self.failing.lock().contains(cluster) => Circle::Failing,
            _ => Circle::Tenants,
        }
    }

    /// Looks at clusters, several at once. Gives the first error when all are done, or broken off.
    async fn look_at(&self, clusters: Vec<String>) -> Result<()> {
        let mut looks = stream::iter(clusters).map(|cluster| self.look(cluster)).buffer_unordered(AT_ONCE);
        let mut first = Ok(());
        while let Some(done) = looks.next().await {
            first = first.and(done);
        }
        first
    }

    /// Looks at one cluster, and remembers whether that went well.
    async fn look(&self, cluster: String) -> Result<()> {
        let clock = &self.plane.parts().clock;
        let began = clock.monotonic();
        let done = self.cluster(&cluster).await;
        let slow = clock.monotonic().saturating_sub(began) >= SLOW;
        if self.stopping.is_cancelled() {
            return Ok(());
        }
        let label = if done.is_ok() { "good" } else { "failed" };
        self.plane.parts().metrics.reconciled.with_label_values(&[label]).inc();
        match &done {
            Ok(()) if !slow => drop(self.failing.lock().remove(&cluster)),
            Ok(()) => drop(self.failing.lock().insert(cluster)),
            Err(error) => {
                tracing::warn!(cluster, error = %error, cause = ?error.cause().map(ToString::to_string), "LiveKit could not be asked who is there");
                self.failing.lock().insert(cluster);
            }
        }
        done
    }

    /// Looks at one cluster, unless another daemon does, for as long as nobody else may.
    async fn cluster(&self, cluster: &str) -> Result<()> {
        if self.stopping.is_cancelled() {
            return Ok(());
        }
        let parts = self.plane.parts();
        let good = self.watches.lock().get(cluster).map(|watch| watch.good).unwrap_or_default();
        let Some(good) = lease::take(parts, cluster, good, self.alone.load(Ordering::Relaxed)).await? else {
            return Ok(());
        };
        let owner = match cluster.parse() {
            Ok(project) => parts.keyring.tenant(project).await?,
            Err(_) => None,
        };
        let look = Look { reconciler: self, cluster, owner, began: parts.clock.now(), told: AtomicUsize::new(0) };
        let gone = look.owner.as_ref().is_none_or(|owner| owner.project.livekit_credentials.is_none());
        if cluster != SERVER_CLUSTER && gone {
            // The project has gone, or gave its LiveKit back: nobody can be asked about it any more.
            let watch = Watch { good, ..self.watches.lock().remove(cluster).unwrap_or_default() };
            return self.in_time(look.abandon(&watch)).await;
        }
        let engine = parts.engines.of(cluster, look.owner.as_ref(), &parts.sealer)?;
        let watch = Watch { good, ..self.watches.lock().remove(cluster).unwrap_or_default() };
        let mut round = Round { look, engine, watch };
        let done = self.in_time(round.run()).await;
        self.watches.lock().insert(cluster.to_owned(), round.watch);
        done
    }

    /// Looks for as long as the lease lets, or until the daemon stops.
    async fn in_time(&self, looking: impl Future<Output = Result<()>>) -> Result<()> {
        let too_long = || Error::new(Code::Unreachable, "LiveKit takes longer than a round may last");
        tokio::select! {
            done = tokio::time::timeout(lease::time_to_look(self.plane.parts()), looking) => done.unwrap_or_else(|_| Err(too_long())),
            () = self.stopping.cancelled() => Ok(()),
        }
    }
}

impl Watch {
    /// When what was in a room was last known to be there: what a good round did not find missing was there. What had not
    /// begun by then is known by its own signs.
    fn last_agreed(&self, session: &Session) -> Option<Timestamp> {
        self.agreed_at.get(&session.livekit_sid).copied().max(self.good.at)
    }

    /// The latest moment at which a session was known to go on; `open` are its open spans.
    fn last_seen(&self, session: &Session, open: &[Interval]) -> Timestamp {
        let seen = session.absent.map_or_else(|| self.last_agreed(session), |absent| Some(absent.last_seen_at));
        seen.into_iter().fold(last_sign(session, open), Timestamp::max)
    }
}

impl<'a> Look<'a> {
    fn parts(&self) -> &'a Parts {
        self.reconciler.plane.parts()
    }

    /// Whether LiveKit may yet tell by itself of what was then.
    fn may_yet_tell(&self, at: Timestamp) -> bool {
        self.began.since(at) < GRACE
    }

    /// What follows for something on record that is not in a good list. It gave its last sign of life at `sign`, and was as
    /// recorded when it was looked at before, at `agreed`.
    fn missing(&self, noted: Option<Absence>, sign: Option<Timestamp>, agreed: Option<Timestamp>) -> Missing {
        if may_have_come_since(sign, self.began) {
            return Missing::NotYet;
        }
        match noted {
            None => {
                let seen = agreed.max(sign).unwrap_or(self.began);
                Missing::Noted(Absence { last_seen_at: seen.min(self.began), since: self.began })
            }
            Some(absent) if self.may_yet_tell(absent.since) => Missing::NotYet,
            Some(absent) => Missing::Gone { seen: absent.seen(sign), end: absent.end(sign) },
        }
    }

    /// Ends what goes on on a LiveKit that cannot be asked any more, as of when it was seen last, and tells of it. Then the
    /// cluster is forgotten.
    async fn abandon(&self, watch: &Watch) -> Result<()> {
        let parts = self.parts();
        // What is remembered of projects may be a moment old.
        let project = get::<Project>(&parts.store, self.cluster).await?;
        if project.as_ref().is_some_and(|project| project.livekit_credentials.is_some()) {
            return Ok(());
        }
        let mut after = None;
        loop {
            let sessions = parts.sessions.live(self.cluster, after, PAGE).await?;
            let Some(last) = sessions.last().map(|session| session.id) else { break };
            after = Some(last);
            for session in sessions {
                self.abandon_session(watch, session).await?;
            }
        }
        for interval in parts.intervals.open_media(self.cluster).await? {
            let seen = interval.absent.map_or(watch.good.at, |absent| Some(absent.last_seen_at));
            let seen = seen.max(interval.evidence.latest_sign()).unwrap_or(self.began);
            self.lose_media(interval, seen, None).await?;
        }
        lease::forget(parts, self.cluster, project.as_ref()).await
    }

    async fn abandon_session(&self, watch: &Watch, session: Session) -> Result<()> {
        let parts = self.parts();
        let Some(tenant) = self.tenant(&session).await? else { return Ok(()) };
        let open = parts.intervals.open_in(session.id).await?;
        let seen = watch.last_seen(&session, &open);
        self.end_with_people(&tenant, session, open, (seen, seen)).await
    }
}

/// What follows when something is not in a list.
#[derive(Debug)]
enum Missing {
    /// Nothing, for now.
    NotYet,
    /// It is the first list without it.
    Noted(Absence),
    /// It has gone.
    Gone {
        /// When it was last known to be there.
        seen: Timestamp,
        /// When it went, as well as that is known.
        end: Timestamp,
    },
}

/// What a look at a room came to.
#[derive(Debug, Default)]
struct Seen {
    /// Its people are as recorded.
    agrees: bool,
    /// They were listed.
    listed: bool,
    /// Those who are not on record, and have just come.
    newcomers: Vec<Participant>,
}

impl Round<'_> {
    /// What is found of a room is remembered at once: when the time is over, the next round goes on with the others.
    async fn run(&mut self) -> Result<()> {
        let listed = self.engine.client.list_rooms(None).await.map_err(unanswered)?;
        let mut listed: HashMap<String, _> = listed.into_iter().map(|room| (room.sid.clone(), room)).collect();
        self.forget_old();
        let mut after = None;
        let mut first = Ok(());
        loop {
            let sessions = self.look.parts().sessions.live(self.look.cluster, after, PAGE).await?;
            let Some(last) = sessions.last().map(|session| session.id) else { break };
            after = Some(last);
            for session in sessions {
                let sid = session.livekit_sid.clone();
                let (room, newcomers) = (listed.remove(&sid), self.watch.newcomers.remove(&sid));
                match self.session(session, room, newcomers).await {
                    Ok(seen) => self.remember(sid, seen),
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
            self.watch.good.at = Some(self.look.began);
        }
        first
    }

    /// A room that does not agree keeps the moment at which it last did.
    fn remember(&mut self, sid: String, seen: Seen) {
        if seen.listed {
            self.watch.listed_at.insert(sid.clone(), self.look.began);
        }
        if seen.agrees {
            self.watch.agreed_at.insert(sid.clone(), self.look.began);
        }
        let remembered: usize = self.watch.newcomers.values().map(|newcomers| newcomers.people.len()).sum();
        let mut people = seen.newcomers;
        people.truncate(MAX_NEWCOMERS.saturating_sub(remembered));
        if !people.is_empty() {
            self.watch.newcomers.insert(sid, Newcomers { people, seen_at: self.look.began });
        }
    }

    fn forget_old(&mut self) {
        let began = self.look.began;
        self.watch.agreed_at.retain(|_, at| began.since(*at) < REMEMBERED);
        self.watch.listed_at.retain(|_, at| began.since(*at) < REMEMBERED);
        self.watch.newcomers.retain(|_, newcomers| began.since(newcomers.seen_at) < REMEMBERED);
    }

    /// Whether the participants of a room are to be listed, whatever it looks like.
    fn is_unlisted(&self, sid: &str) -> bool {
        self.watch.listed_at.get(sid).is_none_or(|at| self.look.began.since(*at) >= LISTED_EVERY)
    }
}

/// LiveKit did not answer: nothing follows from that.
fn unanswered(fault: EngineError) -> Error {
    Error::new(Code::Unreachable, "LiveKit does not answer as it should").because(fault)
}

/// The last sign of life of a session, and of the people among its open spans: an egress may outlive its room.
fn last_sign(session: &Session, open: &[Interval]) -> Timestamp {
    let people = open.iter().filter(|interval| matches!(interval.subject, Subject::Participant { .. }));
    people.filter_map(|interval| interval.evidence.latest_sign()).fold(session.started_at, Timestamp::max)
}
