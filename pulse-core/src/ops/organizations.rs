//! Organizations: create, list, get, update, delete, restore.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::diff::{changes, target};
use crate::{
    access::{Permission, Permissions},
    error::{Code, Error, Result},
    id::OrgId,
    model::{
        job::{Job, JobKind},
        organization::{Organization, OrganizationView, Plan},
        text::{Email, LabelFilter, Labels, Name},
    },
    op::{Cx, Meta, Method, Operation, Planned, Scope, Trail},
    page::{Cursor, Page, PageLimit},
    patch::Patch,
    repo::{Document, organizations::OrganizationFilter},
    store::{Batch, schema},
};

/// Projects whose keys a dry run counts: one look-up each.
const COUNTED_PROJECTS: usize = 1_000;

fn name_taken(name: &Name) -> Error {
    Error::new(Code::NameTaken, format!("an organization named {name:?} exists", name = name.as_str()))
}

fn trail(before: Option<&Organization>, after: &Organization) -> Trail {
    Trail {
        org: Some(after.id),
        targets: vec![target("organization", after.id, Some(after.name.to_string()))],
        changes: changes(before, Some(after)),
    }
}

async fn read(cx: &Cx<'_>, id: OrgId) -> Result<Organization> {
    let org = cx.parts.organizations.get(id).await?.ok_or_else(|| Error::not_found("organization", id))?;
    cx.check_version("organization", &id, org.version)?;
    Ok(org)
}

/// The plan of replacing an organization by its changed form.
fn replacing(before: &Organization, after: Organization) -> Result<Planned<OrganizationView>> {
    let mut batch = Batch::new();
    let shown = after.replaced_in(&mut batch)?;
    batch.bump_generation();
    Ok(Planned::write(shown.view(), batch, trail(Some(before), &shown)))
}

/// Create an organization.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateOrganization {
    /// Unique among the living, without regard to case.
    pub name: Name,
    /// Whom to write to.
    pub admin_email: Email,
    /// What it pays for; Free when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<Plan>,
    /// Labels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<Labels>,
}

impl Operation for CreateOrganization {
    type Output = OrganizationView;
    const META: Meta = Meta::mutation(
        "organizations.create",
        Method::Post,
        "/v1/organizations",
        &[Permission::System],
        "Create an organization",
    )
    .creates();

    fn scope(&self) -> Scope {
        Scope::System
    }

    fn version_of(output: &OrganizationView) -> Option<u64> {
        Some(output.version)
    }

    fn conflict(&self, collection: &'static str, _: &'static str) -> Option<Error> {
        (collection == schema::ORGANIZATIONS.name).then(|| name_taken(&self.name))
    }

    async fn plan(&self, cx: &Cx<'_>) -> Result<Planned<OrganizationView>> {
        let org = Organization {
            id: OrgId::new(cx.now, cx.parts.entropy.as_ref()),
            name: self.name.clone(),
            admin_email: self.admin_email.clone(),
            plan: self.plan.unwrap_or_default(),
            labels: self.labels.clone().unwrap_or_default(),
            created_at: cx.now,
            updated_at: cx.now,
            deleted_at: None,
            purge_at: None,
            version: 1,
        };
        let mut batch = Batch::new();
        org.insert_into(&mut batch)?;
        Ok(Planned::write(org.view(), batch, trail(None, &org)))
    }
}

/// List organizations, newest first.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ListOrganizations {
    /// Names that begin so, without regard to case.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 100))]
    pub name_prefix: Option<String>,
    /// Of this plan.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<Plan>,
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

impl Operation for ListOrganizations {
    type Output = Page<OrganizationView>;
    const META: Meta = Meta::read(
        "organizations.list",
        "/v1/organizations",
        &[Permission::OrgRead],
        "List organizations, newest first",
    );

    fn scope(&self) -> Scope {
        Scope::Visible
    }

    async fn plan(&self, cx: &Cx<'_>) -> Result<Planned<Self::Output>> {
        let filter = OrganizationFilter {
            name_prefix: self.name_prefix.clone(),
            plan: self.plan,
            labels: self.label.clone(),
            include_deleted: self.include_deleted.unwrap_or(false),
        };
        let visible = cx.call.caller.visible();
        Ok(Planned::read(cx.parts.organizations.list(visible, &filter, self.limit, self.cursor.as_ref()).await?))
    }
}

/// Get an organization.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GetOrganization {
    /// Which.
    pub id: OrgId,
}

impl Operation for GetOrganization {
    type Output = OrganizationView;
    const META: Meta =
        Meta::read("organizations.get", "/v1/organizations/{id}", &[Permission::OrgRead], "Get an organization");

    fn scope(&self) -> Scope {
        Scope::Org(self.id)
    }

    fn version_of(output: &OrganizationView) -> Option<u64> {
        Some(output.version)
    }

    async fn plan(&self, cx: &Cx<'_>) -> Result<Planned<OrganizationView>> {
        Ok(Planned::read(read(cx, self.id).await?.view()))
    }
}

/// Change an organization. Absent fields stay.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UpdateOrganization {
    /// Which.
    pub id: OrgId,
    /// A new name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<Name>,
    /// Another address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub admin_email: Option<Email>,
    /// Another plan; only the operator may.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<Plan>,
    /// All labels anew; `null` clears them.
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    pub labels: Patch<Labels>,
    /// The version that was read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
}

impl Operation for UpdateOrganization {
    type Output = OrganizationView;
    const META: Meta = Meta::mutation(
        "organizations.update",
        Method::Put,
        "/v1/organizations/{id}",
        &[Permission::OrgWrite, Permission::System],
        "Change an organization; absent fields stay",
    )
    .versioned();

