//! `pulse key`, without rotation and scan.

use pulse_core::{
    model::api_key::{ApiKeyView, Constraints, KeyStatus},
    ops::keys::{CreateKey, GetKey, ListKeys, RevokeKey},
    time::Timestamp,
};

use super::{
    DONE,
    change::{confirm, forgiving},
    listing, rotate, scan,
};
use crate::{
    args::{
        key::{self, FailOn},
        values::Span,
    },
    client::{CallOptions, Client},
    exit::{Exit, Outcome},
    names,
    pages::matching,
    session::Session,
    ui::View,
};

pub(super) const VIEW: View = View::new(
    &["id", "name", "environment", "state", "primary", "expires_at", "last_used_at"],
    &[
        "pulse_api_key",
        "scopes",
        "constraints",
        "networks",
        "last_used_ip",
        "rotated_to",
        "created_by",
        "created_at",
        "version",
    ],
)
.detail(&[
    "id",
    "name",
    "project_id",
    "environment",
    "state",
    "primary",
    "pulse_api_key",
    "pulse_api_secret",
    "scopes",
    "constraints",
    "networks",
    "expires_at",
    "last_used_at",
    "last_used_ip",
    "rotated_to",
    "replaces.id",
    "replaces.expires_at",
    "revoked_at",
    "created_by",
    "created_at",
    "version",
])
.shown_once(&[("pulse_api_secret", "pulse key rotate")]);

pub(super) const USAGE: View = View::new(
    &["id", "name", "state", "last_used_at", "last_used_ip", "created_at"],
    &["pulse_api_key", "primary", "expires_at", "created_by"],
);

pub(super) async fn run(session: &Session, command: key::Key) -> Outcome {
    match command {
        key::Key::Create(args) => create(session, *args).await,
        key::Key::List(args) => list(session, args).await,
        key::Key::Get(args) => {
            let client = session.client().await?;
            let (id, key_id, _) = names::key(session, client, &args.which).await?;
            session.printer.document(&VIEW, &client.ask(&GetKey { id, key_id }).await?)?;
            DONE
        }
        key::Key::Rotate(args) => rotate::run(session, *args).await,
        key::Key::Revoke(args) => revoke(session, args).await,
        key::Key::Usage(args) => usage(session, args).await,
        key::Key::Scan(args) => scan::run(session, &args),
    }
}

async fn create(session: &Session, args: key::Create) -> Outcome {
    let client = session.client().await?;
    let id = names::project_or_own(session, client, args.of.project.as_deref(), args.of.org.as_deref()).await?;
    let constraints = Constraints {
        rooms: args.rooms,
        max_ttl_seconds: args.max_ttl.map(Span::seconds),
        grants: args.grants.into_iter().collect(),
    };
    let in_time = args.expires_in.map(|Span(span)| session.now().plus(span));
    let op = CreateKey {
        id,
        name: args.name,
        environment: args.environment,
        scopes: (!args.scopes.is_empty()).then(|| args.scopes.into_iter().collect()),
        constraints: (!constraints.is_empty()).then_some(constraints),
        networks: args.networks,
        expires_at: args.expires_at.or(in_time),
    };
    session.printer.answer(&VIEW, client.call(&op, CallOptions::from(&args.change)).await?)?;
    DONE
}

fn works(key: &ApiKeyView) -> bool {
    match key.state {
        KeyStatus::Active | KeyStatus::Pending | KeyStatus::Rotated => true,
        KeyStatus::Expired | KeyStatus::Revoked => false,
    }
}

async fn list(session: &Session, args: key::List) -> Outcome {
    let client = session.client().await?;
    let id = names::project_or_own(session, client, args.of.project.as_deref(), args.of.org.as_deref()).await?;
    let op = ListKeys { id, include_revoked: args.include_revoked.then_some(true), limit: None, cursor: None };
    let rows = match args.expiring_within {
        None => listing::show(session, client, &VIEW, op, &args.paging).await?,
        Some(Span(span)) => {
            let end = session.now().plus(span);
            let expiring = |key: &ApiKeyView| works(key) && key.expires_at.is_some_and(|at| at <= end);
            shown(session, &VIEW, matching(client, op, expiring).await?.iter())?
        }
    };
    Ok(ending(args.fail_on, rows))
}

async fn usage(session: &Session, args: key::Usage) -> Outcome {
    let client = session.client().await?;
    let id = names::project_or_own(session, client, args.of.project.as_deref(), args.of.org.as_deref()).await?;
    let op = ListKeys { id, include_revoked: None, limit: None, cursor: None };
    let since = args.unused_for.map(|Span(span)| session.now().minus(span));
    let unused = |key: &ApiKeyView| since.is_none_or(|since| key.last_used_at.unwrap_or(key.created_at) <= since);
    let keys = matching(client, op, |_| true).await?;
    let rows = shown(session, &USAGE, keys.iter().filter(|key| unused(key)))?;
    for key in still_used(&keys) {
        session.printer.warning(&format!("warning: {key}"));
    }
    Ok(ending(args.fail_on, rows))
}

/// Replaced keys that have been used since, each in a sentence.
fn still_used(keys: &[ApiKeyView]) -> Vec<String> {
    let successor = |key: &ApiKeyView| keys.iter().find(|other| Some(other.id) == key.rotated_to);
    let used_since = |key: &&ApiKeyView| {
        key.state == KeyStatus::Rotated && successor(key).is_some_and(|next| key.last_used_at > Some(next.created_at))
    };
    let moment = |time: Option<Timestamp>| time.map(|time| time.to_string()).unwrap_or_default();
    let sentence = |key: &ApiKeyView| {
        let (used, ends) = (moment(key.last_used_at), moment(key.expires_at));
        format!("key {} ({}) was replaced and is still used, last at {used}; it ends at {ends}", key.id, key.name)
    };
    keys.iter().filter(used_since).map(sentence).collect()
}

/// Shows these keys, and says how many they are.
fn shown<'a>(
    session: &Session,
    view: &View,
    keys: impl Iterator<Item = &'a ApiKeyView>,
) -> Result<usize, crate::exit::Failure> {
    let mut list = session.printer.list(view)?;
    for key in keys {
        list.row(key)?;
    }
    let rows = list.len();
    list.finish()?;
    Ok(rows)
}

fn ending(fail_on: Option<FailOn>, rows: usize) -> Exit {
    match fail_on {
        Some(FailOn::Any) if rows > 0 => Exit::Finding,
        _ => Exit::Done,
    }
}

async fn revoke(session: &Session, args: key::Revoke) -> Outcome {
    let client = session.client().await?;
    forgiving(session, args.ignore_not_found, revoke_named(session, client, &args).await)
}

async fn revoke_named(session: &Session, client: &Client, args: &key::Revoke) -> Outcome {
    let (id, key_id, _) = names::key(session, client, &args.which).await?;
    let op = RevokeKey { id, key_id, force: args.force.then_some(true), version: None };
    let options = CallOptions::from(&args.change);
    let question = format!("Revoke key {}? It stops at once.", args.which.key);
    confirm(session, client, &op, options, &question).await?;
    session.printer.answer(&VIEW, client.call(&op, options).await?)?;
    DONE
}
