//! Keys of a project: create, list, get, revoke; `rotation` replaces one by another.
//!
//! Every change to a project's keys also replaces the project's [`KeySet`](crate::repo::api_keys::KeySet), so that rules
//! about all keys of a project, such as "never without one", hold when two changes come at once. No key can get hold of
//! one that may more than itself: whatever makes a secret goes through `Draft::make`.

mod draft;
mod rotation;

pub(super) use draft::first_key;
pub use rotation::{CancelRotation, CommitRotation, RegenerateKeys, RotateKey, RotatedKey, Rotation};

use std::sync::Arc;

use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use draft::Draft;

use super::diff::{changes, target};
use crate::{
    access::{Permission, Permissions, key::Environment},
    error::{Code, Error, Fault, Result},
    id::{KeyId, ProjectId},
    model::{
        api_key::{ApiKey, ApiKeyView, Constraints, KeyState, MAX_LIVE_KEYS},
        audit::Target,
        project::Project,
        tenant::Tenant,
        text::Name,
    },
    op::{Cx, Meta, Method, Operation, Planned, Scope, Trail},
    page::{Cursor, Page, PageLimit},
    repo::Document,
    secret::SecretText,
    store::Batch,
    time::Timestamp,
};

/// A key and, this once, its secret.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CreatedKey {
    /// The key.
    #[serde(flatten)]
    pub key: ApiKeyView,
    /// Its secret: shown now and never again. Absent in a dry run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pulse_api_secret: Option<SecretText>,
}

fn cut(created: CreatedKey) -> CreatedKey {
    CreatedKey { pulse_api_secret: None, ..created }
}

fn key_target(key: &ApiKey) -> Target {
    target("key", key.id, Some(key.name.to_string()))
}

fn trail(project: &Project, targets: &[&ApiKey], before: Option<&ApiKey>, after: &ApiKey) -> Trail {
    let mut targets: Vec<_> = targets.iter().map(|key| key_target(key)).collect();
    targets.push(target("project", project.id, Some(project.name.to_string())));
    Trail { org: Some(project.org_id), targets, changes: changes(before, Some(after)) }
}

/// The project as it is now.
async fn project(cx: &Cx<'_>, id: ProjectId) -> Result<Project> {
    cx.parts.projects.get(id).await?.ok_or_else(|| Error::not_found("project", id))
}

/// The project as it is now, for another key; refuses when it cannot be used.
async fn usable_project(cx: &Cx<'_>, id: ProjectId) -> Result<Project> {
    let project = project(cx, id).await?;
    let tenant = cx.tenant()?;
    Tenant::new(Arc::clone(&tenant.org), project.clone(), tenant.project.has_bans).check_usable()?;
    Ok(project)
}

async fn read(cx: &Cx<'_>, project: ProjectId, id: KeyId) -> Result<ApiKey> {
    let key = cx.parts.keys.get(project, id).await?.ok_or_else(|| Error::not_found("key", id))?;
    cx.check_version("key", &id, key.version)?;
    Ok(key)
}

/// Begins a batch that adds to the project's keys.
async fn guarded(cx: &Cx<'_>, project: ProjectId) -> Result<Batch> {
    let mut batch = Batch::new();
    cx.parts.keys.key_set(project).await?.guard(&mut batch)?;
    Ok(batch)
}

/// Begins a batch that changes what the project's keys may: it drops the caches of all processes.
async fn guarded_change(cx: &Cx<'_>, project: ProjectId) -> Result<Batch> {
    let mut batch = guarded(cx, project).await?;
    batch.bump_generation();
    Ok(batch)
}

/// Writes the project with another primary key's public text.
fn set_primary(batch: &mut Batch, project: &Project, key: Option<&ApiKey>, now: Timestamp) -> Result<()> {
    let pulse_api_key = key.map(ApiKey::public_text);
    if project.pulse_api_key == pulse_api_key {
        return Ok(());
    }
    Project { pulse_api_key, updated_at: now, ..project.clone() }.replace_in(batch)
}

/// Create a key.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateKey {
    /// The project.
    pub id: ProjectId,
    /// What people call it.
    pub name: Name,
    /// live or test; live when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<Environment>,
    /// What it may do; when absent, all that a project's first key may.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scopes: Option<Permissions>,
    /// What narrows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub constraints: Option<Constraints>,
    /// From where it may be used, as networks in CIDR form; anywhere when absent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<String>", length(max = 100), extend("items" = { "type": "string", "format": "cidr" }))]
    pub networks: Vec<IpNet>,
    /// When it ends; never when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
}

