//! Requests for people to read: the trace of `-v` and the command of `--curl`. Neither ever shows a secret.

use std::collections::BTreeSet;

use pulse_core::wire::Request;
use serde_json::Value;
use url::Url;

use super::CallOptions;
use crate::{exit::Failure, ui::Printer};

/// Prints requests instead of sending them.
#[derive(Debug)]
pub struct Curl {
    printer: Printer,
    server: Option<Url>,
}

impl Curl {
    /// For this server; without one, the command uses `$PULSE_SERVER`.
    pub fn new(printer: Printer, server: Option<Url>) -> Self {
        Self { printer, server }
    }

    /// Prints one request and ends the invocation.
    pub fn print<T>(&self, request: &Request, options: CallOptions, headers: &[String]) -> Result<T, Failure> {
        let (command, variables) = command(self.server.as_ref(), request, options, headers);
        self.printer.text(&command)?;
        if !variables.is_empty() {
            let names: Vec<String> = variables.iter().map(|name| format!("${name}")).collect();
            self.printer
                .advice(&format!("secrets are not printed: the command takes {} from the shell", names.join(", ")));
        }
        Err(Failure::stop())
    }
}

/// The command, and the shell variables from which it takes the request's secrets.
fn command(
    server: Option<&Url>,
    request: &Request,
    options: CallOptions,
    headers: &[String],
) -> (String, BTreeSet<String>) {
    let mut path = request.path.clone();
    if options.dry_run {
        path.push_str(if path.contains('?') { "&dry_run=true" } else { "?dry_run=true" });
    }
    let url = match server {
        Some(url) => quoted(&format!("{}{path}", url.as_str().trim_end_matches('/'))),
        None => format!("\"$PULSE_SERVER\"{}", quoted(&path)),
    };
    let mut variables = BTreeSet::new();
    let mut lines = vec![format!("curl -sS -X {} {url}", request.method.name())];
    let named = |header: &String| header.split_once(':').map(|(name, _)| name.trim().to_owned());
    if !headers.iter().filter_map(named).any(|name| name.eq_ignore_ascii_case("authorization")) {
        lines.push("-H \"Authorization: Bearer $PULSE_TOKEN\"".to_owned());
    }
    if let Some(version) = options.if_match {
        lines.push(format!("-H 'If-Match: \"{version}\"'"));
    }
    for header in headers {
        lines.push(match named(header).filter(|name| is_secret_header(name)) {
            Some(name) => {
                let variable = variable(&name);
                let line = format!("-H {}\"${variable}\"", quoted(&format!("{name}: ")));
                variables.insert(variable);
                line
            }
            None => format!("-H {}", quoted(header)),
        });
    }
    if let Some(body) = &request.body {
        let mut body = body.clone();
        redact(&mut body, "secret", &mut |name| {
            let variable = variable(name);
            let mark = marked(&variable);
            variables.insert(variable);
            mark
        });
        let text = variables.iter().fold(quoted(&body.to_string()), |text, variable| {
            text.replace(&marked(variable), &format!("'\"${variable}\"'"))
        });
        lines.push("-H 'Content-Type: application/json'".to_owned());
        lines.push(format!("-d {text}"));
    }
    (lines.join(" \\\n  ") + "\n", variables)
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

/// The shell variable for the secret in a field or header of this name.
fn variable(name: &str) -> String {
    let letter = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
    name.chars().map(letter).collect()
}

/// A place for a variable in a text that is yet to be quoted: between letters that no request has.
fn marked(variable: &str) -> String {
    format!("\u{e000}{variable}\u{e000}")
}

/// A JSON body without its secrets; anything else only by its length.
pub(super) fn redacted(body: &[u8]) -> String {
    match serde_json::from_slice::<Value>(body) {
        Ok(mut value) => {
            redact(&mut value, "", &mut |_| "<set>".to_owned());
            value.to_string()
        }
        Err(_) => format!("<{} bytes>", body.len()),
    }
}

/// Puts what `instead` says for the name of their field in the place of secrets.
fn redact(value: &mut Value, name: &str, instead: &mut dyn FnMut(&str) -> String) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                if is_secret(name) && !value.is_null() && !value.is_boolean() && !value.is_object() {
                    *value = instead(name).into();
                } else {
                    redact(value, name, instead);
                }
            }
        }
        Value::Array(elements) => elements.iter_mut().for_each(|element| redact(element, name, instead)),
        Value::String(text) if text.contains("pulse_secret_") || text.contains("pulse_admin_") => {
            *value = instead(name).into();
        }
        _ => {}
    }
}

/// Whether a header of this name has a credential in it.
pub(super) fn is_secret_header(name: &str) -> bool {
    let name = name.to_ascii_lowercase().replace('-', "_");
    name.ends_with("authorization") || name.ends_with("cookie") || is_secret(&name)
}

fn is_secret(name: &str) -> bool {
    let ends = ["secret", "_token", "secret_access_key", "access_key_id", "account_key", "account_name", "credentials"];
    name == "token" || ends.iter().any(|end| name.ends_with(end))
}

#[cfg(test)]
mod tests {
    use super::*;
    use pulse_core::op::Method;
    use serde_json::json;

    #[test]
    fn neither_trace_nor_curl_shows_a_secret_or_sends_a_placeholder_for_one() {
        let body = json!({ "name": "a'b", "livekit_api_secret": "hush", "deep": [{ "token": "hush", "text": "x pulse_secret_hush" }] });
        assert!(!redacted(body.to_string().as_bytes()).contains("hush"));
        assert_eq!(redacted(b"hush"), "<4 bytes>");
        let request = Request { method: Method::Post, path: "/v1/x".to_owned(), body: Some(body) };
        let headers = ["X-Pulse-Secret: hush", "authorization: Basic hush", "X-A: b"].map(str::to_owned);
        let (line, variables) = command(None, &request, CallOptions::dry(true), &headers);
        assert!(!line.contains("hush") && !line.contains("<set>"), "{line}");
        assert!(line.contains(r#""livekit_api_secret":"'"$LIVEKIT_API_SECRET"'""#), "{line}");
        assert!(line.contains(r#"-H 'X-Pulse-Secret: '"$X_PULSE_SECRET""#) && line.contains("-H 'X-A: b'"), "{line}");
        assert!(!line.contains("$PULSE_TOKEN") && line.contains(r"a'\''b"), "{line}");
        let names = ["AUTHORIZATION", "LIVEKIT_API_SECRET", "TEXT", "TOKEN", "X_PULSE_SECRET"];
        assert_eq!(Vec::from_iter(variables), names);
    }

    #[test]
    fn nothing_in_a_printed_request_is_run_by_a_shell() {
        let request = Request { method: Method::Get, path: "/v1/x?a=$(id)&b=`id`".to_owned(), body: None };
        let (line, _) = command(None, &request, CallOptions::default(), &[]);
        assert!(line.contains(r#""$PULSE_SERVER"'/v1/x?a=$(id)&b=`id`' "#), "{line}");
        let server = Url::parse("https://pulse.example").unwrap();
        let (line, _) = command(Some(&server), &request, CallOptions::default(), &[]);
        assert!(line.contains("'https://pulse.example/v1/x?a=$(id)") && line.contains("Bearer $PULSE_TOKEN"), "{line}");
    }
}
