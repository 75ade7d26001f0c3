//! The endpoint of a project's `webhook_url`: it comes, changes and goes with the field, in the same batch.

use super::{Draft, Endpoint, draft::moves, end, take_place};
use crate::{
    error::{Error, Result},
    model::{endpoint::EndpointState, project::Project, text::WebhookUrl},
    op::Cx,
    patch::Patch,
    repo::Document,
    secret::SecretText,
    store::Batch,
};

/// What became of the endpoint.
#[derive(Debug, Default)]
pub(crate) struct Followed {
    /// The endpoint that was made, changed or ended.
    pub(crate) touched: Option<Endpoint>,
    /// Whether the project has the endpoint now, and it is active.
    pub(crate) active: bool,
    /// The secret of one that was made.
    pub(crate) secret: Option<SecretText>,
    /// How many deliveries wait for one that was ended.
    pub(crate) pending: Option<u64>,
}

impl Followed {
    fn by(endpoint: Endpoint) -> Self {
        let active = endpoint.state == EndpointState::Active;
        Self { touched: Some(endpoint), active, ..Self::default() }
    }
}

/// The refusal to send an endpoint's headers to a server that they were not given for: this request cannot give others.
fn headers_stay(endpoint: &Endpoint) -> Error {
    let detail = format!(
        "is another server, and the headers of endpoint {} were given for {}: move the endpoint itself, and give its \
         headers anew or clear them",
        endpoint.id, endpoint.url,
    );
    Error::invalid_field("webhook_url", "headers_required", detail)
        .hint(format!("PUT /v1/webhooks/endpoints/{} with url and headers; webhook_url follows.", endpoint.id))
}

/// Adds to the batch what a patch of `webhook_url` means for the project's endpoint. A project that is made in the same
/// batch has none yet; the batch holds on to what it looked at.
pub(crate) async fn follow(
    cx: &Cx<'_>,
    project: &Project,
    url: &Patch<WebhookUrl>,
    batch: &mut Batch,
) -> Result<Followed> {
    let existing = cx.parts.endpoints.of_webhook_url(project.id).await?;
    match (url, existing) {
        (Patch::Absent, existing) => {
            let active = existing.is_some_and(|endpoint| endpoint.state == EndpointState::Active);
            Ok(Followed { active, ..Followed::default() })
        }
        (Patch::Clear, None) => Ok(Followed::default()),
        (Patch::Clear, Some(endpoint)) => {
            let pending = Some(end(cx, &endpoint, batch).await?);
            Ok(Followed { touched: Some(endpoint), pending, ..Followed::default() })
        }
        (Patch::Set(url), Some(endpoint)) if endpoint.url == *url => {
            Ok(Followed { touched: None, ..Followed::by(endpoint) })
        }
        (Patch::Set(url), Some(endpoint)) if endpoint.headers.is_some() && moves(&endpoint, url) => {
            Err(headers_stay(&endpoint))
        }
        (Patch::Set(url), Some(endpoint)) => {
            let changed = Endpoint { url: url.clone(), updated_at: cx.now, ..endpoint }.replaced_in(batch)?;
            batch.bump_generation();
            Ok(Followed::by(changed))
        }
        (Patch::Set(url), None) => {
            take_place(cx, project.id, batch).await?;
            let (endpoint, secret) = Draft::of_webhook_url(cx.parts, project.id, url.clone()).make(cx.parts, cx.now)?;
            endpoint.insert_into(batch)?;
            batch.bump_generation();
            Ok(Followed { secret: Some(secret), ..Followed::by(endpoint) })
        }
    }
}
