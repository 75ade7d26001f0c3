//! The traps.

use serde_json::Value;

use super::{Claims, Finding, Severity};
use crate::time::Timestamp;

/// The longest life that is not remarked upon, in seconds: a day.
const LONG_LIFE: i64 = 86_400;
/// Grants that are for the whole server, with what they give.
const SERVER_WIDE: [(&str, &str); 4] = [
    ("roomCreate", "creates and deletes any room of the server"),
    ("roomList", "lists every room of the server"),
    ("roomRecord", "starts and stops recordings of any room"),
    ("ingressAdmin", "manages every ingress of the server"),
];

/// Every trap in the claims.
pub(super) fn findings(claims: &Claims<'_>) -> Vec<Finding> {
    let mut found = Found(Vec::new());
    signature(claims, &mut found);
    times(claims, &mut found);
    grants(claims, &mut found);
    rest(claims, &mut found);
    found.0
}

struct Found(Vec<Finding>);

impl Found {
    fn add(&mut self, severity: Severity, code: &str, field: &str, detail: impl Into<String>) {
        self.0.push(Finding { severity, code: code.to_owned(), field: field.to_owned(), detail: detail.into() });
    }
}

fn signature(claims: &Claims<'_>, found: &mut Found) {
    match claims.header.get("alg").and_then(Value::as_str) {
        Some("HS256") => {}
        Some(none) if none.eq_ignore_ascii_case("none") => {
            found.add(
                Severity::Error,
                "not_signed",
                "alg",
                "It is not signed: anybody could have made it, and LiveKit refuses it.",
            );
        }
        Some("HS384" | "HS512") => {
            found.add(
                Severity::Info,
                "other_algorithm",
                "alg",
                "It is signed with another algorithm than HS256, which LiveKit's own tools use.",
            );
        }
        _ => found.add(
            Severity::Error,
            "bad_algorithm",
            "alg",
            "LiveKit takes tokens signed with an API secret only (HS256).",
        ),
    }
    if claims.text("iss").is_none() {
        found.add(
            Severity::Error,
            "no_key",
            "iss",
            "It does not say which API key made it, so LiveKit cannot check it.",
        );
    }
}

fn times(claims: &Claims<'_>, found: &mut Found) {
    let (now, begin) = (claims.now.as_secs(), claims.moment("nbf"));
    match claims.moment("exp") {
        None => found.add(
            Severity::Error,
            "no_end",
            "exp",
            "It never ends: whoever has it can use it until the API key is replaced.",
        ),
        Some(end) if end.as_secs() + super::LIVEKIT_LEEWAY_SECONDS < now => {
            found.add(Severity::Error, "expired", "exp", format!("It ended at {end}."));
        }
        Some(end) if end.as_secs() <= now => {
            let last = Timestamp::from_secs(end.as_secs() + super::LIVEKIT_LEEWAY_SECONDS);
            found.add(
                Severity::Warning,
                "in_leeway",
                "exp",
                format!("It ended at {end}, but LiveKit lets it in until {last}: it allows a minute."),
            );
        }
        Some(_) if claims.life_seconds().is_some_and(|life| life > LONG_LIFE) => {
            found.add(Severity::Warning, "long_life", "exp", "It is good for more than a day. A client needs it only to join: connected clients get new ones from LiveKit.");
        }
        Some(_) => {}
    }
    if let Some(begin) = begin.filter(|begin| begin.as_secs() > now + super::LIVEKIT_LEEWAY_SECONDS) {
        found.add(Severity::Error, "not_yet", "nbf", format!("It is not good before {begin}."));
    }
}

