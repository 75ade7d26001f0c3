//! Decides the grants and the life of a token, and signs it. Every decision is explicit: nothing is left to LiveKit's
//! defaults, under which an absent grant means yes.

use std::collections::HashMap;

use livekit_api::access_token::Claims;
use livekit_protocol::RoomConfiguration;
use serde_json::Value;

use super::{CreateToken, MediaToken, check_room, end_of, project_ceiling, signer_of, validate::Judged};
use crate::{
    access::keyring::KeyRecord,
    error::{Code, Error, Fault, Result},
    media::{
        cluster::Signer,
        grants::{Grant, Grants, TrackSource},
        preset::{self, Preset},
        room::RoomName,
        token::{self, DEFAULT_TTL_SECONDS, JTI_ATTRIBUTE, Jti, PROJECT_ATTRIBUTE, TokenClaims},
    },
    model::{api_key::Constraints, tenant::Tenant},
    op::Cx,
    secret::SecretText,
};

/// The longest metadata and the most attributes together, in bytes (LiveKit's `max_metadata_size` is 64,000 by default).
const MAX_METADATA_BYTES: usize = 64_000;
const MAX_ATTRIBUTES_BYTES: usize = 64_000;
const MAX_ATTRIBUTES: usize = 64;
/// The longest room configuration, in bytes of JSON. Clients send their token in a URL.
const MAX_ROOM_CONFIG_BYTES: usize = 16_384;

/// Makes a token for a request.
pub(super) fn mint(cx: &Cx<'_>, request: &CreateToken) -> Result<MediaToken> {
    let tenant = cx.tenant()?;
    tenant.check_usable()?;
    let constraints = cx.call.caller.key().and_then(KeyRecord::constraints);
    let preset = named_preset(tenant, request)?;
    let mut faults = text_faults(tenant, request);
    let of_preset = preset.as_ref().and_then(|preset| preset.max_ttl_seconds);
    let life = life(cx, request.ttl_seconds, of_preset, constraints).unwrap_or_else(|fault| {
        faults.push(fault);
        0
    });
    let room_config = room_config(request).unwrap_or_else(|fault| {
        faults.push(fault);
        None
    });
    let grants = grants(request, preset.as_ref(), constraints, &mut faults);
    if !faults.is_empty() {
        return Err(Error::invalid(faults));
    }
    let grants = grants?;
    check_room(cx, Some(&request.room_name))?;
    let signer = signer_of(&tenant.project, &cx.parts.settings.livekit, &cx.parts.sealer)?;
    let jti = Jti::first(cx.now, cx.parts.entropy.as_ref()).to_string();
    let wire = signer.wire_room(tenant.project.id, &request.room_name);
    let livekit = Claims {
        sub: request.identity.as_str().to_owned(),
        name: request.name.as_ref().map(|name| name.as_str().to_owned()).unwrap_or_default(),
        video: grants.claims(&wire),
        metadata: request.metadata.clone().unwrap_or_default(),
        attributes: request.attributes.iter().map(|(key, value)| (key.clone(), value.clone())).collect(),
        room_config,
        ..Claims::default()
    };
    let claims = TokenClaims { livekit, jti, max_ttl_seconds: of_preset };
    seal_and_sign(cx, &signer, claims, life, &request.room_name)
}

/// Makes the successor of a token that was judged good: the same claims, checked against today's policy. The ceiling of the
/// preset that the first of the family was made with goes along.
pub(super) fn refresh(cx: &Cx<'_>, old: Judged, ttl_seconds: Option<u32>) -> Result<MediaToken> {
    let tenant = cx.tenant()?;
    check_room(cx, Some(&old.room))?;
    let constraints = cx.call.caller.key().and_then(KeyRecord::constraints);
    let video = &old.claims.livekit.video;
    let held = [
        (Grant::Publish, video.can_publish()),
        (Grant::Subscribe, video.can_subscribe()),
        (Grant::PublishData, video.can_publish_data()),
        (Grant::Hidden, video.hidden),
    ];
    if let Some((grant, _)) = held.iter().find(|(grant, held)| *held && !allows(constraints, *grant)) {
        return Err(refused_grant(*grant));
    }
    let before = u32::try_from(old.claims.livekit.exp.saturating_sub(old.claims.livekit.nbf)).unwrap_or(u32::MAX);
    let of_preset = old.claims.max_ttl_seconds;
    let life = match ttl_seconds {
        None => before.min(ceiling(cx, of_preset, constraints)?),
        asked => life(cx, asked, of_preset, constraints).map_err(|fault| Error::invalid(vec![fault]))?,
    };
    let signer = signer_of(&tenant.project, &cx.parts.settings.livekit, &cx.parts.sealer)?;
    let claims = TokenClaims { jti: old.jti.next().to_string(), ..old.claims };
    seal_and_sign(cx, &signer, claims, life, &old.room)
}

