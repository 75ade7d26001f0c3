//! Bans: create, list, delete. Who is banned gets no token, and the tokens that there are do not let them stay: whoever is
//! in a room when the ban is made, or joins later, is put out.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    bounds::check_room,
    diff::{changes, target},
    evict,
};
use crate::{
    access::Permission,
    error::{Code, Error, Result},
    id::{BanId, ProjectId},
    media::room::{Identity, RoomName},
    model::{
        ban::{Ban, MAX_BANS},
        tenant::Tenant,
        text::Note,
    },
    op::{Cx, Meta, Method, Operation, Planned, Scope, Trail},
    page::{Cursor, Page, PageLimit},
    repo::Document,
    store::Batch,
    time::Timestamp,
};

fn trail(tenant: &Tenant, before: Option<&Ban>, after: Option<&Ban>) -> Trail {
    let ban = after.or(before).map(|ban| target("ban", ban.id, Some(ban.identity.to_string())));
    let project = target("project", tenant.project.id, Some(tenant.project.name.to_string()));
    Trail {
        org: Some(tenant.org.id),
        targets: ban.into_iter().chain([project]).collect(),
        changes: changes(before, after),
    }
}

/// Ban an identity from a room, or from all rooms of the project. There is one ban for an identity and a room: making it
/// again replaces its reason and its end. A key that is bound to rooms can only ban from one of its rooms.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateBan {
    /// The project; a project's key implies it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project_id: Option<ProjectId>,
    /// Who.
    pub identity: Identity,
    /// From which room; from all of the project when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub room_name: Option<RoomName>,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Note>,
    /// When it ends by itself; never when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
}

impl CreateBan {
    /// The ban as it is to be; one that is over and not yet forgotten begins anew.
    fn ban(&self, cx: &Cx<'_>, project_id: ProjectId, existing: Option<&Ban>) -> Ban {
        let entropy = cx.parts.entropy.as_ref();
        Ban {
            id: existing.map_or_else(|| BanId::new(cx.now, entropy), |ban| ban.id),
            project_id,
            identity: self.identity.clone(),
            room_name: self.room_name.clone(),
            reason: self.reason.clone(),
            created_at: existing.filter(|ban| ban.holds(cx.now)).map_or(cx.now, |ban| ban.created_at),
            expires_at: self.expires_at,
            version: existing.map_or(0, |ban| ban.version),
        }
    }
}

impl Operation for CreateBan {
    type Output = Ban;
    const META: Meta = Meta::mutation(
        "bans.create",
        Method::Post,
        "/v1/bans",
        &[Permission::RoomsWrite],
        "Ban an identity from a room, or from all rooms of the project",
    )
    .creates();

    fn scope(&self) -> Scope {
        Scope::CallerProject(self.project_id)
    }

    async fn plan(&self, cx: &Cx<'_>) -> Result<Planned<Ban>> {
        if self.expires_at.is_some_and(|end| end <= cx.now) {
            return Err(Error::invalid_field("expires_at", "in_the_past", "must be in the future"));
        }
        check_room(cx, "bans", self.room_name.as_ref())?;
        let tenant = cx.tenant()?;
        // In a suspended project too: that is when somebody may have to go.
        tenant.check_alive()?;
        let (project, bans) = (tenant.project.id, &cx.parts.bans);
        let existing = bans.of(project, self.identity.as_str(), self.room_name.as_ref()).await?;
        let ban = self.ban(cx, project, existing.as_ref());
        let mut batch = Batch::new();
        batch.bump_generation();
        if existing.is_some() {
            ban.replace_in(&mut batch)?;
        } else {
            take_place(cx, project, &mut batch).await?;
            ban.insert_into(&mut batch)?;
        }
        let call = (cx.now, cx.call.request_id.as_str());
        let removed = evict::remove(cx.parts, evict::Cause::Ban(&ban), call, &mut batch).await?;
        let trail = trail(tenant, existing.as_ref(), Some(&ban));
        Ok(Planned::write(ban, batch, trail).touching("participants", removed))
    }
}

/// Makes the batch one that adds a ban within the bound, however many are made at once; refuses when there are as many as
/// there may be. What the set has counted is too high by the bans that ended by themselves, so it is not its word alone
/// that refuses.
async fn take_place(cx: &Cx<'_>, project: ProjectId, batch: &mut Batch) -> Result<()> {
    let set = cx.parts.keys.key_set(project).await?;
    if set.has_place_for_a_ban() {
        set.add_ban(batch);
        return Ok(());
    }
    let others = cx.parts.bans.count(project, MAX_BANS).await?;
    if others < MAX_BANS {
        return set.recount_bans(others, batch);
    }
    Err(Error::new(Code::Conflict, format!("the project has {MAX_BANS} bans, the most it can have"))
        .hint("Delete bans that are not needed, or give bans an end."))
}

/// List the bans of the project, newest first.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ListBans {
    /// The project; a project's key implies it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project_id: Option<ProjectId>,
    /// Of this identity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<Identity>,
    /// Rows on the page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<PageLimit>,
    /// `next_cursor` of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<Cursor>,
}

impl Operation for ListBans {
    type Output = Page<Ban>;
    const META: Meta = Meta::read("bans.list", "/v1/bans", &[Permission::RoomsRead], "List bans, newest first");

    fn scope(&self) -> Scope {
        Scope::CallerProject(self.project_id)
    }

    async fn plan(&self, cx: &Cx<'_>) -> Result<Planned<Self::Output>> {
        let project = cx.tenant()?.project.id;
        let bans = &cx.parts.bans;
        Ok(Planned::read(bans.list(project, self.identity.as_ref(), self.limit, self.cursor.as_ref()).await?))
    }
}

/// Lift a ban. A key that is bound to rooms can only lift bans from its rooms.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DeleteBan {
    /// The ban.
    pub id: BanId,
    /// The project; a project's key implies it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project_id: Option<ProjectId>,
}

impl Operation for DeleteBan {
    type Output = Ban;
    const META: Meta =
        Meta::mutation("bans.delete", Method::Delete, "/v1/bans/{id}", &[Permission::RoomsWrite], "Lift a ban");

    fn scope(&self) -> Scope {
        Scope::CallerProject(self.project_id)
    }

    async fn plan(&self, cx: &Cx<'_>) -> Result<Planned<Ban>> {
        let tenant = cx.tenant()?;
        tenant.check_alive()?;
        let found = cx.parts.bans.get(tenant.project.id, self.id).await?;
        let ban = found.ok_or_else(|| Error::not_found("ban", self.id))?;
        check_room(cx, "bans", ban.room_name.as_ref())?;
        let mut batch = Batch::new();
        batch.bump_generation();
        batch.delete(Ban::COLLECTION, ban.document_id(), ban.version);
        cx.parts.keys.key_set(ban.project_id).await?.remove_ban(&mut batch);
        let trail = trail(tenant, Some(&ban), None);
        Ok(Planned::write(ban, batch, trail))
    }
}
