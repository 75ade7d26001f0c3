//! What the reconciler makes of a LiveKit that did not tell everything: the clock and the server are the test's.

use std::{sync::Arc, time::Duration};

use futures_util::FutureExt as _;
use pulse_core::{
    entropy::{Entropy as _, SeededEntropy},
    media::{
        engine::{EngineError, Participant},
        testing::{Course, person},
    },
    model::event::{Event, SERVER_CLUSTER},
    repo::Document as _,
    store::{
        Scan, SharedStore,
        memory::MemoryStore,
        testing::faulty::{CallKind, Fault},
    },
    time::Timestamp,
};
use pulse_tests::plane::{START, TestPlane};

use super::room::{Room, connection, facts, session, settle};

fn at(seconds: u64) -> Timestamp {
    START.plus(Duration::from_secs(seconds))
}

/// A round so many seconds after the start.
async fn round_at(t: &TestPlane, seconds: u64) -> pulse_core::Result<()> {
    t.clock.set(at(seconds));
    t.pipeline.reconciler.round().await
}

async fn rounds_at<const N: usize>(t: &TestPlane, seconds: [u64; N]) {
    for seconds in seconds {
        round_at(t, seconds).await.expect("LiveKit answers");
    }
}

fn alice() -> Participant {
    person("PA_1", "alice", at(0))
}

/// A room that LiveKit has told of, with alice in it since the start, as told.
async fn told(t: &TestPlane) -> Room {
    let customer = t.customer("acme").await;
    let room = Room::new(&customer, "standup", "RM_1", at(0));
    for event in [room.started(), room.joined("PA_1", "alice", at(0))] {
        t.livekit_says(&event).await.expect("taken in");
    }
    show(t, &room, vec![alice()]);
    room
}

fn show(t: &TestPlane, room: &Room, there: Vec<Participant>) {
    t.engine.put_room(&room.sid, &room.name(), room.created_at, there);
}

async fn synthetic(t: &TestPlane, subject: &str, kind: &str) -> Option<Event> {
    let source = format!("syn:{subject}:{kind}");
    t.plane.parts().events.of_source(SERVER_CLUSTER, &source, kind).await.expect("reads")
}

