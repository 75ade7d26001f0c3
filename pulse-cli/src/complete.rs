//! Completion of names: the shell's script asks this program, which asks the target. It never waits long, never asks the
//! user anything, and says nothing when it cannot help.

use std::{process::ExitCode, time::Duration};

use clap::CommandFactory as _;
use clap_complete::{CompleteEnv, engine::CompletionCandidate};
use pulse_core::{
    ops::{keys::ListKeys, projects::ListProjects},
    page::PageLimit,
};

use crate::{
    args::{Cli, Global},
    client::Client,
    env::Env,
    names,
    session::Session,
};

/// The longest that a completion may take.
const PATIENCE: Duration = Duration::from_millis(800);

/// Answers a completion script.
pub fn answer() -> ExitCode {
    let completer = CompleteEnv::with_factory(Cli::command);
    let arguments: Vec<_> = std::env::args_os().collect();
    let here = std::env::current_dir().ok();
    match completer.try_complete(arguments, here.as_deref()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) | Err(_) => ExitCode::FAILURE,
    }
}

/// Names of projects.
pub fn projects() -> Vec<CompletionCandidate> {
    within_patience(async |_session, client| {
        let list = ListProjects { limit: PageLimit::try_from(100).ok(), ..ListProjects::default() };
        let page = client.ask(&list).await.ok()?;
        let candidate = |project: pulse_core::model::project::ProjectView| {
            CompletionCandidate::new(project.name.to_string()).help(Some(project.id.to_string().into()))
        };
        Some(page.data.into_iter().map(candidate).collect())
    })
}

/// Names of the keys of the project that the line names.
pub fn keys() -> Vec<CompletionCandidate> {
    within_patience(async |session, client| {
        let line: Vec<String> = std::env::args_os().map(|word| word.to_string_lossy().into_owned()).collect();
        let named = flag_value(&line, &["--project", "-p"]);
        let id = names::project_or_own(session, client, named.as_deref(), None).await.ok()?;
        let list = ListKeys { id, include_revoked: None, limit: PageLimit::try_from(100).ok(), cursor: None };
        let page = client.ask(&list).await.ok()?;
        let candidate = |key: pulse_core::model::api_key::ApiKeyView| {
            CompletionCandidate::new(key.name.to_string()).help(Some(key.id.to_string().into()))
        };
        Some(page.data.into_iter().map(candidate).collect())
    })
}

/// Asks the target that the words so far name.
fn within_patience(
    ask: impl AsyncFnOnce(&Session, &Client) -> Option<Vec<CompletionCandidate>>,
) -> Vec<CompletionCandidate> {
    let line: Vec<String> = std::env::args_os().map(|word| word.to_string_lossy().into_owned()).collect();
    let global = Global {
        quiet: true,
        no_input: true,
        server: flag_value(&line, &["--server"]),
        local: line.iter().any(|word| word == "--local"),
        store: flag_value(&line, &["--store"]),
        context: flag_value(&line, &["--context"]),
        token_file: flag_value(&line, &["--token-file"]).filter(|path| path != "-").map(Into::into),
        ..Global::default()
    };
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return Vec::new() };
    let session = Session::new(global, Env::of_process());
    let found = runtime.block_on(async {
        tokio::time::timeout(PATIENCE, async {
            let client = session.client().await.ok()?;
            ask(&session, client).await
        })
        .await
    });
    found.ok().flatten().unwrap_or_default()
}

fn flag_value(line: &[String], flags: &[&str]) -> Option<String> {
    let apart = line.windows(2).find(|pair| flags.contains(&pair[0].as_str())).map(|pair| pair[1].clone());
    let together = || {
        line.iter()
            .find_map(|word| flags.iter().find_map(|flag| word.strip_prefix(&format!("{flag}=")).map(str::to_owned)))
    };
    apart.or_else(together)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_value_of_a_flag_is_found_in_both_spellings() {
        let line: Vec<String> = ["pulse", "key", "get", "--project=a", "--store", "b"].map(str::to_owned).to_vec();
        assert_eq!(flag_value(&line, &["--project", "-p"]).as_deref(), Some("a"));
        assert_eq!(flag_value(&line, &["--store"]).as_deref(), Some("b"));
    }
}
