//! `pulse webhook endpoint`.

use std::{collections::BTreeMap, path::Path};

use pulse_core::{
    deliver::event_filter::EventTypeFilter,
    id::{EndpointId, ProjectId},
    model::endpoint::EndpointView,
    ops::endpoints::{
        CreateEndpoint, CreatedEndpoint, DeleteEndpoint, DisableEndpoint, EnableEndpoint, GetEndpoint, ListEndpoints,
        PauseEndpoint, ResumeEndpoint, RotateSecret, UpdateEndpoint,
    },
    patch::Patch,
    plane::Answer,
    secret::SecretText,
};
use serde_json::{Value, json};

use super::{
    DONE,
    change::{confirm, forgiving},
    listing,
    sinks::{self, Sink, Stored},
};
use crate::{
    args::{
        VersionedChange,
        values::{Header, Rate, Span},
        webhook::endpoint::{self, Clearable, Endpoint, Secret, Sending, Which},
    },
    client::{CallOptions, Client},
    exit::{Failure, Outcome, PARTLY},
    input, names,
    session::Session,
    ui::View,
};

pub(super) const VIEW: View = View {
    name: "url",
    ..View::new(
        &["id", "url", "state", "event_types", "stats_24h.ok", "stats_24h.failed"],
        &[
            "description",
            "state_reason",
            "headers",
            "schedule",
            "rate",
            "timeout_seconds",
            "max_in_flight",
            "health.breaker",
            "health.consecutive_failures",
            "health.last_error",
            "created_at",
            "version",
        ],
    )
    .detail(&[
        "id",
        "project_id",
        "url",
        "secret",
        "description",
        "state",
        "state_reason",
        "of_webhook_url",
        "event_types",
        "headers",
        "schedule",
        "rate",
        "timeout_seconds",
        "max_in_flight",
        "live_secrets",
        "health.breaker",
        "health.consecutive_failures",
        "health.first_failure_at",
        "health.last_ok_at",
        "health.last_failure_at",
        "health.last_error",
        "stats_24h.ok",
        "stats_24h.failed",
        "stored_in",
        "created_at",
        "updated_at",
        "version",
    ])
    .when_empty(&[("event_types", "all"), ("schedule", "default"), ("rate", "unlimited")])
    .shown_once(&[("secret", "pulse webhook endpoint rotate-secret")])
};

pub(super) async fn run(session: &Session, command: Endpoint) -> Outcome {
    match command {
        Endpoint::Create(args) => create(session, *args).await,
        Endpoint::List(args) => list(session, args).await,
        Endpoint::Get(args) => {
            let client = session.client().await?;
            let (project, id) = named(session, client, &args.which).await?;
            session.printer.document(&VIEW, &client.ask(&GetEndpoint { id, project_id: Some(project) }).await?)?;
            DONE
        }
        Endpoint::Update(args) => update(session, *args).await,
        Endpoint::Delete(args) => delete(session, args).await,
        Endpoint::Pause(args) => pause(session, args).await,
        Endpoint::Resume(args) => {
            let client = session.client().await?;
            let (project, id) = named(session, client, &args.which).await?;
            let op = ResumeEndpoint { id, project_id: Some(project) };
            session.printer.answer(&VIEW, client.call(&op, options(&args.change)).await?)?;
            DONE
        }
        Endpoint::Disable(args) => disable(session, args).await,
        Endpoint::Enable(args) => {
            let client = session.client().await?;
            let (project, id) = named(session, client, &args.which).await?;
            let op = EnableEndpoint { id, project_id: Some(project) };
            session.printer.answer(&VIEW, client.call(&op, options(&args.change)).await?)?;
            DONE
        }
        Endpoint::RotateSecret(args) => rotate(session, *args).await,
    }
}

