//! Who may begin an attempt now: places, caps, breakers and paces of all endpoints that are known to have work. Plain
//! bookkeeping, without the store and without a clock of its own; all times are those of the monotonic clock.
//!
//! Attempts that are no first ones never have more than four fifths of all places, so that a first attempt finds one
//! however many retries hang. When those four fifths are taken, endpoints for which a first attempt may be waiting are still asked, and
//! for nothing but that.

mod turns;

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap},
    time::Duration,
};

use self::turns::Turns;
use crate::{
    deliver::{
        breaker::{Admission, Breaker, BreakerState, Observed},
        pace::{EndpointRate, Pace, Pacing},
    },
    id::{EndpointId, ProjectId},
    model::endpoint::{Endpoint, EndpointState},
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
    /// Only first attempts may use the places.
    pub(super) firsts_only: bool,
    /// The one place is for the probe of a breaker.
    probe: bool,
}

/// A place that an attempt has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    endpoint: EndpointId,
    /// It is one for a first attempt.
    first: bool,
    /// The endpoint has taken what was sent from it, and can be asked anew.
    answered: bool,
}

impl Place {
    /// One that was taken for such an attempt.
    pub(super) fn new(endpoint: EndpointId, first: bool) -> Self {
        Self { endpoint, first, answered: false }
    }
}

/// What a claim found.
#[derive(Debug, Default)]
pub(super) struct Found<'a> {
    /// The endpoint, where it is still there.
    pub(super) endpoint: Option<&'a Endpoint>,
    /// Places that first attempts use.
    pub(super) firsts: usize,
    /// Places that other attempts use.
    pub(super) others: usize,
    /// When the next delivery is due, and whether it may be a first attempt.
    pub(super) next: Option<(Duration, bool)>,
    /// Nothing is sent to it as things stood in this epoch of the caches: what waits stays as it is.
    pub(super) parked: Option<u64>,
}

/// What an endpoint waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Nothing is known to wait for it.
    Idle,
    /// Something is due at this moment; a note of it is in [`Book::alarms`].
    Until(Duration),
    /// It stands in line: in [`Book::firsts`] or in [`Book::others`].
    Ready { first: bool },
    /// Somebody looks in the store for it. What was said to be due meanwhile may have been recorded after that look. `all` says
    /// that there are places for everything that waited.
    Looking { again: Option<Duration>, all: bool },
    /// It has as many attempts under way as it may, or its project has: until one is answered or ends.
    Blocked,
    /// What waits for it is not sent, as things stood in this epoch of the caches: it was paused or disabled, or its project
    /// suspended. It takes no place and is not looked at again until the epoch is another or somebody says that it has work.
    Parked { epoch: u64 },
}

/// What is known of an endpoint.
#[derive(Debug)]
struct Entry {
    /// Known once it was read.
    project: Option<ProjectId>,
    rate: Option<EndpointRate>,
    cap: usize,
    /// Places that it has.
    in_flight: usize,
    /// Those of them whose attempts it has answered: what is left is to record that.
    answered: usize,
    stage: Stage,
    /// How much waits that nobody has looked for yet, when that is known.
    waiting: Option<usize>,
    /// Whether a first attempt may be waiting.
    first: bool,
    /// Whether it stands in [`Book::others`], though perhaps for nothing: it may have got its turn in [`Book::firsts`].
    in_others: bool,
    breaker: Breaker,
    pace: Pace,
    touched: Duration,
}

impl Entry {
    fn new(now: Duration) -> Self {
        Self {
            project: None,
            rate: None,
            // Until it has been read, its rate is not known either.
            cap: 1,
            in_flight: 0,
            answered: 0,
            stage: Stage::Idle,
            waiting: Some(0),
            first: false,
            in_others: false,
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
            Admission::NotBefore(at) => {
                self.pace.give_back(self.rate, 1);
                Err(at)
            }
        }
    }

    /// Whether a fresh delivery may be sent at once: nothing that is due stands before it, unless that is being taken right now. (If
    /// it had to wait for that, the next one would have to wait for it, and so on: at 500 deliveries a second, an endpoint that
    /// once had one waiting would have every one of them claimed from then on.)
    fn is_clear(&self, now: Duration) -> bool {
        let waits = match self.stage {
            Stage::Idle => false,
            Stage::Until(at) => at <= now,
            Stage::Looking { again, all } => again.is_some() || !all,
            Stage::Ready { .. } | Stage::Blocked | Stage::Parked { .. } => true,
        };
        !waits && self.breaker.state() == BreakerState::Closed && self.room() > 0
    }

    /// How many more attempts may be at it at once.
    fn room(&self) -> usize {
        self.cap.saturating_sub(self.in_flight.saturating_sub(self.answered))
    }
}

