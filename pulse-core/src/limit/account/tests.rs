//! One payer by the arithmetic alone: 600 requests a minute come back every 100 ms, and a chunk is 12 of them.

use super::*;

const RATE: Rate = Rate { per_minute: 600 };
const SHARE: Rate = Rate { per_minute: 200 };
const EACH: u64 = 100_000_000;
const SECOND: u64 = 1_000_000_000;

fn nothing() -> Account {
    Account::new(0)
}

/// Asks at `now`, and is answered at once.
fn answer(account: &mut Account, cost: u32, now: u64, granted: u32, debt: u64) -> Ask {
    let ask = account.ask(RATE, cost, now).expect("nothing is on its way");
    account.answered(ask, Some(Grant { granted, debt }), now, now);
    ask
}

/// Answers that nothing is left.
fn answer_to(account: &mut Account, ask: Ask, now: u64) {
    account.answered(ask, Some(Grant { granted: 0, debt: MINUTE }), now, now);
}

fn spent(account: &mut Account, count: u32, now: u64) {
    for number in 0..count {
        let decision = account.decide(RATE, SHARE, 1, now);
        assert!(decision.is_some_and(|decision| decision.allowed), "request {number}: {decision:?}");
    }
}

#[test]
fn a_chunk_is_spent_without_asking_and_then_asked_for_again() {
    let mut account = nothing();
    assert_eq!(account.decide(RATE, SHARE, 1, 0), None, "nothing was taken yet");
    let ask = answer(&mut account, 1, 0, 12, 12 * EACH);
    assert_eq!(ask, Ask { limit: 600, need: 1, want: 12, back: 0 });
    spent(&mut account, 12, 0);
    assert_eq!(account.decide(RATE, SHARE, 1, 0), None, "a thirteenth was spent");
    let ask = account.ask(RATE, 5, 0).unwrap();
    assert_eq!((ask.need, ask.want), (5, 12));
    assert_eq!(account.ask(RATE, 5, 0), None, "one question at a time");
}

#[test]
fn those_who_wait_are_asked_for_together_and_what_is_left_counts() {
    let mut account = nothing();
    answer(&mut account, 1, 0, 12, 12 * EACH);
    spent(&mut account, 10, 0);
    (0..40).for_each(|_| account.waits(1, true));
    let ask = account.ask(RATE, 3, 0).unwrap();
    assert_eq!((ask.need, ask.want), (1, 38), "two were left");
    (0..40).for_each(|_| account.waits(1, false));
    account.answered(ask, None, 0, 0);
    assert_eq!(account.ask(RATE, 3, 0).unwrap().want, 12);
}

#[test]
fn a_chunk_lapses_and_is_given_back_while_the_budget_has_not_come_back_by_itself() {
    for (debt, back) in [(60 * EACH, 9), (19 * EACH, 9), (18 * EACH, 0), (12 * EACH, 0)] {
        let mut account = nothing();
        answer(&mut account, 1, 0, 12, debt);
        spent(&mut account, 3, SECOND - 1);
        assert_eq!(account.decide(RATE, SHARE, 1, SECOND), None, "it was spent a second later");
        let ask = account.ask(RATE, 1, SECOND).unwrap();
        assert_eq!((ask.back, ask.need), (back, 1), "with a debt of {} requests", debt / EACH);
        account.answered(ask, None, SECOND, SECOND);
        assert_eq!(account.ask(RATE, 1, SECOND).unwrap().back, 0, "it was given back twice");
    }
}

#[test]
fn a_refusal_is_believed_for_what_costs_as_much_and_until_the_time_has_come() {
    let mut account = nothing();
    answer(&mut account, 4, 0, 0, MINUTE - EACH);
    let refused = account.decide(RATE, SHARE, 4, 0).unwrap();
    assert_eq!((refused.allowed, refused.remaining, refused.reset_seconds), (false, 1, 1));
    assert!(account.decide(RATE, SHARE, 9, 0).is_some_and(|decision| !decision.allowed));
    assert_eq!(account.decide(RATE, SHARE, 1, 0), None, "one may be left");
    assert!(account.decide(RATE, SHARE, 4, 3 * EACH - 1).is_some());
    assert_eq!(account.decide(RATE, SHARE, 4, 3 * EACH), None);
    // However long it is told to take: the budget may be there again, by another limit or a flush.
    let mut slow = nothing();
    answer(&mut slow, 500, 0, 0, MINUTE);
    let refused = slow.decide(RATE, SHARE, 500, 0).unwrap();
    assert_eq!((refused.allowed, refused.reset_seconds), (false, 50));
    assert_eq!(slow.decide(RATE, SHARE, 500, SECOND), None);
}

