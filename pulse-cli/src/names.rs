//! Names in the place of ids: a name is looked up exactly, without regard to case, among what the caller can see. An
//! ambiguous one is a usage error with the list.

use pulse_core::{
    id::{BanId, EndpointId, KeyId, OrgId, ProjectId, SessionId},
    media::room::RoomName,
    model::{
        api_key::ApiKeyView, ban::Ban, endpoint::EndpointView, organization::OrganizationView, project::ProjectView,
    },
    ops::{
        bans::ListBans, endpoints::ListEndpoints, keys::ListKeys, me::GetMe, organizations::ListOrganizations,
        projects::ListProjects, sessions::ListSessions,
    },
    page::PageLimit,
};

use crate::{
    args::{Of, key},
    client::Client,
    exit::Failure,
    pages::matching,
    session::Session,
};

/// The longest name that a list can be asked for, in characters.
const MAX_PREFIX: usize = 100;

/// The code of a name that means several things.
const AMBIGUOUS: &str = "ambiguous_name";

/// One of several things that a name may mean, as it is shown.
struct Found {
    id: String,
    name: String,
}

/// The one that is meant, or why there is none.
fn only<T>(
    kind: &str,
    text: &str,
    mut found: Vec<T>,
    shown: impl Fn(&T) -> Found,
    place: &str,
    list: &str,
) -> Result<T, Failure> {
    if found.len() > 1 {
        let found: Vec<Found> = found.iter().map(shown).collect();
        let lines: Vec<String> = found.iter().map(|one| format!("{} ({})", one.id, one.name)).collect();
        let ids: Vec<String> = found.into_iter().map(|one| one.id).collect();
        return Err(Failure::new(
            crate::exit::USAGE,
            AMBIGUOUS,
            format!("{kind} {text:?} is ambiguous: {}", lines.join(", ")),
        )
        .hint("Name it by its id.")
        .detail("candidates", ids));
    }
    found
        .pop()
        .ok_or_else(|| Failure::new(5, "not_found", format!("{kind} {text:?} not found{place}")).hint(list.to_owned()))
}

fn refuse_curl(client: &Client, kind: &str, text: &str) -> Result<(), Failure> {
    if !client.is_curl() {
        return Ok(());
    }
    Err(Failure::usage(format!("with --curl nothing is sent, so the {kind} {text:?} cannot be looked up"))
        .hint("Name it by its id."))
}

/// What a name begins with, as far as a list can be asked for it.
fn prefix(text: &str) -> Option<String> {
    Some(text.chars().take(MAX_PREFIX).collect()).filter(|text: &String| !text.is_empty())
}

fn same(one: &str, other: &str) -> bool {
    one.to_lowercase() == other.to_lowercase()
}

/// The organization that `text` names.
pub async fn org(client: &Client, text: &str, deleted: bool) -> Result<OrgId, Failure> {
    if let Ok(id) = text.parse() {
        return Ok(id);
    }
    refuse_curl(client, "organization", text)?;
    let list = ListOrganizations {
        name_prefix: prefix(text),
        include_deleted: deleted.then_some(true),
        ..ListOrganizations::default()
    };
    let found = matching(client, list, |org| same(org.name.as_str(), text)).await?;
    let shown = |org: &OrganizationView| Found { id: org.id.to_string(), name: org.name.to_string() };
    only("organization", text, found, shown, "", "pulse org list shows them.").map(|org| org.id)
}

/// The project that `text` names, in `org` when that is given.
pub async fn project(
    session: &Session,
    client: &Client,
    text: &str,
    in_org: Option<&str>,
    deleted: bool,
) -> Result<ProjectId, Failure> {
    if let Ok(id) = text.parse() {
        return Ok(id);
    }
    refuse_curl(client, "project", text)?;
    let default = session.default_org();
    let org_name = in_org.or(default.as_deref());
    let org_id = match org_name {
        Some(name) => Some(org(client, name, deleted).await?),
        None => None,
    };
    let list = ListProjects {
        org_id,
        name_prefix: prefix(text),
        include_deleted: deleted.then_some(true),
        ..ListProjects::default()
    };
    let found = matching(client, list, |project| same(project.name.as_str(), text)).await?;
    let shown = |project: &ProjectView| Found {
        id: project.id.to_string(),
        name: format!("{} of {}", project.name, project.org_id),
    };
    let place = org_name.map(|name| format!(" in org {name}")).unwrap_or_default();
    let hint = org_name
        .map(|name| format!("pulse project list --org {name}"))
        .unwrap_or_else(|| "pulse project list".to_owned());
    only("project", text, found, shown, &place, &hint).map(|project| project.id)
}

/// The project that a command names, else the default one, else the one that the caller's key implies.
pub async fn project_or_own(
    session: &Session,
    client: &Client,
    text: Option<&str>,
    org: Option<&str>,
) -> Result<ProjectId, Failure> {
    let default = session.default_project();
    if let Some(text) = text.or(default.as_deref()) {
        return project(session, client, text, org, false).await;
    }
    let unnamed = || {
        Failure::usage("no project is named").hint("Use --project NAME, or PULSE_PROJECT; a project's key implies it.")
    };
    if client.is_curl() {
        return Err(unnamed());
    }
    client.ask(&GetMe {}).await?.project_id.ok_or_else(unnamed)
}

