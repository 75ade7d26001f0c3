//! Collects the settings: the only place of the daemon that reads the environment, and the files that flags name.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::ExitCode,
};

use pulse_core::{
    config::{self, ConfigFault, Settings, SourceKind, Sources, TABLE},
    error::Result,
};

use crate::{args::Invocation, terminal};

type Values = BTreeMap<String, String>;

/// The settings of this invocation; all faults in one error.
pub fn settings(invocation: &Invocation) -> Result<Settings> {
    resolve(invocation).map_err(|faults| config::faults_error(&faults))
}

/// `--check`: shows every setting, or every fault (exit code 2).
pub fn check(invocation: &Invocation) -> ExitCode {
    match resolve(invocation) {
        Ok(settings) => {
            terminal::show(&config::check_table(&settings));
            ExitCode::SUCCESS
        }
        Err(faults) => {
            let lines: Vec<String> = faults.iter().map(|fault| format!("error: {fault}\n")).collect();
            terminal::tell(&lines.concat());
            ExitCode::from(2)
        }
    }
}

fn resolve(invocation: &Invocation) -> Result<Settings, Vec<ConfigFault>> {
    let mut faults = Vec::new();
    let mut file = |path: Option<&Path>, kind, parse: fn(&str) -> Result<Values, Vec<ConfigFault>>| {
        path.map_or_else(Values::new, |path| {
            read(path, kind, parse).unwrap_or_else(|found| {
                faults.extend(found);
                Values::new()
            })
        })
    };
    let env_file = file(invocation.env_file.as_deref(), SourceKind::EnvFile, config::env_file);
    let config_file = file(invocation.config_file.as_deref(), SourceKind::ConfigFile, config::toml);
    let sources = Sources::new()
        .with(SourceKind::Flag, invocation.flags.clone())
        .with(SourceKind::Environment, environment(&mut faults))
        .with(SourceKind::EnvFile, env_file)
        .with(SourceKind::ConfigFile, config_file);
    let settings = Settings::resolve(&sources).map_err(|found| [faults.clone(), found].concat())?;
    if faults.is_empty() { Ok(settings) } else { Err(faults) }
}

fn read(
    path: &Path,
    kind: SourceKind,
    parse: fn(&str) -> Result<Values, Vec<ConfigFault>>,
) -> Result<Values, Vec<ConfigFault>> {
    let text = std::fs::read_to_string(path).map_err(|cause| {
        vec![ConfigFault::new(path.display().to_string(), Some(kind), format!("cannot be read: {cause}"))]
    })?;
    let in_file = |fault: ConfigFault| ConfigFault { name: format!("{}: {}", path.display(), fault.name), ..fault };
    parse(&text).map_err(|faults| faults.into_iter().map(in_file).collect())
}

#[expect(clippy::disallowed_methods, reason = "the one place where the daemon reads the environment")]
fn environment(faults: &mut Vec<ConfigFault>) -> Values {
    let mut values = Values::new();
    for setting in TABLE {
        match std::env::var(setting.name) {
            Ok(value) => drop(values.insert(setting.name.to_owned(), value)),
            Err(std::env::VarError::NotPresent) => {}
            Err(std::env::VarError::NotUnicode(_)) => {
                faults.push(ConfigFault::new(setting.name, Some(SourceKind::Environment), "is not UTF-8"));
            }
        }
    }
    values
}

/// The file that says what happens at the fault points of a build that has them: see [`pulse_core::fault`].
#[expect(clippy::disallowed_methods, reason = "tests pass it in the environment")]
pub fn fault_file() -> Option<PathBuf> {
    std::env::var_os("PULSE_FAULT_FILE").map(PathBuf::from)
}

/// The socket on which systemd wants to be told how the daemon is.
#[expect(clippy::disallowed_methods, reason = "systemd passes it in the environment")]
pub fn notify_socket() -> Option<std::ffi::OsString> {
    std::env::var_os("NOTIFY_SOCKET").filter(|socket| !socket.is_empty())
}
