//! Keys of a project: create, list, get, revoke, rotate in one step or two, and the plan's `regenerate-keys`.
//!
//! Every change to a project's keys also replaces the project's [`KeySet`](crate::repo::api_keys::KeySet), so that rules
//! about all keys of a project, such as "never without one", hold when two changes come at once.

use std::time::Duration;

use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::diff::{changes, target};
use crate::{
    access::{
        Permission, Permissions,
        key::{self, Environment},
    },
    error::{Code, Error, Fault, Result},
    id::{KeyId, ProjectId},
    model::{
        api_key::{ApiKey, ApiKeyView, Constraints, KeyState, KeyStatus, MAX_LIVE_KEYS},
        project::Project,
        text::Name,
    },
    op::{Cx, Meta, Method, Operation, Planned, Scope, Trail},
    page::{Cursor, Page, PageLimit},
    plane::check_usable,
    repo::Document,
    secret::SecretText,
    store::Batch,
    time::Timestamp,
};

/// For how long a replaced key still works when the request does not say, in seconds: a day.
const DEFAULT_OVERLAP_SECONDS: u32 = 86_400;
/// The longest overlap, in seconds: 30 days.
const MAX_OVERLAP_SECONDS: u32 = 2_592_000;
/// For how long a successor lives that nobody commits.
const PENDING_LIFE: Duration = Duration::from_secs(15 * 60);

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

/// What a new key is to be.
struct Draft {
    project: ProjectId,
    name: Name,
    environment: Environment,
    scopes: Permissions,
    constraints: Constraints,
    networks: Vec<IpNet>,
    expires_at: Option<Timestamp>,
}

fn make(cx: &Cx<'_>, draft: Draft) -> (ApiKey, SecretText) {
    let fresh = key::generate(draft.environment, cx.parts.entropy.as_ref());
    let key = ApiKey {
        id: KeyId::new(cx.now, cx.parts.entropy.as_ref()),
        project_id: draft.project,
        public_id: fresh.public_id,
        name: draft.name,
        environment: draft.environment,
        scopes: draft.scopes,
        constraints: draft.constraints,
        networks: draft.networks,
        state: KeyState::Active,
        primary: false,
        expires_at: draft.expires_at,
        final_expires_at: None,
        rotated_to: None,
        rotated_from: None,
        revoked_at: None,
        created_by: cx.call.caller.id(),
        created_at: cx.now,
        digest: cx.parts.keyring.digest(&fresh.secret),
        version: 1,
    };
    (key, SecretText::new(fresh.secret.expose()))
}

/// The key that is made with a project: its primary, with every scope but managing keys and storage credentials.
pub(super) fn first_key(cx: &Cx<'_>, project: ProjectId) -> Result<(ApiKey, SecretText)> {
    let draft = Draft {
        project,
        name: "default".parse().map_err(Error::internal)?,
        environment: Environment::Live,
        scopes: Permissions::default_key(),
        constraints: Constraints::default(),
        networks: Vec::new(),
        expires_at: None,
    };
    let (key, secret) = make(cx, draft);
    Ok((ApiKey { primary: true, ..key }, secret))
}

/// A successor with the scopes, constraints and networks of `old`.
fn successor(cx: &Cx<'_>, old: &ApiKey) -> (ApiKey, SecretText) {
    let draft = Draft {
        project: old.project_id,
        name: old.name.clone(),
        environment: old.environment,
        scopes: old.scopes,
        constraints: old.constraints.clone(),
        networks: old.networks.clone(),
        expires_at: None,
    };
    let (key, secret) = make(cx, draft);
    (ApiKey { primary: old.primary, rotated_from: Some(old.id), ..key }, secret)
}

fn key_target(key: &ApiKey) -> crate::op::Target {
    target("key", key.id, Some(key.name.to_string()))
}

fn trail(project: &Project, targets: &[&ApiKey], before: Option<&ApiKey>, after: &ApiKey) -> Trail {
    let mut targets: Vec<_> = targets.iter().map(|key| key_target(key)).collect();
    targets.push(target("project", project.id, Some(project.name.to_string())));
    Trail { org: Some(project.org_id), targets, changes: changes(before, Some(after)) }
}

