//! Several planes over one MongoDB: what one records, the others hear of at once, and what all could tell is told once.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures_util::future::join_all;
use pulse_core::{
    media::{engine::Participant, testing::person},
    model::endpoint::Endpoint,
    ops::events::WatchEvents,
    repo::deliveries::endpoint_of,
    store::{
        Scan, SharedStore,
        mongo::{MongoOptions, MongoStore},
        schema,
        testing::faulty::{CallKind, Fault, FaultyStore},
    },
    watch::Item,
};
use pulse_tests::{
    peers::mongo::Mongo,
    plane::{Customer, START, TestPlane},
    process::READY,
    receiver::{Action, Receiver},
};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{deliver::replace, endpoint, room::Room};

/// How long to wait for one event before the next one is told.
const PATIENCE: Duration = Duration::from_millis(200);

/// A database of its own.
pub(super) async fn store() -> SharedStore {
    let mongo = Mongo::shared().await;
    let options = MongoOptions::new(mongo.uri(&mongo.unique_database()));
    Arc::new(MongoStore::connect(options).await.expect("the options are valid"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_hears_of_what_another_daemon_records_without_looking_for_it() {
    let store = store().await;
    let deaf = Arc::new(FaultyStore::new(Arc::clone(&store)));
    let here = TestPlane::over(Arc::clone(&deaf) as SharedStore, 1).await.expect("a plane");
    let there = TestPlane::over(store, 2).await.expect("a plane over the same store");
    let customer = here.customer("acme").await;
    let filter = here.run(&customer.caller, WatchEvents::default()).await.expect("may watch");
    let parts = here.plane.parts();
    let mut watching = parts.watch(filter, None).await.expect("watches");
    // Whoever looks sees nothing from now on.
    for nth in 1..1_000 {
        deaf.plan(Fault::FailBefore { call: CallKind::Scan, nth });
    }
    let stop = CancellationToken::new();
    let hearing = {
        let (plane, stop) = (Arc::clone(&here.plane), stop.clone());
        tokio::spawn(async move { stop.run_until_cancelled(plane.parts().hear_of_events()).await })
    };
    let envelope = until_heard(&there, &customer, "RM", async || told(&mut watching).await).await;
    assert!(envelope.contains(r#""type":"room_started""#), "{envelope}");
    stop.cancel();
    hearing.await.expect("no panic");
}

/// Lets rooms be opened at the other plane until one of them is heard of here. The stream of changes tells of what comes after
/// it was opened, which nobody can wait for from here.
async fn until_heard<T>(there: &TestPlane, customer: &Customer, rooms: &str, mut heard: impl AsyncFnMut() -> T) -> T {
    let until = async {
        let mut n = 0;
        loop {
            n += 1;
            let room = Room::new(customer, "standup", &format!("{rooms}_{n}"), START);
            there.livekit_says(&room.started()).await.expect("taken in");
            if let Ok(heard) = tokio::time::timeout(PATIENCE, heard()).await {
                return heard;
            }
        }
    };
    tokio::time::timeout(READY, until).await.expect("it is heard of")
}

/// The next event that is told.
async fn told(watching: &mut pulse_core::watch::Watching) -> String {
    loop {
        match watching.next().await {
            Item::Event(told) => return told.envelope().to_owned(),
            Item::Tick { .. } => {}
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_daemon_hears_of_the_deliveries_that_another_records() {
    let store = store().await;
    let here = TestPlane::over(Arc::clone(&store), 1).await.expect("a plane");
    let there = TestPlane::over(store, 2).await.expect("a plane over the same store");
    let customer = here.customer("acme").await;
    let (wanted, _) = endpoint(&here, &customer, "https://127.0.0.1:9/", |_| {}).await;
    let (tell, mut heard) = mpsc::unbounded_channel();
    let hear = here.plane.parts().deliveries.hear(|row| tell.send(endpoint_of(&row.doc)).expect("somebody listens"));
    let told = until_heard(&there, &customer, "RM", async || heard.recv().await.expect("somebody tells"));
    tokio::select! {
        () = hear => panic!("this engine can tell"),
        endpoint = told => assert_eq!(endpoint, Some(wanted.id)),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_another_daemon_records_is_sent_without_a_look_for_it_and_as_the_endpoint_is_now() {
    let store = store().await;
    let blind = Arc::new(FaultyStore::new(Arc::clone(&store)));
    let here = TestPlane::over(Arc::clone(&blind) as SharedStore, 1).await.expect("a plane");
    let there = TestPlane::over(Arc::clone(&store), 2).await.expect("a plane over the same store");
    let customer = here.customer("acme").await;
    let receiver = Receiver::start(Action::ok());
    let (old, _) = endpoint(&here, &customer, &format!("{}/old", receiver.url()), |_| {}).await;
    here.pipeline.dispatcher.recover(false).await;
    let sending = tokio::spawn(Arc::clone(&here.pipeline.dispatcher).run());
    // The endpoint is known from the first time on that something is sent to it.
    for path in ["old", "new", "unseen"] {
        match path {
            "new" => {
                let url = format!("{}/new", receiver.url()).parse().expect("a URL");
                replace(&there, Endpoint { url, ..old.clone() }).await;
            }
            "unseen" => (1..1_000).for_each(|nth| {
                blind.plan(Fault::FailBefore { call: CallKind::Scan, nth });
            }),
            _ => {}
        }
        let before = receiver.received().len();
        let rooms = format!("RM_{path}");
        until_heard(&there, &customer, &rooms, async || receiver.wait_for(before as u64 + 1, READY).await).await;
        let is_over = async || {
            let open = [("pending", vec![old.id.to_string().into()]), ("leased", Vec::new())];
            for (index, prefix) in open {
                if store.count(&schema::DELIVERIES, index, &prefix, 1).await.expect("counts") > 0 {
                    return false;
                }
            }
            true
        };
        let over = async {
            while path != "unseen" && !is_over().await {
                tokio::time::sleep(PATIENCE).await;
            }
        };
        tokio::time::timeout(READY, over).await.expect("everything is sent");
        let expected = if path == "old" { "/old" } else { "/new" };
        let paths: Vec<String> = receiver.received()[before..].iter().map(|one| one.path().to_owned()).collect();
        assert!(paths.iter().all(|path| path == expected), "{path}: {paths:?}");
    }
    here.pipeline.stopping.cancel();
    sending.await.expect("no panic");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn planes_whose_clocks_come_apart_go_by_the_stores() {
    let store = store().await;
    let here = TestPlane::over(Arc::clone(&store), 1).await.expect("a plane");
    let there = TestPlane::over(store, 2).await.expect("a plane over the same store");
    // As after a pause of the other's machine.
    here.clock.advance(Duration::from_secs(600));
    let apart = || here.plane.parts().steady().since(there.plane.parts().steady());
    assert!(apart() > Duration::from_secs(500));
    here.pipeline.dispatcher.run_until_idle().await.expect("the store answers");
    assert!(apart() < Duration::from_secs(100), "{:?}", apart());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_reconcilers_over_one_store_tell_each_edge_once() {
    let store = store().await;
    let mut planes = Vec::new();
    for seed in 1..=3 {
        planes.push(TestPlane::over(Arc::clone(&store), seed).await.expect("a plane over the same store"));
    }
    let customer = planes[0].customer("acme").await;
    let room = Room::new(&customer, "standup", "RM_1", START);
    for event in [room.started(), room.joined("PA_1", "alice", START)] {
        planes[0].livekit_says(&event).await.expect("taken in");
    }
    // Bob comes without a word, alice leaves without one, and then the room is gone.
    let bob = || person("PA_2", "bob", START.plus(Duration::from_secs(40)));
    let alice = || person("PA_1", "alice", START);
    let there: [Option<Vec<Participant>>; 10] = [
        Some(vec![alice()]),
        Some(vec![alice(), bob()]),
        Some(vec![alice(), bob()]),
        Some(vec![bob()]),
        Some(vec![bob()]),
        Some(vec![bob()]),
        None,
        None,
        None,
        None,
    ];
    for (n, there) in (1_u64..).zip(there) {
        for plane in &planes {
            plane.clock.set(START.plus(Duration::from_secs(30 * n)));
            match &there {
                Some(there) => plane.engine.put_room(&room.sid, &room.name(), room.created_at, there.clone()),
                None => plane.engine.close_room(&room.name()),
            }
        }
        let rounds = join_all(planes.iter().map(|plane| plane.pipeline.reconciler.round())).await;
        rounds.into_iter().for_each(|round| round.expect("LiveKit answers"));
        for plane in &planes {
            plane.pipeline.reconciler.release().await.expect("gives it back");
        }
    }
    let scan = Scan::new(&schema::EVENTS, schema::PRIMARY, Vec::new());
    let mut told = BTreeMap::<String, u32>::new();
    for row in store.scan(scan).await.expect("reads").rows {
        if let Some(edge) = row.doc["source_id"].as_str().and_then(|source| source.strip_prefix("syn:")) {
            *told.entry(edge.to_owned()).or_default() += 1;
        }
    }
    let edges = [
        ("PA_1:participant_left", 1),
        ("PA_2:participant_joined", 1),
        ("PA_2:participant_left", 1),
        ("RM_1:room_ended", 1),
    ];
    let edges: BTreeMap<String, u32> = edges.map(|(edge, times)| (edge.to_owned(), times)).into();
    assert_eq!(told, edges);
}
