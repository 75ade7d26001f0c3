//! Sealing of stored secrets that must be used again: XChaCha20-Poly1305 under the master key, bound to the place where
//! the secret stands, so that a sealed text moved to another document does not open.
//!
//! XChaCha20's 192-bit nonces may be drawn at random for any number of secrets
//! (<https://datatracker.ietf.org/doc/html/draft-irtf-cfrg-xchacha>).

use base64::{
    Engine,
    engine::general_purpose::{STANDARD, STANDARD_NO_PAD},
};
use chacha20poly1305::{
    KeyInit, XChaCha20Poly1305, XNonce,
    aead::{Aead, Payload},
};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::pepper::fingerprint;
use crate::{
    entropy::Entropy,
    error::{Code, Error, Result},
    secret::Secret,
};

const NONCE_BYTES: usize = 24;

/// A sealed secret as it is stored: which master key, nonce and box, in base64.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sealed {
    /// Fingerprint of the master key.
    key: String,
    /// Nonce and box.
    sealed: String,
}

impl std::fmt::Debug for Sealed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("<sealed>")
    }
}

/// The place where a secret stands.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// The collection.
    pub collection: &'a str,
    /// The field.
    pub field: &'a str,
    /// The document.
    pub id: &'a str,
    /// The organization, or `system`.
    pub org: &'a str,
}

impl Place<'_> {
    fn bytes(&self) -> Vec<u8> {
        // Lengths in front keep two places from having the same bytes.
        let mut bytes = Vec::with_capacity(128);
        for part in ["pulse-seal-v1", self.collection, self.field, self.id, self.org] {
            bytes.extend((part.len() as u64).to_be_bytes());
            bytes.extend(part.as_bytes());
        }
        bytes
    }
}

/// Seals and opens.
#[expect(missing_debug_implementations, reason = "holds the master key")]
pub struct Sealer {
    fingerprint: String,
    cipher: XChaCha20Poly1305,
}

impl Sealer {
    /// From `PULSE_MASTER_KEY`: standard base64 of 32 bytes.
    pub fn new(master_key: &Secret) -> Result<Self> {
        let bad = || {
            Error::new(Code::Misconfigured, "PULSE_MASTER_KEY is not standard base64 of 32 bytes")
                .hint("Make one with: openssl rand -base64 32")
        };
        let bytes = Zeroizing::new(STANDARD.decode(master_key.expose().trim()).map_err(|_| bad())?);
        let cipher = XChaCha20Poly1305::new_from_slice(&bytes).map_err(|_| bad())?;
        Ok(Self { fingerprint: fingerprint("pulse-master-key", &bytes), cipher })
    }

    /// A new master key in its text form.
    pub fn generate(entropy: &dyn Entropy) -> Secret {
        let mut bytes = Zeroizing::new([0_u8; 32]);
        entropy.fill(bytes.as_mut_slice());
        Secret::new(STANDARD.encode(bytes.as_slice()))
    }

    /// The fingerprint of the master key, as the store records it.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// Seals `secret` for its place.
    pub fn seal(&self, place: Place<'_>, secret: &[u8], entropy: &dyn Entropy) -> Result<Sealed> {
        let mut nonce = [0_u8; NONCE_BYTES];
        entropy.fill(&mut nonce);
        let payload = Payload { msg: secret, aad: &place.bytes() };
        let sealed = self
            .cipher
            .encrypt(&XNonce::from(nonce), payload)
            .map_err(|_| Error::internal("a secret could not be sealed"))?;
        Ok(Sealed { key: self.fingerprint.clone(), sealed: STANDARD_NO_PAD.encode([&nonce[..], &sealed].concat()) })
    }

    /// Opens what was sealed for this place under this master key; anything else is an internal error.
    pub fn open(&self, place: Place<'_>, sealed: &Sealed) -> Result<Zeroizing<Vec<u8>>> {
        let broken = || {
            Error::internal(format!("the sealed {}.{} of {} does not open", place.collection, place.field, place.id))
        };
        let bytes = STANDARD_NO_PAD.decode(&sealed.sealed).map_err(|_| broken())?;
        let (nonce, body) = bytes.split_at_checked(NONCE_BYTES).ok_or_else(broken)?;
        let nonce: [u8; NONCE_BYTES] = nonce.try_into().map_err(|_| broken())?;
        let payload = Payload { msg: body, aad: &place.bytes() };
        self.cipher.decrypt(&XNonce::from(nonce), payload).map(Zeroizing::new).map_err(|_| broken())
    }

    /// Opens a text.
    pub fn open_text(&self, place: Place<'_>, sealed: &Sealed) -> Result<Secret> {
        let bytes = self.open(place, sealed)?;
        std::str::from_utf8(&bytes).map(Secret::new).map_err(Error::internal)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::SeededEntropy;

    #[test]
    fn a_sealed_secret_opens_in_its_place_and_nowhere_else() {
        let entropy = SeededEntropy::new(5);
        let sealer = Sealer::new(&Sealer::generate(&entropy)).unwrap();
        let place = Place { collection: "projects", field: "livekit", id: "prj_1", org: "org_1" };
        let sealed = sealer.seal(place, b"devsecret", &entropy).unwrap();
        assert_eq!(sealer.open(place, &sealed).unwrap().as_slice(), b"devsecret");
        assert!(!serde_json::to_string(&sealed).unwrap().contains("devsecret"));
        for other in [
            Place { collection: "other", ..place },
            Place { field: "other", ..place },
            Place { id: "prj_2", ..place },
            Place { org: "org_2", ..place },
        ] {
            assert!(sealer.open(other, &sealed).is_err(), "opened in {other:?}");
        }
        let stranger = Sealer::new(&Sealer::generate(&SeededEntropy::new(6))).unwrap();
        assert!(stranger.open(place, &sealed).is_err(), "opened under another master key");
    }
}
