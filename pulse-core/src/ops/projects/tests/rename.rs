//! A project's name alone.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{name_taken, read, replacing};
use crate::{
    access::Permission,
    error::{Error, Result},
    id::ProjectId,
    model::{
        project::{Project, ProjectState, ProjectView},
        text::Name,
    },
    op::{Cx, Meta, Method, Operation, Planned, Scope},
    store::schema,
};

/// Give a project another name.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RenameProject {
    /// Which.
    pub id: ProjectId,
    /// Its new name.
    pub name: Name,
}

impl Operation for RenameProject {
    type Output = ProjectView;
    // The id is the audit's action, too; `{id}` in the path is the field of that name. `read` below checks the version.
    const META: Meta = Meta::mutation(
        "projects.rename",
        Method::Post,
        "/v1/projects/{id}/rename",
        &[Permission::ProjectWrite],
        "Give a project another name",
    )
    .versioned();

    // Another tenant's project is 404 before `plan` is asked.
    fn scope(&self) -> Scope {
        Scope::Project(self.id)
    }

    fn version_of(output: &ProjectView) -> Option<u64> {
        Some(output.version)
    }

    // What a clash with a unique index means. Without it, the plan is made again, and clashes again.
    fn conflict(&self, collection: &'static str, _: &'static str) -> Option<Error> {
        (collection == schema::PROJECTS.name).then(|| name_taken(&self.name))
    }

    async fn plan(&self, cx: &Cx<'_>) -> Result<Planned<ProjectView>> {
        let before = read(cx, self.id).await?;
        if before.state == ProjectState::Deleted {
            return Err(Error::deleted("project", self.id));
        }
        let after = Project { name: self.name.clone(), updated_at: cx.now, ..before.clone() };
        // The batch, the audit trail and the answer.
        replacing(cx, &before, after).await
    }
}
