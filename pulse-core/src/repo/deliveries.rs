//! Deliveries and their attempts in the store. What is pending lies by endpoint, then by priority, then by the moment at
//! which it is due, so that a claim reads what it takes and nothing else, however much waits beside it.

use serde_json::{Map, Value};

use super::{
    Document, document_basics,
    events::{in_rooms, of_types},
    get, page,
};
use crate::{
    deliver::{event_filter::EventTypeFilter, state::Status},
    error::Result,
    id::{DeliveryId, EndpointId, EventId, ProjectId},
    media::room::RoomName,
    model::delivery::{Attempt, AttemptView, Delivery, DeliveryView, Priority},
    page::{Cursor, CursorBinding, Page, PageLimit},
    store::{Collection, Condition, Inserted, Order, Position, Rows, Scan, SharedStore, Stored, changes, schema},
    time::Timestamp,
};

impl Document for Delivery {
    const COLLECTION: &'static Collection = &schema::DELIVERIES;
    const KIND: &'static str = "delivery";
    document_basics!();

    fn derive(&self, doc: &mut Map<String, Value>) {
        if self.state.status == Status::Quarantined {
            doc.insert(QUARANTINED.into(), 1.into());
        }
    }
}

/// The field that finds deliveries which were put aside.
pub const QUARANTINED: &str = "quarantined";

impl Document for Attempt {
    const COLLECTION: &'static Collection = &schema::ATTEMPTS;
    const KIND: &'static str = "attempt";
    document_basics!();
}

/// Which deliveries a list has.
#[derive(Clone, Debug, Default)]
pub struct DeliveryFilter {
    /// To this endpoint.
    pub endpoint_id: Option<EndpointId>,
    /// Of this event.
    pub event_id: Option<EventId>,
    /// Of events of this type.
    pub event_type: Option<String>,
    /// Of events in this room.
    pub room: Option<RoomName>,
    /// That stand so.
    pub status: Option<Status>,
    /// Whose event happened at or after.
    pub from: Option<Timestamp>,
    /// Whose event happened before.
    pub to: Option<Timestamp>,
}

/// What is pending for an endpoint.
#[derive(Clone, Debug, Default)]
pub struct Due {
    /// Rows that are due, as they are stored: one that does not decode must not hide the others.
    pub rows: Vec<Stored>,
    /// When the next one is due, if more are pending.
    pub next: Option<Timestamp>,
    /// Whether a first attempt is among what is pending beside the rows.
    pub next_is_first: bool,
}

impl Due {
    fn note_next(&mut self, at: Timestamp, priority: Priority) {
        self.next = Some(self.next.map_or(at, |next| next.min(at)));
        self.next_is_first |= priority == Priority::First;
    }
}

/// An endpoint for which something is pending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// The endpoint.
    pub endpoint: EndpointId,
    /// When the first of it is or was due.
    pub due_at: Timestamp,
    /// Whether a first attempt is among it.
    pub first: bool,
}

/// The endpoint of a delivery as it is stored, also of one that does not decode.
pub fn endpoint_of(delivery: &Value) -> Option<EndpointId> {
    delivery["endpoint_id"].as_str()?.parse().ok()
}

/// Whether its next attempt is a first one.
pub fn is_first(delivery: &Value) -> bool {
    priority_of(delivery) == Priority::First.number()
}

fn priority_of(delivery: &Value) -> i64 {
    delivery["prio"].as_i64().unwrap_or_default()
}

/// When a pending row is due. One without a moment that reads is due: whoever claims it finds out.
pub fn due_at(row: &Stored, now: Timestamp) -> Timestamp {
    row.doc["due_at"].as_str().and_then(|at| at.parse().ok()).unwrap_or(now)
}

/// Reads deliveries.
#[derive(Clone, Debug)]
pub struct Deliveries(pub SharedStore);

impl Deliveries {
    /// The project's delivery of that id.
    pub async fn get(&self, project: ProjectId, id: DeliveryId) -> Result<Option<Delivery>> {
        Ok(get::<Delivery>(&self.0, &id.to_string()).await?.filter(|delivery| delivery.project_id == project))
    }

