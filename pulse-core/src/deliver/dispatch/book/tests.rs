//! What the book promises, without a store: its bounds, the fifth for first attempts, and that nothing said is lost.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::{
    deliver::breaker::{OPEN, TIMEOUTS_IN_A_ROW},
    time::Timestamp,
};

const START: Duration = Duration::from_secs(1_000);

fn endpoint(id: u128, project: u128) -> Endpoint {
    Endpoint {
        id: EndpointId::from_bits(id),
        project_id: ProjectId::from_bits(project),
        url: "https://example.com/hook".parse().unwrap(),
        description: None,
        event_types: serde_json::from_str("[]").unwrap(),
        headers: None,
        secrets: Vec::new(),
        timeout_seconds: 15,
        schedule: None,
        rate: None,
        max_in_flight: 8,
        state: EndpointState::Active,
        state_reason: None,
        of_project: None,
        created_at: Timestamp::from_millis(0),
        updated_at: Timestamp::from_millis(0),
        version: 1,
    }
}

/// The number of an endpoint that [`endpoint`] made.
fn number(id: EndpointId) -> u128 {
    (0..100).find(|number| EndpointId::from_bits(*number) == id).expect("one of these tests' endpoints")
}

fn book(total: usize) -> Book {
    Book::new(Limits::of(total))
}

/// Lets the book know the endpoint, by a place that is reserved and given back.
fn introduce(book: &mut Book, endpoint: &Endpoint) {
    assert!(book.reserve(endpoint, START));
    book.give_back(Place::new(endpoint.id, true));
}

fn one_pick(book: &mut Book, now: Duration) -> Pick {
    let (picks, _) = book.pick(now);
    assert_eq!(picks.len(), 1, "{picks:?}");
    picks[0]
}

#[test]
fn what_is_said_while_somebody_looks_is_looked_for_again() {
    let mut book = book(16);
    let hook = endpoint(1, 1);
    book.has_work(hook.id, START, false);
    let pick = one_pick(&mut book, START);
    // It was committed after the look had read the store.
    book.has_work(hook.id, START, true);
    book.looked(pick, &Found { endpoint: Some(&hook), ..Found::default() }, START);
    let again = one_pick(&mut book, START);
    assert_eq!(again.endpoint, hook.id);
    book.looked(again, &Found { endpoint: Some(&hook), ..Found::default() }, START);
    assert!(book.pick(START).0.is_empty(), "nothing was said since");
}

#[test]
fn a_parked_endpoint_takes_no_place_until_the_epoch_is_another_or_somebody_says_that_it_has_work() {
    let mut book = book(16);
    let hook = endpoint(1, 1);
    let park = |book: &mut Book, epoch| {
        let pick = one_pick(book, START);
        book.looked(pick, &Found { endpoint: Some(&hook), parked: Some(epoch), ..Found::default() }, START);
    };
    book.saw_work(hook.id, START, true, 7);
    park(&mut book, 7);
    assert_eq!(book.counts().0, 0, "its places are given back");
    for _ in 0..3 {
        book.saw_work(hook.id, START, true, 7);
        assert!(book.pick(START).0.is_empty(), "it is looked at again although nothing has changed");
    }
    assert!(!book.reserve(&hook, START), "something older waits for it");
    book.saw_work(hook.id, START, true, 8);
    park(&mut book, 8);
    book.has_work(hook.id, START, false);
    let pick = one_pick(&mut book, START);
    // What is said while somebody looks may be that it goes on.
    book.has_work(hook.id, START, false);
    book.looked(pick, &Found { endpoint: Some(&hook), parked: Some(8), ..Found::default() }, START);
    assert_eq!(one_pick(&mut book, START).endpoint, hook.id);
}

#[test]
fn a_look_that_finds_nothing_costs_nothing_of_the_pace() {
    let mut book = book(16);
    let hook = Endpoint { rate: Some(EndpointRate { per_second: 1, burst: 1 }), ..endpoint(1, 1) };
    introduce(&mut book, &hook);
    let later = START + Duration::from_secs(5);
    for _ in 0..3 {
        book.has_work(hook.id, later, false);
        let pick = one_pick(&mut book, later);
        book.looked(pick, &Found { endpoint: Some(&hook), ..Found::default() }, later);
    }
    assert!(book.reserve(&hook, later), "an attempt that was never made was counted");
    book.take_back(Place::new(hook.id, true), START);
    assert!(book.reserve(&hook, later), "a place that was not used was counted");
    assert!(!book.reserve(&hook, later), "the rate is one a second");
}

