//! Organizations in the store.

use serde_json::{Map, Value, json};

use super::{Document, Visible, add_searched, document_basics, get, page, page_of_one, searched};
use crate::{
    error::Result,
    id::OrgId,
    model::{
        organization::{Organization, OrganizationView, Plan},
        text::LabelFilter,
    },
    page::{Cursor, CursorBinding, Page, PageLimit},
    store::{Collection, Condition, Scan, SharedStore, schema},
};

impl Document for Organization {
    const COLLECTION: &'static Collection = &schema::ORGANIZATIONS;
    const KIND: &'static str = "organization";
    document_basics!();

    fn derive(&self, doc: &mut Map<String, Value>) {
        add_searched(doc, &self.name, &self.labels, self.deleted_at.is_none());
    }
}

/// Which organizations a list has.
#[derive(Clone, Debug, Default)]
pub struct OrganizationFilter {
    /// Names that begin so, without regard to case.
    pub name_prefix: Option<String>,
    /// Of this plan.
    pub plan: Option<Plan>,
    /// With all of these labels.
    pub labels: Vec<LabelFilter>,
    /// Deleted ones too.
    pub include_deleted: bool,
}

/// Reads organizations.
#[derive(Clone, Debug)]
pub struct Organizations(pub SharedStore);

impl Organizations {
    /// The organization of that id, deleted ones included.
    pub async fn get(&self, id: OrgId) -> Result<Option<Organization>> {
        get(&self.0, &id.to_string()).await
    }

    /// A page of those that the caller sees, newest first.
    pub async fn list(
        &self,
        visible: Visible,
        filter: &OrganizationFilter,
        limit: Option<PageLimit>,
        cursor: Option<&Cursor>,
    ) -> Result<Page<OrganizationView>> {
        let mut scan = match filter.labels.first() {
            Some(label) => Scan::new(Organization::COLLECTION, "label", vec![label.pair().into()]),
            None => Scan::new(Organization::COLLECTION, schema::PRIMARY, Vec::new()),
        };
        scan.filter.extend(filter.plan.map(|plan| Condition::Eq("plan", json!(plan))));
        scan.filter.extend(searched(filter.name_prefix.as_ref(), &filter.labels, filter.include_deleted));
        match visible {
            Visible::Nothing => Ok(Page::empty()),
            Visible::Everything => {
                let binding = CursorBinding::new("organizations", &format!("{filter:?}"));
                page::<Organization, _>(&self.0, scan, &binding, limit, cursor, Organization::view).await
            }
            Visible::Project { org, .. } => {
                page_of_one::<Organization, _>(&self.0, &org.to_string(), scan, Organization::view).await
            }
        }
    }
}
