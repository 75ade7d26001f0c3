//! Small documents that fit the declared collections.

use serde_json::{Value, json};

use crate::time::Timestamp;

/// The moment `seconds` after the start of the year 2200, as text: far enough for the clock of any engine never to pass
/// it, so that an index of the engine's own that removes what is over does not disturb a test.
pub fn far(seconds: i64) -> String {
    far_moment(seconds).to_string()
}

/// The moment `seconds` after the start of the year 2200.
pub fn far_moment(seconds: i64) -> Timestamp {
    Timestamp::from_secs(7_258_118_400 + seconds)
}

/// The moment `seconds` after the start of the year 2001, as text: before the clock of any engine.
pub fn past(seconds: i64) -> String {
    Timestamp::from_secs(978_307_200 + seconds).to_string()
}

/// An organization that lives under its own name.
pub fn organization(name: &str) -> Value {
    json!({
        "name": name, "plan": "free", "living_name": name, "created_at": past(0), "label_pairs": [], "deleted_at": null,
    })
}

/// A project that lives under its own name.
pub fn project(org_id: &str, name: &str) -> Value {
    json!({
        "org_id": org_id, "name": name, "living_name": name, "region": "eu", "state": "active",
        "created_at": past(0), "label_pairs": [],
    })
}

/// An API key that is live.
pub fn api_key(project_id: &str, public_id: &str) -> Value {
    json!({
        "project_id": project_id, "public_id": public_id, "name": "key", "state": "active", "live": 1,
        "created_at": past(0),
    })
}

/// A revocation that ends at `expires_at`.
pub fn revocation(project_id: &str, subject: &str, expires_at: &str) -> Value {
    json!({
        "project_id": project_id, "subject": subject, "before": past(0), "created_at": past(0), "expires_at": expires_at,
    })
}

/// The answer of a request, kept until `expires_at`.
pub fn idempotency(expires_at: &str) -> Value {
    json!({ "operation": "create", "fingerprint": "f", "expires_at": expires_at })
}

/// Work that is due at `due_at`.
pub fn job(target_id: &str, due_at: &str) -> Value {
    json!({ "kind": "purge", "target_id": target_id, "due_at": due_at, "created_at": past(0), "attempts": 0 })
}

/// A fact of usage at `timestamp`, without an expiry.
pub fn usage(project_id: &str, event_type: &str, timestamp: &str, value: i64) -> Value {
    json!({
        "project_id": project_id, "event_type": event_type, "value": value, "timestamp": timestamp, "metadata": {},
    })
}

/// A record of the audit log, as it is before a log numbers and chains it.
pub fn audit(action: &str, occurred_at: &str) -> Value {
    json!({
        "occurred_at": occurred_at, "action": action, "outcome": "success", "actor_id": "key_1", "target_ids": ["prj_1"],
    })
}

/// A session of a room that is over at `expires_at`.
pub fn session(sid: &str, expires_at: &str) -> Value {
    json!({
        "project_id": "prj_1", "cluster": "server", "livekit_sid": sid, "room": "standup", "started_at": past(0),
        "expires_at": expires_at,
    })
}

/// An event with a source of its own, as it is before a log numbers it.
pub fn event(source: &str) -> Value {
    json!({
        "project_id": "prj_1", "type": "room_started", "occurred_at": past(0), "cluster": "server", "source_id": source,
        "body": "{}", "expires_at": far(100),
    })
}
