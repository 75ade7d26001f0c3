//! What no program under test may write: secrets that it was given, that it made for itself, or that Pulse made with it.
//!
//! The harness looks at the output of every program when it ends, at the SQLite stores that it leaves in its folder, at
//! every answer of a daemon, and at every delivery, there for rooms under LiveKit's names as well. The few commands that
//! exist to show a secret say so.
//!
//! A store is read whole whenever a daemon of it is dropped, and some tests start one again and again: so the search has to
//! be fast in a debug build as well, which that of `memchr` is.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use memchr::memmem;
use pulse_core::config::TABLE;

/// How secrets that Pulse makes begin; a letter or digit follows, so that `pulse_secret_...` in a text is none.
const MADE: [&str; 4] = ["pulse_secret_live_", "pulse_secret_test_", "pulse_admin_", "whsec_"];
/// Secrets of the command line that the table of settings does not have.
const CREDENTIALS: [&str; 2] = ["PULSE_TOKEN", "PULSE_WEBHOOK_SECRET"];
/// Shorter values, such as the `secret` of a LiveKit in development, are words of any text.
const SHORTEST: usize = 12;

/// The length of an id after its prefix.
const ULID: usize = 26;

/// The secrets of one program.
#[derive(Clone, Debug, Default)]
pub struct Secrets {
    /// Where each stands, and what it is.
    given: Vec<(String, String)>,
}

impl Secrets {
    /// What the command has in its environment.
    pub fn of(command: &Command) -> Self {
        let given = command.get_envs().filter_map(|(name, value)| Some((name.to_str()?, value?.to_str()?)));
        Self::default().and(given)
    }

    /// And what these variables hold, where they are secret.
    #[must_use]
    pub fn and<'a>(mut self, variables: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let secret = |name: &str| {
            CREDENTIALS.contains(&name) || TABLE.iter().any(|setting| setting.secret && setting.name == name)
        };
        for (name, value) in variables {
            if secret(name) && value.len() >= SHORTEST {
                self.given.push((name.to_owned(), value.to_owned()));
            }
        }
        self
    }

    /// And what stands in the private files beside the stores in `folder` and the folders in it.
    #[must_use]
    pub fn and_files(mut self, folder: &Path) -> Self {
        for path in files(folder, &["keys"]) {
            let text = std::fs::read_to_string(path).unwrap_or_default();
            self = self.and(text.lines().filter_map(|line| line.split_once('=')));
        }
        self
    }

    /// The names of the secrets that the text shows: those that the program was given, and those that Pulse makes.
    pub fn shown_in<'a>(&'a self, text: &str) -> Vec<&'a str> {
        self.held_by(text.as_bytes())
    }

    /// The SQLite stores in `folder` and the folders in it that hold secrets, with the names of these.
    pub fn kept_in<'a>(&'a self, folder: &Path) -> Vec<(PathBuf, Vec<&'a str>)> {
        let kept = |path: PathBuf| {
            let bytes = std::fs::read(&path).unwrap_or_default();
            (path, self.held_by(&bytes))
        };
        files(folder, &["db", "db-wal"]).into_iter().map(kept).filter(|(_, shown)| !shown.is_empty()).collect()
    }

    /// The names of the given secrets alone, for a command that is there to show one that it made.
    pub fn given_shown_in<'a>(&'a self, text: &str) -> Vec<&'a str> {
        let mut shown = self.shown_in(text);
        shown.retain(|name| !MADE.contains(name));
        shown
    }

    fn held_by(&self, bytes: &[u8]) -> Vec<&str> {
        let holds = |value: &str| memmem::find(bytes, value.as_bytes()).is_some();
        let given = self.given.iter().filter(|(_, value)| holds(value)).map(|(name, _)| name.as_str());
        given.chain(MADE.into_iter().filter(|start| holds_made(bytes, start))).collect()
    }
}

