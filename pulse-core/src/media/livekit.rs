//! LiveKit's server API: Twirp, which is a `POST` of one message to one path, over the one client for everything that leaves
//! Pulse. Messages are written in JSON, like those of the webhooks, so that there is one reader for what LiveKit says.
//!
//! Each call is signed with a token of its own that lives for a minute and can do just that. What a list may come to is
//! bounded, for a customer's LiveKit much more narrowly: it may be anything that talks HTTP.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use http::{
    HeaderValue,
    header::{AUTHORIZATION, CONTENT_TYPE},
};
use livekit_api::access_token::{Claims, VideoGrants};
use serde::Deserialize;
use serde_json::{Value, json};
use url::Url;

use super::{
    breaker::Breakers,
    cluster::{Signer, http_url},
    engine::{Egress, EngineError, Ingress, MediaEngine, Participant, Room},
    event::{Page, Row},
    room::WireRoom,
    token::{self, TokenClaims},
};
use crate::{
    outbound::{Answer, FailureKind, Limits, Outbound, Request, Trust},
    time::Clock,
};

/// The life of a token for one call, in seconds. LiveKit grants a minute more.
const TOKEN_SECONDS: i64 = 60;
/// How much of an answer without content is read, in bytes. Errors come instead of one.
const MAX_EMPTY: usize = 64 * 1024;
/// How much of an error's words is kept, in bytes.
const MAX_WORDS: usize = 300;
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// What one list may come to, all of its pages together. LiveKit of today gives all in one.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    bytes: usize,
    rows: usize,
}

impl Bounds {
    /// Of a LiveKit that the operator runs: 90,000 rooms, or 30,000 people in one room. In a recorded list a room has 742
    /// bytes, and a person with a camera and a microphone 2,029.
    const OPERATOR: Self = Self { bytes: 64 * 1024 * 1024, rows: 200_000 };
    /// Of a customer's, several of which are asked at once: 11,000 rooms, or 4,000 people in one room, where LiveKit's own
    /// documentation ends at 3,000.
    const TENANT: Self = Self { bytes: 8 * 1024 * 1024, rows: 20_000 };
}

/// A LiveKit server, or a cluster behind one address.
#[derive(Clone)]
pub struct LiveKit {
    outbound: Outbound,
    signer: Signer,
    trust: Trust,
    clock: Arc<dyn Clock>,
    breakers: Option<Arc<Breakers>>,
    bounds: Bounds,
}

impl std::fmt::Debug for LiveKit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LiveKit").field("url", &self.signer.url).field("trust", &self.trust).finish_non_exhaustive()
    }
}

impl LiveKit {
    /// The operator's own.
    pub fn own(outbound: Outbound, signer: Signer, clock: Arc<dyn Clock>) -> Self {
        Self { outbound, signer, trust: Trust::Operator, clock, breakers: None, bounds: Bounds::OPERATOR }
    }

    /// One that a customer named: under the rules for customers' addresses, and left alone for a while when it fails again
    /// and again.
    pub fn of_tenant(outbound: Outbound, signer: Signer, clock: Arc<dyn Clock>, breakers: Arc<Breakers>) -> Self {
        let bounds = Bounds::TENANT;
        Self { trust: Trust::Tenant, breakers: Some(breakers), bounds, ..Self::own(outbound, signer, clock) }
    }

    /// Calls a method, unless this LiveKit is left alone just now, for an answer of at most so many bytes.
    async fn call(
        &self,
        method: &str,
        grants: VideoGrants,
        message: &Value,
        max_answer: usize,
    ) -> Result<Bytes, EngineError> {
        let Some(breakers) = &self.breakers else { return self.post(method, grants, message, max_answer).await };
        breakers.admit(&self.signer.url).map_err(EngineError::Resting)?;
        let answer = self.post(method, grants, message, max_answer).await;
        match &answer {
            Err(error) if error.is_trouble() => breakers.failed(&self.signer.url),
            Ok(_) | Err(_) => breakers.succeeded(&self.signer.url),
        }
        answer
    }

    async fn post(
        &self,
        method: &str,
        grants: VideoGrants,
        message: &Value,
        max_answer: usize,
    ) -> Result<Bytes, EngineError> {
        let base = http_url(&self.signer.url);
        let url = format!("{}/twirp/livekit.{method}", base.trim_end_matches('/'));
        let url: Url = url.parse().map_err(|_| EngineError::Unreadable("its address cannot be read"))?;
        let request = Request::post(url, JSON, message.to_string())
            .header(AUTHORIZATION, self.authorization(grants)?)
            .trust(self.trust)
            .limits(Limits { max_answer, ..Limits::SERVICE });
        let answer = self.outbound.exchange(&request).await.map_err(|failure| match failure.kind {
            FailureKind::Timeout(_) => EngineError::Timeout,
            _ => EngineError::Unreachable(failure),
        })?;
        if !answer.status.is_success() {
            return Err(refusal(&answer));
        }
        if answer.truncated {
            return Err(EngineError::TooLarge);
        }
        if answer.headers.get(CONTENT_TYPE) != Some(&JSON) {
            return Err(EngineError::Unreadable("it is not JSON"));
        }
        Ok(answer.body)
    }

