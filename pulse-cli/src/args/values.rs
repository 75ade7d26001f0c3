//! Parsers of values: words of the API, spans of time, labels, scopes. They say what is wrong in one sentence.

use std::{str::FromStr, time::Duration};

use clap::builder::{PossibleValuesParser, TypedValueParser};
use pulse_core::{
    access::{Permission, Permissions},
    model::text::{LabelFilter, LabelKey, LabelValue, Labels},
    time::Timestamp,
};
use serde::de::DeserializeOwned;

/// A parser for a type of the API that is one of a few words, matched without regard to case.
pub fn word<T: DeserializeOwned + Clone + Send + Sync + 'static>(
    words: &'static [&'static str],
) -> impl TypedValueParser<Value = T> {
    let exact = move |text: String| {
        let word = words.iter().find(|word| word.eq_ignore_ascii_case(&text)).copied().unwrap_or_default();
        serde_json::from_value::<T>(word.into()).map_err(|error| error.to_string())
    };
    PossibleValuesParser::new(words).try_map(exact)
}

/// A span of time: `90`, `90s`, `15m`, `24h`, `7d`, `2w`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span(pub Duration);

impl Span {
    /// Whole seconds, at most what 32 bits hold.
    pub fn seconds(self) -> u32 {
        u32::try_from(self.0.as_secs()).unwrap_or(u32::MAX)
    }
}

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || "must be a span such as 90s, 15m, 24h or 7d".to_owned();
        let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
        let scale: u64 = match unit {
            "" | "s" => 1,
            "m" => 60,
            "h" => 3_600,
            "d" => 86_400,
            "w" => 604_800,
            _ => return Err(wrong()),
        };
        let number: u64 = number.parse().map_err(|_| wrong())?;
        number.checked_mul(scale).map(|seconds| Self(Duration::from_secs(seconds))).ok_or_else(wrong)
    }
}

/// A moment: RFC 3339, or a span before now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// A moment.
    At(Timestamp),
    /// So long before now.
    Ago(Duration),
}

impl Moment {
    /// The moment, seen from `now`.
    pub fn from(self, now: Timestamp) -> Timestamp {
        match self {
            Self::At(at) => at,
            Self::Ago(span) => now.minus(span),
        }
    }
}

impl FromStr for Moment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(Span(span)) = text.parse() {
            return Ok(Self::Ago(span));
        }
        text.parse()
            .map(Self::At)
            .map_err(|_| "must be a time such as 2026-01-31T12:00:00Z, or a span before now such as 10m".to_owned())
    }
}

/// One label: `key=value`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label(LabelKey, LabelValue);

impl FromStr for Label {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (key, value) = text.split_once('=').ok_or("must be written key=value")?;
        Ok(Self(key.parse().map_err(|e| format!("{e}"))?, value.parse().map_err(|e| format!("{e}"))?))
    }
}

/// Labels as one value; `None` when there are none.
pub fn labels(list: &[Label]) -> Option<Labels> {
    let map = list.iter().map(|Label(key, value)| (key.clone(), value.clone())).collect();
    (!list.is_empty()).then_some(Labels(map))
}

/// One label to filter by: `key=value` or `key:value`.
pub fn label_filter(text: &str) -> Result<LabelFilter, String> {
    let text = if text.contains(':') { text.to_owned() } else { text.replacen('=', ":", 1) };
    text.parse().map_err(|_| "must be written key=value".to_owned())
}

/// One scope of a key.
pub fn scope(text: &str) -> Result<Permission, String> {
    let known = Permission::by_name(text).filter(|permission| permission.is_scope());
    known.ok_or_else(|| {
        let all: Vec<_> = Permissions::all_scopes().iter().map(Permission::name).collect();
        format!("is not a scope. Scopes: {}", all.join(", "))
    })
}

/// `name=value`, for attributes.
pub fn pair(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("must be written name=value")?;
    Ok((name.to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_have_units() {
        let seconds = |text: &str| text.parse::<Span>().map(Span::seconds);
        assert_eq!(seconds("90"), Ok(90));
        assert_eq!(seconds("24h"), Ok(86_400));
        assert_eq!(seconds("2w"), Ok(1_209_600));
        for bad in ["", "h", "1.5h", "-3s", "3 d", "9999999999999999999d"] {
            assert!(seconds(bad).is_err(), "{bad:?} was taken");
        }
    }

    #[test]
    fn moments_are_times_or_spans_before_now() {
        let now = Timestamp::from_secs(1_000);
        assert_eq!("10m".parse::<Moment>().unwrap().from(now), Timestamp::from_secs(400));
        assert!("2026-01-31T12:00:00Z".parse::<Moment>().is_ok());
        assert!("yesterday".parse::<Moment>().is_err());
    }
}
