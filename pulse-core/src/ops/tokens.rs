//! Media tokens: create, validate, refresh, revoke, and the token source that stock LiveKit SDKs call.
//!
//! Making, validating and refreshing change nothing and write nothing; they are counted in the metrics.

mod mint;
mod revoke;
mod validate;

use std::{collections::BTreeMap, time::Duration};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub use revoke::RevokeTokens;
pub use validate::{Reason, ReasonCode, ShownClaims, ValidateToken, Validation};

use crate::{
    access::Permission,
    error::{Code, Error, Result},
    id::ProjectId,
    media::{
        cluster::signer_of,
        grants::TrackSource,
        room::{DisplayName, Identity, RoomName},
        token::{self, Jti},
    },
    model::{
        ban::Ban,
        project::ProjectState,
        text::{PresetName, RegionName},
    },
    op::{Cx, Meta, Operation, Planned, Scope},
    secret::SecretText,
    time::Timestamp,
};

/// A media token and where to use it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct MediaToken {
    /// The JWT, for the client that joins.
    pub token: SecretText,
    /// Where the client connects.
    pub server_url: String,
    /// The room, as the customer knows it.
    pub room_name: RoomName,
    /// Who joins.
    pub identity: Identity,
    /// The project's region.
    pub region: RegionName,
    /// Where else the client may connect.
    pub fallback_urls: Vec<String>,
    /// When the token ends. A client that is connected then stays connected.
    pub expires_at: Timestamp,
}

/// Make a token with which a client joins a room.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateToken {
    /// The project; a project's key implies it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project_id: Option<ProjectId>,
    /// The room.
    pub room_name: RoomName,
    /// Who joins: unique in the room.
    pub identity: Identity,
    /// What the participant is called.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<DisplayName>,
    /// A named set of grants: `host`, `speaker`, `viewer`, or the project's own. Other fields narrow it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preset: Option<PresetName>,
    /// Send audio and video; true when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub can_publish: Option<bool>,
    /// Receive audio and video; true when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub can_subscribe: Option<bool>,
    /// Send data messages; as `can_publish` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub can_publish_data: Option<bool>,
    /// Which tracks may be sent; all when absent or empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 4))]
    pub can_publish_sources: Option<Vec<TrackSource>>,
    /// Be in the room without being shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hidden: Option<bool>,
    /// A text that other participants see, at most 64,000 bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64_000))]
    pub metadata: Option<String>,
    /// Texts that other participants see. Keys that begin with `pulse.` or `lk.` are Pulse's and LiveKit's own.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 64))]
    pub attributes: BTreeMap<String, String>,
    /// The life of the token in seconds; 14,400 when absent, bounded by the project, the key and the preset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 2_592_000))]
    pub ttl_seconds: Option<u32>,
    /// The region in which the client wants to connect; must be the project's until there are more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<RegionName>,
    /// LiveKit's room configuration, for a room that the join creates. At most 16,384 bytes;
    /// egress is refused: it could show storage secrets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub room_config: Option<Map<String, Value>>,
}

impl Operation for CreateToken {
    type Output = MediaToken;
    const META: Meta = Meta::query(
        "tokens.create",
        "/v1/tokens/create",
        &[Permission::TokensMint],
        "Make a token with which a client joins a room",
    )
    .creates()
    .reveals();

    fn scope(&self) -> Scope {
        Scope::CallerProject(self.project_id)
    }

    async fn plan(&self, cx: &Cx<'_>) -> Result<Planned<MediaToken>> {
        check_ban(cx, self.identity.as_str(), &self.room_name).await?;
        let minted = mint::mint(cx, self)?;
        cx.parts.metrics.tokens.with_label_values(&["create"]).inc();
        Ok(Planned::read(minted))
    }
}

/// Replace a token by one that ends later. The token must be unexpired, made by Pulse for this project, and not revoked.
/// What the project and the calling key allow today bounds the new token, and so does the longest life that the preset
/// allowed which the first token was made with: it holds however often a token is refreshed.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RefreshToken {
    /// The project; a project's key implies it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project_id: Option<ProjectId>,
    /// The token.
    pub token: TokenText,
    /// The life of the new token in seconds, bounded by the project, the key, and the preset of the token that was
    /// created; that of the old one, within the same bounds, when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 2_592_000))]
    pub ttl_seconds: Option<u32>,
}

/// A JWT in a request.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(inline)]
pub struct TokenText(#[schemars(length(min = 1, max = 262_144))] pub String);

impl std::fmt::Debug for TokenText {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("<token>")
    }
}

impl Operation for RefreshToken {
    type Output = MediaToken;
    const META: Meta = Meta::query(
        "tokens.refresh",
        "/v1/tokens/refresh",
        &[Permission::TokensMint],
        "Replace a token by one that ends later",
    )
    .creates()
    .reveals();

    fn scope(&self) -> Scope {
        Scope::CallerProject(self.project_id)
    }

