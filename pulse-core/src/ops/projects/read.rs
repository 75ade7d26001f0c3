//! Lists of projects, and one of them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{read, shown};
use crate::{
    access::Permission,
    error::Result,
    id::{OrgId, ProjectId},
    model::{
        organization::Plan,
        project::ProjectView,
        text::{LabelFilter, RegionName},
    },
    op::{Cx, Meta, Operation, Planned, Scope},
    page::{Cursor, Page, PageLimit},
    repo::projects::ProjectFilter,
};

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