    fn scope(&self) -> Scope {
        Scope::Org(self.id)
    }

    fn needs(&self) -> Permissions {
        if self.plan.is_some() {
            Permissions::of(&[Permission::OrgWrite, Permission::System])
        } else {
            Permissions::of(&[Permission::OrgWrite])
        }
    }

    fn expected_version(&self) -> Option<u64> {
        self.version
    }

    fn version_of(output: &OrganizationView) -> Option<u64> {
        Some(output.version)
    }

    fn conflict(&self, collection: &'static str, _: &'static str) -> Option<Error> {
        let name = self.name.as_ref().filter(|_| collection == schema::ORGANIZATIONS.name)?;
        Some(name_taken(name))
    }

    async fn plan(&self, cx: &Cx<'_>) -> Result<Planned<OrganizationView>> {
        let before = read(cx, self.id).await?;
        if before.deleted_at.is_some() {
            return Err(Error::deleted("organization", self.id));
        }
        let mut after = before.clone();
        after.name = self.name.clone().unwrap_or(after.name);
        after.admin_email = self.admin_email.clone().unwrap_or(after.admin_email);
        after.plan = self.plan.unwrap_or(after.plan);
        match self.labels.clone() {
            Patch::Absent => {}
            Patch::Clear => after.labels = Labels::default(),
            Patch::Set(labels) => after.labels = labels,
        }
        if after == before {
            return Ok(Planned::read(before.view()));
        }
        after.updated_at = cx.now;
        replacing(&before, after)
    }
}

/// Delete an organization with everything in it. It can be restored until `purge_at`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DeleteOrganization {
    /// Which.
    pub id: OrgId,
    /// The version that was read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
}

impl Operation for DeleteOrganization {
    type Output = OrganizationView;
    const META: Meta = Meta::mutation(
        "organizations.delete",
        Method::Delete,
        "/v1/organizations/{id}",
        &[Permission::OrgDelete],
        "Delete an organization with everything in it; it can be restored until purge_at",
    )
    .versioned();

    fn scope(&self) -> Scope {
        Scope::Org(self.id)
    }

    fn expected_version(&self) -> Option<u64> {
        self.version
    }

    fn version_of(output: &OrganizationView) -> Option<u64> {
        Some(output.version)
    }

    async fn plan(&self, cx: &Cx<'_>) -> Result<Planned<OrganizationView>> {
        let before = read(cx, self.id).await?;
        if before.deleted_at.is_some() {
            return Ok(Planned::read(before.view()));
        }
        let purge_at = cx.now.plus(cx.parts.settings.purge_after);
        let after =
            Organization { deleted_at: Some(cx.now), purge_at: Some(purge_at), updated_at: cx.now, ..before.clone() };
        let mut planned = replacing(&before, after)?;
        if cx.call.dry_run {
            let projects = cx.parts.projects.count(self.id, 10_000).await?;
            planned = planned.touching("projects", projects).touching("keys", keys(cx, self.id).await?);
        }
        job(cx, JobKind::DeleteChildren, self.id, cx.now).insert_into(&mut planned.batch)?;
        job(cx, JobKind::PurgeOrganization, self.id, purge_at).insert_into(&mut planned.batch)?;
        Ok(planned)
    }
}

/// How many keys stop with an organization: those of its living projects, of which a thousand are looked at.
async fn keys(cx: &Cx<'_>, org: OrgId) -> Result<u64> {
    let mut keys = 0;
    for project in cx.parts.projects.children(org, false, COUNTED_PROJECTS).await? {
        keys += cx.parts.keys.count_live(project.id).await?;
    }
    Ok(keys)
}

/// A job about an organization or a project, caused by this call.
pub(super) fn job(cx: &Cx<'_>, kind: JobKind, target: impl ToString, due_at: crate::time::Timestamp) -> Job {
    Job::new(kind, target, (cx.now, due_at), &cx.call.request_id, cx.parts.entropy.as_ref())
}

/// Bring back a deleted organization and the projects that were deleted with it.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RestoreOrganization {
    /// Which.
    pub id: OrgId,
}

impl Operation for RestoreOrganization {
    type Output = OrganizationView;
    const META: Meta = Meta::mutation(
        "organizations.restore",
        Method::Post,
        "/v1/organizations/{id}/restore",
        &[Permission::OrgDelete],
        "Bring back a deleted organization and the projects that were deleted with it",
    )
    .versioned();

    fn scope(&self) -> Scope {
        Scope::Org(self.id)
    }

    fn version_of(output: &OrganizationView) -> Option<u64> {
        Some(output.version)
    }

    fn conflict(&self, collection: &'static str, _: &'static str) -> Option<Error> {
        (collection == schema::ORGANIZATIONS.name).then(|| {
            Error::new(Code::NameTaken, "another organization has taken the name in the meantime")
                .hint("Rename the other one, then restore again.")
        })
    }

    async fn plan(&self, cx: &Cx<'_>) -> Result<Planned<OrganizationView>> {
        let before = read(cx, self.id).await?;
        if before.deleted_at.is_none() {
            return Ok(Planned::read(before.view()));
        }
        if before.purge_at.is_some_and(|end| end <= cx.now) {
            return Err(Error::new(Code::Gone, format!("organization {} is being purged", self.id)));
        }
        let after = Organization { deleted_at: None, purge_at: None, updated_at: cx.now, ..before.clone() };
        let mut planned = replacing(&before, after)?;
        job(cx, JobKind::RestoreChildren, self.id, cx.now).insert_into(&mut planned.batch)?;
        Ok(planned)
    }
}
