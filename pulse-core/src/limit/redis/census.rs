//! How many daemons share the limits: what each one's part is reckoned from while Redis is away.

use std::time::Duration;

/// How many daemons there are. A smaller number is believed only when it has been so for as long as a daemon is remembered:
/// after a `FLUSHALL` they come back one by one.
#[derive(Debug, Default)]
pub(super) struct Census {
    confirmed: Duration,
    most: u32,
}

impl Census {
    /// Takes what was seen at `now`, where daemons are remembered for `lately`; gives how many to reckon with.
    pub(super) fn hears(&mut self, seen: u32, now: Duration, lately: Duration) -> u32 {
        if seen >= self.most || now.saturating_sub(self.confirmed) > lately {
            (self.most, self.confirmed) = (seen.max(1), now);
        }
        self.most
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fewer_daemons_are_believed_only_when_they_stay_fewer() {
        let mut census = Census::default();
        let at = Duration::from_secs;
        assert_eq!(
            [(1, 0), (3, 2), (1, 4), (2, 6)].map(|(seen, now)| census.hears(seen, at(now), at(10))),
            [1, 3, 3, 3]
        );
        assert_eq!(census.hears(3, at(8), at(10)), 3);
        assert_eq!(census.hears(2, at(18), at(10)), 3, "ten seconds are not over");
        assert_eq!(census.hears(2, at(19), at(10)), 2);
        assert_eq!(census.hears(0, at(40), at(10)), 1, "there is always this one");
    }
}
