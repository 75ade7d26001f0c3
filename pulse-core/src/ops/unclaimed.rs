//! Webhooks of LiveKit that belong to no project: for the operator, who may see from them what is set up wrong.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    access::Permission,
    error::Result,
    model::unclaimed::UnclaimedView,
    op::{Cx, Meta, Operation, Planned, Scope},
    page::{Cursor, Page, PageLimit},
};

/// List webhooks of LiveKit that belong to no project, newest first. They are kept for a week.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ListUnclaimed {
    /// Rows on the page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<PageLimit>,
    /// `next_cursor` of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<Cursor>,
}

impl Operation for ListUnclaimed {
    type Output = Page<UnclaimedView>;
    const META: Meta = Meta::read(
        "unclaimed.list",
        "/v1/webhooks/livekit/unclaimed",
        &[Permission::System],
        "List webhooks of LiveKit that belong to no project, newest first",
    );

    fn scope(&self) -> Scope {
        Scope::System
    }

    async fn plan(&self, cx: &Cx<'_>) -> Result<Planned<Self::Output>> {
        Ok(Planned::read(cx.parts.unclaimed.list(self.limit, self.cursor.as_ref()).await?))
    }
}
