//! Projects: create, list, get, update; `lifecycle` stops them and lets them go on. The webhook endpoint of a project's
//! `webhook_url` follows the field in the same batch.

mod lifecycle;

pub(crate) use lifecycle::revived;
pub use lifecycle::{DeleteProject, RestoreProject, ResumeProject, SuspendProject};

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    diff::{changes, target},
    endpoints::{self, Followed, url_fault},
    keys,
};
use crate::{
    access::{Permission, Permissions, seal::Place},
    error::{Code, Error, Fault, Result},
    id::{OrgId, ProjectId},
    media::{cluster::secret_place, preset::Preset},
    model::{
        organization::Plan,
        project::{DEFAULT_REGION, KNOWN_REGIONS, Limits, LiveKitCredentials, Project, ProjectState, ProjectView},
        storage::{StorageConfig, StorageInput},
        text::{LabelFilter, Labels, LiveKitUrl, Name, PresetName, RegionName, WebhookUrl},
    },
    op::{Cx, Meta, Method, Operation, Planned, Scope, Trail},
    outbound::Trust,
    page::{Cursor, Page, PageLimit},
    patch::Patch,
    repo::{Document, projects::ProjectFilter},
    secret::SecretText,
    store::{Batch, schema},
};

fn trail(before: Option<&Project>, after: &Project) -> Trail {
    Trail {
        org: Some(after.org_id),
        targets: vec![target("project", after.id, Some(after.name.to_string()))],
        changes: changes(before, Some(after)),
    }
}

fn name_taken(name: &Name) -> Error {
    Error::new(Code::NameTaken, format!("the organization has a project named {:?}", name.as_str()))
}

async fn read(cx: &Cx<'_>, id: ProjectId) -> Result<Project> {
    let project = cx.parts.projects.get(id).await?.ok_or_else(|| Error::not_found("project", id))?;
    cx.check_version("project", &id, project.version)?;
    Ok(project)
}

/// The project as a caller sees it.
async fn shown(cx: &Cx<'_>, project: &Project) -> Result<ProjectView> {
    // Most have no `webhook_url`, and one without has no endpoint of it.
    let active = project.webhook_url.is_some() && cx.parts.endpoints.is_webhook_url_active(project.id).await?;
    Ok(project.view(active))
}

/// The plan of replacing a project by its changed form.
async fn replacing(cx: &Cx<'_>, before: &Project, after: Project) -> Result<Planned<ProjectView>> {
    let mut batch = Batch::new();
    let after = after.replaced_in(&mut batch)?;
    batch.bump_generation();
    Ok(Planned::write(shown(cx, &after).await?, batch, trail(Some(before), &after)))
}

/// Adds the endpoint that a change of `webhook_url` touched to the trail, and what hangs on it to the counts.
fn with_endpoint<O>(mut planned: Planned<O>, followed: &Followed) -> Planned<O> {
    let Some(endpoint) = &followed.touched else { return planned };
    planned.trail.targets.push(target("endpoint", endpoint.id, Some(endpoint.url.to_string())));
    if followed.secret.is_some() {
        planned = planned.touching("endpoints", 1);
    }
    match followed.pending {
        Some(pending) => planned.touching("deliveries_pending", pending),
        None => planned,
    }
}

fn region_fault(cx: &Cx<'_>, region: &RegionName) -> Option<Fault> {
    let own = &cx.parts.settings.regions;
    let known = KNOWN_REGIONS.contains(&region.as_str()) || own.iter().any(|name| name == region.as_str());
    (!known).then(|| {
        let all: Vec<&str> = KNOWN_REGIONS.into_iter().chain(own.iter().map(String::as_str)).collect();
        Fault::new("region", "unknown_region", format!("is not a region of this installation: {}", all.join(", ")))
    })
}

/// Faults of addresses to which this installation never connects: what a URL tells by itself. Names are judged when they
/// are resolved. The installation's own LiveKit is the operator's word, and may be anywhere.
fn address_faults(
    cx: &Cx<'_>,
    livekit: Option<&LiveKitUrl>,
    webhook: Option<&WebhookUrl>,
    storage: Option<&StorageInput>,
) -> Vec<Fault> {
    let policy = cx.parts.outbound.policy();
    let fault = |field: &str, text: &str, trust: Trust| {
        let refusal = policy.check_url(&text.parse().ok()?, trust).err()?;
        Some(Fault::new(field, refusal.code(), refusal.to_string()))
    };
    let own = livekit.map(LiveKitUrl::as_str).filter(|url| *url != cx.parts.settings.livekit.url);
    let endpoint = storage.and_then(|storage| storage.endpoint.as_ref());
    let faults = [
        own.and_then(|url| fault("livekit_url", url, Trust::Tenant)),
        webhook.and_then(|url| url_fault(cx.parts, "webhook_url", url)),
        // Uploads to it are LiveKit's egress's business; Pulse itself goes there only within PULSE_OUTBOUND_ONLY.
        endpoint.and_then(|url| fault("storage_config.endpoint", url.as_str(), Trust::Operator)),
    ];
    faults.into_iter().flatten().collect()
}

