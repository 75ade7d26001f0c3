//! Sessions and usage as the API answers them, live ones included.

use std::time::Duration;

use pulse_core::{
    error::Code,
    model::{
        event::SERVER_CLUSTER,
        event_data::ParticipantKind,
        interval::{Evidence, Interval, Subject},
    },
    repo::Document as _,
    store::{Batch, CommitMode, Scan, schema},
    time::Timestamp,
};
use pulse_tests::plane::{Customer, START, TestPlane, operator};
use serde_json::{Value, json};

use super::room::{Room, session, settle};

fn at(seconds: u64) -> Timestamp {
    START.plus(Duration::from_secs(seconds))
}

async fn ask(t: &TestPlane, c: &Customer, id: &str, path: &[(&str, &str)], query: &str) -> Value {
    t.send(&c.caller, id, path, query, "").await.unwrap_or_else(|error| panic!("{id} {query}: {error:?}"))
}

/// A room that has ended, with alice for 40 s and an egress for 30 s; and one that goes on, with bob since a minute.
async fn two_rooms(t: &TestPlane) -> Customer {
    let c = t.customer("acme").await;
    let ended = Room::new(&c, "daily", "RM_1", at(0));
    let live = Room::new(&c, "party", "RM_2", at(100));
    for event in [
        ended.started(),
        ended.joined("PA_1", "alice", at(10)),
        ended.egress("egress_started", "EG_1", at(15), None),
        ended.egress("egress_ended", "EG_1", at(15), Some(at(45))),
        ended.left("PA_1", "alice", at(10), at(50)),
        ended.finished(at(70)),
        live.started(),
        live.joined("PA_2", "bob", at(140)),
        live.ingress("ingress_started", "RT_1", at(150), None),
    ] {
        t.livekit_says(&event).await.expect("taken in");
    }
    settle(t).await;
    t.clock.set(at(200));
    c
}

#[tokio::test]
async fn sessions_are_listed_with_their_sums_live_ones_until_now() {
    let t = TestPlane::new().await;
    let c = two_rooms(&t).await;
    let page = ask(&t, &c, "sessions.list", &[], "").await;
    let rows = page["data"].as_array().expect("a list");
    let shown: Vec<_> = rows
        .iter()
        .map(|row| {
            (
                row["room"].as_str().unwrap(),
                row["state"].as_str().unwrap(),
                row["participants"].as_u64().unwrap(),
                row["participant_seconds"].as_f64().unwrap(),
            )
        })
        .collect();
    assert_eq!(shown, [("party", "live", 1, 60.0), ("daily", "ended", 1, 40.5)]);
    assert_eq!(rows[0]["as_of"], json!(at(200)));
    for (query, rooms) in [
        ("live=true", &["party"][..]),
        ("live=false", &["daily"]),
        ("room=daily", &["daily"]),
        (&*format!("from={}", at(100)), &["party"]),
        (&*format!("to={}", at(100)), &["daily"]),
        ("limit=1", &["party"]),
    ] {
        let page = ask(&t, &c, "sessions.list", &[], query).await;
        let found: Vec<_> =
            page["data"].as_array().expect("a list").iter().map(|row| row["room"].as_str().unwrap()).collect();
        assert_eq!(found, rooms, "{query}");
    }
}

#[tokio::test]
async fn a_session_has_a_timeline_and_is_nobody_elses() {
    let t = TestPlane::new().await;
    let c = two_rooms(&t).await;
    let page = ask(&t, &c, "sessions.list", &[], "room=daily").await;
    let id = page["data"][0]["id"].as_str().expect("an id").to_owned();
    let session = ask(&t, &c, "sessions.get", &[("id", &id)], "").await;
    assert_eq!((session["participant_count"].as_u64(), session["peak"].as_u64()), (Some(1), Some(1)));
    let alice = &session["participants"][0];
    assert_eq!((alice["identity"].as_str(), alice["seconds"].as_f64()), (Some("alice"), Some(40.5)));
    assert_eq!((alice["joined_at"].clone(), alice["synthetic_end"].as_bool()), (json!(at(10)), Some(false)));
    assert_eq!(
        (session["egresses"][0]["livekit_id"].as_str(), session["egresses"][0]["seconds"].as_f64()),
        (Some("EG_1"), Some(30.0))
    );
    assert_eq!((session["ingresses"].clone(), session["gaps"].clone()), (json!([]), json!([])));
    let other = t.customer("other").await;
    let refused = t.send(&other.caller, "sessions.get", &[("id", &id)], "", "").await;
    assert_eq!(refused.expect_err("another's").code(), Code::NotFound);
    let unnamed = t.send(&operator(), "sessions.get", &[("id", &id)], "", "").await.expect_err("whose?");
    assert_eq!(unnamed.faults()[0].field, "project_id");
    let named = format!("project_id={}", c.id());
    t.send(&operator(), "sessions.get", &[("id", &id)], &named, "").await.expect("the operator names the project");
}

