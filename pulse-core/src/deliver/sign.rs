//! Signatures of webhooks after Standard Webhooks 1.0
//! (<https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md>): HMAC-SHA-256 over
//! `{id}.{timestamp}.{body}`, one for each live secret, so that a receiver who knows the old or the new one is content.
//!
//! A secret keeps its keyed state ready and a body may come in pieces: signing copies no body and derives no key.

use std::time::Duration;

use base64::{
    Engine, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig, general_purpose::STANDARD},
};
use hmac::{Hmac, Mac};
use sha2::Sha256;
use subtle::{Choice, ConstantTimeEq};
use zeroize::Zeroizing;

use crate::{entropy::Entropy, model::text::Refused, secret::Secret, time::Timestamp};

/// The header with the message's id, the same on every attempt.
pub const ID_HEADER: &str = "webhook-id";
/// The header with the moment of the attempt, in seconds since 1970.
pub const TIMESTAMP_HEADER: &str = "webhook-timestamp";
/// The header with the signatures, a space between two.
pub const SIGNATURE_HEADER: &str = "webhook-signature";
/// What the text of every secret begins with.
pub const SECRET_PREFIX: &str = "whsec_";
/// The least and the most bytes of a secret (the specification's own bounds).
pub const SECRET_BYTES: std::ops::RangeInclusive<usize> = 24..=64;
/// The most secrets that a message is signed with.
pub const MAX_SECRETS: usize = 5;
/// How far a message's time may be from the receiver's (what the official libraries allow).
pub const TOLERANCE: Duration = Duration::from_secs(300);

/// Bytes of a secret that is made here.
const FRESH_BYTES: usize = 32;
/// The block of SHA-256, to which HMAC fills a shorter key with zeros (RFC 2104): no secret is longer.
const BLOCK_BYTES: usize = 64;
/// Other people's base64 may come without its padding.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A secret that sender and receiver share. It has no `Debug` and no `Serialize`: its text is in [`SigningSecret::text`].
#[derive(Clone)]
#[expect(missing_debug_implementations, reason = "a secret must not be printable")]
pub struct SigningSecret {
    key: Zeroizing<Vec<u8>>,
    keyed: Hmac<Sha256>,
}

impl SigningSecret {
    /// A new secret of 32 bytes.
    pub fn generate(entropy: &dyn Entropy) -> Self {
        let mut key = Zeroizing::new(vec![0; FRESH_BYTES]);
        entropy.fill(&mut key);
        Self::of(key)
    }

    /// Reads `whsec_` and standard base64 of 24 to 64 bytes, with or without padding.
    ///
    /// # Errors
    /// What is wrong, without the text.
    pub fn parse(text: &str) -> Result<Self, Refused> {
        let encoded = text
            .strip_prefix(SECRET_PREFIX)
            .ok_or_else(|| Refused(format!("a signing secret begins with {SECRET_PREFIX}")))?;
        let key = LENIENT.decode(encoded).map(Zeroizing::new);
        let key = key.map_err(|_| Refused(format!("after {SECRET_PREFIX}, a signing secret is standard base64")))?;
        if !SECRET_BYTES.contains(&key.len()) {
            let (least, most) = SECRET_BYTES.into_inner();
            return Err(Refused(format!("a signing secret has {least} to {most} bytes")));
        }
        Ok(Self::of(key))
    }

    /// From at most [`BLOCK_BYTES`].
    fn of(key: Zeroizing<Vec<u8>>) -> Self {
        let mut block = Zeroizing::new([0_u8; BLOCK_BYTES]);
        block.iter_mut().zip(key.iter()).for_each(|(to, from)| *to = *from);
        Self { keyed: Hmac::new((&*block).into()), key }
    }

    /// The secret as the receiver gets it: `whsec_` and padded base64.
    pub fn text(&self) -> Secret {
        let mut text = SECRET_PREFIX.to_owned();
        STANDARD.encode_string(&*self.key, &mut text);
        Secret::new(text)
    }

