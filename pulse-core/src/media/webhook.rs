//! Whether a webhook comes from a LiveKit that has one of our keys, and is what that LiveKit sent.
//!
//! LiveKit's `Authorization` is a JWT by itself, without `Bearer`: HS256 with the secret of the key that `iss` names, and
//! the claim `sha256` with the hash of the raw body. Own code, because LiveKit's crate knows a single key, reads the
//! system's clock and compares hashes in variable time. Here every comparison of a signature or a hash takes the same
//! time wherever the two differ, and nothing of the body is looked at before it is known to be LiveKit's.

use std::{fmt, sync::Arc, time::Duration};

use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use hmac::{Hmac, Mac};
use serde::Deserialize;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::{secret::Secret, time::Timestamp};

/// How far LiveKit's clock may be from ours.
pub const LEEWAY: Duration = Duration::from_secs(60);
/// The longest `Authorization` that is looked at, in bytes; LiveKit's have about 300.
pub const MAX_AUTHORIZATION_BYTES: usize = 8_192;

/// The keys that webhooks may be signed with. While a secret is replaced, one key may stand here with both.
#[derive(Clone)]
#[expect(missing_debug_implementations, reason = "holds secrets")]
pub struct WebhookKeys(Arc<[(String, Secret)]>);

impl WebhookKeys {
    /// Keys by name, with their secrets. A pair whose name or secret is empty, as settings that are not set are, opens
    /// nothing and is left out.
    pub fn new(pairs: Vec<(String, Secret)>) -> Self {
        Self(pairs.into_iter().filter(|(name, secret)| !name.is_empty() && !secret.expose().is_empty()).collect())
    }

    /// Whether there is none, so that every webhook is refused.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn secrets(&self, name: &str) -> Vec<&Secret> {
        self.0.iter().filter(|(own, _)| own == name).map(|(_, secret)| secret).collect()
    }
}

/// What is known of a webhook that is LiveKit's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verified {
    /// Our clock less LiveKit's, in milliseconds. With equal clocks it is 0 to 1,000 and the time under way, for LiveKit
    /// cuts its time to seconds, and up to half a minute more when it has tried before: the least of many tells the skew.
    pub skew: i64,
}

/// Why a webhook is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// It has no `Authorization`.
    MissingAuthorization,
    /// Its `Authorization` is not a JWT of LiveKit's kind.
    Malformed,
    /// No key of ours has the name that it gives.
    UnknownKey,
    /// It was not signed with our secret of that key.
    BadSignature,
    /// It was signed for another body, or for none, as tokens of participants are.
    BodyMismatch,
    /// It was signed too long ago: it was sent once more, or a clock is wrong.
    Expired {
        /// Our clock less LiveKit's, in milliseconds.
        skew: i64,
    },
    /// It was signed in the future: a clock is wrong.
    NotYetValid {
        /// Our clock less LiveKit's, in milliseconds: below 0.
        skew: i64,
    },
}