/// The endpoint that a command names, with its project.
pub(super) async fn named(
    session: &Session,
    client: &Client,
    which: &Which,
) -> Result<(ProjectId, EndpointId), Failure> {
    let of = &which.of;
    let project = names::project_or_own(session, client, of.project.as_deref(), of.org.as_deref()).await?;
    Ok((project, names::endpoint(client, project, &which.endpoint).await?))
}

fn options(change: &VersionedChange) -> CallOptions {
    CallOptions { dry_run: change.dry_run, if_match: change.if_match }
}

/// Only one option can have stdin.
fn check_stdin(sending: &Sending, secret: Option<&Secret>) -> Result<(), Failure> {
    let headers = sending.header_from.iter().filter(|header| header.place == "-").count();
    let own = secret.and_then(|secret| secret.secret_file.as_ref()).is_some_and(|path| path.as_os_str() == "-");
    if headers + usize::from(own) > 1 { Err(Failure::usage("only one option can read stdin")) } else { Ok(()) }
}

/// The headers that the options name, with their values; none when no option does.
fn headers(session: &Session, sending: &Sending) -> Result<Option<BTreeMap<String, SecretText>>, Failure> {
    let mut headers = BTreeMap::new();
    let mut add = |name: &str, value: &str| match headers.insert(name.to_ascii_lowercase(), SecretText::new(value)) {
        None => Ok(()),
        Some(_) => Err(Failure::usage(format!("the header {name} is given twice"))),
    };
    // Where a value is said to stand may be the value itself, by mistake: it is not repeated.
    for Header { name, place } in &sending.header_from {
        let value = input::secret_called(Path::new(place), &format!("the file of --header-from {name}"))?;
        add(name, value.expose())?;
    }
    for Header { name, place } in &sending.header_env {
        let value = session.env.get(place).filter(|value| !value.is_empty());
        add(name, value.ok_or_else(|| Failure::usage(format!("the variable of --header-env {name} is not set")))?)?;
    }
    Ok(Some(headers).filter(|headers| !headers.is_empty()))
}

/// The types that the options name; none when no option does.
fn types(sending: &Sending) -> Result<Option<EventTypeFilter>, Failure> {
    if sending.events.is_empty() {
        return Ok(None);
    }
    EventTypeFilter::new(sending.events.clone())
        .map(Some)
        .map_err(|refused| Failure::usage(format!("--event: {refused}")))
}

/// The signing secret that an option gives.
fn given(secret: &Secret) -> Result<Option<SecretText>, Failure> {
    let read = secret.secret_file.as_deref().map(input::secret).transpose()?;
    Ok(read.map(|secret| SecretText::new(secret.expose())))
}

async fn create(session: &Session, args: endpoint::Create) -> Outcome {
    check_stdin(&args.sending, Some(&args.secret))?;
    let client = session.client().await?;
    let of = &args.of;
    let project = names::project_or_own(session, client, of.project.as_deref(), of.org.as_deref()).await?;
    if args.if_not_exists
        && !client.is_curl()
        && let Some(found) = names::endpoint_with_url(client, project, args.url.as_str()).await?
    {
        return show_existing(session, &found);
    }
    let sinks = sinks::plan(session, &args.secret.sinks)?;
    let op = CreateEndpoint {
        project_id: Some(project),
        url: args.url,
        event_types: types(&args.sending)?,
        headers: headers(session, &args.sending)?.unwrap_or_default(),
        description: args.sending.description,
        schedule: args.sending.schedule,
        rate: args.sending.rate.map(|Rate(rate)| rate),
        timeout_seconds: args.sending.timeout.map(Span::seconds),
        max_in_flight: args.sending.max_in_flight,
        secret: given(&args.secret)?,
    };
    let answer = client.call(&op, CallOptions::dry(args.change.dry_run)).await?;
    let made = match &answer {
        Answer::Done { output, .. } => Some(output.endpoint.id),
        Answer::DryRun(_) => None,
    };
    hand_on(session, &sinks, args.secret.show_secret, answer).await?;
    if let Some(id) = made {
        session.printer.advice(&format!("pulse webhook test {id} --project {project} --wait tries it."));
    }
    DONE
}

