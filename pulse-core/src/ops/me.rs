//! Who the caller is, as Pulse sees it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    access::{Caller, Permission, Permissions, caller::unauthenticated},
    error::Result,
    id::{KeyId, OrgId, ProjectId},
    op::{Cx, Meta, Operation, Planned, Scope},
    time::Timestamp,
};

/// Say who the caller is and what it may do.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GetMe {}

/// The caller.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Me {
    /// `operator` or `key`.
    pub kind: String,
    /// The id, as in the audit.
    pub id: String,
    /// The key's organization.
    pub org_id: Option<OrgId>,
    /// The key's project.
    pub project_id: Option<ProjectId>,
    /// The key.
    pub key_id: Option<KeyId>,
    /// When the key ends.
    pub expires_at: Option<Timestamp>,
    /// Everything that the caller may do.
    pub permissions: Vec<String>,
}

impl Operation for GetMe {
    type Output = Me;
    const META: Meta = Meta::read("me.get", "/v1/me", &[], "Say who the caller is and what it may do");

    fn scope(&self) -> Scope {
        Scope::Visible
    }

    fn needs(&self) -> Permissions {
        Permissions::NONE
    }

    async fn plan(&self, cx: &Cx<'_>) -> Result<Planned<Me>> {
        let caller = &cx.call.caller;
        let kind = match caller {
            Caller::Anonymous => return Err(unauthenticated()),
            Caller::Operator(_) => "operator",
            Caller::Key(_) => "key",
        };
        let key = caller.key();
        Ok(Planned::read(Me {
            kind: kind.to_owned(),
            id: caller.id(),
            org_id: key.map(|record| record.org.id),
            project_id: key.map(|record| record.project.id),
            key_id: key.map(|record| record.id),
            expires_at: key.and_then(|record| record.expires_at),
            permissions: caller.permissions().iter().map(Permission::name).map(str::to_owned).collect(),
        }))
    }
}
