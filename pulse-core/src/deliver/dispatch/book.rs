//! Who may begin an attempt now: places, caps, breakers and paces of all endpoints that are known to have work. Plain
//! bookkeeping, without the store and without a clock of its own; all times are those of the monotonic clock.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap, VecDeque},
    time::Duration,
};

use crate::{
    deliver::{
        breaker::{Admission, Breaker, BreakerState, Observed},
        pace::{EndpointRate, Pace, Pacing},
    },
    id::{EndpointId, ProjectId},
    model::endpoint::{DEFAULT_MAX_IN_FLIGHT, Endpoint, EndpointState},
};

/// The most deliveries that one claim takes.
const CLAIM: usize = 32;
/// For how long an endpoint is remembered of which nothing is going on.
const REMEMBERED: Duration = Duration::from_secs(900);
/// With fewer endpoints than this, none is forgotten.
const LOOK_AFTER: usize = 1_024;
/// When there is nothing to wait for.
const FOREVER: Duration = Duration::from_secs(3_600);

/// How many attempts may be under way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// In all.
    total: usize,
    /// Of one project.
    project: usize,
    /// That are no first attempts: a fifth is kept for those.
    later: usize,
}

impl Limits {
    pub(super) fn of(total: usize) -> Self {
        let total = total.max(1);
        Self { total, project: total.div_ceil(4), later: (total * 4 / 5).max(1) }
    }
}

/// A claim to make: so many deliveries of an endpoint. The places are taken already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pick {
    pub(super) endpoint: EndpointId,
    pub(super) places: usize,
}

/// What an endpoint waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Nothing is known to wait for it.
    Idle,
    /// Something is due at this moment; a note of it is in [`Book::alarms`].
    Until(Duration),
    /// It stands in its project's queue.
    Ready,
    /// Somebody looks in the store for it.
    Looking,
    /// It has as many attempts under way as it may, or its project has: until one ends.
    Blocked,
}

/// What is known of an endpoint.
#[derive(Debug)]
struct Entry {
    /// Known once it was read.
    project: Option<ProjectId>,
    rate: Option<EndpointRate>,
    cap: usize,
    in_flight: usize,
    stage: Stage,
    breaker: Breaker,
    pace: Pace,
    touched: Duration,
}

impl Entry {
    fn new(now: Duration) -> Self {
        Self {
            project: None,
            rate: None,
            cap: DEFAULT_MAX_IN_FLIGHT as usize,
            in_flight: 0,
            stage: Stage::Idle,
            breaker: Breaker::default(),
            pace: Pace::default(),
            touched: now,
        }
    }

    /// Whether one more attempt may begin at `now`; if so it is counted against the pace. `Err` says when to ask again.
    fn admit(&mut self, now: Duration) -> Result<bool, Duration> {
        // The pace is asked first: an open breaker that has let a probe through waits for it.
        if let Pacing::NotBefore(at) = self.pace.spend(self.rate, now) {
            return Err(at);
        }
        match self.breaker.admit(now) {
            Admission::Go => Ok(false),
            Admission::Probe => Ok(true),
            Admission::NotBefore(at) => Err(at),
        }
    }
}

/// Endpoints that take turns: those of one project, or one whose project is not known yet.
type Queue = Result<ProjectId, EndpointId>;

/// The book.
#[derive(Debug)]
pub(super) struct Book {
    limits: Limits,
    entries: HashMap<EndpointId, Entry>,
    /// Attempts under way, by project.
    projects: HashMap<ProjectId, usize>,
    /// Endpoints that are ready, by project; projects take turns.
    queues: HashMap<Queue, VecDeque<EndpointId>>,
    turns: VecDeque<Queue>,
    /// Endpoints that wait until their project has fewer attempts under way.
    blocked: HashMap<ProjectId, Vec<EndpointId>>,
    /// When something is due: the earliest first. A note whose moment is not the endpoint's any more is void.
    alarms: BinaryHeap<Reverse<(Duration, EndpointId)>>,
    in_flight: usize,
    later: usize,
    /// How many endpoints are known before it is looked for some to forget.
    keep: usize,
}

