//! What the reconciler makes of egresses and ingresses whose ends LiveKit did not tell.

use std::{sync::Arc, time::Duration};

use futures_util::FutureExt as _;
use pulse_core::{
    media::{
        engine::EngineError,
        testing::{self, Course},
    },
    model::{
        event::{Event, SERVER_CLUSTER},
        interval::Interval,
        usage::UsageView,
    },
    store::{SharedStore, memory::MemoryStore},
    time::Timestamp,
};
use pulse_tests::plane::{START, TestPlane};

use super::room::{Room, facts, session};

fn at(seconds: u64) -> Timestamp {
    START.plus(Duration::from_secs(seconds))
}

/// A room of which LiveKit has told, with a recording and a stream into it.
async fn told(t: &TestPlane) -> Room {
    let room = Room::new(&t.customer("acme").await, "standup", "RM_1", at(0));
    let (egress, ingress) =
        (room.egress("egress_started", "EG_1", at(0), None), room.ingress("ingress_started", "RT_1", at(0), None));
    for event in [room.started(), egress, ingress] {
        t.livekit_says(&event).await.expect("taken in");
    }
    t.engine.put_room(&room.sid, &room.name(), room.created_at, Vec::new());
    room
}

/// Lets LiveKit list both as they are, or nothing.
fn list(t: &TestPlane, room: &Room, there: bool) {
    let since = at(0);
    t.engine.put_egress(Vec::from_iter(there.then(|| testing::egress("EG_1", (&room.name(), &room.sid), since, None))));
    let ingress = testing::ingress(("IN_1", "RT_1"), (&room.name(), &room.sid), since, None);
    t.engine.put_ingress(Vec::from_iter(there.then_some(ingress)));
}

async fn rounds_at<const N: usize>(t: &TestPlane, seconds: [u64; N]) {
    for seconds in seconds {
        t.clock.set(at(seconds));
        t.pipeline.reconciler.round().await.expect("LiveKit answers");
    }
}

async fn span(t: &TestPlane, kind: &str, key: &str) -> Interval {
    t.plane.parts().intervals.of_key(SERVER_CLUSTER, kind, key).await.expect("reads").expect("on record")
}

/// Both of them.
async fn both(t: &TestPlane) -> [Interval; 2] {
    [span(t, "egress", "EG_1").await, span(t, "ingress", "IN_1/RT_1").await]
}

async fn event(t: &TestPlane, source: &str, kind: &str) -> Event {
    t.plane.parts().events.of_source(SERVER_CLUSTER, source, kind).await.expect("reads").expect("told")
}

/// The fact of the egress in its latest revision.
async fn fact(t: &TestPlane) -> UsageView {
    let project = span(t, "egress", "EG_1").await.project_id;
    facts(t, project).await.into_iter().find(|fact| fact.metadata.livekit_id == "EG_1").expect("a fact")
}

