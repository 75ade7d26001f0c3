//! `pulse context` and `pulse config`.

use pulse_core::config::without_credentials;
use serde::Serialize;

use super::DONE;
use crate::{
    args::context::{Config, Context, Delete, Set},
    exit::{Failure, Outcome},
    input,
    profile::{self, Contexts, Profile},
    session::Session,
    target::{self, Place, Target},
    ui::View,
};

pub(super) const VIEW: View =
    View::new(&["name", "default", "server", "store", "org", "project", "has_token"], &[]).id("name");
pub(super) const RULES: View = View::new(&["order", "rule", "value", "used"], &[]).id("rule");

/// A context as it is shown.
#[derive(Debug, Serialize)]
struct Row {
    name: String,
    default: bool,
    server: Option<String>,
    store: Option<String>,
    org: Option<String>,
    project: Option<String>,
    has_token: bool,
}

fn row(profile: &Profile, all: &Contexts, name: &str, context: &profile::Context) -> Result<Row, Failure> {
    Ok(Row {
        name: name.to_owned(),
        default: all.default.as_deref() == Some(name),
        server: context.server.as_deref().map(target::shown_server),
        store: context.store.as_deref().map(without_credentials),
        org: context.org.clone(),
        project: context.project.clone(),
        has_token: profile.token(name)?.is_some(),
    })
}

pub(super) fn run(session: &Session, command: Context) -> Outcome {
    let profile = Profile::of(&session.env)?;
    let mut all = profile.contexts()?;
    match command {
        Context::List => {
            let mut list = session.printer.list(&VIEW)?;
            for (name, context) in &all.contexts {
                list.row(&row(&profile, &all, name, context)?)?;
            }
            list.finish()?;
        }
        Context::Use(args) => {
            let context = all.contexts.get(&args.name).cloned().ok_or_else(|| unknown(&args.name))?;
            all.default = Some(args.name.clone());
            profile.save(&all)?;
            session.printer.document(&VIEW, &row(&profile, &all, &args.name, &context)?)?;
        }
        Context::Set(args) => set(session, &profile, all, args)?,
        Context::Delete(args) => delete(session, &profile, all, &args)?,
    }
    DONE
}

fn unknown(name: &str) -> Failure {
    Failure::new(5, "not_found", format!("there is no context {name:?}")).hint("pulse context list shows all of them.")
}

fn set(session: &Session, profile: &Profile, mut all: Contexts, args: Set) -> Result<(), Failure> {
    let fits = args.name.len() <= 64
        && args.name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'));
    if args.name.is_empty() || !fits {
        return Err(Failure::usage("a context's name is 1 to 64 letters, digits and - _ ."));
    }
    let mut context = all.contexts.get(&args.name).cloned().unwrap_or_default();
    let before = context.server.clone();
    let local = session.global.local.then(|| session.global.store.clone());
    if let Some(url) = args.url.or_else(|| session.global.server.clone()) {
        // The rules of a target hold for what is remembered, too.
        let global = crate::args::Global { server: Some(url.clone()), ..Default::default() };
        let wrong = |_| {
            Failure::usage("the address does not name a server")
                .hint("A server is named like https://pulse.example.com, without credentials.")
        };
        Target::resolve(&global, &session.env).map_err(wrong)?;
        (context.server, context.store) = (Some(url), None);
    } else if let Some(store) = args.path.map(Some).or(local) {
        let store = store.ok_or_else(|| Failure::usage("the store is not named").hint("Use --path sqlite:PATH."))?;
        crate::client::settings(session, Some(&store))?;
        let store = match store.strip_prefix("sqlite:") {
            Some(path) => format!("sqlite:{}", std::path::absolute(path).unwrap_or_else(|_| path.into()).display()),
            None => store,
        };
        (context.server, context.store) = (None, Some(store));
    }
    if context.server.is_none() && context.store.is_none() {
        return Err(Failure::usage("a new context needs a place")
            .hint("Use --url URL for a server, or --path STORE for a store."));
    }
    context.org = args.default_org.or(context.org);
    context.project = args.default_project.or(context.project);
    let credential = args.credential_file.as_ref().or(session.global.token_file.as_ref());
    let token = credential.map(|path| input::secret(path)).transpose()?;
    if let Some(token) = token {
        profile.set_token(&args.name, Some(token.expose().to_owned()))?;
    } else if before.is_some() && before != context.server {
        // A token goes only to the server that it was given for.
        profile.set_token(&args.name, None)?;
        session.printer.advice(
            "the context has another server now, so its token was removed: set it again with --credential-file",
        );
    }
    all.contexts.insert(args.name.clone(), context.clone());
    if args.make_default || all.default.is_none() {
        all.default = Some(args.name.clone());
    }
    profile.save(&all)?;
    session.printer.document(&VIEW, &row(profile, &all, &args.name, &context)?)
}

fn delete(session: &Session, profile: &Profile, mut all: Contexts, args: &Delete) -> Result<(), Failure> {
    let Some(context) = all.contexts.get(&args.name).cloned() else {
        if args.ignore_not_found {
            session.printer.advice(&format!("there is no context {:?}", args.name));
            return Ok(());
        }
        return Err(unknown(&args.name));
    };
    session.prompts().confirm(&format!("Delete the context {} with its token?", args.name), &[])?;
    let shown = row(profile, &all, &args.name, &context)?;
    all.contexts.remove(&args.name);
    if all.default.as_deref() == Some(&args.name) {
        all.default = None;
    }
    profile.set_token(&args.name, None)?;
    profile.save(&all)?;
    session.printer.document(&VIEW, &shown)
}

/// Every rule, as `config explain` shows it to people and programs alike.
pub(super) fn config(session: &Session, command: &Config) -> Outcome {
    match command {
        Config::Explain => {
            let mut list = session.printer.list(&RULES)?;
            for rule in target::explain(&session.global, &session.env) {
                list.row(&rule)?;
            }
            list.finish()?;
            match session.target() {
                Ok(target) => session.printer.advice(&explained(&target)),
                Err(failure) => session.printer.advice(&format!("no target: {}", failure.message())),
            }
            DONE
        }
    }
}

fn explained(target: &Target) -> String {
    let how = match target.place {
        Place::Server(_) => "a server",
        Place::Store(_) => "a store on this machine",
    };
    format!("target: {} ({how}), decided by {}", target.describe(), target.rule.describe())
}
