//! The claims as sentences.

use serde_json::Value;

use super::Claims;
use crate::media::room;

/// What the token allows, a sentence for each thing.
pub(super) fn of(claims: &Claims<'_>) -> Vec<String> {
    let mut means = Vec::new();
    if claims.grants("roomJoin") {
        let who = claims
            .text("sub")
            .map_or_else(|| "somebody without an identity".to_owned(), |identity| format!("{identity:?}"));
        means.push(format!("{who} may join {}", room_words(claims)));
        means.push(sending(claims));
        means.push(may(claims.not_denied("canSubscribe"), "receive audio and video of others"));
        means.push(may(claims.may_send_data(), "send data messages"));
        if claims.grants("canUpdateOwnMetadata") {
            means.push("may change its own name, metadata and attributes".to_owned());
        }
        if claims.grants("hidden") {
            means.push("is not shown to others in the room".to_owned());
        }
    } else {
        means.push("nobody may join a room with it".to_owned());
    }
    if claims.grants("roomAdmin") {
        means.push(format!("may remove and mute participants of {}", room_words(claims)));
    }
    for (grant, words) in [
        ("roomCreate", "may create and delete any room of the server"),
        ("roomList", "may list every room of the server"),
        ("roomRecord", "may start and stop recordings of any room"),
        ("ingressAdmin", "may manage every ingress of the server"),
    ] {
        if claims.grants(grant) {
            means.push(words.to_owned());
        }
    }
    means.push(time_words(claims));
    means
}

fn may(allowed: bool, what: &str) -> String {
    format!("{} {what}", if allowed { "may" } else { "may not" })
}

fn room_words(claims: &Claims<'_>) -> String {
    match claims.room().map(|wire| (wire, room::split(wire))) {
        None => "any room".to_owned(),
        Some((_, Some((project, room)))) => format!("the room {:?} of project {project}", room.as_str()),
        Some((wire, None)) => format!("the room {wire:?}"),
    }
}

fn sending(claims: &Claims<'_>) -> String {
    if !claims.not_denied("canPublish") {
        return "may not send audio and video".to_owned();
    }
    let sources = claims.video("canPublishSources").and_then(Value::as_array).cloned().unwrap_or_default();
    let names: Vec<&str> = sources.iter().filter_map(Value::as_str).collect();
    if names.is_empty() {
        "may send audio and video of any source".to_owned()
    } else {
        format!("may send only: {}", names.join(", "))
    }
}

fn time_words(claims: &Claims<'_>) -> String {
    let begin = claims.moment("nbf").map(|begin| format!("from {begin} ")).unwrap_or_default();
    match claims.moment("exp") {
        Some(end) => format!("is good {begin}until {end}, and for a minute longer in LiveKit's eyes"),
        None => format!("is good {begin}without an end"),
    }
}
