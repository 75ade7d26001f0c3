//! Rotation: one key replaced by another, in one step or in two (begin, then commit or cancel), and the plan's
//! `regenerate-keys`.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    CreatedKey, Draft, cut, first_key, guarded_change, make_room, project, read, revoked, set_primary, shown, trail,
    unborn, usable_project,
};
use crate::{
    access::{Caller, Permission, Permissions, caller::unauthenticated},
    error::{Code, Error, Result},
    id::{KeyId, ProjectId},
    model::api_key::{ApiKey, ApiKeyView, KeyState, KeyStatus},
    op::{Cx, Meta, Method, Operation, Planned, Scope},
    repo::Document,
    secret::SecretText,
    time::Timestamp,
};

/// For how long a replaced key still works when the request does not say, in seconds: a day.
const DEFAULT_OVERLAP_SECONDS: u32 = 86_400;
/// The longest overlap, in seconds: 30 days.
const MAX_OVERLAP_SECONDS: u32 = 2_592_000;
/// For how long a successor lives that nobody commits.
const PENDING_LIFE: Duration = Duration::from_secs(15 * 60);

/// The key, which must still work.
async fn working(cx: &Cx<'_>, project: ProjectId, id: KeyId) -> Result<ApiKey> {
    let key = read(cx, project, id).await?;
    let ended = match key.status(cx.now) {
        KeyStatus::Active | KeyStatus::Pending | KeyStatus::Rotated => return Ok(key),
        KeyStatus::Expired => "expired",
        KeyStatus::Revoked => "revoked",
    };
    Err(Error::new(Code::WrongState, format!("key {id} is {ended}")))
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

fn ended_at(now: Timestamp, overlap_seconds: u32, own: Option<Timestamp>) -> Timestamp {
    let end = now.plus(Duration::from_secs(overlap_seconds.into()));
    own.map_or(end, |own| own.min(end))
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
    let record = match &cx.call.caller {
        Caller::Operator(_) => return Ok(()),
        Caller::Key(caller) => &caller.record,
        Caller::Anonymous => return Err(unauthenticated()),
    };
    let itself = record.id == key || record.rotated_from() == Some(key);
    if record.scopes.has(Permission::KeysWrite) || (itself && record.scopes.has(Permission::KeysRotateSelf)) {
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
    .reveals()
    .versioned();

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
        let project = usable_project(cx, self.id).await?;
        let mut batch = guarded_change(cx, self.id).await?;
        make_room(cx, self.id, &mut batch).await?;
        let old = working(cx, self.id, self.key_id).await?;
        check_rotatable(cx, &old).await?;
        let (mut new, secret) = successor(cx, &old)?;
        let mut after = ApiKey { rotated_to: Some(new.id), ..old.clone() };
        if self.commit.unwrap_or(true) {
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
        let after = after.replaced_in(&mut batch)?;
        new.insert_into(&mut batch)?;
        let trail = trail(&project, &[&old, &new], Some(&old), &after);
        let output = RotatedKey {
            key: new.view(cx.now, None),
            pulse_api_secret: Some(secret),
            replaces: shown(cx, &after).await?,
        };
        Ok(Planned::write(output, batch, trail).touching("keys", 1))
    }
}

/// A successor of `old` that takes its place as the primary key.
fn successor(cx: &Cx<'_>, old: &ApiKey) -> Result<(ApiKey, SecretText)> {
    let (key, secret) = Draft::successor(old, cx.now).make(cx)?;
    Ok((ApiKey { primary: old.primary, rotated_from: Some(old.id), ..key }, secret))
}

/// A key has one successor at a time: a pending one must be committed or cancelled first, unless its time is over.
async fn check_rotatable(cx: &Cx<'_>, old: &ApiKey) -> Result<()> {
    if old.state == KeyState::Pending {
        return Err(Error::new(Code::WrongState, format!("key {} is a successor that is not committed yet", old.id))
            .hint("Commit or cancel its own rotation first."));
    }
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
    )
    .versioned();

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
        let project = usable_project(cx, self.id).await?;
        let mut batch = guarded_change(cx, self.id).await?;
        let old = working(cx, self.id, self.key_id).await?;
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
        let (new, after) = (new.replaced_in(&mut batch)?, after.replaced_in(&mut batch)?);
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
    )
    .versioned();

    fn scope(&self) -> Scope {
        Scope::Project(self.id)
    }

    fn needs(&self) -> Permissions {
        // One of the two in META, which depends on whose key it is: `check_rotator` asks for it.
        Permissions::NONE
    }

    async fn plan(&self, cx: &Cx<'_>) -> Result<Planned<Rotation>> {
        check_rotator(cx, self.key_id)?;
        let project = project(cx, self.id).await?;
        let mut batch = guarded_change(cx, self.id).await?;
        let old = read(cx, self.id, self.key_id).await?;
        let next = pending(cx, &old).await?;
        let gone = revoked(cx, &next).replaced_in(&mut batch)?;
        let after = ApiKey { rotated_to: None, ..old.clone() }.replaced_in(&mut batch)?;
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
        let project = usable_project(cx, self.id).await?;
        let mut batch = guarded_change(cx, self.id).await?;
        make_room(cx, self.id, &mut batch).await?;
        let live = cx.parts.keys.live(self.id).await?;
        let old = live.iter().find(|key| key.primary);
        let (new, secret) = match old {
            Some(old) => successor(cx, old)?,
            None => first_key(cx, self.id)?,
        };
        let new = ApiKey { primary: true, ..new };
        if let Some(old) = old {
            let ends_now = overlap == 0;
            let after = ApiKey {
                state: if ends_now { KeyState::Revoked } else { KeyState::Rotated },
                revoked_at: ends_now.then_some(cx.now),
                primary: false,
                rotated_to: Some(new.id),
                expires_at: Some(ended_at(cx.now, overlap, old.expires_at)),
                ..old.clone()
            };
            after.replace_in(&mut batch)?;
        }
        let unborn = old.and_then(|old| unborn(&live, old));
        if let Some(unborn) = unborn {
            revoked(cx, unborn).replace_in(&mut batch)?;
        }
        new.insert_into(&mut batch)?;
        set_primary(&mut batch, &project, Some(&new), cx.now)?;
        let targets: Vec<&ApiKey> = old.into_iter().chain(unborn).chain([&new]).collect();
        let trail = trail(&project, &targets, None, &new);
        let output = CreatedKey { key: new.view(cx.now, None), pulse_api_secret: Some(secret) };
        Ok(Planned::write(output, batch, trail).touching("keys", targets.len() as u64))
    }
}
