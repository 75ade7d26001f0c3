//! Requests for people to read: the trace of `-v` and the command of `--curl`. Neither ever shows a secret.

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
        self.printer.text(&command(self.server.as_ref(), request, options, headers))?;
        Err(Failure::stop())
    }
}

fn command(server: Option<&Url>, request: &Request, options: CallOptions, headers: &[String]) -> String {
    let base = server.map_or("$PULSE_SERVER", |url| url.as_str().trim_end_matches('/'));
    let mut path = request.path.clone();
    if options.dry_run {
        path.push_str(if path.contains('?') { "&dry_run=true" } else { "?dry_run=true" });
    }
    let mut line = format!(
        "curl -sS -X {} \"{base}{path}\" \\\n  -H \"Authorization: Bearer $PULSE_TOKEN\"",
        request.method.name()
    );
    if let Some(version) = options.if_match {
        line.push_str(&format!(" \\\n  -H 'If-Match: \"{version}\"'"));
    }
    for header in headers {
        line.push_str(&format!(" \\\n  -H {}", quoted(header)));
    }
    if let Some(body) = &request.body {
        let mut body = body.clone();
        redact(&mut body);
        line.push_str(&format!(" \\\n  -H 'Content-Type: application/json' \\\n  -d {}", quoted(&body.to_string())));
    }
    line.push('\n');
    line
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

/// A JSON body without its secrets; anything else only by its length.
pub(super) fn redacted(body: &[u8]) -> String {
    match serde_json::from_slice::<Value>(body) {
        Ok(mut value) => {
            redact(&mut value);
            value.to_string()
        }
        Err(_) => format!("<{} bytes>", body.len()),
    }
}

fn redact(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                if is_secret(name) && !value.is_null() && !value.is_boolean() && !value.is_object() {
                    *value = "<set>".into();
                } else {
                    redact(value);
                }
            }
        }
        Value::Array(elements) => elements.iter_mut().for_each(redact),
        Value::String(text) if text.contains("pulse_secret_") || text.contains("pulse_admin_") => {
            *value = "<set>".into();
        }
        _ => {}
    }
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
    fn neither_trace_nor_curl_shows_a_secret() {
        let body = json!({ "name": "a'b", "livekit_api_secret": "hush", "deep": [{ "token": "hush", "text": "x pulse_secret_hush" }] });
        assert!(!redacted(body.to_string().as_bytes()).contains("hush"));
        assert_eq!(redacted(b"hush"), "<4 bytes>");
        let request = Request { method: Method::Post, path: "/v1/x".to_owned(), body: Some(body) };
        let line = command(None, &request, CallOptions::dry(true), &[]);
        assert!(!line.contains("hush") && line.contains("$PULSE_TOKEN") && line.contains(r"a'\''b"), "{line}");
        assert!(line.contains("\"$PULSE_SERVER/v1/x?dry_run=true\""), "{line}");
    }
}
