//! The environment, read in one place and handed on as a value.

use std::{collections::HashMap, path::PathBuf};

use pulse_core::config::{Kind, Setting, setting};

/// The variables of this process that are text.
#[derive(Clone, Default)]
pub struct Env(HashMap<String, String>);

impl std::fmt::Debug for Env {
    /// Without the values, among which are tokens.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Env").field(&self.0.len()).finish()
    }
}

impl Env {
    /// What this process was started with.
    pub fn of_process() -> Self {
        let pairs =
            std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
        Self(pairs.collect())
    }

    /// These variables and no others.
    pub fn of(pairs: &[(&str, &str)]) -> Self {
        Self(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
    }

    /// The value of a variable that is set and not empty.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// All variables.
    pub fn all(&self) -> &HashMap<String, String> {
        &self.0
    }

    /// Where settings of programs live: `$XDG_CONFIG_HOME`, else `~/.config`.
    pub fn config_folder(&self) -> Option<PathBuf> {
        let own = self.get("XDG_CONFIG_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
        own.or_else(|| Some(PathBuf::from(self.get("HOME")?).join(".config"))).map(|folder| folder.join("pulse"))
    }

    /// The variables that a command which Pulse runs may see: none that hold Pulse's or LiveKit's secrets.
    pub fn for_commands(&self) -> impl Iterator<Item = (&String, &String)> {
        self.0.iter().filter(|(name, _)| !is_private(name))
    }
}

/// Whether a variable is kept from commands that Pulse runs: Pulse's and LiveKit's own, and every setting that is a secret
/// or an address in which one may stand.
pub fn is_private(name: &str) -> bool {
    let own = ["PULSE_", "LIVEKIT_", "API_KEY_PEPPER", "R2_"].iter().any(|start| name.starts_with(start));
    let may_hold_one = |setting: &Setting| {
        setting.secret || matches!(setting.kind, Kind::MongoUri | Kind::RedisUrl | Kind::Store | Kind::Url(_))
    };
    own || setting(name).is_some_and(may_hold_one)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_see_nothing_of_pulse() {
        let private =
            ["PULSE_TOKEN", "API_KEY_PEPPER_PREVIOUS", "JWT_SECRET", "MONGO_URI", "REDIS_URL", "CDN_INGEST_URL"];
        let env = Env::of(&private.map(|name| (name, "x")).into_iter().chain([("PATH", "/bin")]).collect::<Vec<_>>());
        let seen: Vec<_> = env.for_commands().map(|(name, _)| name.as_str()).collect();
        assert_eq!(seen, ["PATH"]);
    }
}
