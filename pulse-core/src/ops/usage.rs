//! Usage of a project: the facts on record, and what goes on now.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    access::Permission,
    error::Result,
    id::ProjectId,
    meter::sums,
    model::usage::{UsageType, UsageView},
    op::{Cx, Meta, Operation, Planned, Scope},
    page::{Cursor, PageLimit},
    repo::usage::UsageFilter,
    time::Timestamp,
};

/// The most of what goes on that an answer shows.
pub const MAX_LIVE: usize = 1_000;

/// A page of usage.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct UsagePage {
    /// Facts, each in its latest revision, latest end first. What is not measured is absent, not 0.
    pub data: Vec<UsageView>,
    /// What goes on, with its value until `as_of` and without an id: on the first page only, and not when `to` is past.
    pub live: Vec<UsageView>,
    /// Whether more goes on than the 1,000 that are looked at.
    pub live_truncated: bool,
    /// The moment that `live` is of.
    pub as_of: Timestamp,
    /// Where the next page begins; `null` on the last.
    pub next_cursor: Option<String>,
}

/// List the usage of a project, latest end first, and what goes on now.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ListUsage {
    /// The project.
    pub project_id: ProjectId,
    /// Of this type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event_type: Option<UsageType>,
    /// What ended at or after this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Timestamp>,
    /// What ended before this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Timestamp>,
    /// Rows on the page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<PageLimit>,
    /// `next_cursor` of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<Cursor>,
}

impl ListUsage {
    /// Whether what goes on at `now` is asked for: as if it ended now.
    fn includes(&self, now: Timestamp) -> bool {
        self.cursor.is_none() && self.from.is_none_or(|from| from <= now) && self.to.is_none_or(|to| to > now)
    }
}

impl Operation for ListUsage {
    type Output = UsagePage;
    const META: Meta = Meta::read(
        "usage.list",
        "/v1/usage/{project_id}",
        &[Permission::UsageRead],
        "List usage, latest end first, and what goes on now",
    );

    fn scope(&self) -> Scope {
        Scope::Project(self.project_id)
    }

    async fn plan(&self, cx: &Cx<'_>) -> Result<Planned<UsagePage>> {
        let project = cx.tenant()?.project.id;
        let open = match self.includes(cx.now) {
            true => cx.parts.intervals.open_of(project, MAX_LIVE + 1).await?,
            false => Vec::new(),
        };
        let filter = UsageFilter { event_type: self.event_type, from: self.from, to: self.to };
        let page = cx.parts.usage.list(project, &filter, self.limit, self.cursor.as_ref()).await?;
        let live = open.iter().take(MAX_LIVE).filter_map(|interval| sums::live(interval, cx.now));
        let live = live.filter(|row| self.event_type.is_none_or(|wanted| row.event_type == wanted)).collect();
        Ok(Planned::read(UsagePage {
            data: page.data,
            live,
            live_truncated: open.len() > MAX_LIVE,
            as_of: cx.now,
            next_cursor: page.next_cursor,
        }))
    }
}
