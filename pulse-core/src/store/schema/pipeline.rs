//! The collections of the pipeline: events, sessions and what is metered in them, bans, and endpoints with their deliveries.

use super::{Collection, DUE, Expiry, Log, index, int, optional, text, time, unique};

/// What happened, each once: unique by (cluster, source, type). The events of a room session are a log, numbered from 1;
/// events without a session stand beside it. `body` is the envelope but for the number.
pub static EVENTS: Collection = Collection {
    name: "events",
    fields: &[
        text("project_id"),
        text("type"),
        time("occurred_at"),
        text("cluster"),
        text("source_id"),
        text("body"),
        optional(text("log")),
        optional(int("seq")),
        time("expires_at"),
    ],
    indexes: &[
        unique("source", &["cluster", "source_id", "type"]),
        unique("log_seq", &["log", "seq"]),
        index("project", &["project_id"]),
    ],
    expires: Some(Expiry::Worker("expires_at")),
    log: Some(Log::Numbered),
};

/// Webhooks of LiveKit that no project could be found for, for the operator; adopted when `key` becomes known.
pub static UNCLAIMED: Collection = Collection {
    name: "unclaimed_events",
    fields: &[
        text("cluster"),
        text("source_id"),
        text("type"),
        optional(text("key")),
        time("received_at"),
        time("expires_at"),
    ],
    indexes: &[unique("source", &["cluster", "source_id", "type"]), index("key", &["cluster", "key"])],
    expires: Some(Expiry::Swept("expires_at")),
    log: None,
};

/// Sessions of rooms: one a LiveKit room sid. `live_cluster` is the cluster until the session has ended.
pub static SESSIONS: Collection = Collection {
    name: "sessions",
    fields: &[
        text("project_id"),
        text("cluster"),
        text("livekit_sid"),
        text("room"),
        time("started_at"),
        optional(text("live_cluster")),
        optional(int("live")),
        time("expires_at"),
    ],
    indexes: &[
        unique("sid", &["cluster", "livekit_sid"]),
        index("project", &["project_id", "started_at"]),
        index("project_live", &["project_id", "live", "started_at"]),
        index("room", &["project_id", "cluster", "room", "started_at"]),
        index("live", &["live_cluster"]),
    ],
    expires: Some(Expiry::Swept("expires_at")),
    log: None,
};

/// Spans of time that are metered: a participant's connection, an egress, an ingress. `open` is 1, and `open_cluster` the
/// cluster, until the span has ended.
pub static INTERVALS: Collection = Collection {
    name: "intervals",
    fields: &[
        text("project_id"),
        text("cluster"),
        text("kind"),
        text("key"),
        optional(text("session_id")),
        optional(int("open")),
        optional(text("open_cluster")),
        optional(text("open_identity")),
        time("expires_at"),
    ],
    indexes: &[
        unique("key", &["cluster", "kind", "key"]),
        index("project", &["project_id"]),
        index("session", &["session_id"]),
        index("session_open", &["session_id", "open"]),
        index("project_open", &["project_id", "open"]),
        index("open", &["open_cluster", "kind"]),
        index("open_identity", &["project_id", "open_identity"]),
    ],
    expires: Some(Expiry::Swept("expires_at")),
    log: None,
};

/// Identities that may not be in a project's rooms, or in one of them.
pub static BANS: Collection = Collection {
    name: "bans",
    fields: &[text("project_id"), text("subject"), time("created_at"), optional(time("expires_at"))],
    indexes: &[unique("subject", &["project_id", "subject"]), index("project", &["project_id"])],
    expires: Some(Expiry::Swept("expires_at")),
    log: None,
};

/// Where a project's events are sent.
pub static ENDPOINTS: Collection = Collection {
    name: "endpoints",
    fields: &[text("project_id"), text("url"), text("state"), time("created_at"), optional(text("of_project"))],
    indexes: &[index("project", &["project_id"]), unique("of_project", &["of_project"])],
    expires: None,
    log: None,
};

/// How an endpoint has been doing, apart from it: a delivery that ends does not touch the endpoint's version.
pub static ENDPOINT_HEALTH: Collection =
    Collection { name: "endpoint_health", fields: &[text("project_id")], indexes: &[], expires: None, log: None };

/// Deliveries: an event on its way to an endpoint. The row is the queue's entry: `due_at` is there while it is pending,
/// `leased_until` while somebody sends it.
pub static DELIVERIES: Collection = Collection {
    name: "deliveries",
    fields: &[
        text("project_id"),
        text("endpoint_id"),
        text("event_id"),
        text("status"),
        int("prio"),
        optional(time("due_at")),
        optional(time("leased_until")),
        optional(int("quarantined")),
        time("expires_at"),
    ],
    indexes: &[
        index("pending", &["endpoint_id", "prio", "due_at"]),
        index("leased", &["leased_until"]),
        index("quarantined", &["quarantined"]),
        index("project", &["project_id"]),
        index("endpoint", &["endpoint_id"]),
        index("event", &["event_id"]),
    ],
    expires: Some(Expiry::Worker("expires_at")),
    log: None,
};

/// Shards of endpoints: which daemon sends to which, where several share the store. A queue over `due_at`: a shard that is
/// due is anybody's.
pub static SHARDS: Collection = Collection {
    name: "shards",
    fields: &[int("number"), optional(text("holder")), int("generation"), time("due_at")],
    indexes: &[index(DUE, &["due_at"])],
    expires: None,
    log: None,
};

/// Attempts of deliveries, one a lease.
pub static ATTEMPTS: Collection = Collection {
    name: "attempts",
    fields: &[text("project_id"), text("delivery_id"), time("expires_at")],
    indexes: &[index("delivery", &["delivery_id"])],
    expires: Some(Expiry::Worker("expires_at")),
    log: None,
};

/// Replays of events. `running` is 1 until the replay has ended or was stopped; the time to go is there from its end on.
pub static REPLAYS: Collection = Collection {
    name: "replays",
    fields: &[text("project_id"), text("state"), int("running"), time("created_at"), optional(time("expires_at"))],
    indexes: &[index("project", &["project_id"]), index("project_running", &["project_id", "running"])],
    expires: Some(Expiry::Swept("expires_at")),
    log: None,
};