    async fn plan(&self, cx: &Cx<'_>) -> Result<Planned<MediaToken>> {
        cx.tenant()?.check_usable()?;
        let verdict = validate::judge(cx, &self.token.0).await?;
        let judged = match (verdict.reasons.first(), verdict.judged) {
            (None, Some(judged)) => judged,
            (reason, _) => {
                let why = reason.map_or_else(|| "it is not valid".to_owned(), |reason| reason.detail.clone());
                return Err(Error::invalid_field("token", "not_refreshable", format!("cannot be refreshed: {why}")));
            }
        };
        let minted = mint::refresh(cx, judged, self.ttl_seconds)?;
        cx.parts.metrics.tokens.with_label_values(&["refresh"]).inc();
        Ok(Planned::read(minted))
    }
}

/// What stock LiveKit client SDKs send to a token endpoint. For backends: it needs a project's key.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct TokenSource {
    /// The room; a new one with a random name when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub room_name: Option<RoomName>,
    /// Who joins; a random identity when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub participant_identity: Option<Identity>,
    /// What the participant is called.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub participant_name: Option<DisplayName>,
    /// A text that other participants see, at most 64,000 bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64_000))]
    pub participant_metadata: Option<String>,
    /// Texts that other participants see.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub participant_attributes: Option<BTreeMap<String, String>>,
    /// LiveKit's room configuration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub room_config: Option<Map<String, Value>>,
}

/// What stock LiveKit client SDKs expect of a token endpoint.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TokenSourceAnswer {
    /// Where the client connects.
    pub server_url: String,
    /// The JWT.
    pub participant_token: SecretText,
}

impl Operation for TokenSource {
    type Output = TokenSourceAnswer;
    const META: Meta = Meta::query(
        "tokens.source",
        "/v1/token-source",
        &[Permission::TokensMint],
        "Make a token in the shape that stock LiveKit SDKs call",
    )
    .creates()
    .reveals()
    .lenient();

    fn scope(&self) -> Scope {
        Scope::OwnProject
    }

    async fn plan(&self, cx: &Cx<'_>) -> Result<Planned<TokenSourceAnswer>> {
        let random = |prefix: &str| format!("{prefix}-{}", Jti::first(cx.now, cx.parts.entropy.as_ref()).family_text());
        let request = CreateToken {
            project_id: None,
            room_name: match &self.room_name {
                Some(room) => room.clone(),
                None => random("room").parse().map_err(Error::internal)?,
            },
            identity: match &self.participant_identity {
                Some(identity) => identity.clone(),
                None => random("user").parse().map_err(Error::internal)?,
            },
            name: self.participant_name.clone(),
            preset: None,
            can_publish: None,
            can_subscribe: None,
            can_publish_data: None,
            can_publish_sources: None,
            hidden: None,
            metadata: self.participant_metadata.clone(),
            attributes: self.participant_attributes.clone().unwrap_or_default(),
            ttl_seconds: None,
            region: None,
            room_config: self.room_config.clone(),
        };
        check_ban(cx, request.identity.as_str(), &request.room_name).await?;
        let minted = mint::mint(cx, &request)?;
        cx.parts.metrics.tokens.with_label_values(&["token_source"]).inc();
        Ok(Planned::read(TokenSourceAnswer { server_url: minted.server_url, participant_token: minted.token }))
    }
}

/// Refuses an identity that is banned from the room.
async fn check_ban(cx: &Cx<'_>, identity: &str, room: &RoomName) -> Result<()> {
    match ban_of(cx, identity, room).await? {
        None => Ok(()),
        Some(ban) => {
            Err(Error::new(Code::Banned, format!("{identity} is banned from the room {room} (ban {})", ban.id)))
        }
    }
}

/// The ban that keeps an identity out of the room now.
async fn ban_of(cx: &Cx<'_>, identity: &str, room: &RoomName) -> Result<Option<Ban>> {
    let project = cx.tenant()?.project.id;
    // What a key remembers of its project may be a moment old: a ban holds from the moment at which it is made.
    if !cx.parts.keyring.tenant(project).await?.is_some_and(|tenant| tenant.project.has_bans) {
        return Ok(None);
    }
    cx.parts.bans.keeping_out(project, identity, room, cx.now).await
}

/// Refuses when the caller is a key that is bound to other rooms; `None` stands for tokens of every room.
fn check_room(cx: &Cx<'_>, room: Option<&RoomName>) -> Result<()> {
    super::bounds::check_room(cx, "tokens", room)
}

/// The longest life that the project allows, in seconds.
fn project_ceiling(cx: &Cx<'_>) -> Result<u32> {
    let own = cx.tenant()?.project.limits.max_token_ttl_seconds.unwrap_or(token::DEFAULT_MAX_TTL_SECONDS);
    // Revocations are kept no longer than this: a token that lived on would be good again.
    Ok(own.min(token::ABSOLUTE_MAX_TTL_SECONDS))
}

/// `seconds` after the time of this plan, to the second, as JWTs count.
fn end_of(cx: &Cx<'_>, seconds: u32) -> Timestamp {
    Timestamp::from_secs(cx.now.as_secs()).plus(Duration::from_secs(seconds.into()))
}
