//! Safe retries: the answer of a mutating `POST` with an `Idempotency-Key` is recorded in the mutation's own batch, and
//! given again to the same request for a day.

use std::time::Duration;

use sha2::{Digest, Sha256};

use super::ControlPlane;
use crate::{
    access::seal::Place,
    error::{Code, Error, Result},
    op::{Call, Method, Operation},
    repo::{Document, idempotency::IdempotencyRecord},
    secret::Secret,
    store::{Batch, schema},
    time::Timestamp,
};

/// For how long an answer is kept.
const KEPT: Duration = Duration::from_secs(24 * 3600);

/// One request's claim to an idempotency key.
pub(super) struct Ticket {
    id: String,
    fingerprint: String,
}

impl Ticket {
    fn place(&self) -> Place<'_> {
        Place { collection: schema::IDEMPOTENCY.name, field: "answer", id: &self.id, org: "system" }
    }
}

fn digest(parts: &[&str]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hex::encode(hash.finalize())
}

impl ControlPlane {
    /// The ticket of a call that carries a key and can be replayed. A request may hold secrets that can be guessed, so its
    /// fingerprint is keyed with the pepper; after a change of the pepper a repeated request counts as another one.
    pub(super) fn ticket<O: Operation>(&self, call: &Call, op: &O) -> Result<Option<Ticket>> {
        let Some(key) = call.idempotency_key.as_ref().filter(|_| O::META.method == Method::Post && !call.dry_run)
        else {
            return Ok(None);
        };
        let request = Secret::new(serde_json::to_string(op).map_err(Error::internal)?);
        let fingerprint = self.parts.keyring.digest(&request).mac;
        Ok(Some(Ticket { id: digest(&[&call.caller.id(), O::META.id, key]), fingerprint }))
    }

    /// The answer that is on record for the ticket; another request under the same key is a conflict.
    pub(super) async fn replay<O: Operation>(&self, ticket: Option<&Ticket>) -> Result<Option<O::Output>> {
        let Some(ticket) = ticket else { return Ok(None) };
        let Some(record) = self.parts.idempotency.get(&ticket.id).await? else { return Ok(None) };
        if record.expires_at <= self.parts.clock.now() {
            return Ok(None);
        }
        if record.fingerprint != ticket.fingerprint {
            return Err(Error::new(Code::IdempotencyMismatch, "this Idempotency-Key was used for another request"));
        }
        let answer = match (record.answer, record.sealed_answer) {
            (Some(answer), _) => answer.into_bytes(),
            (None, Some(sealed)) => self.parts.sealer.open(ticket.place(), &sealed)?.to_vec(),
            (None, None) => return Err(Error::internal("an idempotency record holds no answer")),
        };
        serde_json::from_slice(&answer).map(Some).map_err(Error::internal)
    }

    /// Adds the answer's record to the mutation's batch, in place of an expired one.
    pub(super) async fn remember<O: Operation>(
        &self,
        ticket: &Ticket,
        output: &O::Output,
        now: Timestamp,
        batch: &mut Batch,
    ) -> Result<()> {
        let text = serde_json::to_string(output).map_err(Error::internal)?;
        let (answer, sealed_answer) = if O::META.reveals_secret {
            (None, Some(self.parts.sealer.seal(ticket.place(), text.as_bytes(), self.parts.entropy.as_ref())?))
        } else {
            (Some(text), None)
        };
        let mut record = IdempotencyRecord {
            id: ticket.id.clone(),
            operation: O::META.id.to_owned(),
            fingerprint: ticket.fingerprint.clone(),
            answer,
            sealed_answer,
            expires_at: now.plus(KEPT),
            version: 0,
        };
        match self.parts.idempotency.get(&ticket.id).await? {
            Some(expired) if expired.expires_at <= now => {
                record.version = expired.version;
                record.replace_in(batch)
            }
            _ => record.insert_into(batch),
        }
    }
}
