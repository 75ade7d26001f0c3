//! `pulse audit`.

use pulse_core::ops::audit::ListAudit;

use super::{DONE, listing};
use crate::{args::system, exit::Outcome, names, session::Session, ui::View};

pub(super) const VIEW: View = View::new(
    &["occurred_at", "action", "outcome", "actor.id", "targets"],
    &["id", "log", "seq", "context.origin", "context.ip", "context.request_id", "changes"],
)
// In no table, but a program may want them as columns.
.detail(&["org_id", "prev", "hash"])
.id("id");

pub(super) async fn list(session: &Session, args: system::AuditList) -> Outcome {
    let client = session.client().await?;
    let org_id = match &args.org {
        Some(name) => Some(names::org(client, name, true).await?),
        None => None,
    };
    let now = session.now();
    let op = ListAudit {
        org_id,
        actor_id: args.actor,
        action: args.action,
        target_id: args.target,
        outcome: args.outcome,
        since: args.since.map(|moment| moment.from(now)),
        until: args.until.map(|moment| moment.from(now)),
        limit: None,
        cursor: None,
    };
    listing::show(session, client, &VIEW, op, &args.paging).await?;
    DONE
}
