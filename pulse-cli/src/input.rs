//! What users hand in beside flags: files, stdin, and secrets, which never come as a flag's value.

use std::{io::Read as _, path::Path};

use pulse_core::secret::Secret;
use serde::de::DeserializeOwned;

use crate::exit::Failure;

/// The most that is read from a file or from stdin, in bytes: more than any request may have.
const MAX_BYTES: u64 = 4 << 20;

/// The text of a file, or of stdin for `-`.
pub fn text(path: &Path) -> Result<String, Failure> {
    let name = if path.as_os_str() == "-" { "stdin".to_owned() } else { path.display().to_string() };
    let failed = |cause: std::io::Error| Failure::usage(format!("{name} cannot be read: {cause}"));
    let mut bytes = Vec::new();
    if path.as_os_str() == "-" {
        std::io::stdin().lock().take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(failed)?;
    } else {
        std::fs::File::open(path).and_then(|file| file.take(MAX_BYTES + 1).read_to_end(&mut bytes)).map_err(failed)?;
    }
    if bytes.len() as u64 > MAX_BYTES {
        return Err(Failure::usage(format!("{name} is larger than 4 MiB")));
    }
    String::from_utf8(bytes).map_err(|_| Failure::usage(format!("{name} is not UTF-8")))
}

/// A secret from a file or stdin, without the line end that editors put there.
pub fn secret(path: &Path) -> Result<Secret, Failure> {
    let text = text(path)?;
    let secret = text.trim_end_matches(['\r', '\n']);
    if secret.is_empty() || secret.chars().any(char::is_control) {
        let name = if path.as_os_str() == "-" { "stdin".into() } else { path.display().to_string() };
        return Err(Failure::usage(format!("{name} does not hold a secret in one line")));
    }
    Ok(Secret::new(secret))
}

/// A JSON value of a type from a file or stdin.
pub fn json<T: DeserializeOwned>(path: &Path) -> Result<T, Failure> {
    let text = text(path)?;
    serde_json::from_str(&text).map_err(|error| {
        // Without the value that the message may quote, which may be a secret.
        let place = format!("line {}, column {}", error.line(), error.column());
        let why = if error.is_data() { "does not have the right fields" } else { "is not well-formed JSON" };
        Failure::usage(format!("{} {why} ({place})", path.display())).hint("The API's documentation lists the fields.")
    })
}

/// A media token that is given as an argument, or on stdin for `-`.
pub fn token(argument: &str) -> Result<String, Failure> {
    if argument != "-" {
        return Ok(argument.trim().to_owned());
    }
    let text = text(Path::new("-"))?;
    Ok(text.trim().to_owned())
}