/// The project as it is now, for a change to its keys; refuses when it cannot be used.
async fn project(cx: &Cx<'_>, id: ProjectId) -> Result<Project> {
    check_usable(cx.tenant()?)?;
    cx.parts.projects.get(id).await?.ok_or_else(|| Error::not_found("project", id))
}

async fn read(cx: &Cx<'_>, project: ProjectId, id: KeyId) -> Result<ApiKey> {
    let key = cx.parts.keys.get(project, id).await?.ok_or_else(|| Error::not_found("key", id))?;
    cx.check_version("key", &id, key.version)?;
    Ok(key)
}

/// A key that is about to be changed must still work.
async fn working(cx: &Cx<'_>, project: ProjectId, id: KeyId) -> Result<ApiKey> {
    let key = read(cx, project, id).await?;
    if key.works(cx.now) {
        return Ok(key);
    }
    Err(Error::new(Code::WrongState, format!("key {id} is {}", word(key.status(cx.now)))))
}

fn word(status: KeyStatus) -> &'static str {
    match status {
        KeyStatus::Active => "active",
        KeyStatus::Pending => "a pending successor",
        KeyStatus::Rotated => "rotated",
        KeyStatus::Expired => "expired",
        KeyStatus::Revoked => "revoked",
    }
}

/// Begins a batch that changes the project's keys: guarded, and dropping the caches.
async fn guarded(cx: &Cx<'_>, project: ProjectId) -> Result<Batch> {
    let mut batch = Batch::new();
    cx.parts.keys.key_set(project).await?.guard(&mut batch)?;
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

fn ended_at(now: Timestamp, overlap_seconds: u32, own: Option<Timestamp>) -> Timestamp {
    let end = now.plus(Duration::from_secs(overlap_seconds.into()));
    own.map_or(end, |own| own.min(end))
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

    /// A key never makes one that may more than itself.
    fn check_maker(&self, cx: &Cx<'_>, scopes: Permissions) -> Result<()> {
        let Some(maker) = cx.call.caller.key() else { return Ok(()) };
        if let Some(missing) = maker.key.scopes.missing(scopes) {
            return Err(Error::new(
                Code::Forbidden,
                format!("this key lacks the scope {missing} and cannot give it on"),
            ));
        }
        if !maker.key.constraints.is_empty() && self.constraints.as_ref() != Some(&maker.key.constraints) {
            return Err(Error::new(
                Code::Forbidden,
                "a key with constraints can only make keys with the same constraints",
            ));
        }
        if !maker.key.networks.is_empty() && self.networks != maker.key.networks {
            return Err(Error::new(Code::Forbidden, "a key with networks can only make keys with the same networks"));
        }
        Ok(())
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
        let project = project(cx, self.id).await?;
        let scopes = self.scopes.unwrap_or_else(Permissions::default_key);
        self.check_maker(cx, scopes)?;
        let mut batch = guarded(cx, self.id).await?;
        make_room(cx, self.id, &mut batch).await?;
        let (mut key, secret) = make(
            cx,
            Draft {
                project: self.id,
                name: self.name.clone(),
                environment: self.environment.unwrap_or_default(),
                scopes,
                constraints: self.constraints.clone().unwrap_or_default(),
                networks: self.networks.clone(),
                expires_at: self.expires_at,
            },
        );
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
    let last = cx.parts.keyring.fresh_use(key.id).or(recorded);
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
    );

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
        let project = cx.parts.projects.get(self.id).await?.ok_or_else(|| Error::not_found("project", self.id))?;
        let mut batch = guarded(cx, self.id).await?;
        let before = read(cx, self.id, self.key_id).await?;
        if before.state == KeyState::Revoked {
            return Ok(Planned::read(shown(cx, &before).await?));
        }
        let live = cx.parts.keys.live(self.id).await?;
        let others = live.iter().filter(|key| key.id != before.id && key.stays(cx.now)).count();
        if others == 0 && before.works(cx.now) && !self.force.unwrap_or(false) {
            return Err(Error::new(Code::LastKey, format!("key {} is the last of project {}", before.id, self.id)));
        }
        let after = ApiKey { state: KeyState::Revoked, primary: false, revoked_at: Some(cx.now), ..before.clone() };
        after.replace_in(&mut batch)?;
        if before.primary {
            let heir = live.iter().filter(|key| key.id != before.id && key.stays(cx.now)).max_by_key(|key| key.id);
            let heir = heir.map(|key| ApiKey { primary: true, ..key.clone() });
            if let Some(heir) = &heir {
                heir.replace_in(&mut batch)?;
            }
            set_primary(&mut batch, &project, heir.as_ref(), cx.now)?;
        }
        let after = ApiKey { version: before.version + 1, ..after };
        let trail = trail(&project, &[&before], Some(&before), &after);
        Ok(Planned::write(shown(cx, &after).await?, batch, trail).touching("keys_left", others as u64))
    }
}

