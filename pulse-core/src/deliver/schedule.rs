//! When the next attempt is due. The first attempt is made at once; a schedule says how long to wait after each one that
//! failed, a receiver may ask for more with `Retry-After`, and a little is added at random so that what failed together does
//! not come back together. Nothing is ever early.

use std::{borrow::Cow, fmt, str::FromStr, time::Duration};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, de};

use crate::{model::text::Refused, time::Timestamp};

/// The most retries.
pub const MAX_RETRIES: usize = 20;
/// The longest wait before a retry, in seconds: a day.
pub const MAX_WAIT_SECONDS: u32 = 86_400;
/// The most that all waits come to, in seconds: a week, well below the time for which deliveries are kept.
pub const MAX_TOTAL_SECONDS: u64 = 604_800;
/// The most that a receiver can ask for with `Retry-After`.
pub const MAX_RETRY_AFTER: Duration = Duration::from_secs(3_600);

/// The share of a wait that may be added at random.
const SPREAD: f64 = 0.2;
/// Waits after setbacks that are not the receiver's, by how many came one after the other; the last one is repeated. Short
/// at first, so that a restart delays a delivery by no more than a second.
const BACKOFF_SECONDS: [u64; 5] = [1, 5, 30, 120, 600];

/// Schedules that have a name, with their waits in seconds.
const PRESETS: [(&str, &[u32]); 2] = [
    // About 28 hours in all, which holds 5, 10 and 30 minutes.
    ("default", &[5, 300, 600, 1_800, 7_200, 18_000, 36_000, 36_000]),
    // Exactly 5, 10 and 30 minutes.
    ("plan", &[300, 600, 1_800]),
];

/// The waits between attempts, in seconds: 1 to 20 of them, each from 1 s to a day, all together at most a week.
///
/// Its text is the name of a preset, or the waits with commas between. In JSON it is read from a preset's name or a list, and
/// written as the list, so that a stored schedule stays what it was when a preset changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Schedule(Box<[u32]>);

impl Schedule {
    /// From the waits, in seconds.
    ///
    /// # Errors
    /// Which bound does not hold.
    pub fn new(waits: impl Into<Box<[u32]>>) -> Result<Self, Refused> {
        let waits = waits.into();
        if !(1..=MAX_RETRIES).contains(&waits.len()) {
            return Err(Refused(format!("must have 1 to {MAX_RETRIES} waits")));
        }
        if waits.iter().any(|wait| !(1..=MAX_WAIT_SECONDS).contains(wait)) {
            return Err(Refused(format!("each wait must be 1 to {MAX_WAIT_SECONDS} seconds")));
        }
        if waits.iter().map(|wait| u64::from(*wait)).sum::<u64>() > MAX_TOTAL_SECONDS {
            return Err(Refused(format!("all waits together must be at most {MAX_TOTAL_SECONDS} seconds")));
        }
        Ok(Self(waits))
    }

    /// The schedule of a preset: `default` or `plan`.
    pub fn preset(name: &str) -> Option<Self> {
        let (_, waits) = PRESETS.iter().find(|(known, _)| *known == name)?;
        Some(Self((*waits).into()))
    }

    /// The waits, in seconds.
    pub fn waits(&self) -> &[u32] {
        &self.0
    }
}

impl Default for Schedule {
    fn default() -> Self {
        Self(PRESETS[0].1.into())
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let waits: Vec<String> = self.0.iter().map(u32::to_string).collect();
        f.write_str(&waits.join(","))
    }
}

impl FromStr for Schedule {
    type Err = Refused;

    fn from_str(text: &str) -> Result<Self, Refused> {
        if let Some(preset) = Self::preset(text) {
            return Ok(preset);
        }
        let waits: Result<Vec<u32>, _> = text.split(',').map(|wait| wait.trim().parse()).collect();
        Self::new(waits.map_err(|_| "must be default, plan, or seconds with commas between, such as 5,300,600")?)
    }
}

impl<'de> Deserialize<'de> for Schedule {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "must be default, plan, or a list of seconds")]
        enum Form {
            Name(String),
            Waits(Vec<u32>),
        }
        let schedule = match Form::deserialize(deserializer)? {
            Form::Name(name) => Self::preset(&name).ok_or_else(|| "must be default, plan, or a list of seconds".into()),
            Form::Waits(waits) => Self::new(waits),
        };
        schedule.map_err(de::Error::custom)
    }
}

impl JsonSchema for Schedule {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Schedule".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let list = json_schema!({
            "type": "array", "minItems": 1, "maxItems": MAX_RETRIES,
            "items": { "type": "integer", "minimum": 1, "maximum": MAX_WAIT_SECONDS },
        });
        if generator.contract().is_serialize() {
            return list;
        }
        json_schema!({ "anyOf": [{ "enum": PRESETS.map(|(name, _)| name) }, list] })
    }
}

/// How long to wait after the attempt that was number `attempts_made`; `None` when it was the last one. Before the first
/// attempt there is no wait.
///
/// It is the schedule's wait, or what the receiver asked for if that is more (at most an hour), and up to a fifth of it on
/// top, which `random`, uniform in `[0, 1)`, decides.
pub fn next_delay(
    schedule: &Schedule,
    attempts_made: u32,
    retry_after: Option<Duration>,
    random: f64,
) -> Option<Duration> {
    let Some(failed) = attempts_made.checked_sub(1) else { return Some(Duration::ZERO) };
    let wait = schedule.0.get(usize::try_from(failed).ok()?)?;
    let asked = retry_after.unwrap_or_default().min(MAX_RETRY_AFTER);
    Some(spread(Duration::from_secs(u64::from(*wait)).max(asked), random))
}

/// How long to wait after something that was not the receiver's doing, such as a crash, and happened `setbacks` times one
/// after the other: from a second up to ten minutes, and up to a fifth of it on top.
pub fn backoff(setbacks: u32, random: f64) -> Duration {
    let last = BACKOFF_SECONDS.len() - 1;
    let which = usize::try_from(setbacks.saturating_sub(1)).unwrap_or(last).min(last);
    spread(Duration::from_secs(BACKOFF_SECONDS[which]), random)
}

/// The wait and up to a fifth of it on top, never less than the wait.
fn spread(wait: Duration, random: f64) -> Duration {
    let share = if random.is_finite() { random.clamp(0.0, 1.0) } else { 0.0 };
    wait + wait.mul_f64(SPREAD * share)
}

/// What a receiver asks for with `Retry-After`: seconds, or a moment in one of the three forms of RFC 9110, section 5.6.7. A
/// moment that is past asks for no wait, more than an hour for an hour, and `None` stands for what is neither.
pub fn parse_retry_after(header: &str, now: Timestamp) -> Option<Duration> {
    let text = header.trim_matches([' ', '\t']);
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        // More digits than a number can have ask for more than an hour.
        return Some(Duration::from_secs(text.parse().unwrap_or(u64::MAX)).min(MAX_RETRY_AFTER));
    }
    let moment = httpdate::parse_http_date(text).ok()?.duration_since(std::time::UNIX_EPOCH).ok()?;
    let moment = Timestamp::from_secs(i64::try_from(moment.as_secs()).ok()?);
    Some(moment.since(now).min(MAX_RETRY_AFTER))
}

#[cfg(test)]
mod tests;