/// The book.
#[derive(Debug)]
pub(super) struct Book {
    limits: Limits,
    entries: HashMap<EndpointId, Entry>,
    /// Attempts under way, by project.
    projects: HashMap<ProjectId, usize>,
    /// Endpoints that are ready and for which a first attempt may be waiting.
    firsts: Turns,
    /// The other endpoints that are ready.
    others: Turns,
    /// Whose turn is next, where both may be asked.
    others_next: bool,
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
            firsts: Turns::default(),
            others: Turns::default(),
            others_next: false,
            blocked: HashMap::new(),
            alarms: BinaryHeap::new(),
            in_flight: 0,
            later: 0,
            keep: LOOK_AFTER,
        }
    }

    /// Says that the endpoint has, or may have, something that is due at `at`, and whether that may be a first attempt.
    pub(super) fn has_work(&mut self, id: EndpointId, at: Duration, first: bool) {
        self.is_due(id, at, first);
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.waiting = None;
        }
    }

    /// Says that one fresh delivery to the endpoint was recorded for which there was no place.
    pub(super) fn has_one_more(&mut self, id: EndpointId, now: Duration) {
        self.is_due(id, now, true);
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.waiting = entry.waiting.map(|waiting| waiting + 1);
        }
    }

    fn is_due(&mut self, id: EndpointId, at: Duration, first: bool) {
        let entry = self.entries.entry(id).or_insert_with(|| Entry::new(at));
        entry.first |= first;
        match entry.stage {
            Stage::Until(known) if known <= at => {}
            Stage::Idle | Stage::Until(_) | Stage::Parked { .. } => self.wait_until(id, at),
            Stage::Looking { again, all } => {
                entry.stage = Stage::Looking { again: Some(again.map_or(at, |known| known.min(at))), all }
            }
            Stage::Ready { first: false } if first => self.make_ready(id),
            // Whoever looks will see it.
            Stage::Ready { .. } | Stage::Blocked => {}
        }
    }

    /// The same, of what was seen in the store while the caches were in this epoch: a parked endpoint stays so within one.
    pub(super) fn saw_work(&mut self, id: EndpointId, at: Duration, first: bool, epoch: u64) {
        if !self.is_parked(id, epoch) {
            self.has_work(id, at, first);
        }
    }

    /// Whether the endpoint is known to be parked in this epoch.
    pub(super) fn is_parked(&self, id: EndpointId, epoch: u64) -> bool {
        self.entries.get(&id).is_some_and(|entry| entry.stage == Stage::Parked { epoch })
    }

    fn wait_until(&mut self, id: EndpointId, at: Duration) {
        if let Some(entry) = self.entries.get_mut(&id) {
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
        if !entry.is_clear(now) || of_project >= self.limits.project || entry.admit(now).is_err() {
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
        entry.stage = Stage::Ready { first: entry.first };
        if entry.first {
            self.firsts.push(entry.project, id);
        } else if !entry.in_others {
            entry.in_others = true;
            self.others.push(entry.project, id);
        }
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
        while self.in_flight < self.limits.total {
            let Some(id) = self.next() else { break };
            picks.extend(self.turn(id, now));
        }
        self.forget(now);
        let wait = self.alarms.peek().map_or(FOREVER, |Reverse((at, _))| at.saturating_sub(now));
        (picks, wait)
    }

    /// The endpoint whose turn it is: those with first attempts and the others by turns, or the former alone when there is
    /// room for nothing else.
    fn next(&mut self) -> Option<EndpointId> {
        let may_ask_others = self.later < self.limits.later;
        self.others_next = may_ask_others && !self.others_next;
        if self.others_next {
            self.next_of_others().or_else(|| self.firsts.pop())
        } else {
            self.firsts.pop().or_else(|| if may_ask_others { self.next_of_others() } else { None })
        }
    }

    fn next_of_others(&mut self) -> Option<EndpointId> {
        while let Some(id) = self.others.pop() {
            let Some(entry) = self.entries.get_mut(&id) else { continue };
            entry.in_others = false;
            if entry.stage == (Stage::Ready { first: false }) {
                return Some(id);
            }
        }
        None
    }

    /// The turn of one endpoint: as many places as it may have, or what it waits for.
    fn turn(&mut self, id: EndpointId, now: Duration) -> Option<Pick> {
        let of_project = self.of_project(self.entries.get(&id)?.project);
        let entry = self.entries.get_mut(&id)?;
        let project_room = self.limits.project.saturating_sub(of_project);
        let later_room = self.limits.later.saturating_sub(self.later);
        let firsts_only = later_room == 0;
        let room = [
            self.limits.total - self.in_flight,
            if firsts_only { usize::MAX } else { later_room },
            project_room,
            entry.room(),
            CLAIM,
        ];
        let room = room.into_iter().min().unwrap_or_default();
        let waiting = entry.waiting.filter(|waiting| *waiting > 0);
        let wanted = waiting.map_or(room, |waiting| waiting.min(room));
        if room == 0 {
            entry.stage = Stage::Blocked;
            if let Some(project) = entry.project.filter(|_| project_room == 0) {
                self.blocked.entry(project).or_default().push(id);
            }
            return None;
        }
        let (mut places, mut probe) = (0, false);
        while places < wanted && !probe {
            match entry.admit(now) {
                Ok(probes) => {
                    places += 1;
                    probe = probes;
                }
                Err(at) if places == 0 => {
                    self.wait_until(id, at);
                    return None;
                }
                Err(_) => break,
            }
        }
        entry.stage = Stage::Looking { again: None, all: waiting == Some(places) };
        entry.waiting = Some(waiting.map_or(0, |waiting| waiting - places));
        entry.first = false;
        entry.touched = now;
        entry.in_flight += places;
        if let Some(project) = entry.project {
            *self.projects.entry(project).or_default() += places;
        }
        self.in_flight += places;
        self.later += if firsts_only { 0 } else { places };
        Some(Pick { endpoint: id, places, firsts_only, probe })
    }

    /// Says what a claim found. Places that it does not use are given back, and count neither for the pace nor as a probe.
    pub(super) fn looked(&mut self, pick: Pick, found: &Found<'_>, now: Duration) {
        let was_known = self.entries.get(&pick.endpoint).is_some_and(|entry| entry.project.is_some());
        if let Some(endpoint) = found.endpoint {
            self.learn(endpoint, now);
        }
        let unused = pick.places.saturating_sub(found.firsts + found.others);
        let mut again = None;
        if let Some(entry) = self.entries.get_mut(&pick.endpoint) {
            if let Stage::Looking { again: due, .. } = entry.stage {
                again = due;
            }
            if !was_known {
                // Its rate was not known when the place was taken.
                entry.pace.spend(entry.rate, now);
            }
            entry.stage = found.parked.map_or(Stage::Idle, |epoch| Stage::Parked { epoch });
            entry.pace.give_back(entry.rate, unused);
            if pick.probe && unused > 0 {
                entry.breaker.probe_was_not_made(now);
            }
        }
        if !pick.firsts_only {
            self.later = self.later.saturating_sub(found.firsts);
        }
        for _ in 0..unused {
            self.give_back(Place::new(pick.endpoint, pick.firsts_only));
        }
        match found.next {
            Some((at, first)) if at <= now => self.has_work(pick.endpoint, at, first),
            Some((at, first)) => self.is_due(pick.endpoint, at, first),
            None => {}
        }
        if let Some(at) = again {
            self.is_due(pick.endpoint, at, false);
        }
    }

    /// Gives a place back in which no attempt was made.
    pub(super) fn take_back(&mut self, place: Place, now: Duration) {
        if let Some(entry) = self.entries.get_mut(&place.endpoint) {
            entry.pace.give_back(entry.rate, 1);
            entry.breaker.probe_was_not_made(now);
        }
        self.give_back(place);
    }

    /// The endpoint has taken what was sent from this place of its: it can be asked anew while that is recorded, which may take
    /// many times longer than a fast receiver's answer. Not while its breaker waits to be told.
    pub(super) fn answered(&mut self, place: &mut Place) {
        let Some(entry) = self.entries.get_mut(&place.endpoint) else { return };
        if place.answered || entry.breaker.state() != BreakerState::Closed {
            return;
        }
        place.answered = true;
        entry.answered += 1;
        if entry.stage == Stage::Blocked {
            self.make_ready(place.endpoint);
        }
    }

    /// Gives a place back; who waited for it is ready.
    pub(super) fn give_back(&mut self, place: Place) {
        let Place { endpoint: id, first, answered } = place;
        self.in_flight = self.in_flight.saturating_sub(1);
        self.later = self.later.saturating_sub(usize::from(!first));
        let Some(entry) = self.entries.get_mut(&id) else { return };
        entry.in_flight = entry.in_flight.saturating_sub(1);
        entry.answered = entry.answered.saturating_sub(usize::from(answered));
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

    /// Endpoints with attempts or claims under way.
    pub(super) fn under_way(&self) -> impl Iterator<Item = EndpointId> {
        self.entries.iter().filter(|(_, entry)| entry.in_flight > 0).map(|(id, _)| *id)
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
            let idle = entry.in_flight == 0 && matches!(entry.stage, Stage::Idle | Stage::Parked { .. });
            !idle || entry.breaker.state() != BreakerState::Closed || now.saturating_sub(entry.touched) < REMEMBERED
        });
        self.keep = LOOK_AFTER.max(self.entries.len() * 2);
    }
}

#[cfg(test)]
mod tests;