/// What a rotation made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RotatedKey {
    /// The successor.
    #[serde(flatten)]
    pub key: ApiKeyView,
    /// Its secret: shown now and never again. Absent in a dry run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pulse_api_secret: Option<SecretText>,
    /// The key that it replaces, as it now is.
    pub replaces: ApiKeyView,
}

/// Replace a key. The old one works until its overlap is over.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RotateKey {
    /// The project.
    pub id: ProjectId,
    /// The key.
    pub key_id: KeyId,
    /// For how long the old key still works, in seconds, up to 30 days; a day when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 2_592_000))]
    pub overlap_seconds: Option<u32>,
    /// `false` makes a successor that works, leaves the old key alone, and dies in 15 minutes unless committed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<bool>,
}

fn overlap(seconds: Option<u32>) -> Result<u32> {
    match seconds.unwrap_or(DEFAULT_OVERLAP_SECONDS) {
        fits if fits <= MAX_OVERLAP_SECONDS => Ok(fits),
        _ => {
            Err(Error::invalid_field("overlap_seconds", "too_large", format!("must be at most {MAX_OVERLAP_SECONDS}")))
        }
    }
}

/// A key may rotate itself with `keys:rotate_self`, and others with `keys:write`.
fn check_rotator(cx: &Cx<'_>, key: KeyId) -> Result<()> {
    let Some(record) = cx.call.caller.key() else { return Ok(()) };
    let itself = record.key.id == key || record.key.rotated_from == Some(key);
    if record.key.scopes.has(Permission::KeysWrite) || (itself && record.key.scopes.has(Permission::KeysRotateSelf)) {
        return Ok(());
    }
    let scope = if itself { Permission::KeysRotateSelf } else { Permission::KeysWrite };
    Err(Error::new(Code::Forbidden, format!("this key does not have the scope {scope}")))
}

impl Operation for RotateKey {
    type Output = RotatedKey;
    const META: Meta = Meta::mutation(
        "keys.rotate",
        Method::Post,
        "/v1/projects/{id}/keys/{key_id}/rotate",
        &[Permission::KeysWrite, Permission::KeysRotateSelf],
        "Replace a key; the old one works until its overlap is over",
    )
    .creates()
    .reveals();

    fn scope(&self) -> Scope {
        Scope::Project(self.id)
    }

    fn needs(&self) -> Permissions {
        // One of the two in META, which depends on whose key it is: `check_rotator` asks for it.
        Permissions::NONE
    }

    fn version_of(output: &RotatedKey) -> Option<u64> {
        Some(output.key.version)
    }

    fn without_secrets(output: RotatedKey) -> RotatedKey {
        RotatedKey { pulse_api_secret: None, ..output }
    }

    async fn plan(&self, cx: &Cx<'_>) -> Result<Planned<RotatedKey>> {
        check_rotator(cx, self.key_id)?;
        let overlap = overlap(self.overlap_seconds)?;
        let project = project(cx, self.id).await?;
        let mut batch = guarded(cx, self.id).await?;
        make_room(cx, self.id, &mut batch).await?;
        let old = working(cx, self.id, self.key_id).await?;
        refuse_second_rotation(cx, &old).await?;
        let (mut new, secret) = successor(cx, &old);
        let mut after = ApiKey { rotated_to: Some(new.id), ..old.clone() };
        if self.commit.unwrap_or(true) {
            new.expires_at = old.expires_at;
            after.state = KeyState::Rotated;
            after.primary = false;
            after.expires_at = Some(ended_at(cx.now, overlap, old.expires_at));
            if old.primary {
                set_primary(&mut batch, &project, Some(&new), cx.now)?;
            }
        } else {
            new.state = KeyState::Pending;
            new.primary = false;
            new.expires_at = Some(cx.now.plus(PENDING_LIFE));
            new.final_expires_at = old.expires_at;
        }
        after.replace_in(&mut batch)?;
        new.insert_into(&mut batch)?;
        let after = ApiKey { version: old.version + 1, ..after };
        let trail = trail(&project, &[&old, &new], Some(&old), &after);
        let output = RotatedKey {
            key: new.view(cx.now, None),
            pulse_api_secret: Some(secret),
            replaces: shown(cx, &after).await?,
        };
        Ok(Planned::write(output, batch, trail).touching("keys", 1))
    }
}

