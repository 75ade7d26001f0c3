//! `pulse project`.

use std::{collections::BTreeMap, path::PathBuf};

use pulse_core::{
    error::Code,
    id::ProjectId,
    media::preset::Preset,
    model::{
        project::{Limits, ProjectState},
        storage::StorageInput,
        text::PresetName,
    },
    ops::{
        keys::RegenerateKeys,
        projects::{
            CreateProject, DeleteProject, GetProject, ListProjects, RestoreProject, ResumeProject, SuspendProject,
            UpdateProject,
        },
    },
    patch::Patch,
    secret::SecretText,
};

use super::{
    DONE,
    change::{confirm, confirm_by_name, forgiving},
    key, listing,
};
use crate::{
    args::{
        project::{self, Clearable, Media, Which},
        values::{self, Span},
    },
    client::{CallOptions, Client},
    exit::{Failure, Outcome},
    input, names,
    session::Session,
    ui::View,
};

pub(super) const VIEW: View = View::new(
    &["id", "name", "org_id", "region", "state", "created_at"],
    &["pulse_api_key", "livekit_url", "webhook_url", "labels", "version", "updated_at", "deleted_at"],
)
.detail(&[
    "id",
    "name",
    "org_id",
    "state",
    "suspend_reason",
    "suspended_at",
    "region",
    "pulse_api_key",
    "pulse_api_secret",
    "livekit_url",
    "own_livekit",
    "webhook_url",
    "webhook_active",
    "webhook_secret",
    "storage_config",
    "limits",
    "labels",
    "token_presets",
    "created_at",
    "updated_at",
    "deleted_at",
    "purge_at",
    "version",
])
.shown_once(&[
    ("pulse_api_secret", "pulse project regenerate-keys"),
    ("webhook_secret", "pulse webhook endpoint rotate-secret"),
]);

pub(super) async fn run(session: &Session, command: project::Project) -> Outcome {
    match command {
        project::Project::Create(args) => create(session, *args).await,
        project::Project::List(args) => list(session, args).await,
        project::Project::Get(args) => {
            let (client, id) = named(session, &args.which, true).await?;
            session.printer.document(&VIEW, &client.ask(&GetProject { id }).await?)?;
            DONE
        }
        project::Project::Update(args) => update(session, *args).await,
        project::Project::Delete(args) => delete(session, args).await,
        project::Project::Restore(args) => {
            let (client, id) = named(session, &args.which, true).await?;
            let answer = client.call(&RestoreProject { id }, CallOptions::from(&args.change)).await?;
            session.printer.answer(&VIEW, answer)?;
            DONE
        }
        project::Project::Suspend(args) => suspend(session, args).await,
        project::Project::Resume(args) => {
            let (client, id) = named(session, &args.which, false).await?;
            let answer = client.call(&ResumeProject { id }, CallOptions::from(&args.change)).await?;
            session.printer.answer(&VIEW, answer)?;
            DONE
        }
        project::Project::RegenerateKeys(args) => regenerate(session, args).await,
    }
}

/// The project that the arguments name, and the client that knows it.
async fn named<'a>(session: &'a Session, which: &Which, deleted: bool) -> Result<(&'a Client, ProjectId), Failure> {
    let client = session.client().await?;
    let id = names::project(session, client, &which.project, which.org.as_deref(), deleted).await?;
    Ok((client, id))
}

/// Only one flag can have stdin.
fn check_stdin(files: &[&Option<PathBuf>]) -> Result<(), Failure> {
    let readers = files.iter().filter(|file| file.as_ref().is_some_and(|path| path.as_os_str() == "-")).count();
    if readers > 1 { Err(Failure::usage("only one option can read stdin")) } else { Ok(()) }
}

/// The values of a project's media options, read from their files.
struct Values {
    livekit_api_secret: Option<SecretText>,
    storage: Option<StorageInput>,
    presets: Option<BTreeMap<PresetName, Preset>>,
    limits: Option<Limits>,
}

fn read(media: &Media) -> Result<Values, Failure> {
    check_stdin(&[&media.livekit_api_secret_file, &media.storage_file, &media.presets_file])?;
    let secret = media.livekit_api_secret_file.as_deref().map(input::secret).transpose()?;
    let bounds = (media.requests_per_minute, media.max_token_ttl.map(Span::seconds));
    Ok(Values {
        livekit_api_secret: secret.map(|secret| SecretText::new(secret.expose())),
        storage: media.storage_file.as_deref().map(input::json).transpose()?,
        presets: media.presets_file.as_deref().map(input::json).transpose()?,
        limits: (bounds != (None, None))
            .then_some(Limits { requests_per_minute: bounds.0, max_token_ttl_seconds: bounds.1 }),
    })
}

