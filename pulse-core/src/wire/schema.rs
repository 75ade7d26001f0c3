//! An operation's JSON schema, compiled when it is first needed.

use std::{collections::HashMap, sync::OnceLock};

use ipnet::IpNet;
use jsonschema::PatternOptions;
use schemars::{JsonSchema, generate::SchemaSettings};
use serde_json::Value;

use super::faults;
use crate::{
    error::{Error, Fault, Result},
    model::text::{Email, any_url},
    time::Timestamp,
};

/// A rule for texts that no pattern can say.
pub(super) struct Format {
    /// The name in a schema.
    pub(super) name: &'static str,
    holds: fn(&str) -> bool,
    /// What it wants, as a sentence.
    pub(super) wants: &'static str,
}

/// Every format that a schema of Pulse names.
pub(super) const FORMATS: &[Format] = &[
    Format {
        name: "date-time",
        holds: |text| text.parse::<Timestamp>().is_ok(),
        wants: "must be a moment such as 2030-01-31T12:00:00Z",
    },
    Format {
        name: "email",
        holds: |text| text.parse::<Email>().is_ok(),
        wants: "must be a mail address, such as ops@example.com",
    },
    Format {
        name: "uri",
        holds: |text| any_url(text).is_ok(),
        wants: "must be a full URL without white space, user name and password",
    },
    Format {
        name: "cidr",
        holds: |text| text.parse::<IpNet>().is_ok(),
        wants: "must be a network such as 10.0.0.0/8 or 2001:db8::/32",
    },
];

/// How a query parameter is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// As it is.
    Text,
    /// As a number.
    Integer,
    /// As `true` or `false`.
    Boolean,
    /// As one element of a list; the parameter may be repeated.
    List,
}

/// The schema of an operation's request, with what is derived from it.
#[derive(Debug)]
pub struct OpSchema {
    json: Value,
    kinds: HashMap<String, Kind>,
    validator: OnceLock<Option<jsonschema::Validator>>,
}

/// The JSON schema (2020-12) of a type, for requests (`deserialize`) or answers.
pub(super) fn of<T: JsonSchema>(answer: bool) -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true);
    let settings = if answer { settings.for_serialize() } else { settings.for_deserialize() };
    settings.into_generator().into_root_schema_for::<T>().to_value()
}

impl OpSchema {
    /// The schema of a request type. Unknown fields are refused unless `lenient`.
    pub fn new<T: JsonSchema>(lenient: bool) -> Self {
        let mut json = of::<T>(false);
        if let Some(object) = json.as_object_mut().filter(|_| !lenient) {
            object.insert("additionalProperties".into(), false.into());
        }
        let properties = json.get("properties").and_then(Value::as_object);
        let kinds = properties.into_iter().flatten().map(|(name, schema)| (name.clone(), kind_of(schema))).collect();
        Self { json, kinds, validator: OnceLock::new() }
    }

    /// The schema itself.
    pub fn json(&self) -> &Value {
        &self.json
    }

    /// How the query parameter of that name is read.
    pub fn kind(&self, name: &str) -> Kind {
        self.kinds.get(name).copied().unwrap_or(Kind::Text)
    }

    /// Everything in `fields` that the schema forbids.
    pub fn faults(&self, fields: &Value) -> Result<Vec<Fault>> {
        let validator = self.validator.get_or_init(|| compiled(&self.json));
        let validator = validator.as_ref().ok_or_else(|| Error::internal("an operation's schema does not compile"))?;
        Ok(if validator.is_valid(fields) { Vec::new() } else { faults::of(validator, fields) })
    }
}

/// The validator of a schema, with the rules of Pulse's own types behind the names of formats.
fn compiled(schema: &Value) -> Option<jsonschema::Validator> {
    let options = jsonschema::options().with_pattern_options(PatternOptions::regex()).should_validate_formats(true);
    let options = FORMATS.iter().fold(options, |options, format| options.with_format(format.name, format.holds));
    options.build(schema).ok()
}

fn kind_of(schema: &Value) -> Kind {
    let kinds: Vec<&str> = match &schema["type"] {
        Value::String(kind) => vec![kind],
        Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    if kinds.contains(&"array") {
        Kind::List
    } else if kinds.contains(&"integer") {
        Kind::Integer
    } else if kinds.contains(&"boolean") {
        Kind::Boolean
    } else {
        Kind::Text
    }
}
