//! Revokes media tokens by token, identity, room, or all of a project. LiveKit itself cannot be told to refuse a token: what
//! is revoked is not refreshed any more and validates as bad, whoever is connected with it is put out by jobs of the same
//! commit, and whoever joins with it later is put out as soon as LiveKit tells of it.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Permission, check_room};
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
    ops::{diff::target, evict},
    repo::{Document, revocations::StoredRevocation},
    store::Batch,
    time::Timestamp,
};

/// Revoke media tokens: name exactly one of `jti`, `identity`, `room_name` and `all`. Who is connected with one of them is
/// put out. A key that is bound to rooms can only revoke the tokens of one of its rooms.
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
    /// Only tokens issued before this; all that there are when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Timestamp>,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Note>,
}

impl RevokeTokens {
    fn parsed_jti(&self) -> Result<Option<Jti>> {
        let bad = || {
            let detail = "must be the jti of a token that Pulse made, such as 01J....0";
            Error::invalid_field("jti", "bad_format", detail)
        };
        self.jti.as_deref().map(|text| Jti::parse(text).ok_or_else(bad)).transpose()
    }

    /// Tokens issued before this are hit: what the request says, else all that there are. That is a millisecond later
    /// than now, so that what was made in this very millisecond is hit as well; and a token that is named is hit whatever
    /// the clock of the machine said that made it.
    fn before(&self, now: Timestamp, jti: Option<Jti>) -> Result<Timestamp> {
        let after = |moment: Timestamp| moment.plus(Duration::from_millis(1));
        match self.before {
            Some(before) if before > after(now) => {
                Err(Error::invalid_field("before", "in_the_future", "must not be in the future"))
            }
            Some(before) => Ok(before),
            None => Ok(after(jti.map_or(now, |jti| jti.issued_at().max(now)))),
        }
    }

    fn subject(&self, jti: Option<Jti>) -> Result<(SubjectKind, String)> {
        let mut named = Vec::new();
        named.extend(jti.map(|jti| (SubjectKind::Jti, jti.family_text())));
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
        let jti = self.parsed_jti()?;
        let (kind, value) = self.subject(jti)?;
        let before = self.before(cx.now, jti)?;
        check_room(cx, self.room_name.as_ref())?;
        let tenant = cx.tenant()?;
        // In a suspended project too: that is when tokens may have to go.
        tenant.check_alive()?;
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
        let (cause, call) = (evict::Cause::Revocation(&revocation), (cx.now, cx.call.request_id.as_str()));
        let removed = evict::remove(cx.parts, cause, call, &mut batch).await?;
        let targets = vec![
            target("revocation", revocation.id, None),
            target("project", project_id, Some(tenant.project.name.to_string())),
        ];
        let trail =
            Trail { org: Some(tenant.org.id), targets, changes: super::super::diff::changes(None, Some(&revocation)) };
        Ok(Planned::write(revocation, batch, trail).touching("participants", removed))
    }
}