async fn create(session: &Session, args: project::Create) -> Outcome {
    let client = session.client().await?;
    let default = session.default_org();
    let named = args.org.as_deref().or(default.as_deref());
    let org = named.ok_or_else(|| Failure::usage("no organization is named").hint("Use --org NAME, or PULSE_ORG."))?;
    let org_id = names::org(client, org, false).await?;
    let values = read(&args.media)?;
    let op = CreateProject {
        org_id,
        name: args.name.clone(),
        region: args.region,
        labels: values::labels(&args.labels),
        webhook_url: args.media.webhook_url,
        storage_config: values.storage,
        livekit_url: args.media.livekit_url,
        livekit_api_key: args.media.livekit_api_key,
        livekit_api_secret: values.livekit_api_secret,
        limits: values.limits,
        token_presets: values.presets.unwrap_or_default(),
    };
    match client.call(&op, CallOptions::from(&args.change)).await {
        Err(failure) if args.if_not_exists && failure.code() == Code::NameTaken.info().name => {
            let id = names::project(session, client, args.name.as_str(), Some(&org_id.to_string()), false).await?;
            session.printer.document(&VIEW, &client.ask(&GetProject { id }).await?)?;
        }
        answer => session.printer.answer(&VIEW, answer?)?,
    }
    DONE
}

async fn list(session: &Session, args: project::List) -> Outcome {
    let client = session.client().await?;
    let default = session.default_org();
    let org_id = match args.org.as_deref().or(default.as_deref()) {
        Some(name) => Some(names::org(client, name, args.include_deleted).await?),
        None => None,
    };
    let op = ListProjects {
        org_id,
        name_prefix: args.name_prefix,
        plan: args.plan,
        region: args.region,
        label: args.labels,
        include_deleted: args.include_deleted.then_some(true),
        limit: None,
        cursor: None,
    };
    listing::show(session, client, &VIEW, op, &args.paging).await?;
    DONE
}

async fn update(session: &Session, args: project::Update) -> Outcome {
    let (client, id) = named(session, &args.which, false).await?;
    let values = read(&args.media)?;
    let clears = |field: Clearable| args.clear.contains(&field);
    let set_and_cleared = [
        (Clearable::Labels, !args.labels.is_empty(), "--label"),
        (Clearable::WebhookUrl, args.media.webhook_url.is_some(), "--webhook-url"),
        (Clearable::Storage, values.storage.is_some(), "--storage-file"),
        (Clearable::Livekit, args.media.livekit_url.is_some(), "--livekit-url"),
        (Clearable::Limits, values.limits.is_some(), "--requests-per-minute and --max-token-ttl"),
        (Clearable::Presets, values.presets.is_some(), "--presets-file"),
    ];
    if let Some((_, _, flag)) = set_and_cleared.iter().find(|(field, set, _)| *set && clears(*field)) {
        return Err(Failure::usage(format!("{flag} cannot be used with --clear of the same field")));
    }
    fn patch<T>(value: Option<T>, cleared: bool) -> Patch<T> {
        if cleared { Patch::Clear } else { Patch::from(value) }
    }
    let op = UpdateProject {
        id,
        name: args.name,
        labels: patch(values::labels(&args.labels), clears(Clearable::Labels)),
        webhook_url: patch(args.media.webhook_url, clears(Clearable::WebhookUrl)),
        storage_config: patch(values.storage, clears(Clearable::Storage)),
        region: args.region,
        livekit_url: patch(args.media.livekit_url, clears(Clearable::Livekit)),
        livekit_api_key: args.media.livekit_api_key,
        livekit_api_secret: values.livekit_api_secret,
        limits: patch(values.limits, clears(Clearable::Limits)),
        token_presets: patch(values.presets, clears(Clearable::Presets)),
        version: None,
    };
    let options = CallOptions::from(&args.change);
    let answer = client.call(&op, options).await.map_err(|failure| {
        if failure.fault("webhook_url", "headers_required").is_none() {
            return failure;
        }
        failure.hint(format!(
            "Move the endpoint, and the project follows: pulse webhook endpoint update ENDPOINT --project {id} --url URL \
             with --header-from or --header-env for every header, or with --clear headers."
        ))
    })?;
    session.printer.answer(&VIEW, answer)?;
    DONE
}

async fn delete(session: &Session, args: project::Delete) -> Outcome {
    forgiving(session, args.ignore_not_found, delete_named(session, &args).await)
}

async fn delete_named(session: &Session, args: &project::Delete) -> Outcome {
    let (client, id) = named(session, &args.which, false).await?;
    let op = DeleteProject { id, version: None };
    let options = CallOptions::from(&args.change);
    if !options.dry_run && !client.is_curl() {
        let project = client.ask(&GetProject { id }).await?;
        if project.state != ProjectState::Deleted {
            confirm_by_name(session, client, &op, ("project", project.name.as_str())).await?;
        }
    }
    session.printer.answer(&VIEW, client.call(&op, options).await?)?;
    DONE
}

async fn suspend(session: &Session, args: project::Suspend) -> Outcome {
    let (client, id) = named(session, &args.which, false).await?;
    let op = SuspendProject { id, reason: args.reason };
    let options = CallOptions::from(&args.change);
    let question = format!("Suspend project {}? Its keys stop at once.", args.which.project);
    confirm(session, client, &op, options, &question).await?;
    session.printer.answer(&VIEW, client.call(&op, options).await?)?;
    DONE
}

async fn regenerate(session: &Session, args: project::Regenerate) -> Outcome {
    let (client, id) = named(session, &args.which, false).await?;
    let op = RegenerateKeys { id, overlap_seconds: args.overlap.map(Span::seconds) };
    let options = CallOptions::from(&args.change);
    let question = format!("Replace the primary key of project {}?", args.which.project);
    confirm(session, client, &op, options, &question).await?;
    session.printer.answer(&key::VIEW, client.call(&op, options).await?)?;
    DONE
}