fn seal_storage(cx: &Cx<'_>, input: &StorageInput, id: &str, org: &str) -> Result<Box<StorageConfig>> {
    let place = Place { collection: schema::PROJECTS.name, field: "storage_config", id, org };
    let credentials = serde_json::to_vec(&input.credentials()).map_err(Error::internal)?;
    let sealed = cx.parts.sealer.seal(place, &credentials, cx.parts.entropy.as_ref())?;
    Ok(Box::new(input.clone().sealed(sealed)))
}

fn seal_livekit(cx: &Cx<'_>, key: &str, secret: &SecretText, id: &str, org: &str) -> Result<Box<LiveKitCredentials>> {
    let place = secret_place(id, org);
    let api_secret = cx.parts.sealer.seal(place, secret.expose().as_bytes(), cx.parts.entropy.as_ref())?;
    Ok(Box::new(LiveKitCredentials { api_key: key.to_owned(), api_secret }))
}

/// The rules that bind a LiveKit address and its credentials together.
fn livekit_faults(url: Option<&LiveKitUrl>, key: bool, secret: bool, server_url: &str) -> Vec<Fault> {
    let foreign = url.is_some_and(|url| url.as_str() != server_url);
    let required =
        |field: &str| Fault::new(field, "required", "is required for a LiveKit that is not the server's own");
    let mut faults = Vec::new();
    if (foreign || secret) && !key {
        faults.push(required("livekit_api_key"));
    }
    if (foreign || key) && !secret {
        faults.push(required("livekit_api_secret"));
    }
    if (key || secret) && url.is_none() {
        faults.push(Fault::new("livekit_url", "required", "is required with credentials of its own"));
    }
    faults
}

fn faults_or<T>(faults: Vec<Fault>, value: T) -> Result<T> {
    if faults.is_empty() { Ok(value) } else { Err(Error::invalid(faults)) }
}

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
    /// Its own LiveKit.
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

/// List projects, newest first.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ListProjects {
    /// Of this organization.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub org_id: Option<OrgId>,
    /// Names that begin so, without regard to case.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 100))]
    pub name_prefix: Option<String>,
    /// Whose organization has this plan.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<Plan>,
    /// In this region.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<RegionName>,
    /// With all of these labels, written `key:value`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 10))]
    pub label: Vec<LabelFilter>,
    /// Deleted ones too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub include_deleted: Option<bool>,
    /// Rows on the page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<PageLimit>,
    /// `next_cursor` of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<Cursor>,
}

impl Operation for ListProjects {
    type Output = Page<ProjectView>;
    const META: Meta =
        Meta::read("projects.list", "/v1/projects", &[Permission::ProjectRead], "List projects, newest first");

    fn scope(&self) -> Scope {
        Scope::Visible
    }

    async fn plan(&self, cx: &Cx<'_>) -> Result<Planned<Self::Output>> {
        let filter = ProjectFilter {
            org: self.org_id,
            plan: self.plan,
            name_prefix: self.name_prefix.clone(),
            region: self.region.clone(),
            labels: self.label.clone(),
            include_deleted: self.include_deleted.unwrap_or(false),
        };
        let visible = cx.call.caller.visible();
        let mut page = cx.parts.projects.list(visible, &filter, self.limit, self.cursor.as_ref()).await?;
        if let Some(plan) = self.plan {
            let mut kept = Vec::with_capacity(page.data.len());
            for project in page.data {
                if cx.parts.keyring.organization(project.org_id).await?.is_some_and(|org| org.plan == plan) {
                    kept.push(project);
                }
            }
            page.data = kept;
        }
        let mut data = Vec::with_capacity(page.data.len());
        for project in &page.data {
            data.push(shown(cx, project).await?);
        }
        Ok(Planned::read(Page { data, next_cursor: page.next_cursor }))
    }
}

/// Get a project.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GetProject {
    /// Which.
    pub id: ProjectId,
}

impl Operation for GetProject {
    type Output = ProjectView;
    const META: Meta = Meta::read("projects.get", "/v1/projects/{id}", &[Permission::ProjectRead], "Get a project");

    fn scope(&self) -> Scope {
        Scope::Project(self.id)
    }

    fn version_of(output: &ProjectView) -> Option<u64> {
        Some(output.version)
    }

    async fn plan(&self, cx: &Cx<'_>) -> Result<Planned<ProjectView>> {
        Ok(Planned::read(shown(cx, &read(cx, self.id).await?).await?))
    }
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
    /// Where its webhooks go: makes or moves the webhook endpoint of this field; `null` deletes it.
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    pub webhook_url: Patch<WebhookUrl>,
    /// Where its recordings go, whole, credentials included.
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    pub storage_config: Patch<StorageInput>,
    /// Another region.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<RegionName>,
    /// Its own LiveKit; `null` goes back to the server's.
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
        after.updated_at = cx.now;
        let after = after.replaced_in(&mut batch)?;
        batch.bump_generation();
        let project = after.view(followed.active);
        let output = UpdatedProject { project, webhook_secret: followed.secret.clone() };
        Ok(with_endpoint(Planned::write(output, batch, trail(Some(&before), &after)), &followed))
    }
}
