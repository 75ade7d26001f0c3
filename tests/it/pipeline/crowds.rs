//! Rooms with more connections than are read at once: none is forgotten.

use std::{collections::HashSet, time::Duration};

use pulse_core::{
    media::testing::person,
    model::{
        event::SERVER_CLUSTER,
        event_data::ParticipantKind,
        interval::{Evidence, Interval, Subject},
        session::Session,
    },
    repo::{Document as _, sessions::MAX_SPANS},
    store::{Batch, CommitMode},
    time::Timestamp,
};
use pulse_tests::plane::{START, TestPlane};

use super::room::{Room, session, settle};

fn at(seconds: u64) -> Timestamp {
    START.plus(Duration::from_secs(seconds))
}

/// A room of which LiveKit has told, with so many people on record in it.
async fn crowd(t: &TestPlane, people: usize) -> (Room, Session) {
    let customer = t.customer("acme").await;
    let room = Room::new(&customer, "stadium", "RM_1", at(0));
    t.livekit_says(&room.started()).await.expect("taken in");
    let session = session(t, "RM_1").await;
    let numbers: Vec<usize> = (0..people).collect();
    for some in numbers.chunks(1_000) {
        let mut batch = Batch::new();
        for n in some {
            let subject = Subject::Participant {
                identity: format!("user-{n}"),
                name: String::new(),
                participant_kind: ParticipantKind::Standard,
                disconnect_reason: None,
                jti: None,
            };
            let key = format!("PA_{n}");
            let mut span = Interval::new((customer.id(), SERVER_CLUSTER), (&key, subject), at(100_000));
            span.session_id = Some(session.id);
            span.room = Some(session.room.clone());
            span.evidence =
                Evidence { active: true, began_at: Some(at(0)), last_sign_at: Some(at(0)), ..Evidence::default() };
            span.insert_into(&mut batch).expect("a document");
        }
        t.store.commit(batch, CommitMode::Apply).await.expect("committed");
    }
    (room, session)
}

#[tokio::test]
async fn everybody_leaves_with_a_room_that_ends_however_many_there_were() {
    const PEOPLE: usize = MAX_SPANS + 500;
    let t = TestPlane::new().await;
    let (room, in_room) = crowd(&t, PEOPLE).await;
    t.clock.set(at(60));
    t.livekit_says(&room.finished(at(60))).await.expect("taken in");
    settle(&t).await;
    assert_eq!(t.plane.parts().intervals.open_in(in_room.id).await.expect("reads").len(), 0, "some go on for ever");
    let summary = session(&t, "RM_1").await.summary.expect("added up");
    assert_eq!((summary.participants, summary.peak), (PEOPLE as u64, PEOPLE as u64));
    assert_eq!(summary.participant_millis, 60_500 * PEOPLE as u64);
}

#[tokio::test]
async fn who_has_gone_from_a_crowd_is_found_out_whoever_it_was() {
    let t = TestPlane::new().await;
    let (room, in_room) = crowd(&t, 5_020).await;
    let open = async || {
        let spans = t.plane.parts().intervals.of_session(in_room.id).await.expect("reads");
        spans.into_iter().filter(Interval::is_open).collect::<Vec<_>>()
    };
    let before = open().await;
    // The last ones of the list that is read have gone, of which LiveKit has not told.
    let (stay, gone) = before.split_at(5_000);
    let there = stay.iter().map(|span| person(&span.key, &format!("of {}", span.key), at(0))).collect();
    t.engine.put_room(&room.sid, &room.name(), room.created_at, there);
    for seconds in [60, 90] {
        t.clock.set(at(seconds));
        t.pipeline.reconciler.round().await.expect("answers");
    }
    let left: HashSet<String> = open().await.into_iter().map(|span| span.key).collect();
    assert!(gone.iter().all(|span| !left.contains(&span.key)), "some who have gone are there for ever");
    assert_eq!(left.len(), 5_000);
}

#[tokio::test]
async fn a_crowd_whose_room_has_gone_is_told_of_to_the_last() {
    let t = TestPlane::new().await;
    let (_, in_room) = crowd(&t, 5_020).await;
    for seconds in [60, 90] {
        t.clock.set(at(seconds));
        t.pipeline.reconciler.round().await.expect("answers");
    }
    assert_eq!(t.plane.parts().intervals.open_in(in_room.id).await.expect("reads").len(), 0);
    let told = t.plane.parts().metrics.corrections.with_label_values(&["participant_left"]).get();
    assert_eq!(told, 5_020, "some left without a word");
}
