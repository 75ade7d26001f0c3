//! Secrets in memory. [`Secret`] can be neither printed nor serialized; [`SecretText`] is the one form in which a
//! secret crosses the wire, on its way in or in the single answer that shows it.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// A secret that stays inside. It has no `Debug` and no `Serialize`, so that no log line and no answer can show it.
#[derive(Clone)]
#[expect(missing_debug_implementations, reason = "a secret must not be printable")]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes the text over.
    pub fn new(text: impl Into<String>) -> Self {
        Self(Zeroizing::new(text.into()))
    }

    /// The text itself. Every use of this is a place to look at in a review.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Compares without telling by its time where the two differ.
    pub fn matches(&self, other: &str) -> bool {
        self.0.as_bytes().ct_eq(other.as_bytes()).into()
    }
}

/// A secret in a request, or in the one answer that shows it. `Debug` shows that it is set and nothing more.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(inline)]
pub struct SecretText(#[schemars(length(min = 1, max = 4096))] String);

impl SecretText {
    /// Wraps the text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<set>")
    }
}

impl From<&SecretText> for Secret {
    fn from(text: &SecretText) -> Self {
        Self::new(text.expose())
    }
}
