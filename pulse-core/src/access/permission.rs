//! Permissions, roles, and the constant matrix between them. Scopes of keys are permission strings.

use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// People's roles in an organization, from the greatest to the least.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// May do everything in the organization.
    Owner,
    /// Everything but ending the organization and touching Owners.
    Admin,
    /// Builds: settings, media, endpoints, own and test keys.
    Developer,
    /// Looks.
    Viewer,
}

impl Role {
    /// All roles.
    pub const ALL: [Self; 4] = [Self::Owner, Self::Admin, Self::Developer, Self::Viewer];
}

const O: u8 = 1;
const A: u8 = 2;
const D: u8 = 4;
const V: u8 = 8;
const KEY: u8 = 16;

macro_rules! permissions {
    ($($variant:ident $name:literal $who:expr, $doc:literal;)+) => {
        /// One thing that a caller may be allowed to do.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Permission {
            $(#[doc = $doc] $variant,)+
        }

        impl Permission {
            /// All permissions, in the order of the table.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            const ROWS: &'static [(&'static str, u8, &'static str)] = &[$(($name, $who, $doc)),+];
        }
    };
}

permissions! {
    System "system:manage" 0, "Manage the installation: its organizations, plans, suspensions and the operator's token.";
    OrgRead "org:read" O | A | D | V, "Read the organization.";
    OrgWrite "org:write" O | A, "Change the organization's name, address and labels.";
    OrgDelete "org:delete" O, "Delete or restore the organization.";
    ProjectCreate "project:create" O | A, "Create projects.";
    ProjectRead "project:read" O | A | D | V | KEY, "Read the project.";
    ProjectWrite "project:write" O | A | D, "Change the project's name, labels, presets and webhook address.";
    ProjectAdmin "project:admin" O | A, "Change region, LiveKit address and credentials, and storage; delete and restore the project. Limits are the operator's.";
    TokensMint "tokens:mint" O | A | D | KEY, "Make, validate, refresh and revoke media tokens.";
    RoomsRead "rooms:read" O | A | D | V | KEY, "Read rooms and participants.";
    RoomsWrite "rooms:write" O | A | D | KEY, "Create and end rooms, remove and mute participants.";
    MediaRead "media:read" O | A | D | V | KEY, "Read egresses and ingresses.";
    MediaWrite "media:write" O | A | D | KEY, "Start and stop egresses and ingresses.";
    StorageRead "storage:read" O | A | D | V | KEY, "Read storage targets.";
    StorageWrite "storage:write" O | A | KEY, "Change storage targets and their credentials.";
    RecordingsRead "recordings:read" O | A | D | V | KEY, "Read and download recordings.";
    RecordingsWrite "recordings:write" O | A | D | KEY, "Delete recordings.";
    WebhooksRead "webhooks:read" O | A | D | V | KEY, "Read webhook endpoints and deliveries.";
    WebhooksWrite "webhooks:write" O | A | D | KEY, "Change webhook endpoints; resend and replay.";
    WebhooksSecrets "webhooks:secrets" O | A | KEY, "Rotate the secrets that sign webhooks.";
    EventsRead "events:read" O | A | D | V | KEY, "Read and watch events.";
    SessionsRead "sessions:read" O | A | D | V | KEY, "Read the history of room sessions.";
    UsageRead "usage:read" O | A | D | V | KEY, "Read usage.";
    AuditRead "audit:read" O | A | KEY, "Read the audit log.";
    KeysRead "keys:read" O | A | D | V | KEY, "Read key ids, scopes and last use.";
    KeysWrite "keys:write" O | A | KEY, "Create, rotate and revoke keys.";
    KeysRotateSelf "keys:rotate_self" KEY, "A key may rotate itself.";
}

impl Permission {
    /// The stable text, as in scopes.
    pub fn name(self) -> &'static str {
        Self::ROWS[self as usize].0
    }

    /// What it allows, as a sentence.
    pub fn meaning(self) -> &'static str {
        Self::ROWS[self as usize].2
    }

    /// Whether a key can have it as a scope.
    pub fn is_scope(self) -> bool {
        Self::ROWS[self as usize].1 & KEY != 0
    }

    /// Whether the role has it.
    pub fn is_for(self, role: Role) -> bool {
        let bit = match role {
            Role::Owner => O,
            Role::Admin => A,
            Role::Developer => D,
            Role::Viewer => V,
        };
        Self::ROWS[self as usize].1 & bit != 0
    }

    /// The permission of that name.
    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|permission| permission.name() == name)
    }
}

impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A set of permissions.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Permissions(u64);

impl Permissions {
    /// No permission.
    pub const NONE: Self = Self(0);

    /// The set of these.
    pub const fn of(list: &[Permission]) -> Self {
        let mut bits = 0;
        let mut position = 0;
        while position < list.len() {
            bits |= 1 << list[position] as u64;
            position += 1;
        }
        Self(bits)
    }

    /// Every scope that a key can have.
    pub fn all_scopes() -> Self {
        Permission::ALL.iter().copied().filter(|permission| permission.is_scope()).collect()
    }

    /// What a role may.
    pub fn of_role(role: Role) -> Self {
        Permission::ALL.iter().copied().filter(|permission| permission.is_for(role)).collect()
    }

    /// The scopes of the key that is made with a project: all but managing keys, storage
    /// credentials and the secrets that sign webhooks.
    pub fn default_key() -> Self {
        let withheld =
            [Permission::KeysWrite, Permission::KeysRotateSelf, Permission::StorageWrite, Permission::WebhooksSecrets];
        Permission::ALL.iter().copied().filter(|p| p.is_scope() && !withheld.contains(p)).collect()
    }

    /// Whether the permission is in the set.
    pub fn has(self, permission: Permission) -> bool {
        self.0 & (1 << permission as u64) != 0
    }

    /// The first of `needed` that is not in the set.
    pub fn missing(self, needed: Self) -> Option<Permission> {
        needed.iter().find(|permission| !self.has(*permission))
    }

    /// The permissions in the set, in the order of the table.
    pub fn iter(self) -> impl Iterator<Item = Permission> {
        Permission::ALL.iter().copied().filter(move |permission| self.has(*permission))
    }

    /// Whether the set is empty.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl FromIterator<Permission> for Permissions {
    fn from_iter<I: IntoIterator<Item = Permission>>(list: I) -> Self {
        Self(list.into_iter().fold(0, |bits, permission| bits | 1 << permission as u64))
    }
}

impl fmt::Debug for Permissions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter().map(Permission::name)).finish()
    }
}

impl Serialize for Permissions {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter().map(Permission::name))
    }
}

impl<'de> Deserialize<'de> for Permissions {
    /// A list of scopes; a permission that no key can have is refused.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let names = Vec::<String>::deserialize(deserializer)?;
        names
            .iter()
            .map(|name| {
                Permission::by_name(name)
                    .filter(|permission| permission.is_scope())
                    .ok_or_else(|| de::Error::custom(format_args!("{name:?} is not a scope")))
            })
            .collect()
    }
}

impl JsonSchema for Permissions {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Scopes".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let names: Vec<_> = Self::all_scopes().iter().map(Permission::name).collect();
        json_schema!({ "type": "array", "maxItems": 64, "items": { "type": "string", "enum": names } })
    }
}