    /// Up to `limit` deliveries of an endpoint that are due at `now`, the more urgent first, and when the next one is;
    /// first attempts alone when `firsts_only`.
    pub async fn due(&self, endpoint: EndpointId, now: Timestamp, limit: usize, firsts_only: bool) -> Result<Due> {
        let mut due = Due::default();
        // One more than is wanted tells when the next is due. Mostly that is all that there is.
        let mut known = self.pending(endpoint, None, limit + 1).await?;
        let is_all = known.len() <= limit;
        for priority in Priority::ALL {
            let may_take = priority == Priority::First || !firsts_only;
            let left = if may_take { limit - due.rows.len() } else { 0 };
            let rest = known.iter().position(|row| priority_of(&row.doc) > priority.number()).unwrap_or(known.len());
            let mut rows: Vec<Stored> = known.drain(..rest).collect();
            if !is_all && known.is_empty() && rows.len() <= left {
                rows = self.pending(endpoint, Some(priority), left + 1).await?;
            }
            for row in rows {
                let at = due_at(&row, now);
                if at > now || due.rows.len() == limit || !may_take {
                    due.note_next(at, priority);
                    break;
                }
                due.rows.push(row);
            }
            if due.next.is_some_and(|next| next <= now) {
                break;
            }
        }
        Ok(due)
    }

    /// Up to `limit` pending deliveries of an endpoint as they are stored, of this priority or of all: the more urgent first,
    /// and then those that are due first.
    pub async fn pending(&self, endpoint: EndpointId, priority: Option<Priority>, limit: usize) -> Result<Vec<Stored>> {
        let mut prefix = vec![endpoint.to_string().into()];
        prefix.extend(priority.map(|priority| priority.number().into()));
        let scan = Scan::new(Delivery::COLLECTION, "pending", prefix);
        Ok(self.0.scan(Scan { limit, order: Order::Ascending, ..scan }).await?.rows)
    }

    /// Looks at up to `cap` endpoints that have something pending, behind that of id `after`, in the order of their ids: one
    /// look-up for each, one more for those that are wanted and have something due at `now`, a few for other wanted ones,
    /// however much is pending. Gives what waits for those that are wanted, and the last one that was looked at unless it was
    /// the last of all.
    pub async fn endpoints_with_work(
        &self,
        after: Option<EndpointId>,
        now: Timestamp,
        cap: usize,
        wanted: impl Fn(EndpointId) -> bool,
    ) -> Result<(Vec<Waiting>, Option<EndpointId>)> {
        let mut found = Vec::new();
        let mut last = None;
        let mut from = after.map(|id| Value::from(id.to_string() + "\u{1}"));
        for _ in 0..cap {
            let scan = Scan::new(Delivery::COLLECTION, "pending", Vec::new());
            let scan = Scan { limit: 1, order: Order::Ascending, from: from.take(), ..scan };
            let Some(row) = self.0.scan(scan).await?.rows.into_iter().next() else { return Ok((found, None)) };
            let text = row.doc["endpoint_id"].as_str().unwrap_or_default();
            from = Some(Value::from(format!("{text}\u{1}")));
            let Some(endpoint) = endpoint_of(&row.doc) else { continue };
            last = Some(endpoint);
            if wanted(endpoint) {
                found.push(self.waiting(endpoint, &row, now).await?);
            }
        }
        Ok((found, last))
    }

    /// What waits for an endpoint of which this row is the first.
    async fn waiting(&self, endpoint: EndpointId, row: &Stored, now: Timestamp) -> Result<Waiting> {
        let of_row = priority_of(&row.doc);
        let mut due = due_at(row, now);
        for priority in Priority::ALL.into_iter().filter(|priority| priority.number() > of_row) {
            if due <= now {
                break;
            }
            let next = self.pending(endpoint, Some(priority), 1).await?;
            due = next.first().map_or(due, |next| due.min(due_at(next, now)));
        }
        Ok(Waiting { endpoint, due_at: due, first: is_first(&row.doc) })
    }

    /// Tells of every pending delivery that somebody has recorded, as it is stored: at once, for as long as it is polled and the
    /// store can tell.
    pub async fn hear(&self, each: impl Fn(Stored)) {
        let pending = vec![("status", Status::Pending.name().into())];
        let wanted = Inserted { collection: Delivery::COLLECTION, equal: pending };
        changes::follow(&self.0, &wanted, each).await;
    }