#[tokio::test]
async fn a_join_of_which_livekit_did_not_tell_is_recorded_told_and_named_a_gap() {
    let t = TestPlane::new().await;
    let room = told(&t).await;
    show(&t, &room, vec![alice(), person("PA_2", "bob", at(5))]);
    rounds_at(&t, [30, 60]).await;
    let bob = connection(&t, "PA_2").await;
    assert_eq!((bob.evidence.start(), bob.is_open()), (Some(at(5)), true));
    let event = synthetic(&t, "PA_2", "participant_joined").await.expect("it is told");
    assert!(event.body.contains(r#""synthetic":true"#) && event.seq.is_some(), "{event:?}");
    let gaps = session(&t, "RM_1").await.gaps;
    assert_eq!(
        gaps.iter().map(|gap| (gap.missing.as_str(), gap.subject.as_str())).collect::<Vec<_>>(),
        [("participant_joined", "PA_2")]
    );
    // LiveKit's own word, later, corrects it and changes no time.
    t.livekit_says(&room.joined("PA_2", "bob", at(5))).await.expect("taken in");
    let real =
        t.plane.parts().events.of_source(SERVER_CLUSTER, "EV_RM_1_participant_joined_PA_2", "participant_joined");
    let real = real.await.expect("reads").expect("recorded");
    assert!(real.body.contains(&format!(r#""corrects":"{}""#, event.id)), "{}", real.body);
    assert_eq!(connection(&t, "PA_2").await.evidence.start(), Some(at(5)));
}

#[tokio::test]
async fn a_leave_of_which_livekit_did_not_tell_ends_the_connection_within_a_round() {
    let t = TestPlane::new().await;
    let room = told(&t).await;
    rounds_at(&t, [30, 60]).await;
    show(&t, &room, Vec::new());
    rounds_at(&t, [90]).await;
    assert!(connection(&t, "PA_1").await.is_open(), "missing once closes nothing");
    rounds_at(&t, [120]).await;
    let alice = connection(&t, "PA_1").await;
    assert_eq!(alice.evidence.end(), Some(at(75)), "in the middle of the time in which she went");
    assert!(synthetic(&t, "PA_1", "participant_left").await.is_some());
    let fact = async || {
        let facts = facts(&t, alice.project_id).await;
        assert_eq!(facts.len(), 1, "{facts:?}");
        (facts[0].value, facts[0].metadata.revision, facts[0].metadata.synthetic)
    };
    assert_eq!(fact().await, (75.0, 1, true));
    // The others stay for an hour: who was found gone is not billed until then.
    t.clock.set(at(3_600));
    t.livekit_says(&room.finished(at(3_600))).await.expect("taken in");
    settle(&t).await;
    assert_eq!(fact().await, (75.0, 1, true));
    assert_eq!(session(&t, "RM_1").await.summary.expect("added up").participant_millis, 75_000);
}

#[tokio::test]
async fn the_end_of_a_room_of_which_livekit_did_not_tell_ends_its_people_and_is_added_up() {
    let t = TestPlane::new().await;
    let room = told(&t).await;
    rounds_at(&t, [30, 60]).await;
    t.engine.close_room(&room.name());
    rounds_at(&t, [90]).await;
    assert_eq!(session(&t, "RM_1").await.ended_at(), None, "missing once closes nothing");
    rounds_at(&t, [120]).await;
    assert_eq!(session(&t, "RM_1").await.ended_at(), Some(at(75)));
    assert_eq!(connection(&t, "PA_1").await.evidence.end(), Some(at(75)));
    settle(&t).await;
    let summary = session(&t, "RM_1").await.summary.expect("added up");
    assert_eq!((summary.participants, summary.participant_millis), (1, 75_000));
    assert!(synthetic(&t, "RM_1", "room_ended").await.is_some());
}

#[tokio::test]
async fn a_sign_of_life_between_two_lists_without_a_room_keeps_it_and_its_people() {
    let t = TestPlane::new().await;
    let room = told(&t).await;
    rounds_at(&t, [30, 60]).await;
    // A list that was made while the room moved to another node.
    t.engine.close_room(&room.name());
    rounds_at(&t, [90]).await;
    t.clock.set(at(119));
    t.livekit_says(&room.joined("PA_2", "bob", at(119))).await.expect("taken in");
    rounds_at(&t, [120]).await;
    assert_eq!(session(&t, "RM_1").await.ended_at(), None, "bob has come in between");
    for sid in ["PA_1", "PA_2"] {
        assert!(connection(&t, sid).await.is_open(), "{sid}");
        assert!(synthetic(&t, sid, "participant_left").await.is_none(), "{sid} is told to have left");
    }
    // Gone all the same: it takes two lists that were begun after bob came.
    rounds_at(&t, [150]).await;
    assert_eq!(session(&t, "RM_1").await.ended_at(), None, "missing once closes nothing");
    rounds_at(&t, [180]).await;
    assert!(session(&t, "RM_1").await.ended_at().is_some());
    let bob = connection(&t, "PA_2").await;
    assert!(bob.evidence.end().is_some_and(|end| end > at(119)), "{bob:?}");
}

#[tokio::test]
async fn a_room_of_which_livekit_told_nothing_is_recorded_with_its_people() {
    let t = TestPlane::new().await;
    let customer = t.customer("acme").await;
    let room = Room::new(&customer, "unseen", "RM_9", at(0));
    show(&t, &room, vec![alice()]);
    rounds_at(&t, [30, 60]).await;
    let found = session(&t, "RM_9").await;
    assert_eq!((found.started_at, found.ended_at()), (at(0), None));
    assert!(!found.view(Default::default(), at(60)).synthetic_start, "LiveKit itself says when it began");
    assert_eq!(connection(&t, "PA_1").await.evidence.start(), Some(at(0)));
    assert!(synthetic(&t, "RM_9", "room_started").await.is_some());
}

#[tokio::test]
async fn an_outage_of_livekit_in_which_people_left_is_not_billed() {
    let t = TestPlane::new().await;
    let room = told(&t).await;
    rounds_at(&t, [30, 60]).await;
    t.engine.course("list_rooms", Course::Fails(EngineError::Timeout));
    for minute in 2..60 {
        round_at(&t, minute * 60).await.expect_err("LiveKit is away");
    }
    assert!(connection(&t, "PA_1").await.is_open(), "an outage closes nothing");
    t.engine.course("list_rooms", Course::Well);
    t.engine.close_room(&room.name());
    rounds_at(&t, [3_600, 3_630]).await;
    assert_eq!(connection(&t, "PA_1").await.evidence.end(), Some(at(75)), "60 s seen, 15 s more at most");
}

#[tokio::test]
async fn a_daemon_that_starts_knows_until_when_things_were_as_they_are_on_record() {
    let store: SharedStore = Arc::new(MemoryStore::new());
    let t = TestPlane::over(Arc::clone(&store), 1).await.expect("a plane");
    told(&t).await;
    for seconds in (30..=3_600).step_by(30) {
        rounds_at(&t, [seconds]).await;
    }
    drop(t);
    // The room ends while no daemon runs, a day goes by, and another one finds it gone.
    let t = TestPlane::over(store, 2).await.expect("a plane");
    rounds_at(&t, [90_000, 90_030]).await;
    let end = connection(&t, "PA_1").await.evidence.end().expect("it has ended");
    assert!((at(3_570)..=at(3_615)).contains(&end), "an hour was seen, and {end} is on record");
    assert_eq!(session(&t, "RM_1").await.ended_at(), Some(end));
}

#[tokio::test]
async fn a_list_that_fails_stalls_or_is_cut_off_closes_nothing() {
    for method in ["list_rooms", "list_participants"] {
        for course in [Course::Fails(EngineError::Timeout), Course::Truncates, Course::Stalls] {
            let t = TestPlane::new().await;
            let room = told(&t).await;
            rounds_at(&t, [30]).await;
            show(&t, &room, Vec::new());
            t.engine.course(method, course.clone());
            for seconds in [60, 90, 120, 150, 180] {
                t.clock.set(at(seconds));
                let round = t.pipeline.reconciler.round().now_or_never();
                assert!(!matches!(round, Some(Ok(()))), "{method} {course:?} was taken for a list");
                assert!(t.engine.calls().iter().any(|call| call.starts_with(method)), "{method} was not asked for");
            }
            assert!(connection(&t, "PA_1").await.is_open(), "{method} {course:?} closed a connection");
            assert_eq!(session(&t, "RM_1").await.ended_at(), None, "{method} {course:?} ended a session");
        }
    }
}

#[tokio::test]
async fn who_is_back_after_being_thought_lost_was_never_gone_and_may_be_lost_again() {
    let t = TestPlane::new().await;
    let room = told(&t).await;
    rounds_at(&t, [30]).await;
    show(&t, &room, Vec::new());
    rounds_at(&t, [60, 90]).await;
    assert!(!connection(&t, "PA_1").await.is_open());
    show(&t, &room, vec![alice()]);
    rounds_at(&t, [120]).await;
    let back = connection(&t, "PA_1").await;
    assert!(back.is_open(), "{back:?}");
    let taken_back = facts(&t, back.project_id).await;
    assert_eq!((taken_back.len(), taken_back[0].value, taken_back[0].metadata.revision), (1, 0.0, 2));
    // Lost once more: that is another edge, with an event of its own.
    rounds_at(&t, [150]).await;
    show(&t, &room, Vec::new());
    rounds_at(&t, [180, 210]).await;
    assert_eq!(connection(&t, "PA_1").await.evidence.end(), Some(at(165)));
    let again = t.plane.parts().events.of_source(SERVER_CLUSTER, "syn:PA_1:participant_left:2", "participant_left");
    assert!(again.await.expect("reads").is_some());
    let last = facts(&t, back.project_id).await;
    assert_eq!((last.len(), last[0].value, last[0].metadata.revision), (1, 165.0, 3));
}

#[tokio::test]
async fn a_room_that_a_webhook_brings_back_is_added_up_anew_and_may_be_lost_again_and_again() {
    let t = TestPlane::new().await;
    let room = told(&t).await;
    let mut now = 30;
    for time in 0..3_u64 {
        rounds_at(&t, [now]).await;
        t.engine.close_room(&room.name());
        rounds_at(&t, [now + 30, now + 60]).await;
        settle(&t).await;
        assert!(session(&t, "RM_1").await.summary.is_some(), "time {time}: it is over");
        now += 200;
        t.clock.set(at(now));
        let sid = format!("PA_b{time}");
        t.livekit_says(&room.joined(&sid, "bob", at(now))).await.expect("taken in");
        settle(&t).await;
        let back = session(&t, "RM_1").await;
        assert_eq!((back.ended_at(), back.summary), (None, None), "time {time}: it goes on");
        show(&t, &room, vec![person(&sid, "bob", at(now))]);
        now += 100;
    }
    let id = session(&t, "RM_1").await.id;
    let scan = Scan::new(Event::COLLECTION, "log_seq", vec![id.to_string().into()]);
    let rows = t.store.scan(scan).await.expect("reads").rows;
    let ends = rows.iter().filter(|row| row.doc["type"] == "room_ended").count();
    assert_eq!(ends, 3, "each end is told");
}

#[tokio::test]
async fn a_room_that_was_lost_ended_then_and_not_when_it_was_opened_again() {
    let t = TestPlane::new().await;
    let room = told(&t).await;
    rounds_at(&t, [30, 60]).await;
    t.engine.close_room(&room.name());
    rounds_at(&t, [90, 120]).await;
    settle(&t).await;
    let lost = session(&t, "RM_1").await;
    assert_eq!(lost.ended_at(), Some(at(75)), "{lost:?}");
    t.clock.set(at(3_600));
    let again = Room { sid: "RM_2".to_owned(), created_at: at(3_600), ..room };
    t.livekit_says(&again.started()).await.expect("taken in");
    t.livekit_says(&again.joined("PA_9", "bob", at(3_600))).await.expect("taken in");
    settle(&t).await;
    assert_eq!(session(&t, "RM_1").await, lost, "what the customer was told stands");
    let facts = facts(&t, lost.project_id).await;
    assert_eq!(facts.iter().map(|fact| (fact.value, fact.metadata.revision)).collect::<Vec<_>>(), [(75.0, 1)]);
}

#[tokio::test]
async fn livekits_own_word_after_a_synthetic_end_corrects_it_and_the_fact() {
    let t = TestPlane::new().await;
    let room = told(&t).await;
    rounds_at(&t, [30, 60]).await;
    show(&t, &room, Vec::new());
    rounds_at(&t, [90, 120]).await;
    let synthetic = synthetic(&t, "PA_1", "participant_left").await.expect("told");
    t.livekit_says(&room.left("PA_1", "alice", at(0), at(70))).await.expect("taken in");
    let real = t.plane.parts().events.of_source(SERVER_CLUSTER, "EV_RM_1_participant_left_PA_1", "participant_left");
    let real = real.await.expect("reads").expect("recorded");
    assert!(real.body.contains(&format!(r#""corrects":"{}""#, synthetic.id)), "{}", real.body);
    let alice = connection(&t, "PA_1").await;
    let facts = facts(&t, alice.project_id).await;
    assert_eq!((facts.len(), facts[0].value, facts[0].metadata.revision), (1, 70.5, 2));
    assert!(!facts[0].metadata.synthetic && facts[0].metadata.reason.is_some(), "{facts:?}");
}

#[tokio::test]
async fn three_reconcilers_on_one_store_write_each_edge_once() {
    let store: SharedStore = Arc::new(MemoryStore::new());
    let mut planes = Vec::new();
    for seed in 1..=3 {
        planes.push(TestPlane::over(Arc::clone(&store), seed).await.expect("a plane"));
    }
    let room = told(&planes[0]).await;
    let all_show = |there: &dyn Fn() -> Vec<Participant>| planes.iter().for_each(|t| show(t, &room, there()));
    let all_round = async |seconds: u64| {
        let rounds = planes.iter().map(|t| round_at(t, seconds));
        futures_util::future::try_join_all(rounds).await.expect("LiveKit answers");
    };
    all_show(&|| vec![alice(), person("PA_2", "bob", at(1))]);
    // Far enough apart that no lease lasts from one to the next: whoever comes first takes it.
    for seconds in [100, 200] {
        all_round(seconds).await;
    }
    planes.iter().for_each(|t| t.engine.close_room(&room.name()));
    for (turn, seconds) in [300_u64, 400, 500, 600].into_iter().enumerate() {
        round_at(&planes[turn % 3], seconds).await.expect("LiveKit answers");
        all_round(seconds + 70).await;
    }
    let id = session(&planes[0], "RM_1").await.id;
    let scan = Scan::new(Event::COLLECTION, "log_seq", vec![id.to_string().into()]);
    let rows = store.scan(scan).await.expect("reads").rows;
    let mut told: Vec<String> = rows
        .into_iter()
        .map(|row| Event::from_stored(row).expect("decodes"))
        .filter(|event| event.source_id.starts_with("syn:"))
        .map(|event| event.source_id)
        .collect();
    told.sort();
    assert_eq!(
        told,
        [
            "syn:PA_1:participant_left",
            "syn:PA_2:participant_joined",
            "syn:PA_2:participant_left",
            "syn:RM_1:room_ended"
        ]
    );
    let facts = facts(&planes[0], connection(&planes[0], "PA_1").await.project_id).await;
    assert_eq!(facts.iter().map(|fact| fact.metadata.revision).collect::<Vec<_>>(), [1, 1]);
}

/// When the room and the connection ended, which is the same.
async fn ended(t: &TestPlane, connection_sid: &str) -> Option<Timestamp> {
    let ended = session(t, "RM_1").await.ended_at();
    assert_eq!(connection(t, connection_sid).await.evidence.end(), ended, "{connection_sid}");
    ended
}

#[tokio::test]
async fn what_ends_right_after_a_sign_of_life_ends_where_it_was_missed_first() {
    let t = TestPlane::new().await;
    let room = told(&t).await;
    rounds_at(&t, [5]).await;
    t.engine.close_room(&room.name());
    rounds_at(&t, [10, 24]).await;
    assert_eq!(ended(&t, "PA_1").await, None, "LiveKit may yet tell of it by itself");
    rounds_at(&t, [25]).await;
    assert_eq!(ended(&t, "PA_1").await, Some(at(5).plus(Duration::from_millis(2_500))), "there at 5 s, and not at 10");
}

#[tokio::test]
async fn what_is_back_before_it_was_thought_to_be_gone_is_missed_anew() {
    let t = TestPlane::new().await;
    let room = told(&t).await;
    rounds_at(&t, [5]).await;
    t.engine.close_room(&room.name());
    rounds_at(&t, [10]).await;
    show(&t, &room, vec![alice()]);
    rounds_at(&t, [15]).await;
    t.engine.close_room(&room.name());
    rounds_at(&t, [20, 34]).await;
    assert_eq!(ended(&t, "PA_1").await, None, "missing since 20 s");
    rounds_at(&t, [35]).await;
    assert_eq!(ended(&t, "PA_1").await, Some(at(15).plus(Duration::from_millis(2_500))));
}

#[tokio::test]
async fn a_list_that_was_begun_after_the_last_sign_of_life_counts() {
    let t = TestPlane::new().await;
    let room = told(&t).await;
    rounds_at(&t, [30, 60, 90]).await;
    t.clock.set(at(118));
    t.livekit_says(&room.joined("PA_2", "bob", at(118))).await.expect("taken in");
    t.engine.close_room(&room.name());
    rounds_at(&t, [120]).await;
    assert_eq!(ended(&t, "PA_2").await, None, "missing once closes nothing");
    rounds_at(&t, [150]).await;
    assert_eq!(ended(&t, "PA_2").await, Some(at(119)));
}

#[tokio::test]
async fn a_room_that_goes_before_its_newcomers_are_recorded_ends_where_it_was_missed_first() {
    let t = TestPlane::new().await;
    let room = told(&t).await;
    show(&t, &room, vec![alice(), person("PA_2", "bob", at(29))]);
    rounds_at(&t, [30]).await;
    t.engine.close_room(&room.name());
    rounds_at(&t, [60, 90]).await;
    for sid in ["PA_1", "PA_2"] {
        assert_eq!(ended(&t, sid).await, Some(at(45)), "there at 30 s, and not at 60");
    }
}

#[tokio::test]
async fn who_was_missing_before_the_room_ended_left_before_it() {
    for told_of in [false, true] {
        let t = TestPlane::new().await;
        let room = told(&t).await;
        rounds_at(&t, [30]).await;
        show(&t, &room, Vec::new());
        rounds_at(&t, [60]).await;
        t.engine.close_room(&room.name());
        if told_of {
            t.clock.set(at(80));
            t.livekit_says(&room.finished(at(80))).await.expect("taken in");
            settle(&t).await;
        } else {
            rounds_at(&t, [90, 120]).await;
        }
        assert!(session(&t, "RM_1").await.ended_at().is_some_and(|end| end >= at(75)), "the room was there at 60 s");
        assert_eq!(
            connection(&t, "PA_1").await.evidence.end(),
            Some(at(45)),
            "she was not, told of the room: {told_of}"
        );
    }
}

#[tokio::test]
async fn a_sign_of_life_that_is_told_after_the_list_without_it_is_not_after_the_end() {
    let t = TestPlane::new().await;
    let room = told(&t).await;
    rounds_at(&t, [5]).await;
    t.engine.close_room(&room.name());
    rounds_at(&t, [10]).await;
    t.livekit_says(&room.joined("PA_2", "bob", at(8))).await.expect("taken in");
    rounds_at(&t, [25]).await;
    for sid in ["PA_1", "PA_2"] {
        assert_eq!(ended(&t, sid).await, Some(at(9)), "there at 8 s, and not at 10");
        assert!(synthetic(&t, sid, "participant_left").await.is_some(), "{sid} is not told to have left");
    }
}

#[tokio::test]
async fn what_livekit_tells_late_says_nothing_against_a_list() {
    let t = TestPlane::new().await;
    let room = told(&t).await;
    show(&t, &room, vec![alice(), person("PA_2", "bob", at(5))]);
    rounds_at(&t, [30, 60]).await;
    show(&t, &room, vec![alice()]);
    rounds_at(&t, [90]).await;
    t.livekit_says(&room.joined("PA_2", "bob", at(5))).await.expect("taken in");
    rounds_at(&t, [120]).await;
    assert_eq!(connection(&t, "PA_2").await.evidence.end(), Some(at(75)), "there at 60 s, and not at 90");
}

#[tokio::test]
async fn a_room_of_which_pulse_hears_while_a_list_is_made_is_not_missing_from_it_whatever_livekits_clock_says() {
    let t = TestPlane::new().await;
    rounds_at(&t, [30]).await;
    t.clock.set(at(60));
    let room = Room::new(&t.customer("acme").await, "standup", "RM_1", at(50));
    for event in [room.started(), room.joined("PA_1", "alice", at(50))] {
        t.livekit_says(&event).await.expect("taken in");
    }
    rounds_at(&t, [60, 90]).await;
    assert_eq!(ended(&t, "PA_1").await, None, "missing once closes nothing");
    rounds_at(&t, [120]).await;
    assert_eq!(ended(&t, "PA_1").await, Some(at(75)), "there at 60 s, and not at 90");
}

#[tokio::test]
async fn no_lost_end_is_off_by_more_than_a_round() {
    let dice = SeededEntropy::new(7);
    for life in 0..20 {
        no_lost_end_is_off_by_more_than([30, 5, 1][life % 3], &dice).await;
    }
}

/// The same for rounds that are so many seconds apart.
async fn no_lost_end_is_off_by_more_than(round: u64, dice: &SeededEntropy) {
    let roll = |most: u64| {
        let mut bytes = [0; 8];
        dice.fill(&mut bytes);
        u64::from_be_bytes(bytes) % most
    };
    let t = TestPlane::new().await;
    let room = told(&t).await;
    let guests: Vec<(String, u64, u64)> = (0..6)
        .map(|guest| {
            let joined = 1 + roll(600);
            (format!("PA_g{guest}"), joined, joined + 1 + roll(20 * round))
        })
        .collect();
    for now in 1..=1_500 {
        t.clock.set(at(now));
        let there = guests.iter().filter(|(_, joined, left)| (*joined..*left).contains(&now));
        let there = there.map(|(sid, joined, _)| person(sid, sid, at(*joined)));
        show(&t, &room, there.chain([alice()]).collect());
        for (sid, joined, _) in guests.iter().filter(|(_, joined, _)| *joined == now) {
            t.livekit_says(&room.joined(sid, sid, at(*joined))).await.expect("taken in");
        }
        if now % round == 0 {
            t.pipeline.reconciler.round().await.expect("LiveKit answers");
        }
    }
    t.livekit_says(&room.finished(at(1_500))).await.expect("taken in");
    settle(&t).await;
    for (sid, _, left) in &guests {
        let end = connection(&t, sid).await.evidence.end().unwrap_or_else(|| panic!("{sid} is still there"));
        let error = end.since(at(*left)).max(at(*left).since(end));
        assert!(
            // LiveKit tells whole seconds: what it told just before a list may have been after it.
            error <= Duration::from_secs(round.max(3)),
            "rounds of {round} s: {sid} left at {left} and {error:?} is billed wrongly"
        );
    }
}

/// Of a connection of which LiveKit told nothing at all, that is found which lasted for a round; shorter ones may fall between
/// two rounds, and are not billed.
#[tokio::test]
async fn no_connection_of_a_round_or_longer_goes_unseen_though_nothing_was_told_of_it() {
    const ROUND: u64 = 30;
    let dice = SeededEntropy::new(11);
    let roll = |most: u64| {
        let mut bytes = [0; 8];
        dice.fill(&mut bytes);
        u64::from_be_bytes(bytes) % most
    };
    let t = TestPlane::new().await;
    let room = told(&t).await;
    // One after another: a join and a leave that are both lost hide each other from whoever only counts.
    let guests: Vec<(String, u64, u64)> = (0..40)
        .map(|guest| {
            let joined = 1 + guest * 180 + roll(30);
            (format!("PA_g{guest}"), joined, joined + 1 + roll(60))
        })
        .collect();
    for now in 1..=40 * 180 {
        t.clock.set(at(now));
        let there = guests.iter().filter(|(_, joined, left)| (*joined..*left).contains(&now));
        let there = there.map(|(sid, joined, _)| person(sid, sid, at(*joined)));
        show(&t, &room, there.chain([alice()]).collect());
        if now % ROUND == 0 {
            t.pipeline.reconciler.round().await.expect("LiveKit answers");
        }
    }
    let mut unseen = Vec::new();
    for (sid, joined, left) in &guests {
        let found = t.plane.parts().intervals.of_key(SERVER_CLUSTER, "participant", sid).await.expect("reads");
        let Some(found) = found else {
            unseen.push(left - joined);
            continue;
        };
        let (start, end) = (found.evidence.start(), found.evidence.end().expect("it has ended"));
        assert_eq!(start, Some(at(*joined)), "LiveKit says when it began");
        let error = end.since(at(*left)).max(at(*left).since(end));
        assert!(error <= Duration::from_secs(ROUND), "{sid} left at {left} and {error:?} is billed wrongly");
    }
    assert!(!unseen.is_empty(), "no connection was short enough to show anything");
    assert!(unseen.iter().all(|length| *length < ROUND), "unseen, in seconds: {unseen:?}");
}

#[tokio::test]
async fn of_a_crowd_that_has_just_come_so_many_are_remembered_and_no_more() {
    let t = TestPlane::new().await;
    let room = told(&t).await;
    show(&t, &room, (0..1_500).map(|n| person(&format!("PA_g{n}"), "guest", at(20))).collect());
    rounds_at(&t, [30]).await;
    show(&t, &room, vec![alice()]);
    rounds_at(&t, [60]).await;
    let project = session(&t, "RM_1").await.project_id;
    let on_record = t.plane.parts().intervals.open_of(project, 10_000).await.expect("reads").len();
    assert_eq!(on_record, 1_001, "alice, and a thousand of whom nothing was told");
}

#[tokio::test]
async fn who_is_recorded_while_the_room_ends_ends_with_it() {
    let (store, t, other) = TestPlane::two_over_faulty_store().await;
    let room = told(&t).await;
    show(&t, &room, vec![alice(), person("PA_2", "bob", at(25))]);
    rounds_at(&t, [30]).await;
    t.clock.set(at(60));
    // After the lease the first document that is read by itself is bob's connection, for which there is none.
    store.plan(Fault::Stall { call: CallKind::Get, nth: 2 });
    let pipeline = Arc::clone(&t.pipeline);
    let looking = tokio::spawn(async move { pipeline.reconciler.round().await });
    store.until_stalled().await;
    other.clock.set(at(58));
    other.livekit_says(&room.finished(at(58))).await.expect("taken in");
    settle(&other).await;
    assert_eq!(session(&other, "RM_1").await.summary.expect("added up").participants, 1);
    store.release();
    looking.await.expect("ends").expect("LiveKit answers");
    settle(&t).await;
    let bob = connection(&t, "PA_2").await;
    assert_eq!((bob.evidence.start(), bob.evidence.end()), (Some(at(25)), session(&t, "RM_1").await.ended_at()));
    assert_eq!(session(&t, "RM_1").await.summary.expect("added up").participants, 2);
}
