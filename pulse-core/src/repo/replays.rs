//! Replays in the store.

use super::{Document, document_basics, get, page};
use crate::{
    error::Result,
    id::{JobId, ProjectId},
    model::replay::{MAX_RUNNING, Replay, ReplayView},
    page::{Cursor, CursorBinding, Page, PageLimit},
    store::{Batch, Collection, Scan, SharedStore, Write, schema},
};

impl Document for Replay {
    const COLLECTION: &'static Collection = &schema::REPLAYS;
    const KIND: &'static str = "replay";
    document_basics!();
}

impl Replay {
    /// Stops it: its job, which changes it all the time, finds it so at its next commit. Out of bounds when it has ended, or
    /// was stopped already.
    pub fn stop_in(&self, batch: &mut Batch) {
        batch.push(Write::Increment {
            collection: Self::COLLECTION,
            id: self.document_id(),
            field: "running",
            by: -1,
            min: Some(0),
            max: None,
        });
    }
}

/// Reads replays.
#[derive(Clone, Debug)]
pub struct Replays(pub SharedStore);

impl Replays {
    /// The project's replay of that id.
    pub async fn get(&self, project: ProjectId, id: JobId) -> Result<Option<Replay>> {
        Ok(get::<Replay>(&self.0, &id.to_string()).await?.filter(|replay| replay.project_id == project))
    }

    /// How many of the project's replays run, counted up to [`MAX_RUNNING`].
    pub async fn count_running(&self, project: ProjectId) -> Result<u64> {
        let key = [project.to_string().into(), 1.into()];
        self.0.count(Replay::COLLECTION, "project_running", &key, MAX_RUNNING).await
    }

    /// A page of the project's replays, newest first.
    pub async fn list(
        &self,
        project: ProjectId,
        limit: Option<PageLimit>,
        cursor: Option<&Cursor>,
    ) -> Result<Page<ReplayView>> {
        let scan = Scan::new(Replay::COLLECTION, "project", vec![project.to_string().into()]);
        let binding = CursorBinding::new("replays", &project);
        page::<Replay, _>(&self.0, scan, &binding, limit, cursor, Replay::view).await
    }
}
