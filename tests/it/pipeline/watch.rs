//! Watching events as they happen: nothing is lost, whoever commits it, whenever it comes to light.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use pulse_core::{
    id::EventId,
    model::event::Event,
    ops::events::WatchEvents,
    repo::Document as _,
    store::{Batch, CommitMode, SharedStore, memory::MemoryStore, schema},
    watch::{Item, Watching, Why},
};
use pulse_tests::plane::{Customer, START, TestPlane};

use super::room::Room;

/// Begins to watch the customer's events on this plane.
pub(super) async fn watch(t: &TestPlane, c: &Customer, op: WatchEvents, last: Option<EventId>) -> Watching {
    try_watch(t, c, op, last).await.expect("watches")
}

async fn try_watch(
    t: &TestPlane,
    c: &Customer,
    op: WatchEvents,
    last: Option<EventId>,
) -> pulse_core::Result<Watching> {
    let filter = t.run(&c.caller, op).await?;
    t.plane.parts().watch(filter, last).await
}

/// Tells that the customer's room `name` was opened.
pub(super) async fn open(t: &TestPlane, c: &Customer, name: &str) {
    let room = Room::new(c, name, &format!("RM_{name}"), t.plane.parts().clock.now());
    t.livekit_says(&room.started()).await.expect("taken in");
}

