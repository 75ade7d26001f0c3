//! The operator's token: that of the settings, or the store's, read when it is first presented and again after every change
//! that the store tells of.

use std::sync::atomic::Ordering;

use super::Keyring;
use crate::{
    access::{
        key::{self, Presented},
        keyring::Outdated,
        pepper::CheckedDigest,
    },
    error::Result,
    repo::operator_token::OperatorToken,
    secret::Secret,
};

/// What the operator's token is checked against.
pub(super) enum Operator {
    /// The settings' token.
    Given(CheckedDigest),
    /// The store's, as it was read in this epoch.
    Stored { digest: Option<CheckedDigest>, epoch: u64 },
}

impl Operator {
    /// The store's, not read in any epoch.
    pub(super) fn unread() -> Self {
        Self::Stored { digest: None, epoch: 0 }
    }
}

impl Keyring {
    /// Takes the operator's token from the settings, instead of the store's.
    pub fn give_operator_token(&self, token: &Secret) {
        if let Some(digest) = self.peppers.decode(&self.digest(token)) {
            *self.operator.write() = Operator::Given(digest);
        }
    }

    /// Whether this is the operator's token.
    pub async fn is_operator(&self, secret: &str) -> Result<bool> {
        if let Operator::Given(digest) = &*self.operator.read() {
            return Ok(self.peppers.matches(digest, secret));
        }
        if key::parse(secret) != Some(Presented::Admin) {
            return Ok(false);
        }
        self.ensure_fresh().await?;
        let Some(digest) = self.stored_operator().await? else { return Ok(false) };
        let matches = self.peppers.matches(&digest, secret);
        if matches && digest.previous {
            self.rehashed.note(Outdated::Operator, self.peppers.digest(secret));
        }
        Ok(matches)
    }

    /// The digest of the store's token, from memory when it was read since the caches were dropped.
    async fn stored_operator(&self) -> Result<Option<CheckedDigest>> {
        let now = self.epoch.load(Ordering::SeqCst);
        if let Operator::Stored { digest, epoch } = &*self.operator.read()
            && *epoch == now
        {
            return Ok(digest.clone());
        }
        let token = OperatorToken::read(&self.store).await?;
        let digest = token.and_then(|token| self.peppers.decode(&token.digest));
        *self.operator.write() = Operator::Stored { digest: digest.clone(), epoch: now };
        Ok(digest)
    }
}
