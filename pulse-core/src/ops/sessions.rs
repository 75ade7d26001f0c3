//! The history of rooms: sessions, with a timeline of who was there.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    access::Permission,
    error::{Error, Result},
    id::{ProjectId, SessionId},
    media::room::RoomName,
    meter::sums,
    model::{
        interval::{MediaView, ParticipantView},
        session::{Gap, Session, SessionState, SessionView},
    },
    op::{Cx, Meta, Operation, Planned, Scope},
    page::{Cursor, Page, PageLimit},
    repo::sessions::{MAX_SPANS, SessionFilter},
    time::Timestamp,
};

/// List the sessions of the project's rooms, latest start first.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ListSessions {
    /// The project; a project's key implies it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project_id: Option<ProjectId>,
    /// Of this room.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub room: Option<RoomName>,
    /// Started at or after this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Timestamp>,
    /// Started before this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Timestamp>,
    /// Only those that go on, or only those that are over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub live: Option<bool>,
    /// Rows on the page. It ends early once 20,000 connections, egresses and ingresses of rooms that go on were added up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<PageLimit>,
    /// `next_cursor` of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<Cursor>,
}

impl Operation for ListSessions {
    type Output = Page<SessionView>;
    const META: Meta = Meta::read(
        "sessions.list",
        "/v1/sessions",
        &[Permission::SessionsRead],
        "List sessions of rooms, latest start first",
    );

    fn scope(&self) -> Scope {
        Scope::CallerProject(self.project_id)
    }

    async fn plan(&self, cx: &Cx<'_>) -> Result<Planned<Self::Output>> {
        let project = cx.tenant()?.project.id;
        let filter = SessionFilter { room: self.room.clone(), live: self.live, from: self.from, to: self.to };
        let page = cx.parts.sessions.list(project, &filter, self.limit, self.cursor.as_ref()).await?;
        let mut rows = page.data.into_iter().peekable();
        let (mut data, mut looked_at) = (Vec::with_capacity(rows.len()), 0);
        while let Some(session) = rows.next() {
            let (view, spans) = shown(cx, &session).await?;
            data.push(view);
            looked_at += spans;
            if looked_at >= MAX_SPANS && rows.peek().is_some() {
                let next_cursor = Some(cx.parts.sessions.after(project, &filter, &session));
                return Ok(Planned::read(Page { data, next_cursor }));
            }
        }
        Ok(Planned::read(Page { data, next_cursor: page.next_cursor }))
    }
}

/// The session with its sums: those on record once it is settled, else what its spans come to until now; and how many spans
/// that took.
async fn shown(cx: &Cx<'_>, session: &Session) -> Result<(SessionView, usize)> {
    if let Some(summary) = session.summary {
        return Ok((session.view(summary, cx.now), 0));
    }
    let spans = cx.parts.intervals.of_session(session.id).await?;
    Ok((session.view(sums::summary(&spans, cx.now), cx.now), spans.len()))
}

/// A session with everything that happened in it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SessionDetail {
    /// The id.
    pub id: SessionId,
    /// The project.
    pub project_id: ProjectId,
    /// The room.
    pub room: RoomName,
    /// LiveKit's id of this life of the room.
    pub livekit_sid: String,
    /// Whether it goes on.
    pub state: SessionState,
    /// When the room was created.
    pub started_at: Timestamp,
    /// When the room ended; `null` while it lives.
    pub ended_at: Option<Timestamp>,
    /// Whether the start was found by looking, and not told by LiveKit.
    pub synthetic_start: bool,
    /// Whether the end was found by looking, or follows from a newer room, and was not told by LiveKit.
    pub synthetic_end: bool,
    /// Connections of people and agents so far: what the list calls `participants`.
    pub participant_count: u64,
    /// The most of them at once.
    pub peak: u64,
    /// Time that people were connected, in seconds, those who are connected now included.
    pub participant_seconds: f64,
    /// The moment that the sums are of.
    pub as_of: Timestamp,
    /// Every connection, in the order in which they joined; up to 20,000 spans of the session are looked at.
    pub participants: Vec<ParticipantView>,
    /// Recordings and streams out of the room.
    pub egresses: Vec<MediaView>,
    /// Streams into the room.
    pub ingresses: Vec<MediaView>,
    /// What LiveKit failed to tell and was found by looking; the first 50.
    pub gaps: Vec<Gap>,
}

/// Get a session with a timeline of its participants.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GetSession {
    /// The session.
    pub id: SessionId,
    /// The project; a project's key implies it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project_id: Option<ProjectId>,
}

impl Operation for GetSession {
    type Output = SessionDetail;
    const META: Meta = Meta::read(
        "sessions.get",
        "/v1/sessions/{id}",
        &[Permission::SessionsRead],
        "Get a session with a timeline of its participants",
    );

    fn scope(&self) -> Scope {
        Scope::CallerProject(self.project_id)
    }

    async fn plan(&self, cx: &Cx<'_>) -> Result<Planned<SessionDetail>> {
        let found = cx.parts.sessions.get(cx.tenant()?.project.id, self.id).await?;
        let session = found.ok_or_else(|| Error::not_found("session", self.id))?;
        let intervals = cx.parts.intervals.of_session(session.id).await?;
        let sums = session.summary.unwrap_or_else(|| sums::summary(&intervals, cx.now));
        let view = session.view(sums, cx.now);
        Ok(Planned::read(SessionDetail {
            id: view.id,
            project_id: view.project_id,
            room: view.room,
            livekit_sid: view.livekit_sid,
            state: view.state,
            started_at: view.started_at,
            ended_at: view.ended_at,
            synthetic_start: view.synthetic_start,
            synthetic_end: view.synthetic_end,
            participant_count: view.participants,
            peak: view.peak,
            participant_seconds: view.participant_seconds,
            as_of: view.as_of,
            participants: sums::timeline(&intervals, cx.now),
            egresses: sums::media(&intervals, "egress", cx.now),
            ingresses: sums::media(&intervals, "ingress", cx.now),
            gaps: session.gaps,
        }))
    }
}
