//! The audit log: list.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    access::Permission,
    error::Result,
    id::OrgId,
    model::audit::{AuditEntry, AuditOutcome},
    op::{Cx, Meta, Operation, Planned, Scope},
    page::{Cursor, Page, PageLimit},
    repo::audit::AuditFilter,
    time::Timestamp,
};

/// List audit entries, newest first.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ListAudit {
    /// Of this organization.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub org_id: Option<OrgId>,
    /// By this actor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 200))]
    pub actor_id: Option<String>,
    /// Of this action, or of all that begin so when it ends with `*`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 100))]
    pub action: Option<String>,
    /// About this thing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 200))]
    pub target_id: Option<String>,
    /// With this outcome.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<AuditOutcome>,
    /// Not before this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// Before this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// Rows on the page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<PageLimit>,
    /// `next_cursor` of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<Cursor>,
}

impl Operation for ListAudit {
    type Output = Page<AuditEntry>;
    const META: Meta =
        Meta::read("audit.list", "/v1/audit-logs", &[Permission::AuditRead], "List audit entries, newest first");

    fn scope(&self) -> Scope {
        Scope::Visible
    }

    async fn plan(&self, cx: &Cx<'_>) -> Result<Planned<Self::Output>> {
        let filter = AuditFilter {
            org: self.org_id,
            actor_id: self.actor_id.clone(),
            action: self.action.clone(),
            target_id: self.target_id.clone(),
            outcome: self.outcome,
            since: self.since,
            until: self.until,
        };
        let visible = cx.call.caller.visible();
        Ok(Planned::read(cx.parts.audit.list(visible, &filter, self.limit, self.cursor.as_ref()).await?))
    }
}
