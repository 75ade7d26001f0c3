//! The command line. Flags that set something are made from the table of settings; the few others are here.

use std::{collections::BTreeMap, path::PathBuf, process::ExitCode};

use clap::{Arg, ArgAction, ArgMatches, value_parser};
use pulse_core::config::{Kind, Setting, TABLE};

use crate::terminal;

/// What the command line says.
#[derive(Clone, Debug)]
pub struct Invocation {
    /// What to do.
    pub command: Command,
    /// Settings given as flags, by name.
    pub flags: BTreeMap<String, String>,
    /// A file with `NAME=value` lines.
    pub env_file: Option<PathBuf>,
    /// A TOML file.
    pub config_file: Option<PathBuf>,
    /// Where to write the address once connections are accepted.
    pub ready_file: Option<PathBuf>,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Serve.
    Serve,
    /// Show the settings and end.
    Check,
    /// Write the documents that are made from tables, or tell which of them differ.
    Generate {
        /// The repository.
        root: PathBuf,
        /// Whether to write nothing.
        check: bool,
    },
}

/// The definition of the command line.
pub fn definition() -> clap::Command {
    let file = |name: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name("FILE").value_parser(value_parser!(PathBuf)).help(help)
    };
    let generate = clap::Command::new("generate")
        .about("Write the documents in docs/ that are made from tables")
        .hide(true)
        .arg(
            Arg::new("check")
                .long("check")
                .action(ArgAction::SetTrue)
                .help("Write nothing; exit 1 naming the files that differ"),
        )
        .arg(
            Arg::new("root")
                .long("root")
                .value_name("DIR")
                .default_value(".")
                .value_parser(value_parser!(PathBuf))
                .help("The repository"),
        );
    clap::Command::new("pulsed")
        .version(env!("CARGO_PKG_VERSION"))
        .about("The daemon of Pulse, a self-hosted control plane for LiveKit")
        .after_help("Settings come from flags, then the environment, then --env-file, then --config, then defaults; docs/CONFIG.md lists them all.")
        .args(TABLE.iter().filter_map(setting_flag))
        .arg(file("env-file", "Read settings from a file with NAME=value lines"))
        .arg(file("config", "Read settings from a TOML file"))
        .arg(file("ready-file", "Write {\"url\": ...} to this file once connections are accepted"))
        .arg(Arg::new("check").long("check").action(ArgAction::SetTrue).help("Show every setting and where it comes from, and end"))
        .subcommand(generate)
}

fn setting_flag(setting: &Setting) -> Option<Arg> {
    let flag = setting.flag?;
    let arg = Arg::new(setting.name).long(flag).help(format!("{} [{}]", summary(setting.meaning), setting.name));
    Some(match setting.kind {
        Kind::Switch => arg.action(ArgAction::SetTrue),
        _ => arg.value_name(value_name(setting.kind)),
    })
}

/// The first sentence without its full stop. Dots of an ellipsis end none unless a new sentence follows, and stay.
fn summary(meaning: &str) -> &str {
    let followed = |at: &usize| meaning[at + 2..].starts_with(char::is_uppercase);
    let end = meaning.match_indices(". ").map(|(at, _)| at).find(followed);
    let sentence = &meaning[..end.map_or(meaning.len(), |at| at + 1)];
    if sentence.ends_with("...") { sentence } else { sentence.trim_end_matches('.') }
}

fn value_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Address => "ADDRESS",
        Kind::Path => "PATH",
        Kind::Networks => "NETWORKS",
        Kind::Names => "NAMES",
        Kind::Choice(_) => "WORD",
        _ => "VALUE",
    }
}

/// Reads the command line; `Err` is the exit code when the parser has answered by itself (help, version, a usage error).
pub fn parse() -> Result<Invocation, ExitCode> {
    match definition().try_get_matches() {
        Ok(matches) => Ok(invocation(&matches)),
        Err(answer) => {
            let text = answer.render().to_string();
            if answer.use_stderr() {
                terminal::tell(&text);
                return Err(ExitCode::from(2));
            }
            terminal::show(&text);
            Err(ExitCode::SUCCESS)
        }
    }
}

fn invocation(matches: &ArgMatches) -> Invocation {
    let path = |matches: &ArgMatches, name: &str| matches.get_one::<PathBuf>(name).cloned();
    let command = match matches.subcommand_matches("generate") {
        Some(docs) => Command::Generate { root: path(docs, "root").unwrap_or_default(), check: docs.get_flag("check") },
        None if matches.get_flag("check") => Command::Check,
        None => Command::Serve,
    };
    let flag = |setting: &Setting| {
        let value = match (setting.flag, setting.kind) {
            (None, _) => None,
            (Some(_), Kind::Switch) => matches.get_flag(setting.name).then(|| "true".to_owned()),
            (Some(_), _) => matches.get_one::<String>(setting.name).cloned(),
        };
        value.map(|value| (setting.name.to_owned(), value))
    };
    Invocation {
        command,
        flags: TABLE.iter().filter_map(flag).collect(),
        env_file: path(matches, "env-file"),
        config_file: path(matches, "config"),
        ready_file: path(matches, "ready-file"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_those_of_the_table() {
        definition().debug_assert();
        let matches =
            definition().get_matches_from(["pulsed", "--dev", "--listen", "127.0.0.1:0", "--config", "a.toml"]);
        let invocation = invocation(&matches);
        assert_eq!(invocation.flags["PULSE_DEV"], "true");
        assert_eq!(invocation.flags["PULSE_LISTEN"], "127.0.0.1:0");
        assert_eq!((invocation.flags.len(), invocation.command), (2, Command::Serve));
    }

    #[test]
    fn a_flags_help_is_the_first_sentence_of_what_its_setting_means() {
        assert_eq!(summary("Starts. Then more."), "Starts");
        assert_eq!(summary("One: a://... or b://... Wins over C."), "One: a://... or b://...");
        assert_eq!(summary("Only one."), "Only one");
    }
}
