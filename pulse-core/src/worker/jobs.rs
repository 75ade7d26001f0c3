//! The jobs: marking children of a deleted organization, bringing them back, and purging what nobody restored.
//!
//! A job is done in bounded batches and may be done twice: each step looks at what is there and does what is left.

use std::time::Duration;

use crate::{
    error::Result,
    id::{OrgId, ProjectId},
    model::{
        api_key::ApiKey,
        audit::Target,
        job::{Job, JobKind},
        organization::Organization,
        project::{Project, ProjectState},
    },
    ops::projects::revived,
    plane::ControlPlane,
    repo::{Document, audit::Audit},
    store::{Batch, CommitMode, Outcome},
    time::Timestamp,
};

/// Jobs that are claimed at once.
const CLAIM: usize = 10;
/// For how long a claimed job is nobody else's.
const LEASE_MILLIS: u64 = 30_000;
/// Documents that one batch touches at most.
const STEP: usize = 100;
/// The longest pause before a failed job is tried again.
const MAX_PAUSE: Duration = Duration::from_secs(3600);

/// Claims due jobs and does them; tells how many.
pub(super) async fn run(plane: &ControlPlane) -> Result<usize> {
    let parts = plane.parts();
    let jobs = parts.jobs.claim(parts.clock.now(), CLAIM, LEASE_MILLIS).await?;
    let count = jobs.len();
    for job in jobs {
        let kind =
            serde_json::to_value(job.kind).ok().and_then(|kind| kind.as_str().map(str::to_owned)).unwrap_or_default();
        let result = one(plane, &job).await;
        parts.metrics.jobs.with_label_values(&[kind.as_str(), if result.is_ok() { "done" } else { "failed" }]).inc();
        let mut batch = Batch::new();
        match result {
            Ok(()) => {
                batch.delete(Job::COLLECTION, job.document_id(), job.version);
            }
            Err(error) => {
                tracing::warn!(job = %job.id, kind, error = %error, cause = ?error.cause().map(ToString::to_string), "a job failed");
                let pause = Duration::from_secs(1 << job.attempts.clamp(0, 12)).min(MAX_PAUSE);
                let next = Job { attempts: job.attempts + 1, due_at: parts.clock.now().plus(pause), ..job };
                next.replace_in(&mut batch)?;
            }
        }
        // Stale means that the lease was over and somebody else has the job: it is theirs then.
        parts.store.commit(batch, CommitMode::Apply).await?;
    }
    Ok(count)
}

async fn one(plane: &ControlPlane, job: &Job) -> Result<()> {
    match job.kind {
        JobKind::DeleteChildren => delete_children(plane, parse(&job.target_id)?).await,
        JobKind::RestoreChildren => restore_children(plane, parse(&job.target_id)?, job).await,
        JobKind::PurgeOrganization => purge_organization(plane, parse(&job.target_id)?, job).await,
        JobKind::PurgeProject => purge_project(plane, parse(&job.target_id)?, job).await,
    }
}

fn parse<T: std::str::FromStr<Err: std::error::Error + Send + Sync + 'static>>(id: &str) -> Result<T> {
    id.parse().map_err(crate::Error::internal)
}

/// Marks the organization's living projects as deleted by it, as long as it is deleted.
async fn delete_children(plane: &ControlPlane, id: OrgId) -> Result<()> {
    let parts = plane.parts();
    loop {
        let Some(org) = parts.organizations.get(id).await?.filter(|org| org.deleted_at.is_some()) else {
            return Ok(());
        };
        let children = parts.projects.children(id, false, STEP).await?;
        if children.is_empty() {
            return Ok(());
        }
        let mut batch = Batch::new();
        org.require_in(&mut batch);
        for project in children {
            let marked = Project {
                state: ProjectState::Deleted,
                deleted_at: org.deleted_at,
                purge_at: org.purge_at,
                deleted_by: Some(id),
                ..project
            };
            marked.replace_in(&mut batch)?;
        }
        commit(plane, batch).await?;
    }
}