/// The next thing that is no mere passing of time.
pub(super) async fn heard(watching: &mut Watching) -> Item {
    let heard = async {
        loop {
            match watching.next().await {
                Item::Tick { .. } => {}
                other => return other,
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(30), heard).await.expect("something is heard")
}

/// The rooms of the next `count` events.
pub(super) async fn rooms(watching: &mut Watching, count: usize) -> Vec<String> {
    let mut rooms = Vec::new();
    while rooms.len() < count {
        match heard(watching).await {
            Item::Event(told) => {
                let event: serde_json::Value = serde_json::from_str(told.envelope()).expect("JSON");
                rooms.push(event["room"].as_str().unwrap_or_default().to_owned());
            }
            other => panic!("{other:?} in the place of an event; so far {rooms:?}"),
        }
    }
    rooms
}

/// Nothing but time passes for this reader, although others have had the time to be told.
async fn nothing(watching: &mut Watching) {
    for _ in 0..3 {
        match tokio::time::timeout(Duration::from_secs(5), watching.next()).await {
            Ok(Item::Tick { .. }) => {}
            other => panic!("{other:?}"),
        }
    }
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[tokio::test(start_paused = true)]
async fn a_reader_gets_what_happens_from_now_on_and_what_it_asked_for() {
    let t = TestPlane::new().await;
    let (c, other) = (t.customer("a").await, t.customer("b").await);
    open(&t, &c, "before").await;
    let mut all = watch(&t, &c, WatchEvents::default(), None).await;
    let one_room = WatchEvents { room: Some("two".parse().expect("a room")), ..WatchEvents::default() };
    let mut one = watch(&t, &c, one_room, None).await;
    let of_type = WatchEvents {
        types: serde_json::from_str(r#"["participant_*"]"#).expect("a filter"),
        ..WatchEvents::default()
    };
    let mut none = watch(&t, &c, of_type, None).await;
    open(&t, &other, "elsewhere").await;
    open(&t, &c, "one").await;
    open(&t, &c, "two").await;
    assert_eq!(rooms(&mut all, 2).await, names(&["one", "two"]));
    assert_eq!(rooms(&mut one, 1).await, names(&["two"]));
    nothing(&mut none).await;
    nothing(&mut all).await;
}

#[tokio::test(start_paused = true)]
async fn a_reader_sees_what_another_process_commits_also_when_it_comes_to_light_late() {
    let store: SharedStore = Arc::new(MemoryStore::new());
    let here = TestPlane::over(Arc::clone(&store), 1).await.expect("a plane");
    let there = TestPlane::over(Arc::clone(&store), 2).await.expect("a plane");
    let c = here.customer("a").await;
    let mut watching = watch(&here, &c, WatchEvents::default(), None).await;
    open(&there, &c, "one").await;
    assert_eq!(rooms(&mut watching, 1).await, names(&["one"]));
    // An event whose id was made nine seconds before it is committed, and an event after it in the meantime.
    here.advance(Duration::from_secs(9)).await;
    open(&here, &c, "three").await;
    assert_eq!(rooms(&mut watching, 1).await, names(&["three"]));
    open(&there, &c, "two").await;
    assert_eq!(rooms(&mut watching, 1).await, names(&["two"]), "a look goes far back from time to time");
    nothing(&mut watching).await;
    // A clock that is set back hides nothing of what is recorded from then on.
    for t in [&here, &there] {
        t.clock.set(START.minus(Duration::from_secs(3_600)));
    }
    open(&there, &c, "four").await;
    assert_eq!(rooms(&mut watching, 1).await, names(&["four"]));
}

#[tokio::test(start_paused = true)]
async fn what_is_committed_is_told_although_whoever_committed_it_does_not_wait() {
    let t = TestPlane::new().await;
    let c = t.customer("a").await;
    let mut watching = watch(&t, &c, WatchEvents::default(), None).await;
    let room = Room::new(&c, "one", "RM_1", START);
    let started = room.started();
    let mut taken = Box::pin(t.livekit_says(&started));
    // Every step of it but the last, as many as there are: whatever is committed is told, and what is not is not.
    while futures_util::poll!(&mut taken).is_pending() {
        let kept = t.plane.parts().events.since(c.id(), pulse_core::repo::events::Since::Moment(START), 1).await;
        if !kept.expect("reads").events.is_empty() {
            break;
        }
        tokio::task::yield_now().await;
    }
    drop(taken);
    let began = tokio::time::Instant::now();
    assert_eq!(rooms(&mut watching, 1).await, names(&["one"]));
    assert!(began.elapsed() < Duration::from_millis(900), "it was only found by the next look");
}

#[tokio::test(start_paused = true)]
async fn whoever_goes_on_after_an_event_misses_nothing_over_two_processes() {
    let store: SharedStore = Arc::new(MemoryStore::new());
    let planes = [
        TestPlane::over(Arc::clone(&store), 1).await.expect("a plane"),
        TestPlane::over(Arc::clone(&store), 2).await.expect("a plane"),
    ];
    let c = planes[0].customer("a").await;
    let mut seen: BTreeSet<EventId> = BTreeSet::new();
    let mut last = None;
    let from = WatchEvents { from: Some(START), ..WatchEvents::default() };
    for turn in 0..40_usize {
        let mut watching = watch(&planes[turn % 2], &c, from.clone(), last).await;
        for n in 0..7 {
            open(&planes[(turn + n) % 2], &c, &format!("r{turn}-{n}")).await;
        }
        planes.iter().for_each(|t| t.clock.advance(Duration::from_millis(700)));
        // It breaks off after a few, wherever it is.
        for _ in 0..(turn * 5 % 9) {
            if let Item::Event(told) = heard(&mut watching).await {
                last = last.max(Some(told.id));
                seen.insert(told.id);
            }
        }
    }
    let mut watching = watch(&planes[0], &c, from, last).await;
    while seen.len() < 40 * 7 {
        match heard(&mut watching).await {
            Item::Event(told) => drop(seen.insert(told.id)),
            other => panic!("{other:?} after {} events", seen.len()),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_catches_up_while_much_happens_misses_nothing_and_gets_nothing_twice() {
    let t = TestPlane::new().await;
    let c = t.customer("a").await;
    for n in 0..250 {
        open(&t, &c, &format!("before{n}")).await;
    }
    let from = WatchEvents { from: Some(START), ..WatchEvents::default() };
    let mut watching = watch(&t, &c, from, None).await;
    let mut seen = BTreeSet::new();
    for n in 0..500 {
        open(&t, &c, &format!("meanwhile{n}")).await;
        match heard(&mut watching).await {
            Item::Event(told) => assert!(seen.insert(told.id), "{} came twice", told.id),
            other => panic!("{other:?}"),
        }
    }
    while seen.len() < 750 {
        match heard(&mut watching).await {
            Item::Event(told) => assert!(seen.insert(told.id), "{} came twice", told.id),
            other => panic!("{other:?}"),
        }
    }
    nothing(&mut watching).await;
}

#[tokio::test(start_paused = true)]
async fn what_is_not_kept_any_more_is_a_gap_and_so_is_an_unknown_event() {
    let t = TestPlane::new().await;
    let c = t.customer("a").await;
    open(&t, &c, "one").await;
    let kept = t.plane.parts().events.since(c.id(), pulse_core::repo::events::Since::Moment(START), 1).await;
    let id = kept.expect("reads").events[0].id;
    let mut known = watch(&t, &c, WatchEvents::default(), Some(id)).await;
    assert_eq!(rooms(&mut known, 1).await, names(&["one"]), "at least once");
    let unknown = EventId::from_bits(u128::from_str_radix("0001", 16).expect("a number"));
    let days = |days: u64| Duration::from_secs(days * 86_400);
    t.clock.advance(days(31));
    open(&t, &c, "two").await;
    let oldest = t.plane.parts().clock.now().minus(t.plane.parts().settings.pipeline.keep_events);
    for old in [id, unknown] {
        let mut watching = watch(&t, &c, WatchEvents::default(), Some(old)).await;
        match heard(&mut watching).await {
            Item::Gap { from, to } => assert_eq!((from, to), (old.moment(), oldest)),
            other => panic!("{other:?}"),
        }
        assert_eq!(rooms(&mut watching, 1).await, names(&["two"]));
    }
    let foreign = EventId::new(t.plane.parts().clock.now(), t.plane.parts().entropy.as_ref());
    let mut watching = watch(&t, &c, WatchEvents::default(), Some(foreign)).await;
    assert!(
        matches!(heard(&mut watching).await, Item::Gap { from, to } if from == to),
        "nothing is known to be missing"
    );
    let position = EventId::lowest(t.plane.parts().clock.now());
    let mut watching = watch(&t, &c, WatchEvents::default(), Some(position)).await;
    assert_eq!(rooms(&mut watching, 1).await, names(&["two"]), "a position is no event, and no gap");
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_is_too_slow_is_ended_and_goes_on_from_the_store() {
    let t = TestPlane::new().await;
    let c = t.customer("a").await;
    let mut slow = watch(&t, &c, WatchEvents::default(), None).await;
    open(&t, &c, "first").await;
    let Item::Event(first) = heard(&mut slow).await else { panic!("no event") };
    t.clock.advance(Duration::from_secs(60));
    let parts = t.plane.parts();
    let stored = parts.events.get(c.id(), first.id).await.expect("reads").expect("there");
    for n in 0..1_100_u32 {
        let id = EventId::new(parts.clock.now(), parts.entropy.as_ref());
        let event = Event { id, source_id: format!("n{n}"), session_id: None, seq: None, ..stored.clone() };
        let mut batch = Batch::new();
        batch.insert(&schema::EVENTS, id, event.to_doc().expect("a document"));
        parts.store.commit(batch, CommitMode::Apply).await.expect("commits");
    }
    assert!(matches!(heard(&mut slow).await, Item::End(Why::TooSlow)));
    let mut again = watch(&t, &c, WatchEvents::default(), Some(first.id)).await;
    assert_eq!(rooms(&mut again, 1_101).await.len(), 1_101);
}

#[tokio::test(start_paused = true)]
async fn what_comes_to_light_while_a_reader_that_catches_up_is_kept_waiting_is_not_lost() {
    let store: SharedStore = Arc::new(MemoryStore::new());
    let here = TestPlane::over(Arc::clone(&store), 1).await.expect("a plane");
    let there = TestPlane::over(Arc::clone(&store), 2).await.expect("a plane");
    let c = here.customer("a").await;
    // Three whole pages: of 25, 50 and 100.
    for n in 0..175 {
        open(&here, &c, &format!("before{n}")).await;
    }
    here.clock.advance(Duration::from_millis(1));
    open(&here, &c, "last").await;
    let from = WatchEvents { from: Some(START), ..WatchEvents::default() };
    let mut watching = watch(&here, &c, from, None).await;
    rooms(&mut watching, 175).await;
    // Its id lies among those that were read, and it is committed only now, long after.
    let mut beside = watch(&here, &c, WatchEvents::default(), None).await;
    here.clock.advance(Duration::from_secs(100));
    open(&there, &c, "late").await;
    assert_eq!(rooms(&mut beside, 1).await, names(&["late"]), "it is told once, before this reader has joined");
    let rest = rooms(&mut watching, 2).await;
    assert!(rest.contains(&"late".to_owned()) && rest.contains(&"last".to_owned()), "{rest:?}");
    nothing(&mut watching).await;
}

#[tokio::test(start_paused = true)]
async fn an_event_that_does_not_read_hides_no_other() {
    let t = TestPlane::new().await;
    let c = t.customer("a").await;
    let mut watching = watch(&t, &c, WatchEvents::default(), None).await;
    open(&t, &c, "one").await;
    let Item::Event(one) = heard(&mut watching).await else { panic!("no event") };
    let parts = t.plane.parts();
    let stored = parts.events.get(c.id(), one.id).await.expect("reads").expect("there");
    let id = EventId::new(parts.clock.now(), parts.entropy.as_ref());
    let event = Event { id, source_id: "odd".to_owned(), session_id: None, seq: None, ..stored };
    let mut doc = event.to_doc().expect("a document");
    doc["room"] = serde_json::json!(7);
    let mut batch = Batch::new();
    batch.insert(&schema::EVENTS, id, doc);
    t.store.commit(batch, CommitMode::Apply).await.expect("commits");
    open(&t, &c, "two").await;
    assert_eq!(rooms(&mut watching, 1).await, names(&["two"]));
    let from = WatchEvents { from: Some(START), ..WatchEvents::default() };
    let mut again = watch(&t, &c, from, None).await;
    let mut found = rooms(&mut again, 2).await;
    found.sort_unstable();
    assert_eq!(found, names(&["one", "two"]));
    nothing(&mut again).await;
}

#[tokio::test(start_paused = true)]
async fn readers_are_bounded_and_end_with_the_process() {
    let few = pulse_core::parts::PipelineSettings { streams: 8, ..Default::default() };
    let t = TestPlane::set(Arc::new(MemoryStore::new()), 1, few).await.expect("a plane");
    let mut customers = Vec::new();
    for name in ["a", "b", "c", "d", "e"] {
        customers.push(t.customer(name).await);
    }
    let mut readers = Vec::new();
    for c in &customers[..4] {
        readers.push(watch(&t, c, WatchEvents::default(), None).await);
        readers.push(watch(&t, c, WatchEvents::default(), None).await);
        let refused = try_watch(&t, c, WatchEvents::default(), None).await.expect_err("a quarter is one project's");
        assert_eq!(refused.code(), pulse_core::error::Code::Overloaded);
    }
    let refused = try_watch(&t, &customers[4], WatchEvents::default(), None).await.expect_err("all are taken");
    assert_eq!(refused.code(), pulse_core::error::Code::Overloaded);
    readers.truncate(2);
    let mut fifth = watch(&t, &customers[4], WatchEvents::default(), None).await;
    t.plane.parts().hub.close();
    assert!(matches!(heard(&mut fifth).await, Item::End(Why::Stopping)));
    drop((fifth, readers));
    assert_eq!(t.plane.parts().hub.readers(), 0);
}
