//! A project with its organization, as requests and tokens are judged by them.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    organization::Organization,
    project::{Limits, LiveKitCredentials, Project, ProjectState},
    text::{LiveKitUrl, Name, PresetName, RegionName},
};
use crate::{
    error::{Code, Error, Result},
    id::{OrgId, ProjectId},
    media::preset::Preset,
};

/// What of a project decides about its requests and its tokens, and nothing more: one is kept in memory for each project
/// that is in use.
#[derive(Clone, Debug)]
pub struct TenantProject {
    /// The id.
    pub id: ProjectId,
    /// The organization.
    pub org_id: OrgId,
    /// What people call it.
    pub name: Name,
    /// Where it runs.
    pub region: RegionName,
    /// Whether it can be used.
    pub state: ProjectState,
    /// Bounds of its own.
    pub limits: Limits,
    /// Its LiveKit; the server's own when absent.
    pub livekit_url: Option<LiveKitUrl>,
    /// Its own LiveKit's credentials.
    pub livekit_credentials: Option<Box<LiveKitCredentials>>,
    /// Its own token presets.
    pub token_presets: BTreeMap<PresetName, Preset>,
    /// Whether it has bans: where it has none, none is looked for.
    pub has_bans: bool,
}

impl TenantProject {
    fn new(project: Project, has_bans: bool) -> Self {
        Self {
            id: project.id,
            org_id: project.org_id,
            name: project.name,
            region: project.region,
            state: project.state,
            limits: project.limits,
            livekit_url: project.livekit_url,
            livekit_credentials: project.livekit_credentials,
            token_presets: project.token_presets,
            has_bans,
        }
    }
}

/// A project with its organization, as one snapshot.
#[derive(Clone, Debug)]
pub struct Tenant {
    /// The organization.
    pub org: Arc<Organization>,
    /// The project.
    pub project: Arc<TenantProject>,
}

impl Tenant {
    /// The project in its organization.
    pub fn new(org: Arc<Organization>, project: Project, has_bans: bool) -> Self {
        Self { org, project: Arc::new(TenantProject::new(project, has_bans)) }
    }

    /// Refuses when the project, or its organization, is deleted.
    pub fn check_alive(&self) -> Result<()> {
        let gone = self.org.deleted_at.is_some() || self.project.state == ProjectState::Deleted;
        if gone { Err(Error::not_found("project", self.project.id)) } else { Ok(()) }
    }

    /// Refuses when the project cannot be used.
    pub fn check_usable(&self) -> Result<()> {
        self.check_alive()?;
        let project = &self.project;
        if project.state == ProjectState::Suspended {
            // Keys of the project were refused before: this is said to its operator.
            return Err(Error::new(Code::Suspended, format!("project {} is suspended", project.id))
                .hint(format!("pulse project resume {}, or POST /v1/projects/{}/resume.", project.name, project.id)));
        }
        Ok(())
    }
}
