//! The one table of collections: fields, indexes, expiry, logs. Every engine builds its own from it, so engines cannot
//! differ. Change it only together with [`SCHEMA_VERSION`] and a migration.

mod pipeline;

pub use self::pipeline::{
    ATTEMPTS, BANS, DELIVERIES, ENDPOINT_HEALTH, ENDPOINTS, EVENTS, INTERVALS, REPLAYS, SESSIONS, SHARDS, UNCLAIMED,
};

/// The version of this table. A store that is older is migrated by `prepare`, a newer one is refused.
pub const SCHEMA_VERSION: u32 = 4;

/// The name of the index over ids that every collection has.
pub const PRIMARY: &str = "primary";

/// The name of the index over the due field, in collections that are queues.
pub const DUE: &str = "due";

/// What a validated field holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldType {
    /// A text.
    Text,
    /// An integer that fits 64 bits, signed.
    Int,
    /// A moment: RFC 3339 with three digits of fraction in JSON, a date where the engine has dates.
    Time,
    /// True or false.
    Bool,
    /// A list of texts.
    TextList,
    /// An object.
    Object,
}

/// A field that the engine validates and may index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// The top-level name in the document.
    pub name: &'static str,
    /// Its type.
    pub kind: FieldType,
    /// Whether every document has it. An optional field is absent or null when it has no value.
    pub required: bool,
}

/// An index. A document in which one of the fields is absent or null has no entry. The id breaks ties.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Index {
    /// Its name, unique in the collection.
    pub name: &'static str,
    /// Its fields, in order. At most one is a [`FieldType::TextList`], which then has an entry for each element.
    pub fields: &'static [&'static str],
    /// Whether a key may have one document only. Not for lists.
    pub unique: bool,
}

/// How a collection that is a set of logs numbers and chains its records. Where the field `log` is optional, documents that
/// belong to no log may be inserted beside them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Log {
    /// Records get `log` and `seq`.
    Numbered,
    /// Records also get `prev` and `hash` by [`chain_hash`](super::chain::chain_hash) with this domain.
    Chained(&'static str),
}

/// Who removes documents whose time is over, and by which field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expiry {
    /// [`Store::sweep`](super::Store::sweep): nothing hangs on the document.
    Swept(&'static str),
    /// A worker of Pulse, which looks at what hangs on the document first. An engine that expires documents by itself is
    /// only the second net, days later.
    Worker(&'static str),
}

impl Expiry {
    /// The time field.
    pub const fn field(self) -> &'static str {
        match self {
            Self::Swept(field) | Self::Worker(field) => field,
        }
    }
}

/// A collection.
#[derive(Debug, PartialEq, Eq)]
pub struct Collection {
    /// Its name in every engine.
    pub name: &'static str,
    /// Validated fields; all that an index, the expiry or the log uses are among them.
    pub fields: &'static [Field],
    /// Secondary indexes.
    pub indexes: &'static [Index],
    /// The time field after which a document may go, and who removes it.
    pub expires: Option<Expiry>,
    /// Whether the collection is a set of logs.
    pub log: Option<Log>,
}

impl Collection {
    /// The declared index of that name.
    pub fn index(&self, name: &str) -> Option<&'static Index> {
        self.indexes.iter().find(|index| index.name == name)
    }

    /// The time field by which `sweep` removes documents.
    pub fn swept(&self) -> Option<&'static str> {
        match self.expires {
            Some(Expiry::Swept(field)) => Some(field),
            Some(Expiry::Worker(_)) | None => None,
        }
    }

    /// The collection whose logs are named after the documents of this one, and end with them: an engine that removes such a
    /// document forgets the number of the last record of its log, too.
    pub fn logs_of_documents(&self) -> Option<&'static Self> {
        NAMED_AFTER.iter().find(|(documents, _)| documents.name == self.name).map(|(_, logs)| *logs)
    }

    /// The declared field of that name.
    pub fn field(&self, name: &str) -> Option<&'static Field> {
        self.fields.iter().find(|field| field.name == name)
    }
}

