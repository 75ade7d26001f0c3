//! A key as the keyring keeps it: what verification and plans need of it and nothing more, because 100,000 are kept.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64},
};

use ipnet::IpNet;

use super::PublicId;
use crate::{
    access::{
        Permissions,
        key::{self, Environment},
        pepper::CheckedDigest,
    },
    id::KeyId,
    model::{
        api_key::{ApiKey, Constraints, KeyState, KeyStatus},
        organization::Organization,
        tenant::{Tenant, TenantProject},
        text::Name,
    },
    time::Timestamp,
};

/// What most keys do not have.
struct Rare {
    constraints: Constraints,
    networks: Vec<IpNet>,
    rotated_from: Option<KeyId>,
}

/// A key with its project and its organization, as they were when last read.
pub struct KeyRecord {
    /// The key.
    pub id: KeyId,
    /// What people call it.
    pub name: Name,
    /// What it may do.
    pub scopes: Permissions,
    /// When it ends.
    pub expires_at: Option<Timestamp>,
    /// Its project.
    pub project: Arc<TenantProject>,
    /// Its organization.
    pub org: Arc<Organization>,
    public_id: PublicId,
    environment: Environment,
    state: KeyState,
    rare: Option<Box<Rare>>,
    pub(super) digest: CheckedDigest,
    /// On the monotonic clock; 0 before the first use.
    pub(super) last_used_millis: AtomicU64,
    pub(super) rehash_noted: AtomicBool,
}

impl std::fmt::Debug for KeyRecord {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeyRecord").field("key", &self.id).finish_non_exhaustive()
    }
}

impl KeyRecord {
    /// The record of `key`, whose texts carry `public_id`.
    pub(super) fn new(public_id: PublicId, key: ApiKey, tenant: Tenant, digest: CheckedDigest) -> Self {
        let rare = Rare { constraints: key.constraints, networks: key.networks, rotated_from: key.rotated_from };
        let has_any = !rare.constraints.is_empty() || !rare.networks.is_empty() || rare.rotated_from.is_some();
        Self {
            id: key.id,
            name: key.name,
            scopes: key.scopes,
            expires_at: key.expires_at,
            project: tenant.project,
            org: tenant.org,
            public_id,
            environment: key.environment,
            state: key.state,
            rare: has_any.then(|| Box::new(rare)),
            digest,
            last_used_millis: AtomicU64::new(0),
            rehash_noted: AtomicBool::new(false),
        }
    }

    /// What narrows the tokens that it makes, if anything does.
    pub fn constraints(&self) -> Option<&Constraints> {
        self.rare.as_ref().map(|rare| &rare.constraints).filter(|own| !own.is_empty())
    }

    /// From where it may be used; empty: from anywhere.
    pub fn networks(&self) -> &[IpNet] {
        self.rare.as_ref().map_or(&[], |rare| &rare.networks)
    }

    /// The key that it replaces.
    pub fn rotated_from(&self) -> Option<KeyId> {
        self.rare.as_ref().and_then(|rare| rare.rotated_from)
    }

    /// The id inside its texts.
    pub fn public_id(&self) -> &str {
        // Letters and digits: nothing else is a public id.
        std::str::from_utf8(&self.public_id).unwrap_or_default()
    }

    /// The public text.
    pub fn public_text(&self) -> String {
        key::public_text(self.environment, self.public_id())
    }

    /// What the key is at `now`.
    pub fn status(&self, now: Timestamp) -> KeyStatus {
        self.state.at(self.expires_at, now)
    }

    /// The project and the organization.
    pub fn tenant(&self) -> Tenant {
        Tenant { org: Arc::clone(&self.org), project: Arc::clone(&self.project) }
    }
}
