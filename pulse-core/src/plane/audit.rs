//! Turns a call and its plan's trail into an audit entry.

use crate::{
    access::{Caller, OperatorVia},
    entropy::Entropy,
    id::{AuditId, OrgId},
    model::{
        audit::Origin,
        audit::Target,
        audit::{Actor, AuditContext, AuditEntry, AuditOutcome},
    },
    op::{Call, Operation, Trail},
    time::Timestamp,
};

/// The longest user agent that is kept, in characters.
const MAX_USER_AGENT: usize = 256;

/// The entry of a mutation that succeeds with its own commit.
pub(super) fn entry<O: Operation>(call: &Call, trail: &Trail, now: Timestamp, entropy: &dyn Entropy) -> AuditEntry {
    AuditEntry {
        id: AuditId::new(now, entropy),
        log: String::new(),
        seq: 0,
        org_id: trail.org,
        occurred_at: now,
        action: O::META.action.unwrap_or(O::META.id).to_owned(),
        outcome: AuditOutcome::Success,
        actor: actor(&call.caller),
        targets: trail.targets.clone(),
        context: AuditContext {
            ip: call.ip.map(|ip| ip.to_canonical().to_string()),
            user_agent: call.user_agent.as_ref().map(|text| text.chars().take(MAX_USER_AGENT).collect()),
            request_id: call.request_id.clone(),
            origin: call.origin,
        },
        changes: trail.changes.clone(),
        prev: String::new(),
        hash: String::new(),
    }
}

/// Who a caller is, in the audit's words.
fn actor(caller: &Caller) -> Actor {
    let (kind, name, method, credential_id) = match caller {
        Caller::Anonymous => ("anonymous", None, "none", None),
        Caller::Operator(OperatorVia::Local { os_user }) => ("operator", Some(os_user.clone()), "local", None),
        Caller::Operator(OperatorVia::Token) => ("operator", None, "admin_token", None),
        Caller::Key(key) => {
            ("key", Some(key.record.name.to_string()), "api_key", Some(key.record.public_id().to_owned()))
        }
    };
    Actor { kind: kind.to_owned(), id: caller.id(), name, method: method.to_owned(), credential_id }
}

/// The entry of something that a worker did because of an earlier request.
pub(crate) fn worker_entry(
    action: &str,
    org: OrgId,
    target: Target,
    request_id: &str,
    now: Timestamp,
    entropy: &dyn Entropy,
) -> AuditEntry {
    let worker = "worker".to_owned();
    AuditEntry {
        id: AuditId::new(now, entropy),
        log: String::new(),
        seq: 0,
        org_id: Some(org),
        occurred_at: now,
        action: action.to_owned(),
        outcome: AuditOutcome::Success,
        actor: Actor {
            kind: worker.clone(),
            id: worker,
            name: None,
            method: "internal".to_owned(),
            credential_id: None,
        },
        targets: vec![target],
        context: AuditContext { ip: None, user_agent: None, request_id: request_id.to_owned(), origin: Origin::Worker },
        changes: Vec::new(),
        prev: String::new(),
        hash: String::new(),
    }
}