#[test]
fn an_endpoint_that_was_never_read_gets_one_place_until_its_rate_is_known() {
    let mut book = book(16);
    let hook = Endpoint { rate: Some(EndpointRate { per_second: 1, burst: 1 }), ..endpoint(1, 1) };
    book.has_work(hook.id, START, false);
    let pick = one_pick(&mut book, START);
    assert_eq!(pick.places, 1);
    let next = Some((START, false));
    book.looked(pick, &Found { endpoint: Some(&hook), others: 1, next, ..Found::default() }, START);
    let (picks, wait) = book.pick(START);
    assert!(picks.is_empty(), "two at once: {picks:?}");
    let (_, wait) = if wait.is_zero() { book.pick(START) } else { (picks, wait) };
    assert_eq!(wait, Duration::from_secs(1));
}

/// A book with an endpoint that let attempts run out of time until its breaker opened, and the moment from which it is probed.
fn with_an_open_breaker() -> (Book, Endpoint, Duration) {
    let mut book = book(16);
    let hook = endpoint(1, 1);
    introduce(&mut book, &hook);
    for _ in 0..TIMEOUTS_IN_A_ROW {
        book.observe(hook.id, Observed::Timeout, START);
    }
    (book, hook, START + OPEN)
}

#[test]
fn a_probe_that_finds_nothing_to_send_is_made_the_next_time() {
    let (mut book, hook, later) = with_an_open_breaker();
    for _ in 0..3 {
        book.has_work(hook.id, later, false);
        let probe = one_pick(&mut book, later);
        assert_eq!(probe.places, 1);
        book.looked(probe, &Found { endpoint: Some(&hook), ..Found::default() }, later);
    }
}

#[test]
fn when_retries_have_their_four_fifths_first_attempts_are_still_asked_for() {
    let mut book = book(20);
    for project in 1..=4 {
        let hook = endpoint(project, project);
        introduce(&mut book, &hook);
        book.has_work(hook.id, START, false);
    }
    let (picks, _) = book.pick(START);
    let places: usize = picks.iter().map(|pick| pick.places).sum();
    assert_eq!(places, 16, "four fifths of 20");
    for pick in picks {
        let hook = endpoint(number(pick.endpoint), number(pick.endpoint));
        let next = Some((START, false));
        book.looked(pick, &Found { endpoint: Some(&hook), others: pick.places, next, ..Found::default() }, START);
    }
    let (fresh, retry) = (endpoint(10, 10), endpoint(11, 11));
    book.has_work(retry.id, START, false);
    book.has_work(fresh.id, START, true);
    let pick = one_pick(&mut book, START);
    assert_eq!((pick.endpoint, pick.firsts_only), (fresh.id, true));
    book.looked(pick, &Found { endpoint: Some(&fresh), firsts: 1, ..Found::default() }, START);
    assert!(book.pick(START).0.is_empty());
    // A retry's place becomes free: the other one's turn.
    book.give_back(Place::new(EndpointId::from_bits(1), false));
    let turns: Vec<EndpointId> = book.pick(START).0.iter().map(|pick| pick.endpoint).collect();
    assert_eq!(turns.len(), 1);
    assert!([retry.id, EndpointId::from_bits(1)].contains(&turns[0]), "{turns:?}");
}

