//! When and from where a key was last used.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::{
    id::{KeyId, ProjectId},
    time::Timestamp,
};

/// The last use of a key, to about a minute.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyUse {
    /// The key, which is also the document's id.
    pub key_id: KeyId,
    /// Its project.
    pub project_id: ProjectId,
    /// When.
    pub last_used_at: Timestamp,
    /// From where.
    pub last_used_ip: Option<IpAddr>,
}
