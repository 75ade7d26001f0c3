//! LiveKit's server API: Twirp, which is a `POST` of one protobuf message to one path, over the one client for everything
//! that leaves Pulse.
//!
//! Each call is signed with a token of its own that lives for a minute and can do just that.

mod decode;

use std::sync::Arc;

use async_trait::async_trait;
use http::{
    HeaderMap, HeaderValue,
    header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, TRANSFER_ENCODING},
};
use livekit_api::access_token::{Claims, VideoGrants};
use livekit_protocol as wire;
use prost::Message;
use serde::Deserialize;
use url::Url;

use super::{
    breaker::Breakers,
    cluster::{Signer, http_url},
    engine::{Egress, EngineError, Ingress, MediaEngine, Participant, Room},
    room::WireRoom,
    token::{self, TokenClaims},
};
use crate::{
    outbound::{Answer, FailureKind, Limits, Outbound, Request, Trust},
    time::Clock,
};

/// The life of a token for one call, in seconds. LiveKit grants a minute more.
const TOKEN_SECONDS: i64 = 60;
/// Pages of one list that are fetched at most. LiveKit of today gives all in one.
const MAX_PAGES: usize = 1_000;
/// How much of an error's words is kept, in bytes.
const MAX_WORDS: usize = 300;
const PROTOBUF: HeaderValue = HeaderValue::from_static("application/protobuf");

/// A LiveKit server, or a cluster behind one address.
#[derive(Clone)]
pub struct LiveKit {
    outbound: Outbound,
    signer: Signer,
    trust: Trust,
    clock: Arc<dyn Clock>,
    breakers: Option<Arc<Breakers>>,
}

impl std::fmt::Debug for LiveKit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LiveKit").field("url", &self.signer.url).field("trust", &self.trust).finish_non_exhaustive()
    }
}

impl LiveKit {
    /// The operator's own.
    pub fn own(outbound: Outbound, signer: Signer, clock: Arc<dyn Clock>) -> Self {
        Self { outbound, signer, trust: Trust::Operator, clock, breakers: None }
    }

    /// One that a customer named: under the rules for customers' addresses, and left alone for a while when it fails again
    /// and again.
    pub fn of_tenant(outbound: Outbound, signer: Signer, clock: Arc<dyn Clock>, breakers: Arc<Breakers>) -> Self {
        Self { trust: Trust::Tenant, breakers: Some(breakers), ..Self::own(outbound, signer, clock) }
    }

    /// Calls a method, unless this LiveKit is left alone just now.
    async fn call<T: Message + Default>(
        &self,
        method: &str,
        grants: VideoGrants,
        message: &impl Message,
    ) -> Result<T, EngineError> {
        let Some(breakers) = &self.breakers else { return self.post(method, grants, message).await };
        breakers.admit(&self.signer.url).map_err(EngineError::Resting)?;
        let answer = self.post(method, grants, message).await;
        match &answer {
            Err(error) if error.is_trouble() => breakers.failed(&self.signer.url),
            Ok(_) | Err(_) => breakers.succeeded(&self.signer.url),
        }
        answer
    }

    async fn post<T: Message + Default>(
        &self,
        method: &str,
        grants: VideoGrants,
        message: &impl Message,
    ) -> Result<T, EngineError> {
        let base = http_url(&self.signer.url);
        let url = format!("{}/twirp/livekit.{method}", base.trim_end_matches('/'));
        let url: Url = url.parse().map_err(|_| EngineError::Unreadable("its address cannot be read"))?;
        let request = Request::post(url, PROTOBUF, message.encode_to_vec())
            .header(AUTHORIZATION, self.authorization(grants)?)
            .trust(self.trust)
            .limits(Limits::SERVICE);
        let answer = self.outbound.exchange(&request).await.map_err(|failure| match failure.kind {
            FailureKind::Timeout(_) => EngineError::Timeout,
            _ => EngineError::Unreachable(failure),
        })?;
        if !answer.status.is_success() {
            return Err(refusal(&answer));
        }
        check_whole(&answer)?;
        T::decode(answer.body).map_err(|_| EngineError::Unreadable("it is no message of that kind"))
    }

