//! `--dev`: an organization, a project and a key, made once and kept in `dev.env` beside the store, and a `curl` that uses
//! them. What is missing is made again: a deleted file gets a new key, a deleted project a new project.

use std::path::Path;

use pulse_core::{
    access::{Caller, keyring::Credentials},
    config::{Settings, StoreLocation, env_file},
    error::{Code, Error, Result},
    files::{PRIVATE, replace_file},
    id::{OrgId, ProjectId},
    media::cluster::reach,
    model::audit::Origin,
    op::{Call, Operation},
    ops::{
        keys::CreateKey,
        organizations::{CreateOrganization, ListOrganizations},
        projects::{CreateProject, ListProjects},
    },
    plane::ControlPlane,
    secret::Secret,
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::{boot, terminal};

/// The name of what is made.
const NAME: &str = "dev";

/// What the file holds.
struct Kit {
    project: ProjectId,
    key: String,
    secret: Secret,
}

/// Makes what is missing, writes the file, and tells the person how to make a token. A suspended project is left as it is:
/// somebody wanted that.
pub async fn prepare(plane: &ControlPlane, settings: &Settings, url: &str) -> Result<()> {
    let file = settings.data.join("dev.env");
    match kit(plane, &file).await {
        Ok(kit) => {
            write(&file, &kit, settings, url)?;
            terminal::tell(&greeting(&file, url, matches!(settings.store, StoreLocation::Sqlite(_))));
        }
        Err(error) if error.code() == Code::Suspended => terminal::tell(&format!(
            "Pulse serves {url} for development, but the project {NAME:?} is suspended, so its key is refused. \
             Let it go on with: pulse --local project resume {NAME}\n\n"
        )),
        Err(error) => return Err(error),
    }
    let livekit = &settings.livekit.url;
    if reach(&plane.parts().outbound, livekit).await.is_err() {
        terminal::tell(&format!(
            "LiveKit does not answer at {livekit}: tokens are made, but nobody can join. Start it with: livekit-server --dev\n\n"
        ));
    }
    Ok(())
}

/// The kit that is kept in the file while its key opens the project, else a new one. Errors: `suspended`.
async fn kit(plane: &ControlPlane, file: &Path) -> Result<Kit> {
    if let Some(kit) = kept(file) {
        let pair = Credentials::Pair { key: &kit.key, secret: kit.secret.expose() };
        match plane.parts().keyring.verify(pair, Some([127, 0, 0, 1].into())).await {
            Ok(caller) if caller.sees_project(kit.project) => return Ok(kit),
            Err(error) if error.code() == Code::Suspended => return Err(error),
            Ok(_) | Err(_) => {}
        }
    }
    make(plane).await
}

fn kept(file: &Path) -> Option<Kit> {
    let values = env_file(&std::fs::read_to_string(file).ok()?).ok()?;
    Some(Kit {
        project: values.get("PULSE_PROJECT_ID")?.parse().ok()?,
        key: values.get("PULSE_API_KEY")?.clone(),
        secret: Secret::new(values.get("PULSE_API_SECRET")?.as_str()),
    })
}

async fn make(plane: &ControlPlane) -> Result<Kit> {
    let org = organization(plane).await?;
    let listed = execute::<ListProjects>(plane, json!({ "org_id": org, "name_prefix": NAME, "limit": 100 })).await?;
    let existing = listed.data.into_iter().find(|project| project.name.as_str() == NAME);
    let (project, key, secret) = match existing {
        Some(project) => {
            let made = execute::<CreateKey>(plane, json!({ "id": project.id, "name": NAME })).await?;
            (project.id, made.key.pulse_api_key, made.pulse_api_secret)
        }
        None => {
            let made = execute::<CreateProject>(plane, json!({ "org_id": org, "name": NAME })).await?;
            (made.project.id, made.project.pulse_api_key.unwrap_or_default(), made.pulse_api_secret)
        }
    };
    let secret = secret.as_ref().map(Secret::from).ok_or_else(|| Error::internal("a new key has no secret"))?;
    Ok(Kit { project, key, secret })
}

async fn organization(plane: &ControlPlane) -> Result<OrgId> {
    let listed = execute::<ListOrganizations>(plane, json!({ "name_prefix": NAME, "limit": 100 })).await?;
    if let Some(org) = listed.data.into_iter().find(|org| org.name.as_str() == NAME) {
        return Ok(org.id);
    }
    let wanted = json!({ "name": NAME, "admin_email": "dev@example.com", "plan": "Enterprise" });
    Ok(execute::<CreateOrganization>(plane, wanted).await?.id)
}

async fn execute<O: Operation + DeserializeOwned>(plane: &ControlPlane, fields: Value) -> Result<O::Output> {
    let op: O = serde_json::from_value(fields).map_err(Error::internal)?;
    let mut call = Call::new(Caller::Operator(boot::itself()), "dev");
    call.origin = Origin::Worker;
    Ok(plane.execute(&call, &op).await?.into_output())
}

/// Writes what a shell needs for the printed command, and what `pulse --local --env-file` needs to work on the same store
/// with the same LiveKit and the same rules for customers' addresses.
fn write(file: &Path, kit: &Kit, settings: &Settings, url: &str) -> Result<()> {
    let livekit = &settings.livekit;
    let (project, store) = (kit.project.to_string(), store(settings));
    let networks = settings.webhook_networks.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    let lines = [
        ("PULSE_URL", url),
        ("PULSE_PROJECT_ID", &project),
        ("PULSE_API_KEY", &kit.key),
        ("PULSE_API_SECRET", kit.secret.expose()),
        ("PULSE_STORE", &store),
        ("LIVEKIT_HOST", &livekit.url),
        ("LIVEKIT_API_KEY", &livekit.api_key),
        ("LIVEKIT_API_SECRET", livekit.api_secret.expose()),
        ("PULSE_WEBHOOK_ALLOW_NETWORKS", &networks),
        ("PULSE_WEBHOOK_ALLOW_HTTP", if settings.webhook_plain_text { "true" } else { "false" }),
    ];
    let line = |(name, value): (&str, &str)| format!("{name}={}\n", quoted(value));
    let text = "# Made by pulsed --dev. For development only.\n".to_owned() + &lines.map(line).concat();
    replace_file(file, &text, PRIVATE).map_err(|cause| {
        Error::new(Code::Misconfigured, format!("{} cannot be written", file.display()))
            .hint("Check that this user owns the folder.")
            .because(cause)
    })
}

/// The store, as it is named from any folder.
fn store(settings: &Settings) -> String {
    match &settings.store {
        StoreLocation::Sqlite(path) => {
            format!("sqlite:{}", std::path::absolute(path).unwrap_or_else(|_| path.clone()).display())
        }
        StoreLocation::Memory | StoreLocation::Mongo { .. } => "memory:".to_owned(),
    }
}

/// The text as one word of a shell.
fn quoted(text: &str) -> String {
    if text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/._-:".contains(&byte)) {
        text.to_owned()
    } else if text.contains('\'') {
        // Escaped as shells and Pulse's own env files both read it.
        let special = |letter: char| matches!(letter, '"' | '\\' | '$' | '`');
        let letters = text.chars().flat_map(|letter| special(letter).then_some('\\').into_iter().chain([letter]));
        format!("\"{}\"", letters.collect::<String>())
    } else {
        format!("'{text}'")
    }
}