/// Whether the text shows a room as a shared LiveKit knows it: the project's id before a `~`.
pub fn shows_wire_name(text: &str) -> bool {
    let is_id = |before: &str| before.rsplit_once("prj_").is_some_and(|(_, id)| id.len() == ULID);
    text.match_indices('~').any(|(at, _)| is_id(&text[..at]))
}

/// The files with one of these extensions in `folder` and the folders in it.
fn files(folder: &Path, extensions: &[&str]) -> Vec<PathBuf> {
    let entries = |folder: &Path| std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let wanted =
        |path: &PathBuf| path.extension().is_some_and(|is| extensions.iter().any(|extension| is == *extension));
    entries(folder).flat_map(|path| entries(&path).chain([path]).collect::<Vec<_>>()).filter(wanted).collect()
}

fn holds_made(bytes: &[u8], start: &str) -> bool {
    let goes_on = |at: usize| bytes.get(at + start.len()).is_some_and(u8::is_ascii_alphanumeric);
    memmem::find_iter(bytes, start.as_bytes()).any(goes_on)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

    #[test]
    fn given_and_made_secrets_are_found_and_prefixes_in_a_text_are_not() {
        let mut command = Command::new("true");
        command.env("PULSE_MASTER_KEY", KEY).env("LIVEKIT_API_SECRET", "secret").env("PULSE_LISTEN", "127.0.0.1:8080");
        let secrets = Secrets::of(&command);
        assert_eq!(secrets.shown_in(&format!("sealed under {KEY}")), ["PULSE_MASTER_KEY"]);
        assert_eq!(secrets.shown_in("made pulse_secret_live_0a"), ["pulse_secret_live_"]);
        assert_eq!(secrets.shown_in("made pulse_admin_0a"), ["pulse_admin_"]);
        assert_eq!(secrets.shown_in("made whsec_0a"), ["whsec_"]);
        assert_eq!(secrets.shown_in("send pulse_secret_... or pulse_admin_... to 127.0.0.1:8080"), [""; 0]);
        assert_eq!(secrets.given_shown_in(&format!("{KEY} pulse_admin_0a")), ["PULSE_MASTER_KEY"]);
    }

    #[test]
    fn rooms_under_livekits_names_are_found() {
        assert!(shows_wire_name("{\"room\":\"prj_01ARZ3NDEKTSV4RRFFQ69G5FAV~standup\"}"));
        assert!(!shows_wire_name("prj_01ARZ3NDEKTSV4RRFFQ69G5FAV and a~b, prj_x~y"));
    }

    #[test]
    fn secrets_in_a_store_are_found() {
        let folder = crate::temporary_folder("secrets");
        std::fs::create_dir(folder.path().join("pulse-data")).expect("it is made");
        let store = folder.path().join("pulse-data/pulse.db");
        std::fs::write(&store, [b"\xff\x00{\"key\":\"".as_slice(), KEY.as_bytes(), b"\"}"].concat())
            .expect("it is written");
        let secrets = Secrets::default().and([("PULSE_MASTER_KEY", KEY)]);
        assert_eq!(secrets.kept_in(folder.path()), [(store.clone(), vec!["PULSE_MASTER_KEY"])]);
        std::fs::write(&store, "sealed").expect("it is written");
        assert!(secrets.kept_in(folder.path()).is_empty());
    }

    #[test]
    fn private_files_beside_a_store_are_secrets() {
        let folder = crate::temporary_folder("secrets");
        std::fs::create_dir(folder.path().join("pulse-data")).expect("it is made");
        let keys = format!("API_KEY_PEPPER=made-at-the-first-start\nPULSE_MASTER_KEY={KEY}\n");
        std::fs::write(folder.path().join("pulse-data/pulse.db.keys"), keys).expect("it is written");
        let secrets = Secrets::default().and_files(folder.path());
        assert_eq!(secrets.shown_in("under made-at-the-first-start."), ["API_KEY_PEPPER"]);
        assert_eq!(secrets.shown_in(KEY), ["PULSE_MASTER_KEY"]);
    }
}
