//! What is committed is found by the dispatcher itself, within a second: hints only make it faster.

use std::{sync::Arc, time::Duration};

use pulse_core::{
    model::endpoint::{Endpoint, EndpointState},
    repo::Document as _,
    store::{Batch, CommitMode},
    worker,
};
use pulse_tests::{
    plane::TestPlane,
    receiver::{Action, Receiver},
};
use tokio::time::Instant;

use super::{endpoint, joined, work};

/// How often the dispatcher looks by itself, and as long again for the look and the request.
const FOUND_WITHIN: Duration = Duration::from_secs(2);

#[tokio::test]
async fn what_nobody_tells_the_dispatcher_of_is_sent_all_the_same() {
    let t = TestPlane::new().await;
    let customer = t.customer("acme").await;
    let receiver = Receiver::start(Action::ok());
    let paused = |endpoint: &mut Endpoint| endpoint.state = EndpointState::Paused;
    let (sent_to, _) = endpoint(&t, &customer, &receiver.url(), paused).await;
    t.livekit_says(&joined(&t, &customer, 1)).await.expect("taken in");
    // It knows that nothing may be sent to the endpoint.
    work(&t).await;
    let dispatching = tokio::spawn(Arc::clone(&t.pipeline.dispatcher).run());
    // As another process does it on the same store.
    let mut batch = Batch::new();
    Endpoint { state: EndpointState::Active, ..sent_to }.replace_in(&mut batch).expect("a document");
    batch.bump_generation();
    t.store.commit(batch, CommitMode::Apply).await.expect("committed");
    worker::follow(&t.plane).await.expect("the store's changes are followed");
    let began = Instant::now();
    receiver.wait_for(1, FOUND_WITHIN * 5).await;
    assert!(began.elapsed() <= FOUND_WITHIN, "it was found after {:?}", began.elapsed());
    t.pipeline.stopping.cancel();
    dispatching.await.expect("it comes to its end");
}
