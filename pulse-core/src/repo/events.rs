//! Events in the store. The events of a session are its log, in which the store numbers them; others stand beside.

use serde_json::Value;

use super::{Document, document_basics, get};
use crate::{
    deliver::event_filter::{EventTypeFilter, EventTypePattern},
    error::{Error, Result},
    id::{EventId, ProjectId, SessionId},
    media::room::RoomName,
    model::event::{Event, EventView},
    page::{Cursor, CursorBinding, Page, PageLimit},
    store::{Batch, Collection, Condition, Inserted, Order, Position, Scan, SharedStore, Stored, changes, schema},
    time::Timestamp,
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

/// Which events a list has.
#[derive(Clone, Debug, Default)]
pub struct EventFilter {
    /// Of these types.
    pub types: EventTypeFilter,
    /// In this room.
    pub room: Option<RoomName>,
    /// Of this session, in the order of their numbers.
    pub session_id: Option<SessionId>,
    /// With a greater number in the session.
    pub after_sequence: Option<u64>,
    /// Recorded at or after.
    pub from: Option<Timestamp>,
    /// Recorded before.
    pub to: Option<Timestamp>,
}

impl EventFilter {
    /// The scan over the project's events.
    fn scan(&self, project: ProjectId) -> Scan {
        let bound = |at: Option<Timestamp>| at.map(|at| Value::from(EventId::lowest(at).to_string()));
        let mut scan = match self.session_id {
            Some(session) => {
                let from = self.after_sequence.map(|after| after.saturating_add(1).min(i64::MAX.unsigned_abs()).into());
                let scan = Scan::new(Event::COLLECTION, "log_seq", vec![session.to_string().into()]);
                Scan { order: Order::Ascending, from, ..scan }
            }
            None => {
                let scan = Scan::new(Event::COLLECTION, "project", vec![project.to_string().into()]);
                Scan { from: bound(self.from), to: bound(self.to), ..scan }
            }
        };
        scan.filter.push(Condition::Eq("project_id", project.to_string().into()));
        scan.filter.extend(of_types("type", &self.types));
        scan.filter.extend(self.room.as_ref().map(|room| Condition::Eq("room", room.as_str().into())));
        scan
    }
}

/// The condition that documents meet whose field of this name has one of these types; `None` when all do.
pub(super) fn of_types(field: &'static str, types: &EventTypeFilter) -> Option<Condition> {
    let of = |pattern: &EventTypePattern| match pattern.as_str().strip_suffix('*') {
        Some(start) => Condition::Prefix(field, start.to_owned()),
        None => Condition::Eq(field, pattern.as_str().into()),
    };
    (!types.is_empty()).then(|| Condition::Any(types.patterns().iter().map(of).collect()))
}

/// The condition that documents meet of what was in one of these rooms; `None` when all do.
pub(super) fn in_rooms(rooms: &[RoomName]) -> Option<Condition> {
    let rooms: Vec<Value> = rooms.iter().map(|room| room.as_str().into()).collect();
    (!rooms.is_empty()).then_some(Condition::In("room", rooms))
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

    /// A page of the project's events: newest first, or those of a session in the order of their numbers.
    pub async fn list(
        &self,
        project: ProjectId,
        filter: &EventFilter,
        limit: Option<PageLimit>,
        cursor: Option<&Cursor>,
    ) -> Result<Page<EventView>> {
        let mut scan = filter.scan(project);
        let binding = CursorBinding::new("events", &(project, format!("{filter:?}")));
        scan.limit = PageLimit::rows(limit);
        scan.after = cursor.map(|cursor| binding.decode(cursor)).transpose()?;
        let rows = self.0.scan(scan).await?;
        let show = |row| Event::from_stored(row).and_then(|event| event.view());
        let data = rows.rows.into_iter().map(show).collect::<Result<_>>()?;
        Ok(Page { data, next_cursor: rows.next.map(|position| binding.encode(position)) })
    }

    /// When the oldest of the project's events that are kept was recorded.
    pub async fn oldest(&self, project: ProjectId) -> Result<Option<Timestamp>> {
        let scan = Scan::new(Event::COLLECTION, "project", vec![project.to_string().into()]);
        let rows = self.0.scan(Scan { order: Order::Ascending, limit: 1, ..scan }).await?.rows;
        Ok(rows.first().and_then(|row| row.id.parse::<EventId>().ok()).map(EventId::moment))
    }

    /// Up to `limit` of the project's events of some types and rooms, oldest first, that were recorded within a span of time:
    /// those behind the one of id `after`; and the last one that was looked at, unless it was the last of all. Events that do
    /// not decode are passed by.
    pub async fn in_span(
        &self,
        project: ProjectId,
        (types, rooms): (&EventTypeFilter, &[RoomName]),
        (from, to): (Timestamp, Timestamp),
        after: Option<EventId>,
        limit: usize,
    ) -> Result<(Vec<Event>, Option<EventId>)> {
        let bound = |at: Timestamp| Some(Value::from(EventId::lowest(at).to_string()));
        let mut scan = Scan::new(Event::COLLECTION, "project", vec![project.to_string().into()]);
        (scan.order, scan.limit) = (Order::Ascending, limit);
        (scan.from, scan.to) = (bound(from), bound(to));
        scan.after = after.map(|id| Position { key: Vec::new(), id: id.to_string() });
        scan.filter.extend(of_types("type", types));
        scan.filter.extend(in_rooms(rooms));
        let rows = self.0.scan(scan).await?;
        let next = rows.next.map(|position| position.id.parse()).transpose().map_err(Error::internal)?;
        Ok((rows.rows.into_iter().filter_map(|row| Event::from_stored(row).ok()).collect(), next))
    }

    /// Up to `limit` of the project's events, oldest first, from there on. One that does not read is passed over and logged: it
    /// must not hide the others.
    pub async fn since(&self, project: ProjectId, since: Since, limit: usize) -> Result<EventsSince> {
        let rows = self.0.scan(since.scan(project, limit)).await?.rows;
        let next = next(&rows, limit);
        Ok(EventsSince { events: readable(rows), next })
    }

    /// The ids of up to `limit` of the project's events, oldest first, from there on, without reading the events.
    pub async fn ids_since(&self, project: ProjectId, since: Since, limit: usize) -> Result<IdsSince> {
        let rows = self.0.scan(Scan { ids: true, ..since.scan(project, limit) }).await?.rows;
        let next = next(&rows, limit);
        Ok(IdsSince { ids: rows.iter().filter_map(|row| row.id.parse().ok()).collect(), next })
    }

    /// All of the project's events between two ids, both included, oldest first; those that do not read are passed over as in
    /// [`Events::since`].
    pub async fn between(&self, project: ProjectId, first: EventId, last: EventId) -> Result<Vec<Event>> {
        let mut scan = Scan { from: Some(first.to_string().into()), ..Since::Event(first).scan(project, BETWEEN) };
        scan.to = Some(after(last).into());
        let mut events = Vec::new();
        loop {
            let page = self.0.scan(scan.clone()).await?;
            events.extend(readable(page.rows));
            match page.next {
                None => return Ok(events),
                next => scan.after = next,
            }
        }
    }

    /// Tells of every event that somebody has recorded and that is wanted, as it is stored: at once, for as long as it is
    /// polled and the store can tell.
    pub async fn hear(&self, is_wanted: impl Fn(&Value) -> bool, each: impl Fn(Event)) {
        let all = Inserted { collection: Event::COLLECTION, equal: Vec::new() };
        changes::follow(&self.0, &all, |row| {
            if is_wanted(&row.doc) {
                readable(vec![row]).into_iter().for_each(&each);
            }
        })
        .await;
    }
}

/// Events that are read at once, of those between two.
const BETWEEN: usize = 500;

/// The least text that is greater than the id.
fn after(id: EventId) -> String {
    format!("{id}\u{1}")
}

/// Where reading goes on after rows that were asked for up to a limit.
fn next(rows: &[Stored], limit: usize) -> Option<Since> {
    rows.last().filter(|_| rows.len() == limit).and_then(|row| row.id.parse().ok()).map(Since::Event)
}

/// The events that read.
fn readable(rows: Vec<Stored>) -> Vec<Event> {
    let read = |row| match Event::from_stored(row) {
        Ok(event) => Some(event),
        Err(error) => {
            tracing::error!(error = %error, "an event is passed over");
            None
        }
    };
    rows.into_iter().filter_map(read).collect()
}

/// Ids of a project's events, and where more of them begin; none when these are the last.
#[derive(Clone, Debug)]
pub struct IdsSince {
    /// The ids, oldest first.
    pub ids: Vec<EventId>,
    /// Where reading goes on.
    pub next: Option<Since>,
}

/// Events of a project, and where more of them begin; none when these are the last.
#[derive(Clone, Debug)]
pub struct EventsSince {
    /// The events, oldest first.
    pub events: Vec<Event>,
    /// Where reading goes on.
    pub next: Option<Since>,
}

/// Where reading on begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Since {
    /// At a moment of record.
    Moment(Timestamp),
    /// After an event.
    Event(EventId),
}

impl Since {
    /// The scan over the project's events from there on, oldest first.
    fn scan(self, project: ProjectId, limit: usize) -> Scan {
        let from = match self {
            Self::Moment(moment) => EventId::lowest(moment).to_string(),
            Self::Event(id) => after(id),
        };
        let scan = Scan::new(Event::COLLECTION, "project", vec![project.to_string().into()]);
        Scan { order: Order::Ascending, from: Some(from.into()), limit, ..scan }
    }
}
