//! Replays: a span of time whose events are sent to endpoints once more, or for the first time. A replay is worked off by a
//! job of the same id; its document is the job's memory: how far it has come is written in the commit that gets it there.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    deliver::event_filter::EventTypeFilter,
    id::{EndpointId, EventId, JobId, ProjectId},
    media::room::RoomName,
    time::Timestamp,
};

/// The most replays of a project that run at once.
pub const MAX_RUNNING: u64 = 5;
/// The most rooms that a replay names.
pub const MAX_ROOMS: usize = 50;
/// The highest rate, in deliveries a second.
pub const MAX_RATE: u32 = 10_000;
/// For how long a replay that has ended is shown.
pub const KEPT: Duration = Duration::from_secs(30 * 86_400);
/// How many seconds' worth of deliveries may be made at once: jobs are looked for once a second, so that what one look left
/// has to be made up for by the next.
const SAVED_SECONDS: i64 = 2;

/// Which events of the span an endpoint gets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum ReplayStatus {
    /// All that it wants, also those that it has taken.
    All,
    /// Those whose latest delivery to it was given up: `exhausted`, `quarantined`, `cancelled` or `expired`.
    #[default]
    Failed,
    /// Those of which there never was a delivery to it: what happened before a new endpoint was made.
    Missing,
}

/// Where a replay stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum ReplayState {
    /// Deliveries are being made.
    Running,
    /// All were made. What becomes of each is told by the delivery.
    Completed,
    /// Somebody stopped it. What was made until then is sent.
    Cancelled,
    /// It could not go on.
    Failed,
}

/// A replay as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replay {
    /// The id, which is its job's, and the origin of its deliveries.
    pub id: JobId,
    /// The project.
    pub project_id: ProjectId,
    /// Where it stands, as its job knows it.
    pub state: ReplayState,
    /// 1 while it may go on. A cancellation takes it down to 0, whatever version the document has, and the job finds it so.
    pub running: i64,
    /// Why it failed, for a person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Events recorded at or after.
    pub since: Timestamp,
    /// Events recorded before.
    pub until: Timestamp,
    /// Of these types.
    #[serde(default)]
    pub types: EventTypeFilter,
    /// In one of these rooms; in any, or none, when there is none.
    #[serde(default)]
    pub rooms: Vec<RoomName>,
    /// Which of them.
    pub status: ReplayStatus,
    /// To which endpoints, fixed when it was started.
    pub endpoint_ids: Vec<EndpointId>,
    /// How many deliveries a second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_per_second: Option<u32>,
    /// The last event that was looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<EventId>,
    /// Events of which a delivery was made.
    pub events: u64,
    /// Deliveries that were made.
    pub deliveries: u64,
    /// The moment up to which the rate is used up.
    pub paced_at: Timestamp,
    /// When it was started.
    pub created_at: Timestamp,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Timestamp>,
    /// When it may be forgotten.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// Grows by one with each change.
    #[serde(skip)]
    pub version: u64,
}

impl Replay {
    /// Where it stands: cancelled as soon as somebody has said so.
    pub fn state(&self) -> ReplayState {
        match self.state {
            ReplayState::Running if self.running <= 0 => ReplayState::Cancelled,
            state => state,
        }
    }

    /// The same at its end.
    #[must_use]
    pub fn ended(self, state: ReplayState, reason: Option<String>, now: Timestamp) -> Self {
        let expires_at = Some(now.plus(KEPT));
        Self { state, reason, running: 0, finished_at: Some(now), expires_at, ..self }
    }

    /// How many deliveries may be made at `now`, at most `most`.
    pub fn allowance(&self, now: Timestamp, most: usize) -> usize {
        let Some(rate) = self.rate() else { return most };
        let saved = now.as_millis() - self.paced_from(now).as_millis();
        usize::try_from(saved.max(0).saturating_mul(rate) / 1_000).unwrap_or(0).min(most)
    }

    /// When the next delivery may be made.
    pub fn next_at(&self, now: Timestamp) -> Timestamp {
        self.rate().map_or(now, |rate| paced(self.paced_from(now), 1, rate))
    }

    /// The moment up to which the rate is used up once `made` more deliveries are made at `now`.
    pub fn paced_after(&self, made: usize, now: Timestamp) -> Timestamp {
        let made = i64::try_from(made).unwrap_or(i64::MAX);
        self.rate().map_or(now, |rate| paced(self.paced_from(now), made, rate))
    }

    fn rate(&self) -> Option<i64> {
        self.rate_per_second.map(|rate| i64::from(rate.max(1)))
    }

    /// From when on what was left of the rate counts. A clock that was set back leaves nobody waiting for the old time: what
    /// is used up for longer than a batch can be worth was used up before.
    fn paced_from(&self, now: Timestamp) -> Timestamp {
        let saved = Duration::from_secs(SAVED_SECONDS.unsigned_abs());
        let latest = now.plus(Duration::from_secs(60));
        let oldest = now.minus(saved);
        if self.paced_at > latest { oldest } else { self.paced_at.max(oldest) }
    }
}

/// The moment after `from` by which `count` deliveries are paid for, rounded up: the rate is never exceeded.
fn paced(from: Timestamp, count: i64, rate: i64) -> Timestamp {
    let millis = count.saturating_mul(1_000).saturating_add(rate - 1) / rate;
    from.plus(Duration::from_millis(millis.unsigned_abs()))
}

