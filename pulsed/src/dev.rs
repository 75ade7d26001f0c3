//! `--dev`: an organization, a project and a key, made once and kept in `dev.env` beside the store, and a `curl` that uses
//! them. What is missing is made again: a deleted file gets a new key, a deleted project a new project.

use std::path::{Path, PathBuf};

use pulse_core::{
    access::{Caller, keyring::Credentials},
    boot::write_private,
    config::{Settings, env_file},
    error::{Code, Error, Result},
    id::{OrgId, ProjectId},
    media::cluster::reach,
    op::{Call, Operation, Origin},
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

/// Makes what is missing, writes the file, and tells the person how to make a token.
pub async fn prepare(plane: &ControlPlane, settings: &Settings, url: &str) -> Result<()> {
    let file = settings.data.join("dev.env");
    let kept = kept(&file).filter(|kit| !kit.key.is_empty());
    let kit = match kept {
        Some(kit) if works(plane, &kit).await => kit,
        _ => make(plane).await?,
    };
    write(&file, &kit, url)?;
    terminal::tell(&greeting(&file, url));
    let livekit = &settings.livekit.url;
    if reach(&plane.parts().outbound, livekit).await.is_err() {
        terminal::tell(&format!(
            "LiveKit does not answer at {livekit}: tokens are made, but nobody can join. Start it with: livekit-server --dev\n\n"
        ));
    }
    Ok(())
}

fn kept(file: &Path) -> Option<Kit> {
    let values = env_file(&std::fs::read_to_string(file).ok()?).ok()?;
    Some(Kit {
        project: values.get("PULSE_PROJECT_ID")?.parse().ok()?,
        key: values.get("PULSE_API_KEY")?.clone(),
        secret: Secret::new(values.get("PULSE_API_SECRET")?.as_str()),
    })
}

/// Whether the key still opens its project.
async fn works(plane: &ControlPlane, kit: &Kit) -> bool {
    let pair = Credentials::Pair { key: &kit.key, secret: kit.secret.expose() };
    let verified = plane.parts().keyring.verify(pair, Some([127, 0, 0, 1].into())).await;
    verified.is_ok_and(|caller| caller.sees_project(kit.project))
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

/// Replaces the file as a whole, so that no reader sees half of it.
fn write(file: &Path, kit: &Kit, url: &str) -> Result<()> {
    let text = format!(
        "# Made by pulsed --dev. For development only.\nPULSE_URL={url}\nPULSE_PROJECT_ID={}\nPULSE_API_KEY={}\nPULSE_API_SECRET={}\n",
        kit.project,
        kit.key,
        kit.secret.expose()
    );
    let failed = |cause: std::io::Error| {
        Error::new(Code::Misconfigured, format!("{} cannot be written", file.display()))
            .hint("Check that this user owns the folder.")
            .because(cause)
    };
    private_folder(file.parent().unwrap_or(Path::new("."))).map_err(failed)?;
    let mut fresh = file.as_os_str().to_owned();
    fresh.push(".new");
    let fresh = PathBuf::from(fresh);
    let _ = std::fs::remove_file(&fresh);
    write_private(&fresh, &text).and_then(|()| std::fs::rename(&fresh, file)).map_err(failed)
}

fn private_folder(folder: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    if folder.as_os_str().is_empty() || folder.exists() {
        return Ok(());
    }
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

fn greeting(file: &Path, url: &str) -> String {
    let file = match file.display().to_string() {
        text if text.starts_with(['/', '.']) => text,
        text => format!("./{text}"),
    };
    let quoted = if file.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/._-".contains(&byte)) {
        file
    } else {
        format!("'{}'", file.replace('\'', "'\\''"))
    };
    format!(
        "Pulse serves {url} for development. A media token for the room \"hello\":\n\n    \
         . {quoted} && curl -sS \"$PULSE_URL/v1/tokens/create\" -H \"X-Pulse-Key: $PULSE_API_KEY\" -H \"X-Pulse-Secret: $PULSE_API_SECRET\" \
         -H 'Content-Type: application/json' -d '{{\"room_name\":\"hello\",\"identity\":\"ada\"}}'\n\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_printed_command_quotes_a_path_with_spaces() {
        assert!(
            greeting(Path::new("pulse-data/dev.env"), "http://127.0.0.1:1").contains(". ./pulse-data/dev.env && curl")
        );
        assert!(
            greeting(Path::new("/a b/it's/dev.env"), "http://127.0.0.1:1")
                .contains(". '/a b/it'\\''s/dev.env' && curl")
        );
    }
}
