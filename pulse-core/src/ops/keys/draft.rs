//! A key before it is made. Everything that makes a secret comes through [`Draft::make`], which lets no key get hold of one
//! that may more than itself.

use ipnet::IpNet;

use crate::{
    access::{
        Permissions,
        key::{self, Environment},
        keyring::KeyRecord,
    },
    error::{Code, Error, Result},
    id::{KeyId, ProjectId},
    model::{
        api_key::{ApiKey, Constraints, KeyState},
        text::Name,
    },
    op::Cx,
    secret::SecretText,
    time::Timestamp,
};

/// What a new key is to be.
pub(super) struct Draft {
    pub(super) project: ProjectId,
    pub(super) name: Name,
    pub(super) environment: Environment,
    pub(super) scopes: Permissions,
    pub(super) constraints: Constraints,
    pub(super) networks: Vec<IpNet>,
    pub(super) expires_at: Option<Timestamp>,
}

impl Draft {
    /// A key like `old`, as long as it lives.
    pub(super) fn successor(old: &ApiKey, now: Timestamp) -> Self {
        Self {
            project: old.project_id,
            name: old.name.clone(),
            environment: old.environment,
            scopes: old.scopes,
            constraints: old.constraints.clone(),
            networks: old.networks.clone(),
            expires_at: old.expires_at.filter(|end| *end > now),
        }
    }

    /// The key and its secret. Refuses a caller that is a key and may less than the new one.
    pub(super) fn make(self, cx: &Cx<'_>) -> Result<(ApiKey, SecretText)> {
        if let Some(maker) = cx.call.caller.key() {
            self.check_maker(maker)?;
        }
        let fresh = key::generate(self.environment, cx.parts.entropy.as_ref());
        let key = ApiKey {
            id: KeyId::new(cx.now, cx.parts.entropy.as_ref()),
            project_id: self.project,
            public_id: fresh.public_id,
            name: self.name,
            environment: self.environment,
            scopes: self.scopes,
            constraints: self.constraints,
            networks: self.networks,
            state: KeyState::Active,
            primary: false,
            expires_at: self.expires_at,
            final_expires_at: None,
            rotated_to: None,
            rotated_from: None,
            revoked_at: None,
            created_by: cx.call.caller.id(),
            created_at: cx.now,
            digest: cx.parts.keyring.digest(&fresh.secret),
            version: 1,
        };
        Ok((key, SecretText::new(fresh.secret.expose())))
    }

    fn check_maker(&self, maker: &KeyRecord) -> Result<()> {
        let refuse = |text: String| Err(Error::new(Code::Forbidden, text));
        if let Some(missing) = maker.scopes.missing(self.scopes) {
            return refuse(format!("this key lacks the scope {missing} and cannot give it on"));
        }
        let same = |what| refuse(format!("a key with {what} can only make keys with the same {what}"));
        if maker.constraints().is_some_and(|own| self.constraints != *own) {
            return same("constraints");
        }
        if !maker.networks().is_empty() && self.networks != maker.networks() {
            return same("networks");
        }
        match (maker.expires_at, self.expires_at) {
            (Some(end), own) if own.is_none_or(|own| own > end) => {
                refuse(format!("this key ends at {end} and cannot make one that works longer"))
            }
            _ => Ok(()),
        }
    }
}

/// The key that is made with a project: its primary, with every scope but managing keys and storage credentials.
pub(in crate::ops) fn first_key(cx: &Cx<'_>, project: ProjectId) -> Result<(ApiKey, SecretText)> {
    let draft = Draft {
        project,
        name: "default".parse().map_err(Error::internal)?,
        environment: Environment::Live,
        scopes: Permissions::default_key(),
        constraints: Constraints::default(),
        networks: Vec::new(),
        expires_at: None,
    };
    let (key, secret) = draft.make(cx)?;
    Ok((ApiKey { primary: true, ..key }, secret))
}
