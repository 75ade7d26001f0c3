//! Events: what happened in a project, to be listed and read, to be watched as it happens, and to be made up for a trial.

pub mod catalogue;
mod trigger;
mod watch;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use trigger::TriggerEvent;
pub use watch::WatchEvents;

use crate::{
    access::Permission,
    deliver::event_filter::EventTypeFilter,
    error::{Error, Fault, Result},
    id::{EventId, ProjectId, SessionId},
    media::room::RoomName,
    model::event::EventView,
    op::{Cx, Meta, Operation, Planned, Scope},
    page::{Cursor, Page, PageLimit},
    repo::events::EventFilter,
    time::Timestamp,
};

/// List the project's events, newest first; those of one session in the order in which they happened.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ListEvents {
    /// The project; a project's key implies it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project_id: Option<ProjectId>,
    /// Of this type, or of types that begin so: `participant_*`. May stand more than once.
    #[serde(default, rename = "type", skip_serializing_if = "EventTypeFilter::is_empty")]
    pub types: EventTypeFilter,
    /// In this room.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub room: Option<RoomName>,
    /// Of this session, by `sequence`: what a filter of an endpoint left out, or what did not arrive, is found here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_id: Option<SessionId>,
    /// With a greater `sequence`, in the session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after_sequence: Option<u64>,
    /// Recorded at or after this moment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Timestamp>,
    /// Recorded before this moment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Timestamp>,
    /// Rows on the page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<PageLimit>,
    /// `next_cursor` of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<Cursor>,
}

impl ListEvents {
    /// What the fields say together.
    fn filter(&self) -> Result<EventFilter> {
        let mut faults = Vec::new();
        if self.session_id.is_none() && self.after_sequence.is_some() {
            faults.push(Fault::new(
                "after_sequence",
                "contradiction",
                "needs session_id: each session counts by itself",
            ));
        }
        let times = [("from", self.from), ("to", self.to)];
        let timed = times.into_iter().filter(|(_, at)| self.session_id.is_some() && at.is_some());
        faults.extend(timed.map(|(name, _)| {
            Fault::new(name, "contradiction", "has no meaning beside session_id, which lists by sequence")
        }));
        if !faults.is_empty() {
            return Err(Error::invalid(faults));
        }
        Ok(EventFilter {
            types: self.types.clone(),
            room: self.room.clone(),
            session_id: self.session_id,
            after_sequence: self.after_sequence,
            from: self.from,
            to: self.to,
        })
    }
}

impl Operation for ListEvents {
    type Output = Page<EventView>;
    const META: Meta = Meta::read(
        "events.list",
        "/v1/events",
        &[Permission::EventsRead],
        "List the project's events, newest first; those of one session in the order in which they happened",
    );

    fn scope(&self) -> Scope {
        Scope::CallerProject(self.project_id)
    }

    async fn plan(&self, cx: &Cx<'_>) -> Result<Planned<Self::Output>> {
        let project = cx.tenant()?.project.id;
        let filter = self.filter()?;
        // Another tenant's session is not even gone through.
        if let Some(session) = self.session_id
            && cx.parts.sessions.get(project, session).await?.is_none()
        {
            return Ok(Planned::read(Page::empty()));
        }
        let page = cx.parts.events.list(project, &filter, self.limit, self.cursor.as_ref()).await?;
        Ok(Planned::read(page))
    }
}

/// Get an event.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GetEvent {
    /// Which.
    pub id: EventId,
    /// The project; a project's key implies it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project_id: Option<ProjectId>,
}

impl Operation for GetEvent {
    type Output = EventView;
    const META: Meta = Meta::read("events.get", "/v1/events/{id}", &[Permission::EventsRead], "Get an event");

    fn scope(&self) -> Scope {
        Scope::CallerProject(self.project_id)
    }

    async fn plan(&self, cx: &Cx<'_>) -> Result<Planned<EventView>> {
        let found = cx.parts.events.get(cx.tenant()?.project.id, self.id).await?;
        Ok(Planned::read(found.ok_or_else(|| Error::not_found("event", self.id))?.view()?))
    }
}