/// Puts the claims that Pulse alone decides into place, and signs.
fn seal_and_sign(
    cx: &Cx<'_>,
    signer: &Signer,
    mut claims: TokenClaims,
    life: u32,
    room: &RoomName,
) -> Result<MediaToken> {
    let project = &cx.tenant()?.project;
    let (now, end) = (cx.now.as_secs(), end_of(cx, life));
    let livekit = &mut claims.livekit;
    livekit.iss.clone_from(&signer.api_key);
    livekit.nbf = usize::try_from(now).map_err(Error::internal)?;
    livekit.exp = usize::try_from(end.as_secs()).map_err(Error::internal)?;
    livekit.attributes.insert(PROJECT_ATTRIBUTE.to_owned(), project.id.to_string());
    livekit.attributes.insert(JTI_ATTRIBUTE.to_owned(), claims.jti.clone());
    let identity = livekit.sub.parse().map_err(Error::internal)?;
    let token = token::sign(signer, &claims)?;
    if token.len() > token::MAX_TOKEN_BYTES {
        let detail = format!(
            "is too much together with attributes and room_config: the token would have more than {} bytes",
            token::MAX_TOKEN_BYTES
        );
        return Err(Error::invalid_field("metadata", "too_large", detail));
    }
    Ok(MediaToken {
        token: SecretText::new(token),
        server_url: signer.url.clone(),
        room_name: room.clone(),
        identity,
        region: project.region.clone(),
        fallback_urls: Vec::new(),
        expires_at: end,
    })
}

fn named_preset(tenant: &Tenant, request: &CreateToken) -> Result<Option<Preset>> {
    let Some(name) = &request.preset else { return Ok(None) };
    let own = tenant.project.token_presets.get(name).cloned();
    let found = own.or_else(|| preset::built_in(name.as_str()));
    let unknown = || {
        Error::invalid_field(
            "preset",
            "unknown_preset",
            format!("{name} is neither host, speaker, viewer nor a preset of the project"),
        )
    };
    found.map(Some).ok_or_else(unknown)
}

/// Faults of metadata, attributes and region.
fn text_faults(tenant: &Tenant, request: &CreateToken) -> Vec<Fault> {
    let mut faults = Vec::new();
    if request.metadata.as_ref().is_some_and(|text| text.len() > MAX_METADATA_BYTES) {
        faults.push(Fault::new("metadata", "too_long", format!("must have at most {MAX_METADATA_BYTES} bytes")));
    }
    let bytes: usize = request.attributes.iter().map(|(key, value)| key.len() + value.len()).sum();
    if request.attributes.len() > MAX_ATTRIBUTES || bytes > MAX_ATTRIBUTES_BYTES {
        let detail = format!("must be at most {MAX_ATTRIBUTES} entries with {MAX_ATTRIBUTES_BYTES} bytes together");
        faults.push(Fault::new("attributes", "too_large", detail));
    }
    for key in request.attributes.keys() {
        if key.is_empty() || key.chars().any(char::is_control) || key.len() > 128 {
            faults.push(Fault::new(
                "attributes",
                "bad_key",
                "has a key that is empty, too long or has control characters",
            ));
        } else if key.starts_with("pulse.") || key.starts_with("lk.") {
            faults.push(Fault::new(
                format!("attributes.{key}"),
                "reserved",
                "begins with pulse. or lk., which are reserved",
            ));
        }
    }
    if request.region.as_ref().is_some_and(|region| *region != tenant.project.region) {
        let detail = format!("must be {}, the project's region", tenant.project.region);
        faults.push(Fault::new("region", "other_region", detail));
    }
    faults
}

/// The longest life that project, key and preset allow together, in seconds.
fn ceiling(cx: &Cx<'_>, of_preset: Option<u32>, constraints: Option<&Constraints>) -> Result<u32> {
    let bounds = [of_preset, constraints.and_then(|own| own.max_ttl_seconds)];
    Ok(bounds.into_iter().flatten().fold(project_ceiling(cx)?, u32::min))
}

fn life(
    cx: &Cx<'_>,
    asked: Option<u32>,
    of_preset: Option<u32>,
    constraints: Option<&Constraints>,
) -> std::result::Result<u32, Fault> {
    let ceiling =
        ceiling(cx, of_preset, constraints).map_err(|error| Fault::new("ttl_seconds", "invalid", error.message()))?;
    match asked {
        None => Ok(DEFAULT_TTL_SECONDS.min(ceiling)),
        Some(0) => Err(Fault::new("ttl_seconds", "too_small", "must be at least 1")),
        Some(asked) if asked > ceiling => {
            Err(Fault::new("ttl_seconds", "too_large", format!("must be at most {ceiling}")))
        }
        Some(asked) => Ok(asked),
    }
}

