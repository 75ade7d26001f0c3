//! Completion of names: the shell's script asks this program, which asks the target. It never waits long, never asks the
//! user anything, and says nothing when it cannot help.

use std::{collections::HashSet, ffi::OsStr, process::ExitCode, time::Duration};

use clap::CommandFactory as _;
use clap_complete::{CompleteEnv, engine::CompletionCandidate};
use pulse_core::{
    id::ProjectId,
    ops::{endpoints::ListEndpoints, keys::ListKeys, projects::ListProjects},
    page::{MAX_LIMIT, PageLimit},
};

use crate::{
    args::{Cli, Global},
    client::Client,
    env::Env,
    names,
    pages::matching,
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

/// Names of projects that begin with what is typed.
pub fn projects(typed: &OsStr) -> Vec<CompletionCandidate> {
    within_patience(async |_session, client| {
        let name_prefix = Some(typed.to_str()?.to_owned()).filter(|typed| !typed.is_empty());
        let list = ListProjects { name_prefix, limit: PageLimit::try_from(MAX_LIMIT).ok(), ..ListProjects::default() };
        let page = client.ask(&list).await.ok()?;
        Some(candidates(typed, page.data.into_iter().map(|project| (project.name.to_string(), project.id.to_string()))))
    })
}

/// Names of the keys of the project that the line names, as far as they begin with what is typed.
pub fn keys(typed: &OsStr) -> Vec<CompletionCandidate> {
    within_patience(async |session, client| {
        let id = named_project(session, client).await?;
        let list = ListKeys { id, include_revoked: None, limit: None, cursor: None };
        let keys = matching(client, list, |_| true).await.ok()?;
        Some(candidates(typed, keys.into_iter().map(|key| (key.name.to_string(), key.id.to_string()))))
    })
}

/// Webhook endpoints of the project that the line names, as far as they begin with what is typed: by id, and by URL once
/// one is begun, for there are shells in which a word ends at a colon.
pub fn endpoints(typed: &OsStr) -> Vec<CompletionCandidate> {
    within_patience(async |session, client| {
        let project_id = Some(named_project(session, client).await?);
        let list = ListEndpoints { project_id, ..ListEndpoints::default() };
        let endpoints = matching(client, list, |_| true).await.ok()?;
        let by_id = endpoints.iter().map(|endpoint| (endpoint.id.to_string(), endpoint.url.to_string()));
        let by_url = by_id.clone().map(|(id, url)| (url, id)).filter(|_| !typed.is_empty());
        Some(candidates(typed, by_id.chain(by_url)))
    })
}

/// The project that the line names, or that the caller's key implies.
async fn named_project(session: &Session, client: &Client) -> Option<ProjectId> {
    let line: Vec<String> = std::env::args_os().map(|word| word.to_string_lossy().into_owned()).collect();
    let named = flag_value(&line, &["--project", "-p"]);
    names::project_or_own(session, client, named.as_deref(), None).await.ok()
}

/// Each name that begins with what is typed, once, with the first id that has it.
fn candidates(typed: &OsStr, found: impl Iterator<Item = (String, String)>) -> Vec<CompletionCandidate> {
    let mut seen = HashSet::new();
    let typed = typed.to_string_lossy().into_owned();
    found
        .filter(|(name, _)| name.starts_with(&typed) && seen.insert(name.clone()))
        .map(|(name, id)| CompletionCandidate::new(name).help(Some(id.into())))
        .collect()
}

/// Asks the target that the words so far name.
fn within_patience(
    ask: impl AsyncFnOnce(&Session, &Client) -> Option<Vec<CompletionCandidate>>,
) -> Vec<CompletionCandidate> {
    let line: Vec<String> = std::env::args_os().map(|word| word.to_string_lossy().into_owned()).collect();
    // Stdin is the user's.
    let file = |flag| flag_value(&line, &[flag]).filter(|path| path != "-").map(Into::into);
    let global = Global {
        quiet: true,
        no_input: true,
        server: flag_value(&line, &["--server"]),
        local: line.iter().any(|word| word == "--local"),
        store: flag_value(&line, &["--store"]),
        context: flag_value(&line, &["--context"]),
        token_file: file("--token-file"),
        env_file: file("--env-file"),
        config: file("--config"),
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

    #[test]
    fn names_that_begin_so_are_proposed_once() {
        let found = [("standup", "prj_1"), ("standup", "prj_2"), ("daily", "prj_3")];
        let names = candidates(OsStr::new("st"), found.map(|(name, id)| (name.to_owned(), id.to_owned())).into_iter());
        assert_eq!(names.iter().map(CompletionCandidate::get_value).collect::<Vec<_>>(), ["standup"]);
    }
}
