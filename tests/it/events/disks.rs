//! Disks that are full, slow, or lose what they took: never an acknowledgement that does not hold.

use std::time::Duration;

use pulse_core::time::{Clock as _, SystemClock};
use pulse_tests::livekit_sender::{ApiKey, HttpPost, Post as _, Story, Tried, Webhook};
use serde_json::json;
use tokio::time::Instant;

use super::{
    ledger,
    load::Crowd,
    scene::{KEY, SOON, Scene},
};

/// How much of a large event is kept, in bytes.
const LARGE: usize = 900_000;
/// So many of them are more than twice as long as the log may get before it is folded.
const LARGE_ONES: usize = 80;
/// LiveKit waits so long for an answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// A customer whose events are told one by one.
struct Told {
    scene: Scene,
    crowd: Crowd,
    story: Story,
    door: HttpPost,
}

impl Told {
    async fn new() -> Self {
        let scene = Scene::new().await;
        let crowd = Crowd::settle(&scene, 1).await;
        let story = crowd.story(8);
        let door = HttpPost::to(&format!("{}/v1/webhooks/livekit", scene.daemon().url), 4, SOON);
        Self { scene, crowd, story, door }
    }

    fn next(&mut self) -> Webhook {
        self.story.next().expect("the story goes on")
    }

    /// A large event, which makes the store's log long: of a room that is nobody's, so that its body is kept.
    fn large(&self, n: usize) -> Webhook {
        let (id, room) = (format!("EV_large_{n}"), "nobodys".to_owned());
        let body = json!({
            "event": "room_started", "id": id, "createdAt": SystemClock::new().now().as_secs().to_string(),
            "room": { "sid": "RM_large", "name": room }, "more": "x".repeat(LARGE),
        });
        let (event, correlation) = ("room_started".to_owned(), id.clone());
        Webhook { id, event, lane: room, correlation, body: body.to_string().into() }
    }

    async fn tell(&self, webhook: &Webhook) -> Tried {
        let authorization = ApiKey::new(KEY.0, KEY.1).authorization(&webhook.body, SystemClock::new().now());
        self.door.post(&authorization, webhook.body.clone()).await
    }

    /// Whatever the disk says now: what the operating system kept in memory may be lost, so only a new process goes on.
    async fn takes_nothing_until_it_is_started_again(&mut self, webhook: &Webhook) {
        self.scene.faults("");
        for _ in 0..3 {
            assert_eq!(self.tell(webhook).await, come_again(), "what the system kept in memory may be lost");
        }
        assert_eq!(self.scene.client().get("/v1/organizations").await.status, 200, "reads go on");
        assert_eq!(self.scene.client().get("/ready").await.status, 503, "somebody has to look at the disk");
        self.scene.crash().await;
        assert_eq!(self.tell(webhook).await, accepted());
    }

    /// Waits until each of these has arrived at every endpoint, and nothing else is under way.
    async fn arrived(self, webhooks: &[Webhook]) {
        let Self { scene, crowd, .. } = self;
        let at = |path: &str| {
            let deliveries = scene.receiver.deliveries(Some(path));
            webhooks.iter().all(|webhook| deliveries.get(&webhook.correlation).is_some_and(|times| *times > 0))
        };
        let all = async || crowd.endpoints.iter().all(|endpoint| at(&endpoint.path)).then_some(());
        scene.daemon().process.until("everything that was acknowledged arrived", SOON, all).await;
        let done = async || scene.is_quiet().await.then_some(());
        scene.daemon().process.until("no delivery waits or is under way", SOON, done).await;
        scene.daemon().stop().await;
        ledger::hold(&scene).await;
    }
}

fn accepted() -> Tried {
    Tried::Answered { status: 204, retry_after: None }
}

fn come_again() -> Tried {
    Tried::Answered { status: 503, retry_after: Some("5".to_owned()) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_disk_is_full_livekit_is_told_to_come_again_and_then_it_goes_on() {
    let mut told = Told::new().await;
    let (first, second) = (told.next(), told.next());
    assert_eq!(told.tell(&first).await, accepted());
    told.scene.faults("writer.enospc error");
    assert_eq!(told.tell(&second).await, come_again());
    told.scene.faults("");
    assert_eq!(told.tell(&second).await, accepted(), "there is room again");
    told.arrived(&[first, second]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_the_disk_failed_to_sync_nothing_is_acknowledged_until_a_new_process_reads_it_anew() {
    let mut told = Told::new().await;
    let (first, second) = (told.next(), told.next());
    assert_eq!(told.tell(&first).await, accepted());
    told.scene.faults("writer.fsync_error error");
    assert_eq!(told.tell(&second).await, come_again());
    told.takes_nothing_until_it_is_started_again(&second).await;
    told.arrived(&[first, second]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_the_disk_failed_to_sync_what_was_folded_nothing_is_acknowledged_either() {
    let mut told = Told::new().await;
    let (first, second) = (told.next(), told.next());
    assert_eq!(told.tell(&first).await, accepted());
    told.scene.faults("checkpoint.fsync_error error");
    let mut taken = 0;
    while told.tell(&told.large(taken)).await == accepted() {
        taken += 1;
        assert!(taken < LARGE_ONES, "writes go on after the log could not be synced into the database");
    }
    assert!(taken > 1, "nothing is to be folded yet");
    told.takes_nothing_until_it_is_started_again(&second).await;
    told.arrived(&[first, second]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn livekit_is_answered_within_five_seconds_however_slow_the_store_is() {
    let mut told = Told::new().await;
    let (first, second) = (told.next(), told.next());
    assert_eq!(told.tell(&first).await, accepted());
    told.scene.faults("writer.slow sleep 8000");
    let began = Instant::now();
    assert_eq!(told.tell(&second).await, come_again());
    let took = began.elapsed();
    assert!(took < PATIENCE, "LiveKit had given up by then: {took:?}");
    told.scene.faults("");
    // It came through after all, and is sent; told again, it is no other event.
    let mut again = told.tell(&second).await;
    for _ in 0..5 {
        if again == come_again() {
            again = told.tell(&second).await;
        }
    }
    assert_eq!(again, accepted());
    told.arrived(&[first, second]).await;
}
