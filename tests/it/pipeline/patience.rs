//! What lets others be committed first.

use std::time::Duration;

use pulse_core::{deliver::state::Status, time::Clock as _};
use pulse_tests::{
    plane::TestPlane,
    receiver::{Action, Receiver},
};

use super::{deliveries, endpoint, room::Room, work};

#[tokio::test]
async fn only_what_ends_what_has_been_done_lets_others_go_first() {
    let (store, t) = TestPlane::over_faulty_store().await;
    let customer = t.customer("acme").await;
    let receiver = Receiver::start(Action::ok());
    endpoint(&t, &customer, &receiver.url(), |_| ()).await;
    let begun = t.clock.now();
    let room = Room::new(&customer, "standup", "RM_1", begun);
    t.livekit_says(&room.joined("PA_1", "alice", begun)).await.expect("taken in");
    t.advance(Duration::from_secs(10)).await;
    // Whoever is still there leaves with the room, which is for a job to record, and so are the sums.
    t.livekit_says(&room.finished(t.clock.now())).await.expect("taken in");
    work(&t).await;
    t.advance(Duration::from_secs(600)).await;
    work(&t).await;
    let all = deliveries(&t, &customer).await;
    assert!(all.len() == 2 && all.iter().all(|delivery| delivery.status == Status::Succeeded), "{all:#?}");
    // Neither the claims of deliveries and of jobs, nor the spans, of which a room can have hundreds.
    let ends = [&["attempts", "deliveries"][..], &["jobs"], &["sessions"]];
    assert_eq!(store.patient(), ends.map(|names| names.iter().copied().collect()).into());
}
