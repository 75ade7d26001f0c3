//! Settings from the text of files: `NAME=value` lines (`--env-file`) and TOML (`--config`).
//!
//! The lines are read here and not by a library because those that exist put the values into the process's environment,
//! or replace `$NAME` in them by values from it; a secret may contain a `$`.

use std::collections::BTreeMap;

use super::{ConfigFault, SourceKind, table};

type Values = BTreeMap<String, String>;

/// Reads `NAME=value` lines. `#` begins a comment, `export` may stand in front, and values may be in single quotes (as
/// they are) or double quotes (with `\n`, `\"` and `\\`). Names that Pulse does not know are left alone: the file may be
/// shared with other programs.
pub fn env_file(text: &str) -> Result<Values, Vec<ConfigFault>> {
    let (mut values, mut faults) = (Values::new(), Vec::new());
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let parsed = line.strip_prefix("export ").unwrap_or(line).split_once('=').and_then(|(name, value)| {
            let name = name.trim();
            let named = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
            Some((named.then_some(name)?, unquoted(value.trim())?))
        });
        match parsed {
            Some((name, value)) => drop(values.insert(name.to_owned(), value)),
            None => faults.push(ConfigFault::new(
                format!("line {}", number + 1),
                Some(SourceKind::EnvFile),
                "is not NAME=value, with the quotes closed",
            )),
        }
    }
    if faults.is_empty() { Ok(values) } else { Err(faults) }
}

fn unquoted(value: &str) -> Option<String> {
    if let Some(rest) = value.strip_prefix('\'') {
        let (text, after) = rest.split_once('\'')?;
        return only_comment(after).then(|| text.to_owned());
    }
    let Some(rest) = value.strip_prefix('"') else {
        let end = value.find(" #").unwrap_or(value.len());
        return Some(value[..end].trim_end().to_owned());
    };
    let (mut text, mut letters) = (String::new(), rest.chars());
    loop {
        match letters.next()? {
            '"' => return only_comment(letters.as_str()).then_some(text),
            '\\' => match letters.next()? {
                'n' => text.push('\n'),
                letter => text.push(letter),
            },
            letter => text.push(letter),
        }
    }
}

fn only_comment(rest: &str) -> bool {
    let rest = rest.trim();
    rest.is_empty() || rest.starts_with('#')
}

/// Reads TOML: the names of the table, in capitals or small letters, with texts, numbers, booleans, or lists of texts.
/// A name that Pulse does not know is a fault, because this file is Pulse's own.
pub fn toml(text: &str) -> Result<Values, Vec<ConfigFault>> {
    let table: toml::Table = text.parse().map_err(|cause: toml::de::Error| {
        let line = cause.span().map_or(0, |span| text[..span.start.min(text.len())].lines().count().max(1));
        vec![ConfigFault::new(format!("line {line}"), Some(SourceKind::ConfigFile), cause.message().to_owned())]
    })?;
    let (mut values, mut faults) = (Values::new(), Vec::new());
    for (key, value) in table {
        let name = key.to_uppercase();
        let fault = |detail: &str| ConfigFault::new(key.clone(), Some(SourceKind::ConfigFile), detail);
        match (table::setting(&name), plain(&value)) {
            (None, _) => faults.push(fault("is not a setting of Pulse")),
            (Some(_), None) => faults.push(fault("must be a text, a number, a boolean or a list of texts")),
            (Some(_), Some(text)) => match values.insert(name, text) {
                None => {}
                Some(_) => faults.push(fault("stands twice, in capitals and in small letters")),
            },
        }
    }
    if faults.is_empty() { Ok(values) } else { Err(faults) }
}

fn plain(value: &toml::Value) -> Option<String> {
    match value {
        toml::Value::String(text) => Some(text.clone()),
        toml::Value::Integer(number) => Some(number.to_string()),
        toml::Value::Boolean(switch) => Some(switch.to_string()),
        toml::Value::Array(elements) => {
            elements.iter().map(toml::Value::as_str).collect::<Option<Vec<_>>>().map(|texts| texts.join(","))
        }
        toml::Value::Float(_) | toml::Value::Datetime(_) | toml::Value::Table(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_with_quotes_comments_and_export() {
        let text = "# first\nPORT=80\nexport A = 'x # \"y' # z\nB=\"a\\n\\\"b\\\\\"\nC=a$HOME # note\nD=\n";
        let values = env_file(text).unwrap();
        let expected = [("A", "x # \"y"), ("B", "a\n\"b\\"), ("C", "a$HOME"), ("D", ""), ("PORT", "80")];
        assert_eq!(values, expected.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
    }

    #[test]
    fn every_bad_line_is_named() {
        let faults = env_file("A=1\nnonsense\nB='open\n2 x=y").unwrap_err();
        assert_eq!(faults.iter().map(|fault| fault.name.as_str()).collect::<Vec<_>>(), ["line 2", "line 3", "line 4"]);
    }

    #[test]
    fn toml_takes_names_in_both_cases_and_refuses_unknown_ones() {
        let values =
            toml("pulse_listen = \"127.0.0.1:1\"\nPORT = 80\npulse_dev = true\nCORS_ORIGINS = [\"a\", \"b\"]").unwrap();
        assert_eq!(values["PULSE_LISTEN"], "127.0.0.1:1");
        assert_eq!(
            (values["PORT"].as_str(), values["PULSE_DEV"].as_str(), values["CORS_ORIGINS"].as_str()),
            ("80", "true", "a,b")
        );
        let faults = toml("listen = 1\nport = 1.5\n[table]").unwrap_err();
        assert_eq!(faults.iter().map(|fault| fault.name.as_str()).collect::<Vec<_>>(), ["listen", "port", "table"]);
        assert_eq!(toml("a = 1\nb = [").unwrap_err()[0].name, "line 2");
    }
}