/// The project that a command names, else the default one; none for a project's key, which implies it.
pub async fn project_if_named(session: &Session, client: &Client, of: &Of) -> Result<Option<ProjectId>, Failure> {
    let default = session.default_project();
    match of.project.as_deref().or(default.as_deref()) {
        Some(text) => project(session, client, text, of.org.as_deref(), false).await.map(Some),
        None => Ok(None),
    }
}

/// The session that `text` names: its id, or a room, whose latest session is meant.
pub async fn session(client: &Client, project_id: Option<ProjectId>, text: &str) -> Result<SessionId, Failure> {
    if let Ok(id) = text.parse() {
        return Ok(id);
    }
    refuse_curl(client, "session", text)?;
    let room = text.parse::<RoomName>().map_err(|fault| Failure::usage(format!("the room {text:?} {fault}")))?;
    let limit = PageLimit::try_from(1).ok();
    // A page with a filter may be empty while there is another.
    let mut list = ListSessions { project_id, room: Some(room), limit, ..ListSessions::default() };
    loop {
        let page = client.ask(&list).await?;
        match (page.data.first(), page.next_cursor) {
            (Some(latest), _) => return Ok(latest.id),
            (None, Some(next)) => list.cursor = Some(pulse_core::page::Cursor(next)),
            (None, None) => break,
        }
    }
    let missing = format!("the room {text:?} has had no session");
    Err(Failure::new(5, "not_found", missing).hint("pulse session list shows them."))
}

/// The ban that `text` names: its id, or the banned identity.
pub async fn ban(
    client: &Client,
    project_id: Option<ProjectId>,
    text: &str,
    room: Option<&RoomName>,
) -> Result<BanId, Failure> {
    if let Ok(id) = text.parse() {
        return match room {
            None => Ok(id),
            Some(_) => Err(Failure::usage("--room cannot be used with the id of a ban, which says its room itself")),
        };
    }
    refuse_curl(client, "ban", text)?;
    let identity = text.parse().map_err(|fault| Failure::usage(format!("the identity {text:?} {fault}")))?;
    let list = ListBans { project_id, identity: Some(identity), limit: None, cursor: None };
    let found = matching(client, list, |ban| room.is_none() || ban.room_name.as_ref() == room).await?;
    let shown = |ban: &Ban| Found {
        id: ban.id.to_string(),
        name: ban.room_name.as_ref().map_or_else(|| "all rooms".to_owned(), |room| format!("room {room}")),
    };
    only("ban", text, found, shown, "", "pulse ban list shows them.").map(|ban| ban.id).map_err(|failure| {
        let ambiguous = failure.code() == AMBIGUOUS;
        if ambiguous { failure.hint("Name it by its id, or by its room with --room.") } else { failure }
    })
}

/// The key that a command names, with its project.
pub async fn key(
    session: &Session,
    client: &Client,
    which: &key::Which,
) -> Result<(ProjectId, KeyId, Option<ApiKeyView>), Failure> {
    let project = project_or_own(session, client, which.of.project.as_deref(), which.of.org.as_deref()).await?;
    if let Ok(id) = which.key.parse() {
        return Ok((project, id, None));
    }
    refuse_curl(client, "key", &which.key)?;
    let list = ListKeys { id: project, include_revoked: None, limit: None, cursor: None };
    let meant = |key: &ApiKeyView| same(key.name.as_str(), &which.key) || key.pulse_api_key == which.key;
    let mut found = matching(client, list, meant).await?;
    // A rotated key and its successor share a name: the one that stays is meant.
    let staying = |key: &ApiKeyView| matches!(key.state, pulse_core::model::api_key::KeyStatus::Active);
    if found.len() > 1 && found.iter().filter(|key| staying(key)).count() == 1 {
        found.retain(staying);
    }
    let shown = |key: &ApiKeyView| Found {
        id: key.id.to_string(),
        name: format!("{}, {:?}", key.name, key.state).to_lowercase(),
    };
    let hint = format!("pulse key list --project {project}");
    let key = only("key", &which.key, found, shown, &format!(" in project {project}"), &hint)?;
    Ok((project, key.id, Some(key)))
}

/// The endpoint of the project that `text` names: its id, or its URL.
pub async fn endpoint(client: &Client, project: ProjectId, text: &str) -> Result<EndpointId, Failure> {
    if let Ok(id) = text.parse() {
        return Ok(id);
    }
    refuse_curl(client, "endpoint", text)?;
    let found = endpoints_with_url(client, project, text).await?;
    only_endpoint(project, text, found).map(|endpoint| endpoint.id)
}

/// The endpoint of the project that has this URL; none when there is none.
pub async fn endpoint_with_url(
    client: &Client,
    project: ProjectId,
    url: &str,
) -> Result<Option<EndpointView>, Failure> {
    let found = endpoints_with_url(client, project, url).await?;
    if found.is_empty() { Ok(None) } else { only_endpoint(project, url, found).map(Some) }
}

async fn endpoints_with_url(client: &Client, project: ProjectId, url: &str) -> Result<Vec<EndpointView>, Failure> {
    let list = ListEndpoints { project_id: Some(project), ..ListEndpoints::default() };
    matching(client, list, |endpoint| endpoint.url.as_str() == url).await
}

fn only_endpoint(project: ProjectId, url: &str, found: Vec<EndpointView>) -> Result<EndpointView, Failure> {
    let shown = |endpoint: &EndpointView| Found { id: endpoint.id.to_string(), name: endpoint.url.to_string() };
    let hint = format!("pulse webhook endpoint list --project {project}");
    only("endpoint", url, found, shown, &format!(" in project {project}"), &hint)
}