const fn text(name: &'static str) -> Field {
    Field { name, kind: FieldType::Text, required: true }
}
const fn time(name: &'static str) -> Field {
    Field { name, kind: FieldType::Time, required: true }
}
const fn int(name: &'static str) -> Field {
    Field { name, kind: FieldType::Int, required: true }
}
const fn list(name: &'static str) -> Field {
    Field { name, kind: FieldType::TextList, required: true }
}
const fn object(name: &'static str) -> Field {
    Field { name, kind: FieldType::Object, required: true }
}
const fn optional(field: Field) -> Field {
    Field { required: false, ..field }
}
const fn index(name: &'static str, fields: &'static [&'static str]) -> Index {
    Index { name, fields, unique: false }
}
const fn unique(name: &'static str, fields: &'static [&'static str]) -> Index {
    Index { name, fields, unique: true }
}

/// Organizations. `living_name` is the folded name while the organization lives, so that names are unique among the living.
pub static ORGANIZATIONS: Collection = Collection {
    name: "organizations",
    fields: &[
        text("name"),
        text("plan"),
        optional(text("living_name")),
        time("created_at"),
        list("label_pairs"),
        optional(time("deleted_at")),
    ],
    indexes: &[unique("living_name", &["living_name"]), index("label", &["label_pairs"])],
    expires: None,
    log: None,
};

/// Projects: the tenants of the media servers.
pub static PROJECTS: Collection = Collection {
    name: "projects",
    fields: &[
        text("org_id"),
        text("name"),
        optional(text("living_name")),
        text("region"),
        text("state"),
        time("created_at"),
        list("label_pairs"),
        optional(time("deleted_at")),
        optional(text("deleted_by")),
    ],
    indexes: &[
        unique("living_name", &["org_id", "living_name"]),
        index("org", &["org_id"]),
        index("label", &["label_pairs"]),
        index("org_label", &["org_id", "label_pairs"]),
        index("deleted_by", &["deleted_by"]),
    ],
    expires: None,
    log: None,
};

/// API keys. `public_id` is the id inside the key's texts; `live` is 1 until the key is revoked.
pub static API_KEYS: Collection = Collection {
    name: "api_keys",
    fields: &[
        text("project_id"),
        text("public_id"),
        text("name"),
        text("state"),
        optional(int("live")),
        time("created_at"),
        optional(time("expires_at")),
    ],
    indexes: &[
        unique("public_id", &["public_id"]),
        index("project", &["project_id"]),
        index("project_live", &["project_id", "live"]),
    ],
    expires: None,
    log: None,
};

/// One document a project, replaced by every change to its set of keys and by every new webhook endpoint: two changes at
/// once cannot both commit. It counts the project's bans, too.
pub static KEY_SETS: Collection =
    Collection { name: "key_sets", fields: &[text("project_id")], indexes: &[], expires: None, log: None };

/// When and from where a key was last used, flushed about once a minute.
pub static KEY_USES: Collection = Collection {
    name: "key_uses",
    fields: &[text("project_id"), time("last_used_at")],
    indexes: &[],
    expires: None,
    log: None,
};

/// Revocations of media tokens, kept until no token that they hit can be alive.
pub static REVOCATIONS: Collection = Collection {
    name: "token_revocations",
    fields: &[text("project_id"), text("subject"), time("before"), time("created_at"), time("expires_at")],
    indexes: &[unique("subject", &["project_id", "subject"]), index("project", &["project_id"])],
    expires: Some(Expiry::Swept("expires_at")),
    log: None,
};

/// The audit log: a chain for each organization, and `system`.
pub static AUDIT: Collection = Collection {
    name: "audit_logs",
    fields: &[
        text("log"),
        int("seq"),
        time("occurred_at"),
        text("action"),
        text("outcome"),
        text("actor_id"),
        list("target_ids"),
        text("prev"),
        text("hash"),
    ],
    indexes: &[
        unique("log_seq", &["log", "seq"]),
        index("time", &["occurred_at"]),
        index("log_time", &["log", "occurred_at"]),
        index("target", &["target_ids", "occurred_at"]),
        index("actor", &["actor_id", "occurred_at"]),
    ],
    expires: None,
    log: Some(Log::Chained("pulse-audit-v1")),
};

/// Answers of requests that carried an idempotency key, kept for a day.
pub static IDEMPOTENCY: Collection = Collection {
    name: "idempotency_keys",
    fields: &[text("operation"), text("fingerprint"), time("expires_at")],
    indexes: &[],
    expires: Some(Expiry::Swept("expires_at")),
    log: None,
};

/// Work that a worker does later: a queue over `due_at`.
pub static JOBS: Collection = Collection {
    name: "jobs",
    fields: &[text("kind"), text("target_id"), time("due_at"), time("created_at"), int("attempts")],
    indexes: &[index(DUE, &["due_at"]), index("target", &["target_id"])],
    expires: None,
    log: None,
};

/// Facts of usage, with the fields of the plan; `value` is in thousandths of the unit. Expiry is on `expires_at` and never
/// on `timestamp`, so that facts that are not sealed yet live longer.
pub static USAGE_METRICS: Collection = Collection {
    name: "usage_metrics",
    fields: &[
        text("project_id"),
        text("event_type"),
        int("value"),
        time("timestamp"),
        object("metadata"),
        optional(text("session_id")),
        optional(time("expires_at")),
    ],
    indexes: &[
        index("project_type_time", &["project_id", "event_type", "timestamp"]),
        index("project_time", &["project_id", "timestamp"]),
        index("session", &["session_id"]),
    ],
    expires: Some(Expiry::Swept("expires_at")),
    log: None,
};

/// Single documents about the store as a whole: fingerprints of the secrets, the operator's token.
pub static META: Collection = Collection { name: "meta", fields: &[], indexes: &[], expires: None, log: None };

/// Collections of documents, and those of logs that are named after them.
static NAMED_AFTER: &[(&Collection, &Collection)] = &[(&SESSIONS, &EVENTS)];

/// Every collection there is.
pub static COLLECTIONS: &[&Collection] = &[
    &ORGANIZATIONS,
    &PROJECTS,
    &API_KEYS,
    &KEY_SETS,
    &KEY_USES,
    &REVOCATIONS,
    &AUDIT,
    &IDEMPOTENCY,
    &JOBS,
    &USAGE_METRICS,
    &EVENTS,
    &UNCLAIMED,
    &SESSIONS,
    &INTERVALS,
    &BANS,
    &ENDPOINTS,
    &ENDPOINT_HEALTH,
    &DELIVERIES,
    &ATTEMPTS,
    &REPLAYS,
    &SHARDS,
    &META,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_indexes_expiry_and_logs_use_is_declared() {
        for collection in COLLECTIONS {
            let indexed = collection.indexes.iter().flat_map(|index| index.fields);
            let logged: &[&str] = match collection.log {
                None => &[],
                Some(Log::Numbered) => &["log", "seq"],
                Some(Log::Chained(_)) => &["log", "seq", "prev", "hash"],
            };
            for name in indexed.copied().chain(collection.expires.map(Expiry::field)).chain(logged.iter().copied()) {
                assert!(collection.field(name).is_some(), "{}.{name} is used but not declared", collection.name);
            }
            for index in collection.indexes {
                let lists = index
                    .fields
                    .iter()
                    .filter(|name| collection.field(name).is_some_and(|f| f.kind == FieldType::TextList));
                assert!(
                    lists.count() <= usize::from(!index.unique),
                    "{}.{} has too many lists",
                    collection.name,
                    index.name
                );
            }
        }
    }
}