#[test]
fn what_is_fresh_goes_at_once_while_all_that_waited_is_being_taken() {
    let mut book = book(64);
    let hook = endpoint(1, 1);
    introduce(&mut book, &hook);
    let looks = |book: &mut Book, found: usize| {
        let pick = one_pick(book, START);
        assert_eq!(pick.places, found);
        pick
    };
    (0..2).for_each(|_| book.has_one_more(hook.id, START));
    let pick = looks(&mut book, 2);
    assert!(book.reserve(&hook, START), "everything that waited has a place");
    book.has_one_more(hook.id, START);
    assert!(!book.reserve(&hook, START), "one that nobody has looked for waits");
    book.looked(pick, &Found { endpoint: Some(&hook), firsts: 2, ..Found::default() }, START);
    let pick = looks(&mut book, 1);
    // More waits than anybody knew of.
    let next = Some((START, true));
    book.looked(pick, &Found { endpoint: Some(&hook), firsts: 1, next, ..Found::default() }, START);
    let pick = looks(&mut book, 8 - 4);
    assert!(!book.reserve(&hook, START));
    let later = Some((START + Duration::from_secs(5), false));
    book.looked(pick, &Found { endpoint: Some(&hook), next: later, ..Found::default() }, START);
    assert!(book.reserve(&hook, START), "what is due later does not stand before it");
    // Nobody knows how much is due then.
    let then = START + Duration::from_secs(5);
    let pick = one_pick(&mut book, then);
    assert_eq!(pick.places, 8 - 5);
    book.looked(pick, &Found { endpoint: Some(&hook), ..Found::default() }, then);
    // Whoever does not say how much it is has everything looked for.
    book.has_one_more(hook.id, then);
    book.has_work(hook.id, then, true);
    assert_eq!(one_pick(&mut book, then).places, 8 - 5);
    assert!(!book.reserve(&hook, then));
}

#[test]
fn who_has_taken_what_was_sent_is_asked_anew_while_that_is_recorded() {
    let mut book = book(16);
    let (hook, other) = (Endpoint { max_in_flight: 1, ..endpoint(1, 1) }, endpoint(2, 1));
    let mut place = Place::new(hook.id, true);
    assert!(book.reserve(&hook, START));
    book.has_work(hook.id, START, false);
    assert!(book.pick(START).0.is_empty(), "it is asked twice at once");
    book.answered(&mut place);
    let pick = one_pick(&mut book, START);
    assert_eq!((pick.endpoint, pick.places), (hook.id, 1));
    assert!(book.under_way().any(|id| id == hook.id));
    book.looked(pick, &Found { endpoint: Some(&hook), ..Found::default() }, START);
    // What is being recorded is under way all the same, and counts for the project.
    assert_eq!(book.counts().0, 1);
    for _ in 0..3 {
        assert!(book.reserve(&other, START));
    }
    assert!(!book.reserve(&other, START), "a project may have a quarter of all");
    book.give_back(place);
    assert!(book.reserve(&hook, START));
    assert!(!book.reserve(&hook, START), "it counts as answered although its place was given back");
}

#[test]
fn while_its_breaker_waits_to_be_told_an_endpoint_is_not_asked_anew() {
    let (mut book, hook, later) = with_an_open_breaker();
    book.has_work(hook.id, later, false);
    let pick = one_pick(&mut book, later);
    book.looked(pick, &Found { endpoint: Some(&hook), others: 1, ..Found::default() }, later);
    let mut probe = Place::new(hook.id, false);
    book.answered(&mut probe);
    assert!(!probe.answered);
    assert!(!book.reserve(&hook, later), "the probe's outcome was not told yet");
    assert_eq!(book.observe(hook.id, Observed::Success, later), Some(BreakerState::Closed));
    book.give_back(probe);
    assert!(book.reserve(&hook, later));
}

/// What waits in the pretended store: first attempts and others, by endpoint.
type Pending = BTreeMap<EndpointId, (usize, usize)>;

#[derive(Clone, Debug)]
enum Move {
    /// Something is recorded for an endpoint, and said; perhaps by somebody who says that it is one.
    Record { endpoint: u8, first: bool, counted: bool },
    /// Free places are given out.
    Pick,
    /// A claim ends.
    Look(proptest::sample::Index),
    /// An attempt is taken by its receiver.
    Answer(proptest::sample::Index),
    /// An attempt ends.
    Finish(proptest::sample::Index),
    /// A fresh delivery asks for a place.
    Reserve { endpoint: u8 },
}

fn any_move() -> impl Strategy<Value = Move> {
    prop_oneof![
        (0..6_u8, any::<bool>(), any::<bool>()).prop_map(|(endpoint, first, counted)| Move::Record {
            endpoint,
            first,
            counted
        }),
        Just(Move::Pick),
        any::<proptest::sample::Index>().prop_map(Move::Look),
        any::<proptest::sample::Index>().prop_map(Move::Answer),
        any::<proptest::sample::Index>().prop_map(Move::Finish),
        (0..6_u8).prop_map(|endpoint| Move::Reserve { endpoint }),
    ]
}

/// How many attempts may be at an endpoint at once: fewer than its project may have under way.
const CAP: u32 = 1;

