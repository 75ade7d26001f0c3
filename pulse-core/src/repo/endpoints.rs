//! Webhook endpoints in the store, and how they have been doing.

use super::{Document, all, document_basics, get, page};
use crate::{
    error::Result,
    id::{EndpointId, ProjectId},
    model::endpoint::{Endpoint, EndpointHealth, EndpointState, MAX_ENDPOINTS},
    page::{Cursor, CursorBinding, Page, PageLimit},
    store::{Collection, Order, Position, Scan, SharedStore, schema},
};

impl Document for Endpoint {
    const COLLECTION: &'static Collection = &schema::ENDPOINTS;
    const KIND: &'static str = "endpoint";
    document_basics!();
}

impl Document for EndpointHealth {
    const COLLECTION: &'static Collection = &schema::ENDPOINT_HEALTH;
    const KIND: &'static str = "endpoint health";

    fn document_id(&self) -> String {
        self.endpoint_id.to_string()
    }
    fn version(&self) -> u64 {
        self.version
    }
    fn set_version(&mut self, version: u64) {
        self.version = version;
    }
}

/// Reads endpoints.
#[derive(Clone, Debug)]
pub struct Endpoints(pub SharedStore);

impl Endpoints {
    /// The project's endpoint of that id.
    pub async fn get(&self, project: ProjectId, id: EndpointId) -> Result<Option<Endpoint>> {
        Ok(self.find(id).await?.filter(|endpoint| endpoint.project_id == project))
    }

    /// The endpoint of that id: for who sends its deliveries, which name it.
    pub async fn find(&self, id: EndpointId) -> Result<Option<Endpoint>> {
        get(&self.0, &id.to_string()).await
    }

    /// The project's endpoints, oldest first: at most [`MAX_ENDPOINTS`].
    pub async fn of_project(&self, project: ProjectId) -> Result<Vec<Endpoint>> {
        all(&self.0, "project", vec![project.to_string().into()], MAX_ENDPOINTS + 1).await
    }

    /// How many endpoints the project has.
    pub async fn count(&self, project: ProjectId) -> Result<u64> {
        let key = [project.to_string().into()];
        self.0.count(Endpoint::COLLECTION, "project", &key, MAX_ENDPOINTS as u64).await
    }

    /// A page of the project's endpoints, newest first.
    pub async fn list(
        &self,
        project: ProjectId,
        limit: Option<PageLimit>,
        cursor: Option<&Cursor>,
    ) -> Result<Page<Endpoint>> {
        let scan = Scan::new(Endpoint::COLLECTION, "project", vec![project.to_string().into()]);
        let binding = CursorBinding::new("endpoints", &project);
        page::<Endpoint, _>(&self.0, scan, &binding, limit, cursor, Clone::clone).await
    }

    /// Whether the project has an endpoint of its `webhook_url`, and it is active.
    pub async fn is_webhook_url_active(&self, project: ProjectId) -> Result<bool> {
        let endpoint = self.of_webhook_url(project).await?;
        Ok(endpoint.is_some_and(|endpoint| endpoint.state == EndpointState::Active))
    }

    /// The endpoint of the project's `webhook_url`.
    pub async fn of_webhook_url(&self, project: ProjectId) -> Result<Option<Endpoint>> {
        let found = self.0.find(Endpoint::COLLECTION, "of_project", &[project.to_string().into()]).await?;
        found.map(Endpoint::from_stored).transpose()
    }

    /// Up to `limit` endpoints' health behind that position, and where the next ones begin. What does not decode is passed by.
    pub async fn health_page(
        &self,
        after: Option<Position>,
        limit: usize,
    ) -> Result<(Vec<EndpointHealth>, Option<Position>)> {
        let scan = Scan::new(EndpointHealth::COLLECTION, schema::PRIMARY, Vec::new());
        let rows = self.0.scan(Scan { order: Order::Ascending, limit, after, ..scan }).await?;
        let read = rows.rows.into_iter().filter_map(|row| EndpointHealth::from_stored(row).ok());
        Ok((read.collect(), rows.next))
    }

    /// How the endpoint has been doing.
    pub async fn health(&self, id: EndpointId) -> Result<Option<EndpointHealth>> {
        get(&self.0, &id.to_string()).await
    }
}
