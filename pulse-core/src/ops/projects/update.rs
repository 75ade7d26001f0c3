//! Changes of a project's fields. Absent ones stay, `null` clears.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    name_taken, read,
    settings::{address_faults, faults_or, livekit_faults, region_fault, seal_livekit, seal_storage},
    trail, with_endpoint,
};
use crate::{
    access::{Permission, Permissions},
    error::{Error, Fault, Result},
    id::ProjectId,
    media::preset::Preset,
    model::{
        project::{Limits, Project, ProjectState, ProjectView},
        storage::StorageInput,
        text::{Labels, LiveKitUrl, Name, PresetName, RegionName, WebhookUrl},
    },
    op::{Cx, Meta, Method, Operation, Planned, Scope},
    ops::endpoints,
    patch::Patch,
    reconcile,
    repo::Document,
    secret::SecretText,
    store::{Batch, schema},
};

/// A changed project and, when a webhook endpoint was made for its `webhook_url`, this once its secret.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct UpdatedProject {
    /// The project.
    #[serde(flatten)]
    pub project: ProjectView,
    /// The signing secret of the endpoint that was made: shown now and never again. Absent when none was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub webhook_secret: Option<SecretText>,
}

/// Change a project. Absent fields stay, `null` clears.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UpdateProject {
    /// Which.
    pub id: ProjectId,
    /// A new name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<Name>,
    /// All labels anew.
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    pub labels: Patch<Labels>,
    /// Where its webhooks go: makes or moves the webhook endpoint of this field; `null` deletes it. One that sends headers
    /// of its own moves to another scheme, host or port only by a change of the endpoint, with its headers anew.
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    pub webhook_url: Patch<WebhookUrl>,
    /// Where its recordings go, whole, credentials included.
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    pub storage_config: Patch<StorageInput>,
    /// Another region.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<RegionName>,
    /// Its own LiveKit, which posts its webhooks to `/v1/webhooks/livekit/{id}`; `null` goes back to the server's.
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    pub livekit_url: Patch<LiveKitUrl>,
    /// The key of its own LiveKit. Never returned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub livekit_api_key: Option<String>,
    /// The secret of its own LiveKit. Never returned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub livekit_api_secret: Option<SecretText>,
    /// Bounds of its own, all anew; only the operator may.
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    pub limits: Patch<Limits>,
    /// Token presets of its own, all anew.
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    #[schemars(extend("maxProperties" = 50))]
    pub token_presets: Patch<BTreeMap<PresetName, Preset>>,
    /// The version that was read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
}

impl UpdateProject {
    fn touches_livekit(&self) -> bool {
        !self.livekit_url.is_absent() || self.livekit_api_key.is_some() || self.livekit_api_secret.is_some()
    }

    fn faults(&self, cx: &Cx<'_>) -> Vec<Fault> {
        let mut faults = Vec::new();
        if self.touches_livekit() {
            let (key, secret) = (self.livekit_api_key.is_some(), self.livekit_api_secret.is_some());
            faults.extend(livekit_faults(self.livekit_url.set(), key, secret, &cx.parts.settings.livekit.url));
        }
        faults.extend(self.region.as_ref().and_then(|region| region_fault(cx, region)));
        let (livekit, webhook, storage) = (self.livekit_url.set(), self.webhook_url.set(), self.storage_config.set());
        faults.extend(address_faults(cx, livekit, webhook, storage));
        faults.extend(storage.into_iter().flat_map(|storage| storage.faults("storage_config")));
        faults
    }

    fn apply(&self, cx: &Cx<'_>, project: &mut Project) -> Result<()> {
        let (id, org) = (project.id.to_string(), project.org_id.to_string());
        if let Some(name) = &self.name {
            project.name = name.clone();
        }
        if let Some(region) = &self.region {
            project.region = region.clone();
        }
        project.labels = merged(&self.labels, &project.labels);
        project.limits = merged(&self.limits, &project.limits);
        project.token_presets = merged(&self.token_presets, &project.token_presets);
        self.webhook_url.clone().apply_to(&mut project.webhook_url);
        match &self.storage_config {
            Patch::Absent => {}
            Patch::Clear => project.storage_config = None,
            Patch::Set(input) => project.storage_config = Some(seal_storage(cx, input, &id, &org)?),
        }
        if self.touches_livekit() {
            self.livekit_url.clone().apply_to(&mut project.livekit_url);
            project.livekit_credentials = match (&self.livekit_api_key, &self.livekit_api_secret) {
                (Some(key), Some(secret)) => Some(seal_livekit(cx, key, secret, &id, &org)?),
                _ => None,
            };
        }
        Ok(())
    }
}

/// What a field is after a patch, where clearing means the default.
fn merged<T: Clone + Default>(patch: &Patch<T>, current: &T) -> T {
    match patch {
        Patch::Absent => current.clone(),
        Patch::Clear => T::default(),
        Patch::Set(value) => value.clone(),
    }
}

impl Operation for UpdateProject {
    type Output = UpdatedProject;
    const META: Meta = Meta::mutation(
        "projects.update",
        Method::Put,
        "/v1/projects/{id}",
        &[Permission::ProjectWrite, Permission::ProjectAdmin, Permission::System],
        "Change a project; absent fields stay, null clears",
    )
    .reveals()
    .versioned();

    fn scope(&self) -> Scope {
        Scope::Project(self.id)
    }

    fn needs(&self) -> Permissions {
        let admin = self.region.is_some() || self.touches_livekit() || !self.storage_config.is_absent();
        let needed = [
            (true, Permission::ProjectWrite),
            (admin, Permission::ProjectAdmin),
            (!self.limits.is_absent(), Permission::System),
        ];
        needed.into_iter().filter(|(needed, _)| *needed).map(|(_, permission)| permission).collect()
    }

    fn expected_version(&self) -> Option<u64> {
        self.version
    }

    fn version_of(output: &UpdatedProject) -> Option<u64> {
        Some(output.project.version)
    }

    fn without_secrets(output: UpdatedProject) -> UpdatedProject {
        UpdatedProject { webhook_secret: None, ..output }
    }

    fn conflict(&self, collection: &'static str, _: &'static str) -> Option<Error> {
        self.name.as_ref().filter(|_| collection == schema::PROJECTS.name).map(name_taken)
    }

    async fn plan(&self, cx: &Cx<'_>) -> Result<Planned<UpdatedProject>> {
        faults_or(self.faults(cx), ())?;
        let before = read(cx, self.id).await?;
        if before.state == ProjectState::Deleted {
            return Err(Error::deleted("project", self.id));
        }
        let mut after = before.clone();
        self.apply(cx, &mut after)?;
        let mut batch = Batch::new();
        let followed = endpoints::follow(cx, &after, &self.webhook_url, &mut batch).await?;
        if after == before && batch.is_empty() {
            let project = before.view(followed.active);
            return Ok(Planned::read(UpdatedProject { project, webhook_secret: None }));
        }
        if after.livekit_credentials.is_some() && before.livekit_credentials.is_none() {
            reconcile::watch(cx.parts, &self.id.to_string(), &mut batch).await?;
        }
        after.updated_at = cx.now;
        let after = after.replaced_in(&mut batch)?;
        batch.bump_generation();
        let project = after.view(followed.active);
        let output = UpdatedProject { project, webhook_secret: followed.secret.clone() };
        Ok(with_endpoint(Planned::write(output, batch, trail(Some(&before), &after)), &followed))
    }
}
