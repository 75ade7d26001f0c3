//! Which endpoints get which events of a replay. The same choice is counted for a dry run and made by the job.

use std::collections::HashMap;

use crate::{
    deliver::{dispatch::endpoint_it_is_about, state::Status},
    error::Result,
    id::EventId,
    model::{
        endpoint::Endpoint,
        event::{Event, TEST_EVENT},
        replay::{Replay, ReplayStatus},
    },
    parts::Parts,
    store::Stored,
    time::Timestamp,
};

/// Deliveries that are read at a time.
const ROWS: usize = 1_000;
/// Events that are looked at at a time for a count.
const PAGE: usize = 500;
/// Events that are counted at most.
const COUNTED: u64 = 10_000;
/// Pages that are looked at at most for a count, whether or not anything on them is counted.
const PAGES: usize = 40;

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
        let which = (&replay.types, replay.rooms.as_slice());
        let events = &self.parts.events;
        let (mut events, next) = events.in_span(replay.project_id, which, (replay.since, until), after, limit).await?;
        let (now, kept) = (self.parts.clock.now(), self.parts.settings.pipeline.keep_events);
        events.retain(|event| event.kind != TEST_EVENT && event.can_be_sent(kept, now));
        let latest = self.latest(&events).await?;
        let chosen = events.into_iter().map(|event| Chosen { endpoints: self.places(&event, &latest), event });
        Ok(Page { chosen: chosen.filter(|one| !one.endpoints.is_empty()).collect(), next })
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

    /// The latest delivery of each of these events, which come by id, to each of the endpoints.
    async fn latest(&self, events: &[Event]) -> Result<Vec<HashMap<String, Latest>>> {
        let mut all = vec![HashMap::new(); self.endpoints.len()];
        let (Some(first), Some(last)) = (events.first(), events.last()) else { return Ok(all) };
        if self.replay.status == ReplayStatus::All {
            return Ok(all);
        }
        for (endpoint, latest) in self.endpoints.iter().zip(&mut all) {
            let mut after = None;
            loop {
                let span = (first.id.moment(), last.id.moment());
                let rows = self.parts.deliveries.of_span(endpoint.id, span, after, ROWS).await?;
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

/// Notes a delivery if it is later than what is known. One that was put aside because it does not decode counts like any other.
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

/// Counts what a replay to these endpoints would make: 10,000 events at most, in at most 40 pages, each a scan over events and a few
/// over the deliveries of each endpoint.
///
/// # Errors
/// When the store fails.
pub async fn count(parts: &Parts, replay: &Replay, endpoints: &[Endpoint]) -> Result<Count> {
    let choice = Choice { parts, replay, endpoints };
    let mut count = Count { events: 0, deliveries: 0, until: None };
    let mut after = replay.cursor;
    for _ in 0..PAGES {
        let page = choice.page(after, replay.until, PAGE).await?;
        count.events += page.chosen.len() as u64;
        count.deliveries += page.chosen.iter().map(|one| one.endpoints.len() as u64).sum::<u64>();
        after = page.next;
        if after.is_none() || count.events >= COUNTED {
            break;
        }
    }
    Ok(Count { until: after.map(EventId::moment), ..count })
}
