//! The values without parts of protobuf's JSON: texts within bounds, 64-bit numbers that may be written as texts, enums by
//! name or by number. Absent, `null` and zero are the same, as they are in protobuf.

use serde::de::{IgnoredAny, MapAccess};

use super::lenient::{Lenient, lenient};
use crate::time::Timestamp;

lenient! {
    [const MAX: usize] Exact<MAX>;
    [const MAX: usize] Prose<MAX>;
    [] Integer;
    [] Real;
    [] Flag;
    [] Present;
    [T: Word] Named<T>;
}

/// A text that would mean something else if it were cut: an id, a name to look something up by, a document. Longer than
/// `MAX` bytes it counts as absent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Exact<const MAX: usize>(pub(super) Option<String>);

impl<const MAX: usize> Lenient<'_> for Exact<MAX> {
    fn text(text: &str) -> Self {
        Self((!text.is_empty() && text.len() <= MAX).then(|| text.to_owned()))
    }
}

/// A text for people. Longer than `MAX` bytes it is cut there, or a little before where that would split a character.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Prose<const MAX: usize>(pub(super) Option<String>);

impl<const MAX: usize> Lenient<'_> for Prose<MAX> {
    fn text(text: &str) -> Self {
        Self((!text.is_empty()).then(|| text[..text.floor_char_boundary(MAX)].to_owned()))
    }
}

/// An integer of up to 64 bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Integer(i64);

/// Whole numbers below this have an exact meaning as 64-bit integers.
const REAL_BOUND: f64 = 9e18;

impl Lenient<'_> for Integer {
    fn text(text: &str) -> Self {
        text.parse().map(Self).or_else(|_| text.parse().map(Self::real)).unwrap_or_default()
    }

    fn integer(value: i64) -> Self {
        Self(value)
    }

    #[expect(clippy::cast_possible_truncation, reason = "only whole numbers that fit get here")]
    fn real(value: f64) -> Self {
        Self(if value.fract() == 0.0 && value.abs() < REAL_BOUND { value as i64 } else { 0 })
    }
}

impl Integer {
    /// The number when it is above zero.
    pub(super) fn positive(self) -> Option<i64> {
        Some(self.0).filter(|value| *value > 0)
    }

    /// The number when it is above zero, without a sign.
    pub(super) fn count(self) -> Option<u64> {
        u64::try_from(self.0).ok().filter(|value| *value > 0)
    }

    /// The number; 0 when it does not fit.
    pub(super) fn small(self) -> u32 {
        u32::try_from(self.0).unwrap_or(0)
    }

    /// The number when it is above zero and fits.
    pub(super) fn small_count(self) -> Option<u32> {
        Some(self.small()).filter(|value| *value > 0)
    }

    /// A code: any number that fits, but zero.
    pub(super) fn code(self) -> Option<i32> {
        i32::try_from(self.0).ok().filter(|value| *value != 0)
    }

    /// The moment that many seconds after 1970.
    pub(super) fn seconds(self) -> Option<Timestamp> {
        self.positive().map(Timestamp::from_secs)
    }

    /// The moment that many milliseconds after 1970.
    pub(super) fn millis(self) -> Option<Timestamp> {
        self.positive().map(Timestamp::from_millis)
    }

    /// The moment that many nanoseconds after 1970, to the millisecond below.
    pub(super) fn nanos(self) -> Option<Timestamp> {
        self.positive().map(Timestamp::from_nanos)
    }

    /// The span of that many nanoseconds in seconds, to the nearest millisecond.
    #[expect(
        clippy::cast_precision_loss,
        reason = "2^53 nanoseconds are 104 days, and beyond them milliseconds stay exact"
    )]
    pub(super) fn nanos_in_seconds(self) -> Option<f64> {
        self.positive().map(|nanos| (nanos as f64 / 1e6).round() / 1e3)
    }
}

/// A finite number.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Real(f64);

impl Lenient<'_> for Real {
    fn text(text: &str) -> Self {
        text.parse().map(Self::real).unwrap_or_default()
    }

    #[expect(clippy::cast_precision_loss, reason = "a rate, far below 2^53")]
    fn integer(value: i64) -> Self {
        Self(value as f64)
    }

    fn real(value: f64) -> Self {
        Self(if value.is_finite() { value } else { 0.0 })
    }
}

impl Real {
    /// The number when it is above zero.
    pub(super) fn positive(self) -> Option<f64> {
        Some(self.0).filter(|value| *value > 0.0)
    }
}

/// A yes or no.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Flag(pub(super) bool);

impl Lenient<'_> for Flag {
    fn flag(value: bool) -> Self {
        Self(value)
    }
}

/// Whether there is a message, whatever it says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Present(pub(super) bool);

impl<'de> Lenient<'de> for Present {
    fn object<A: MapAccess<'de>>(mut entries: A) -> Result<Self, A::Error> {
        while entries.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Self(true))
    }
}

/// An enum's value as customers read it, made of LiveKit's name or number.
pub(super) trait Word: Copy {
    /// What stands for everything that this version does not know.
    const UNKNOWN: Self;

    /// The value with LiveKit's name.
    fn named(name: &str) -> Option<Self>;

    /// The value with LiveKit's number.
    fn numbered(number: i32) -> Option<Self>;
}

/// An enum's value; `None` when it is absent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Named<T>(pub(super) Option<T>);

impl<T> Default for Named<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T: Word> Lenient<'_> for Named<T> {
    fn text(name: &str) -> Self {
        Self(Some(T::named(name).unwrap_or(T::UNKNOWN)))
    }

    fn integer(number: i64) -> Self {
        Self(Some(i32::try_from(number).ok().and_then(T::numbered).unwrap_or(T::UNKNOWN)))
    }
}

impl<T: Word> Named<T> {
    /// The value; the one with the number 0 when it is absent.
    pub(super) fn or_zero(self) -> T {
        self.0.or_else(|| T::numbered(0)).unwrap_or(T::UNKNOWN)
    }
}
