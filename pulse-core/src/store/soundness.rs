//! What a check of a whole store finds, in the same words for every engine, and how the logs in it are followed.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use super::{
    chain::{GENESIS, chain_hash},
    schema::{COLLECTIONS, Collection, Expiry, Log},
};
use crate::error::Error;

/// Problems that a report names; further ones are counted.
const NAMED: usize = 100;

/// What a check found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct CheckReport {
    /// The store, without credentials.
    pub path: String,
    /// Whether no problem was found.
    pub ok: bool,
    /// The version of its schema; `None` when there is nothing yet.
    pub schema_version: Option<u32>,
    /// Rows of every collection.
    pub collections: Vec<CollectionRows>,
    /// Logs whose numbers and chains were followed.
    pub logs: u64,
    /// How many problems there are.
    pub problem_count: u64,
    /// The first hundred of them.
    pub problems: Vec<Problem>,
}

/// The size of a collection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct CollectionRows {
    /// Its name.
    pub name: String,
    /// Its rows.
    pub rows: u64,
}

/// Something that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Problem {
    /// The collection, or `database`.
    pub place: String,
    /// The document or the log, where it is one.
    pub id: Option<String>,
    /// What is wrong, as a sentence.
    pub detail: String,
}

impl CheckReport {
    /// Nothing found yet.
    pub(super) fn of(path: impl ToString, schema_version: Option<u32>) -> Self {
        Self { path: path.to_string(), schema_version, ..Self::default() }
    }

    pub(super) fn add(&mut self, place: &str, id: Option<&str>, detail: impl Into<String>) {
        self.problem_count += 1;
        if self.problems.len() < NAMED {
            self.problems.push(Problem { place: place.to_owned(), id: id.map(str::to_owned), detail: detail.into() });
        }
    }

    /// Adds a document that does not decode or does not fit its declaration.
    pub(super) fn add_fault(&mut self, place: &str, id: Option<&str>, fault: &Error) {
        self.add(place, id, fault.cause().map_or_else(|| fault.to_string(), ToString::to_string));
    }

    pub(super) fn add_rows(&mut self, collection: &Collection, rows: u64) {
        self.collections.push(CollectionRows { name: collection.name.to_owned(), rows });
    }

    /// Adds the logs of a collection that were followed, and those without a record among the `known` ones, whose last
    /// numbers are kept apart.
    pub(super) fn add_logs(&mut self, collection: &Collection, followed: u64, known: u64) {
        if known > followed && collection.expires.is_none() {
            self.add(collection.name, None, format!("{} logs have lost all of their records", known - followed));
        }
        self.logs += followed;
    }

    /// The whole report.
    pub(super) fn closed(mut self) -> Self {
        self.ok = self.problem_count == 0;
        self
    }
}

/// Where a log stands while it is followed from its first record to its last.
pub(super) struct Chain {
    pub(super) log: String,
    /// The number of the record before, 0 at the start.
    pub(super) seq: u64,
    hash: String,
    /// Whether a problem was found already: what follows it cannot be judged.
    broken: bool,
}

impl Chain {
    /// Before the first record of a log.
    pub(super) fn begin(log: &str) -> Self {
        Self { log: log.to_owned(), seq: 0, hash: GENESIS.to_owned(), broken: false }
    }

    /// Goes on to the next record and reports the first fault of the log.
    pub(super) fn follow(&mut self, collection: &Collection, kind: Log, record: &Value, report: &mut CheckReport) {
        let fault = self.fault(kind, record, collection.expires);
        self.seq = seq_of(record);
        text_of(record, "hash").clone_into(&mut self.hash);
        if let Some(fault) = fault.filter(|_| !self.broken) {
            report.add(collection.name, Some(&self.log), fault);
            self.broken = true;
        }
    }

    /// Records of a log that expires go from its start; where a worker removes them, some may stay longer than those after
    /// them.
    fn fault(&self, kind: Log, record: &Value, expires: Option<Expiry>) -> Option<String> {
        let (seq, expected) = (seq_of(record), self.seq + 1);
        let trimmed = match expires {
            None => false,
            Some(Expiry::Swept(_)) => self.seq == 0 && seq > 1,
            Some(Expiry::Worker(_)) => seq > expected,
        };
        let prev = text_of(record, "prev");
        match kind {
            _ if seq != expected && !trimmed => Some(format!("record {expected} is missing: {seq} comes instead")),
            Log::Chained(_) if prev != self.hash && !trimmed => {
                Some(format!("record {seq} does not follow from the one before"))
            }
            Log::Chained(domain) if text_of(record, "hash") != chain_hash(domain, prev, record) => {
                Some(format!("record {seq} was changed"))
            }
            Log::Chained(_) | Log::Numbered => None,
        }
    }

    /// Compares the last record with the number and hash that are kept apart.
    pub(super) fn end(&self, collection: &Collection, head: Option<(u64, String)>, report: &mut CheckReport) {
        // Records that live longer than what their log is named after.
        let ended = head.is_none()
            && COLLECTIONS
                .iter()
                .any(|other| other.logs_of_documents().is_some_and(|logs| logs.name == collection.name));
        if !self.broken && !ended && head.as_ref().is_none_or(|(seq, hash)| *seq != self.seq || *hash != self.hash) {
            let expected = head.map_or(0, |(seq, _)| seq);
            let detail = format!("the log ends at record {}, and not at {expected} as noted", self.seq);
            report.add(collection.name, Some(&self.log), detail);
        }
    }
}

fn seq_of(record: &Value) -> u64 {
    record["seq"].as_u64().unwrap_or_default()
}

fn text_of<'a>(record: &'a Value, name: &str) -> &'a str {
    record[name].as_str().unwrap_or_default()
}
