//! Keyed digests of secrets that only have to be recognized: HMAC-SHA-256 under a pepper that is kept outside the store.
//!
//! Not bcrypt: a random secret of 256 bits cannot be guessed at any hash speed, and a slow hash would let a few garbage
//! requests a second saturate a machine (`docs/DECISIONS.md`).

use base64::{Engine, engine::general_purpose::STANDARD_NO_PAD};
use hmac::{Hmac, Mac};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq;

use crate::{
    error::{Code, Error, Result},
    secret::Secret,
};

/// The least length of a pepper, in characters.
pub const MIN_PEPPER_CHARS: usize = 32;

/// A stored digest, and under which pepper it was made.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Digest {
    /// Fingerprint of the pepper.
    pub pepper: String,
    /// The HMAC, as base64 without padding.
    pub mac: String,
}

impl std::fmt::Debug for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("<digest>")
    }
}

/// The pepper in use, and the one before it, which stays accepted.
#[derive(Clone)]
#[expect(missing_debug_implementations, reason = "holds secrets")]
pub struct Peppers {
    current: Pepper,
    previous: Option<Pepper>,
}

#[derive(Clone)]
struct Pepper {
    fingerprint: String,
    mac: Hmac<Sha256>,
}

impl Pepper {
    fn new(secret: &Secret, variable: &str) -> Result<Self> {
        let text = secret.expose();
        if text.chars().count() < MIN_PEPPER_CHARS {
            return Err(Error::new(
                Code::Misconfigured,
                format!("{variable} has fewer than {MIN_PEPPER_CHARS} characters"),
            )
            .hint("Make one with: openssl rand -base64 32"));
        }
        let mac = Hmac::<Sha256>::new_from_slice(text.as_bytes()).map_err(Error::internal)?;
        Ok(Self { fingerprint: fingerprint("pulse-pepper", text.as_bytes()), mac })
    }

    fn digest(&self, secret: &str) -> [u8; 32] {
        self.mac.clone().chain_update(secret.as_bytes()).finalize().into_bytes().into()
    }
}

/// Tells which secret a thing was made with, and nothing about the secret: 16 hex digits of a hash with a domain.
pub fn fingerprint(domain: &str, secret: &[u8]) -> String {
    hex::encode(&Sha256::new().chain_update(domain).chain_update([0]).chain_update(secret).finalize()[..8])
}

impl Peppers {
    /// Peppers from the settings; each has at least 32 characters.
    pub fn new(current: &Secret, previous: Option<&Secret>) -> Result<Self> {
        Ok(Self {
            current: Pepper::new(current, "API_KEY_PEPPER")?,
            previous: previous.map(|secret| Pepper::new(secret, "API_KEY_PEPPER_PREVIOUS")).transpose()?,
        })
    }

    /// The fingerprint of the pepper in use, as the store records it.
    pub fn fingerprint(&self) -> &str {
        &self.current.fingerprint
    }

    /// Whether a digest under this fingerprint can be checked.
    pub fn knows(&self, fingerprint: &str) -> bool {
        self.by_fingerprint(fingerprint).is_some()
    }

    fn by_fingerprint(&self, fingerprint: &str) -> Option<&Pepper> {
        std::iter::once(&self.current).chain(&self.previous).find(|pepper| pepper.fingerprint == fingerprint)
    }

    /// The digest to store.
    pub fn digest(&self, secret: &str) -> Digest {
        Digest { pepper: self.current.fingerprint.clone(), mac: STANDARD_NO_PAD.encode(self.current.digest(secret)) }
    }

    /// A digest in the form that is compared on every request.
    pub fn decode(&self, digest: &Digest) -> Option<CheckedDigest> {
        let previous = digest.pepper != self.current.fingerprint;
        self.by_fingerprint(&digest.pepper)?;
        let mac = STANDARD_NO_PAD.decode(&digest.mac).ok()?.try_into().ok()?;
        Some(CheckedDigest { mac, previous })
    }

    /// Compares in constant time.
    pub fn matches(&self, digest: &CheckedDigest, secret: &str) -> bool {
        let pepper = match (&self.previous, digest.previous) {
            (Some(previous), true) => previous,
            _ => &self.current,
        };
        pepper.digest(secret).ct_eq(&digest.mac).into()
    }

    /// Spends the time of a comparison, for ids that do not exist.
    pub fn pretend(&self, secret: &str) {
        std::hint::black_box(self.current.digest(secret).ct_eq(&[0; 32]));
    }
}

/// A decoded digest.
#[derive(Clone)]
#[expect(missing_debug_implementations, reason = "holds a digest of a secret")]
pub struct CheckedDigest {
    mac: [u8; 32],
    /// Whether it was made under the previous pepper, and should be made again at this use.
    pub previous: bool,
}
