//! What came to a receiver and what it counts. One lock, held for a few steps at a time.

use std::{
    collections::{HashMap, hash_map::Entry},
    time::Duration,
};

use parking_lot::Mutex;
use sha2::{Digest as _, Sha256};
use tokio::time::Instant;

use super::Received;
use crate::latency::Latencies;

/// Faults of requests that are told in words; the others are only counted.
const MAX_OBJECTIONS: usize = 20;

/// How much a receiver keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recording {
    /// Every request and how its exchange ended, beside the counters.
    Everything,
    /// Counters, and a tally per webhook id.
    Counters,
}

/// The counters of a receiver.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Connections that were accepted.
    pub connections: u64,
    /// TLS handshakes that came to nothing, for example because the client refused the certificate.
    pub handshakes_failed: u64,
    /// Requests that were read whole.
    pub requests: u64,
    /// Connections on which something came that was no whole request.
    pub malformed: u64,
    /// Exchanges that have ended, in whichever way.
    pub ended: u64,
    /// Requests whose answer, a 2xx, was written whole.
    pub succeeded: u64,
    /// Those among them whose webhook id had already had one at the same path: at-least-once showing.
    pub duplicates: u64,
    /// Requests whose body differs from the one before it with the same webhook id at the same path.
    pub unequal: u64,
    /// Requests to which `verify` objected.
    pub objected: u64,
}

/// What is known of one webhook id at one path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tally {
    /// Requests with it.
    pub attempts: u32,
    /// Those that were answered with a 2xx.
    pub succeeded: u32,
    /// Those whose body was not the one before it.
    pub unequal: u32,
    /// SHA-256 of the last body.
    pub body: [u8; 32],
    /// When the first one came.
    pub first: Instant,
    /// When the last one came.
    pub last: Instant,
    /// The text that correlates its event.
    pub correlation: Option<Box<str>>,
}

/// How an exchange ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The answer was written whole.
    Answered,
    /// The receiver ended it without a whole answer, as it was told.
    Cut,
    /// The client left before that.
    ClientLeft,
    /// It reached the receiver's own bound in bytes or in time.
    Bound,
}

/// How the exchange that a request began went on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exchange {
    /// The number of its request.
    pub request: u64,
    /// How it ended.
    pub end: End,
    /// The status of the answer, when it was written whole.
    pub status: Option<u16>,
    /// Bytes of the answer that the system took.
    pub written: u64,
    /// From the request's last byte to the end.
    pub took: Duration,
}

/// What was found out about a request before it is entered.
#[derive(Debug, Default)]
pub(super) struct Findings {
    pub(super) objection: Option<String>,
    pub(super) correlation: Option<String>,
    pub(super) departure: Option<Instant>,
}

/// See the head of this file.
#[derive(Debug)]
pub(super) struct Ledger {
    recording: Recording,
    book: Mutex<Book>,
}

#[derive(Debug, Default)]
struct Book {
    counts: Counts,
    received: Vec<Received>,
    exchanges: Vec<Exchange>,
    /// By path, and in it by webhook id or, without one, by the text that correlates.
    tallies: HashMap<Box<str>, HashMap<Box<str>, Tally>>,
    latencies: Latencies,
    objections: Vec<String>,
}

impl Ledger {
    pub(super) fn new(recording: Recording) -> Self {
        Self { recording, book: Mutex::default() }
    }

    pub(super) fn connected(&self) {
        self.book.lock().counts.connections += 1;
    }

    pub(super) fn handshake_failed(&self) {
        self.book.lock().counts.handshakes_failed += 1;
    }

    pub(super) fn malformed(&self, why: &str) {
        let mut book = self.book.lock();
        book.counts.malformed += 1;
        book.object(format!("no request: {why}"));
    }

