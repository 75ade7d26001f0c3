//! Contexts and credentials on disk: `config.toml` with contexts, and `credentials.toml` beside it with their tokens,
//! which only its owner may read. A file that others can read is refused.

use std::{
    collections::BTreeMap,
    fs,
    io::ErrorKind,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use pulse_core::files::{PRIVATE, replace_file};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{env::Env, exit::Failure};

/// One context.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Context {
    /// The server's address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<String>,
    /// The store, instead of a server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub store: Option<String>,
    /// The organization of commands that name none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub org: Option<String>,
    /// The project of commands that name none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
}

/// All contexts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Contexts {
    /// The context of commands that name no target.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<String>,
    /// Contexts by name.
    #[serde(default)]
    pub contexts: BTreeMap<String, Context>,
}

#[derive(Default, Serialize, Deserialize)]
struct Tokens {
    #[serde(default)]
    tokens: BTreeMap<String, String>,
}

/// The files.
#[derive(Clone, Debug)]
pub struct Profile {
    folder: PathBuf,
}

impl Profile {
    /// The files of this user.
    pub fn of(env: &Env) -> Result<Self, Failure> {
        let missing = || {
            Failure::usage("neither HOME nor XDG_CONFIG_HOME is set").hint("Set HOME, so that contexts have a place.")
        };
        env.config_folder().map(|folder| Self { folder }).ok_or_else(missing)
    }

    /// Where contexts are.
    pub fn contexts_file(&self) -> PathBuf {
        self.folder.join("config.toml")
    }

    /// Where tokens are.
    pub fn tokens_file(&self) -> PathBuf {
        self.folder.join("credentials.toml")
    }

    /// All contexts; none when there is no file.
    pub fn contexts(&self) -> Result<Contexts, Failure> {
        read(&self.contexts_file())
    }

    /// Replaces all contexts.
    pub fn save(&self, contexts: &Contexts) -> Result<(), Failure> {
        write(&self.contexts_file(), contexts)
    }

    /// The token of a context.
    pub fn token(&self, context: &str) -> Result<Option<String>, Failure> {
        Ok(self.tokens()?.tokens.remove(context))
    }

    /// Sets or removes the token of a context.
    pub fn set_token(&self, context: &str, token: Option<String>) -> Result<(), Failure> {
        let mut all = self.tokens()?;
        let changed = match token {
            Some(token) => all.tokens.insert(context.to_owned(), token).is_none_or(|_| true),
            None => all.tokens.remove(context).is_some(),
        };
        if changed { write(&self.tokens_file(), &all) } else { Ok(()) }
    }

    fn tokens(&self) -> Result<Tokens, Failure> {
        let path = self.tokens_file();
        match fs::metadata(&path) {
            Ok(found) if found.permissions().mode() & 0o077 != 0 => {
                Err(Failure::usage(format!("{} can be read by others", path.display()))
                    .hint(format!("chmod 600 {}", path.display())))
            }
            _ => read(&path),
        }
    }
}

fn read<T: DeserializeOwned + Default>(path: &Path) -> Result<T, Failure> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(cause) if cause.kind() == ErrorKind::NotFound => return Ok(T::default()),
        Err(cause) => return Err(Failure::usage(format!("{} cannot be read: {cause}", path.display()))),
    };
    // The message without the line it quotes, which may hold a token.
    toml::from_str(&text)
        .map_err(|error| Failure::usage(format!("{} is not valid: {}", path.display(), error.message())))
}

/// Replaces a file by one that only its owner can read.
fn write(path: &Path, content: &impl Serialize) -> Result<(), Failure> {
    let text = toml::to_string(content).map_err(|error| Failure::unexpected(error.to_string()))?;
    replace_file(path, &text, PRIVATE)
        .map_err(|cause| Failure::unexpected(format!("{} cannot be written: {cause}", path.display())))
}
