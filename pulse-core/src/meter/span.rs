//! How evidence about a span is merged: in any order, and any number of times, to the same.

use std::time::Duration;

use crate::{
    model::{
        event_data::{EgressKind, EgressStatus, IngressStatus, ParticipantKind},
        interval::{Evidence, Subject},
    },
    time::Timestamp,
};

/// LiveKit says when something ended in whole seconds, rounded down. Half a second more makes the error unbiased: between
/// half a second too early and half a second too late.
pub const END_BIAS: Duration = Duration::from_millis(500);

fn least(known: &mut Option<Timestamp>, said: Option<Timestamp>) {
    *known = match (*known, said) {
        (Some(known), Some(said)) => Some(known.min(said)),
        (known, said) => known.or(said),
    };
}

fn greatest(known: &mut Option<Timestamp>, said: Option<Timestamp>) {
    *known = (*known).max(said);
}

impl Evidence {
    /// Takes over what `other` knows.
    pub fn merge(&mut self, other: &Self) {
        self.active |= other.active;
        greatest(&mut self.began_at, other.began_at);
        least(&mut self.first_sign_at, other.first_sign_at);
        least(&mut self.ended_at, other.ended_at);
        least(&mut self.aborted_at, other.aborted_at);
        least(&mut self.room_ended_at, other.room_ended_at);
        greatest(&mut self.lost_at, other.lost_at);
        greatest(&mut self.last_sign_at, other.last_sign_at);
        // What gave a sign after it was thought to be lost was not lost.
        if self.last_sign_at > self.lost_at {
            self.lost_at = None;
        }
    }
}

/// How far an egress has come: a late word about an earlier state changes nothing.
fn egress_progress(status: EgressStatus) -> u8 {
    match status {
        EgressStatus::Unknown => 0,
        EgressStatus::Starting => 1,
        EgressStatus::Active => 2,
        EgressStatus::Ending => 3,
        EgressStatus::Complete => 4,
        EgressStatus::LimitReached => 5,
        EgressStatus::Aborted => 6,
        EgressStatus::Failed => 7,
    }
}

/// The same for a run of an ingress, which begins with what is buffered.
fn ingress_progress(status: IngressStatus) -> u8 {
    match status {
        IngressStatus::Unknown => 0,
        IngressStatus::Buffering => 1,
        IngressStatus::Publishing => 2,
        IngressStatus::Inactive => 3,
        IngressStatus::Complete => 4,
        IngressStatus::Error => 5,
    }
}

impl Subject {
    /// Takes over what `other`, which is about the same, knows more or later.
    pub fn merge(&mut self, other: Self) {
        match (self, other) {
            (
                Self::Participant { identity, name, participant_kind, disconnect_reason, jti },
                Self::Participant {
                    identity: who,
                    name: called,
                    participant_kind: kind,
                    disconnect_reason: why,
                    jti: token,
                },
            ) => {
                known(identity, who);
                known(name, called);
                *jti = jti.take().or(token);
                if *participant_kind == ParticipantKind::Unknown {
                    *participant_kind = kind;
                }
                // Two ends of one connection are a failure to end in order, and then the connection's own end.
                *disconnect_reason = match (*disconnect_reason, why) {
                    (Some(before), Some(why)) => Some(if (why as u8) < (before as u8) { why } else { before }),
                    (before, why) => before.or(why),
                };
            }
            (
                Self::Egress { egress_kind, outputs, status, bytes },
                Self::Egress { egress_kind: kind, outputs: more, status: said, bytes: written },
            ) => {
                if *egress_kind == EgressKind::Unknown {
                    *egress_kind = kind;
                }
                outputs.extend(more);
                if egress_progress(said) > egress_progress(*status) {
                    *status = said;
                }
                *bytes = (*bytes).max(written);
            }
            (Self::Ingress { identity, status, .. }, Self::Ingress { identity: who, status: said, .. }) => {
                known(identity, who);
                if ingress_progress(said) > ingress_progress(*status) {
                    *status = said;
                }
            }
            // Kind and key are one unique key, so this cannot be.
            (Self::Participant { .. } | Self::Egress { .. } | Self::Ingress { .. }, _) => {}
        }
    }
}

/// Fills what is not known yet.
fn known(text: &mut String, said: String) {
    if text.is_empty() {
        *text = said;
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_secs(1_700_000_000 + seconds)
    }

    fn moment() -> impl Strategy<Value = Option<Timestamp>> {
        proptest::option::of((0..50_i64).prop_map(at))
    }

    fn piece() -> impl Strategy<Value = Evidence> {
        let said = (moment(), moment(), moment(), moment());
        (any::<bool>(), said, moment(), moment(), moment()).prop_map(|(active, (a, b, c, d), e, f, g)| Evidence {
            active,
            began_at: a,
            first_sign_at: b,
            ended_at: c,
            aborted_at: d,
            room_ended_at: e,
            last_sign_at: f,
            lost_at: g,
        })
    }

    proptest! {
        #[test]
        fn evidence_in_any_order_and_number_comes_to_the_same(pieces in vec(piece(), 0..8), order in any::<prop::sample::Index>(), again in any::<bool>()) {
            let merged = |pieces: &mut dyn Iterator<Item = &Evidence>| {
                let mut sum = Evidence::default();
                pieces.for_each(|piece| sum.merge(piece));
                sum
            };
            let straight = merged(&mut pieces.iter());
            let turn = if pieces.is_empty() { 0 } else { order.index(pieces.len()) };
            let turned = pieces[turn..].iter().chain(&pieces[..turn]).rev();
            let twice = if again { &pieces[..] } else { &[] };
            prop_assert_eq!(straight, merged(&mut turned.chain(twice)));
        }
    }

    #[test]
    fn a_sign_of_life_takes_a_loss_back_whichever_comes_first() {
        let lost = Evidence { lost_at: Some(at(10)), ..Evidence::default() };
        let alive = Evidence { last_sign_at: Some(at(20)), ..Evidence::default() };
        let mut sum = lost.clone();
        sum.merge(&alive);
        assert_eq!(sum.end(), None);
        let mut sum = alive;
        sum.merge(&lost);
        assert_eq!(sum.end(), None);
    }

    #[test]
    fn who_was_found_gone_did_not_stay_until_the_end_of_the_room() {
        let mut sum = Evidence { lost_at: Some(at(10)), room_ended_at: Some(at(3_600)), ..Evidence::default() };
        assert_eq!(sum.end(), Some(at(10)));
        sum.ended_at = Some(at(12));
        assert_eq!(sum.end(), Some(at(12)), "LiveKit's own word");
    }

    #[test]
    fn an_end_is_never_before_the_beginning() {
        let sum = Evidence { began_at: Some(at(10)), ended_at: Some(at(9)), ..Evidence::default() };
        assert_eq!(sum.end(), Some(at(10)));
    }
}
