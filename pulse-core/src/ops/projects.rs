//! Projects: `read` lists and gets them, `create` and `update` write their fields by the rules of `settings`, `lifecycle`
//! stops them and lets them go on. The webhook endpoint of a project's `webhook_url` follows the field in the same batch.

mod create;
mod lifecycle;
mod read;
mod settings;
#[cfg(test)]
pub mod tests;
mod update;

pub use create::{CreateProject, CreatedProject};
pub(crate) use lifecycle::revived;
pub use lifecycle::{DeleteProject, RestoreProject, ResumeProject, SuspendProject};
pub use read::{GetProject, ListProjects};
pub use update::{UpdateProject, UpdatedProject};

use super::{
    diff::{changes, target},
    endpoints::Followed,
};
use crate::{
    error::{Code, Error, Result},
    id::ProjectId,
    model::{
        project::{Project, ProjectView},
        text::Name,
    },
    op::{Cx, Planned, Trail},
    repo::Document,
    store::Batch,
};

fn trail(before: Option<&Project>, after: &Project) -> Trail {
    Trail {
        org: Some(after.org_id),
        targets: vec![target("project", after.id, Some(after.name.to_string()))],
        changes: changes(before, Some(after)),
    }
}

fn name_taken(name: &Name) -> Error {
    Error::new(Code::NameTaken, format!("the organization has a project named {:?}", name.as_str()))
}

async fn read(cx: &Cx<'_>, id: ProjectId) -> Result<Project> {
    let project = cx.parts.projects.get(id).await?.ok_or_else(|| Error::not_found("project", id))?;
    cx.check_version("project", &id, project.version)?;
    Ok(project)
}

/// The project as a caller sees it.
async fn shown(cx: &Cx<'_>, project: &Project) -> Result<ProjectView> {
    // Most have no `webhook_url`, and one without has no endpoint of it.
    let active = project.webhook_url.is_some() && cx.parts.endpoints.is_webhook_url_active(project.id).await?;
    Ok(project.view(active))
}

/// The plan of replacing a project by its changed form.
async fn replacing(cx: &Cx<'_>, before: &Project, after: Project) -> Result<Planned<ProjectView>> {
    let mut batch = Batch::new();
    let after = after.replaced_in(&mut batch)?;
    batch.bump_generation();
    Ok(Planned::write(shown(cx, &after).await?, batch, trail(Some(before), &after)))
}

/// Live rooms that a dry run counts at most.
const COUNTED: u64 = 10_000;

/// Adds what stops with a project to the counts. They are read for a dry run alone, since nothing else tells them.
async fn stopping<O>(cx: &Cx<'_>, id: ProjectId, planned: Planned<O>) -> Result<Planned<O>> {
    if !cx.call.dry_run {
        return Ok(planned);
    }
    let (keys, endpoints) = (cx.parts.keys.count_live(id).await?, cx.parts.endpoints.count(id).await?);
    let rooms = cx.parts.sessions.count_live(id, COUNTED).await?;
    Ok(planned.touching("keys", keys).touching("endpoints", endpoints).touching("live_rooms", rooms))
}

/// Adds the endpoint that a change of `webhook_url` touched to the trail, and what hangs on it to the counts.
fn with_endpoint<O>(mut planned: Planned<O>, followed: &Followed) -> Planned<O> {
    let Some(endpoint) = &followed.touched else { return planned };
    planned.trail.targets.push(target("endpoint", endpoint.id, Some(endpoint.url.to_string())));
    if followed.secret.is_some() {
        planned = planned.touching("endpoints", 1);
    }
    match followed.pending {
        Some(pending) => planned.touching("deliveries_pending", pending),
        None => planned,
    }
}
