//! Media tokens: JWTs (HS256) that LiveKit accepts, with LiveKit's own claim types and a `jti` beside them.
//!
//! `jti` is `<family>.<n>`: a refreshed token keeps the family and counts up, so revoking one revokes the family.

use std::collections::BTreeMap;

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use livekit_api::access_token::Claims;
use serde::{Deserialize, Serialize};
use ulid::Ulid;

use super::cluster::Signer;
use crate::{
    entropy::Entropy,
    error::{Error, Result},
    time::Timestamp,
};

/// Attribute with the project's id. Information for whoever looks at a participant: the authority is the room's name.
pub const PROJECT_ATTRIBUTE: &str = "pulse.project_id";
/// Attribute with the token's `jti`, because LiveKit drops the claim itself when it renews a client's token.
pub const JTI_ATTRIBUTE: &str = "pulse.jti";
/// The life of a token when the request does not say, in seconds.
pub const DEFAULT_TTL_SECONDS: u32 = 14_400;
/// The longest life of a token when the project does not say, in seconds.
pub const DEFAULT_MAX_TTL_SECONDS: u32 = 86_400;
/// The longest life that a project can allow, in seconds: 30 days.
pub const ABSOLUTE_MAX_TTL_SECONDS: u32 = 2_592_000;
/// For how long after `exp` LiveKit still lets a token in, in seconds (go-jose's default leeway).
pub const LIVEKIT_LEEWAY_SECONDS: i64 = 60;
/// The longest token that is looked at, in bytes.
pub const MAX_TOKEN_BYTES: usize = 262_144;

/// LiveKit's claims, the `jti` that its own types lack, and what Pulse alone reads.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TokenClaims {
    /// LiveKit's claims.
    #[serde(flatten)]
    pub livekit: Claims,
    /// The token's id.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub jti: String,
    /// The longest life that the preset allows which the token was made with, in seconds. It holds for every token that
    /// is refreshed from it: the token does not say which preset that was, and the preset may have been changed since.
    #[serde(rename = "pulse_max_ttl", default, skip_serializing_if = "Option::is_none")]
    pub max_ttl_seconds: Option<u32>,
}

/// A token's id: a family of refreshed tokens, and which of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Jti {
    /// The family; its ULID tells when the first token was made.
    pub family: Ulid,
    /// 0 for the first, one more with each refresh.
    pub count: u32,
}

impl Jti {
    /// The first of a new family.
    pub fn first(now: Timestamp, entropy: &dyn Entropy) -> Self {
        let mut random = [0_u8; 16];
        entropy.fill(&mut random);
        Self { family: Ulid::from_parts(now.as_millis().unsigned_abs(), u128::from_be_bytes(random)), count: 0 }
    }

    /// The next of the family.
    #[must_use]
    pub fn next(self) -> Self {
        Self { count: self.count.saturating_add(1), ..self }
    }

    /// When the first of the family was made.
    pub fn issued_at(self) -> Timestamp {
        Timestamp::from_millis(i64::try_from(self.family.timestamp_ms()).unwrap_or(i64::MAX))
    }

    /// Reads `<family>.<n>`.
    pub fn parse(text: &str) -> Option<Self> {
        let (family, count) = text.split_once('.')?;
        let parsed = Self { family: Ulid::from_string(family).ok()?, count: count.parse().ok()? };
        (parsed.to_string() == text).then_some(parsed)
    }

    /// The id of the token with which somebody joined who has these attributes, when Pulse made it.
    pub fn shown_in(attributes: &BTreeMap<String, String>) -> Option<Self> {
        attributes.get(JTI_ATTRIBUTE).and_then(|text| Self::parse(text))
    }

    /// The family's text.
    pub fn family_text(self) -> String {
        self.family.array_to_str(&mut [0; ulid::ULID_LEN]).to_owned()
    }
}

impl std::fmt::Display for Jti {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.family.array_to_str(&mut [0; ulid::ULID_LEN]), self.count)
    }
}

/// Signs the claims.
pub fn sign(signer: &Signer, claims: &TokenClaims) -> Result<String> {
    let key = EncodingKey::from_secret(signer.api_secret.expose().as_bytes());
    jsonwebtoken::encode(&Header::new(Algorithm::HS256), claims, &key).map_err(Error::internal)
}

/// Reads the claims without checking anything, for looking at a token offline.
pub fn decode_unverified(token: &str) -> Option<TokenClaims> {
    if token.len() > MAX_TOKEN_BYTES {
        return None;
    }
    Some(jsonwebtoken::dangerous::insecure_decode::<TokenClaims>(token).ok()?.claims)
}

/// Reads the claims when the signature is the signer's; times are the caller's business. `None`: another signature,
/// another algorithm, or not a token at all.
pub fn decode_signed(signer: &Signer, token: &str) -> Option<TokenClaims> {
    if token.len() > MAX_TOKEN_BYTES {
        return None;
    }
    let mut validation = Validation::new(Algorithm::HS256);
    validation.validate_exp = false;
    validation.validate_nbf = false;
    validation.validate_aud = false;
    validation.required_spec_claims.clear();
    validation.set_issuer(&[&signer.api_key]);
    let key = DecodingKey::from_secret(signer.api_secret.expose().as_bytes());
    Some(jsonwebtoken::decode::<TokenClaims>(token, &key, &validation).ok()?.claims)
}