#[test]
fn what_is_told_is_what_is_left_of_the_whole_as_far_as_it_is_known() {
    let mut account = nothing();
    answer(&mut account, 1, 0, 12, 112 * EACH);
    let first = account.decide(RATE, SHARE, 1, 0).unwrap();
    assert_eq!((first.limit, first.remaining, first.reset_seconds), (600, 600 - 112 + 11, 12));
    let later = account.decide(RATE, SHARE, 1, SECOND / 2).unwrap();
    assert_eq!((later.remaining, later.reset_seconds), (600 - 112 + 5 + 10, 11));
}

#[test]
fn the_own_share_is_charged_for_what_was_admitted_and_decides_alone() {
    let mut account = nothing();
    answer(&mut account, 1, 0, 150, 150 * EACH);
    spent(&mut account, 150, 0);
    for left in (0..50).rev() {
        let decision = account.decide_alone(RATE, SHARE, 1, 0);
        assert_eq!((decision.allowed, decision.limit, decision.remaining), (true, 600, left));
    }
    assert!(!account.decide_alone(RATE, SHARE, 1, 0).allowed, "150 and 200 were admitted");
    // More than its share through Redis: it waits for no longer than a minute.
    answer(&mut account, 1, 0, 400, 550 * EACH);
    spent(&mut account, 400, 0);
    assert!(!account.decide_alone(RATE, SHARE, 1, MINUTE / 200 - 1).allowed);
    assert!(account.decide_alone(RATE, SHARE, 1, MINUTE / 200).allowed);
}

#[test]
fn who_cannot_wait_is_admitted_on_account_of_the_answer_and_that_is_charged() {
    let mut account = nothing();
    let ask = account.ask(RATE, 1, 0).expect("nothing is on its way");
    // The own share is used up by what was admitted before.
    while account.decide_alone(RATE, SHARE, 1, 0).allowed {}
    for _ in 0..12 {
        assert!(account.decide_late(RATE, SHARE, 1, 0).allowed, "a chunk");
    }
    assert!(!account.decide_late(RATE, SHARE, 1, 0).allowed, "a chunk and nothing more");
    account.answered(ask, Some(Grant { granted: 12, debt: 12 * EACH }), 0, 0);
    assert_eq!(account.decide(RATE, SHARE, 1, 0), None, "all of the answer was spent before it came");
    answer(&mut account, 1, 0, 12, 24 * EACH);
    spent(&mut account, 12, 0);

    // Those who wait are served first; what is owed is asked for beside what is wanted.
    let ask = account.ask(RATE, 1, 0).expect("nothing is on its way");
    (0..5).for_each(|_| assert!(account.decide_late(RATE, SHARE, 1, 0).allowed));
    account.waits(1, true);
    account.answered(ask, Some(Grant { granted: 1, debt: 25 * EACH }), 0, 0);
    spent(&mut account, 1, 0);
    account.waits(1, false);
    let ask = account.ask(RATE, 1, 0).expect("nothing is on its way");
    assert_eq!((ask.need, ask.want), (1, 12 + 5));
    account.answered(ask, Some(Grant { granted: 17, debt: 42 * EACH }), 0, 0);
    spent(&mut account, 12, 0);
    assert_eq!(account.decide(RATE, SHARE, 1, 0), None);
}

#[test]
fn what_its_share_admits_while_an_answer_is_late_is_charged_too_and_nothing_is_owed_to_one_that_is_away() {
    let mut account = nothing();
    let ask = account.ask(RATE, 1, 0).expect("nothing is on its way");
    for _ in 0..20 {
        assert!(account.decide_late(RATE, SHARE, 1, 0).allowed);
    }
    account.answered(ask, Some(Grant { granted: 12, debt: 12 * EACH }), 0, 0);
    let ask = account.ask(RATE, 1, 0).expect("nothing is left");
    assert_eq!(ask.want, 12 + 8);
    account.answered(ask, None, 0, 0);
    assert_eq!(account.ask(RATE, 1, 0).expect("it is asked again").want, 12);
}

#[test]
fn what_is_owed_is_forgotten_when_the_budget_has_come_back_by_itself() {
    for (now, want) in [(MINUTE - 1, 12 + 10), (MINUTE, 12)] {
        let mut account = nothing();
        let ask = account.ask(RATE, 1, 0).expect("nothing is on its way");
        assert!(account.decide_late(RATE, SHARE, 10, 0).allowed);
        answer_to(&mut account, ask, 0);
        assert_eq!(account.ask(RATE, 1, now).expect("nothing is on its way").want, want);
    }
}

#[test]
fn a_cost_above_the_limit_costs_the_whole_limit() {
    let mut account = nothing();
    let ask = answer(&mut account, 1_000, 0, 600, MINUTE);
    assert_eq!((ask.need, ask.want), (600, 600));
    assert!(account.decide(RATE, SHARE, 1_000, 0).is_some_and(|decision| decision.allowed));
}
