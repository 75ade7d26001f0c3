//! Webhooks without a project, in the store.

use super::{Document, document_basics, page};
use crate::{
    error::Result,
    model::unclaimed::{Unclaimed, UnclaimedView},
    page::{Cursor, CursorBinding, Page, PageLimit},
    store::{Collection, Order, Position, Rows, Scan, SharedStore, Stored, schema},
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
    /// A page of those that name this egress or ingress, oldest first, as they are stored: one that does not decode is the
    /// caller's to pass by.
    pub async fn of_key(&self, cluster: &str, key: &str, after: Option<Position>, limit: usize) -> Result<Rows> {
        let prefix = vec![cluster.into(), key.into()];
        let scan = Scan { limit, order: Order::Ascending, after, ..Scan::new(Unclaimed::COLLECTION, "key", prefix) };
        self.0.scan(scan).await
    }

    /// Whether any names this egress or ingress.
    pub async fn names(&self, cluster: &str, key: &str) -> Result<bool> {
        Ok(self.0.count(Unclaimed::COLLECTION, "key", &[cluster.into(), key.into()], 1).await? > 0)
    }

    /// How many there are, counted up to `cap`.
    pub async fn count(&self, cap: u64) -> Result<u64> {
        self.0.count(Unclaimed::COLLECTION, schema::PRIMARY, &[], cap).await
    }

    /// The oldest, up to `cap`, as they are stored: one that does not decode is the oldest at some time, too.
    pub async fn oldest(&self, cap: usize) -> Result<Vec<Stored>> {
        let scan = Scan {
            limit: cap,
            order: Order::Ascending,
            ..Scan::new(Unclaimed::COLLECTION, schema::PRIMARY, Vec::new())
        };
        Ok(self.0.scan(scan).await?.rows)
    }

    /// A page of all, newest first. For the operator.
    pub async fn list(&self, limit: Option<PageLimit>, cursor: Option<&Cursor>) -> Result<Page<UnclaimedView>> {
        let scan = Scan::new(Unclaimed::COLLECTION, schema::PRIMARY, Vec::new());
        let binding = CursorBinding::new("unclaimed", &());
        page::<Unclaimed, _>(&self.0, scan, &binding, limit, cursor, Unclaimed::view).await
    }
}
