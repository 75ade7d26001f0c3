//! Where a new secret goes. A secret reaches a command on its stdin, never as an argument; a file is
//! readable by its owner alone. What Pulse itself wrote to a file it takes back when the rotation fails.

use std::{
    fs::{self, OpenOptions},
    io::Write as _,
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use pulse_core::files::{PRIVATE, create_private, replace_file};
use tokio::{io::AsyncWriteExt as _, process::Command};

use crate::{args::Sinks, exit::Failure, session::Session};

/// The longest that one command may take: well within the life of a pending successor.
const COMMAND_TIME: Duration = Duration::from_secs(240);
/// How much of a failed command's words is repeated, in characters.
const WORDS: usize = 600;

/// A place for the new secret.
#[derive(Debug)]
pub(super) enum Sink {
    Command(String),
    File(PathBuf),
    EnvFile(PathBuf, String),
    GithubOutput(PathBuf, String),
}

/// A secret that a sink has, and how to take it back.
#[derive(Debug)]
pub(super) struct Stored {
    name: String,
    undo: Undo,
}

#[derive(Debug)]
enum Undo {
    Nothing,
    Remove(PathBuf),
    Rewrite(PathBuf, String),
}

/// The sinks that the arguments name, as far as can be checked before anything is made.
pub(super) fn plan(session: &Session, args: &Sinks) -> Result<Vec<Sink>, Failure> {
    let mut sinks = Vec::new();
    for path in &args.secret_to_file {
        if path.exists() {
            return Err(Failure::usage(format!("{} exists already", path.display()))
                .hint("--secret-to-file writes a new file."));
        }
        sinks.push(Sink::File(path.clone()));
    }
    for text in &args.secret_to_env_file {
        let parts = text.rsplit_once(':').filter(|(path, name)| !path.is_empty() && is_variable(name));
        let (path, name) = parts.ok_or_else(|| Failure::usage(format!("{text:?} is not FILE:NAME")))?;
        sinks.push(Sink::EnvFile(PathBuf::from(path), name.to_owned()));
    }
    for name in &args.secret_to_github_output {
        let path = session.env.get("GITHUB_OUTPUT").ok_or_else(|| {
            Failure::usage("GITHUB_OUTPUT is not set")
                .hint("--secret-to-github-output works in a step of GitHub Actions.")
        })?;
        if !is_variable(&name.replace('-', "_")) {
            return Err(Failure::usage(format!("{name:?} is not the name of an output")));
        }
        sinks.push(Sink::GithubOutput(PathBuf::from(path), name.clone()));
    }
    // Commands last: they reach other systems, and what fails before them leaves those alone.
    sinks.extend(args.secret_to_cmd.iter().cloned().map(Sink::Command));
    Ok(sinks)
}

fn is_variable(name: &str) -> bool {
    let fits = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    fits && !name.is_empty() && !name.starts_with(|c: char| c.is_ascii_digit())
}

impl Sink {
    /// What the user calls it.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Command(command) => format!("command {command:?}"),
            Self::File(path) => format!("file {}", path.display()),
            Self::EnvFile(path, name) => format!("variable {name} in {}", path.display()),
            Self::GithubOutput(_, name) => format!("output {name}"),
        }
    }

    /// Hands the secret over.
    pub(super) async fn store(&self, session: &Session, secret: &str) -> Result<Stored, Failure> {
        let failed = |path: &Path, cause: std::io::Error| {
            Failure::unexpected(format!("{} cannot be written: {cause}", path.display()))
        };
        let undo = match self {
            Self::Command(text) => {
                command(session, text, Some(secret), secret).await?;
                Undo::Nothing
            }
            Self::File(path) => {
                create_private(path, &format!("{secret}\n")).map_err(|cause| failed(path, cause))?;
                Undo::Remove(path.clone())
            }
            Self::EnvFile(path, name) => set_variable(path, name, secret).map_err(|cause| failed(path, cause))?,
            Self::GithubOutput(path, name) => {
                // The mask comes first: from then on the runner hides the secret in its log.
                session.printer.note(&format!("::add-mask::{secret}"));
                let appended = OpenOptions::new().append(true).create(true).mode(0o600).open(path);
                appended.and_then(|mut file| writeln!(file, "{name}={secret}")).map_err(|cause| failed(path, cause))?;
                Undo::Nothing
            }
        };
        Ok(Stored { name: self.name(), undo })
    }
}