fn grants(claims: &Claims<'_>, found: &mut Found) {
    for (grant, gives) in SERVER_WIDE {
        if claims.grants(grant) {
            found.add(
                Severity::Error,
                "server_wide",
                &format!("video.{grant}"),
                format!("{grant} {gives}: it is for backends, not for clients."),
            );
        }
    }
    if claims.grants("roomAdmin") {
        let whose = claims.room().map_or_else(|| "any room".to_owned(), |room| format!("the room {room:?}"));
        found.add(
            Severity::Warning,
            "room_admin",
            "video.roomAdmin",
            format!("roomAdmin removes and mutes anybody in {whose} and changes their permissions."),
        );
    }
    if !claims.grants("roomJoin") {
        if claims.grants("roomAdmin") || SERVER_WIDE.iter().any(|(grant, _)| claims.grants(grant)) {
            return;
        }
        found.add(Severity::Error, "no_join", "video.roomJoin", "It does not let anybody join: roomJoin is not true.");
        return;
    }
    if claims.room().is_none() {
        found.add(
            Severity::Error,
            "any_room",
            "video.room",
            "It names no room: LiveKit then takes the room that the client names, whichever it is.",
        );
    }
    if claims.text("sub").is_none() {
        found.add(Severity::Error, "no_identity", "sub", "It has no identity: LiveKit refuses to let it join.");
    }
    for (grant, what, allowed) in [
        ("canPublish", "send audio and video", true),
        ("canSubscribe", "receive audio and video", true),
        ("canPublishData", "send data messages", claims.may_send_data()),
    ] {
        if allowed && claims.video(grant).is_none() {
            found.add(
                Severity::Warning,
                "absent_means_yes",
                &format!("video.{grant}"),
                format!("{grant} is absent, which LiveKit takes for yes: the client may {what}. Say true or false."),
            );
        }
    }
    if claims.grants("canUpdateOwnMetadata") {
        found.add(
            Severity::Warning,
            "own_metadata",
            "video.canUpdateOwnMetadata",
            "The client may change its own name, metadata and attributes, so nothing in them can be believed.",
        );
    }
    if claims.grants("hidden") {
        found.add(Severity::Info, "hidden", "video.hidden", "Others in the room do not see this participant.");
    }
    if claims.grants("recorder") {
        found.add(
            Severity::Warning,
            "recorder",
            "video.recorder",
            "The participant counts as a recorder; this is for LiveKit's own egress.",
        );
    }
}

fn rest(claims: &Claims<'_>, found: &mut Found) {
    if let Some(kind) = claims.text("kind").filter(|kind| *kind != "standard") {
        found.add(
            Severity::Warning,
            "kind",
            "kind",
            format!("The participant counts as {kind}, which other clients treat in a special way."),
        );
    }
    if claims.text("jti").is_none() {
        found.add(Severity::Info, "no_jti", "jti", "It has no id, so this one token cannot be revoked alone.");
    }
    if claims.all.get("sip").is_some_and(|sip| sip.get("admin") == Some(&Value::Bool(true))) {
        found.add(
            Severity::Error,
            "sip_admin",
            "sip.admin",
            "It manages every SIP trunk of the server: it is for backends, not for clients.",
        );
    }
    let config = claims.all.get("roomConfig").filter(|config| !config.is_null());
    if config.is_some_and(|config| config.get("egress").is_some_and(|egress| !egress.is_null())) {
        found.add(
            Severity::Error,
            "config_egress",
            "roomConfig.egress",
            "The room's configuration starts an egress, and whoever has the token can read its storage secrets.",
        );
    } else if config.is_some_and(names_secret) {
        found.add(
            Severity::Error,
            "config_secret",
            "roomConfig",
            "The room's configuration holds what looks like a secret, and whoever has the token can read it.",
        );
    }
    if claims.all.get("metadata").is_some_and(|metadata| !metadata.is_string() && !metadata.is_null()) {
        found.add(
            Severity::Error,
            "metadata_type",
            "metadata",
            "The metadata is not a text, so LiveKit cannot read the token.",
        );
    }
}

fn names_secret(value: &Value) -> bool {
    match value {
        Value::Object(fields) => fields.iter().any(|(name, value)| {
            let name = name.to_lowercase();
            ["secret", "password", "credential", "access_key", "accesskey"].iter().any(|word| name.contains(word))
                || names_secret(value)
        }),
        Value::Array(elements) => elements.iter().any(names_secret),
        _ => false,
    }
}