/// Shows what `--if-not-exists` found. Its secret was shown when it was made; the sinks get none.
fn show_existing(session: &Session, found: &EndpointView) -> Outcome {
    session.printer.document(&VIEW, found)?;
    session.printer.advice(&format!(
        "It was there already, and its secret is not shown again: pulse webhook endpoint rotate-secret {} --project {} \
         makes another.",
        found.id, found.project_id
    ));
    DONE
}

async fn list(session: &Session, args: endpoint::List) -> Outcome {
    let client = session.client().await?;
    let of = &args.of;
    let project = names::project_or_own(session, client, of.project.as_deref(), of.org.as_deref()).await?;
    let op = ListEndpoints { project_id: Some(project), ..ListEndpoints::default() };
    if listing::show(session, client, &VIEW, op, &args.paging).await? == 0 {
        session.printer.advice("there is none: pulse webhook endpoint create URL makes one");
    }
    DONE
}

async fn update(session: &Session, args: endpoint::Update) -> Outcome {
    check_stdin(&args.sending, None)?;
    let client = session.client().await?;
    let (project, id) = named(session, client, &args.which).await?;
    let (headers, types) = (headers(session, &args.sending)?, types(&args.sending)?);
    let sending = args.sending;
    let clears = |field: Clearable| args.clear.contains(&field);
    let set_and_cleared = [
        (Clearable::Description, sending.description.is_some(), "--description"),
        (Clearable::Events, types.is_some(), "--event"),
        (Clearable::Headers, headers.is_some(), "--header-from and --header-env"),
        (Clearable::Schedule, sending.schedule.is_some(), "--schedule"),
        (Clearable::Rate, sending.rate.is_some(), "--rate"),
        (Clearable::Timeout, sending.timeout.is_some(), "--timeout"),
        (Clearable::MaxInFlight, sending.max_in_flight.is_some(), "--max-in-flight"),
    ];
    if let Some((_, _, flag)) = set_and_cleared.iter().find(|(field, set, _)| *set && clears(*field)) {
        return Err(Failure::usage(format!("{flag} cannot be used with --clear of the same field")));
    }
    fn patch<T>(value: Option<T>, cleared: bool) -> Patch<T> {
        if cleared { Patch::Clear } else { Patch::from(value) }
    }
    let op = UpdateEndpoint {
        id,
        project_id: Some(project),
        url: args.url,
        description: patch(sending.description, clears(Clearable::Description)),
        event_types: patch(types, clears(Clearable::Events)),
        headers: patch(headers, clears(Clearable::Headers)),
        schedule: patch(sending.schedule, clears(Clearable::Schedule)),
        rate: patch(sending.rate.map(|Rate(rate)| rate), clears(Clearable::Rate)),
        timeout_seconds: patch(sending.timeout.map(Span::seconds), clears(Clearable::Timeout)),
        max_in_flight: patch(sending.max_in_flight, clears(Clearable::MaxInFlight)),
        version: None,
    };
    let answer = client.call(&op, options(&args.change)).await.map_err(|failure| {
        if failure.fault("headers", "required").is_none() {
            return failure;
        }
        failure.hint("Give every header again with --header-from or --header-env, or send none with --clear headers.")
    })?;
    session.printer.answer(&VIEW, answer)?;
    DONE
}

async fn delete(session: &Session, args: endpoint::Delete) -> Outcome {
    let client = session.client().await?;
    forgiving(session, args.ignore_not_found, delete_named(session, client, &args).await)
}

async fn delete_named(session: &Session, client: &Client, args: &endpoint::Delete) -> Outcome {
    let (project, id) = named(session, client, &args.which).await?;
    let op = DeleteEndpoint { id, project_id: Some(project), version: None };
    let options = options(&args.change);
    let question = format!("Delete endpoint {}? What waits for it is cancelled.", args.which.endpoint);
    confirm(session, client, &op, options, &question).await?;
    session.printer.answer(&VIEW, client.call(&op, options).await?)?;
    DONE
}

