//! Projects: the tenants of the media servers.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    storage::{StorageConfig, StorageView},
    text::{Labels, LiveKitUrl, Name, Note, PresetName, RegionName, WebhookUrl},
};
use crate::{
    access::seal::Sealed,
    id::{OrgId, ProjectId},
    media::preset::Preset,
    time::Timestamp,
};

/// The region of a project that names none.
pub const DEFAULT_REGION: &str = "us-east";
/// Regions that need no registration.
pub const KNOWN_REGIONS: [&str; 3] = ["us-east", "eu-west", "asia-south"];

/// Whether a project can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum ProjectState {
    /// It can.
    Active,
    /// The operator stopped it: its keys are refused and its tokens are bad.
    Suspended,
    /// It is deleted and waits for its purge.
    Deleted,
}

/// Bounds that hold for one project instead of its plan's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Requests a minute over all keys of the project, 1 to 1,000,000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub requests_per_minute: Option<u32>,
    /// The longest life of a media token in seconds, 60 to 2,592,000 (30 days); 86,400 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 60, max = 2_592_000))]
    pub max_token_ttl_seconds: Option<u32>,
}

/// The LiveKit credentials that a project brings along.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LiveKitCredentials {
    /// The key's name, which every token shows.
    pub api_key: String,
    /// The key's secret.
    pub api_secret: Sealed,
}

/// A project as it is stored; `version` is the store's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Project {
    /// The id.
    pub id: ProjectId,
    /// The organization.
    pub org_id: OrgId,
    /// Unique among the organization's living projects, without regard to case.
    pub name: Name,
    /// The current primary key's public text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pulse_api_key: Option<String>,
    /// Where its webhooks go.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub webhook_url: Option<WebhookUrl>,
    /// Where its recordings go.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage_config: Option<Box<StorageConfig>>,
    /// Its LiveKit; the server's own when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub livekit_url: Option<LiveKitUrl>,
    /// Its own LiveKit's credentials.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub livekit_credentials: Option<Box<LiveKitCredentials>>,
    /// Where it runs.
    pub region: RegionName,
    /// Whether it can be used.
    pub state: ProjectState,
    /// When it was suspended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suspended_at: Option<Timestamp>,
    /// Why it was suspended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suspend_reason: Option<Note>,
    /// Bounds of its own.
    pub limits: Limits,
    /// The customer's labels.
    pub labels: Labels,
    /// Its own token presets.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub token_presets: BTreeMap<PresetName, Preset>,
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
    /// The organization whose deletion took it along; restoring that brings it back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deleted_by: Option<OrgId>,
    /// Grows by one with each change.
    #[serde(skip)]
    pub version: u64,
}

/// A project as it is shown.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Project")]
pub struct ProjectView {
    /// The id.
    pub id: ProjectId,
    /// The organization.
    pub org_id: OrgId,
    /// Unique among the organization's living projects, without regard to case.
    pub name: Name,
    /// The current primary key's public text; it opens nothing alone.
    pub pulse_api_key: Option<String>,
    /// Where its webhooks go: the address of its first webhook endpoint, which comes, changes and goes with it.
    pub webhook_url: Option<WebhookUrl>,
    /// Whether the endpoint of `webhook_url` is active: there, and neither paused nor disabled.
    pub webhook_active: bool,
    /// Where its recordings go, without credentials.
    pub storage_config: Option<StorageView>,
    /// Its LiveKit; `null` for the server's own.
    pub livekit_url: Option<LiveKitUrl>,
    /// Whether it brings its own LiveKit credentials.
    pub own_livekit: bool,
    /// Where it runs.
    pub region: RegionName,
    /// Whether it can be used.
    pub state: ProjectState,
    /// When it was suspended.
    pub suspended_at: Option<Timestamp>,
    /// Why it was suspended.
    pub suspend_reason: Option<Note>,
    /// Bounds of its own.
    pub limits: Limits,
    /// The customer's labels.
    pub labels: Labels,
    /// Its own token presets.
    pub token_presets: BTreeMap<PresetName, Preset>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// When it was deleted; `null` while it lives.
    pub deleted_at: Option<Timestamp>,
    /// When a deleted project will be gone for good.
    pub purge_at: Option<Timestamp>,
    /// Grows by one with each change; send it back to change only what you read.
    pub version: u64,
}

impl Project {
    /// What a caller sees; `webhook_active` says whether the endpoint of its `webhook_url` is active.
    pub fn view(&self, webhook_active: bool) -> ProjectView {
        let own = self.clone();
        ProjectView {
            id: own.id,
            org_id: own.org_id,
            name: own.name,
            pulse_api_key: own.pulse_api_key,
            webhook_url: own.webhook_url,
            webhook_active,
            storage_config: own.storage_config.as_deref().map(StorageConfig::view),
            livekit_url: own.livekit_url,
            own_livekit: own.livekit_credentials.is_some(),
            region: own.region,
            state: own.state,
            suspended_at: own.suspended_at,
            suspend_reason: own.suspend_reason,
            limits: own.limits,
            labels: own.labels,
            token_presets: own.token_presets,
            created_at: own.created_at,
            updated_at: own.updated_at,
            deleted_at: own.deleted_at,
            purge_at: own.purge_at,
            version: own.version,
        }
    }
}