#[tokio::test]
async fn usage_is_what_is_on_record_and_what_goes_on_and_nothing_that_is_not_measured() {
    let t = TestPlane::new().await;
    let c = two_rooms(&t).await;
    let id = c.id().to_string();
    let path = [("project_id", id.as_str())];
    let types = |rows: &Value| -> Vec<(String, f64)> {
        let rows = rows.as_array().expect("a list").iter();
        rows.map(|row| (row["event_type"].as_str().unwrap().to_owned(), row["value"].as_f64().unwrap())).collect()
    };
    let page = ask(&t, &c, "usage.list", &path, "").await;
    assert_eq!(types(&page["data"]), [("participant_seconds".to_owned(), 40.5), ("egress_seconds".to_owned(), 30.0)]);
    let mut live = types(&page["live"]);
    live.sort_by(|one, other| one.0.cmp(&other.0));
    assert_eq!(live, [("ingress_seconds".to_owned(), 50.0), ("participant_seconds".to_owned(), 60.0)]);
    assert!(page["live"][0]["id"].is_null() && page["live_truncated"] == false && page["as_of"] == json!(at(200)));
    let past = ask(&t, &c, "usage.list", &path, &format!("to={}", at(199))).await;
    assert_eq!((types(&past["data"]).len(), types(&past["live"]).len()), (2, 0), "what goes on has not ended by then");
    let egress = ask(&t, &c, "usage.list", &path, "event_type=egress_seconds").await;
    assert_eq!((types(&egress["data"]).len(), types(&egress["live"]).len()), (1, 0));
    let first = ask(&t, &c, "usage.list", &path, "limit=1").await;
    let cursor = first["next_cursor"].as_str().expect("there is more");
    let second = ask(&t, &c, "usage.list", &path, &format!("limit=1&cursor={cursor}")).await;
    assert_eq!(
        (types(&second["data"]).len(), types(&second["live"]).len()),
        (1, 0),
        "live rows stand on the first page"
    );
    let other = t.customer("other").await;
    assert_eq!(t.send(&other.caller, "usage.list", &path, "", "").await.expect_err("another's").code(), Code::NotFound);
}

/// A page of live rooms in which very many have been is made of no more than it takes to read 20,000 of them.
#[tokio::test]
async fn a_page_of_crowded_live_rooms_ends_early_and_the_next_one_goes_on() {
    let t = TestPlane::new().await;
    let c = t.customer("acme").await;
    for n in 0..3_u64 {
        let room = Room::new(&c, &format!("hall-{n}"), &format!("RM_{n}"), at(n));
        t.livekit_says(&room.started()).await.expect("taken in");
        let session = session(&t, &room.sid).await;
        for some in 0..15 {
            let mut batch = Batch::new();
            for guest in 0..1_000 {
                let subject = Subject::Participant {
                    identity: "guest".to_owned(),
                    name: String::new(),
                    participant_kind: ParticipantKind::Standard,
                    disconnect_reason: None,
                    jti: None,
                };
                let key = format!("PA_{n}_{some}_{guest}");
                let mut span = Interval::new((c.id(), SERVER_CLUSTER), (&key, subject), at(1_000_000));
                span.session_id = Some(session.id);
                let (began_at, ended_at) = (Some(at(10)), Some(at(11)));
                span.evidence = Evidence { active: true, began_at, ended_at, ..Evidence::default() };
                span.insert_into(&mut batch).expect("a document");
            }
            t.store.commit(batch, CommitMode::Apply).await.expect("committed");
        }
    }
    let mut pages = Vec::new();
    let mut query = "live=true".to_owned();
    loop {
        let page = ask(&t, &c, "sessions.list", &[], &query).await;
        let rows = page["data"].as_array().expect("a list");
        assert!(rows.iter().all(|row| row["participants"] == 15_000), "{page}");
        pages.push(rows.iter().map(|row| row["room"].as_str().expect("a name").to_owned()).collect::<Vec<_>>());
        let Some(next) = page["next_cursor"].as_str() else { break };
        query = format!("live=true&cursor={next}");
    }
    assert_eq!(pages, [vec!["hall-2", "hall-1"], vec!["hall-0"]]);
}

#[tokio::test]
async fn a_room_that_begins_anew_leaves_alone_the_life_that_livekit_ended() {
    let t = TestPlane::new().await;
    let c = t.customer("acme").await;
    let first = Room::new(&c, "daily", "RM_1", at(0));
    for event in [first.started(), first.joined("PA_1", "alice", at(10)), first.finished(at(70))] {
        t.livekit_says(&event).await.expect("taken in");
    }
    settle(&t).await;
    let before = session(&t, "RM_1").await;
    assert!(before.summary.is_some(), "it is added up");
    t.livekit_says(&Room::new(&c, "daily", "RM_2", at(100)).started()).await.expect("taken in");
    assert_eq!(session(&t, "RM_1").await, before, "it is written and added up again for nothing");
    // One of whose end LiveKit did not tell ends where the next one begins.
    t.livekit_says(&Room::new(&c, "daily", "RM_3", at(200)).started()).await.expect("taken in");
    assert_eq!(session(&t, "RM_2").await.ended_at(), Some(at(200)));
}

#[tokio::test]
async fn of_an_event_of_a_new_kind_nothing_is_kept_that_nobody_reads() {
    let t = TestPlane::new().await;
    let c = t.customer("acme").await;
    let mut event = Room::new(&c, "daily", "RM_1", at(0)).started();
    event["event"] = json!("agent_job_started");
    event["job"] = json!({ "id": "AJ_1", "metadata": "m".repeat(10_000) });
    t.livekit_says(&event).await.expect("taken in");
    let scan = Scan::new(&schema::EVENTS, schema::PRIMARY, Vec::new());
    let rows = t.store.scan(scan).await.expect("reads").rows;
    let [row] = rows.as_slice() else { panic!("one event: {rows:?}") };
    assert_eq!(row.doc["type"], "agent_job_started");
    assert!(row.doc.get("raw").is_none() && row.doc.to_string().len() < 2_000, "{}", row.doc);
}
