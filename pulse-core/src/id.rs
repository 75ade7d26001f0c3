//! Typed, prefixed, time-sortable ids. A bare string never travels as an id.
//!
//! An id is `<prefix>_<ULID>`: 48 bits of milliseconds and 80 random bits in Crockford's base32, 26 characters
//! (<https://github.com/ulid/spec>). Sorting ids sorts by time of making.

use std::{fmt, str::FromStr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use sha2::{Digest, Sha256};
use ulid::Ulid;

use crate::{entropy::Entropy, time::Timestamp};

/// Why a text is not an id of the kind that was asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected an id of the form {prefix}_ followed by 26 characters")]
pub struct InvalidId {
    prefix: &'static str,
}

fn parse(prefix: &'static str, text: &str) -> Result<Ulid, InvalidId> {
    text.strip_prefix(prefix)
        .and_then(|rest| rest.strip_prefix('_'))
        .filter(|rest| rest.len() == ulid::ULID_LEN)
        .and_then(|rest| Ulid::from_string(rest).ok())
        .ok_or(InvalidId { prefix })
}

fn digest_of(parts: &[&str]) -> u128 {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.finalize().iter().take(16).fold(0, |bits, byte| bits << 8 | u128::from(*byte))
}

macro_rules! ids {
    ($($(#[doc = $doc:literal])+ $name:ident $prefix:literal;)+) => {$(
        $(#[doc = $doc])+
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Ulid);

        impl $name {
            /// What every id of this kind begins with.
            pub const PREFIX: &'static str = $prefix;

            /// A new id, sorted by `now`.
            pub fn new(now: Timestamp, entropy: &dyn Entropy) -> Self {
                let mut random = [0_u8; 16];
                entropy.fill(&mut random);
                Self(Ulid::from_parts(now.as_millis().unsigned_abs(), u128::from_be_bytes(random)))
            }

            /// The id of what `parts` name at `now`: the same for the same, so that it is made once however often it is
            /// tried. The 80 bits beside the time are of SHA-256.
            pub fn derived(now: Timestamp, parts: &[&str]) -> Self {
                Self(Ulid::from_parts(now.as_millis().unsigned_abs(), digest_of(parts)))
            }

            /// The least id of a moment: the bound of a range of ids by time.
            pub fn lowest(at: Timestamp) -> Self {
                Self(Ulid::from_parts(at.as_millis().unsigned_abs(), 0))
            }

            /// The moment in the id.
            pub fn moment(self) -> Timestamp {
                Timestamp::from_millis(i64::try_from(self.0.timestamp_ms()).unwrap_or(i64::MAX))
            }

            /// Its 128 bits: 48 of milliseconds since 1970, then random ones.
            pub const fn bits(self) -> u128 {
                self.0.0
            }

            /// The id with these 128 bits; 48 of them are milliseconds since 1970.
            pub const fn from_bits(bits: u128) -> Self {
                Self(Ulid(bits))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let mut buffer = [0; ulid::ULID_LEN];
                write!(f, concat!($prefix, "_{}"), self.0.array_to_str(&mut buffer))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                parse($prefix, text).map(Self)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                text.parse().map_err(de::Error::custom)
            }
        }

        impl JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({
                    "type": "string",
                    "pattern": concat!("^", $prefix, "_[0-7][0-9A-HJKMNP-TV-Z]{25}$"),
                })
            }
        }
    )+};
}

ids! {
    /// An organization: who pays, and whose people work on projects.
    OrgId "org";
    /// A project: one tenant of the media servers.
    ProjectId "prj";
    /// A Pulse API key.
    KeyId "key";
    /// An entry of the audit log.
    AuditId "aud";
    /// A unit of work that a worker does later.
    JobId "job";
    /// A revocation of media tokens.
    RevocationId "rev";
    /// One claim of a delivery: who holds it may end it.
    LeaseToken "lse";
    /// A usage fact.
    UsageId "use";
    /// An event: something that happened.
    EventId "evt";
    /// A session of a room.
    SessionId "ses";
    /// A metered span of time: a participant's connection, an egress, an ingress.
    IntervalId "itv";
    /// Where events are sent.
    EndpointId "ep";
    /// An event on its way to an endpoint.
    DeliveryId "dlv";
    /// One attempt of a delivery.
    AttemptId "att";
    /// A ban of an identity.
    BanId "ban";
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::SeededEntropy;

    #[test]
    fn an_id_reads_back_and_sorts_by_time() {
        let entropy = SeededEntropy::new(7);
        let early = ProjectId::new(Timestamp::from_millis(1_000), &entropy);
        let late = ProjectId::new(Timestamp::from_millis(2_000), &entropy);
        assert!(early < late && early.to_string() < late.to_string());
        assert_eq!(early.to_string().parse(), Ok(early));
        assert_eq!(early.to_string().len(), 30);
    }

    #[test]
    fn an_id_of_another_kind_or_with_a_changed_letter_is_refused() {
        for bad in [
            "",
            "prj_",
            "org_00000000000000000000000000",
            "prj_0000000000000000000000000",
            "prj_U0000000000000000000000000",
        ] {
            assert!(bad.parse::<ProjectId>().is_err(), "{bad:?} was taken for a project id");
        }
    }
}
