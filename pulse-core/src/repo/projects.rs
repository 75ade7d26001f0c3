//! Projects in the store.

use serde_json::{Map, Value};

use super::{Document, Visible, add_searched, all, document_basics, get, page, page_of_one, searched};
use crate::{
    error::Result,
    id::{OrgId, ProjectId},
    model::{
        organization::Plan,
        project::Project,
        text::{LabelFilter, RegionName},
    },
    page::{Cursor, CursorBinding, Page, PageLimit},
    store::{Collection, Condition, Scan, SharedStore, schema},
};

impl Document for Project {
    const COLLECTION: &'static Collection = &schema::PROJECTS;
    const KIND: &'static str = "project";
    document_basics!();

    fn derive(&self, doc: &mut Map<String, Value>) {
        add_searched(doc, &self.name, &self.labels, self.deleted_at.is_none());
    }
}

/// Which projects a list has.
#[derive(Clone, Debug, Default)]
pub struct ProjectFilter {
    /// Of this organization.
    pub org: Option<OrgId>,
    /// Whose organization has this plan. The operation sorts them out; here it only binds the cursor.
    pub plan: Option<Plan>,
    /// Names that begin so, without regard to case.
    pub name_prefix: Option<String>,
    /// In this region.
    pub region: Option<RegionName>,
    /// With all of these labels.
    pub labels: Vec<LabelFilter>,
    /// Deleted ones too.
    pub include_deleted: bool,
}

/// Reads projects.
#[derive(Clone, Debug)]
pub struct Projects(pub SharedStore);

impl Projects {
    /// The project of that id, deleted ones included.
    pub async fn get(&self, id: ProjectId) -> Result<Option<Project>> {
        get(&self.0, &id.to_string()).await
    }

    /// A page of those that the caller sees, newest first.
    pub async fn list(
        &self,
        visible: Visible,
        filter: &ProjectFilter,
        limit: Option<PageLimit>,
        cursor: Option<&Cursor>,
    ) -> Result<Page<Project>> {
        let pair = |label: &LabelFilter| Value::from(label.pair());
        let org = filter.org.map(|id| Value::from(id.to_string()));
        let mut scan = match (org, filter.labels.first()) {
            (Some(org), Some(label)) => Scan::new(Project::COLLECTION, "org_label", vec![org, pair(label)]),
            (Some(org), None) => Scan::new(Project::COLLECTION, "org", vec![org]),
            (None, Some(label)) => Scan::new(Project::COLLECTION, "label", vec![pair(label)]),
            (None, None) => Scan::new(Project::COLLECTION, schema::PRIMARY, Vec::new()),
        };
        scan.filter.extend(filter.org.map(|id| Condition::Eq("org_id", id.to_string().into())));
        scan.filter.extend(filter.region.as_ref().map(|region| Condition::Eq("region", region.as_str().into())));
        scan.filter.extend(searched(filter.name_prefix.as_ref(), &filter.labels, filter.include_deleted));
        match visible {
            Visible::Nothing => Ok(Page::empty()),
            Visible::Everything => {
                let binding = CursorBinding::new("projects", &format!("{filter:?}"));
                page::<Project, _>(&self.0, scan, &binding, limit, cursor, Clone::clone).await
            }
            Visible::Project { project, .. } => {
                page_of_one::<Project, _>(&self.0, &project.to_string(), scan, Clone::clone).await
            }
        }
    }

    /// Up to `cap` projects of an organization, oldest first, that live (`deleted` false) or that the organization's
    /// deletion took along (`deleted` true).
    pub async fn children(&self, org: OrgId, deleted: bool, cap: usize) -> Result<Vec<Project>> {
        let index = if deleted { "deleted_by" } else { "org" };
        let mut scan = Scan::new(Project::COLLECTION, index, vec![org.to_string().into()]);
        scan.limit = cap;
        if !deleted {
            scan.filter.push(Condition::Eq("deleted_at", Value::Null));
        }
        loop {
            let found = self.0.scan(scan.clone()).await?;
            scan.after = found.next.filter(|_| found.rows.is_empty());
            // A page may be empty because many rows in a row did not meet the condition.
            if scan.after.is_none() {
                return found.rows.into_iter().map(Project::from_stored).collect();
            }
        }
    }

    /// Up to `cap` projects of an organization, in any state.
    pub async fn of_org(&self, org: OrgId, cap: usize) -> Result<Vec<Project>> {
        all(&self.0, "org", vec![org.to_string().into()], cap).await
    }

    /// How many projects an organization has, in any state, counted up to `cap`.
    pub async fn count(&self, org: OrgId, cap: u64) -> Result<u64> {
        self.0.count(Project::COLLECTION, "org", &[org.to_string().into()], cap).await
    }
}