impl Refusal {
    /// A stable word, for metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::MissingAuthorization => "missing_authorization",
            Self::Malformed => "malformed",
            Self::UnknownKey => "unknown_key",
            Self::BadSignature => "bad_signature",
            Self::BodyMismatch => "body_mismatch",
            Self::Expired { .. } => "expired",
            Self::NotYetValid { .. } => "not_yet_valid",
        }
    }

    /// How far the clocks are apart, where that is why, as in [`Verified::skew`]. Only LiveKit can say so: what somebody
    /// else presents is refused for another reason first.
    pub fn skew(self) -> Option<i64> {
        match self {
            Self::Expired { skew } | Self::NotYetValid { skew } => Some(skew),
            Self::MissingAuthorization
            | Self::Malformed
            | Self::UnknownKey
            | Self::BadSignature
            | Self::BodyMismatch => None,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl std::error::Error for Refusal {}

/// Claims; times are whole seconds since 1970.
#[derive(Deserialize)]
struct Claims {
    iss: String,
    exp: i64,
    nbf: Option<i64>,
    iat: Option<i64>,
    sha256: Option<String>,
}

/// The `Authorization` of a webhook, read and not yet believed.
#[expect(missing_debug_implementations, reason = "holds a token")]
pub struct Presented<'a> {
    signed: &'a [u8],
    claims: Claims,
    signature: Vec<u8>,
    issued_at: Timestamp,
}

impl<'a> Presented<'a> {
    /// Reads the value of the header as it came.
    ///
    /// # Errors
    /// `MissingAuthorization` and `Malformed`, which need no key.
    pub fn read(authorization: Option<&'a [u8]>) -> Result<Self, Refusal> {
        let token = authorization.filter(|value| !value.is_empty()).ok_or(Refusal::MissingAuthorization)?;
        let (signed, claims, signature) = take_apart(token).ok_or(Refusal::Malformed)?;
        let issued_at = claims.iat.or(claims.nbf).map(Timestamp::from_secs).ok_or(Refusal::Malformed)?;
        Ok(Self { signed, claims, signature, issued_at })
    }

    /// Judges it, and the raw body that came with it.
    ///
    /// # Errors
    /// The first of the other [`Refusal`]s that holds, in the order in which they are declared: the clocks are compared
    /// only for what LiveKit itself has signed for this body.
    pub fn judge(&self, keys: &WebhookKeys, body: &[u8], now: Timestamp) -> Result<Verified, Refusal> {
        let Self { signed, claims, signature, issued_at } = self;
        let secrets = keys.secrets(&claims.iss);
        if secrets.is_empty() {
            return Err(Refusal::UnknownKey);
        }
        if !secrets.iter().any(|secret| mac(secret, signed).verify_slice(signature).is_ok()) {
            return Err(Refusal::BadSignature);
        }
        let hash = claims.sha256.as_ref().and_then(|text| STANDARD.decode(text).ok()).unwrap_or_default();
        if !bool::from(hash.ct_eq(&Sha256::digest(body))) {
            return Err(Refusal::BodyMismatch);
        }
        let skew = now.as_millis() - issued_at.as_millis();
        if now > Timestamp::from_secs(claims.exp).plus(LEEWAY) {
            return Err(Refusal::Expired { skew });
        }
        if now < claims.nbf.map_or(*issued_at, Timestamp::from_secs).minus(LEEWAY) {
            return Err(Refusal::NotYetValid { skew });
        }
        Ok(Verified { skew })
    }
}

/// Judges a webhook by its `Authorization` header and its raw body.
///
/// # Errors
/// The first of the [`Refusal`]s that holds, in the order in which they are declared.
pub fn verify(
    keys: &WebhookKeys,
    authorization: Option<&[u8]>,
    body: &[u8],
    now: Timestamp,
) -> Result<Verified, Refusal> {
    Presented::read(authorization)?.judge(keys, body, now)
}

/// A token's signed part, its claims and its signature. `None`: not a JWT, or not one with HS256.
fn take_apart(token: &[u8]) -> Option<(&[u8], Claims, Vec<u8>)> {
    if token.len() > MAX_AUTHORIZATION_BYTES {
        return None;
    }
    let mut parts = token.split(|byte| *byte == b'.');
    let (header, claims, signature) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() {
        return None;
    }
    let read: Map<String, Value> = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(header).ok()?).ok()?;
    // `crit` lists extensions that a reader has to know, and we know none.
    if read.get("alg")? != "HS256" || read.contains_key("crit") {
        return None;
    }
    let signed = &token[..header.len() + 1 + claims.len()];
    let claims = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).ok()?).ok()?;
    Some((signed, claims, URL_SAFE_NO_PAD.decode(signature).ok()?))
}

#[expect(clippy::expect_used, reason = "HMAC takes keys of every length")]
fn mac(secret: &Secret, message: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(secret.expose().as_bytes()).expect("a key of any length").chain_update(message)
}

#[cfg(test)]
mod tests;