fn greeting(file: &Path, url: &str, opens_elsewhere: bool) -> String {
    let file = match file.display().to_string() {
        text if text.starts_with(['/', '.']) => text,
        text => format!("./{text}"),
    };
    let file = quoted(&file);
    let mut text = format!(
        "Pulse serves {url} for development. A media token for the room \"hello\":\n\n    \
         . {file} && curl -sS \"$PULSE_URL/v1/tokens/create\" -H \"X-Pulse-Key: $PULSE_API_KEY\" -H \"X-Pulse-Secret: $PULSE_API_SECRET\" \
         -H 'Content-Type: application/json' -d '{{\"room_name\":\"hello\",\"identity\":\"ada\"}}'\n\n"
    );
    if opens_elsewhere {
        text.push_str(&format!(
            "The same without the daemon:\n\n    \
             pulse --local --env-file {file} token create --project {NAME} --room hello --identity ada\n\n"
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_printed_command_quotes_a_path_with_spaces() {
        assert!(
            greeting(Path::new("pulse-data/dev.env"), "http://127.0.0.1:1", true)
                .contains(". ./pulse-data/dev.env && curl")
        );
        assert!(
            greeting(Path::new("/a b/it's/$x/dev.env"), "http://127.0.0.1:1", true)
                .contains(". \"/a b/it's/\\$x/dev.env\" && curl")
        );
    }
}