/// A key has one successor at a time: a pending one must be committed or cancelled first, unless its time is over.
async fn refuse_second_rotation(cx: &Cx<'_>, old: &ApiKey) -> Result<()> {
    let Some(next) = old.rotated_to else { return Ok(()) };
    if old.state == KeyState::Rotated {
        return Err(
            Error::new(Code::WrongState, format!("key {} was rotated to {next}", old.id)).hint("Rotate that one.")
        );
    }
    let pending = cx.parts.keys.get(old.project_id, next).await?.filter(|key| key.works(cx.now));
    match pending {
        None => Ok(()),
        Some(next) => {
            Err(Error::new(Code::RotationPending, format!("key {} has a pending successor, {}", old.id, next.id)))
        }
    }
}

/// The pending successor of a key.
async fn pending(cx: &Cx<'_>, old: &ApiKey) -> Result<ApiKey> {
    let none = || Error::new(Code::WrongState, format!("key {} has no pending successor", old.id));
    let next = old.rotated_to.ok_or_else(none)?;
    let next = cx.parts.keys.get(old.project_id, next).await?.ok_or_else(none)?;
    match next.status(cx.now) {
        KeyStatus::Pending => Ok(next),
        KeyStatus::Expired => {
            Err(Error::new(Code::Gone, format!("the pending successor {} was not committed in time", next.id))
                .hint("Begin the rotation again."))
        }
        KeyStatus::Active | KeyStatus::Rotated | KeyStatus::Revoked => Err(none()),
    }
}

/// Finish a rotation that was begun with `commit: false`: the successor stays, the old key ends after the overlap.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CommitRotation {
    /// The project.
    pub id: ProjectId,
    /// The old key.
    pub key_id: KeyId,
    /// For how long the old key still works, in seconds, up to 30 days; a day when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 2_592_000))]
    pub overlap_seconds: Option<u32>,
}

/// What the end of a rotation leaves.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Rotation {
    /// The successor.
    #[serde(flatten)]
    pub key: ApiKeyView,
    /// The old key.
    pub replaces: ApiKeyView,
}

impl Operation for CommitRotation {
    type Output = Rotation;
    const META: Meta = Meta::mutation(
        "keys.rotate_commit",
        Method::Post,
        "/v1/projects/{id}/keys/{key_id}/rotate/commit",
        &[Permission::KeysWrite, Permission::KeysRotateSelf],
        "Finish a rotation: the successor stays, the old key ends after the overlap",
    );

    fn scope(&self) -> Scope {
        Scope::Project(self.id)
    }

    fn needs(&self) -> Permissions {
        // One of the two in META, which depends on whose key it is: `check_rotator` asks for it.
        Permissions::NONE
    }

    async fn plan(&self, cx: &Cx<'_>) -> Result<Planned<Rotation>> {
        check_rotator(cx, self.key_id)?;
        let overlap = overlap(self.overlap_seconds)?;
        let project = project(cx, self.id).await?;
        let mut batch = guarded(cx, self.id).await?;
        let old = read(cx, self.id, self.key_id).await?;
        let next = pending(cx, &old).await?;
        let new = ApiKey {
            state: KeyState::Active,
            primary: old.primary,
            expires_at: next.final_expires_at,
            final_expires_at: None,
            ..next.clone()
        };
        let after = ApiKey {
            state: KeyState::Rotated,
            primary: false,
            expires_at: Some(ended_at(cx.now, overlap, old.expires_at)),
            ..old.clone()
        };
        if old.primary {
            set_primary(&mut batch, &project, Some(&new), cx.now)?;
        }
        new.replace_in(&mut batch)?;
        after.replace_in(&mut batch)?;
        let (new, after) = (ApiKey { version: new.version + 1, ..new }, ApiKey { version: after.version + 1, ..after });
        let trail = trail(&project, &[&old, &new], Some(&old), &after);
        let output = Rotation { key: shown(cx, &new).await?, replaces: shown(cx, &after).await? };
        Ok(Planned::write(output, batch, trail))
    }
}

