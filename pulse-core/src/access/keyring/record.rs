//! A key as the keyring keeps it: what verification and plans need of it and nothing more, because 100,000 are kept.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64},
};

use ipnet::IpNet;

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
        project::Project,
        tenant::Tenant,
        text::Name,
    },
    time::Timestamp,
};

/// What narrows a key beyond its scopes: most keys have nothing of the kind.
struct Narrowing {
    constraints: Constraints,
    networks: Vec<IpNet>,
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
    /// The key that it replaces.
    pub rotated_from: Option<KeyId>,
    /// Its project.
    pub project: Arc<Project>,
    /// Its organization.
    pub org: Arc<Organization>,
    public_id: Box<str>,
    environment: Environment,
    state: KeyState,
    narrowing: Option<Box<Narrowing>>,
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
    pub(super) fn new(key: ApiKey, tenant: Tenant, digest: CheckedDigest) -> Self {
        let narrowed = !key.constraints.is_empty() || !key.networks.is_empty();
        Self {
            id: key.id,
            name: key.name,
            scopes: key.scopes,
            expires_at: key.expires_at,
            rotated_from: key.rotated_from,
            project: tenant.project,
            org: tenant.org,
            public_id: key.public_id.into(),
            environment: key.environment,
            state: key.state,
            narrowing: narrowed.then(|| Box::new(Narrowing { constraints: key.constraints, networks: key.networks })),
            digest,
            last_used_millis: AtomicU64::new(0),
            rehash_noted: AtomicBool::new(false),
        }
    }

    /// What narrows the tokens that it makes, if anything does.
    pub fn constraints(&self) -> Option<&Constraints> {
        self.narrowing.as_ref().map(|narrowing| &narrowing.constraints).filter(|own| !own.is_empty())
    }

    /// From where it may be used; empty: from anywhere.
    pub fn networks(&self) -> &[IpNet] {
        self.narrowing.as_ref().map_or(&[], |narrowing| &narrowing.networks)
    }

    /// The id inside its texts.
    pub fn public_id(&self) -> &str {
        &self.public_id
    }

    /// The public text.
    pub fn public_text(&self) -> String {
        key::public_text(self.environment, &self.public_id)
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