async fn pause(session: &Session, args: endpoint::WithReason) -> Outcome {
    let client = session.client().await?;
    let (project, id) = named(session, client, &args.which).await?;
    let op = PauseEndpoint { id, project_id: Some(project), reason: args.reason };
    session.printer.answer(&VIEW, client.call(&op, options(&args.change)).await?)?;
    DONE
}

async fn disable(session: &Session, args: endpoint::WithReason) -> Outcome {
    let client = session.client().await?;
    let (project, id) = named(session, client, &args.which).await?;
    let op = DisableEndpoint { id, project_id: Some(project), reason: args.reason };
    let options = options(&args.change);
    let question = format!("Disable endpoint {}? No new event is kept for it.", args.which.endpoint);
    confirm(session, client, &op, options, &question).await?;
    session.printer.answer(&VIEW, client.call(&op, options).await?)?;
    DONE
}

async fn rotate(session: &Session, args: endpoint::RotateSecret) -> Outcome {
    let sinks = sinks::plan(session, &args.secret.sinks)?;
    let client = session.client().await?;
    let (project, id) = named(session, client, &args.which).await?;
    let op = RotateSecret {
        id,
        project_id: Some(project),
        overlap_seconds: args.overlap.map(Span::seconds),
        secret: given(&args.secret)?,
    };
    let options = options(&args.change);
    let question = format!("Rotate the signing secret of endpoint {}?", args.which.endpoint);
    confirm(session, client, &op, options, &question).await?;
    let answer = client.call(&op, options).await?;
    hand_on(session, &sinks, args.secret.show_secret, answer).await
}

/// Hands a secret that was just made to the sinks, and shows the endpoint: with the secret when no sink has it.
async fn hand_on(session: &Session, sinks: &[Sink], show: bool, answer: Answer<CreatedEndpoint>) -> Outcome {
    let made = match answer {
        Answer::Done { output, .. } if !sinks.is_empty() => output,
        answer => {
            session.printer.answer(&VIEW, answer)?;
            return DONE;
        }
    };
    let Some(secret) = made.secret.clone() else { return Err(Failure::unexpected("the answer has no secret")) };
    let mut stored: Vec<Stored> = Vec::new();
    for sink in sinks {
        session.printer.advice(&format!("storing the secret: {}", sink.name()));
        match sink.store(session, secret.expose()).await {
            Ok(kept) => stored.push(kept),
            Err(why) => return Err(not_stored(&made, &why, &stored)),
        }
    }
    let shown = CreatedEndpoint { secret: made.secret.filter(|_| show), ..made };
    let mut value = serde_json::to_value(shown).map_err(|error| Failure::unexpected(error.to_string()))?;
    if let Value::Object(fields) = &mut value {
        fields.insert("stored_in".to_owned(), json!(stored.iter().map(Stored::name).collect::<Vec<_>>()));
    }
    session.printer.value(&VIEW, &value)?;
    DONE
}

/// The endpoint has its secret, and a sink does not. The secret is not shown for that: another is made easily.
fn not_stored(made: &CreatedEndpoint, why: &Failure, stored: &[Stored]) -> Failure {
    let id = made.endpoint.id.to_string();
    let next = format!(
        "pulse webhook endpoint rotate-secret {id} --project {} makes another secret.",
        made.endpoint.project_id
    );
    let hints: Vec<&str> = why.hint_text().into_iter().chain([next.as_str()]).collect();
    let names: Vec<&str> = stored.iter().map(Stored::name).collect();
    Failure::new(
        PARTLY,
        "secret_not_stored",
        format!("the endpoint was changed, but its secret was not stored: {}", why.message()),
    )
    .hint(hints.join(" "))
    .detail("endpoint_id", id)
    .detail("stored_in", json!(names))
}
