//! Which LiveKit a project uses, with which key pair its tokens are signed, and whether that LiveKit answers.

use crate::{
    access::seal::{Place, Sealer},
    error::{Code, Error, Result},
    id::ProjectId,
    model::{tenant::TenantProject, text::LiveKitUrl},
    outbound::Outbound,
    secret::Secret,
    store::schema,
};

use super::room::{RoomName, WireRoom};

/// A LiveKit server, or a cluster behind one address, and one of its key pairs.
#[derive(Clone)]
#[expect(missing_debug_implementations, reason = "holds a secret")]
pub struct Signer {
    /// Where clients connect: `wss://...`.
    pub url: String,
    /// The key's name: `iss` of every token.
    pub api_key: String,
    /// The key's secret.
    pub api_secret: Secret,
    /// Whether several projects share it, so that room names carry the project.
    pub shared: bool,
}

impl Signer {
    /// The room's name on this LiveKit.
    pub fn wire_room(&self, project: ProjectId, room: &RoomName) -> WireRoom {
        if self.shared { WireRoom::shared(project, room) } else { WireRoom::own(room) }
    }
}

/// The place of a project's own LiveKit secret, for sealing.
pub fn secret_place<'a>(id: &'a str, org: &'a str) -> Place<'a> {
    Place { collection: schema::PROJECTS.name, field: "livekit_api_secret", id, org }
}

/// The LiveKit of a project: its own, else the server's. Errors: `wrong_state` when neither has a key pair.
pub fn signer_of(project: &TenantProject, default: &Signer, sealer: &Sealer) -> Result<Signer> {
    let Some(own) = &project.livekit_credentials else {
        if default.api_key.is_empty() || default.api_secret.expose().is_empty() {
            return Err(Error::new(Code::WrongState, "neither the project nor this server has a LiveKit key").hint(
                "Set LIVEKIT_API_KEY and LIVEKIT_API_SECRET (--env-file FILE reads them, too; pulsed --dev keeps them in dev.env), or give the project a LiveKit of its own.",
            ));
        }
        return Ok(default.clone());
    };
    let (id, org) = (project.id.to_string(), project.org_id.to_string());
    let api_secret = sealer.open_text(secret_place(&id, &org), &own.api_secret)?;
    let url = project.livekit_url.as_ref().map_or(default.url.as_str(), LiveKitUrl::as_str);
    Ok(Signer { url: url.to_owned(), api_key: own.api_key.clone(), api_secret, shared: false })
}

/// The HTTP form of a LiveKit address: `ws` is `http`, `wss` is `https`.
pub fn http_url(url: &str) -> String {
    match url.split_once("://") {
        Some(("ws", rest)) => format!("http://{rest}"),
        Some(("wss", rest)) => format!("https://{rest}"),
        _ => url.to_owned(),
    }
}

/// Whether the LiveKit at `url` answers at all, and in which time. LiveKit has no version endpoint; its root answers
/// `OK` without credentials.
pub async fn reach(outbound: &Outbound, url: &str) -> Result<()> {
    let answer = outbound.get(&http_url(url)).await?;
    if answer.status.is_server_error() {
        return Err(Error::new(Code::Unreachable, format!("LiveKit answers {}", answer.status)));
    }
    Ok(())
}
