//! Which server or store a command is about. The rules stand in one order, the first that applies wins, and `pulse
//! status` and `pulse config explain` say which one that was.

use std::path::{Path, PathBuf};

use pulse_core::config::without_credentials;
use serde::{Deserialize, Serialize};
use url::Url;

use crate::{
    args::Global,
    env::Env,
    exit::Failure,
    profile::{Context, Profile},
};

/// The file that names the target of a folder and those below it.
pub const FOLDER_FILE: &str = ".pulse.toml";

/// The rule that decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rule {
    /// `--server`.
    ServerFlag,
    /// `--local`, perhaps with `--store`.
    LocalFlag,
    /// `--context`.
    ContextFlag(String),
    /// `PULSE_SERVER`.
    ServerVariable,
    /// `PULSE_STORE`.
    StoreVariable,
    /// `.pulse.toml`, with the context that it names, if it names one.
    FolderFile(PathBuf, Option<String>),
    /// The default context.
    DefaultContext(String),
}

impl Rule {
    /// The rule, as `config explain` shows it.
    pub fn describe(&self) -> String {
        match self {
            Self::ServerFlag => "--server".to_owned(),
            Self::LocalFlag => "--local".to_owned(),
            Self::ContextFlag(name) => format!("--context {name}"),
            Self::ServerVariable => "PULSE_SERVER".to_owned(),
            Self::StoreVariable => "PULSE_STORE".to_owned(),
            Self::FolderFile(path, None) => path.display().to_string(),
            Self::FolderFile(path, Some(name)) => format!("{} (context {name})", path.display()),
            Self::DefaultContext(name) => format!("default context {name}"),
        }
    }

    fn context(&self) -> Option<&str> {
        match self {
            Self::ContextFlag(name) | Self::DefaultContext(name) | Self::FolderFile(_, Some(name)) => Some(name),
            Self::ServerFlag
            | Self::LocalFlag
            | Self::ServerVariable
            | Self::StoreVariable
            | Self::FolderFile(_, None) => None,
        }
    }
}

/// Where the operations are done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// By a server.
    Server(Url),
    /// Here, on a store; `None` is the one that the settings name.
    Store(Option<String>),
}

/// A decided target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Where.
    pub place: Place,
    /// Why there.
    pub rule: Rule,
    /// The organization of commands that name none.
    pub org: Option<String>,
    /// The project of commands that name none.
    pub project: Option<String>,
}

/// `.pulse.toml`. It cannot name a server: a folder that somebody else made must not decide where a token goes.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct FolderFile {
    context: Option<String>,
    store: Option<String>,
    org: Option<String>,
    project: Option<String>,
}

/// One line of `config explain`.
#[derive(Clone, Debug, Serialize)]
pub struct Considered {
    /// Place in the order, from 1.
    pub order: u8,
    /// The rule.
    pub rule: String,
    /// What it says, if it says something.
    pub value: Option<String>,
    /// Whether it decided.
    pub used: bool,
}

impl Target {
    /// Decides.
    pub fn resolve(global: &Global, env: &Env) -> Result<Self, Failure> {
        if let Some(url) = &global.server {
            return Self::server(url, Rule::ServerFlag, &Context::default());
        }
        if global.local {
            let store = global.store.clone();
            return Ok(Self { place: Place::Store(store), rule: Rule::LocalFlag, org: None, project: None });
        }
        if let Some(name) = &global.context {
            return Self::context(name, Rule::ContextFlag(name.clone()), env);
        }
        if let Some(url) = env.get("PULSE_SERVER") {
            return Self::server(url, Rule::ServerVariable, &Context::default());
        }
        if env.get("PULSE_STORE").is_some() {
            return Ok(Self { place: Place::Store(None), rule: Rule::StoreVariable, org: None, project: None });
        }
        if let Some(path) = folder_file() {
            return Self::folder_file(path, env);
        }
        let contexts = Profile::of(env).and_then(|profile| profile.contexts());
        match contexts.map(|contexts| contexts.default) {
            Ok(Some(name)) => Self::context(&name, Rule::DefaultContext(name.clone()), env),
            Ok(None) => Err(Failure::usage("there is no target: neither a server nor a store is named")
                .hint("Use --server URL for a running pulsed, or --local to open a store on this machine; `pulse context set` remembers one.")),
            Err(failure) => Err(failure),
        }
    }

    fn server(url: &str, rule: Rule, context: &Context) -> Result<Self, Failure> {
        let parsed: Option<Url> =
            url.parse().ok().filter(|url: &Url| matches!(url.scheme(), "http" | "https") && url.has_host());
        let Some(parsed) =
            parsed.filter(|url| url.username().is_empty() && url.password().is_none() && url.query().is_none())
        else {
            return Err(Failure::usage(format!("{} does not name a server", rule.describe()))
                .hint("A server is named like https://pulse.example.com; credentials do not belong into it."));
        };
        Ok(Self { place: Place::Server(parsed), rule, org: context.org.clone(), project: context.project.clone() })
    }

    fn context(name: &str, rule: Rule, env: &Env) -> Result<Self, Failure> {
        let contexts = Profile::of(env)?.contexts()?;
        let Some(context) = contexts.contexts.get(name) else {
            return Err(
                Failure::usage(format!("there is no context {name:?}")).hint("pulse context list shows all of them.")
            );
        };
        match (&context.server, &context.store) {
            (Some(url), _) => Self::server(url, rule, context),
            (None, store) => Ok(Self {
                place: Place::Store(store.clone()),
                rule,
                org: context.org.clone(),
                project: context.project.clone(),
            }),
        }
    }

