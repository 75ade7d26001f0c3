//! Parsers of values: words of the API, spans of time, labels, scopes. They say what is wrong in one sentence.

use std::{ffi::OsStr, path::PathBuf, str::FromStr, time::Duration};

use clap::{
    Arg, Command,
    builder::{PossibleValuesParser, TypedValueParser},
    error::ErrorKind,
};
use pulse_core::{
    access::{Permission, Permissions},
    deliver::pace::EndpointRate,
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

/// The rate of an endpoint: deliveries a second, and how many at once after a pause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate(pub EndpointRate);

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (per_second, burst) = text.split_once('/').unwrap_or((text, "1"));
        let number =
            |text: &str| text.parse().map_err(|_| "must be a number, or two with a slash: 5 or 5/20".to_owned());
        Ok(Self(EndpointRate { per_second: number(per_second)?, burst: number(burst)? }))
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

/// A parser for the path of a file with a secret. Who writes the secret itself is told so, and it is not repeated, as
/// what is said about a value usually does.
#[derive(Clone, Copy, Debug)]
pub struct SecretPath {
    what: &'static str,
    looks_so: fn(&str) -> bool,
}

impl SecretPath {
    /// Of a file with a media token.
    pub const TOKEN: Self =
        Self { what: "a token", looks_so: |text| text.starts_with("eyJ") && text.matches('.').count() == 2 };
    /// Of a file with the secret of a webhook endpoint.
    pub const SIGNING: Self = Self { what: "a signing secret", looks_so: |text| text.starts_with("whsec_") };
}

impl TypedValueParser for SecretPath {
    type Value = PathBuf;

    fn parse_ref(&self, command: &Command, _: Option<&Arg>, value: &OsStr) -> Result<PathBuf, clap::Error> {
        if !value.to_str().is_some_and(self.looks_so) {
            return Ok(value.into());
        }
        let message = format!("{} is never a flag's value: write it to a file, or to stdin and use -\n", self.what);
        Err(clap::Error::raw(ErrorKind::ValueValidation, message).with_cmd(command))
    }
}

/// The name of a header, and where its value stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// The name of the header.
    pub name: String,
    /// The file or the variable that holds the value.
    pub place: String,
}

/// A parser for [`Header`]. What is not written so may hold the value itself, so nothing of it is repeated.
#[derive(Clone, Copy, Debug)]
pub struct HeaderParser;

impl TypedValueParser for HeaderParser {
    type Value = Header;

    fn parse_ref(&self, command: &Command, arg: Option<&Arg>, value: &OsStr) -> Result<Header, clap::Error> {
        let is_name =
            |name: &str| !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
        let parts = value.to_str().and_then(|text| text.split_once('='));
        if let Some((name, place)) = parts.filter(|(name, _)| is_name(name)) {
            return Ok(Header { name: name.to_owned(), place: place.to_owned() });
        }
        let flag = arg.map(ToString::to_string).unwrap_or_default();
        let message = format!("not written as {flag}: the value of a header is never a flag's value\n");
        Err(clap::Error::raw(ErrorKind::ValueValidation, message).with_cmd(command))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_a_name_and_a_place_and_what_is_neither_is_not_repeated() {
        let read = |text: &str| {
            let flag = Arg::new("h").long("header-from").value_name("NAME=FILE").value_parser(HeaderParser);
            let command = Command::new("x").arg(flag);
            let matches = command.try_get_matches_from(["x", "--header-from", text]);
            matches.map(|mut found| found.remove_one("h")).map_err(|error| error.to_string())
        };
        let header = Header { name: "X-Auth".to_owned(), place: "a=b".to_owned() };
        assert_eq!(read("X-Auth=a=b"), Ok(Some(header)));
        for secret in ["Bearer-visible-nowhere", "Authorization: Bearer visible-nowhere=="] {
            let refused = read(secret).unwrap_err();
            assert!(refused.contains("--header-from <NAME=FILE>") && !refused.contains("visible"), "{refused}");
        }
    }

    #[test]
    fn a_secret_in_the_place_of_its_file_is_refused_and_not_repeated() {
        let read = |parser: SecretPath, text: &str| {
            let command = Command::new("x").arg(Arg::new("secret").value_parser(parser));
            command.try_get_matches_from(["x", text]).map(|_| ()).map_err(|error| error.to_string())
        };
        for (parser, secret) in [(SecretPath::TOKEN, "eyJabc.def.ghi"), (SecretPath::SIGNING, "whsec_abcdef")] {
            let refused = read(parser, secret).unwrap_err();
            assert!(refused.contains("never a flag's value") && !refused.contains(secret), "{refused}");
            assert_eq!(read(parser, "secret.txt"), Ok(()));
        }
    }

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
