//! The format of keys and other credentials: base62 ids and secrets with a checksum, so that a mistyped or cut one is
//! refused without I/O, and a leaked one is found by a scan.
//!
//! ```text
//! pulse_key_<live|test>_<id16><crc6>             public, opens nothing alone
//! pulse_secret_<live|test>_<id16><sec43><crc6>   256 bits of secret
//! pulse_admin_<sec43><crc6>                      the operator's token
//! ```
//!
//! The checksum is CRC-32/ISO-HDLC over everything before it, prefix included, in base62, padded with `0` to 6.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    deliver::sign::{SECRET_PREFIX, SigningSecret},
    entropy::Entropy,
    secret::Secret,
};

const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// Characters of the id inside a key.
pub const ID_CHARS: usize = 16;
/// Characters of the secret part: 43 of 62 are more than 256 bits.
pub const SECRET_CHARS: usize = 43;
const CRC_CHARS: usize = 6;

/// Whether a key is for production or for trying. It shows in the key's texts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum Environment {
    /// Production.
    #[default]
    Live,
    /// Trying.
    Test,
}

impl Environment {
    /// The word in the key's texts.
    pub fn name(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Test => "test",
        }
    }
}

/// A new key's public id and its secret text.
#[expect(missing_debug_implementations, reason = "holds a secret")]
pub struct Fresh {
    /// The id inside both texts.
    pub public_id: String,
    /// The whole `pulse_secret_...` text.
    pub secret: Secret,
}

/// Draws a new key.
pub fn generate(environment: Environment, entropy: &dyn Entropy) -> Fresh {
    let public_id = base62(ID_CHARS, entropy);
    let body = format!("pulse_secret_{}_{public_id}{}", environment.name(), base62(SECRET_CHARS, entropy));
    Fresh { public_id, secret: Secret::new(with_checksum(body)) }
}

/// Draws a new operator's token.
pub fn generate_admin(entropy: &dyn Entropy) -> Secret {
    Secret::new(with_checksum(format!("pulse_admin_{}", base62(SECRET_CHARS, entropy))))
}

/// The public text of a key.
pub fn public_text(environment: Environment, public_id: &str) -> String {
    with_checksum(format!("pulse_key_{}_{public_id}", environment.name()))
}

/// What a presented text is, as far as its form tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presented<'a> {
    /// A public key: who, but no proof.
    Public {
        /// The id inside.
        public_id: &'a str,
    },
    /// A secret: who and proof.
    Secret {
        /// The id inside.
        public_id: &'a str,
    },
    /// The operator's token, made by Pulse.
    Admin,
}

/// Checks form and checksum. Allocates nothing and reads nothing but the text.
pub fn parse(text: &str) -> Option<Presented<'_>> {
    let split = text.len().checked_sub(CRC_CHARS)?;
    let (body, crc) = (text.get(..split)?, text.get(split..)?);
    let rest = body.strip_prefix("pulse_")?;
    let presented = if let Some(rest) = rest.strip_prefix("key_") {
        Presented::Public { public_id: exact(environment(rest)?, ID_CHARS)? }
    } else if let Some(rest) = rest.strip_prefix("secret_") {
        Presented::Secret { public_id: &exact(environment(rest)?, ID_CHARS + SECRET_CHARS)?[..ID_CHARS] }
    } else {
        exact(rest.strip_prefix("admin_")?, SECRET_CHARS)?;
        Presented::Admin
    };
    (checksum(body) == crc.as_bytes()).then_some(presented)
}

fn environment(rest: &str) -> Option<&str> {
    rest.strip_prefix("live_").or_else(|| rest.strip_prefix("test_"))
}

fn exact(text: &str, chars: usize) -> Option<&str> {
    (text.len() == chars && text.bytes().all(|byte| byte.is_ascii_alphanumeric())).then_some(text)
}

fn base62(chars: usize, entropy: &dyn Entropy) -> String {
    let mut text = String::with_capacity(chars);
    let mut bytes = zeroize::Zeroizing::new([0_u8; 64]);
    while text.len() < chars {
        entropy.fill(bytes.as_mut_slice());
        // 248 = 4 * 62: bytes above would favour the first letters of the alphabet.
        let drawn = bytes.iter().filter(|byte| **byte < 248).map(|byte| char::from(ALPHABET[usize::from(byte % 62)]));
        text.extend(drawn.take(chars - text.len()));
    }
    text
}

fn checksum(body: &str) -> [u8; CRC_CHARS] {
    let mut rest = crc32fast::hash(body.as_bytes()) as usize;
    let mut digits = [b'0'; CRC_CHARS];
    for digit in digits.iter_mut().rev() {
        *digit = ALPHABET[rest % 62];
        rest /= 62;
    }
    digits
}

fn with_checksum(mut body: String) -> String {
    let digits = checksum(&body);
    body.extend(digits.iter().map(|digit| char::from(*digit)));
    body
}

/// A credential of Pulse found in a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Byte offset of its first character.
    pub offset: usize,
    /// `public key`, `secret`, `operator's token` or `webhook signing secret`.
    pub kind: &'static str,
    /// The id inside, when it has one: enough to revoke it, not enough to use it.
    pub public_id: Option<String>,
}

