//! Organizations: who pays, and whose projects these are.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::text::{Email, Labels, Name};
use crate::{id::OrgId, time::Timestamp};

/// What an organization pays for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum Plan {
    /// For trying.
    #[default]
    Free,
    /// For products.
    Pro,
    /// For everything.
    Enterprise,
}

impl Plan {
    /// Requests a minute that a project may make; `None` is without limit.
    pub fn requests_per_minute(self) -> Option<u32> {
        match self {
            Self::Free => Some(100),
            Self::Pro => Some(1000),
            Self::Enterprise => None,
        }
    }
}

/// An organization as it is stored; `version` is the store's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Organization {
    /// The id.
    pub id: OrgId,
    /// Unique among the living, without regard to case.
    pub name: Name,
    /// Whom to write to.
    pub admin_email: Email,
    /// What it pays for.
    pub plan: Plan,
    /// The customer's labels.
    pub labels: Labels,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// When it was deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deleted_at: Option<Timestamp>,
    /// When it will be gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub purge_at: Option<Timestamp>,
    /// Grows by one with each change.
    #[serde(skip)]
    pub version: u64,
}

/// An organization as it is shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Organization")]
pub struct OrganizationView {
    /// The id.
    pub id: OrgId,
    /// Unique among the living, without regard to case.
    pub name: Name,
    /// Whom to write to.
    pub admin_email: Email,
    /// What it pays for.
    pub plan: Plan,
    /// The customer's labels.
    pub labels: Labels,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// When it was deleted; `null` while it lives.
    pub deleted_at: Option<Timestamp>,
    /// When a deleted organization will be gone for good.
    pub purge_at: Option<Timestamp>,
    /// Grows by one with each change; send it back to change only what you read.
    pub version: u64,
}

impl Organization {
    /// What a caller sees.
    pub fn view(&self) -> OrganizationView {
        let Self { id, name, admin_email, plan, labels, created_at, updated_at, deleted_at, purge_at, version } =
            self.clone();
        OrganizationView { id, name, admin_email, plan, labels, created_at, updated_at, deleted_at, purge_at, version }
    }
}