impl CreateKey {
    fn faults(&self, cx: &Cx<'_>) -> Vec<Fault> {
        let mut faults = Vec::new();
        if self.expires_at.is_some_and(|end| end <= cx.now) {
            faults.push(Fault::new("expires_at", "in_the_past", "must be in the future"));
        }
        if self.scopes.is_some_and(Permissions::is_empty) {
            faults.push(Fault::new("scopes", "too_few", "must name at least one scope"));
        }
        faults
    }
}

impl Operation for CreateKey {
    type Output = CreatedKey;
    const META: Meta = Meta::mutation(
        "keys.create",
        Method::Post,
        "/v1/projects/{id}/keys",
        &[Permission::KeysWrite],
        "Create a key; its secret is shown this once",
    )
    .creates()
    .reveals();

    fn scope(&self) -> Scope {
        Scope::Project(self.id)
    }

    fn version_of(output: &CreatedKey) -> Option<u64> {
        Some(output.key.version)
    }

    fn without_secrets(output: CreatedKey) -> CreatedKey {
        cut(output)
    }

    async fn plan(&self, cx: &Cx<'_>) -> Result<Planned<CreatedKey>> {
        let faults = self.faults(cx);
        if !faults.is_empty() {
            return Err(Error::invalid(faults));
        }
        let project = usable_project(cx, self.id).await?;
        let draft = Draft {
            project: self.id,
            name: self.name.clone(),
            environment: self.environment.unwrap_or_default(),
            scopes: self.scopes.unwrap_or_else(Permissions::default_key),
            constraints: self.constraints.clone().unwrap_or_default(),
            networks: self.networks.clone(),
            expires_at: self.expires_at,
        };
        let (mut key, secret) = draft.make(cx)?;
        let mut batch = guarded(cx, self.id).await?;
        make_room(cx, self.id, &mut batch).await?;
        key.primary = project.pulse_api_key.is_none();
        if key.primary {
            set_primary(&mut batch, &project, Some(&key), cx.now)?;
        } else {
            project.require_in(&mut batch);
        }
        key.insert_into(&mut batch)?;
        let trail = trail(&project, &[&key], None, &key);
        let output = CreatedKey { key: key.view(cx.now, None), pulse_api_secret: Some(secret) };
        Ok(Planned::write(output, batch, trail).touching("keys", 1))
    }
}

/// Refuses when the project has as many working keys as it may; clears expired ones away.
async fn make_room(cx: &Cx<'_>, project: ProjectId, batch: &mut Batch) -> Result<()> {
    let live = cx.parts.keys.live(project).await?;
    let working = live.iter().filter(|key| key.works(cx.now)).count();
    if working >= MAX_LIVE_KEYS {
        return Err(Error::new(
            Code::Conflict,
            format!("the project has {MAX_LIVE_KEYS} keys, which is the most it can have"),
        )
        .hint("Revoke keys that are not used: pulse key list shows the last use of each."));
    }
    for expired in live.into_iter().filter(|key| !key.works(cx.now) && !key.primary).take(20) {
        ApiKey { state: KeyState::Revoked, revoked_at: expired.expires_at, ..expired }.replace_in(batch)?;
    }
    Ok(())
}

/// List the project's keys, newest first, without secrets.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ListKeys {
    /// The project.
    pub id: ProjectId,
    /// Revoked ones too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub include_revoked: Option<bool>,
    /// Rows on the page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<PageLimit>,
    /// `next_cursor` of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<Cursor>,
}

impl Operation for ListKeys {
    type Output = Page<ApiKeyView>;
    const META: Meta = Meta::read(
        "keys.list",
        "/v1/projects/{id}/keys",
        &[Permission::KeysRead],
        "List the project's keys, newest first, without secrets",
    );

    fn scope(&self) -> Scope {
        Scope::Project(self.id)
    }

    async fn plan(&self, cx: &Cx<'_>) -> Result<Planned<Self::Output>> {
        let include_revoked = self.include_revoked.unwrap_or(false);
        let page = cx.parts.keys.list(self.id, include_revoked, self.limit, self.cursor.as_ref()).await?;
        let mut data = Vec::with_capacity(page.data.len());
        for key in &page.data {
            data.push(shown(cx, key).await?);
        }
        Ok(Planned::read(Page { data, next_cursor: page.next_cursor }))
    }
}

