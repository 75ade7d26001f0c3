//! Facts of usage in the store.

use serde_json::Value;

use super::{Document, document_basics, get, page};
use crate::{
    error::Result,
    id::{ProjectId, UsageId},
    model::usage::{Usage, UsageType, UsageView},
    page::{Cursor, CursorBinding, Page, PageLimit},
    store::{Collection, Condition, Scan, SharedStore, schema},
    time::Timestamp,
};

impl Document for Usage {
    const COLLECTION: &'static Collection = &schema::USAGE_METRICS;
    const KIND: &'static str = "usage fact";
    document_basics!();
}

/// Which facts a list has.
#[derive(Clone, Debug, Default)]
pub struct UsageFilter {
    /// Of this type.
    pub event_type: Option<UsageType>,
    /// That ended at or after.
    pub from: Option<Timestamp>,
    /// That ended before.
    pub to: Option<Timestamp>,
}

/// Reads facts.
#[derive(Clone, Debug)]
pub struct UsageFacts(pub SharedStore);

impl UsageFacts {
    /// The fact of that id.
    pub async fn get(&self, id: UsageId) -> Result<Option<Usage>> {
        get(&self.0, &id.to_string()).await
    }

    /// A page of the project's facts, each in its latest revision, latest end first.
    pub async fn list(
        &self,
        project: ProjectId,
        filter: &UsageFilter,
        limit: Option<PageLimit>,
        cursor: Option<&Cursor>,
    ) -> Result<Page<UsageView>> {
        let id = Value::from(project.to_string());
        let mut scan = match filter.event_type {
            Some(kind) => Scan::new(Usage::COLLECTION, "project_type_time", vec![id, kind.name().into()]),
            None => Scan::new(Usage::COLLECTION, "project_time", vec![id]),
        };
        scan.from = filter.from.map(|from| from.to_string().into());
        scan.to = filter.to.map(|to| to.to_string().into());
        scan.filter.push(Condition::Eq("superseded", Value::Null));
        let binding = CursorBinding::new("usage", &(project, format!("{filter:?}")));
        page::<Usage, _>(&self.0, scan, &binding, limit, cursor, Usage::view).await
    }
}