/// Finds every well-formed credential in `text`. The checksum keeps lookalikes out, but for the signing secrets of webhooks,
/// which have none: those of other services that sign by Standard Webhooks look the same.
pub fn scan(text: &[u8]) -> Vec<Found> {
    const START: usize = 6;
    let mut found = Vec::new();
    let mut from = 0;
    let begins = |window: &[u8]| window == b"pulse_" || window == SECRET_PREFIX.as_bytes();
    while let Some(at) = text[from..].windows(START).position(begins).map(|at| from + at) {
        let credential = if text[at] == b'p' { credential(&text[at..]) } else { signing_secret(&text[at..]) };
        found.extend(credential.map(|(kind, public_id)| Found { offset: at, kind, public_id }));
        from = at + START;
    }
    found
}

/// What the beginning of `text` is, with the id inside.
fn credential(text: &[u8]) -> Option<(&'static str, Option<String>)> {
    let end = text.iter().position(|byte| !(byte.is_ascii_alphanumeric() || *byte == b'_')).unwrap_or(text.len());
    Some(match parse(std::str::from_utf8(&text[..end]).ok()?)? {
        Presented::Public { public_id } => ("public key", Some(public_id.to_owned())),
        Presented::Secret { public_id } => ("secret", Some(public_id.to_owned())),
        Presented::Admin => ("operator's token", None),
    })
}

fn signing_secret(text: &[u8]) -> Option<(&'static str, Option<String>)> {
    let encoded = &text[SECRET_PREFIX.len()..];
    let digits = encoded.iter().take_while(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/')).count();
    let padding = encoded[digits..].iter().take_while(|byte| **byte == b'=').count();
    let end = SECRET_PREFIX.len() + digits + padding;
    SigningSecret::parse(std::str::from_utf8(&text[..end]).ok()?).ok().map(|_| ("webhook signing secret", None))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::SeededEntropy;

    #[test]
    fn texts_have_the_documented_lengths_and_parse() {
        let fresh = generate(Environment::Live, &SeededEntropy::new(1));
        let public = public_text(Environment::Live, &fresh.public_id);
        assert_eq!((public.len(), fresh.secret.expose().len()), (37, 83));
        assert_eq!(parse(&public), Some(Presented::Public { public_id: &fresh.public_id }));
        assert_eq!(parse(fresh.secret.expose()), Some(Presented::Secret { public_id: &fresh.public_id }));
        assert_eq!(parse(generate_admin(&SeededEntropy::new(2)).expose()), Some(Presented::Admin));
    }

    #[test]
    fn the_checksum_is_crc_32_iso_hdlc_in_base62() {
        // The check value of CRC-32/ISO-HDLC over "123456789" is 0xCBF43926 = 3421780262, in base62 3JZc6Y padded to 6.
        assert_eq!(crc32fast::hash(b"123456789"), 0xCBF4_3926);
        let value = checksum("123456789").iter().fold(0_usize, |sum, digit| {
            sum * 62 + ALPHABET.iter().position(|letter| letter == digit).expect("in the alphabet")
        });
        assert_eq!(value, 0xCBF4_3926);
    }

    #[test]
    fn one_changed_character_is_refused_wherever_it_is() {
        let secret = generate(Environment::Test, &SeededEntropy::new(3)).secret;
        let text = secret.expose();
        for position in 0..text.len() {
            let mut changed = text.as_bytes().to_vec();
            changed[position] = if changed[position] == b'x' { b'y' } else { b'x' };
            let changed = String::from_utf8(changed).expect("still text");
            assert_eq!(parse(&changed), None, "position {position} may be changed");
        }
        for bad in
            ["", "pulse_", "pulse_key_live_", "pülse_key_live_aaaaaaaaaaaaaaaaaaaaaa", &text[..82], &format!("{text}0")]
        {
            assert_eq!(parse(bad), None, "{bad:?} was taken");
        }
    }

    #[test]
    fn a_scan_finds_credentials_in_other_text_and_nothing_else() {
        let secret = generate(Environment::Live, &SeededEntropy::new(4)).secret;
        let text = format!("KEY=pulse_key_live_not0a0key x\"{}\" pulse_ pulse_pulse_secret_", secret.expose());
        let found = scan(text.as_bytes());
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!((found[0].kind, found[0].offset), ("secret", text.find("pulse_secret_live").expect("is there")));
    }

    #[test]
    fn a_scan_finds_the_signing_secrets_of_webhooks() {
        let secret = SigningSecret::generate(&SeededEntropy::new(5)).text();
        let secret = secret.expose();
        let kinds = |text: &str| scan(text.as_bytes()).into_iter().map(|found| found.kind).collect::<Vec<_>>();
        for around in ["", " ", "\"", "'", "\n", ",", ")"] {
            let text = format!("pulse_ SECRET={around}{secret}{around}whsec_ whsec_short");
            let found = scan(text.as_bytes());
            assert_eq!(found.len(), 1, "{text}");
            let at = text.find(secret).expect("is there");
            assert_eq!((found[0].kind, found[0].offset), ("webhook signing secret", at));
        }
        assert_eq!(kinds(secret.trim_end_matches('=')), ["webhook signing secret"], "without padding");
        for other in ["whsec_", "whsec_MfKQ9r8GKYqrTwjUPD8I", &format!("whsec_{}", "A".repeat(100)), "WHSEC_"] {
            assert_eq!(kinds(other), [""; 0], "{other}");
        }
    }
}