    fn folder_file(path: PathBuf, env: &Env) -> Result<Self, Failure> {
        let text = std::fs::read_to_string(&path)
            .map_err(|cause| Failure::usage(format!("{} cannot be read: {cause}", path.display())))?;
        let file: FolderFile = toml::from_str(&text).map_err(|error| {
            Failure::usage(format!("{} is not valid: {}", path.display(), error.message()))
                .hint("It may name context, store, org and project. A server is named in a context, so that only you decide where tokens go.")
        })?;
        let mut target = match (&file.context, &file.store) {
            (Some(name), _) => Self::context(name, Rule::FolderFile(path, Some(name.clone())), env)?,
            (None, Some(store)) => {
                let store = beside(store, path.parent().unwrap_or(Path::new(".")));
                Self { place: Place::Store(Some(store)), rule: Rule::FolderFile(path, None), org: None, project: None }
            }
            (None, None) => {
                return Err(Failure::usage(format!("{} names neither a context nor a store", path.display())));
            }
        };
        target.org = file.org.or(target.org);
        target.project = file.project.or(target.project);
        Ok(target)
    }

    /// The context that the target comes from.
    pub fn context_name(&self) -> Option<&str> {
        self.rule.context()
    }

    /// The place, as it may be shown.
    pub fn describe(&self) -> String {
        match &self.place {
            Place::Server(url) => without_credentials(url.as_str().trim_end_matches('/')),
            Place::Store(Some(store)) => without_credentials(store),
            Place::Store(None) => "store of the settings".to_owned(),
        }
    }
}

/// Every rule with what it says, in order.
pub fn explain(global: &Global, env: &Env) -> Vec<Considered> {
    let default =
        Profile::of(env).ok().and_then(|profile| profile.contexts().ok()).and_then(|contexts| contexts.default);
    let local = global
        .local
        .then(|| global.store.as_deref().map_or_else(|| "the store of the settings".to_owned(), without_credentials));
    let rules = [
        ("--server", global.server.as_deref().map(shown_server)),
        ("--local [--store]", local),
        ("--context", global.context.clone()),
        ("PULSE_SERVER", env.get("PULSE_SERVER").map(shown_server)),
        ("PULSE_STORE", env.get("PULSE_STORE").map(without_credentials)),
        (FOLDER_FILE, folder_file().map(|path| path.display().to_string())),
        ("default context", default),
    ];
    let winner = rules.iter().position(|(_, value)| value.is_some());
    let lines = (1..).zip(rules).enumerate();
    let line = |(position, (order, (rule, value))): (usize, (u8, (&str, Option<String>)))| Considered {
        order,
        rule: rule.to_owned(),
        value,
        used: winner == Some(position),
    };
    lines.map(line).collect()
}

/// The nearest `.pulse.toml` from here upward.
fn folder_file() -> Option<PathBuf> {
    let here = std::env::current_dir().ok()?;
    here.ancestors().map(|folder| folder.join(FOLDER_FILE)).find(|path| path.is_file())
}

/// A relative path of a store, seen from the folder of the file that names it.
fn beside(store: &str, folder: &Path) -> String {
    match store.strip_prefix("sqlite:") {
        Some(path) if Path::new(path).is_relative() => format!("sqlite:{}", folder.join(path).display()),
        _ => store.to_owned(),
    }
}

/// What names a server, as it may be shown before anybody has looked whether it does: in a text that is no URL, credentials
/// can stand anywhere.
pub fn shown_server(text: &str) -> String {
    let may_hold_some = !text.contains("://") && text.contains(['@', '?']);
    if may_hold_some { "<set>".to_owned() } else { without_credentials(text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_win_over_variables_and_a_server_over_a_store() {
        let env = Env::of(&[("PULSE_SERVER", "http://variable:1"), ("PULSE_STORE", "memory:")]);
        let rule = |global: Global| Target::resolve(&global, &env).map(|target| target.rule).ok();
        assert_eq!(rule(Global { server: Some("http://flag:1".into()), ..Global::default() }), Some(Rule::ServerFlag));
        assert_eq!(rule(Global { local: true, ..Global::default() }), Some(Rule::LocalFlag));
        assert_eq!(rule(Global::default()), Some(Rule::ServerVariable));
    }

    #[test]
    fn a_server_with_credentials_in_its_address_is_refused() {
        for bad in ["http://user:secret@host", "ftp://host", "host:8080", "https://"] {
            let global = Global { server: Some(bad.to_owned()), ..Global::default() };
            let failure = Target::resolve(&global, &Env::default()).expect_err(bad);
            assert_eq!(failure.exit_code(), 2);
            assert!(!failure.message().contains("secret"));
        }
    }

    #[test]
    fn what_is_shown_of_a_target_holds_no_credentials() {
        let store = "mongodb://u:hush@h:1/db?tlsCertificateKeyFilePassword=hush".to_owned();
        let global = Global { local: true, store: Some(store), ..Global::default() };
        let target = Target::resolve(&global, &Env::default()).expect("a target");
        assert_eq!(target.describe(), "mongodb://<set>@h:1/db?tlsCertificateKeyFilePassword=<set>");
        for (text, shown) in [
            ("https://u:hush@h/", "https://<set>@h/"),
            ("u:hush@h", "<set>"),
            ("https:u:hush@h", "<set>"),
            ("h?token=hush", "<set>"),
            ("pulse.example:8080", "pulse.example:8080"),
        ] {
            assert_eq!(shown_server(text), shown);
        }
    }
}