impl Book {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            entries: HashMap::new(),
            projects: HashMap::new(),
            queues: HashMap::new(),
            turns: VecDeque::new(),
            blocked: HashMap::new(),
            alarms: BinaryHeap::new(),
            in_flight: 0,
            later: 0,
            keep: LOOK_AFTER,
        }
    }

    /// Says that the endpoint has, or may have, something that is due at `at`.
    pub(super) fn has_work(&mut self, id: EndpointId, at: Duration) {
        let entry = self.entries.entry(id).or_insert_with(|| Entry::new(at));
        let earlier = match entry.stage {
            Stage::Idle => true,
            Stage::Until(known) => at < known,
            // Whoever looks, or will, sees it.
            Stage::Ready | Stage::Looking | Stage::Blocked => false,
        };
        if earlier {
            entry.stage = Stage::Until(at);
            self.alarms.push(Reverse((at, id)));
        }
    }

    /// Takes a place for a fresh delivery, when the endpoint can take it at once and nothing of it waits.
    pub(super) fn reserve(&mut self, endpoint: &Endpoint, now: Duration) -> bool {
        if endpoint.state != EndpointState::Active || self.in_flight >= self.limits.total {
            return false;
        }
        self.learn(endpoint, now);
        let of_project = self.of_project(Some(endpoint.project_id));
        let Some(entry) = self.entries.get_mut(&endpoint.id) else { return false };
        let waits = match entry.stage {
            Stage::Idle => false,
            Stage::Until(at) => at <= now,
            Stage::Ready | Stage::Looking | Stage::Blocked => true,
        };
        let closed = entry.breaker.state() == BreakerState::Closed;
        if waits || !closed || entry.in_flight >= entry.cap || of_project >= self.limits.project {
            return false;
        }
        if entry.admit(now).is_err() {
            return false;
        }
        entry.in_flight += 1;
        self.in_flight += 1;
        *self.projects.entry(endpoint.project_id).or_default() += 1;
        true
    }

    /// Takes note of what an endpoint is.
    fn learn(&mut self, endpoint: &Endpoint, now: Duration) {
        let entry = self.entries.entry(endpoint.id).or_insert_with(|| Entry::new(now));
        if entry.project.is_none() && entry.in_flight > 0 {
            // Places that were taken before the project was known.
            *self.projects.entry(endpoint.project_id).or_default() += entry.in_flight;
        }
        entry.project = Some(endpoint.project_id);
        entry.rate = endpoint.rate;
        entry.cap = endpoint.max_in_flight as usize;
        entry.touched = now;
    }

    fn of_project(&self, project: Option<ProjectId>) -> usize {
        project.and_then(|project| self.projects.get(&project)).copied().unwrap_or_default()
    }

    fn make_ready(&mut self, id: EndpointId) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        entry.stage = Stage::Ready;
        let queue = entry.project.ok_or(id);
        let waiting = self.queues.entry(queue).or_default();
        if waiting.is_empty() {
            self.turns.push_back(queue);
        }
        waiting.push_back(id);
    }

    /// Gives every free place to an endpoint whose turn it is, one claim each; says when the next turn may come.
    pub(super) fn pick(&mut self, now: Duration) -> (Vec<Pick>, Duration) {
        while let Some(Reverse((at, id))) = self.alarms.peek().copied().filter(|Reverse((at, _))| *at <= now) {
            self.alarms.pop();
            if self.entries.get(&id).is_some_and(|entry| entry.stage == Stage::Until(at)) {
                self.make_ready(id);
            }
        }
        let mut picks = Vec::new();
        while self.in_flight < self.limits.total && self.later < self.limits.later {
            let Some(queue) = self.turns.pop_front() else { break };
            let Some(waiting) = self.queues.get_mut(&queue) else { continue };
            let next = waiting.pop_front();
            if waiting.is_empty() {
                self.queues.remove(&queue);
            } else {
                self.turns.push_back(queue);
            }
            picks.extend(next.and_then(|id| self.turn(id, now)));
        }
        self.forget(now);
        let wait = self.alarms.peek().map_or(FOREVER, |Reverse((at, _))| at.saturating_sub(now));
        (picks, wait)
    }

    /// The turn of one endpoint: as many places as it may have, or what it waits for.
    fn turn(&mut self, id: EndpointId, now: Duration) -> Option<Pick> {
        let of_project = self.of_project(self.entries.get(&id)?.project);
        let entry = self.entries.get_mut(&id)?;
        let project_room = self.limits.project.saturating_sub(of_project);
        let room = [
            self.limits.total - self.in_flight,
            self.limits.later - self.later,
            project_room,
            entry.cap.saturating_sub(entry.in_flight),
            CLAIM,
        ];
        let room = room.into_iter().min().unwrap_or_default();
        if room == 0 {
            entry.stage = Stage::Blocked;
            if let Some(project) = entry.project.filter(|_| project_room == 0) {
                self.blocked.entry(project).or_default().push(id);
            }
            return None;
        }
        let mut places = 0;
        while places < room {
            match entry.admit(now) {
                Ok(probe) => {
                    places += 1;
                    if probe {
                        break;
                    }
                }
                Err(at) if places == 0 => {
                    entry.stage = Stage::Until(at);
                    self.alarms.push(Reverse((at, id)));
                    return None;
                }
                Err(_) => break,
            }
        }
        entry.stage = Stage::Looking;
        entry.touched = now;
        entry.in_flight += places;
        if let Some(project) = entry.project {
            *self.projects.entry(project).or_default() += places;
        }
        self.in_flight += places;
        self.later += places;
        Some(Pick { endpoint: id, places })
    }

    /// Says what a claim found: the endpoint, how many of its places are used, and when the next delivery is due.
    pub(super) fn looked(
        &mut self,
        pick: Pick,
        endpoint: Option<&Endpoint>,
        used: usize,
        next: Option<Duration>,
        now: Duration,
    ) {
        if let Some(endpoint) = endpoint {
            self.learn(endpoint, now);
        }
        if let Some(entry) = self.entries.get_mut(&pick.endpoint) {
            entry.stage = Stage::Idle;
        }
        for _ in used..pick.places {
            self.give_back(pick.endpoint, false);
        }
        if let Some(at) = next {
            self.has_work(pick.endpoint, at);
        }
    }

    /// Gives a place back; who waited for it is ready.
    pub(super) fn give_back(&mut self, id: EndpointId, fresh: bool) {
        self.in_flight = self.in_flight.saturating_sub(1);
        self.later = self.later.saturating_sub(usize::from(!fresh));
        let Some(entry) = self.entries.get_mut(&id) else { return };
        entry.in_flight = entry.in_flight.saturating_sub(1);
        let (project, is_blocked) = (entry.project, entry.stage == Stage::Blocked);
        if is_blocked {
            self.make_ready(id);
        }
        let Some(project) = project else { return };
        if let Some(of_project) = self.projects.get_mut(&project) {
            *of_project = of_project.saturating_sub(1);
            if *of_project == 0 {
                self.projects.remove(&project);
            }
        }
        for other in self.blocked.remove(&project).unwrap_or_default() {
            if self.entries.get(&other).is_some_and(|entry| entry.stage == Stage::Blocked) {
                self.make_ready(other);
            }
        }
    }

    /// Takes note of how an attempt ended. Gives the breaker's state when that changed it.
    pub(super) fn observe(&mut self, endpoint: EndpointId, observed: Observed, now: Duration) -> Option<BreakerState> {
        let entry = self.entries.get_mut(&endpoint)?;
        let before = entry.breaker.state();
        entry.breaker.observe(observed, now);
        let after = entry.breaker.state();
        (before != after).then_some(after)
    }

    /// Leaves an endpoint alone for a while, as it asked.
    pub(super) fn spare(&mut self, endpoint: EndpointId, span: Duration, now: Duration) {
        if let Some(entry) = self.entries.get_mut(&endpoint) {
            entry.pace.spare(span, now);
        }
    }

    /// Attempts under way, and breakers that are not closed.
    pub(super) fn counts(&self) -> (i64, i64) {
        let open = self.entries.values().filter(|entry| entry.breaker.state() != BreakerState::Closed).count();
        (i64::try_from(self.in_flight).unwrap_or(i64::MAX), i64::try_from(open).unwrap_or(i64::MAX))
    }

    /// Forgets endpoints of which nothing is going on, so that the book stays as small as the work. One whose breaker is
    /// not closed is kept, or it would be hammered again.
    fn forget(&mut self, now: Duration) {
        if self.entries.len() < self.keep {
            return;
        }
        self.entries.retain(|_, entry| {
            let idle = entry.in_flight == 0 && entry.stage == Stage::Idle;
            !idle || entry.breaker.state() != BreakerState::Closed || now.saturating_sub(entry.touched) < REMEMBERED
        });
        self.keep = LOOK_AFTER.max(self.entries.len() * 2);
    }
}
