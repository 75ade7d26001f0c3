//! Which daemons live, as one of them sees it: those whose count of beats grows, by its own clock. One that was never seen to
//! beat does not count, so that a daemon that dies again and again as it starts takes nothing from the others.

use std::{collections::HashMap, time::Duration};

use super::{LEASE, MARGIN};
use crate::model::shard::Member;

/// After how long without a beat a daemon is struck off.
const STRUCK_OFF: Duration = Duration::from_secs(60);

/// What is known of another daemon.
#[derive(Clone, Copy, Debug)]
struct Seen {
    beats: u64,
    /// The monotonic moment at which it was first seen to have beaten so often.
    at: Duration,
    /// Whether it was seen to beat.
    has_beaten: bool,
}

/// The roll.
#[derive(Debug, Default)]
pub(super) struct Roll(HashMap<String, Seen>);

impl Roll {
    /// How many of these live, this one included; and those that have not been heard of for long.
    pub(super) fn call(&mut self, members: Vec<Member>, own: &str, now: Duration) -> (usize, Vec<Member>) {
        let (mut living, mut dead, mut seen) = (1, Vec::new(), HashMap::with_capacity(members.len()));
        for member in members.into_iter().filter(|member| member.process != own) {
            let of_now = Seen { beats: member.beats, at: now, has_beaten: false };
            let known = match self.0.get(&member.process) {
                Some(known) if known.beats == member.beats => *known,
                Some(_) => Seen { has_beaten: true, ..of_now },
                None => of_now,
            };
            let silent = now.saturating_sub(known.at);
            living += usize::from(known.has_beaten && silent < LEASE.saturating_sub(MARGIN));
            seen.insert(member.process.clone(), known);
            if silent >= STRUCK_OFF {
                dead.push(member);
            }
        }
        self.0 = seen;
        (living, dead)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(beats: &[(&str, u64)]) -> Vec<Member> {
        beats
            .iter()
            .map(|(process, beats)| Member { process: (*process).to_owned(), beats: *beats, version: 1 })
            .collect()
    }

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn whoever_is_seen_to_beat_counts_until_the_third_beat_is_missed() {
        let mut roll = Roll::default();
        let mut living = |beats: &[(&str, u64)], seconds| roll.call(members(beats), "me", at(seconds)).0;
        assert_eq!(living(&[("me", 1), ("other", 7)], 0), 1, "it may have died long ago");
        assert_eq!(living(&[("me", 2), ("other", 8)], 5), 2);
        assert_eq!(living(&[("me", 3), ("other", 8)], 10), 2);
        assert_eq!(living(&[("me", 4), ("other", 8)], 15), 2);
        assert_eq!(living(&[("me", 5), ("other", 8)], 20), 1, "its leases are over");
        assert_eq!(living(&[("me", 6), ("other", 9)], 25), 2, "it stood still");
    }

    #[test]
    fn whoever_dies_as_it_starts_takes_nothing_from_the_others() {
        let mut roll = Roll::default();
        for start in 0..20 {
            // Each start is a new process.
            let all: Vec<(String, u64)> = (0..=start).map(|n| (format!("crash {n}"), 1)).collect();
            let all: Vec<(&str, u64)> = all.iter().map(|(name, beats)| (name.as_str(), *beats)).collect();
            assert_eq!(roll.call(members(&all), "me", at(3 * start)).0, 1);
        }
    }

    #[test]
    fn whoever_is_silent_for_a_minute_is_struck_off() {
        let mut roll = Roll::default();
        let mut dead = |seconds| roll.call(members(&[("me", 1), ("other", 7)]), "me", at(seconds)).1.len();
        assert_eq!((dead(0), dead(59), dead(60)), (0, 0, 1), "and never oneself");
    }
}