impl Stored {
    /// What the user calls the place.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Takes the secret back; the name of the place when it still has it.
    pub(super) fn undo(self) -> Option<String> {
        let undone = match &self.undo {
            Undo::Nothing => false,
            Undo::Remove(path) => fs::remove_file(path).is_ok(),
            Undo::Rewrite(path, before) => replace(path, before).is_ok(),
        };
        (!undone).then_some(self.name)
    }
}

/// Sets one variable of an env file and leaves its other lines as they are.
fn set_variable(path: &Path, name: &str, secret: &str) -> std::io::Result<Undo> {
    let before = match fs::read_to_string(path) {
        Ok(text) => Some(text),
        Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => None,
        Err(cause) => return Err(cause),
    };
    let text = with_variable(before.as_deref().unwrap_or_default(), name, secret);
    replace(path, &text)?;
    Ok(before.map_or_else(|| Undo::Remove(path.to_owned()), |before| Undo::Rewrite(path.to_owned(), before)))
}

fn with_variable(text: &str, name: &str, value: &str) -> String {
    let sets = |line: &str| {
        let line = line.trim_start();
        let line = line.strip_prefix("export ").unwrap_or(line);
        line.strip_prefix(name).is_some_and(|rest| rest.trim_start().starts_with('='))
    };
    let mut found = false;
    let mut lines: Vec<String> = Vec::new();
    for line in text.lines() {
        if !sets(line) {
            lines.push(line.to_owned());
        } else if !found {
            found = true;
            let export = if line.trim_start().starts_with("export ") { "export " } else { "" };
            lines.push(format!("{export}{name}={value}"));
        }
    }
    if !found {
        lines.push(format!("{name}={value}"));
    }
    lines.join("\n") + "\n"
}

/// Replaces a file. It stays as private as it was, and a new one is readable by its owner alone.
fn replace(path: &Path, text: &str) -> std::io::Result<()> {
    // A link is followed, so that the file behind it is the one that changes.
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let mode = fs::metadata(&path).map_or(PRIVATE, |found| found.permissions().mode() & 0o777);
    replace_file(&path, text, mode)
}

/// Runs a command in a shell, without Pulse's variables. Its words are repeated only when it fails, and never with the
/// secret in them.
pub(super) async fn command(session: &Session, text: &str, input: Option<&str>, secret: &str) -> Result<(), Failure> {
    let failed = |why: String| Failure::new(1, "command_failed", format!("the command {text:?} {why}"));
    let mut child = Command::new("sh")
        .arg("-c")
        .arg(text)
        .env_clear()
        .envs(session.env.for_commands())
        .stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|cause| failed(format!("cannot be run: {cause}")))?;
    let stdin = child.stdin.take();
    let writing = async {
        if let (Some(mut stdin), Some(input)) = (stdin, input) {
            // A command that does not read is judged by how it ends.
            let _ = stdin.write_all(input.as_bytes()).await;
        }
    };
    let waiting = async { tokio::join!(writing, child.wait_with_output()).1 };
    let output = tokio::time::timeout(COMMAND_TIME, waiting).await;
    let output = output.map_err(|_| failed(format!("did not end within {} s", COMMAND_TIME.as_secs())))?;
    let output = output.map_err(|cause| failed(format!("cannot be followed: {cause}")))?;
    if output.status.success() {
        return Ok(());
    }
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).replace(secret, "<secret>");
    let skipped = said.chars().count().saturating_sub(WORDS);
    let said: String = said.trim().chars().skip(skipped).collect();
    let why =
        output.status.code().map_or_else(|| "was killed".to_owned(), |code| format!("failed with exit code {code}"));
    Err(failed(why).hint(if said.is_empty() { String::new() } else { format!("It said: {said}") }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_is_set_in_its_place_or_at_the_end() {
        assert_eq!(
            with_variable("A=1\nexport KEY = old\n# KEY=2\nKEY=3\n", "KEY", "new"),
            "A=1\nexport KEY=new\n# KEY=2\n"
        );
        assert_eq!(with_variable("KEYS=1", "KEY", "new"), "KEYS=1\nKEY=new\n");
        assert_eq!(with_variable("", "KEY", "new"), "KEY=new\n");
    }
}
