//! What a listing of LiveKit lacked, though it is on record.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

/// By how much a sign of life may be younger than it says: LiveKit has whole seconds in its webhooks, and a clock of its own.
const INEXACT: Duration = Duration::from_secs(2);

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
}

/// Whether a sign of life may be from after this moment.
pub fn may_have_come_since(sign: Option<Timestamp>, moment: Timestamp) -> bool {
    sign.is_some_and(|sign| sign.plus(INEXACT) > moment)
}
