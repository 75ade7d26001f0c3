//! A new project, with its first key and, where it names a `webhook_url`, its first webhook endpoint.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    name_taken,
    settings::{address_faults, faults_or, livekit_faults, region_fault, seal_livekit, seal_storage},
    trail, with_endpoint,
};
use crate::{
    access::{Permission, Permissions},
    error::{Error, Fault, Result},
    id::{OrgId, ProjectId},
    media::preset::Preset,
    model::{
        project::{DEFAULT_REGION, Limits, Project, ProjectState, ProjectView},
        storage::StorageInput,
        text::{Labels, LiveKitUrl, Name, PresetName, RegionName, WebhookUrl},
    },
    op::{Cx, Meta, Method, Operation, Planned, Scope},
    ops::{diff::target, endpoints, keys},
    reconcile,
    repo::Document,
    secret::SecretText,
    store::{Batch, schema},
};

/// A new project and, this once, its key's secret.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CreatedProject {
    /// The project.
    #[serde(flatten)]
    pub project: ProjectView,
    /// The secret of its first key: shown now and never again. Absent in a dry run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pulse_api_secret: Option<SecretText>,
    /// The signing secret of the webhook endpoint of `webhook_url`: shown now and never again. Absent in a dry run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub webhook_secret: Option<SecretText>,
}

/// Create a project with its first key.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateProject {
    /// The organization.
    pub org_id: OrgId,
    /// Unique among the organization's living projects, without regard to case.
    pub name: Name,
    /// Where it runs; us-east when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<RegionName>,
    /// Labels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<Labels>,
    /// Where its webhooks go: makes its first webhook endpoint, for every type of event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub webhook_url: Option<WebhookUrl>,
    /// Where its recordings go.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage_config: Option<StorageInput>,
    /// Its own LiveKit, which posts its webhooks to `/v1/webhooks/livekit/{id}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub livekit_url: Option<LiveKitUrl>,
    /// The key of its own LiveKit. Never returned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub livekit_api_key: Option<String>,
    /// The secret of its own LiveKit. Never returned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub livekit_api_secret: Option<SecretText>,
    /// Bounds of its own; only the operator may.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<Limits>,
    /// Token presets of its own.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 50))]
    pub token_presets: BTreeMap<PresetName, Preset>,
}

impl CreateProject {
    fn faults(&self, cx: &Cx<'_>) -> Vec<Fault> {
        let (key, secret) = (self.livekit_api_key.is_some(), self.livekit_api_secret.is_some());
        let mut faults = livekit_faults(self.livekit_url.as_ref(), key, secret, &cx.parts.settings.livekit.url);
        faults.extend(self.region.as_ref().and_then(|region| region_fault(cx, region)));
        let (livekit, webhook, storage) =
            (self.livekit_url.as_ref(), self.webhook_url.as_ref(), self.storage_config.as_ref());
        faults.extend(address_faults(cx, livekit, webhook, storage));
        faults.extend(storage.into_iter().flat_map(|storage| storage.faults("storage_config")));
        faults
    }
}

impl Operation for CreateProject {
    type Output = CreatedProject;
    const META: Meta = Meta::mutation(
        "projects.create",
        Method::Post,
        "/v1/projects",
        &[Permission::ProjectCreate, Permission::System],
        "Create a project with its first key",
    )
    .creates()
    .reveals();

    fn scope(&self) -> Scope {
        Scope::Org(self.org_id)
    }

    fn needs(&self) -> Permissions {
        if self.limits.is_some() {
            Permissions::of(&[Permission::ProjectCreate, Permission::System])
        } else {
            Permissions::of(&[Permission::ProjectCreate])
        }
    }

    fn version_of(output: &CreatedProject) -> Option<u64> {
        Some(output.project.version)
    }

    fn without_secrets(output: CreatedProject) -> CreatedProject {
        CreatedProject { pulse_api_secret: None, webhook_secret: None, ..output }
    }

    fn conflict(&self, collection: &'static str, _: &'static str) -> Option<Error> {
        (collection == schema::PROJECTS.name).then(|| name_taken(&self.name))
    }

    async fn plan(&self, cx: &Cx<'_>) -> Result<Planned<CreatedProject>> {
        faults_or(self.faults(cx), ())?;
        let org = cx.parts.organizations.get(self.org_id).await?;
        let org = org.ok_or_else(|| Error::not_found("organization", self.org_id))?;
        if org.deleted_at.is_some() {
            return Err(Error::deleted("organization", org.id));
        }
        let id = ProjectId::new(cx.now, cx.parts.entropy.as_ref());
        let (id_text, org_text) = (id.to_string(), org.id.to_string());
        let storage_config =
            self.storage_config.as_ref().map(|input| seal_storage(cx, input, &id_text, &org_text)).transpose()?;
        let livekit_credentials = match (&self.livekit_api_key, &self.livekit_api_secret) {
            (Some(key), Some(secret)) => Some(seal_livekit(cx, key, secret, &id_text, &org_text)?),
            _ => None,
        };
        let (key, secret) = keys::first_key(cx, id)?;
        let project = Project {
            id,
            org_id: org.id,
            name: self.name.clone(),
            pulse_api_key: Some(key.public_text()),
            webhook_url: self.webhook_url.clone(),
            storage_config,
            livekit_url: self.livekit_url.clone(),
            livekit_credentials,
            region: self.region.clone().map_or_else(|| DEFAULT_REGION.parse().map_err(Error::internal), Ok)?,
            state: ProjectState::Active,
            suspended_at: None,
            suspend_reason: None,
            limits: self.limits.clone().unwrap_or_default(),
            labels: self.labels.clone().unwrap_or_default(),
            token_presets: self.token_presets.clone(),
            created_at: cx.now,
            updated_at: cx.now,
            deleted_at: None,
            purge_at: None,
            deleted_by: None,
            version: 1,
        };
        let mut batch = Batch::new();
        org.require_in(&mut batch);
        project.insert_into(&mut batch)?;
        key.insert_into(&mut batch)?;
        if project.livekit_credentials.is_some() {
            reconcile::watch(cx.parts, &id_text, &mut batch).await?;
        }
        // Of a new project, the endpoint's own guard is this one.
        let followed = endpoints::follow(cx, &project, &self.webhook_url.clone().into(), &mut batch).await?;
        if followed.touched.is_none() {
            cx.parts.keys.key_set(id).await?.guard(&mut batch)?;
        }
        let mut trail = trail(None, &project);
        trail.targets.push(target("key", key.id, Some(key.name.to_string())));
        let output = CreatedProject {
            project: project.view(followed.active),
            pulse_api_secret: Some(secret),
            webhook_secret: followed.secret.clone(),
        };
        Ok(with_endpoint(Planned::write(output, batch, trail), &followed).touching("keys", 1))
    }
}
