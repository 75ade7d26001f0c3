//! Turns what a schema validator finds into faults for a person: a field, a word, a sentence, and never the value itself,
//! which may be a secret.

use std::collections::HashSet;

use jsonschema::{ValidationError, Validator, error::ValidationErrorKind as Kind};
use serde_json::Value;

use super::schema::FORMATS;
use crate::error::Fault;

/// The most faults that one answer lists.
const MAX_FAULTS: usize = 50;

/// Everything in `fields` that the validator forbids; of each field the first fault.
pub(super) fn of(validator: &Validator, fields: &Value) -> Vec<Fault> {
    let mut named = HashSet::new();
    let faults = validator.iter_errors(fields).flat_map(|error| faults(&error));
    faults.filter(|fault| named.insert(fault.field.clone())).take(MAX_FAULTS).collect()
}

fn faults(error: &ValidationError<'_>) -> Vec<Fault> {
    let at = dotted(&error.instance_path().to_string());
    let within = |name: &str| if at.is_empty() { name.to_owned() } else { format!("{at}.{name}") };
    let one = |code: &str, detail: String| vec![Fault::new(at.clone(), code, detail)];
    match error.kind() {
        Kind::AdditionalProperties { unexpected } | Kind::UnevaluatedProperties { unexpected } => unexpected
            .iter()
            .map(|name| Fault::new(within(&shortened(name)), "unknown_field", "is not a field of this request"))
            .collect(),
        Kind::Required { property } => {
            let name = property.as_str().unwrap_or_default();
            vec![Fault::new(within(name), "required", "is required")]
        }
        Kind::Type { .. } => one("wrong_type", format!("must be {}", expected_type(error))),
        Kind::MaxLength { limit } => one("too_long", format!("must have at most {limit} characters")),
        Kind::MinLength { limit } => one("too_short", format!("must have at least {limit} characters")),
        Kind::Maximum { limit } => one("too_large", format!("must be at most {limit}")),
        Kind::Minimum { limit } => one("too_small", format!("must be at least {limit}")),
        Kind::MaxItems { limit } => one("too_many", format!("must have at most {limit} elements")),
        Kind::MinItems { limit } => one("too_few", format!("must have at least {limit} elements")),
        Kind::MaxProperties { limit } => one("too_many", format!("must have at most {limit} entries")),
        Kind::Enum { options } => one("not_allowed", format!("must be one of {}", listed(options))),
        Kind::Pattern { pattern } => one("bad_format", format!("must match {pattern}")),
        Kind::Format { format } => {
            let known = FORMATS.iter().find(|known| known.name == format);
            one("bad_format", known.map_or("has another format", |known| known.wants).to_owned())
        }
        Kind::PropertyNames { .. } => one("bad_key", "has a key that is not allowed".to_owned()),
        Kind::AnyOf { context } => in_one_form(error, context)
            .unwrap_or_else(|| one("invalid", "has none of the forms that are allowed here".to_owned())),
        Kind::OneOfNotValid { .. } | Kind::OneOfMultipleValid { .. } => {
            one("invalid", "has none of the forms that are allowed here".to_owned())
        }
        _ => one("invalid", error.masked_with("the value").to_string()),
    }
}

/// The faults inside of the one form that the value has by its type, where several are allowed; none when it has none of
/// them, or more than one.
fn in_one_form(error: &ValidationError<'_>, forms: &[Vec<ValidationError<'static>>]) -> Option<Vec<Fault>> {
    let here = error.instance_path().to_string();
    let another = |fault: &ValidationError<'_>| {
        matches!(fault.kind(), Kind::Type { .. } | Kind::Enum { .. }) && fault.instance_path().to_string() == here
    };
    let mut own = forms.iter().filter(|form| !form.iter().any(another));
    match (own.next(), own.next()) {
        (Some(form), None) => Some(form.iter().flat_map(faults).collect()),
        _ => None,
    }
}

/// `/a/0/b` as `a[0].b`.
fn dotted(pointer: &str) -> String {
    pointer.split('/').skip(1).fold(String::new(), |path, part| {
        let part = shortened(&part.replace("~1", "/").replace("~0", "~"));
        match (part.parse::<usize>(), path.is_empty()) {
            (Ok(index), _) => format!("{path}[{index}]"),
            (Err(_), true) => part,
            (Err(_), false) => format!("{path}.{part}"),
        }
    })
}

/// A name from the request, short enough to be repeated.
fn shortened(name: &str) -> String {
    let mut text: String = name.chars().filter(|c| !c.is_control()).take(80).collect();
    if text.len() < name.len() {
        text.push('…');
    }
    text
}

fn expected_type(error: &ValidationError<'_>) -> String {
    let Kind::Type { kind } = error.kind() else { return "of another type".to_owned() };
    let text = format!("{kind:?}").to_lowercase();
    let known = ["string", "integer", "number", "boolean", "array", "object", "null"];
    let named: Vec<&str> = known.into_iter().filter(|word| text.contains(word)).collect();
    if named.is_empty() { "of another type".to_owned() } else { format!("of type {}", named.join(" or ")) }
}

fn listed(options: &Value) -> String {
    let words = options.as_array().into_iter().flatten().filter(|option| !option.is_null());
    words.map(|option| option.as_str().map_or_else(|| option.to_string(), str::to_owned)).collect::<Vec<_>>().join(", ")
}
