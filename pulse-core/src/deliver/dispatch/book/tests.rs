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
    book.give_back(endpoint.id, true);
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
    book.take_back(hook.id, true, START);
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

#[test]
fn a_probe_that_finds_nothing_to_send_is_made_the_next_time() {
    let mut book = book(16);
    let hook = endpoint(1, 1);
    introduce(&mut book, &hook);
    for _ in 0..TIMEOUTS_IN_A_ROW {
        book.observe(hook.id, Observed::Timeout, START);
    }
    let later = START + OPEN;
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
    book.give_back(EndpointId::from_bits(1), false);
    let turns: Vec<EndpointId> = book.pick(START).0.iter().map(|pick| pick.endpoint).collect();
    assert_eq!(turns.len(), 1);
    assert!([retry.id, EndpointId::from_bits(1)].contains(&turns[0]), "{turns:?}");
}

/// What waits in the pretended store: first attempts and others, by endpoint.
type Pending = BTreeMap<EndpointId, (usize, usize)>;

#[derive(Clone, Debug)]
enum Move {
    /// Something is recorded for an endpoint, and said.
    Record { endpoint: u8, first: bool },
    /// Free places are given out.
    Pick,
    /// A claim ends.
    Look(proptest::sample::Index),
    /// An attempt ends.
    Finish(proptest::sample::Index),
    /// A fresh delivery asks for a place.
    Reserve { endpoint: u8 },
}

fn any_move() -> impl Strategy<Value = Move> {
    prop_oneof![
        (0..6_u8, any::<bool>()).prop_map(|(endpoint, first)| Move::Record { endpoint, first }),
        Just(Move::Pick),
        any::<proptest::sample::Index>().prop_map(Move::Look),
        any::<proptest::sample::Index>().prop_map(Move::Finish),
        (0..6_u8).prop_map(|endpoint| Move::Reserve { endpoint }),
    ]
}

/// A dispatcher without a store.
struct World {
    book: Book,
    pending: Pending,
    claims: Vec<Pick>,
    attempts: Vec<(EndpointId, bool)>,
}

impl World {
    fn hook(id: EndpointId) -> Endpoint {
        // Three projects with two endpoints each.
        Endpoint { max_in_flight: 3, ..endpoint(number(id), number(id) / 2) }
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
        self.attempts.extend((0..firsts).map(|_| (pick.endpoint, true)));
        self.attempts.extend((0..others).map(|_| (pick.endpoint, pick.firsts_only)));
        let found = Found { endpoint: Some(&Self::hook(pick.endpoint)), firsts, others, next, parked: None };
        self.book.looked(pick, &found, START);
    }

    fn finish(&mut self, attempt: usize) {
        let (endpoint, first) = self.attempts.swap_remove(attempt);
        self.book.give_back(endpoint, first);
    }

    fn step(&mut self, step: Move) {
        match step {
            Move::Record { endpoint, first } => {
                let id = EndpointId::from_bits(endpoint.into());
                let (firsts, others) = self.pending.entry(id).or_default();
                *(if first { firsts } else { others }) += 1;
                self.book.has_work(id, START, first);
            }
            Move::Pick => self.pick(),
            Move::Look(which) if !self.claims.is_empty() => self.look(which.index(self.claims.len())),
            Move::Finish(which) if !self.attempts.is_empty() => self.finish(which.index(self.attempts.len())),
            Move::Look(_) | Move::Finish(_) => {}
            Move::Reserve { endpoint } => {
                let id = EndpointId::from_bits(endpoint.into());
                if self.book.reserve(&Self::hook(id), START) {
                    self.attempts.push((id, true));
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
            prop_assert!(world.attempts.iter().filter(|(_, first)| !first).count() <= world.book.later);
            prop_assert!(world.book.later <= 6, "a fifth of eight is kept");
            prop_assert!(world.book.projects.values().all(|places| *places <= 2), "a quarter of eight");
            for id in (0..6).map(EndpointId::from_bits) {
                prop_assert!(world.attempts.iter().filter(|(endpoint, _)| *endpoint == id).count() <= 3);
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