    fn digest(&self, message: &Message<'_>) -> [u8; 32] {
        let timestamp = message.timestamp.to_string();
        let mut mac = self.keyed.clone();
        for part in [message.id, ".", &timestamp, "."] {
            mac.update(part.as_bytes());
        }
        message.body.iter().for_each(|piece| mac.update(piece));
        mac.finalize().into_bytes().into()
    }
}

/// What a signature is over.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    /// The id, without a full stop in it.
    pub id: &'a str,
    /// When it is sent, in seconds since 1970.
    pub timestamp: i64,
    /// The body, in pieces that are sent one after the other.
    pub body: &'a [&'a [u8]],
}

/// The value of `webhook-signature`: a signature with each of the first [`MAX_SECRETS`] secrets, which come newest first.
pub fn sign<'a>(secrets: impl IntoIterator<Item = &'a SigningSecret>, message: &Message<'_>) -> String {
    let mut header = String::new();
    for secret in secrets.into_iter().take(MAX_SECRETS) {
        header.push_str(if header.is_empty() { "v1," } else { " v1," });
        STANDARD.encode_string(secret.digest(message), &mut header);
    }
    header
}

/// Why a message is not to be believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VerifyFault {
    /// The header has no signature of a kind that is known here.
    #[error("the header has no v1 signature")]
    NoSignature,
    /// There are signatures, and none is right.
    #[error("no signature fits: the body, the id or the timestamp is not what was signed, or the secret is another")]
    Mismatch,
    /// It is from too long ago: somebody may be sending it again.
    #[error("it was signed {age_seconds} s ago, which is too long")]
    TooOld {
        /// Its age.
        age_seconds: i64,
    },
    /// It is from the future: a clock is wrong.
    #[error("it was signed {ahead_seconds} s in the future: a clock is wrong")]
    TooNew {
        /// How far ahead it is.
        ahead_seconds: i64,
    },
}

/// Checks a message as its receiver does: one of the signatures in `header` is right under one of the secrets, and its
/// time is at most `tolerance` from `now`.
///
/// # Errors
/// Why it is not to be believed; a wrong signature before a wrong time.
pub fn verify(
    secrets: &[SigningSecret],
    message: &Message<'_>,
    header: &str,
    now: Timestamp,
    tolerance: Duration,
) -> Result<(), VerifyFault> {
    check_signature(secrets, message, header)?;
    check_time(message.timestamp, now, tolerance)
}

/// Whether one of the `v1` signatures in `header` is right under one of the secrets. Other versions and malformed ones are
/// passed by. Each comparison takes the same time wherever the two differ.
///
/// # Errors
/// [`VerifyFault::NoSignature`] or [`VerifyFault::Mismatch`].
pub fn check_signature(secrets: &[SigningSecret], message: &Message<'_>, header: &str) -> Result<(), VerifyFault> {
    let digests: Vec<[u8; 32]> = secrets.iter().map(|secret| secret.digest(message)).collect();
    let (mut seen, mut right) = (false, Choice::from(0));
    for signature in header.split_ascii_whitespace().filter_map(|text| text.strip_prefix("v1,")) {
        seen = true;
        // What joins repeated headers puts a comma behind a signature.
        if let Ok(bytes) = LENIENT.decode(signature.trim_end_matches(',')) {
            digests.iter().for_each(|digest| right |= digest.as_slice().ct_eq(&bytes));
        }
    }
    match (seen, bool::from(right)) {
        (_, true) => Ok(()),
        (true, false) => Err(VerifyFault::Mismatch),
        (false, false) => Err(VerifyFault::NoSignature),
    }
}

/// Whether a message's time, in seconds since 1970, is at most `tolerance` from `now`.
///
/// # Errors
/// [`VerifyFault::TooOld`] or [`VerifyFault::TooNew`].
pub fn check_time(timestamp: i64, now: Timestamp, tolerance: Duration) -> Result<(), VerifyFault> {
    let tolerance = i64::try_from(tolerance.as_secs()).unwrap_or(i64::MAX);
    let age_seconds = now.as_secs().saturating_sub(timestamp);
    if age_seconds > tolerance {
        Err(VerifyFault::TooOld { age_seconds })
    } else if age_seconds < -tolerance {
        Err(VerifyFault::TooNew { ahead_seconds: age_seconds.saturating_neg() })
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
