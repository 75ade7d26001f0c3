//! Which fields of a thing are shown in tables, and what a cell says. JSON, YAML and jq always see the whole thing.

use serde_json::Value;

/// How one kind of thing is shown. Fields are named by their path in the JSON form, with dots.
#[derive(Clone, Copy, Debug)]
pub struct View {
    /// Columns of a list.
    pub list: &'static [&'static str],
    /// Further columns with `-o wide`.
    pub wide: &'static [&'static str],
    /// Lines of a single thing, where they are not `list` and `wide`. What is absent has no line.
    pub detail: &'static [&'static str],
    /// What `-q` prints.
    pub id: &'static str,
    /// What `-o name` prints, if the thing has it.
    pub name: &'static str,
    /// The fields with secrets that are shown once, each with the command that makes another.
    pub secrets: &'static [(&'static str, &'static str)],
    /// What people read in the place of a field that is null or an empty list.
    pub when_empty: &'static [(&'static str, &'static str)],
}

impl View {
    /// A view of a thing with `id` and `name`.
    pub const fn new(list: &'static [&'static str], wide: &'static [&'static str]) -> Self {
        Self { list, wide, detail: &[], id: "id", name: "name", secrets: &[], when_empty: &[] }
    }

    /// The names of the fields that it has, without those below them.
    pub fn fields(&self) -> Vec<&'static str> {
        let all = [self.list, self.wide, self.detail].concat();
        let mut names: Vec<&str> = Vec::new();
        for name in all.into_iter().filter_map(|path| path.split('.').next()) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        names
    }

    /// With these lines for a single thing.
    #[must_use]
    pub const fn detail(self, detail: &'static [&'static str]) -> Self {
        Self { detail, ..self }
    }

    /// With fields that have a secret once, when it was just made, each with the command that makes another.
    #[must_use]
    pub const fn shown_once(self, secrets: &'static [(&'static str, &'static str)]) -> Self {
        Self { secrets, ..self }
    }

    /// With words for fields in which nothing means something, as no types mean every type.
    #[must_use]
    pub const fn when_empty(self, when_empty: &'static [(&'static str, &'static str)]) -> Self {
        Self { when_empty, ..self }
    }

    /// The thing as a table shows it to people.
    pub fn for_people(&self, mut thing: Value) -> Value {
        for (field, word) in self.when_empty {
            if let Some(value) = thing.get_mut(field)
                && (value.is_null() || value.as_array().is_some_and(Vec::is_empty))
            {
                *value = (*word).into();
            }
        }
        thing
    }

    /// With another field for `-q` and `-o name`.
    #[must_use]
    pub const fn id(self, id: &'static str) -> Self {
        Self { id, name: id, ..self }
    }
}

/// The value at a path with dots; `None` when there is no such field.
pub fn at<'a>(value: &'a Value, path: &str) -> Option<&'a Value> {
    path.split('.').try_fold(value, |value, name| value.get(name))
}

/// The header of a column. What stands in `metadata` says by itself what it is.
pub fn header(path: &str) -> String {
    path.strip_prefix("metadata.").unwrap_or(path).replace(['_', '.'], " ").to_uppercase()
}

/// What a cell says: one line, control characters made visible.
pub fn cell(value: Option<&Value>) -> String {
    let text = match value {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(elements)) => {
            elements.iter().map(|element| cell(Some(element))).collect::<Vec<_>>().join(",")
        }
        // A thing with a kind is shown by its name.
        Some(Value::Object(fields)) if fields.contains_key("kind") && fields.contains_key("id") => {
            let name = fields.get("name").filter(|name| name.is_string()).or_else(|| fields.get("id"));
            format!("{}/{}", cell(fields.get("kind")), cell(name))
        }
        // A change of a field.
        Some(Value::Object(fields))
            if fields.len() == 3 && fields.contains_key("before") && fields.contains_key("after") =>
        {
            let value = |name: &str| Some(cell(fields.get(name))).filter(|text| !text.is_empty());
            let either = |name: &str| value(name).unwrap_or_else(|| "-".to_owned());
            format!("{}: {} → {}", cell(fields.get("field")), either("before"), either("after"))
        }
        // A rate, as the flag takes it.
        Some(Value::Object(fields)) if fields.len() == 2 && fields.contains_key("per_second") => {
            format!("{}/{}", cell(fields.get("per_second")), cell(fields.get("burst")))
        }
        Some(Value::Object(fields)) => {
            let pairs = fields.iter().map(|(name, value)| format!("{name}={}", cell(Some(value))));
            pairs.collect::<Vec<_>>().join(",")
        }
        Some(other) => other.to_string(),
    };
    visible(&text)
}

/// The text with control characters and bidirectional overrides made visible, so that no name can steer a terminal.
pub fn visible(text: &str) -> String {
    let hidden = |c: char| c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    if !text.contains(hidden) {
        return text.to_owned();
    }
    text.chars().map(|c| if hidden(c) { c.escape_default().to_string() } else { c.to_string() }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn cells_are_one_line_without_control_characters() {
        assert_eq!(cell(Some(&json!({"a": [1, "x"], "b": null}))), "a=1,x,b=");
        assert_eq!(cell(Some(&json!("a\u{1b}[31m\nb\u{202e}"))), "a\\u{1b}[31m\\nb\\u{202e}");
        let changes = json!([{ "field": "plan", "before": "Free", "after": "Pro" }, { "field": "labels", "before": null, "after": {} }]);
        assert_eq!(cell(Some(&changes)), "plan: Free → Pro,labels: - → -");
        assert_eq!(cell(Some(&json!({"per_second": 5, "burst": 20}))), "5/20");
        assert_eq!(at(&json!({"a": {"b": 1}}), "a.b"), Some(&json!(1)));
        assert_eq!((header("metadata.room"), header("stats_24h.ok")), ("ROOM".to_owned(), "STATS 24H OK".to_owned()));
    }

    #[test]
    fn nothing_has_a_word_where_it_means_something() {
        let view = View::new(&["types"], &[]).when_empty(&[("types", "all")]);
        for (thing, shown) in [
            (json!({"types": [], "b": []}), json!({"types": "all", "b": []})),
            (json!({"types": null}), json!({"types": "all"})),
            (json!({"types": ["a"]}), json!({"types": ["a"]})),
            (json!({}), json!({})),
        ] {
            assert_eq!(view.for_people(thing), shown);
        }
    }
}
