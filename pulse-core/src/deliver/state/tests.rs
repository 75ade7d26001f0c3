//! Every status with every input, and sequences of inputs in any order.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

const OWN: LeaseToken = LeaseToken::from_bits(1);
const OTHER: LeaseToken = LeaseToken::from_bits(2);

fn answered(status: u16) -> AttemptOutcome {
    AttemptOutcome::Answered { status, retry_after: None }
}

/// Every kind of input, by the word that the table has for it. Those of a holder come with the token of the lease.
fn inputs(token: LeaseToken) -> Vec<(&'static str, Input)> {
    let finish = |outcome| Input::Finish { token, outcome };
    vec![
        ("claim", Input::Claim { token }),
        ("2xx", finish(answered(204))),
        ("500", finish(answered(500))),
        ("410", finish(answered(410))),
        ("429", finish(answered(429))),
        ("301", finish(answered(301))),
        ("timeout", finish(AttemptOutcome::NoAnswer { timed_out: true })),
        ("reset", finish(AttemptOutcome::NoAnswer { timed_out: false })),
        ("fault", finish(AttemptOutcome::Fault { sent: false })),
        ("panic", finish(AttemptOutcome::Fault { sent: true })),
        ("lacking", finish(AttemptOutcome::Hindered { sent: false })),
        ("lacked", finish(AttemptOutcome::Hindered { sent: true })),
        ("release", finish(AttemptOutcome::Released { sent: false })),
        ("broken", finish(AttemptOutcome::Released { sent: true })),
        ("over", Input::LeaseOver { token }),
        ("cancel", Input::Cancel),
        ("expire", Input::Expire),
    ]
}

/// What must come of it: a status, `late`, or `-` for nothing. `last` is leased with its last attempt under way and four
/// faults behind it; `stale` is leased under another token than the one that the input has.
const TABLE: &str = "
              claim  2xx       500       410       429       301       timeout   reset     fault       panic       lacking lacked  release broken  over    cancel    expire
pending       leased late      late      late      late      late      late      late      -           late        -       late    -       late    -       cancelled expired
leased        -      succeeded pending   pending   pending   pending   pending   pending   pending     pending     pending pending pending pending pending -         -
last          -      succeeded exhausted exhausted exhausted exhausted exhausted exhausted quarantined quarantined pending pending pending pending pending -         -
stale         -      late      late      late      late      late      late      late      -           late        -       late    -       late    -       -         -
succeeded     -      late      late      late      late      late      late      late      -           late        -       late    -       late    -       -         -
exhausted     -      late      late      late      late      late      late      late      -           late        -       late    -       late    -       -         -
quarantined   -      late      late      late      late      late      late      late      -           late        -       late    -       late    -       -         -
cancelled     -      late      late      late      late      late      late      late      -           late        -       late    -       late    -       -         -
expired       -      late      late      late      late      late      late      late      -           late        -       late    -       late    -       -         -
";

/// The delivery of a row of the table.
fn delivery(row: &str, schedule: &Schedule) -> DeliveryState {
    let retries = u32::try_from(schedule.waits().len()).unwrap();
    let leased = DeliveryState { status: Status::Leased, lease_token: Some(OWN), ..DeliveryState::new() };
    match row {
        "leased" => leased,
        "last" => DeliveryState { attempts_made: retries, faults: QUARANTINE_AFTER - 1, ..leased },
        "stale" => DeliveryState { lease_token: Some(OTHER), ..leased },
        other => {
            let status = Status::ALL.into_iter().find(|status| status.name() == other);
            DeliveryState { status: status.expect("a status"), ..DeliveryState::new() }
        }
    }
}

#[test]
fn every_status_answers_every_input_as_the_table_says() {
    let schedule = Schedule::default();
    let inputs: BTreeMap<_, _> = inputs(OWN).into_iter().collect();
    let mut lines = TABLE.trim().lines();
    let header: Vec<&str> = lines.next().unwrap().split_whitespace().collect();
    assert_eq!(header.len(), inputs.len(), "the table leaves inputs out");
    let mut rows = Vec::new();
    for line in lines {
        let mut words = line.split_whitespace();
        let row = words.next().unwrap();
        rows.push(row);
        let cells: Vec<&str> = words.collect();
        assert_eq!(cells.len(), header.len(), "row {row}");
        for (word, expected) in header.iter().zip(cells) {
            let state = delivery(row, &schedule);
            let said = match step(&state, inputs[word], &schedule, 0.5) {
                Step::Moved(transition) => transition.to.status.name(),
                Step::Late => "late",
                Step::Unmoved => "-",
            };
            assert_eq!(said, expected, "{word} where a delivery is {row}");
        }
    }
    for status in Status::ALL {
        assert!(rows.contains(&status.name()), "the table leaves {status:?} out");
    }
}

fn moved(state: &DeliveryState, input: Input) -> Transition {
    match step(state, input, &Schedule::default(), 0.0) {
        Step::Moved(transition) => transition,
        other => panic!("{input:?} came to {other:?}"),
    }
}

fn finished(outcome: AttemptOutcome) -> Transition {
    moved(&delivery("leased", &Schedule::default()), Input::Finish { token: OWN, outcome })
}

#[test]
fn a_failure_waits_as_the_schedule_says_and_as_the_receiver_asks() {
    let asked = |status, seconds| AttemptOutcome::Answered { status, retry_after: Some(Duration::from_secs(seconds)) };
    assert_eq!(finished(answered(500)).due_in, Some(Duration::from_secs(5)));
    assert_eq!(finished(asked(500, 60)).due_in, Some(Duration::from_secs(60)));
    assert_eq!(finished(asked(200, 60)).due_in, None);
    assert_eq!(finished(answered(500)).record, Some(Record::Attempt { number: 1 }));
}

