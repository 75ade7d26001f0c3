//! One webhook as LiveKit would send it, its signature, and the text that its event carries from end to end.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use pulse_core::time::Timestamp;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use crate::jwt;

/// The content type of LiveKit's webhooks.
pub const CONTENT_TYPE: &str = "application/webhook+json";
/// For how long LiveKit's webhook tokens are valid, in seconds.
const LIFE: i64 = 300;

/// A key of a LiveKit server and its secret.
#[derive(Clone)]
pub struct ApiKey {
    key: String,
    secret: String,
}

impl std::fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ApiKey").field("key", &self.key).finish_non_exhaustive()
    }
}

impl ApiKey {
    /// This pair.
    pub fn new(key: &str, secret: &str) -> Self {
        Self { key: key.to_owned(), secret: secret.to_owned() }
    }

    /// The header `Authorization` of a webhook with this body, signed at `now`: a token without `Bearer` before it.
    pub fn authorization(&self, body: &[u8], now: Timestamp) -> String {
        let issued = now.as_secs();
        let (key, expires, hash) = (&self.key, issued + LIFE, STANDARD.encode(Sha256::digest(body)));
        let claims = format!(r#"{{"iss":"{key}","exp":{expires},"nbf":{issued},"iat":{issued},"sha256":"{hash}"}}"#);
        jwt::sign(self.secret.as_bytes(), &claims)
    }
}

/// An event that is to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Webhook {
    /// Its id, `EV_...`, the same on every try.
    pub id: String,
    /// LiveKit's name of what happened.
    pub event: String,
    /// Events of one lane are sent one after the other: the id of the egress or the ingress, else the room's name.
    pub lane: String,
    /// The text by which its delivery is recognized, see [`correlation_of_delivery`].
    pub correlation: String,
    /// Its bytes.
    pub body: Bytes,
}

/// The text that an event carries from end to end: LiveKit's event id does not reach the customer, but what happened to
/// which sid does, and happens once.
pub(super) fn correlation(event: &str, sid: &str) -> String {
    // Pulse's name for it.
    let event = if event == "room_finished" { "room_ended" } else { event };
    format!("{event}:{sid}")
}

#[derive(Deserialize)]
struct Delivered<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    #[serde(borrow)]
    data: Data<'a>,
}

#[derive(Deserialize)]
struct Data<'a> {
    #[serde(borrow)]
    track: Option<Thing<'a>>,
    participant: Option<Thing<'a>>,
    room: Option<Thing<'a>>,
}

#[derive(Deserialize)]
struct Thing<'a> {
    sid: Option<&'a str>,
}

/// The same text, found in the body that a customer's server gets; `None` when the event is not about a room, a
/// participant or a track.
pub fn correlation_of_delivery(body: &[u8]) -> Option<String> {
    let delivered: Delivered<'_> = serde_json::from_slice(body).ok()?;
    let Data { track, participant, room } = delivered.data;
    let sid = [track, participant, room].into_iter().flatten().find_map(|thing| thing.sid)?;
    Some(correlation(delivered.kind, sid))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::livekit_sender::Recorded;

    #[test]
    fn a_signature_is_the_one_that_livekit_made_to_the_byte() {
        let all = Recorded::all();
        assert_eq!(all.len(), 51);
        for recorded in all {
            let signed = Recorded::key().authorization(recorded.body.as_bytes(), recorded.issued_at());
            assert_eq!(signed, recorded.header("Authorization"), "{}", recorded.name);
            assert_eq!(recorded.header("Content-Type"), CONTENT_TYPE);
        }
    }

    #[test]
    fn a_delivery_tells_what_happened_to_whom() {
        for (body, correlation) in [
            (
                r#"{"id":"evt_1","type":"track_published","data":{"room":{"sid":"RM_1"},"participant":{"sid":"PA_1"},"track":{"sid":"TR_1"}}}"#,
                Some("track_published:TR_1"),
            ),
            (r#"{"type":"room_ended","data":{"room":{"name":"x","sid":"RM_1"}}}"#, Some("room_ended:RM_1")),
            (r#"{"type":"participant_left","data":{"participant":{"sid":"PA_1"}}}"#, Some("participant_left:PA_1")),
            (r#"{"type":"endpoint.disabled","data":{}}"#, None),
            ("no JSON", None),
        ] {
            assert_eq!(correlation_of_delivery(body.as_bytes()).as_deref(), correlation, "{body}");
        }
        assert_eq!(correlation("room_finished", "RM_1"), "room_ended:RM_1");
    }
}
