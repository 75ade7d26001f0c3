//! The hash chain of a chained log: each record's hash covers the one before, so that a change, a gap or a swap shows.

use serde_json::Value;
use sha2::{Digest, Sha256};

/// What the first record of a chain has as `prev`.
pub const GENESIS: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// Lower-case hex of SHA-256 over the domain, a newline, `prev`, a newline, and the record as canonical JSON: object keys
/// sorted by byte, no white space, the fields `prev` and `hash` left out. `serde_json` keeps object keys sorted, and the
/// records hold no floats, so its compact form is canonical.
pub fn chain_hash(domain: &str, prev: &str, record: &Value) -> String {
    let mut bare = record.clone();
    if let Some(fields) = bare.as_object_mut() {
        fields.remove("prev");
        fields.remove("hash");
    }
    let digest = Sha256::new()
        .chain_update(domain)
        .chain_update("\n")
        .chain_update(prev)
        .chain_update("\n")
        .chain_update(bare.to_string())
        .finalize();
    hex::encode(digest)
}

/// Turns a record into the document of a log: adds `log`, `seq` and, for a chained log, `prev` and `hash`. Gives the
/// document and its hash (empty for a log without a chain).
pub fn link(kind: super::schema::Log, log: &str, seq: u64, prev: &str, mut record: Value) -> (Value, String) {
    record["log"] = log.into();
    record["seq"] = seq.into();
    match kind {
        super::schema::Log::Numbered => (record, String::new()),
        super::schema::Log::Chained(domain) => {
            let hash = chain_hash(domain, prev, &record);
            record["prev"] = prev.into();
            record["hash"] = hash.clone().into();
            (record, hash)
        }
    }
}