#[test]
fn only_410_429_and_503_have_an_effect_on_the_endpoint() {
    let effect = |outcome| finished(outcome).effect;
    assert_eq!(effect(answered(410)), Effect::Disable);
    for status in [429, 503] {
        assert_eq!(effect(answered(status)), Effect::Spare(SPARED), "{status} that does not say for how long");
        for (asked, spared) in [(0, 0), (30, 30), (999_999, 3_600)] {
            let outcome = AttemptOutcome::Answered { status, retry_after: Some(Duration::from_secs(asked)) };
            assert_eq!(effect(outcome), Effect::Spare(Duration::from_secs(spared)), "{status} with {asked} s");
        }
    }
    for status in (100..=599).filter(|status| ![410, 429, 503].contains(status)) {
        assert_eq!(effect(answered(status)), Effect::None, "{status}");
        assert_eq!(answered(status).is_success(), (200..300).contains(&status), "{status}");
    }
    for timed_out in [false, true] {
        assert_eq!(effect(AttemptOutcome::NoAnswer { timed_out }), Effect::None);
    }
}

#[test]
fn faults_of_pulse_are_no_attempts_and_the_fifth_in_a_row_quarantines() {
    let mut state = DeliveryState::new();
    for fault in 1..=QUARANTINE_AFTER {
        state = moved(&state, Input::Claim { token: OWN }).to;
        let done = moved(&state, Input::Finish { token: OWN, outcome: AttemptOutcome::Fault { sent: false } });
        assert_eq!((done.to.attempts_made, done.to.faults, done.record), (0, fault, None));
        assert_eq!(done.due_in.is_some(), fault < QUARANTINE_AFTER);
        state = done.to;
    }
    assert_eq!(state.status, Status::Quarantined);
}

#[test]
fn an_attempt_that_counts_ends_a_row_of_faults_and_interruptions() {
    let behind = DeliveryState { faults: 4, interruptions: 7, ..delivery("leased", &Schedule::default()) };
    let done = moved(&behind, Input::Finish { token: OWN, outcome: answered(500) }).to;
    assert_eq!((done.faults, done.interruptions, done.attempts_made), (0, 0, 1));
}

#[test]
fn interruptions_only_back_off_and_keep_the_number_of_the_attempt() {
    let mut state = DeliveryState { attempts_made: 2, ..DeliveryState::new() };
    let mut waits = Vec::new();
    for _ in 0..100 {
        state = moved(&state, Input::Claim { token: OWN }).to;
        let done = moved(&state, Input::LeaseOver { token: OWN });
        assert_eq!(done.record, Some(Record::Interrupted { number: 3 }));
        waits.push(done.due_in.unwrap().as_secs());
        state = done.to;
    }
    assert_eq!((state.status, state.attempts_made, state.faults), (Status::Pending, 2, 0));
    assert_eq!((&waits[..6], waits[99]), (&[1, 5, 30, 120, 600, 600][..], 600));
    let hindered = Input::Finish { token: OWN, outcome: AttemptOutcome::Hindered { sent: false } };
    let later = moved(&moved(&state, Input::Claim { token: OWN }).to, hindered);
    assert_eq!((later.record, later.due_in), (None, Some(Duration::from_secs(600))), "later each time, and no row");
    let given_back = Input::Finish { token: OWN, outcome: AttemptOutcome::Released { sent: false } };
    let released = moved(&moved(&state, Input::Claim { token: OWN }).to, given_back);
    assert_eq!((released.record, released.due_in), (None, Some(Duration::from_secs(1))), "nothing had gone out");
}

#[test]
fn a_stored_state_reads_back() {
    for row in ["pending", "leased", "last", "succeeded"] {
        let state = delivery(row, &Schedule::default());
        let text = serde_json::to_string(&state).unwrap();
        assert_eq!(serde_json::from_str::<DeliveryState>(&text).unwrap(), state, "{text}");
    }
    for status in Status::ALL {
        assert_eq!(serde_json::to_value(status).unwrap(), status.name());
    }
}

/// Any input, under one of three tokens.
fn any_input() -> impl Strategy<Value = Input> {
    (1..=3_u128, any::<proptest::sample::Index>()).prop_map(|(token, which)| {
        let inputs = inputs(LeaseToken::from_bits(token));
        inputs[which.index(inputs.len())].1
    })
}

proptest! {
    #[test]
    fn no_sequence_of_inputs_breaks_the_rules(
        inputs in proptest::collection::vec(any_input(), 0..200),
        random in 0.0..1.0_f64,
    ) {
        let schedule = Schedule::new([1, 1, 1]).unwrap();
        let mut state = DeliveryState::new();
        let (mut attempts, mut reached) = (0, 1);
        for input in inputs {
            let Step::Moved(transition) = step(&state, input, &schedule, random) else { continue };
            let to = transition.to;
            prop_assert!(!state.status.is_terminal(), "{input:?} led out of {state:?}");
            if let Input::Finish { token, .. } | Input::LeaseOver { token } = input {
                prop_assert_eq!(state.lease_token, Some(token), "a stale token changed something");
            }
            prop_assert_eq!(to.status == Status::Leased, to.lease_token.is_some());
            prop_assert_eq!(to.status == Status::Pending, transition.due_in.is_some());
            match transition.record {
                Some(Record::Attempt { number }) => {
                    attempts += 1;
                    prop_assert_eq!(number, attempts, "attempts are numbered one after the other");
                    reached = attempts + 1;
                }
                Some(Record::Interrupted { number }) => prop_assert_eq!(number, reached, "its number is not used up"),
                None => {}
            }
            prop_assert_eq!(to.attempts_made, attempts);
            prop_assert!(attempts <= 4 && to.faults <= QUARANTINE_AFTER);
            state = to;
        }
    }
}
