//! What the store says of deliveries and attempts, held against what the receiver saw.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt,
};

use serde_json::Value;

use super::scene::Scene;

const TERMINAL: [&str; 5] = ["succeeded", "exhausted", "quarantined", "cancelled", "expired"];

/// What was counted.
#[derive(Debug, Default)]
pub(super) struct Counted {
    pub(super) deliveries: usize,
    pub(super) succeeded: usize,
    attempts: usize,
    interrupted: usize,
    requests: usize,
}

impl fmt::Display for Counted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { deliveries, succeeded, attempts, interrupted, requests } = self;
        write!(
            f,
            "{deliveries} deliveries, {succeeded} succeeded; {attempts} attempts, {interrupted} of them interrupted; \
             {requests} requests came"
        )
    }
}

fn text<'a>(doc: &'a Value, field: &str) -> &'a str {
    doc[field].as_str().unwrap_or_default()
}

/// A delivery's id and the number of one of its attempts.
type Attempt = (String, u64);

/// Holds the store of daemons that have ended in order against what came to the receiver.
///
/// # Panics
/// When they do not fit: then it says what a customer would have seen.
pub(super) async fn hold(scene: &Scene) -> Counted {
    let deliveries = scene.documents("deliveries").await;
    let attempts = scene.documents("attempts").await;
    for delivery in &deliveries {
        let status = text(delivery, "status");
        let waits = status == "pending" && delivery["due_at"].is_string();
        // Nobody is there who could hold a lease.
        assert!(TERMINAL.contains(&status) || waits, "a delivery is nowhere: {delivery}");
    }
    let (mut rows, mut answered, mut interrupted) = (HashMap::new(), HashMap::new(), HashMap::new());
    for attempt in &attempts {
        let of: Attempt = (text(attempt, "delivery_id").to_owned(), attempt["number"].as_u64().expect("a number"));
        *rows.entry(of.clone()).or_insert(0) += 1;
        // Whoever came late had lost its lease: the row that said so says now how the attempt ended.
        *interrupted.entry(of.clone()).or_insert(0) +=
            u64::from(text(attempt, "result") == "interrupted" || attempt["late"] == true);
        *answered.entry(of).or_insert(0) += u64::from(attempt["status_code"].is_u64());
    }
    let mut posts: BTreeMap<Attempt, u64> = BTreeMap::new();
    for received in scene.receiver.received() {
        let number = received.header("pulse-attempt").parse().expect("every request says which attempt it is");
        *posts.entry((received.header("pulse-delivery-id").to_owned(), number)).or_default() += 1;
    }
    for (of, posts) in &posts {
        let (rows, interrupted) = (rows.get(of).copied().unwrap_or(0), interrupted.get(of).copied().unwrap_or(0));
        assert!(*posts <= rows, "{posts} requests of attempt {of:?} came, and {rows} are written down");
        assert!(
            *posts <= 1 + interrupted,
            "attempt {of:?} came {posts} times, and was interrupted {interrupted} times"
        );
    }
    for (of, answered) in answered.iter().filter(|(_, answered)| **answered > 0) {
        let posts = posts.get(of).copied().unwrap_or(0);
        assert!(*answered <= posts, "{answered} answers to attempt {of:?} are written down, and {posts} requests came");
    }
    let counts = scene.receiver.counts();
    assert_eq!(counts.unequal, 0, "the bytes of an event changed from one attempt to another");
    assert_eq!(counts.objected, 0, "a customer could not verify: {:?}", scene.receiver.objections());
    dense_sequences(scene);
    Counted {
        deliveries: deliveries.len(),
        succeeded: deliveries.iter().filter(|delivery| text(delivery, "status") == "succeeded").count(),
        attempts: attempts.len(),
        interrupted: attempts.iter().filter(|attempt| text(attempt, "result") == "interrupted").count(),
        requests: scene.receiver.received().len(),
    }
}

/// The events of a session are numbered from 1 without a hole, at every endpoint that was there from the beginning.
fn dense_sequences(scene: &Scene) {
    let mut sessions: BTreeMap<(String, String), BTreeSet<u64>> = BTreeMap::new();
    for received in scene.receiver.received() {
        let body = received.json();
        if let (Some(session), Some(sequence)) = (body["session_id"].as_str(), body["sequence"].as_u64()) {
            sessions.entry((received.path().to_owned(), session.to_owned())).or_default().insert(sequence);
        }
    }
    for ((path, session), numbers) in sessions {
        let (first, last) = (numbers.first().copied().unwrap_or(0), numbers.last().copied().unwrap_or(0));
        assert_eq!(numbers.len() as u64, last + 1 - first, "{path}: holes in {session}: {numbers:?}");
    }
}
