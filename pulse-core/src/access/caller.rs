//! Who calls.

use std::{net::IpAddr, sync::Arc};

use super::{
    keyring::KeyRecord,
    permission::{Permission, Permissions},
};
use crate::{
    error::{Code, Error, Result},
    id::{OrgId, ProjectId},
    repo::Visible,
};

/// How the operator proved to be the operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OperatorVia {
    /// By being able to open the store: the command line in local mode.
    Local {
        /// The user of the operating system.
        os_user: String,
    },
    /// By the operator's token.
    Token,
}

/// A caller whose credentials have been checked.
#[derive(Clone, Debug)]
pub enum Caller {
    /// Nobody: no credentials were sent.
    Anonymous,
    /// Who runs this installation. Sees and may do everything.
    Operator(OperatorVia),
    /// A project's key.
    Key(KeyCaller),
}

/// A verified key.
#[derive(Clone, Debug)]
pub struct KeyCaller {
    /// The key, its project and its organization, as they were when last read.
    pub record: Arc<KeyRecord>,
    /// Where the call came from.
    pub ip: Option<IpAddr>,
}

impl Caller {
    /// What the caller may do, before it is asked where.
    pub fn permissions(&self) -> Permissions {
        match self {
            Self::Anonymous => Permissions::NONE,
            Self::Operator(_) => Permission::ALL.iter().copied().collect(),
            Self::Key(key) => key.record.scopes,
        }
    }

    /// A stable id for audit entries, idempotency and rate limits.
    pub fn id(&self) -> String {
        match self {
            Self::Anonymous => "anonymous".to_owned(),
            Self::Operator(OperatorVia::Local { os_user }) => format!("local:{os_user}"),
            Self::Operator(OperatorVia::Token) => "operator".to_owned(),
            Self::Key(key) => key.record.id.to_string(),
        }
    }

    /// Whether this is the operator.
    pub fn is_operator(&self) -> bool {
        matches!(self, Self::Operator(_))
    }

    /// The key's record, when a key calls.
    pub fn key(&self) -> Option<&KeyRecord> {
        match self {
            Self::Key(key) => Some(&key.record),
            Self::Anonymous | Self::Operator(_) => None,
        }
    }

    /// Whose things the caller may see.
    pub fn visible(&self) -> Visible {
        match self {
            Self::Anonymous => Visible::Nothing,
            Self::Operator(_) => Visible::Everything,
            Self::Key(key) => Visible::Project { project: key.record.project.id, org: key.record.project.org_id },
        }
    }

    /// Whether the caller may know that the project exists.
    pub fn sees_project(&self, id: ProjectId) -> bool {
        match self.visible() {
            Visible::Nothing => false,
            Visible::Everything => true,
            Visible::Project { project, .. } => project == id,
        }
    }

    /// Whether the caller may know that the organization exists.
    pub fn sees_org(&self, id: OrgId) -> bool {
        match self.visible() {
            Visible::Nothing => false,
            Visible::Everything => true,
            Visible::Project { org, .. } => org == id,
        }
    }

    /// Refuses a caller that lacks one of the permissions: 401 for nobody, 403 with the missing scope for the rest.
    pub fn authorize(&self, needed: Permissions) -> Result<()> {
        let Some(missing) = self.permissions().missing(needed) else { return Ok(()) };
        Err(match self {
            Self::Anonymous => unauthenticated(),
            Self::Operator(_) | Self::Key(_) if missing.is_scope() => {
                Error::new(Code::Forbidden, format!("this key does not have the scope {missing}"))
            }
            Self::Operator(_) | Self::Key(_) => {
                Error::new(Code::Forbidden, format!("a project key can never have the permission {missing}"))
                    .hint("Ask the operator, or use pulse with the operator's token.")
            }
        })
    }
}

/// The one 401 that all failures before a matching secret share.
pub fn unauthenticated() -> Error {
    Error::new(Code::Unauthenticated, "the credentials are missing or not valid")
}
