//! The operator's token: rotate.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::diff::target;
use crate::{
    access::{Permission, key},
    error::{Code, Error, Result},
    op::{Cx, Meta, Method, Operation, Planned, Scope, Trail},
    repo::Document,
    repo::operator_token::OperatorToken,
    secret::SecretText,
    store::Batch,
    time::Timestamp,
};

/// Replace the operator's token. The old one stops at once.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RotateAdminToken {}

/// The new operator's token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AdminToken {
    /// The token: shown now and never again. Absent in a dry run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pulse_admin_token: Option<SecretText>,
    /// When it was made.
    pub created_at: Timestamp,
}

impl Operation for RotateAdminToken {
    type Output = AdminToken;
    const META: Meta = Meta::mutation(
        "admin.rotate",
        Method::Post,
        "/v1/admin/rotate",
        &[Permission::System],
        "Replace the operator's token; the old one stops at once",
    )
    .reveals();

    fn scope(&self) -> Scope {
        Scope::System
    }

    fn without_secrets(output: AdminToken) -> AdminToken {
        AdminToken { pulse_admin_token: None, ..output }
    }

    async fn plan(&self, cx: &Cx<'_>) -> Result<Planned<AdminToken>> {
        if cx.parts.settings.operator_token_given {
            return Err(Error::new(Code::Conflict, "the operator's token is given by PULSE_ADMIN_TOKEN")
                .hint("Change PULSE_ADMIN_TOKEN and restart pulsed."));
        }
        let secret = key::generate_admin(cx.parts.entropy.as_ref());
        let token = OperatorToken { digest: cx.parts.keyring.digest(&secret), created_at: cx.now, version: 0 };
        let mut batch = Batch::new();
        match OperatorToken::read(&cx.parts.store).await? {
            None => token.insert_into(&mut batch)?,
            Some(old) => OperatorToken { version: old.version, ..token }.replace_in(&mut batch)?,
        }
        batch.bump_generation();
        let trail = Trail { org: None, targets: vec![target("admin_token", "operator", None)], changes: Vec::new() };
        let output = AdminToken { pulse_admin_token: Some(SecretText::new(secret.expose())), created_at: cx.now };
        Ok(Planned::write(output, batch, trail))
    }
}
