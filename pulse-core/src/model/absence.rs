//! What a listing of LiveKit lacked, though it is on record.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

/// By how much a sign of life may be younger than it says: LiveKit has whole seconds in its webhooks, and a clock of its own.
const INEXACT: Duration = Duration::from_secs(2);

/// The most that is added to the last sign of life of what has gone: an outage of LiveKit is not billed.
const MAX_TAIL: Duration = Duration::from_secs(15);

/// Something was missing from a good listing of LiveKit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Absence {
    /// When it was last known to be there.
    pub last_seen_at: Timestamp,
    /// When the first listing without it was begun.
    pub since: Timestamp,
}

impl Absence {
    /// Whether it stands beside this sign of life: what gave one since the listing was begun was not gone then.
    pub fn stands_beside(&self, sign: Option<Timestamp>) -> bool {
        !may_have_come_since(sign, self.since)
    }

    /// When it was there last, if it has gone. Of a sign before the listing, LiveKit may have told after it.
    pub fn seen(&self, sign: Option<Timestamp>) -> Timestamp {
        sign.map_or(self.last_seen_at, |sign| sign.max(self.last_seen_at))
    }

    /// When it went, if it has gone: in the middle of the time in which it did, but not long after it was seen.
    pub fn end(&self, sign: Option<Timestamp>) -> Timestamp {
        let seen = self.seen(sign);
        seen.plus((self.since.since(seen) / 2).min(MAX_TAIL))
    }
}

/// Whether a sign of life may be from after this moment.
pub fn may_have_come_since(sign: Option<Timestamp>, moment: Timestamp) -> bool {
    sign.is_some_and(|sign| sign.plus(INEXACT) > moment)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_in_the_middle_and_not_long_after_the_last_sign() {
        let at = Timestamp::from_secs;
        let end = |seen, missing| Absence { last_seen_at: at(seen), since: at(missing) }.end(None);
        assert_eq!(end(100, 110), at(105));
        assert_eq!(end(100, 130), at(115));
        assert_eq!(end(100, 100_000), at(115), "an outage of LiveKit is billed");
        assert_eq!(end(100, 90), at(100));
        let told_late = Absence { last_seen_at: at(100), since: at(110) };
        assert_eq!((told_late.seen(Some(at(108))), told_late.end(Some(at(108)))), (at(108), at(109)));
        assert_eq!(told_late.end(Some(at(50))), at(105));
    }
}
