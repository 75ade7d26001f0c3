//! The sender does what LiveKit does: seen at a scripted other side, and by the receiver over loopback.

use std::{collections::HashMap, sync::Arc, time::Duration};

use bytes::Bytes;
use parking_lot::Mutex;
use pulse_core::time::{ManualClock, SystemClock, Timestamp};
use tokio::{sync::Notify, time::Instant};

use super::*;
use crate::{
    latency::Departures,
    receiver::{Action, Answer, Behaviour, Gate, Receiver, ReceiverOptions},
};

const SOON: Duration = Duration::from_secs(20);
const NOW: Timestamp = Timestamp::from_secs(1_790_000_000);

fn key() -> ApiKey {
    ApiKey::new("APIsender", "secret-of-the-senders-own-tests-0123456789")
}

fn webhook(lane: &str, n: usize) -> Webhook {
    Webhook {
        id: format!("EV_{lane}{n}"),
        event: "room_started".to_owned(),
        lane: lane.to_owned(),
        correlation: format!("{lane}-{n}"),
        body: Bytes::from(format!(r#"{{"id":"EV_{lane}{n}"}}"#)),
    }
}

/// An other side that answers by a script and remembers what it was asked.
#[derive(Clone, Default)]
struct Script {
    answers: Arc<Mutex<Vec<Tried>>>,
    seen: Arc<Mutex<Vec<(Instant, String, Bytes)>>>,
    asked: Arc<Notify>,
    /// Closed lanes wait here.
    held: Option<Gate>,
}

impl Script {
    /// These answers in turn, the last one again and again.
    fn answering(answers: &[Tried]) -> Self {
        let answers = answers.iter().rev().cloned().collect();
        Self { answers: Arc::new(Mutex::new(answers)), ..Self::default() }
    }
}

impl Post for Script {
    async fn post(&self, authorization: &str, body: Bytes) -> Tried {
        self.seen.lock().push((Instant::now(), authorization.to_owned(), body));
        self.asked.notify_one();
        if let Some(gate) = &self.held {
            gate.passed().await;
        }
        let mut answers = self.answers.lock();
        if answers.len() > 1 { answers.pop() } else { answers.last().cloned() }.expect("an answer in the script")
    }
}

fn answered(status: u16, retry_after: Option<&str>) -> Tried {
    Tried::Answered { status, retry_after: retry_after.map(str::to_owned) }
}

fn sending(script: &Script, manner: Manner) -> LiveKitSender<Script> {
    LiveKitSender::over(script.clone(), key(), manner, Arc::new(ManualClock::new(NOW)))
}

#[tokio::test]
async fn every_try_has_the_same_bytes_and_token_and_waits_as_told() {
    let failed = Tried::Failed("refused".to_owned());
    let script = Script::answering(&[answered(503, Some("5")), failed, answered(500, None), answered(204, None)]);
    let sender = sending(&script, Manner::livekit().scaled(0.004));
    sender.send(webhook("a", 1));
    let outcomes = sender.settled(SOON).await;

    assert_eq!((outcomes[0].fate, outcomes[0].tries), (Fate::Acknowledged, 4));
    let seen = script.seen.lock();
    // 5, 2 and 4 seconds, four thousandths of each.
    for (pair, wait) in seen.windows(2).zip([20, 8, 16]) {
        let waited = pair[1].0 - pair[0].0;
        assert!(waited >= Duration::from_millis(wait), "waited {waited:?} instead of {wait} ms");
        assert_eq!((&pair[0].1, &pair[0].2), (&pair[1].1, &pair[1].2));
    }
    assert_eq!(seen[0].1, key().authorization(&seen[0].2, NOW));
    assert!(!seen[0].1.starts_with("Bearer"));
}

#[tokio::test]
async fn a_room_is_told_in_order_and_rooms_side_by_side() {
    let gate = Gate::new();
    let script = Script { held: Some(gate.clone()), ..Script::answering(&[answered(200, None)]) };
    let sender = sending(&script, Manner::livekit());
    for n in 0..3 {
        sender.send(webhook("a", n));
        sender.send(webhook("b", n));
    }
    while script.seen.lock().len() < 2 {
        script.asked.notified().await;
    }
    assert!(sender.outcomes().is_empty(), "nothing was answered yet");
    let first: Vec<_> = script.seen.lock().iter().map(|(_, _, body)| body.clone()).collect();
    assert_eq!(first, [webhook("a", 0).body, webhook("b", 0).body], "one of each room is under way");

    gate.open();
    sender.settled(SOON).await;

    for lane in ["a", "b"] {
        let seen = script.seen.lock();
        let told: Vec<_> = seen
            .iter()
            .map(|(_, _, body)| body.clone())
            .filter(|body| (0..3).any(|n| *body == webhook(lane, n).body))
            .collect();
        assert_eq!(told, (0..3).map(|n| webhook(lane, n).body).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn too_many_and_too_old_are_dropped_and_a_refusal_is_not_tried_again() {
    let gate = Gate::new();
    let script = Script { held: Some(gate.clone()), ..Script::answering(&[answered(404, Some("1"))]) };
    let manner = Manner { max_depth: 1, max_age: Duration::ZERO, ..Manner::livekit() };
    let sender = sending(&script, Manner { max_age: Duration::from_secs(30), ..manner.clone() });
    sender.send(webhook("a", 0));
    script.asked.notified().await;
    sender.send(webhook("a", 1));
    sender.send(webhook("a", 2));
    gate.open();
    let fates: HashMap<String, (Fate, u32)> = fates(&sender.settled(SOON).await);
    assert_eq!(fates["a-0"], (Fate::Refused(404), 1));
    assert_eq!(fates["a-1"], (Fate::Refused(404), 1));
    assert_eq!(fates["a-2"], (Fate::QueueFull, 0));

    let hasty = sending(&script, manner);
    hasty.send(webhook("b", 0));
    assert_eq!(hasty.settled(SOON).await[0].fate, Fate::TooOld);
}

fn fates(outcomes: &[Outcome]) -> HashMap<String, (Fate, u32)> {
    outcomes.iter().map(|outcome| (outcome.correlation.clone(), (outcome.fate, outcome.tries))).collect()
}

#[tokio::test]
async fn over_loopback_it_is_the_request_that_livekit_sends() {
    let receiver = Receiver::start(Behaviour::by(|received| match received.number {
        0 => Action::unavailable(Some("5")),
        1 => Action::Reset,
        2 => Action::AnswerThenClose(Answer::new(204)),
        _ => Action::ok(),
    }));
    let url = format!("{}/v1/webhooks/livekit", receiver.url());
    let clock = Arc::new(ManualClock::new(NOW));
    let sender = LiveKitSender::to(&url, 4, key(), Manner::livekit().scaled(0.001), clock);
    sender.send(webhook("a", 0));
    sender.settled(SOON).await;
    // By then the connection is closed: a request that was sent before would be one that got no answer.
    receiver.wait_until("three exchanges ended", SOON, |counts| counts.ended == 3).await;
    sender.send(webhook("a", 1));
    let fates = fates(&sender.settled(SOON).await);

    assert_eq!(fates["a-0"], (Fate::Acknowledged, 3));
    assert_eq!(fates["a-1"], (Fate::Acknowledged, 1), "a connection that was closed while idle showed");
    let received = receiver.wait_for(4, SOON).await;
    assert_eq!((received[0].method(), received[0].path()), ("POST", "/v1/webhooks/livekit"));
    assert_eq!(received[0].header("content-type"), CONTENT_TYPE);
    assert_eq!(received[0].header("authorization"), key().authorization(&received[0].body, NOW));
    assert_eq!(received[1].header("authorization"), received[0].header("authorization"));
    assert_eq!(received[2].body, received[0].body);
}

#[tokio::test]
async fn a_sender_follows_a_server_that_comes_back_elsewhere() {
    let (old, new) = (Receiver::start(Action::ok()), Receiver::start(Action::ok()));
    old.close().await;
    let manner = Manner { tries: 1_000, longest_wait: Duration::from_secs(1), ..Manner::livekit().scaled(0.002) };
    let sender = LiveKitSender::to(&old.url(), 4, key(), manner, Arc::new(SystemClock::new()));
    sender.send(webhook("a", 0));

    sender.aim(&new.url());

    assert_eq!(sender.settled(SOON).await[0].fate, Fate::Acknowledged);
    new.wait_for(1, SOON).await;
    assert_eq!(old.counts().requests, 0);
}

#[tokio::test]
async fn a_silent_server_is_given_up() {
    let receiver = Receiver::start(Action::Hang);
    let manner = Manner { tries: 2, answer_within: Duration::from_millis(20), ..Manner::livekit().scaled(0.001) };
    let sender = LiveKitSender::to(&receiver.url(), 1, key(), manner, Arc::new(SystemClock::new()));
    sender.send(webhook("a", 0));

    let outcomes = sender.settled(SOON).await;

    assert_eq!((outcomes[0].fate, outcomes[0].tries), (Fate::GivenUp, 2));
    receiver.wait_until("the client left twice", SOON, |counts| counts.ended == 2).await;
}

/// The whole harness against itself: a load goes to a receiver in the place of Pulse, and what was acknowledged is
/// what arrived.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_load_is_counted_from_its_schedule_to_its_arrival() {
    let departures = Arc::new(Departures::default());
    let correlations: Arc<Mutex<HashMap<Bytes, String>>> = Arc::default();
    let known = Arc::clone(&correlations);
    let options = ReceiverOptions::new()
        .counting()
        .correlate(&departures, move |received| known.lock().get(&received.body).cloned());
    let receiver = Receiver::start_with(options, Action::ok());
    let pace = Pace::PerSecond(2_000.0, Duration::from_millis(500));
    let rooms = (0..50).map(|n| format!("prj_00000000000000000000000000~room-{n}"));
    let events: Vec<Webhook> =
        Story::new(1, rooms, 3, NOW, Duration::from_micros(500)).take(pace.events() as usize).collect();
    correlations.lock().extend(events.iter().map(|event| (event.body.clone(), event.correlation.clone())));
    let sender = LiveKitSender::to(&receiver.url(), 16, key(), Manner::livekit(), Arc::new(SystemClock::new()));
    let load = Load { sender: sender.clone(), pace, departures: Some(Arc::clone(&departures)) };

    let began = load.run(events).await;
    sender.settled(SOON).await;

    assert!(began.elapsed() >= Duration::from_millis(499), "the load took only {:?}", began.elapsed());
    receiver.wait_until("all answers are written", SOON, |counts| counts.succeeded == 1_000).await;
    let report = sender.report(&receiver.deliveries(None), began);
    assert_eq!((report.sent, report.acknowledged, report.delivered), (1_000, 1_000, 1_000), "{report}");
    assert_eq!((report.duplicated, report.lost.len(), report.retried), (0, 0, 0), "{report}");
    let (acknowledgement, arrival) = (&report.acknowledgement, receiver.latencies());
    assert_eq!((acknowledgement.len(), arrival.len()), (1_000, 1_000));
    assert!(arrival.millis(0.5) <= acknowledgement.millis(0.5), "{arrival} at arrival, {acknowledgement} after it");
}
