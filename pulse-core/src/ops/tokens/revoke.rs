//! Revokes media tokens by token, identity, room, or all of a project. LiveKit itself cannot be told: what is revoked is
//! not refreshed any more and validates as bad; a client that is connected stays connected.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Permission;
use crate::{
    error::{Error, Fault, Result},
    id::{ProjectId, RevocationId},
    media::{
        room::{Identity, RoomName},
        token::{ABSOLUTE_MAX_TTL_SECONDS, Jti, LIVEKIT_LEEWAY_SECONDS},
    },
    model::{
        revocation::{Revocation, SubjectKind},
        text::Note,
    },
    op::{Cx, Meta, Method, Operation, Planned, Scope, Trail},
    ops::diff::target,
    plane::check_usable,
    repo::{Document, revocations::StoredRevocation},
    store::Batch,
    time::Timestamp,
};

/// Revoke media tokens: name exactly one of `jti`, `identity`, `room_name` and `all`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RevokeTokens {
    /// The project; a project's key implies it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project_id: Option<ProjectId>,
    /// One token by its id, and all that were refreshed from it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub jti: Option<String>,
    /// All tokens of an identity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<Identity>,
    /// All tokens for a room.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub room_name: Option<RoomName>,
    /// All tokens of the project.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub all: Option<bool>,
    /// Only tokens issued before this; now when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Timestamp>,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Note>,
}

impl RevokeTokens {
    /// Just after the token of `jti` was made, by the clock that made it: a token that is named is hit, also when that
    /// clock was ahead of this one.
    fn just_after_the_named(&self) -> Option<Timestamp> {
        let made = Jti::parse(self.jti.as_deref()?)?.family.timestamp_ms();
        Some(Timestamp::from_millis(i64::try_from(made).ok()?).plus(Duration::from_millis(1)))
    }

    fn subject(&self) -> Result<(SubjectKind, String)> {
        let mut named = Vec::new();
        if let Some(jti) = &self.jti {
            let family = Jti::parse(jti).ok_or_else(|| {
                Error::invalid_field(
                    "jti",
                    "bad_format",
                    "must be the jti of a token that Pulse made, such as 01J....0",
                )
            })?;
            named.push((SubjectKind::Jti, family.family_text()));
        }
        named.extend(self.identity.as_ref().map(|identity| (SubjectKind::Identity, identity.to_string())));
        named.extend(self.room_name.as_ref().map(|room| (SubjectKind::Room, room.to_string())));
        named.extend(self.all.filter(|all| *all).map(|_| (SubjectKind::Project, String::new())));
        match (named.pop(), named.is_empty()) {
            (Some(subject), true) => Ok(subject),
            _ => {
                let fault =
                    |field| Fault::new(field, "exactly_one", "name exactly one of jti, identity, room_name and all");
                Err(Error::invalid(["jti", "identity", "room_name", "all"].map(fault).to_vec()))
            }
        }
    }
}

impl Operation for RevokeTokens {
    type Output = Revocation;
    const META: Meta = Meta::mutation(
        "tokens.revoke",
        Method::Post,
        "/v1/tokens/revoke",
        &[Permission::TokensMint],
        "Revoke media tokens by token, identity, room, or all of the project",
    );

    fn scope(&self) -> Scope {
        Scope::CallerProject(self.project_id)
    }

    async fn plan(&self, cx: &Cx<'_>) -> Result<Planned<Revocation>> {
        let (kind, value) = self.subject()?;
        let tenant = cx.tenant()?;
        check_usable(tenant)?;
        // A millisecond later than now, so that what was made in this very millisecond is hit as well.
        let just_after = cx.now.plus(Duration::from_millis(1));
        if self.before.is_some_and(|before| before > just_after) {
            return Err(Error::invalid_field("before", "in_the_future", "must not be in the future"));
        }
        let before =
            self.before.unwrap_or_else(|| self.just_after_the_named().map_or(just_after, |t| t.max(just_after)));
        let project_id = tenant.project.id;
        let existing = cx.parts.revocations.get(project_id, kind, &value).await?;
        let leeway = u64::try_from(LIVEKIT_LEEWAY_SECONDS).unwrap_or_default();
        let life = Duration::from_secs(u64::from(ABSOLUTE_MAX_TTL_SECONDS) + leeway);
        let earlier = existing.as_ref().map(|stored| stored.revocation.before);
        let revocation = Revocation {
            id: existing
                .as_ref()
                .map_or_else(|| RevocationId::new(cx.now, cx.parts.entropy.as_ref()), |old| old.revocation.id),
            project_id,
            kind,
            value,
            before: earlier.map_or(before, |earlier| earlier.max(before)),
            reason: self.reason.clone(),
            created_at: cx.now,
            expires_at: cx.now.max(before).plus(life),
        };
        let mut batch = Batch::new();
        match existing {
            None => StoredRevocation { revocation: revocation.clone(), version: 0 }.insert_into(&mut batch)?,
            Some(old) => {
                StoredRevocation { revocation: revocation.clone(), version: old.version }.replace_in(&mut batch)?;
            }
        }
        let targets = vec![
            target("revocation", revocation.id, None),
            target("project", project_id, Some(tenant.project.name.to_string())),
        ];
        let trail =
            Trail { org: Some(tenant.org.id), targets, changes: super::super::diff::changes(None, Some(&revocation)) };
        Ok(Planned::write(revocation, batch, trail))
    }
}
