//! Watching events as they happen. The operation says who may watch what; [`crate::watch`] then gives the events one by one.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    access::Permission,
    deliver::event_filter::EventTypeFilter,
    error::Result,
    id::{ProjectId, SessionId},
    media::room::RoomName,
    op::{Cx, Meta, Operation, Planned, Scope},
    time::Timestamp,
    watch::WatchFilter,
};

/// Watch the project's events as they happen.
///
/// The answer is a stream of server-sent events (`text/event-stream`). An event without a name is one of the project: `id` is
/// its id, `data` the same bytes that webhooks carry. `Last-Event-ID` goes on after an event: those that were recorded up to
/// half a minute before it come again, because events are recorded side by side and an earlier one may have come to light later;
/// drop those whose ids you have seen. `event: gap` says that events between `from` and `to` are not kept any more, or that
/// the id is none of this project's. `event: end` says why the stream ends, in `code`, `detail` and `hint`; connect again with `Last-Event-ID`, and nothing
/// is lost. Every 15 seconds comes a comment, so that a connection that is dead is found out.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WatchEvents {
    /// The project; a project's key implies it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project_id: Option<ProjectId>,
    /// Of this type, or of types that begin so: `participant_*`. May stand more than once.
    #[serde(default, rename = "type", skip_serializing_if = "EventTypeFilter::is_empty")]
    pub types: EventTypeFilter,
    /// In this room.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub room: Option<RoomName>,
    /// Of this session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_id: Option<SessionId>,
    /// Those that were recorded since then first; without it, and without `Last-Event-ID`, only what happens from now on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Timestamp>,
}

impl Operation for WatchEvents {
    type Output = WatchFilter;
    const META: Meta = Meta::read(
        "events.stream",
        "/v1/events/stream",
        &[Permission::EventsRead],
        "Watch the project's events as they happen",
    )
    .streams();

    fn scope(&self) -> Scope {
        Scope::CallerProject(self.project_id)
    }

    async fn plan(&self, cx: &Cx<'_>) -> Result<Planned<WatchFilter>> {
        let tenant = cx.tenant()?;
        tenant.check_alive()?;
        Ok(Planned::read(WatchFilter {
            project_id: tenant.project.id,
            types: self.types.clone(),
            room: self.room.clone(),
            session_id: self.session_id,
            from: self.from,
        }))
    }
}