/// Give up a rotation that was begun with `commit: false`: the successor is revoked, the old key is as it was.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CancelRotation {
    /// The project.
    pub id: ProjectId,
    /// The old key.
    pub key_id: KeyId,
}

impl Operation for CancelRotation {
    type Output = Rotation;
    const META: Meta = Meta::mutation(
        "keys.rotate_cancel",
        Method::Delete,
        "/v1/projects/{id}/keys/{key_id}/rotate",
        &[Permission::KeysWrite, Permission::KeysRotateSelf],
        "Give up a rotation: the successor is revoked, the old key is as it was",
    );

    fn scope(&self) -> Scope {
        Scope::Project(self.id)
    }

    fn needs(&self) -> Permissions {
        // One of the two in META, which depends on whose key it is: `check_rotator` asks for it.
        Permissions::NONE
    }

    async fn plan(&self, cx: &Cx<'_>) -> Result<Planned<Rotation>> {
        check_rotator(cx, self.key_id)?;
        let project = cx.parts.projects.get(self.id).await?.ok_or_else(|| Error::not_found("project", self.id))?;
        let mut batch = guarded(cx, self.id).await?;
        let old = read(cx, self.id, self.key_id).await?;
        let next = pending(cx, &old).await?;
        let gone = ApiKey { state: KeyState::Revoked, revoked_at: Some(cx.now), ..next.clone() };
        let after = ApiKey { rotated_to: None, ..old.clone() };
        gone.replace_in(&mut batch)?;
        after.replace_in(&mut batch)?;
        let (gone, after) =
            (ApiKey { version: gone.version + 1, ..gone }, ApiKey { version: after.version + 1, ..after });
        let trail = trail(&project, &[&old, &next], Some(&old), &after);
        let output = Rotation { key: shown(cx, &gone).await?, replaces: shown(cx, &after).await? };
        Ok(Planned::write(output, batch, trail))
    }
}

/// Make a new primary key and end the old primary; other keys stay.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RegenerateKeys {
    /// The project.
    pub id: ProjectId,
    /// For how long the old primary still works, in seconds, up to 30 days; not at all when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 2_592_000))]
    pub overlap_seconds: Option<u32>,
}

impl Operation for RegenerateKeys {
    type Output = CreatedKey;
    const META: Meta = Meta::mutation(
        "projects.regenerate_keys",
        Method::Post,
        "/v1/projects/{id}/regenerate-keys",
        &[Permission::KeysWrite],
        "Make a new primary key and end the old primary; other keys stay",
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
        let overlap = overlap(Some(self.overlap_seconds.unwrap_or(0)))?;
        let project = project(cx, self.id).await?;
        let mut batch = guarded(cx, self.id).await?;
        make_room(cx, self.id, &mut batch).await?;
        let live = cx.parts.keys.live(self.id).await?;
        let old = live.into_iter().find(|key| key.primary);
        let (new, secret) = match &old {
            Some(old) => successor(cx, old),
            None => first_key(cx, self.id)?,
        };
        let new = ApiKey { primary: true, ..new };
        if let Some(old) = &old {
            let revoked = overlap == 0;
            let after = ApiKey {
                state: if revoked { KeyState::Revoked } else { KeyState::Rotated },
                revoked_at: revoked.then_some(cx.now),
                primary: false,
                rotated_to: Some(new.id),
                expires_at: Some(ended_at(cx.now, overlap, old.expires_at)),
                ..old.clone()
            };
            after.replace_in(&mut batch)?;
        }
        new.insert_into(&mut batch)?;
        set_primary(&mut batch, &project, Some(&new), cx.now)?;
        let targets: Vec<&ApiKey> = old.iter().chain([&new]).collect();
        let trail = trail(&project, &targets, None, &new);
        let output = CreatedKey { key: new.view(cx.now, None), pulse_api_secret: Some(secret) };
        Ok(Planned::write(output, batch, trail).touching("keys", targets.len() as u64))
    }
}
