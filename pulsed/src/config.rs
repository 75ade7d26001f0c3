//! Collects the settings: the only place of the daemon that reads the environment, and the files that flags name. A start
//! and `--check` look at the files of TLS, too, and tell their faults together with all others.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::ExitCode,
};

use pulse_core::{
    config::{self, ConfigFault, Settings, SourceKind, Sources, TABLE},
    error::Result,
};

use crate::{args::Invocation, server::tls::Tls, terminal};

type Values = BTreeMap<String, String>;

/// What a daemon starts with.
#[expect(missing_debug_implementations, reason = "holds secrets")]
pub struct Start {
    /// The settings.
    pub settings: Settings,
    /// The certificate, when they name one.
    pub tls: Option<Tls>,
}

/// The settings of this invocation without a look at the files of TLS; all faults in one error.
pub fn settings(invocation: &Invocation) -> Result<Settings> {
    let (sources, faults) = sources(invocation);
    resolve(&sources, faults).map_err(|faults| config::faults_error(&faults))
}

/// What this invocation starts with; all faults in one error.
pub fn start(invocation: &Invocation) -> Result<Start> {
    prepare(invocation).map_err(|faults| config::faults_error(&faults))
}

/// `--check`: shows every setting, or every fault of a start (exit code 2).
pub fn check(invocation: &Invocation) -> ExitCode {
    match prepare(invocation) {
        Ok(start) => {
            terminal::show(&config::check_table(&start.settings));
            ExitCode::SUCCESS
        }
        Err(faults) => {
            let lines: Vec<String> = faults.iter().map(|fault| format!("error: {fault}\n")).collect();
            terminal::tell(&lines.concat());
            ExitCode::from(2)
        }
    }
}

fn prepare(invocation: &Invocation) -> Result<Start, Vec<ConfigFault>> {
    let (sources, mut faults) = sources(invocation);
    let tls = sources.tls_files().and_then(|(chain, key)| {
        let loaded = Tls::load((&chain, &key));
        loaded.map_err(|found| faults.extend(found)).ok()
    });
    Ok(Start { settings: resolve(&sources, faults)?, tls })
}

/// Everything that says something about a setting, with what is wrong with it on its own.
fn sources(invocation: &Invocation) -> (Sources, Vec<ConfigFault>) {
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
    (sources, faults)
}

/// The settings, when neither they nor their sources have a fault.
fn resolve(sources: &Sources, mut faults: Vec<ConfigFault>) -> Result<Settings, Vec<ConfigFault>> {
    match Settings::resolve(sources) {
        Ok(settings) if faults.is_empty() => Ok(settings),
        Ok(_) => Err(faults),
        Err(found) => {
            faults.extend(found);
            Err(faults)
        }
    }
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