    /// Enters a request, which gets its number and that of its attempt.
    pub(super) fn enter(&self, received: &mut Received, findings: Findings) {
        let body: [u8; 32] = Sha256::digest(&received.body).into();
        let book = &mut *self.book.lock();
        received.number = book.counts.requests;
        book.counts.requests += 1;
        if let Some(objection) = findings.objection {
            book.counts.objected += 1;
            book.object(format!("request {}: {objection}", received.number));
        }
        let id = Some(received.webhook_id()).filter(|id| !id.is_empty()).or(findings.correlation.as_deref());
        if let Some(id) = id {
            received.tallied = id.into();
            book.tally(received, body, findings.correlation, findings.departure);
        }
        if self.recording == Recording::Everything {
            book.received.push(received.clone());
        }
    }

    /// Enters how a request's exchange ended.
    pub(super) fn ended(&self, received: &Received, exchange: Exchange) {
        let book = &mut *self.book.lock();
        book.counts.ended += 1;
        if exchange.status.is_some_and(|status| (200..300).contains(&status)) {
            book.counts.succeeded += 1;
            let ids = book.tallies.get_mut(received.path());
            if let Some(tally) = ids.and_then(|ids| ids.get_mut(&received.tallied)) {
                tally.succeeded += 1;
                book.counts.duplicates += u64::from(tally.succeeded > 1);
            }
        }
        if self.recording == Recording::Everything {
            book.exchanges.push(exchange);
        }
    }

    pub(super) fn counts(&self) -> Counts {
        self.book.lock().counts
    }

    pub(super) fn received(&self) -> Vec<Received> {
        self.book.lock().received.clone()
    }

    pub(super) fn exchanges(&self) -> Vec<Exchange> {
        self.book.lock().exchanges.clone()
    }

    pub(super) fn latencies(&self) -> Latencies {
        self.book.lock().latencies.clone()
    }

    pub(super) fn take_latencies(&self) -> Latencies {
        std::mem::take(&mut self.book.lock().latencies)
    }

    pub(super) fn objections(&self) -> Vec<String> {
        self.book.lock().objections.clone()
    }

    pub(super) fn tally(&self, path: &str, webhook_id: &str) -> Option<Tally> {
        self.book.lock().tallies.get(path)?.get(webhook_id).cloned()
    }

    pub(super) fn tallies(&self) -> Vec<(String, String, Tally)> {
        let book = self.book.lock();
        let all = book.tallies.iter().flat_map(|(path, ids)| ids.iter().map(move |(id, tally)| (path, id, tally)));
        all.map(|(path, id, tally)| (path.to_string(), id.to_string(), tally.clone())).collect()
    }

    pub(super) fn deliveries(&self, path: Option<&str>) -> HashMap<String, u32> {
        let book = self.book.lock();
        let mut deliveries = HashMap::new();
        for (at, ids) in &book.tallies {
            if path.is_some_and(|path| path != &**at) {
                continue;
            }
            for tally in ids.values() {
                if let Some(correlation) = &tally.correlation {
                    *deliveries.entry(correlation.to_string()).or_insert(0) += tally.succeeded;
                }
            }
        }
        deliveries
    }
}

impl Book {
    fn object(&mut self, objection: String) {
        if self.objections.len() < MAX_OBJECTIONS {
            self.objections.push(objection);
        }
    }

    fn tally(
        &mut self,
        received: &mut Received,
        body: [u8; 32],
        correlation: Option<String>,
        departure: Option<Instant>,
    ) {
        if !self.tallies.contains_key(received.path()) {
            self.tallies.insert(received.path().into(), HashMap::new());
        }
        let Some(ids) = self.tallies.get_mut(received.path()) else { return };
        let tally = match ids.entry(received.tallied.clone()) {
            Entry::Occupied(seen) => seen.into_mut(),
            Entry::Vacant(new) => {
                if let Some(departure) = departure {
                    self.latencies.record(received.at.saturating_duration_since(departure));
                }
                new.insert(Tally {
                    attempts: 0,
                    succeeded: 0,
                    unequal: 0,
                    body,
                    first: received.at,
                    last: received.at,
                    correlation: correlation.map(Into::into),
                })
            }
        };
        tally.attempts += 1;
        tally.last = received.at;
        if tally.body != body {
            tally.body = body;
            tally.unequal += 1;
            self.counts.unequal += 1;
        }
        received.attempt = tally.attempts;
    }
}