/// A dispatcher without a store.
struct World {
    book: Book,
    pending: Pending,
    claims: Vec<Pick>,
    attempts: Vec<Place>,
}

impl World {
    fn hook(id: EndpointId) -> Endpoint {
        // Three projects with two endpoints each.
        Endpoint { max_in_flight: CAP, ..endpoint(number(id), number(id) / 2) }
    }

    fn pick(&mut self) {
        let (picks, _) = self.book.pick(START);
        self.claims.extend(picks);
    }

    fn look(&mut self, claim: usize) {
        let pick = self.claims.swap_remove(claim);
        let (firsts_wait, others_wait) = self.pending.entry(pick.endpoint).or_default();
        let firsts = pick.places.min(*firsts_wait);
        let others = if pick.firsts_only { 0 } else { (pick.places - firsts).min(*others_wait) };
        *firsts_wait -= firsts;
        *others_wait -= others;
        let next = (*firsts_wait + *others_wait > 0).then_some((START, *firsts_wait > 0));
        self.attempts.extend((0..firsts).map(|_| Place::new(pick.endpoint, true)));
        self.attempts.extend((0..others).map(|_| Place::new(pick.endpoint, pick.firsts_only)));
        let found = Found { endpoint: Some(&Self::hook(pick.endpoint)), firsts, others, next, parked: None };
        self.book.looked(pick, &found, START);
    }

    fn finish(&mut self, attempt: usize) {
        self.book.give_back(self.attempts.swap_remove(attempt));
    }

    fn step(&mut self, step: Move) {
        match step {
            Move::Record { endpoint, first, counted } => {
                let id = EndpointId::from_bits(endpoint.into());
                let (firsts, others) = self.pending.entry(id).or_default();
                *(if first { firsts } else { others }) += 1;
                if first && counted {
                    self.book.has_one_more(id, START);
                } else {
                    self.book.has_work(id, START, first);
                }
            }
            Move::Pick => self.pick(),
            Move::Look(which) if !self.claims.is_empty() => self.look(which.index(self.claims.len())),
            Move::Finish(which) if !self.attempts.is_empty() => self.finish(which.index(self.attempts.len())),
            Move::Answer(which) if !self.attempts.is_empty() => {
                let which = which.index(self.attempts.len());
                self.book.answered(&mut self.attempts[which]);
            }
            Move::Look(_) | Move::Answer(_) | Move::Finish(_) => {}
            Move::Reserve { endpoint } => {
                let id = EndpointId::from_bits(endpoint.into());
                if self.book.reserve(&Self::hook(id), START) {
                    self.attempts.push(Place::new(id, true));
                }
            }
        }
    }
}

proptest! {
    #[test]
    fn whatever_happens_the_bounds_hold_and_nothing_that_was_said_is_left(
        steps in proptest::collection::vec(any_move(), 0..300),
    ) {
        let mut world = World {
            book: book(8),
            pending: Pending::new(),
            claims: Vec::new(),
            attempts: Vec::new(),
        };
        for id in (0..6).map(EndpointId::from_bits) {
            introduce(&mut world.book, &World::hook(id));
        }
        for step in steps {
            world.step(step);
            let claimed: usize = world.claims.iter().map(|pick| pick.places).sum();
            prop_assert_eq!(world.book.in_flight, world.attempts.len() + claimed);
            prop_assert!(world.book.in_flight <= 8);
            prop_assert!(world.attempts.iter().filter(|place| !place.first).count() <= world.book.later);
            prop_assert!(world.book.later <= 6, "a fifth of eight is kept");
            prop_assert!(world.book.projects.values().all(|places| *places <= 2), "a quarter of eight");
            for id in (0..6).map(EndpointId::from_bits) {
                let asked = world.attempts.iter().filter(|place| place.endpoint == id && !place.answered).count();
                prop_assert!(asked <= CAP as usize);
            }
        }
        for _ in 0..2_000 {
            world.pick();
            while !world.claims.is_empty() {
                world.look(0);
            }
            while !world.attempts.is_empty() {
                world.finish(0);
            }
        }
        prop_assert!(world.pending.values().all(|waiting| *waiting == (0, 0)), "left: {:?}", world.pending);
        prop_assert_eq!((world.book.in_flight, world.book.later, world.book.projects.len()), (0, 0, 0));
    }
}
