//! Which endpoints get which events of a replay. The same choice is counted for a dry run and made by the job.

use std::{collections::HashMap, time::Duration};

use crate::{
    deliver::{dispatch::endpoint_it_is_about, event_filter::EventTypeFilter, state::Status},
    error::Result,
    id::EventId,
    media::room::RoomName,
    model::{
        endpoint::Endpoint,
        event::{Event, TEST_EVENT},
        replay::{Replay, ReplayStatus},
    },
    parts::Parts,
    store::Stored,
    time::Timestamp,
};

/// Deliveries that are read at a time: as many as events, and so many at least.
const ROWS: usize = 100;
/// Events that are looked at at a time for a count.
const PAGE: usize = 500;
/// Events that are counted at most.
const COUNTED: u64 = 10_000;
/// For how long is counted: no page is begun after that. A page is a scan of ten thousand events at most, and of the deliveries
/// of so many to each endpoint.
const COUNTING: Duration = Duration::from_secs(2);

/// An event and who gets it: places among the endpoints.
#[derive(Debug)]
pub(super) struct Chosen {
    pub(super) event: Event,
    pub(super) endpoints: Vec<usize>,
}

/// Some of the events that a replay is about.
#[derive(Debug)]
pub(super) struct Page {
    /// Those that somebody gets, oldest first.
    pub(super) chosen: Vec<Chosen>,
    /// The last event that was looked at; `None` behind the last of all.
    pub(super) next: Option<EventId>,
}

/// What a replay and its endpoints decide.
pub(super) struct Choice<'a> {
    pub(super) parts: &'a Parts,
    pub(super) replay: &'a Replay,
    pub(super) endpoints: &'a [Endpoint],
}

/// How the latest delivery of an event stands: when it was recorded, and whether it was given up.
type Latest = (String, bool);

impl Choice<'_> {
    /// What is chosen of up to `limit` events behind the one of id `after` that were recorded before `until`.
    pub(super) async fn page(&self, after: Option<EventId>, until: Timestamp, limit: usize) -> Result<Page> {
        let replay = self.replay;
        let events = &self.parts.events;
        let span = (replay.since, until);
        let (mut events, next) = events.in_span(replay.project_id, self.which(), span, after, limit).await?;
        let (now, kept) = (self.parts.clock.now(), self.parts.settings.pipeline.keep_events);
        events.retain(|event| event.kind != TEST_EVENT && event.can_be_sent(kept, now));
        let latest = self.latest(&events).await?;
        let chosen = events.into_iter().map(|event| Chosen { endpoints: self.places(&event, &latest), event });
        Ok(Page { chosen: chosen.filter(|one| !one.endpoints.is_empty()).collect(), next })
    }

    /// The types and the rooms that the replay is about.
    fn which(&self) -> (&EventTypeFilter, &[RoomName]) {
        (&self.replay.types, &self.replay.rooms)
    }

    /// The places of the endpoints that get the event; `latest` has an entry for each endpoint.
    fn places(&self, event: &Event, latest: &[HashMap<String, Latest>]) -> Vec<usize> {
        let id = event.id.to_string();
        let about = endpoint_it_is_about(event);
        let gets = |place: &usize| {
            let (endpoint, before) = (&self.endpoints[*place], latest[*place].get(&id));
            let fits = match self.replay.status {
                ReplayStatus::All => true,
                ReplayStatus::Failed => before.is_some_and(|(_, given_up)| *given_up),
                ReplayStatus::Missing => before.is_none(),
            };
            fits && endpoint.wants(&event.kind) && about != Some(endpoint.id)
        };
        (0..self.endpoints.len()).filter(gets).collect()
    }

    /// The latest delivery of each of these events, which come by id, to each of the endpoints that wants any of them.
    async fn latest(&self, events: &[Event]) -> Result<Vec<HashMap<String, Latest>>> {
        let mut all = vec![HashMap::new(); self.endpoints.len()];
        let (Some(first), Some(last)) = (events.first(), events.last()) else { return Ok(all) };
        if self.replay.status == ReplayStatus::All {
            return Ok(all);
        }
        let span = (first.id.moment(), last.id.moment());
        for (endpoint, latest) in self.endpoints.iter().zip(&mut all) {
            if !events.iter().any(|event| endpoint.wants(&event.kind)) {
                continue;
            }
            let mut after = None;
            loop {
                let rows = self
                    .parts
                    .deliveries
                    .of_span(endpoint.id, self.which(), span, after, events.len().max(ROWS))
                    .await?;
                rows.rows.iter().for_each(|row| note(row, latest));
                after = rows.next;
                if after.is_none() {
                    break;
                }
            }
        }
        Ok(all)
    }
}

/// Notes a delivery if it is later than what is known. One that was put aside because it does not decode counts
/// like any other, as far as it says its type and its room where those are asked for.
fn note(row: &Stored, latest: &mut HashMap<String, Latest>) {
    let text = |field: &str| row.doc[field].as_str().unwrap_or_default();
    let given_up = [Status::Exhausted, Status::Quarantined, Status::Cancelled, Status::Expired];
    let this = (text("created_at").to_owned(), given_up.iter().any(|status| status.name() == text("status")));
    match latest.get_mut(text("event_id")) {
        // Of two that were recorded in the same moment, one that is not given up is enough.
        Some(known) if (&this.0, !this.1) > (&known.0, !known.1) => *known = this,
        Some(_) => {}
        None => drop(latest.insert(text("event_id").to_owned(), this)),
    }
}

/// What a replay would make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count {
    /// Events of which there would be a delivery.
    pub events: u64,
    /// Deliveries.
    pub deliveries: u64,
    /// Up to which moment was counted, when that is not all.
    pub until: Option<Timestamp>,
}

/// Counts what a replay to these endpoints would make: 10,000 events at most, and for two seconds.
///
/// # Errors
/// When the store fails.
pub async fn count(parts: &Parts, replay: &Replay, endpoints: &[Endpoint]) -> Result<Count> {
    let choice = Choice { parts, replay, endpoints };
    let mut count = Count { events: 0, deliveries: 0, until: None };
    let mut after = replay.cursor;
    let began = parts.clock.monotonic();
    loop {
        let page = choice.page(after, replay.until, PAGE).await?;
        count.events += page.chosen.len() as u64;
        count.deliveries += page.chosen.iter().map(|one| one.endpoints.len() as u64).sum::<u64>();
        after = page.next;
        let is_over = parts.clock.monotonic().saturating_sub(began) >= COUNTING;
        if after.is_none() || count.events >= COUNTED || is_over {
            return Ok(Count { until: after.map(EventId::moment), ..count });
        }
    }
}