    /// All rows of a list that comes in pages: `ask` makes the request for a page, `read` takes the answer apart.
    async fn all_pages<Q: Message, A: Message + Default, T>(
        &self,
        method: &str,
        grants: &VideoGrants,
        ask: impl Fn(Option<wire::TokenPagination>) -> Q,
        read: impl Fn(A) -> (Vec<T>, Option<wire::TokenPagination>),
    ) -> Result<Vec<T>, EngineError> {
        let (mut found, mut next) = (Vec::new(), None);
        for _ in 0..MAX_PAGES {
            let (rows, token) = read(self.call(method, grants.clone(), &ask(next)).await?);
            found.extend(rows);
            next = token.filter(|token| !token.token.is_empty());
            if next.is_none() {
                return Ok(found);
            }
        }
        Err(EngineError::Unreadable("the list has no end"))
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
        let claims = TokenClaims { livekit: claims, jti: String::new() };
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
        let names = names.unwrap_or_default().iter().map(|name| name.as_str().to_owned()).collect();
        let grants = VideoGrants { room_list: true, ..VideoGrants::default() };
        let request = wire::ListRoomsRequest { names };
        let listed: wire::ListRoomsResponse = self.call("RoomService/ListRooms", grants, &request).await?;
        Ok(listed.rooms.into_iter().map(decode::room).collect())
    }

    async fn list_participants(&self, room: &WireRoom) -> Result<Vec<Participant>, EngineError> {
        let request = wire::ListParticipantsRequest { room: room.as_str().to_owned() };
        let listed: wire::ListParticipantsResponse =
            self.call("RoomService/ListParticipants", in_room(room), &request).await?;
        Ok(listed.participants.into_iter().map(decode::participant).collect())
    }

    async fn remove_participant(&self, room: &WireRoom, identity: &str) -> Result<(), EngineError> {
        let request = wire::RoomParticipantIdentity {
            room: room.as_str().to_owned(),
            identity: identity.to_owned(),
            ..wire::RoomParticipantIdentity::default()
        };
        let _: wire::RemoveParticipantResponse =
            self.call("RoomService/RemoveParticipant", in_room(room), &request).await?;
        Ok(())
    }

    async fn list_egress(&self, active_only: bool) -> Result<Vec<Egress>, EngineError> {
        let grants = VideoGrants { room_record: true, ..VideoGrants::default() };
        let ask = |page_token| wire::ListEgressRequest {
            active: active_only,
            page_token,
            ..wire::ListEgressRequest::default()
        };
        let read = |page: wire::ListEgressResponse| (page.items, page.next_page_token);
        let items = self.all_pages("Egress/ListEgress", &grants, ask, read).await?;
        Ok(items.into_iter().map(decode::egress).collect())
    }

    async fn list_ingress(&self) -> Result<Vec<Ingress>, EngineError> {
        let grants = VideoGrants { ingress_admin: true, ..VideoGrants::default() };
        let ask = |page_token| wire::ListIngressRequest { page_token, ..wire::ListIngressRequest::default() };
        let read = |page: wire::ListIngressResponse| (page.items, page.next_page_token);
        let items = self.all_pages("Ingress/ListIngress", &grants, ask, read).await?;
        Ok(items.into_iter().map(decode::ingress).collect())
    }
}

/// Refuses an answer that may have lost its end on the way. A list of protobuf that is cut between two elements reads like a
/// shorter list, so its length must have been told, one way or the other.
fn check_whole(answer: &Answer) -> Result<(), EngineError> {
    let told = |headers: &HeaderMap| headers.contains_key(CONTENT_LENGTH) || headers.contains_key(TRANSFER_ENCODING);
    if answer.truncated {
        return Err(EngineError::Unreadable("it is too large"));
    }
    if !told(&answer.headers) {
        return Err(EngineError::Unreadable("it does not say where it ends"));
    }
    if answer.headers.get(CONTENT_TYPE) != Some(&PROTOBUF) {
        return Err(EngineError::Unreadable("it is not protobuf"));
    }
    Ok(())
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
