//! What users hand in beside flags: files, stdin, and secrets, which never come as a flag's value.

use std::{io::Read as _, path::Path};

use pulse_core::secret::Secret;
use serde::de::DeserializeOwned;

use crate::exit::Failure;

/// The most that is read from a file or from stdin, in bytes: more than any request may have.
const MAX_BYTES: u64 = 4 << 20;

/// What a file is called.
fn named(path: &Path) -> String {
    if path.as_os_str() == "-" { "stdin".to_owned() } else { path.display().to_string() }
}

/// The bytes of a file, or of stdin for `-`.
pub fn bytes(path: &Path) -> Result<Vec<u8>, Failure> {
    read(path, &named(path))
}

/// The same, of something that is called `name` when it cannot be read.
fn read(path: &Path, name: &str) -> Result<Vec<u8>, Failure> {
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
    Ok(bytes)
}

/// The text of a file, or of stdin for `-`.
pub fn text(path: &Path) -> Result<String, Failure> {
    text_called(path, &named(path))
}

fn text_called(path: &Path, name: &str) -> Result<String, Failure> {
    String::from_utf8(read(path, name)?).map_err(|_| Failure::usage(format!("{name} is not UTF-8")))
}

/// A secret from a file or stdin, without the line end that editors put there.
pub fn secret(path: &Path) -> Result<Secret, Failure> {
    secret_called(path, &named(path))
}

/// The same, for a path that is not repeated when it cannot be read.
pub fn secret_called(path: &Path, name: &str) -> Result<Secret, Failure> {
    let text = text_called(path, name)?;
    let secret = text.trim_end_matches(['\r', '\n']);
    if secret.is_empty() || secret.chars().any(char::is_control) {
        return Err(Failure::usage(format!("{name} does not hold a secret in one line")));
    }
    Ok(Secret::new(secret))
}

/// A JSON value of a type from a file or stdin. What is wrong is told by field, without the value, which may be a secret.
pub fn json<T: DeserializeOwned>(path: &Path) -> Result<T, Failure> {
    let text = text(path)?;
    let mut reader = serde_json::Deserializer::from_str(&text);
    let (field, error) = match serde_path_to_error::deserialize(&mut reader) {
        Ok(value) => match reader.end() {
            Ok(()) => return Ok(value),
            Err(error) => (String::new(), error),
        },
        Err(error) => (error.path().to_string(), error.into_inner()),
    };
    let (line, column, said) = (error.line(), error.column(), error.to_string());
    let why = match said.split_once(" at line ") {
        _ if !error.is_data() => "is not well-formed JSON".to_owned(),
        // These two say names of fields and nothing else.
        Some((said, _)) if said.starts_with("missing field") || said.starts_with("unknown field") => {
            format!("is not right: {said}")
        }
        _ if field == "." => "is not of the right kind".to_owned(),
        _ => format!("is not right: {field} has a value that does not fit"),
    };
    Err(Failure::usage(format!("{} {why} (line {line}, column {column})", named(path)))
        .hint("The API's documentation lists the fields."))
}

/// A media token that is given as an argument, or on stdin for `-`.
pub fn token(argument: &str) -> Result<String, Failure> {
    if argument != "-" {
        return Ok(argument.trim().to_owned());
    }
    let text = text(Path::new("-"))?;
    Ok(text.trim().to_owned())
}
