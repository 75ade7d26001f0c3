//! `pulse org`.

use pulse_core::{
    error::Code,
    ops::organizations::{
        CreateOrganization, DeleteOrganization, GetOrganization, ListOrganizations, RestoreOrganization,
        UpdateOrganization,
    },
    patch::Patch,
    plane::Answer,
};

use super::{
    DONE,
    change::{confirm_by_name, forgiving},
    listing,
};
use crate::{
    args::{org, values},
    client::{CallOptions, Client},
    exit::Outcome,
    names,
    session::Session,
    ui::View,
};

pub(super) const VIEW: View = View::new(
    &["id", "name", "plan", "admin_email", "created_at"],
    &["labels", "version", "updated_at", "deleted_at", "purge_at"],
);

pub(super) async fn run(session: &Session, command: org::Org) -> Outcome {
    match command {
        org::Org::Create(args) => create(session, args).await,
        org::Org::List(args) => list(session, args).await,
        org::Org::Get(args) => {
            let client = session.client().await?;
            let id = names::org(client, &args.org, true).await?;
            session.printer.document(&VIEW, &client.ask(&GetOrganization { id }).await?)?;
            DONE
        }
        org::Org::Update(args) => update(session, args).await,
        org::Org::Delete(args) => delete(session, args).await,
        org::Org::Restore(args) => {
            let client = session.client().await?;
            let id = names::org(client, &args.org, true).await?;
            let answer = client.call(&RestoreOrganization { id }, CallOptions::from(&args.change)).await?;
            session.printer.answer(&VIEW, answer)?;
            DONE
        }
    }
}

async fn create(session: &Session, args: org::Create) -> Outcome {
    let client = session.client_making_store(args.change.dry_run).await?;
    let op = CreateOrganization {
        name: args.name.clone(),
        admin_email: args.email,
        plan: args.plan,
        labels: values::labels(&args.labels),
    };
    let answer = match client.call(&op, CallOptions::from(&args.change)).await {
        Err(failure) if args.if_not_exists && failure.code() == Code::NameTaken.info().name => {
            let id = names::org(client, args.name.as_str(), false).await?;
            Answer::Done { output: client.ask(&GetOrganization { id }).await?, replayed: true }
        }
        other => other?,
    };
    session.printer.answer(&VIEW, answer)?;
    DONE
}

async fn list(session: &Session, args: org::List) -> Outcome {
    let client = session.client().await?;
    let op = ListOrganizations {
        name_prefix: args.name_prefix,
        plan: args.plan,
        label: args.labels,
        include_deleted: args.include_deleted.then_some(true),
        limit: None,
        cursor: None,
    };
    listing::show(session, client, &VIEW, op, &args.paging).await?;
    DONE
}

async fn update(session: &Session, args: org::Update) -> Outcome {
    let client = session.client().await?;
    let id = names::org(client, &args.org, false).await?;
    let labels = if args.clear_labels { Patch::Clear } else { Patch::from(values::labels(&args.labels)) };
    let op =
        UpdateOrganization { id, name: args.name, admin_email: args.email, plan: args.plan, labels, version: None };
    let options = CallOptions::from(&args.change);
    session.printer.answer(&VIEW, client.call(&op, options).await?)?;
    DONE
}

async fn delete(session: &Session, args: org::Delete) -> Outcome {
    let client = session.client().await?;
    forgiving(session, args.ignore_not_found, delete_named(session, client, &args).await)
}

async fn delete_named(session: &Session, client: &Client, args: &org::Delete) -> Outcome {
    let id = names::org(client, &args.org, false).await?;
    let op = DeleteOrganization { id, version: None };
    let options = CallOptions::from(&args.change);
    if !options.dry_run && !client.is_curl() {
        let org = client.ask(&GetOrganization { id }).await?;
        if org.deleted_at.is_none() {
            confirm_by_name(session, client, &op, ("organization", org.name.as_str())).await?;
        }
    }
    session.printer.answer(&VIEW, client.call(&op, options).await?)?;
    DONE
}
