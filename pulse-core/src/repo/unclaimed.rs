//! Webhooks without a project, in the store.

use super::{Document, all, document_basics, page};
use crate::{
    error::Result,
    model::unclaimed::{Unclaimed, UnclaimedView},
    page::{Cursor, CursorBinding, Page, PageLimit},
    store::{Collection, Order, Scan, SharedStore, schema},
};

impl Document for Unclaimed {
    const COLLECTION: &'static Collection = &schema::UNCLAIMED;
    const KIND: &'static str = "unclaimed event";
    document_basics!();
}

/// Reads webhooks without a project.
#[derive(Clone, Debug)]
pub struct UnclaimedEvents(pub SharedStore);

impl UnclaimedEvents {
    /// Up to `cap` of those that name this egress or ingress, oldest first.
    pub async fn of_key(&self, cluster: &str, key: &str, cap: usize) -> Result<Vec<Unclaimed>> {
        all(&self.0, "key", vec![cluster.into(), key.into()], cap).await
    }

    /// How many there are, counted up to `cap`.
    pub async fn count(&self, cap: u64) -> Result<u64> {
        self.0.count(Unclaimed::COLLECTION, schema::PRIMARY, &[], cap).await
    }

    /// The oldest, up to `cap`.
    pub async fn oldest(&self, cap: usize) -> Result<Vec<Unclaimed>> {
        let scan = Scan {
            limit: cap,
            order: Order::Ascending,
            ..Scan::new(Unclaimed::COLLECTION, schema::PRIMARY, Vec::new())
        };
        self.0.scan(scan).await?.rows.into_iter().map(Unclaimed::from_stored).collect()
    }

    /// A page of all, newest first. For the operator.
    pub async fn list(&self, limit: Option<PageLimit>, cursor: Option<&Cursor>) -> Result<Page<UnclaimedView>> {
        let scan = Scan::new(Unclaimed::COLLECTION, schema::PRIMARY, Vec::new());
        let binding = CursorBinding::new("unclaimed", &());
        page::<Unclaimed, _>(&self.0, scan, &binding, limit, cursor, Unclaimed::view).await
    }
}