    /// All rows of a list, page by page.
    async fn list<T: Row>(&self, method: &str, grants: VideoGrants, mut message: Value) -> Result<Vec<T>, EngineError> {
        let Bounds { mut bytes, rows } = self.bounds;
        let mut found = Vec::new();
        loop {
            let answer = self.call(method, grants.clone(), &message, bytes).await?;
            // Every page has at least one byte, so there is an end.
            bytes = bytes.saturating_sub(answer.len());
            let page = Page::read(&answer, rows - found.len(), self.clock.now());
            let page = page.ok_or(EngineError::Unreadable("it is no list of that kind, or too long"))?;
            found.extend(page.rows);
            let Some(token) = page.next else { return Ok(found) };
            message["page_token"] = json!({ "token": token });
        }
    }

    fn authorization(&self, video: VideoGrants) -> Result<HeaderValue, EngineError> {
        let now = self.clock.now().as_secs();
        let seconds = |seconds: i64| usize::try_from(seconds).unwrap_or_default();
        let claims = Claims {
            iss: self.signer.api_key.clone(),
            nbf: seconds(now),
            exp: seconds(now + TOKEN_SECONDS),
            video,
            ..Claims::default()
        };
        let claims = TokenClaims { livekit: claims, jti: String::new(), max_ttl_seconds: None };
        let unsigned = EngineError::PermissionDenied;
        let token = token::sign(&self.signer, &claims).map_err(|_| unsigned.clone())?;
        let mut value = HeaderValue::try_from(format!("Bearer {token}")).map_err(|_| unsigned)?;
        value.set_sensitive(true);
        Ok(value)
    }
}

/// What may be done in one room.
fn in_room(room: &WireRoom) -> VideoGrants {
    VideoGrants { room_admin: true, room: room.as_str().to_owned(), ..VideoGrants::default() }
}

#[async_trait]
impl MediaEngine for LiveKit {
    async fn list_rooms(&self, names: Option<&[WireRoom]>) -> Result<Vec<Room>, EngineError> {
        // No names at all would mean all rooms.
        if names.is_some_and(<[_]>::is_empty) {
            return Ok(Vec::new());
        }
        let names: Vec<&str> = names.unwrap_or_default().iter().map(WireRoom::as_str).collect();
        let grants = VideoGrants { room_list: true, ..VideoGrants::default() };
        self.list("RoomService/ListRooms", grants, json!({ "names": names })).await
    }

    async fn list_participants(&self, room: &WireRoom) -> Result<Vec<Participant>, EngineError> {
        self.list("RoomService/ListParticipants", in_room(room), json!({ "room": room.as_str() })).await
    }

    async fn remove_participant(&self, room: &WireRoom, identity: &str) -> Result<(), EngineError> {
        let message = json!({ "room": room.as_str(), "identity": identity });
        self.call("RoomService/RemoveParticipant", in_room(room), &message, MAX_EMPTY).await.map(drop)
    }

    async fn list_egress(&self, active_only: bool) -> Result<Vec<Egress>, EngineError> {
        let grants = VideoGrants { room_record: true, ..VideoGrants::default() };
        self.list("Egress/ListEgress", grants, json!({ "active": active_only })).await
    }

    async fn list_ingress(&self) -> Result<Vec<Ingress>, EngineError> {
        let grants = VideoGrants { ingress_admin: true, ..VideoGrants::default() };
        self.list("Ingress/ListIngress", grants, json!({})).await
    }
}

/// An error of Twirp: JSON, whatever the request was.
#[derive(Deserialize)]
struct TwirpError {
    code: String,
    #[serde(default)]
    msg: String,
}

/// What a refusal means. A status alone, without Twirp's words, is the word of something between Pulse and LiveKit.
fn refusal(answer: &Answer) -> EngineError {
    let status = answer.status.as_u16();
    let Ok(TwirpError { code, msg }) = serde_json::from_slice(&answer.body) else {
        return match status {
            401 | 403 => EngineError::PermissionDenied,
            502..=504 => EngineError::Unavailable(format!("status {status}")),
            _ => EngineError::Other { code: format!("http_{status}"), message: String::new() },
        };
    };
    let message = shortened(msg);
    match code.as_str() {
        "not_found" => EngineError::NotFound,
        "unavailable" | "resource_exhausted" => EngineError::Unavailable(message),
        "deadline_exceeded" => EngineError::Timeout,
        "unauthenticated" | "permission_denied" => EngineError::PermissionDenied,
        // `ErrEgressNotConnected` and `ErrIngressNotConnected` of livekit-server: "egress not connected (redis required)".
        "internal" if message.contains("redis required") => EngineError::NeedsRedis,
        _ => EngineError::Other { code: shortened(code), message },
    }
}

fn shortened(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(MAX_WORDS));
    text
}

#[cfg(test)]
mod tests;
