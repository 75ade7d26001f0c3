//! Rotation of signing secrets. While the old secret lives, every delivery carries a signature with each, so that a
//! receiver who knows either is content.
//!
//! Who makes an endpoint sees the secret of what is theirs. Rotation shows one that signs for an endpoint of others', so it
//! takes a permission of its own, which developers and the keys that projects are made with lack.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{CreatedEndpoint, PENDING, cut, draft, pending, read_to_change, replacing};
use crate::{
    access::Permission,
    deliver::sign::{MAX_SECRETS, SigningSecret},
    error::{Code, Error, Result},
    id::{EndpointId, ProjectId},
    model::endpoint::{Endpoint, StoredSecret},
    op::{Cx, Meta, Method, Operation, Planned, Scope},
    secret::SecretText,
    time::Timestamp,
};

/// For how long a replaced secret still signs when the request does not say, in seconds: a day.
const DEFAULT_OVERLAP_SECONDS: u32 = 86_400;
/// The longest overlap, in seconds: a week.
const MAX_OVERLAP_SECONDS: u32 = 604_800;

/// Replace an endpoint's signing secret. The old one still signs until its overlap is over.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RotateSecret {
    /// Which.
    pub id: EndpointId,
    /// The project; a project's key implies it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project_id: Option<ProjectId>,
    /// For how long the old secret still signs, in seconds, up to a week; a day when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 604_800))]
    pub overlap_seconds: Option<u32>,
    /// The new secret, `whsec_` and base64 of 24 to 64 bytes; one that is made here when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<SecretText>,
}

fn overlap(seconds: Option<u32>) -> Result<Duration> {
    match seconds.unwrap_or(DEFAULT_OVERLAP_SECONDS) {
        fits if fits <= MAX_OVERLAP_SECONDS => Ok(Duration::from_secs(fits.into())),
        _ => {
            Err(Error::invalid_field("overlap_seconds", "too_large", format!("must be at most {MAX_OVERLAP_SECONDS}")))
        }
    }
}

/// The secrets that go on signing beside a new one: none lives longer than it would have, and dead ones are left out.
fn outgoing(endpoint: &Endpoint, now: Timestamp, end: Timestamp) -> Result<Vec<StoredSecret>> {
    let ended = |old: &StoredSecret| StoredSecret {
        expires_at: Some(old.expires_at.map_or(end, |own| own.min(end))),
        ..old.clone()
    };
    let left: Vec<_> =
        endpoint.live_secrets(now).map(ended).filter(|old| old.expires_at.is_some_and(|end| end > now)).collect();
    if left.len() < MAX_SECRETS {
        return Ok(left);
    }
    Err(Error::new(
        Code::Conflict,
        format!("endpoint {} signs with {MAX_SECRETS} secrets, which is the most it can", endpoint.id),
    )
    .hint("Wait until the oldest has ended, or rotate with overlap_seconds 0, which ends all of them at once."))
}

impl Operation for RotateSecret {
    type Output = CreatedEndpoint;
    const META: Meta = Meta::mutation(
        "endpoints.rotate_secret",
        Method::Post,
        "/v1/webhooks/endpoints/{id}/rotate-secret",
        &[Permission::WebhooksSecrets],
        "Replace an endpoint's signing secret; the old one still signs until its overlap is over",
    )
    .reveals()
    .versioned();

    fn scope(&self) -> Scope {
        Scope::CallerProject(self.project_id)
    }

    fn version_of(output: &CreatedEndpoint) -> Option<u64> {
        Some(output.endpoint.version)
    }

    fn without_secrets(output: CreatedEndpoint) -> CreatedEndpoint {
        cut(output)
    }

    async fn plan(&self, cx: &Cx<'_>) -> Result<Planned<CreatedEndpoint>> {
        let overlap = overlap(self.overlap_seconds)?;
        let given = self.secret.as_ref().map(draft::read_secret).transpose();
        let given = given.map_err(|fault| Error::invalid(vec![fault]))?;
        let before = read_to_change(cx, self.id).await?;
        let secret = given.unwrap_or_else(|| SigningSecret::generate(cx.parts.entropy.as_ref()));
        let mut secrets = outgoing(&before, cx.now, cx.now.plus(overlap))?;
        secrets.insert(0, draft::seal_secret(cx.parts, before.id, before.project_id, &secret, cx.now)?);
        let after = Endpoint { secrets, ..before.clone() };
        let Planned { output, batch, trail, .. } = replacing(cx, &before, after).await?;
        let secret = Some(SecretText::new(secret.text().expose()));
        let planned = Planned::write(CreatedEndpoint { endpoint: output, secret }, batch, trail);
        // What waits is signed with both secrets until the overlap is over, and with the new one alone afterwards.
        Ok(planned.touching(PENDING, pending(cx, before.id).await?))
    }
}