/// The key with its last use, recorded or not yet.
async fn shown(cx: &Cx<'_>, key: &ApiKey) -> Result<ApiKeyView> {
    let recorded = cx.parts.key_uses.get(key.id).await?;
    let last = cx.parts.keyring.uses().get(&key.id).or(recorded);
    Ok(key.view(cx.now, last.as_ref()))
}

/// Get a key, without its secret.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GetKey {
    /// The project.
    pub id: ProjectId,
    /// The key.
    pub key_id: KeyId,
}

impl Operation for GetKey {
    type Output = ApiKeyView;
    const META: Meta = Meta::read(
        "keys.get",
        "/v1/projects/{id}/keys/{key_id}",
        &[Permission::KeysRead],
        "Get a key, without its secret",
    );

    fn scope(&self) -> Scope {
        Scope::Project(self.id)
    }

    fn version_of(output: &ApiKeyView) -> Option<u64> {
        Some(output.version)
    }

    async fn plan(&self, cx: &Cx<'_>) -> Result<Planned<ApiKeyView>> {
        let key = read(cx, self.id, self.key_id).await?;
        Ok(Planned::read(shown(cx, &key).await?))
    }
}

/// Revoke a key. It stops at once.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RevokeKey {
    /// The project.
    pub id: ProjectId,
    /// The key.
    pub key_id: KeyId,
    /// Revoke it even when the project is left without a key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub force: Option<bool>,
    /// The version that was read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
}

impl Operation for RevokeKey {
    type Output = ApiKeyView;
    const META: Meta = Meta::mutation(
        "keys.revoke",
        Method::Delete,
        "/v1/projects/{id}/keys/{key_id}",
        &[Permission::KeysWrite],
        "Revoke a key; it stops at once",
    )
    .versioned();

    fn scope(&self) -> Scope {
        Scope::Project(self.id)
    }

    fn expected_version(&self) -> Option<u64> {
        self.version
    }

    fn version_of(output: &ApiKeyView) -> Option<u64> {
        Some(output.version)
    }

    async fn plan(&self, cx: &Cx<'_>) -> Result<Planned<ApiKeyView>> {
        let project = project(cx, self.id).await?;
        let mut batch = guarded_change(cx, self.id).await?;
        let before = read(cx, self.id, self.key_id).await?;
        if before.state == KeyState::Revoked {
            return Ok(Planned::read(shown(cx, &before).await?));
        }
        let live = cx.parts.keys.live(self.id).await?;
        let staying = || live.iter().filter(|key| key.id != before.id && key.stays(cx.now));
        let others = staying().count();
        if others == 0 && before.works(cx.now) && !self.force.unwrap_or(false) {
            return Err(Error::new(Code::LastKey, format!("key {} is the last of project {}", before.id, self.id)));
        }
        let after = revoked(cx, &before).replaced_in(&mut batch)?;
        let unborn = unborn(&live, &before);
        if let Some(unborn) = unborn {
            revoked(cx, unborn).replace_in(&mut batch)?;
        }
        let heir = staying().max_by_key(|key| key.id).filter(|_| before.primary);
        if before.primary {
            let heir = heir.map(|key| ApiKey { primary: true, ..key.clone() }.replaced_in(&mut batch)).transpose()?;
            set_primary(&mut batch, &project, heir.as_ref(), cx.now)?;
        }
        let touched: Vec<&ApiKey> = [&before].into_iter().chain(unborn).chain(heir).collect();
        let trail = trail(&project, &touched, Some(&before), &after);
        Ok(Planned::write(shown(cx, &after).await?, batch, trail).touching("keys_left", others as u64))
    }
}

/// The successor that somebody has begun to make from the key. Who ends a key wants the end of that one, too.
fn unborn<'a>(live: &'a [ApiKey], key: &ApiKey) -> Option<&'a ApiKey> {
    live.iter().find(|other| Some(other.id) == key.rotated_to && other.state == KeyState::Pending)
}

fn revoked(cx: &Cx<'_>, key: &ApiKey) -> ApiKey {
    ApiKey { state: KeyState::Revoked, primary: false, revoked_at: Some(cx.now), ..key.clone() }
}
