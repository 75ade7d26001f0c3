//! API keys of projects. The secret is not here: only a keyed digest of it is stored.

use std::collections::BTreeSet;

use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::text::Name;
use crate::{
    access::{key::Environment, pepper::Digest, permission::Permissions},
    id::{KeyId, ProjectId},
    media::{
        grants::Grant,
        room::{RoomName, RoomPattern},
    },
    time::Timestamp,
};

/// The most keys that a project can have at a time, revoked ones not counted.
pub const MAX_LIVE_KEYS: usize = 100;

/// What narrows a key beyond its scopes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Constraints {
    /// Rooms that its tokens may be for, by name or with `*`; empty: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100))]
    pub rooms: Vec<RoomPattern>,
    /// The longest life of its tokens in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 2_592_000))]
    pub max_ttl_seconds: Option<u32>,
    /// What its tokens may allow; empty: everything.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub grants: BTreeSet<Grant>,
}

impl Constraints {
    /// Whether nothing is narrowed.
    pub fn is_empty(&self) -> bool {
        self.rooms.is_empty() && self.max_ttl_seconds.is_none() && self.grants.is_empty()
    }

    /// Whether the key may have to do with tokens for the room; `None` stands for tokens of every room.
    pub fn allow_room(&self, room: Option<&RoomName>) -> bool {
        self.rooms.is_empty() || room.is_some_and(|room| self.rooms.iter().any(|pattern| pattern.matches(room)))
    }
}

/// What became of a key, as stored. Expiry is a matter of the clock and not a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum KeyState {
    /// It works until it expires.
    Active,
    /// A successor in a rotation that waits for its commit: works, and ends by itself.
    Pending,
    /// Replaced: works until its grace is over.
    Rotated,
    /// It does not work.
    Revoked,
}

impl KeyState {
    /// What a key in this state is at `now`.
    pub fn at(self, expires_at: Option<Timestamp>, now: Timestamp) -> KeyStatus {
        match self {
            Self::Revoked => KeyStatus::Revoked,
            _ if expires_at.is_some_and(|end| end <= now) => KeyStatus::Expired,
            Self::Active => KeyStatus::Active,
            Self::Pending => KeyStatus::Pending,
            Self::Rotated => KeyStatus::Rotated,
        }
    }
}

/// A key as it is stored; `version` is the store's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiKey {
    /// The id.
    pub id: KeyId,
    /// The project.
    pub project_id: ProjectId,
    /// The id inside the key's texts.
    pub public_id: String,
    /// What people call it.
    pub name: Name,
    /// live or test.
    pub environment: Environment,
    /// What it may do.
    pub scopes: Permissions,
    /// What narrows it.
    #[serde(default, skip_serializing_if = "Constraints::is_empty")]
    pub constraints: Constraints,
    /// From where it may be used; empty: from anywhere.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub networks: Vec<IpNet>,
    /// What became of it.
    pub state: KeyState,
    /// Whether it is the project's primary key.
    pub primary: bool,
    /// When it ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// For a pending successor: when it would end once committed (the predecessor's own expiry).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub final_expires_at: Option<Timestamp>,
    /// The key that replaces it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotated_to: Option<KeyId>,
    /// The key that it replaces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotated_from: Option<KeyId>,
    /// When it was revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked_at: Option<Timestamp>,
    /// Who made it.
    pub created_by: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// The keyed digest of its secret.
    pub digest: Digest,
    /// Grows by one with each change.
    #[serde(skip)]
    pub version: u64,
}

/// What a key is at a given moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum KeyStatus {
    /// It works.
    Active,
    /// It works, and ends in minutes unless its rotation is committed.
    Pending,
    /// It works until its grace is over; another has replaced it.
    Rotated,
    /// Its time is over.
    Expired,
    /// It was revoked.
    Revoked,
}

/// A key as it is shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "ApiKey")]
pub struct ApiKeyView {
    /// The id.
    pub id: KeyId,
    /// The project.
    pub project_id: ProjectId,
    /// The public text: `X-Pulse-Key`. It opens nothing alone.
    pub pulse_api_key: String,
    /// What people call it.
    pub name: Name,
    /// live or test.
    pub environment: Environment,
    /// What it may do.
    pub scopes: Permissions,
    /// What narrows it.
    pub constraints: Constraints,
    /// From where it may be used; empty: from anywhere.
    #[schemars(with = "Vec<String>")]
    pub networks: Vec<IpNet>,
    /// What it is now.
    pub state: KeyStatus,
    /// Whether it is the project's primary key.
    pub primary: bool,
    /// When it ends; `null`: never.
    pub expires_at: Option<Timestamp>,
    /// When it was last used, to about a minute; `null`: never.
    pub last_used_at: Option<Timestamp>,
    /// From where it was last used.
    pub last_used_ip: Option<String>,
    /// The key that replaces it.
    pub rotated_to: Option<KeyId>,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
    /// Who made it.
    pub created_by: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// Grows by one with each change.
    pub version: u64,
}

impl ApiKey {
    /// What the key is at `now`.
    pub fn status(&self, now: Timestamp) -> KeyStatus {
        self.state.at(self.expires_at, now)
    }

    /// Whether the key works at `now`.
    pub fn works(&self, now: Timestamp) -> bool {
        !matches!(self.status(now), KeyStatus::Revoked | KeyStatus::Expired)
    }

    /// Whether the key counts when asking if a project still has one: it works, and is not about to end by a rotation.
    pub fn stays(&self, now: Timestamp) -> bool {
        self.status(now) == KeyStatus::Active
    }

    /// The public text.
    pub fn public_text(&self) -> String {
        crate::access::key::public_text(self.environment, &self.public_id)
    }

    /// What a caller sees at `now`.
    pub fn view(&self, now: Timestamp, last_use: Option<&super::key_use::KeyUse>) -> ApiKeyView {
        let own = self.clone();
        ApiKeyView {
            state: own.status(now),
            pulse_api_key: own.public_text(),
            id: own.id,
            project_id: own.project_id,
            name: own.name,
            environment: own.environment,
            scopes: own.scopes,
            constraints: own.constraints,
            networks: own.networks,
            primary: own.primary,
            expires_at: own.expires_at,
            last_used_at: last_use.map(|last| last.last_used_at),
            last_used_ip: last_use.and_then(|last| last.last_used_ip).map(|ip| ip.to_string()),
            rotated_to: own.rotated_to,
            revoked_at: own.revoked_at,
            created_by: own.created_by,
            created_at: own.created_at,
            version: own.version,
        }
    }
}
