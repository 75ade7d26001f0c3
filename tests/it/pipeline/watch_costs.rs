//! What watching costs: reads of the store, and memory, whatever readers do.

use std::{sync::Arc, time::Duration};

use pulse_core::{
    deliver::event_filter::EventTypeFilter,
    id::{EventId, ProjectId},
    model::event::{Event, PULSE_CLUSTER},
    ops::events::WatchEvents,
    repo::Document as _,
    store::{Batch, CommitMode, SharedStore, memory::MemoryStore, schema, testing::faulty::CallKind},
    time::Timestamp,
    watch::{Item, WatchFilter, Watching, Why},
};
use pulse_tests::plane::{START, TestPlane};

use super::watch::{heard, open, rooms, watch};

/// Watches any project on this plane.
async fn watch_project(t: &TestPlane, project_id: ProjectId, from: Option<Timestamp>) -> Watching {
    let filter = WatchFilter { project_id, types: EventTypeFilter::default(), room: None, session_id: None, from };
    t.plane.parts().watch(filter, None).await.expect("watches")
}

/// Records an event of a project in this store, with so many bytes in it.
async fn record(t: &TestPlane, store: &SharedStore, project_id: ProjectId, bytes: usize) -> EventId {
    let parts = t.plane.parts();
    let (now, id) = (parts.clock.now(), EventId::new(parts.clock.now(), parts.entropy.as_ref()));
    let event = Event {
        id,
        project_id,
        kind: "room_started".to_owned(),
        occurred_at: now,
        cluster: PULSE_CLUSTER.to_owned(),
        source_id: id.to_string(),
        room: None,
        body: format!("\"id\":\"{id}\",\"room\":\"any\",\"much\":\"{}\"}}", "x".repeat(bytes)).into(),
        test: true,
        session_id: None,
        seq: None,
        expires_at: now.plus(Duration::from_secs(86_400)),
        version: 1,
    };
    let mut batch = Batch::new();
    batch.insert(&schema::EVENTS, id, event.to_doc().expect("a document"));
    store.commit(batch, CommitMode::Apply).await.expect("commits");
    id
}

fn some_project(t: &TestPlane) -> ProjectId {
    ProjectId::new(t.plane.parts().clock.now(), t.plane.parts().entropy.as_ref())
}

/// Lets so many seconds pass for a reader to whom nothing happens.
async fn seconds(watching: &mut Watching, count: usize) {
    for _ in 0..count {
        match watching.next().await {
            Item::Tick { .. } => {}
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_daemon_has_told_itself_is_not_read_again() {
    let (store, here, there) = TestPlane::two_over_faulty_store().await;
    let c = here.customer("a").await;
    let mut watching = watch(&here, &c, WatchEvents::default(), None).await;
    for n in 0..300 {
        open(&here, &c, &format!("r{n}")).await;
    }
    rooms(&mut watching, 300).await;
    let (documents, scans) = (store.documents(), store.calls(CallKind::Scan));
    seconds(&mut watching, 25).await;
    assert!(store.calls(CallKind::Scan) - scans >= 20, "it was looked for what others commit");
    assert_eq!(store.documents(), documents, "and nothing of it was read that was told");
    open(&there, &c, "elsewhere").await;
    assert_eq!(rooms(&mut watching, 1).await, ["elsewhere"]);
    seconds(&mut watching, 12).await;
    assert_eq!(store.documents(), documents + 1, "what somebody else commits is read once");
}

#[tokio::test(start_paused = true)]
async fn many_quiet_projects_are_looked_at_in_turns() {
    let (store, here, there) = TestPlane::two_over_faulty_store().await;
    let mut readers = Vec::new();
    for _ in 0..500 {
        let project = some_project(&here);
        readers.push((project, watch_project(&here, project, None).await));
    }
    seconds(&mut readers[0].1, 5).await;
    let (scans, span) = (store.calls(CallKind::Scan), 30);
    seconds(&mut readers[0].1, span).await;
    let scans = usize::try_from(store.calls(CallKind::Scan) - scans).expect("a number");
    assert!(scans <= 250 * span, "{scans} looks in {span} seconds");
    for (project, reader) in readers.iter_mut().step_by(100) {
        let began = tokio::time::Instant::now();
        record(&there, &there.store, *project, 1).await;
        assert!(matches!(heard(reader).await, Item::Event(_)));
        assert!(began.elapsed() <= Duration::from_secs(5), "after {:?}", began.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn what_waits_for_slow_readers_has_so_many_bytes_over_all_projects_and_nothing_is_lost() {
    let t = TestPlane::new().await;
    let (hub, store) = (&t.plane.parts().hub, &t.plane.parts().store);
    let mut readers = Vec::new();
    for _ in 0..6 {
        let project = some_project(&t);
        readers.push((project, watch_project(&t, project, None).await));
    }
    let mut quick = watch_project(&t, readers[0].0, None).await;
    let size = 64 << 10;
    for _ in 0..140 {
        for (project, _) in &readers {
            record(&t, store, *project, size).await;
            assert!(hub.held() <= (32 << 20) + 2 * size, "{} bytes are held", hub.held());
        }
        assert!(matches!(heard(&mut quick).await, Item::Event(_)), "who keeps up loses nothing");
    }
    assert!(hub.held() > 24 << 20, "{} bytes are held", hub.held());
    for (project, mut slow) in readers {
        assert!(matches!(heard(&mut slow).await, Item::End(Why::TooSlow)));
        let mut again = watch_project(&t, project, Some(START)).await;
        assert_eq!(rooms(&mut again, 140).await.len(), 140, "all of it is in the store");
    }
    drop(quick);
    let mut other = watch_project(&t, some_project(&t), None).await;
    seconds(&mut other, 3).await;
    assert_eq!(hub.held(), 0, "nothing is held for nobody");
}

#[tokio::test(start_paused = true)]
async fn readers_that_catch_up_wait_for_memory_and_those_of_another_project_do_not_wait_for_them() {
    let t = TestPlane::over(Arc::new(MemoryStore::new()), 1).await.expect("a plane");
    let (hub, store) = (&t.plane.parts().hub, &t.plane.parts().store);
    let (crowded, other) = (some_project(&t), some_project(&t));
    for _ in 0..10 {
        for project in [crowded, other] {
            record(&t, store, project, 60 << 10).await;
        }
    }
    let (mut stalled, mut waiting) = (Vec::new(), Vec::new());
    for _ in 0..150 {
        let mut reader = watch_project(&t, crowded, Some(START)).await;
        match reader.next().await {
            // It keeps what it got, as a connection does that takes nothing.
            Item::Event(told) => stalled.push((told.frame.clone(), reader)),
            Item::Tick { beat: false } => waiting.push(reader),
            other => panic!("{other:?}"),
        }
        assert!(hub.held() <= 8 << 20, "{} bytes are held for one project", hub.held());
    }
    assert!(stalled.len() >= 32 && waiting.len() >= 32, "{} stalled, {} wait", stalled.len(), waiting.len());
    let mut beside = watch_project(&t, other, Some(START)).await;
    assert_eq!(rooms(&mut beside, 10).await.len(), 10);
    let mut beats = 0;
    for _ in 0..40 {
        beats += usize::from(matches!(waiting[0].next().await, Item::Tick { beat: true }));
    }
    assert!((2..=3).contains(&beats), "who waits is alive, and says so: {beats} beats in 40 seconds");
    drop(stalled);
    for reader in &mut waiting {
        assert_eq!(rooms(reader, 10).await.len(), 10, "whoever waited gets everything");
    }
    drop((waiting, beside));
    assert_eq!(hub.held(), 0);
}
