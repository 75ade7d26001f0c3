//! Entries of the audit log.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    id::{AuditId, OrgId},
    time::Timestamp,
};

/// Through which door a call came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum Origin {
    /// The REST API.
    Api,
    /// The command line in local mode.
    Cli,
    /// The dashboard.
    Dashboard,
    /// A worker of Pulse itself.
    Worker,
}

/// A thing that an audit entry is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Target {
    /// `organization`, `project`, `key`, ...
    pub kind: String,
    /// Its id.
    pub id: String,
    /// Its name then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// One changed field of an audit entry; secrets show as `<set>`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Change {
    /// The field.
    pub field: String,
    /// Its value before; `null` when there was none.
    pub before: Value,
    /// Its value after; `null` when there is none.
    pub after: Value,
}

/// How an audited action ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum AuditOutcome {
    /// It was done.
    Success,
    /// It was refused.
    Denied,
    /// It failed.
    Error,
    /// Whether it was done is not known.
    Unknown,
}

/// Who did it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Actor {
    /// `operator`, `key` or `worker`.
    pub kind: String,
    /// The id: `operator`, `local:<user>`, or a key's id.
    pub id: String,
    /// The name then.
    pub name: Option<String>,
    /// How it proved who it is: `local`, `admin_token`, `api_key`, `internal`.
    pub method: String,
    /// The credential that was used.
    pub credential_id: Option<String>,
}

/// From where.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AuditContext {
    /// The client's address.
    pub ip: Option<String>,
    /// The client's program.
    pub user_agent: Option<String>,
    /// The request.
    pub request_id: String,
    /// The door.
    pub origin: Origin,
}

/// One entry. `seq` is dense in the organization's chain, and `hash` covers the entry and `prev`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AuditEntry {
    /// The id.
    pub id: AuditId,
    /// The chain: an organization's id, or `system`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub log: String,
    /// Place in the chain, from 1.
    #[serde(default)]
    pub seq: u64,
    /// The organization, unless the chain is `system`.
    pub org_id: Option<OrgId>,
    /// When.
    pub occurred_at: Timestamp,
    /// What: an operation's action.
    pub action: String,
    /// How it ended.
    pub outcome: AuditOutcome,
    /// Who.
    pub actor: Actor,
    /// About what.
    pub targets: Vec<Target>,
    /// From where.
    pub context: AuditContext,
    /// What changed, secrets as `<set>`.
    pub changes: Vec<Change>,
    /// The hash of the entry before.
    #[serde(default)]
    pub prev: String,
    /// SHA-256 over the chain's domain, `prev` and this entry.
    #[serde(default)]
    pub hash: String,
}
