//! What is written into a project: the rules that its region, its addresses and its credentials keep, and how the
//! credentials are sealed.

use crate::{
    access::seal::Place,
    error::{Error, Fault, Result},
    media::cluster::secret_place,
    model::{
        project::{KNOWN_REGIONS, LiveKitCredentials},
        storage::{StorageConfig, StorageInput},
        text::{LiveKitUrl, RegionName, WebhookUrl},
    },
    op::Cx,
    ops::endpoints::url_fault,
    outbound::Trust,
    secret::SecretText,
    store::schema,
};

pub(super) fn region_fault(cx: &Cx<'_>, region: &RegionName) -> Option<Fault> {
    let own = &cx.parts.settings.regions;
    let known = KNOWN_REGIONS.contains(&region.as_str()) || own.iter().any(|name| name == region.as_str());
    (!known).then(|| {
        let all: Vec<&str> = KNOWN_REGIONS.into_iter().chain(own.iter().map(String::as_str)).collect();
        Fault::new("region", "unknown_region", format!("is not a region of this installation: {}", all.join(", ")))
    })
}

/// Faults of addresses to which this installation never connects: what a URL tells by itself. Names are judged when they
/// are resolved. The installation's own LiveKit is the operator's word, and may be anywhere.
pub(super) fn address_faults(
    cx: &Cx<'_>,
    livekit: Option<&LiveKitUrl>,
    webhook: Option<&WebhookUrl>,
    storage: Option<&StorageInput>,
) -> Vec<Fault> {
    let policy = cx.parts.outbound.policy();
    let fault = |field: &str, text: &str, trust: Trust| {
        let refusal = policy.check_url(&text.parse().ok()?, trust).err()?;
        Some(Fault::new(field, refusal.code(), refusal.to_string()))
    };
    let own = livekit.map(LiveKitUrl::as_str).filter(|url| *url != cx.parts.settings.livekit.url);
    let endpoint = storage.and_then(|storage| storage.endpoint.as_ref());
    let faults = [
        own.and_then(|url| fault("livekit_url", url, Trust::Tenant)),
        webhook.and_then(|url| url_fault(cx.parts, "webhook_url", url)),
        // Uploads to it are LiveKit's egress's business; Pulse itself goes there only within PULSE_OUTBOUND_ONLY.
        endpoint.and_then(|url| fault("storage_config.endpoint", url.as_str(), Trust::Operator)),
    ];
    faults.into_iter().flatten().collect()
}

pub(super) fn seal_storage(cx: &Cx<'_>, input: &StorageInput, id: &str, org: &str) -> Result<Box<StorageConfig>> {
    let place = Place { collection: schema::PROJECTS.name, field: "storage_config", id, org };
    let credentials = serde_json::to_vec(&input.credentials()).map_err(Error::internal)?;
    let sealed = cx.parts.sealer.seal(place, &credentials, cx.parts.entropy.as_ref())?;
    Ok(Box::new(input.clone().sealed(sealed)))
}

pub(super) fn seal_livekit(
    cx: &Cx<'_>,
    key: &str,
    secret: &SecretText,
    id: &str,
    org: &str,
) -> Result<Box<LiveKitCredentials>> {
    let place = secret_place(id, org);
    let api_secret = cx.parts.sealer.seal(place, secret.expose().as_bytes(), cx.parts.entropy.as_ref())?;
    Ok(Box::new(LiveKitCredentials { api_key: key.to_owned(), api_secret }))
}

/// The rules that bind a LiveKit address and its credentials together.
pub(super) fn livekit_faults(url: Option<&LiveKitUrl>, key: bool, secret: bool, server_url: &str) -> Vec<Fault> {
    let foreign = url.is_some_and(|url| url.as_str() != server_url);
    let required =
        |field: &str| Fault::new(field, "required", "is required for a LiveKit that is not the server's own");
    let mut faults = Vec::new();
    if (foreign || secret) && !key {
        faults.push(required("livekit_api_key"));
    }
    if (foreign || key) && !secret {
        faults.push(required("livekit_api_secret"));
    }
    if (key || secret) && url.is_none() {
        faults.push(Fault::new("livekit_url", "required", "is required with credentials of its own"));
    }
    faults
}

pub(super) fn faults_or<T>(faults: Vec<Fault>, value: T) -> Result<T> {
    if faults.is_empty() { Ok(value) } else { Err(Error::invalid(faults)) }
}