#[tokio::test]
async fn an_egress_that_is_gone_from_the_list_ends_is_told_and_named_a_gap_and_livekits_own_word_corrects_it() {
    let t = TestPlane::new().await;
    let room = told(&t).await;
    list(&t, &room, true);
    rounds_at(&t, [30, 60]).await;
    list(&t, &room, false);
    rounds_at(&t, [90]).await;
    assert!(both(&t).await.iter().all(Interval::is_open), "missing once closes nothing");
    rounds_at(&t, [120]).await;
    for gone in both(&t).await {
        assert_eq!(gone.evidence.end(), Some(at(75)), "{gone:?}");
    }
    let synthetic = event(&t, "syn:EG_1:egress_ended", "egress_ended").await;
    assert!(synthetic.body.contains(r#""synthetic":true"#), "{}", synthetic.body);
    let gaps: Vec<_> = session(&t, "RM_1").await.gaps.into_iter().map(|gap| (gap.missing, gap.subject)).collect();
    let gap = |missing: &str, subject: &str| (missing.to_owned(), subject.to_owned());
    assert_eq!(gaps, [gap("egress_ended", "EG_1"), gap("ingress_ended", "IN_1/RT_1")]);
    let guessed = fact(&t).await;
    assert_eq!((guessed.value, guessed.metadata.revision), (75.0, 1));
    t.livekit_says(&room.egress("egress_ended", "EG_1", at(0), Some(at(70)))).await.expect("taken in");
    let real = event(&t, "EV_egress_ended_EG_1", "egress_ended").await;
    assert!(real.body.contains(&format!(r#""corrects":"{}""#, synthetic.id)), "{}", real.body);
    let known = fact(&t).await;
    assert_eq!((known.value, known.metadata.revision, known.metadata.synthetic), (70.0, 2, false));
}

#[tokio::test]
async fn what_is_gone_from_the_list_right_after_a_sign_of_life_ends_where_it_was_missed_first() {
    let t = TestPlane::new().await;
    let room = told(&t).await;
    list(&t, &room, true);
    rounds_at(&t, [5]).await;
    list(&t, &room, false);
    rounds_at(&t, [10, 24]).await;
    assert!(both(&t).await.iter().all(Interval::is_open), "LiveKit may yet tell of it by itself");
    rounds_at(&t, [25]).await;
    for gone in both(&t).await {
        assert_eq!(gone.evidence.end(), Some(START.plus(Duration::from_millis(7_500))), "there at 5 s, and not at 10");
    }
}

#[tokio::test]
async fn what_was_thought_to_have_ended_and_is_listed_again_was_never_gone_and_may_be_lost_again() {
    let t = TestPlane::new().await;
    let room = told(&t).await;
    list(&t, &room, true);
    rounds_at(&t, [30, 60]).await;
    list(&t, &room, false);
    rounds_at(&t, [90, 120]).await;
    assert!(!both(&t).await.iter().any(Interval::is_open), "both are gone");
    // Nothing is open on record any more: it is found all the same, within five minutes.
    list(&t, &room, true);
    rounds_at(&t, [150, 420, 450]).await;
    assert!(both(&t).await.iter().all(Interval::is_open), "they go on: {:#?}", both(&t).await);
    assert_eq!((fact(&t).await.value, fact(&t).await.metadata.revision), (0.0, 2));
    list(&t, &room, false);
    rounds_at(&t, [480, 510]).await;
    for gone in both(&t).await {
        assert_eq!(gone.evidence.end(), Some(at(465)), "{gone:?}");
    }
    event(&t, "syn:EG_1:egress_ended:2", "egress_ended").await;
    event(&t, "syn:IN_1/RT_1:ingress_ended:2", "ingress_ended").await;
    assert_eq!((fact(&t).await.value, fact(&t).await.metadata.revision), (465.0, 3));
}

#[tokio::test]
async fn what_livekit_itself_has_ended_is_not_brought_back_by_a_list() {
    let t = TestPlane::new().await;
    let room = told(&t).await;
    list(&t, &room, true);
    t.livekit_says(&room.egress("egress_ended", "EG_1", at(0), Some(at(20)))).await.expect("taken in");
    t.livekit_says(&room.ingress("ingress_ended", "RT_1", at(0), Some(at(20)))).await.expect("taken in");
    rounds_at(&t, [60, 360]).await;
    assert!(!both(&t).await.iter().any(Interval::is_open), "a list is older than a word");
}

#[tokio::test]
async fn a_livekit_whose_egresses_cannot_be_listed_is_no_fault_while_none_goes_on() {
    let t = TestPlane::new().await;
    let room = Room::new(&t.customer("acme").await, "standup", "RM_1", at(0));
    t.livekit_says(&room.started()).await.expect("taken in");
    t.engine.put_room(&room.sid, &room.name(), room.created_at, Vec::new());
    t.engine.course("list_egress", Course::Fails(EngineError::Timeout));
    rounds_at(&t, [30, 60]).await;
    t.livekit_says(&room.egress("egress_started", "EG_1", at(60), None)).await.expect("taken in");
    t.clock.set(at(90));
    t.pipeline.reconciler.round().await.expect_err("now it matters");
}

/// The events about an egress that were found out, by type, with the ids.
async fn found(t: &TestPlane) -> Vec<(&'static str, Event)> {
    let sources = [
        ("syn:EG_1:egress_started", "egress_started"),
        ("syn:EG_1:egress_ended", "egress_ended"),
        ("syn:EG_1:0:recording_available", "recording_available"),
    ];
    let mut found = Vec::new();
    for (source, kind) in sources {
        let told = t.plane.parts().events.of_source(SERVER_CLUSTER, source, kind).await.expect("reads");
        found.extend(told.map(|event| (kind, event)));
    }
    found
}

#[tokio::test]
async fn an_egress_of_which_livekit_told_nothing_is_recorded_billed_and_told_with_its_recording() {
    let t = TestPlane::new().await;
    let room = Room::new(&t.customer("acme").await, "standup", "RM_1", at(0));
    t.livekit_says(&room.started()).await.expect("taken in");
    t.engine.put_room(&room.sid, &room.name(), room.created_at, Vec::new());
    rounds_at(&t, [30]).await;
    let name = room.name();
    let egress = |ended| testing::egress("EG_1", (&name, &room.sid), at(40), ended);
    t.engine.put_egress(vec![egress(None)]);
    rounds_at(&t, [330]).await;
    let running = span(&t, "egress", "EG_1").await;
    assert!(running.is_open() && running.session_id.is_some(), "{running:?}");
    assert_eq!(found(&t).await.iter().map(|(kind, _)| *kind).collect::<Vec<_>>(), ["egress_started"]);
    t.engine.put_egress(vec![egress(Some(at(345)))]);
    rounds_at(&t, [360]).await;
    let found = found(&t).await;
    assert_eq!(found.len(), 3, "{found:#?}");
    for (kind, event) in &found {
        assert!(event.body.contains(r#""synthetic":true"#) && event.seq.is_some(), "{kind}: {}", event.body);
        assert!(event.body.contains(r#""name":"standup""#) || !event.body.contains('~'), "{kind}: {}", event.body);
    }
    assert!(found[2].1.body.contains(r#""location":"https://storage.example/standup.mp4""#), "{}", found[2].1.body);
    assert_eq!((fact(&t).await.value, fact(&t).await.metadata.billable), (305.0, true));
    let gaps: Vec<_> = session(&t, "RM_1").await.gaps.into_iter().map(|gap| (gap.missing, gap.subject)).collect();
    let gap = |missing: &str| (missing.to_owned(), "EG_1".to_owned());
    assert_eq!(gaps, [gap("egress_started"), gap("egress_ended")]);
    // LiveKit's own word of the beginning, later, corrects it.
    t.livekit_says(&room.egress("egress_started", "EG_1", at(40), None)).await.expect("taken in");
    let real = event(&t, "EV_egress_started_EG_1", "egress_started").await;
    assert!(real.body.contains(&format!(r#""corrects":"{}""#, found[0].1.id)), "{}", real.body);
    // Said once more it is no news.
    rounds_at(&t, [390, 690, 720]).await;
    assert_eq!(session(&t, "RM_1").await.gaps.len(), 2);
}

#[tokio::test]
async fn an_egress_whose_whole_life_fell_between_two_looks_is_billed_and_its_recording_told() {
    let t = TestPlane::new().await;
    let room = Room::new(&t.customer("acme").await, "standup", "RM_1", at(0));
    t.livekit_says(&room.started()).await.expect("taken in");
    t.engine.put_room(&room.sid, &room.name(), room.created_at, Vec::new());
    rounds_at(&t, [30]).await;
    t.engine.put_egress(vec![testing::egress("EG_1", (&room.name(), &room.sid), at(40), Some(at(100)))]);
    rounds_at(&t, [330]).await;
    assert_eq!(found(&t).await.len(), 3);
    assert_eq!(fact(&t).await.value, 60.0);
}

#[tokio::test]
async fn what_ended_before_a_livekit_was_looked_at_first_is_none_of_pulses() {
    let t = TestPlane::new().await;
    let room = Room::new(&t.customer("acme").await, "standup", "RM_1", at(0));
    t.engine.put_egress(vec![testing::egress("EG_1", (&room.name(), &room.sid), at(0), Some(at(10)))]);
    rounds_at(&t, [60, 360, 660]).await;
    assert_eq!(found(&t).await.len(), 0);
    let known = t.plane.parts().intervals.of_key(SERVER_CLUSTER, "egress", "EG_1").await.expect("reads");
    assert_eq!(known, None);
}

#[tokio::test]
async fn the_recording_of_an_egress_whose_end_was_lost_is_told_and_livekits_own_word_corrects_it() {
    let t = TestPlane::new().await;
    let room = told(&t).await;
    list(&t, &room, true);
    rounds_at(&t, [30]).await;
    t.engine.put_egress(vec![testing::egress("EG_1", (&room.name(), &room.sid), at(0), Some(at(50)))]);
    rounds_at(&t, [60]).await;
    assert!(span(&t, "egress", "EG_1").await.is_open(), "LiveKit may yet tell it itself");
    rounds_at(&t, [90]).await;
    let synthetic = event(&t, "syn:EG_1:0:recording_available", "recording_available").await;
    assert_eq!((fact(&t).await.value, fact(&t).await.metadata.billable), (50.0, true));
    let mut ended = room.egress("egress_ended", "EG_1", at(0), Some(at(50)));
    ended["egressInfo"]["fileResults"] =
        serde_json::json!([{ "filename": "a.mp4", "size": "1000", "location": "https://storage.example/a.mp4" }]);
    t.livekit_says(&ended).await.expect("taken in");
    let real = event(&t, "EV_egress_ended_EG_1:0", "recording_available").await;
    assert!(real.body.contains(&format!(r#""corrects":"{}""#, synthetic.id)), "{}", real.body);
}

/// A list that is none closes nothing, of whatever it is a list.
#[tokio::test]
async fn a_list_of_egresses_or_ingresses_that_fails_stalls_or_is_cut_off_closes_neither() {
    for method in ["list_egress", "list_ingress"] {
        for course in [Course::Fails(EngineError::Timeout), Course::Truncates, Course::Stalls] {
            let t = TestPlane::new().await;
            let room = told(&t).await;
            list(&t, &room, true);
            rounds_at(&t, [30]).await;
            list(&t, &room, false);
            t.engine.course(method, course.clone());
            for seconds in [60, 90, 120, 150, 180] {
                t.clock.set(at(seconds));
                let round = t.pipeline.reconciler.round().now_or_never();
                assert!(!matches!(round, Some(Ok(()))), "{method} {course:?} was taken for a list");
            }
            assert!(both(&t).await.iter().all(Interval::is_open), "{method} {course:?} closed something");
        }
    }
}

/// LiveKit lists what has ended for a day. Where that is more than a list may be, an end is seen by its absence.
#[tokio::test]
async fn an_egress_ends_though_all_that_have_ended_are_too_many_to_be_listed() {
    let t = TestPlane::new().await;
    let room = told(&t).await;
    list(&t, &room, true);
    rounds_at(&t, [30, 60]).await;
    list(&t, &room, false);
    for seconds in [90, 120] {
        t.engine.course_of_next("list_egress", Course::Well);
        t.engine.course_of_next("list_egress", Course::Fails(EngineError::TooLarge));
        rounds_at(&t, [seconds]).await;
    }
    assert_eq!(span(&t, "egress", "EG_1").await.evidence.end(), Some(at(75)));
}

/// When all were listed last outlives a daemon: rounds in which nothing had to be listed say nothing about what has ended.
#[tokio::test]
async fn an_egress_that_ended_between_two_lists_is_found_by_the_next_daemon_too() {
    let store: SharedStore = Arc::new(MemoryStore::new());
    let t = TestPlane::over(Arc::clone(&store), 1).await.expect("a plane");
    let room = Room::new(&t.customer("acme").await, "standup", "RM_1", at(0));
    t.livekit_says(&room.started()).await.expect("taken in");
    t.engine.put_room(&room.sid, &room.name(), room.created_at, Vec::new());
    rounds_at(&t, [30, 60, 90, 120, 150, 180, 210, 240]).await;
    t.pipeline.reconciler.release().await.expect("gives it back");
    drop(t);
    let t = TestPlane::over(store, 2).await.expect("a plane");
    t.engine.put_room(&room.sid, &room.name(), room.created_at, Vec::new());
    t.engine.put_egress(vec![testing::egress("EG_1", (&room.name(), &room.sid), at(70), Some(at(110)))]);
    rounds_at(&t, [270]).await;
    assert_eq!(found(&t).await.len(), 3);
}