/// A replay as it is shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Replay")]
pub struct ReplayView {
    /// The id. Its deliveries have it as their origin, and as the header `pulse-replay`.
    pub id: JobId,
    /// The project.
    pub project_id: ProjectId,
    /// Where it stands.
    pub state: ReplayState,
    /// Why it failed.
    pub reason: Option<String>,
    /// Events recorded at or after this moment.
    pub since: Timestamp,
    /// Events recorded before this moment.
    pub until: Timestamp,
    /// Of these types; of all when there is none.
    pub types: EventTypeFilter,
    /// In one of these rooms; wherever when there is none.
    pub rooms: Vec<RoomName>,
    /// Which of them.
    pub status: ReplayStatus,
    /// To which endpoints, as far as they want the type of an event.
    pub endpoint_ids: Vec<EndpointId>,
    /// How many deliveries a second are made at most; as fast as it goes when `null`.
    pub rate_per_second: Option<u32>,
    /// How far it is through its span of time, in percent.
    #[schemars(range(max = 100))]
    pub percent: u8,
    /// Events of which a delivery was made.
    pub events: u64,
    /// Deliveries that were made.
    pub deliveries: u64,
    /// When it was started.
    pub created_at: Timestamp,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// Only in a dry run that did not count to the end: up to which moment it counted. What was recorded later comes on top.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counted_until: Option<Timestamp>,
}

impl Replay {
    /// What a caller sees.
    pub fn view(&self) -> ReplayView {
        let own = self.clone();
        ReplayView {
            state: own.state(),
            percent: own.percent(),
            id: own.id,
            project_id: own.project_id,
            reason: own.reason,
            since: own.since,
            until: own.until,
            types: own.types,
            rooms: own.rooms,
            status: own.status,
            endpoint_ids: own.endpoint_ids,
            rate_per_second: own.rate_per_second,
            events: own.events,
            deliveries: own.deliveries,
            created_at: own.created_at,
            finished_at: own.finished_at,
            counted_until: None,
        }
    }

    fn percent(&self) -> u8 {
        if self.state == ReplayState::Completed {
            return 100;
        }
        let at = self.cursor.map_or(self.since, EventId::moment);
        let (done, all) = (at.since(self.since).as_millis(), self.until.since(self.since).as_millis());
        u8::try_from((done * 100).checked_div(all).unwrap_or(0)).unwrap_or(99).min(99)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::SeededEntropy;

    fn replay(rate: Option<u32>, now: Timestamp) -> Replay {
        let entropy = SeededEntropy::new(1);
        Replay {
            id: JobId::new(now, &entropy),
            project_id: ProjectId::new(now, &entropy),
            state: ReplayState::Running,
            running: 1,
            reason: None,
            since: now.minus(Duration::from_secs(100)),
            until: now,
            types: EventTypeFilter::default(),
            rooms: Vec::new(),
            status: ReplayStatus::All,
            endpoint_ids: Vec::new(),
            rate_per_second: rate,
            cursor: None,
            events: 0,
            deliveries: 0,
            paced_at: now.minus(Duration::from_secs(1)),
            created_at: now,
            finished_at: None,
            expires_at: None,
            version: 1,
        }
    }

    #[test]
    fn no_more_is_made_than_the_rate_says_however_it_is_asked() {
        for rate in [1, 7, 300, 1_000, MAX_RATE] {
            let began = Timestamp::from_secs(1_000);
            let mut own = replay(Some(rate), began);
            let (mut now, mut made) = (began, 0);
            // Looks that come early, late, and after a long pause.
            for wait in [0, 1, 3, 999, 1_000, 1_001, 250, 5_000, 1, 1_000, 17] {
                now = now.plus(Duration::from_millis(wait));
                while own.allowance(now, 200) > 0 {
                    let batch = own.allowance(now, 200);
                    own.paced_at = own.paced_after(batch, now);
                    made += batch as u64;
                }
                let millis = now.since(began).as_millis() + 1_000;
                assert!(u128::from(made) * 1_000 <= millis * u128::from(rate), "{made} at {rate}/s after {millis} ms");
                assert!(own.next_at(now) > now, "nothing is free at {rate}/s");
            }
        }
    }

    #[test]
    fn looks_a_second_apart_make_what_the_rate_says_and_a_long_pause_is_not_made_up_for() {
        let mut now = Timestamp::from_secs(1_000);
        let mut own = replay(Some(3), now);
        let mut look = |wait: u64| {
            now = now.plus(Duration::from_millis(wait));
            let batch = own.allowance(now, 200);
            own.paced_at = own.paced_after(batch, now);
            batch
        };
        assert_eq!([0, 1_000, 900, 1_100, 2_000, 60_000].map(&mut look), [3, 3, 2, 3, 6, 6]);
    }

    #[test]
    fn without_a_rate_a_batch_is_as_large_as_it_may_be() {
        let now = Timestamp::from_secs(1_000);
        assert_eq!((replay(None, now).allowance(now, 200), replay(None, now).next_at(now)), (200, now));
    }

    #[test]
    fn a_clock_that_is_set_back_leaves_nobody_waiting_for_the_old_time() {
        let own = replay(Some(10), Timestamp::from_secs(10_000));
        let now = Timestamp::from_secs(1_000);
        assert!(own.next_at(now) <= now.plus(Duration::from_millis(100)));
        assert!(own.allowance(now, 200) > 0, "what is never begun is never written down either");
    }

    #[test]
    fn it_is_through_its_span_of_time_as_far_as_its_last_event() {
        let now = Timestamp::from_secs(1_000);
        let at = |seconds| Some(EventId::lowest(Timestamp::from_secs(seconds)));
        let own = replay(None, now);
        let percents =
            [None, at(900), at(925), at(1_000)].map(|cursor| Replay { cursor, ..own.clone() }.view().percent);
        assert_eq!(percents, [0, 0, 25, 99], "it is at its end when it says so");
        let nothing = Replay { since: now, ..own.clone() };
        assert_eq!((nothing.view().percent, own.ended(ReplayState::Completed, None, now).view().percent), (0, 100));
    }
}