/// Brings back the projects that the organization's deletion took along, as long as it lives. A project whose name has
/// been taken stays deleted and can be restored on its own once renamed.
async fn restore_children(plane: &ControlPlane, id: OrgId, job: &Job) -> Result<()> {
    let parts = plane.parts();
    let mut left = Vec::new();
    loop {
        let Some(org) = parts.organizations.get(id).await?.filter(|org| org.deleted_at.is_none()) else {
            return Ok(());
        };
        let children = parts.projects.children(id, true, STEP).await?;
        let children: Vec<Project> = children.into_iter().filter(|project| !left.contains(&project.id)).collect();
        if children.is_empty() {
            return Ok(());
        }
        for project in children {
            let mut batch = Batch::new();
            org.require_in(&mut batch);
            revived(&project, parts.clock.now()).replace_in(&mut batch)?;
            batch.bump_generation();
            if let Outcome::Conflict { .. } = parts.store.commit(batch, CommitMode::Apply).await? {
                left.push(project.id);
                let mut batch = Batch::new();
                let orphan = Project { deleted_by: None, ..project };
                orphan.replace_in(&mut batch)?;
                // The organization's purge, which would have taken it along, will not come.
                let purge_at = orphan.purge_at.unwrap_or_else(|| parts.clock.now().plus(parts.settings.purge_after));
                let now = parts.clock.now();
                Job::new(JobKind::PurgeProject, orphan.id, (now, purge_at), &job.request_id, parts.entropy.as_ref())
                    .insert_into(&mut batch)?;
                commit(plane, batch).await?;
            }
        }
    }
}

fn due(purge_at: Option<Timestamp>, now: Timestamp) -> bool {
    purge_at.is_some_and(|end| end <= now)
}

async fn purge_organization(plane: &ControlPlane, id: OrgId, job: &Job) -> Result<()> {
    let parts = plane.parts();
    let now = parts.clock.now();
    let Some(org) = parts.organizations.get(id).await?.filter(|org| due(org.purge_at, now)) else { return Ok(()) };
    loop {
        let children = parts.projects.of_org(id, STEP).await?;
        if children.is_empty() {
            break;
        }
        for project in children {
            purge(plane, &project, Some(&org), job).await?;
        }
    }
    let mut batch = Batch::new();
    batch.delete(Organization::COLLECTION, id, org.version).bump_generation();
    let target = Target { kind: "organization".into(), id: id.to_string(), name: Some(org.name.to_string()) };
    append_audit(plane, &mut batch, "organizations.purge", id, target, job)?;
    commit(plane, batch).await
}

async fn purge_project(plane: &ControlPlane, id: ProjectId, job: &Job) -> Result<()> {
    let parts = plane.parts();
    match parts.projects.get(id).await?.filter(|project| due(project.purge_at, parts.clock.now())) {
        Some(project) => purge(plane, &project, None, job).await,
        None => Ok(()),
    }
}

/// Removes a project's documents and then the project. Each step holds only while the project, and the organization
/// that takes it along, are as they were when they were found to be due: a restoration in between ends it.
async fn purge(plane: &ControlPlane, project: &Project, org: Option<&Organization>, job: &Job) -> Result<()> {
    let parts = plane.parts();
    let step = || {
        let mut batch = Batch::new();
        org.into_iter().for_each(|org| org.require_in(&mut batch));
        batch
    };
    loop {
        let keys = parts.keys.any(project.id, STEP).await?;
        if keys.is_empty() {
            break;
        }
        let mut batch = step();
        project.require_in(&mut batch);
        for key in keys {
            batch.delete(ApiKey::COLLECTION, key.id, key.version);
            if let Some(last) = parts.store.get(&crate::store::schema::KEY_USES, &key.id.to_string()).await? {
                batch.delete(&crate::store::schema::KEY_USES, last.id, last.version);
            }
        }
        commit(plane, batch).await?;
    }
    let mut batch = step();
    if let Some(set) = parts.store.get(&crate::store::schema::KEY_SETS, &project.id.to_string()).await? {
        batch.delete(&crate::store::schema::KEY_SETS, set.id, set.version);
    }
    batch.delete(Project::COLLECTION, project.id, project.version).bump_generation();
    let target = Target { kind: "project".into(), id: project.id.to_string(), name: Some(project.name.to_string()) };
    append_audit(plane, &mut batch, "projects.purge", project.org_id, target, job)?;
    commit(plane, batch).await
}

fn append_audit(
    plane: &ControlPlane,
    batch: &mut Batch,
    action: &str,
    org: OrgId,
    target: Target,
    job: &Job,
) -> Result<()> {
    let parts = plane.parts();
    let entry =
        crate::plane::worker_entry(action, org, target, &job.request_id, parts.clock.now(), parts.entropy.as_ref());
    Audit::append(batch, &entry)
}

/// Commits a step; what changed in the meantime makes the job fail, and it is tried again.
async fn commit(plane: &ControlPlane, batch: Batch) -> Result<()> {
    let bumps = batch.bumps_generation;
    match plane.parts().store.commit(batch, CommitMode::Apply).await? {
        Outcome::Committed { .. } => {
            if bumps {
                plane.parts().keyring.forget();
            }
            Ok(())
        }
        other => Err(crate::Error::internal(format!("the store changed under a job: {other:?}"))),
    }
}
