//! The life of a project: delete, restore, suspend, resume.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{read, replacing, shown, stopping};
use crate::{
    access::Permission,
    error::{Code, Error, Result},
    id::ProjectId,
    model::{
        job::JobKind,
        project::{Project, ProjectState, ProjectView},
        text::Note,
    },
    op::{Cx, Meta, Method, Operation, Planned, Scope},
    ops::organizations::job,
    repo::Document,
    store::schema,
    time::Timestamp,
};

/// Delete a project. Its keys stop at once; it can be restored until `purge_at`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DeleteProject {
    /// Which.
    pub id: ProjectId,
    /// The version that was read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
}

impl Operation for DeleteProject {
    type Output = ProjectView;
    const META: Meta = Meta::mutation(
        "projects.delete",
        Method::Delete,
        "/v1/projects/{id}",
        &[Permission::ProjectAdmin],
        "Delete a project; its keys stop at once, and it can be restored until purge_at",
    )
    .versioned();

    fn scope(&self) -> Scope {
        Scope::Project(self.id)
    }

    fn expected_version(&self) -> Option<u64> {
        self.version
    }

    fn version_of(output: &ProjectView) -> Option<u64> {
        Some(output.version)
    }

    async fn plan(&self, cx: &Cx<'_>) -> Result<Planned<ProjectView>> {
        let before = read(cx, self.id).await?;
        if before.state == ProjectState::Deleted {
            return Ok(Planned::read(shown(cx, &before).await?));
        }
        let purge_at = cx.now.plus(cx.parts.settings.purge_after);
        let after = Project {
            state: ProjectState::Deleted,
            deleted_at: Some(cx.now),
            purge_at: Some(purge_at),
            updated_at: cx.now,
            ..before.clone()
        };
        let mut planned = stopping(cx, self.id, replacing(cx, &before, after).await?).await?;
        job(cx, JobKind::PurgeProject, self.id, purge_at).insert_into(&mut planned.batch)?;
        Ok(planned)
    }
}

/// Bring back a deleted project. Its keys work again.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RestoreProject {
    /// Which.
    pub id: ProjectId,
}

impl Operation for RestoreProject {
    type Output = ProjectView;
    const META: Meta = Meta::mutation(
        "projects.restore",
        Method::Post,
        "/v1/projects/{id}/restore",
        &[Permission::ProjectAdmin],
        "Bring back a deleted project; its keys work again",
    )
    .versioned();

    fn scope(&self) -> Scope {
        Scope::Project(self.id)
    }

    fn version_of(output: &ProjectView) -> Option<u64> {
        Some(output.version)
    }

    fn conflict(&self, collection: &'static str, _: &'static str) -> Option<Error> {
        (collection == schema::PROJECTS.name).then(|| {
            Error::new(Code::NameTaken, "another project of the organization has taken the name in the meantime")
                .hint("Rename the other one, then restore again.")
        })
    }

    async fn plan(&self, cx: &Cx<'_>) -> Result<Planned<ProjectView>> {
        let before = read(cx, self.id).await?;
        if before.state != ProjectState::Deleted {
            return Ok(Planned::read(shown(cx, &before).await?));
        }
        if before.purge_at.is_some_and(|end| end <= cx.now) {
            return Err(Error::new(Code::Gone, format!("project {} is being purged", self.id)));
        }
        let org = cx.parts.organizations.get(before.org_id).await?.filter(|org| org.deleted_at.is_none());
        let org = org.ok_or_else(|| Error::deleted("organization", before.org_id))?;
        let mut planned = replacing(cx, &before, revived(&before, cx.now)).await?;
        org.require_in(&mut planned.batch);
        Ok(planned)
    }
}

/// A deleted project as it is after its restoration: suspended again if it was suspended.
pub(crate) fn revived(project: &Project, now: Timestamp) -> Project {
    let state = if project.suspended_at.is_some() { ProjectState::Suspended } else { ProjectState::Active };
    Project { state, deleted_at: None, purge_at: None, deleted_by: None, updated_at: now, ..project.clone() }
}

/// Stop a project: its keys are refused at once and its tokens are bad.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SuspendProject {
    /// Which.
    pub id: ProjectId,
    /// Why; the project's people see it.
    pub reason: Note,
}

impl Operation for SuspendProject {
    type Output = ProjectView;
    const META: Meta = Meta::mutation(
        "projects.suspend",
        Method::Post,
        "/v1/projects/{id}/suspend",
        &[Permission::System],
        "Stop a project: its keys are refused at once and its tokens are bad",
    )
    .versioned();

    fn scope(&self) -> Scope {
        Scope::Project(self.id)
    }

    fn version_of(output: &ProjectView) -> Option<u64> {
        Some(output.version)
    }

    async fn plan(&self, cx: &Cx<'_>) -> Result<Planned<ProjectView>> {
        let before = read(cx, self.id).await?;
        match before.state {
            ProjectState::Deleted => Err(Error::deleted("project", self.id)),
            ProjectState::Suspended if before.suspend_reason.as_ref() == Some(&self.reason) => {
                Ok(Planned::read(shown(cx, &before).await?))
            }
            ProjectState::Active | ProjectState::Suspended => {
                let after = Project {
                    state: ProjectState::Suspended,
                    suspended_at: before.suspended_at.or(Some(cx.now)),
                    suspend_reason: Some(self.reason.clone()),
                    updated_at: cx.now,
                    ..before.clone()
                };
                stopping(cx, self.id, replacing(cx, &before, after).await?).await
            }
        }
    }
}

/// Let a suspended project go on.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ResumeProject {
    /// Which.
    pub id: ProjectId,
}

impl Operation for ResumeProject {
    type Output = ProjectView;
    const META: Meta = Meta::mutation(
        "projects.resume",
        Method::Post,
        "/v1/projects/{id}/resume",
        &[Permission::System],
        "Let a suspended project go on",
    )
    .versioned();

    fn scope(&self) -> Scope {
        Scope::Project(self.id)
    }

    fn version_of(output: &ProjectView) -> Option<u64> {
        Some(output.version)
    }

    async fn plan(&self, cx: &Cx<'_>) -> Result<Planned<ProjectView>> {
        let before = read(cx, self.id).await?;
        match before.state {
            ProjectState::Deleted => Err(Error::deleted("project", self.id)),
            ProjectState::Active => Ok(Planned::read(shown(cx, &before).await?)),
            ProjectState::Suspended => {
                let after = Project {
                    state: ProjectState::Active,
                    suspended_at: None,
                    suspend_reason: None,
                    updated_at: cx.now,
                    ..before.clone()
                };
                replacing(cx, &before, after).await
            }
        }
    }
}
