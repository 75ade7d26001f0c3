//! Which events an endpoint gets: types by name, or by how they begin.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, de};

use crate::model::text::{Refused, texts};

/// The most patterns of a filter.
pub const MAX_PATTERNS: usize = 50;
/// The longest pattern, in characters.
pub const MAX_PATTERN_CHARS: usize = 64;

fn pattern(text: &str) -> Result<(), Refused> {
    let start = text.strip_suffix('*').unwrap_or(text);
    let fits = (1..=MAX_PATTERN_CHARS).contains(&text.len())
        && start.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'.');
    if fits {
        Ok(())
    } else {
        Err("must be a type of event such as participant_joined, or the beginning of some and a *, such as room_*"
            .into())
    }
}

texts! {
    /// A type of event, or the beginning of some followed by `*`.
    EventTypePattern, pattern, { "type": "string", "maxLength": 64, "pattern": "^([a-z0-9_.]+\\*?|\\*)$" };
}

impl EventTypePattern {
    /// Whether the type of an event fits.
    pub fn matches(&self, event_type: &str) -> bool {
        match self.as_str().strip_suffix('*') {
            Some(start) => event_type.starts_with(start),
            None => event_type == self.as_str(),
        }
    }
}

/// The types of events that an endpoint gets, at most 50 patterns. None at all stands for every type, also those that do not
/// exist yet.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct EventTypeFilter(Vec<EventTypePattern>);

impl EventTypeFilter {
    /// From patterns.
    ///
    /// # Errors
    /// When there are too many.
    pub fn new(patterns: Vec<EventTypePattern>) -> Result<Self, Refused> {
        if patterns.len() > MAX_PATTERNS {
            return Err(Refused(format!("must have at most {MAX_PATTERNS} types of events")));
        }
        Ok(Self(patterns))
    }

    /// The patterns.
    pub fn patterns(&self) -> &[EventTypePattern] {
        &self.0
    }

    /// Whether there is no pattern.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether an event of this type is sent.
    pub fn matches(&self, event_type: &str) -> bool {
        self.0.is_empty() || self.0.iter().any(|pattern| pattern.matches(event_type))
    }
}

impl<'de> Deserialize<'de> for EventTypeFilter {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(Vec::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

impl JsonSchema for EventTypeFilter {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "EventTypeFilter".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let items = EventTypePattern::json_schema(generator);
        json_schema!({ "type": "array", "maxItems": MAX_PATTERNS, "items": items })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn filter(patterns: &[&str]) -> EventTypeFilter {
        serde_json::from_value(json!(patterns)).unwrap()
    }

    #[test]
    fn types_fit_by_name_or_by_how_they_begin() {
        let some = filter(&["room_ended", "participant_*", "endpoint.*"]);
        for (event_type, fits) in [
            ("room_ended", true),
            ("room_ended_early", false),
            ("room_started", false),
            ("participant_joined", true),
            ("participant_", true),
            ("participant", false),
            ("endpoint.disabled", true),
            ("endpoints", false),
            ("", false),
        ] {
            assert_eq!(some.matches(event_type), fits, "{event_type}");
        }
    }

    #[test]
    fn no_pattern_and_a_lone_star_stand_for_everything() {
        for all in [filter(&[]), filter(&["*"]), EventTypeFilter::default()] {
            assert!(all.matches("room_started") && all.matches("of.the.future"), "{all:?}");
        }
    }

    #[test]
    fn the_type_and_its_json_schema_agree_about_what_is_a_filter() {
        let schema = schemars::schema_for!(EventTypeFilter).to_value();
        let rules = jsonschema::validator_for(&schema).unwrap();
        let many = |count: usize| vec!["a"; count];
        let (longest, too_long) = ("a".repeat(64), "a".repeat(65));
        let starred = format!("{}*", "a".repeat(63));
        for good in [json!([]), json!(["a", "b.c_9*", "*"]), json!([longest, starred]), json!(many(50))] {
            assert!(serde_json::from_value::<EventTypeFilter>(good.clone()).is_ok(), "{good} was refused");
            assert!(rules.is_valid(&good), "the schema refuses {good}");
        }
        let starred = format!("{longest}*");
        let texts = ["", "A", "a b", "a**", "*a", "a*b", "é", "a\n", &too_long, &starred];
        for bad in
            texts.map(|text| json!([text])).into_iter().chain([json!(many(51)), json!("a"), json!([1]), json!({})])
        {
            assert!(serde_json::from_value::<EventTypeFilter>(bad.clone()).is_err(), "{bad} was taken");
            assert!(!rules.is_valid(&bad), "the schema takes {bad}");
        }
        let read = |value: Value| serde_json::from_value::<EventTypeFilter>(value).unwrap();
        let kept = json!(["room_*", "endpoint.disabled"]);
        assert_eq!(serde_json::to_value(read(kept.clone())).unwrap(), kept);
    }
}