    /// A page of up to `cap` deliveries that are leased until `until` at the latest, behind `after`; of all that are leased
    /// when it is `None`.
    pub async fn leased(&self, until: Option<Timestamp>, after: Option<Position>, cap: usize) -> Result<Rows> {
        let scan = Scan::new(Delivery::COLLECTION, "leased", Vec::new());
        let bound = until.map(|until| until.plus(std::time::Duration::from_millis(1)).to_string().into());
        self.0.scan(Scan { to: bound, limit: cap, order: Order::Ascending, after, ..scan }).await
    }

    /// Up to `limit` deliveries to an endpoint of events of these types, and in these rooms, that were recorded within a span
    /// of time, its end included, as they are stored; those behind that position, and where the next ones begin.
    pub async fn of_span(
        &self,
        endpoint: EndpointId,
        (types, rooms): (&EventTypeFilter, &[RoomName]),
        (first, last): (Timestamp, Timestamp),
        after: Option<Position>,
        limit: usize,
    ) -> Result<Rows> {
        // An id begins with the moment of its event.
        let bound = |at: Timestamp| Some(Value::from(DeliveryId::lowest(at).to_string()));
        let (from, to) = (bound(first), bound(last.plus(std::time::Duration::from_millis(1))));
        let mut scan = Scan::new(Delivery::COLLECTION, "endpoint", vec![endpoint.to_string().into()]);
        scan.filter.extend(of_types("event_type", types));
        scan.filter.extend(in_rooms(rooms));
        self.0.scan(Scan { order: Order::Ascending, from, to, after, limit, ..scan }).await
    }

    /// How many deliveries of an endpoint are pending, counted up to `cap`.
    pub async fn count_pending(&self, endpoint: EndpointId, cap: u64) -> Result<u64> {
        self.0.count(Delivery::COLLECTION, "pending", &[endpoint.to_string().into()], cap).await
    }

    /// How many deliveries were put aside, counted up to `cap`.
    pub async fn count_quarantined(&self, cap: u64) -> Result<u64> {
        self.0.count(Delivery::COLLECTION, "quarantined", &[1.into()], cap).await
    }

    /// A page of the project's deliveries, newest event first.
    pub async fn list(
        &self,
        project: ProjectId,
        filter: &DeliveryFilter,
        limit: Option<PageLimit>,
        cursor: Option<&Cursor>,
    ) -> Result<Page<DeliveryView>> {
        let mut scan = match (filter.event_id, filter.endpoint_id) {
            (Some(event), _) => Scan::new(Delivery::COLLECTION, "event", vec![event.to_string().into()]),
            (None, Some(endpoint)) => Scan::new(Delivery::COLLECTION, "endpoint", vec![endpoint.to_string().into()]),
            (None, None) => Scan::new(Delivery::COLLECTION, "project", vec![project.to_string().into()]),
        };
        // An id begins with the moment of its event.
        scan.from = filter.from.map(|from| DeliveryId::lowest(from).to_string().into());
        scan.to = filter.to.map(|to| DeliveryId::lowest(to).to_string().into());
        let equals = |name, value: Option<String>| value.map(|value| Condition::Eq(name, value.into()));
        scan.filter.extend(equals("project_id", Some(project.to_string())));
        scan.filter.extend(equals("endpoint_id", filter.endpoint_id.map(|id| id.to_string())));
        scan.filter.extend(equals("event_type", filter.event_type.clone()));
        scan.filter.extend(equals("room", filter.room.as_ref().map(ToString::to_string)));
        scan.filter.extend(equals("status", filter.status.map(|status| status.name().to_owned())));
        let binding = CursorBinding::new("deliveries", &(project, format!("{filter:?}")));
        page::<Delivery, _>(&self.0, scan, &binding, limit, cursor, Delivery::view).await
    }

    /// A page of the attempts of one of the project's deliveries, oldest first.
    pub async fn attempts(
        &self,
        project: ProjectId,
        delivery: DeliveryId,
        limit: Option<PageLimit>,
        cursor: Option<&Cursor>,
    ) -> Result<Page<AttemptView>> {
        let mut scan = Scan::new(Attempt::COLLECTION, "delivery", vec![delivery.to_string().into()]);
        scan.order = Order::Ascending;
        scan.filter.push(Condition::Eq("project_id", project.to_string().into()));
        let binding = CursorBinding::new("attempts", &(project, delivery));
        page::<Attempt, _>(&self.0, scan, &binding, limit, cursor, Attempt::view).await
    }
}
