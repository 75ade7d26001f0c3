//! A project with its organization.

use std::sync::Arc;

use super::{
    organization::Organization,
    project::{Project, ProjectState},
};
use crate::error::{Code, Error, Result};

/// A project with its organization, as one snapshot.
#[derive(Clone, Debug)]
pub struct Tenant {
    /// The organization.
    pub org: Arc<Organization>,
    /// The project.
    pub project: Arc<Project>,
}

impl Tenant {
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
