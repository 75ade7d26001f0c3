//! Texts with rules: an invalid value cannot be built, and the JSON schema says the same rules.

use std::{borrow::Cow, collections::BTreeMap, fmt, str::FromStr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use url::Url;

/// Why a text was refused, as a sentence without the text itself.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Refused(pub String);

impl From<&str> for Refused {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

/// Declares a text type with its rule and the JSON schema that says the same.
macro_rules! texts {
    ($($(#[doc = $doc:literal])+ $name:ident, $check:path, $schema:tt;)+) => {$(
        $(#[doc = $doc])+
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Box<str>);

        impl $name {
            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::model::text::Refused;

            fn from_str(text: &str) -> Result<Self, $crate::model::text::Refused> {
                $check(text)?;
                Ok(Self(text.into()))
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str> as serde::Deserialize>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }

        impl schemars::JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!($schema)
            }
        }
    )+};
}
pub(crate) use texts;

/// 1 to `max` characters, none of them a control character, no space at either end.
pub(crate) fn line(text: &str, max: usize) -> Result<(), Refused> {
    if text.is_empty() {
        return Err("must not be empty".into());
    }
    if text.chars().count() > max {
        return Err(Refused(format!("must have at most {max} characters")));
    }
    if text.chars().any(char::is_control) {
        return Err("must not contain control characters".into());
    }
    if text.trim() != text {
        return Err("must not begin or end with white space".into());
    }
    Ok(())
}

fn name(text: &str) -> Result<(), Refused> {
    line(text, 100)
}

fn note(text: &str) -> Result<(), Refused> {
    line(text, 500)
}

fn email(text: &str) -> Result<(), Refused> {
    line(text, 254)?;
    let well_formed = text.split_once('@').is_some_and(|(local, domain)| {
        !local.is_empty() && !domain.is_empty() && !domain.contains('@') && !text.contains(char::is_whitespace)
    });
    if well_formed { Ok(()) } else { Err("must be a mail address, such as ops@example.com".into()) }
}

fn region(text: &str) -> Result<(), Refused> {
    let fits = (1..=40).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !text.starts_with('-')
        && !text.ends_with('-');
    if fits { Ok(()) } else { Err("must be 1 to 40 lower-case letters, digits and hyphens, such as us-east".into()) }
}

fn preset(text: &str) -> Result<(), Refused> {
    let fits = (1..=40).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_')
        && text.starts_with(|c: char| c.is_ascii_lowercase());
    if fits {
        Ok(())
    } else {
        Err("must be 1 to 40 lower-case letters, digits, hyphens and underscores, from a letter".into())
    }
}

fn label_key(text: &str) -> Result<(), Refused> {
    let fits = (1..=63).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_' | b'.' | b'/'))
        && text.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
    if fits { Ok(()) } else { Err("label keys are 1 to 63 lower-case letters, digits and - _ . /".into()) }
}

fn label_value(text: &str) -> Result<(), Refused> {
    if text.chars().count() > 63 || text.chars().any(char::is_control) {
        return Err("label values are up to 63 characters without control characters".into());
    }
    Ok(())
}

fn url_with(text: &str, schemes: &[&str]) -> Result<(), Refused> {
    let listed = || Refused(format!("must be a full URL with one of the schemes {}", schemes.join(", ")));
    if text.len() > 2048 || text.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err("must be a URL of at most 2048 characters without white space".into());
    }
    let url = Url::parse(text).map_err(|_| listed())?;
    if !schemes.contains(&url.scheme()) || url.host_str().is_none_or(str::is_empty) {
        return Err(listed());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("must not contain a user name or password".into());
    }
    Ok(())
}

fn http_url(text: &str) -> Result<(), Refused> {
    url_with(text, &["https", "http"])
}

/// A URL with any scheme that Pulse knows.
pub(crate) fn any_url(text: &str) -> Result<(), Refused> {
    url_with(text, &["wss", "ws", "https", "http"])
}

texts! {
    /// What a person calls a thing: 1 to 100 characters without control characters.
    Name, name, { "type": "string", "minLength": 1, "maxLength": 100, "pattern": "^[^\\s\\u0000-\\u001f\\u007f-\\u009f]([^\\u0000-\\u001f\\u007f-\\u009f]*[^\\s\\u0000-\\u001f\\u007f-\\u009f])?$" };
    /// A sentence of a person, such as a reason: 1 to 500 characters.
    Note, note, { "type": "string", "minLength": 1, "maxLength": 500, "pattern": "^[^\\s\\u0000-\\u001f\\u007f-\\u009f]([^\\u0000-\\u001f\\u007f-\\u009f]*[^\\s\\u0000-\\u001f\\u007f-\\u009f])?$" };
    /// A mail address.
    Email, email, { "type": "string", "format": "email", "minLength": 3, "maxLength": 254 };
    /// A region's name. `us-east`, `eu-west` and `asia-south` are known; the operator registers others.
    RegionName, region, { "type": "string", "pattern": "^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$" };
    /// The name of a token preset.
    PresetName, preset, { "type": "string", "pattern": "^[a-z][a-z0-9_-]{0,39}$" };
    /// The key of a label.
    LabelKey, label_key, { "type": "string", "pattern": "^[a-z0-9][a-z0-9_./-]{0,62}$" };
    /// The value of a label.
    LabelValue, label_value, { "type": "string", "maxLength": 63, "pattern": "^[^\\u0000-\\u001f\\u007f-\\u009f]*$" };
    /// Where webhooks go.
    WebhookUrl, http_url, { "type": "string", "format": "uri", "maxLength": 2048, "pattern": "^https?://" };
    /// An address of the web.
    HttpUrl, http_url, { "type": "string", "format": "uri", "maxLength": 2048, "pattern": "^https?://" };
    /// Where a LiveKit server answers.
    LiveKitUrl, any_url, { "type": "string", "format": "uri", "maxLength": 2048, "pattern": "^(wss?|https?)://" };
}

impl Name {
    /// The form in which names are compared for uniqueness and searched by prefix.
    pub fn folded(&self) -> String {
        self.0.to_lowercase()
    }
}

/// The most labels that a thing can have.
pub const MAX_LABELS: usize = 32;

/// Labels: short keys and values that the customer attaches, and lists filter by.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Labels(#[serde(deserialize_with = "labels")] pub BTreeMap<LabelKey, LabelValue>);

fn labels<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<LabelKey, LabelValue>, D::Error> {
    let map = BTreeMap::deserialize(deserializer)?;
    if map.len() > MAX_LABELS {
        return Err(de::Error::custom(format_args!("must have at most {MAX_LABELS} labels")));
    }
    Ok(map)
}

impl JsonSchema for Labels {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Labels".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let value = LabelValue::json_schema(generator);
        let key = LabelKey::json_schema(generator);
        json_schema!({ "type": "object", "maxProperties": MAX_LABELS, "propertyNames": key, "additionalProperties": value })
    }
}

impl Labels {
    /// The labels as `k=v`, for the index.
    pub fn pairs(&self) -> Vec<String> {
        self.0.iter().map(|(key, value)| format!("{key}={value}")).collect()
    }
}

/// One label to filter by, written `k:v`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LabelFilter {
    /// The key.
    pub key: LabelKey,
    /// The value.
    pub value: LabelValue,
}

impl LabelFilter {
    /// The form that the index has.
    pub fn pair(&self) -> String {
        format!("{}={}", self.key, self.value)
    }
}

impl FromStr for LabelFilter {
    type Err = Refused;

    fn from_str(text: &str) -> Result<Self, Refused> {
        let (key, value) = text.split_once(':').ok_or("must be written key:value")?;
        Ok(Self { key: key.parse()?, value: value.parse()? })
    }
}

impl fmt::Display for LabelFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.key, self.value)
    }
}

impl Serialize for LabelFilter {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for LabelFilter {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Cow::<'de, str>::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

impl JsonSchema for LabelFilter {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "LabelFilter".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^[a-z0-9][a-z0-9_./-]{0,62}:[^\\u0000-\\u001f\\u007f-\\u009f]{0,63}$" })
    }
}
