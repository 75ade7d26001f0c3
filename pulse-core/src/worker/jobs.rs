//! The jobs: marking children of a deleted organization, bringing them back, purging what nobody restored, what
//! follows from events and from the end of an endpoint, and replays.
//!
//! A job is done in bounded batches and may be done twice: each step looks at what is there and does what is left.

use crate::{
    deliver::{ending::cancel_if_gone, replay},
    error::Result,
    id::{OrgId, ProjectId},
    ingest,
    model::{
        api_key::ApiKey,
        audit::Target,
        job::{Job, JobKind, Left},
        organization::Organization,
        project::{Project, ProjectState},
    },
    ops::{look_again, projects::revived},
    pipeline::Pipeline,
    plane::ControlPlane,
    reconcile::lease_of,
    repo::{Document, audit::Audit},
    store::{Batch, Collection, CommitMode, Outcome, Scan, schema},
    time::Timestamp,
};

/// Documents that one batch touches at most.
const STEP: usize = 100;
/// Does a job, or a part of it.
pub(super) async fn one(pipeline: &Pipeline, job: &Job) -> Result<Left> {
    let plane = &*pipeline.plane;
    let done = match job.kind {
        JobKind::DeleteChildren => delete_children(plane, parse(&job.target_id)?).await,
        JobKind::RestoreChildren => restore_children(plane, parse(&job.target_id)?, job).await,
        JobKind::PurgeOrganization => purge_organization(plane, parse(&job.target_id)?, job).await,
        JobKind::PurgeProject => purge_project(plane, parse(&job.target_id)?, job).await,
        JobKind::SettleSession => ingest::settle_session(plane, parse(&job.target_id)?).await,
        JobKind::RemoveParticipant => ingest::remove(plane, job).await,
        JobKind::LookAgain => look_again(plane.parts(), job).await,
        JobKind::AdoptUnclaimed => ingest::adopt(&pipeline.ingest, job).await,
        JobKind::CancelDeliveries => cancel_if_gone(plane.parts(), parse(&job.target_id)?).await,
        JobKind::Replay => return replay::turn(plane.parts(), parse(&job.target_id)?, job.id).await,
    };
    done.map(|()| Left::Nothing)
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
            if let Some(last) = parts.store.get(&schema::KEY_USES, &key.id.to_string()).await? {
                batch.delete(&schema::KEY_USES, last.id, last.version);
            }
        }
        commit(plane, batch).await?;
    }
    // What LiveKit told of the project's rooms in the meantime goes with the next pass.
    let mut found = true;
    while std::mem::take(&mut found) {
        for (collection, index) in OF_PROJECT {
            found |= purge_rows(plane, project, step, collection, index).await?;
        }
    }
    let mut batch = step();
    if let Some(set) = parts.store.get(&schema::KEY_SETS, &project.id.to_string()).await? {
        batch.delete(&schema::KEY_SETS, set.id, set.version);
    }
    if let Some(lease) = parts.store.get(&schema::META, &lease_of(&project.id.to_string())).await? {
        batch.delete(&schema::META, lease.id, lease.version);
    }
    batch.delete(Project::COLLECTION, project.id, project.version).bump_generation();
    let target = Target { kind: "project".into(), id: project.id.to_string(), name: Some(project.name.to_string()) };
    append_audit(plane, &mut batch, "projects.purge", project.org_id, target, job)?;
    commit(plane, batch).await
}

/// What hangs on a project beside its keys, and the index that finds it: what refers to something goes before it.
const OF_PROJECT: [(&Collection, &str); 9] = [
    // Nothing is delivered for a replay that is gone.
    (&schema::REPLAYS, "project"),
    (&schema::DELIVERIES, "project"),
    (&schema::EVENTS, "project"),
    (&schema::ENDPOINTS, "project"),
    (&schema::SESSIONS, "project"),
    (&schema::INTERVALS, "project"),
    (&schema::USAGE_METRICS, "project_time"),
    (&schema::BANS, "project"),
    (&schema::REVOCATIONS, "project"),
];

/// Removes a project's rows of one collection, and what belongs to each of them; tells whether there were any.
async fn purge_rows(
    plane: &ControlPlane,
    project: &Project,
    step: impl Fn() -> Batch,
    collection: &'static Collection,
    index: &'static str,
) -> Result<bool> {
    let parts = plane.parts();
    let mut found = false;
    loop {
        let scan = Scan { limit: STEP, ..Scan::new(collection, index, vec![project.id.to_string().into()]) };
        let rows = parts.store.scan(scan).await?.rows;
        if rows.is_empty() {
            return Ok(found);
        }
        found = true;
        let mut batch = step();
        project.require_in(&mut batch);
        for row in rows {
            if collection.name == schema::DELIVERIES.name {
                purge_attempts(plane, &row.id).await?;
            }
            if collection.name == schema::ENDPOINTS.name
                && let Some(health) = parts.store.get(&schema::ENDPOINT_HEALTH, &row.id).await?
            {
                batch.delete(&schema::ENDPOINT_HEALTH, health.id, health.version);
            }
            batch.delete(collection, row.id, row.version);
        }
        commit(plane, batch).await?;
    }
}

/// Removes the attempts of one delivery, in batches of their own: there may be hundreds.
async fn purge_attempts(plane: &ControlPlane, delivery: &str) -> Result<()> {
    loop {
        let scan = Scan { limit: STEP, ..Scan::new(&schema::ATTEMPTS, "delivery", vec![delivery.into()]) };
        let rows = plane.parts().store.scan(scan).await?.rows;
        if rows.is_empty() {
            return Ok(());
        }
        let mut batch = Batch::new();
        for row in rows {
            batch.delete(&schema::ATTEMPTS, row.id, row.version);
        }
        commit(plane, batch).await?;
    }
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
    match plane.parts().commit(batch, CommitMode::Apply).await? {
        Outcome::Committed { .. } => Ok(()),
        other => Err(crate::Error::internal(format!("the store changed under a job: {other:?}"))),
    }
}