fn allows(constraints: Option<&Constraints>, grant: Grant) -> bool {
    constraints.is_none_or(|own| own.grants.is_empty() || own.grants.contains(&grant))
}

fn refused_grant(grant: Grant) -> Error {
    let word = serde_json::to_value(grant).ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default();
    Error::new(Code::Forbidden, format!("this key may not make tokens with the grant {word}"))
}

/// Decides each grant: what the request says, within the preset, within the key. A preset that the request would widen
/// is a fault; a key that it would widen is forbidden; what the request leaves open is narrowed without a word.
fn grants(
    request: &CreateToken,
    preset: Option<&Preset>,
    constraints: Option<&Constraints>,
    faults: &mut Vec<Fault>,
) -> Result<Grants> {
    let mut refused = None;
    let mut decide = |field: &str, grant: Grant, asked: Option<bool>, within: Option<bool>, default: bool| {
        let base = within.unwrap_or(default);
        if asked == Some(true) && within == Some(false) {
            faults.push(Fault::new(field, "wider_than_preset", "is not in the preset, which it could only narrow"));
        }
        let allowed = allows(constraints, grant);
        if asked == Some(true) && !allowed {
            refused = Some(grant);
        }
        asked.unwrap_or(base) && base_or_asked(within, asked) && allowed
    };
    let can_publish =
        decide("can_publish", Grant::Publish, request.can_publish, preset.map(|preset| preset.can_publish), true);
    let can_subscribe = decide(
        "can_subscribe",
        Grant::Subscribe,
        request.can_subscribe,
        preset.map(|preset| preset.can_subscribe),
        true,
    );
    let data = preset.map(|preset| preset.can_publish_data);
    // LiveKit's own rule: data follows publishing unless it is said. Narrowing a preset's publishing narrows data too.
    let data_default = request.can_publish.unwrap_or(can_publish);
    let asked_data = request.can_publish_data.or_else(|| request.can_publish.filter(|publish| !publish));
    let can_publish_data = decide("can_publish_data", Grant::PublishData, asked_data, data, data_default);
    let hidden = decide("hidden", Grant::Hidden, request.hidden, preset.map(|preset| preset.hidden), false);
    let can_publish_sources = sources(request, preset, faults);
    match refused {
        Some(grant) => Err(refused_grant(grant)),
        None => Ok(Grants { can_publish, can_subscribe, can_publish_data, can_publish_sources, hidden }),
    }
}

/// Whether the preset, if there is one, has the grant at all.
fn base_or_asked(within: Option<bool>, asked: Option<bool>) -> bool {
    within.unwrap_or_else(|| asked.unwrap_or(true))
}

fn sources(request: &CreateToken, preset: Option<&Preset>, faults: &mut Vec<Fault>) -> Vec<TrackSource> {
    let within: &[TrackSource] = preset.map_or(&[], |preset| &preset.can_publish_sources);
    let Some(asked) = request.can_publish_sources.as_ref().filter(|asked| !asked.is_empty()) else {
        return within.to_vec();
    };
    if !within.is_empty() && asked.iter().any(|source| !within.contains(source)) {
        faults.push(Fault::new("can_publish_sources", "wider_than_preset", "has sources that are not in the preset"));
    }
    let mut distinct = Vec::with_capacity(asked.len());
    asked.iter().for_each(|source| {
        if !distinct.contains(source) {
            distinct.push(*source);
        }
    });
    distinct
}

/// LiveKit's room configuration. Egress is refused whole: a client can read its token, storage secrets and stream
/// addresses included, and an egress that the join starts would pass by every limit.
fn room_config(request: &CreateToken) -> std::result::Result<Option<RoomConfiguration>, Fault> {
    let Some(fields) = &request.room_config else { return Ok(None) };
    if fields.get("egress").is_some_and(|egress| !egress.is_null()) {
        return Err(Fault::new(
            "room_config.egress",
            "not_allowed",
            "cannot be in a token; start egress through Pulse",
        ));
    }
    let fields = Value::Object(fields.clone());
    if fields.to_string().len() > MAX_ROOM_CONFIG_BYTES {
        let detail = format!("must have at most {MAX_ROOM_CONFIG_BYTES} bytes");
        return Err(Fault::new("room_config", "too_large", detail));
    }
    serde_json::from_value(fields)
        .map(Some)
        .map_err(|_| Fault::new("room_config", "invalid", "is not a LiveKit room configuration"))
}

/// The customer's attributes of a token, without Pulse's own.
pub(super) fn own_attributes(attributes: &HashMap<String, String>) -> impl Iterator<Item = (&String, &String)> {
    attributes.iter().filter(|(key, _)| *key != PROJECT_ATTRIBUTE && *key != JTI_ATTRIBUTE)
}
