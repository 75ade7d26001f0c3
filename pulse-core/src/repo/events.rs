//! Events in the store. The events of a session are its log, in which the store numbers them; others stand beside.

use super::{Document, document_basics, get};
use crate::{
    error::Result,
    id::{EventId, ProjectId},
    model::event::Event,
    store::{Batch, Collection, SharedStore, schema},
};

impl Document for Event {
    const COLLECTION: &'static Collection = &schema::EVENTS;
    const KIND: &'static str = "event";
    document_basics!();
}

impl Event {
    /// Adds this as a new event: at the end of its session's log, or beside the logs.
    pub fn record_in(&self, batch: &mut Batch) -> Result<()> {
        match self.session_id {
            Some(session) => {
                batch.append(Self::COLLECTION, session, self.id, self.to_doc()?);
                Ok(())
            }
            None => self.insert_into(batch),
        }
    }
}

/// Reads events.
#[derive(Clone, Debug)]
pub struct Events(pub SharedStore);

impl Events {
    /// The project's event of that id.
    pub async fn get(&self, project: ProjectId, id: EventId) -> Result<Option<Event>> {
        Ok(get::<Event>(&self.0, &id.to_string()).await?.filter(|event| event.project_id == project))
    }

    /// The event that a cluster gave this id, if it is recorded.
    pub async fn of_source(&self, cluster: &str, source_id: &str, kind: &str) -> Result<Option<Event>> {
        let key = [cluster.into(), source_id.into(), kind.into()];
        self.0.find(Event::COLLECTION, "source", &key).await?.map(Event::from_stored).transpose()
    }
}
